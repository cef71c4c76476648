"""Killed anywhere or starved of disk, what measures, compares or fixes a plan leaves nothing half-written, and ends with the same bytes."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.files import TEMPORARY
from tests.chaos.conftest import Record
from tests.chaos.crash import KILLED, Case, Ended, Zygote, needs_strace, spread
from tests.chaos.scene import COMMON, Scene, contents, difference, leftovers
from tests.chaos.test_disk import SPARE
from tests.chaos.test_storyboard import ENVIRONMENT
from tests.chaos.test_system_calls import CALLS, sweep
from tests.frames import shipped_weights
from tests.told import HERO, portraits, tell

pytest.importorskip("torch", reason="the models' packages are not installed")
STEPS = ("ablate", "measure")
# Every file that is written comes by a rename, each of which is tried.
MOST = {"openat": 16, "write": 24, "pwrite": 12, "fsync": 32}
WARM = ("torch", "onnxruntime", "scipy.stats", "matplotlib.figure", "matplotlib.backends.backend_svg", "steps.ablate")
STUDY = """\
defaults: [base, steps@steps.preregister: preregister, _self_]
steps:
  preregister: {arms: [simple, baseline], stories: [kite], seeds: [0], comparisons: [], primary: [simple, baseline, likeness]}
"""


class Measuring(Case):
    """A step over renders of known people: every byte that it leaves is as after an unbroken run."""

    def state(self) -> dict[str, Any]:
        [folder] = [path.parent for path in self._runs() if json.loads(path.read_text())["state"] == "done"]
        return {
            "files": contents(folder / self._label),
            "given": contents(self.scene.data),
            "left": leftovers(self.scene),
        }

    def learn(self) -> Ended:
        """A second unbroken run has the same bytes, or nothing here could be compared."""
        super().learn()
        first = self.expected
        ended = super().learn()
        assert difference(self.expected, first) == []
        assert len(first["files"]) > 4
        return ended

    def torn_or_lost(self) -> list[str]:
        """What stands under its final name is whole at any time: it has the bytes that it ends with."""
        wrong = []
        for path in self._runs():
            for name, digest in contents(path.parent / self._label).items():
                if not Path(name).name.startswith(TEMPORARY) and digest != self.expected["files"].get(name):
                    wrong.append(f"half-written or unknown: {path.parent.name}/{name}")
        return wrong + difference(contents(self.scene.data), self.before)

    def differences(self) -> list[str]:
        try:
            return difference(self.state(), self.expected)
        except Exception as error:
            return [f"unreadable: {error!r}"]

    @property
    def _label(self) -> str:
        return self.command[1].split("_")[0]

    def _runs(self) -> list[Path]:
        return [path for path in self.scene.outputs.glob("*/2*/run.json") if path.read_bytes()]


class Fixing(Case):
    """A plan that is fixed: whatever happens, the time that it tells is that of its first writing."""

    def state(self) -> dict[str, Any]:
        [written] = {path.read_text() for path in self.scene.outputs.glob("fix/2*/preregister/preregistration.json")}
        document = json.loads(written)
        assert document.pop("written_at") == self.first_time()
        return {"document": document, "left": leftovers(self.scene)}

    def first_time(self) -> str | None:
        """When the artifact says that it was written; None while there is none."""
        found = list(self.scene.outputs.glob("artifacts/preregistration/*/manifest.json"))
        return json.loads(found[0].read_text())["about"]["written_at"] if found else None

    def torn_or_lost(self) -> list[str]:
        written = self.first_time()
        # Whoever wrote it anew could not be told from who found it within the same second.
        while written is not None and datetime.now(UTC).isoformat(timespec="seconds") == written:
            time.sleep(0.02)
        self.written = written
        return []

    def differences(self) -> list[str]:
        try:
            again = (
                []
                if self.written in (None, self.first_time())
                else [f"written at {self.written}, then {self.first_time()}"]
            )
            return again + difference(self.state(), self.expected)
        except Exception as error:
            return [f"unreadable: {error!r}"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    shipped_weights()
    folder = tmp_path_factory.mktemp("measuring")
    template, scene = folder / "template", Scene(folder / "scene")
    data = template / "data"
    tell(data / "told", {"baseline": (3, 4, 5), "simple": (HERO,) * 3}, ("kite", "wolf"))
    portraits(data / "references", *[HERO] * 3)
    portraits(data / "impostors", 6, 7)
    (template / "outputs").mkdir()
    (folder / "recipes").mkdir()
    (folder / "recipes" / "fix.yaml").write_text(STUDY)
    given = [f"{name}={scene.data / name}" for name in ("references", "impostors")]
    where = [f"data={scene.data}", f"outputs={scene.outputs}", *COMMON, "workers=1"]
    told = scene.data / "told"
    commands = {
        "ablate": ["run", "ablate", f"storyboards={told}", *given, *where, "steps.ablate.draws=200"],
        "measure": ["run", "measure_face_consistency", f"frames={told}", *given, *where],
        "fix": ["run", "fix", *where],
    }
    with Zygote(folder, ENVIRONMENT, WARM) as zygote:
        made: dict[str, Case] = {}
        for name, command in commands.items():
            made[name] = (Fixing if name == "fix" else Measuring)(zygote, scene, template, command, {}, {})
        yield made


@pytest.fixture
def case(cases: dict[str, Case], request: pytest.FixtureRequest) -> Case:
    """The step that is named, its unbroken run done once."""
    found = cases[request.param]
    if not found.expected:
        found.learn()
    found.bad = []
    found.areas.clear()
    return found


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", names, indirect=True)


@needs_strace
@each(*STEPS)
def test_killed_before_some_renames(case: Case, record_property: Record) -> None:
    total = sweep(case, CALLS["rename"], 3)
    _report(record_property, case, "system call", f"{_step(case)}, rename, some", total)


@needs_strace
@pytest.mark.chaos
@each(*STEPS)
@pytest.mark.parametrize(
    "calls", ["openat", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "mkdir", "link"]
)
def test_killed_before_every_system_call_that_writes(case: Case, calls: str, record_property: Record) -> None:
    total = sweep(case, CALLS[calls], MOST.get(calls, 10_000))
    _report(record_property, case, "system call", f"{_step(case)}, {calls}", total)


@each(*STEPS)
def test_killed_before_it_writes_anything(case: Case, record_property: Record) -> None:
    case.fail_point("step.before_finish")
    case.fail_point("run.step_done")
    _report(record_property, case, "failpoint", f"{_step(case)}, before and after it writes", 2)


@needs_strace
@pytest.mark.chaos
@each(*STEPS)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "openat", "mkdir"])
def test_a_disk_that_fails(case: Case, call: str, error: str, record_property: Record) -> None:
    case.begin()
    # What the run writes of itself is in test_disk.py.
    own = re.compile(rf"/[0-9TZ]+-[0-9a-f]{{8}}/{_step(case)}[/>]")
    made = [point for point in case.zygote.points(case.command, call) if own.search(point.line)]
    written = (point for point in made if " = -1 " not in point.line and "O_RDONLY" not in point.line)
    tried = spread((point.number for point in written), 8)
    for number in tried:
        _break(case, call, error, str(number))
        if call != "write":
            # From then on; not even the message could be written if all writing failed.
            _break(case, call, error, f"{number}+")
    _report(record_property, case, error, f"{_step(case)}, {call}", len(tried) * (1 if call == "write" else 2))


def _break(case: Case, call: str, error: str, when: str) -> None:
    case.begin()
    ended = case.zygote.run(
        case.command, strace=["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    )
    hit = [line for line in case.zygote.log.read_text("utf-8", errors="replace").splitlines() if "(INJECTED)" in line]
    assert hit, f"{call} {when} failed nothing"
    # How often files are opened differs a little between runs, so that now and then an image is hit that is read.
    read = "O_RDONLY" in hit[0]
    if read and ended.code == 0:
        # Read again to be shown: without it the report lacks a picture, and figures stand.
        return
    wrong = [] if read and ended.code == 1 else case.torn_or_lost()
    if "Traceback" in ended.said:
        wrong.append(f"a traceback: {ended.said[-1500:]}")
    if ended.code not in (0, 1, 2, 3):
        wrong.append(f"ended with {ended.code}: {ended.said[-500:]}")
    if ended.code == 0 and not any(spare in line for line in hit for spare in SPARE):
        wrong.append("it ends with 0")
    if ended.code in (2, 3) and not re.search(r"/\S+: ", ended.said):
        wrong.append(f"names no file: {ended.said[-500:]}")
    if ended.code != 0:
        again = case.zygote.run(case.command)
        if again.code == 1:
            # What failed is not tried again in the same run, but in a later one.
            again = case.zygote.run(case.command)
        wrong += [] if again.code == 0 else [f"given again it ends with {again.code}: {again.said[-500:]}"]
    wrong += case.differences()
    if wrong:
        case.bad.append("\n  ".join([f"{call} {error} {when} ({hit[0][:200]}), ended with {ended.code}", *wrong[:8]]))


@each("fix")
def test_killed_before_its_file_a_plan_keeps_its_first_time(case: Case, record_property: Record) -> None:
    case.fail_point("step.before_finish")
    _report(record_property, case, "failpoint", "preregister, before its file", 1)


@needs_strace
@pytest.mark.chaos
@each("fix")
@pytest.mark.parametrize("calls", ["fsync", "rename", "write", "openat"])
def test_killed_anywhere_a_plan_keeps_its_first_time(case: Case, calls: str, record_property: Record) -> None:
    total = sweep(case, CALLS[calls], {"openat": 16, "write": 24}.get(calls, 10_000))
    _report(record_property, case, "system call", f"preregister, {calls}", total)


@each("fix")
def test_a_plan_that_forgets_its_first_time_is_found(case: Case) -> None:
    """The test of the test: with all forgotten that was written before the kill, the time is another one."""
    case.begin()
    assert case.zygote.run(case.command, env={"CALLSHEET_FAILPOINT": "step.before_finish"}).code == KILLED
    assert case.torn_or_lost() == []
    shutil.rmtree(case.scene.outputs)
    assert case.zygote.run(case.command).code == 0
    assert any("written at" in line for line in case.differences())


def _step(case: Case) -> str:
    return case.command[1].split("_")[0]


def _report(record: Record, case: Case, layer: str, what: str, total: int) -> None:
    record("chaos", f"{layer}|{what}|{total}|{len(case.bad)}")
    assert total > 0
    assert not case.bad, "\n".join(case.bad)
