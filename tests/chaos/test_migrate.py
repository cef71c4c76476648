"""Killed anywhere, a migration, an audit that mends, and their undo go on as if nothing had been, on disk and in the bucket."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from steps.library.training import TrainingImage, TrainingManifest
from tests.chaos.conftest import Record
from tests.chaos.crash import KILLED, Case, Zygote, needs_strace, spread
from tests.chaos.scene import Scene
from tests.chaos.servers import Servers
from tests.chaos.test_disk import break_disk
from tests.chaos.test_failpoints import UNDO, WRITE_BACK, visible
from tests.chaos.test_system_calls import CALLS, sweep
from tests.chaos.wired import MIRROR, MIRROR_UNDO, PREFIX, WARM, Objects, Stored, Wired, command, environment, mirrored
from tests.library import jpeg, put

JOBS = {"migrate": "migrate_manifests", "mend": "audit"}
# Those that every run of such a job comes by, and those of what comes from the bucket.
PLACES = (
    "run.step_done",
    "step.before_finish",
    "execute.intent",
    "execute.made",
    "execute.moving",
    "execute.placed",
    "execute.rewritten",
    "execute.entered",
)
FETCHING = ("execute.staged",)
ADA, BEK, CUI = NAMES = ("0000_ada", "0001_bek", "0002_cui")
MOMENTS, REQUESTS = 12, 10
Jobs = Callable[[str], Case]
WiredJobs = Callable[[str], Wired]


def draw(root: Path) -> None:
    """Ada and Bek have legacy files of one kind each, Cui images alone."""
    cast = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    put(root / "actorsData.json", json.dumps(cast).encode())
    for actor, name in enumerate(NAMES):
        for number in range(1, 5):
            put(image(root, name, number), jpeg(f"#{actor * 40:02x}{number * 20:02x}40"))
    entries = [{"filename": f"{ADA}_{number}.jpg", "prompt": f"ada {number}"} for number in (1, 2, 9)]
    put(image(root, ADA, 1).with_name("prompt_metadata.json"), json.dumps({"images": entries, "more": 1}).encode())
    predictions = [{"input": {"prompt": f"bek {number}"}, "output": f"https://r/{number}.jpg"} for number in range(4)]
    put(image(root, BEK, 1).with_name("response.json"), json.dumps(predictions).encode())


def draw_drifted(root: Path, numbers: Sequence[int]) -> None:
    """The same with manifests that list some numbers, from which the disk has drifted away."""
    draw(root)
    for actor, name in enumerate(NAMES):
        images = tuple(TrainingImage(f"{name}_{number}.jpg", prompt=f"prompt {number}") for number in numbers)
        manifest = TrainingManifest(actor, name, images)
        put(image(root, name, 1).with_name("manifest.json"), manifest.text().encode())


def drifted(root: Path) -> dict[str, Stored]:
    """The bucket of such a library: without an image, with one that the disk lacks, and with one that is nobody's."""
    objects = mirrored(root)
    for name in (ADA, BEK):
        below = f"{PREFIX}actors/{name}/training_data/{name}"
        del objects[f"{below}_2.jpg"]
        objects[f"{below}_7.jpg"] = Stored(jpeg(f"#0000{name[3]}f"), "image/jpeg")
        objects[f"{below}_9.jpg"] = Stored(b"left behind", "image/jpeg", (("camera", "kept"),))
    return objects


def image(root: Path, name: str, number: int) -> Path:
    return root / "actors" / name / "training_data" / f"{name}_{number}.jpg"


@pytest.fixture(scope="module")
def job(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """A job on the disk alone, the unbroken run done once."""
    folder = tmp_path_factory.mktemp("jobs")
    scene = Scene(folder / "scene")
    known: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in known:
            known[name] = Case.of(zygote, scene, _template(folder, name), _command(scene, name))
        return dataclasses.replace(known[name], bad=[], areas=Counter())

    return make


@pytest.fixture(scope="module")
def wired_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WiredJobs]:
    """A job on a library that a bucket mirrors."""
    folder = tmp_path_factory.mktemp("wired_jobs")
    scene = Scene(folder / "scene")
    known: dict[str, Wired] = {}
    with Servers() as servers, Zygote(folder, environment(servers), WARM) as zygote:

        def make(name: str) -> Wired:
            if name not in known:
                # Only with a bucket can be mended what the disk lacks.
                template = _template(folder, name, (1, 2, 3, 7))
                objects = drifted(template / "data") if name == "mend" else mirrored(template / "data")
                words = command(_command(scene, name), "s3", "embedded", "embedded")
                known[name] = Wired(
                    zygote, scene, template, words, {}, {}, servers=servers, storage="s3", image="embedded", objects=objects
                )  # fmt: skip
                known[name].learn()
            return dataclasses.replace(known[name], bad=[], areas=Counter(), again=0, doubled=0)

        yield make


def _template(folder: Path, name: str, numbers: Sequence[int] = (1, 2, 3)) -> Path:
    """The library before a job; the manifests of one that is to be mended list these numbers."""
    template = folder / name
    if name == "mend":
        draw_drifted(template / "data", numbers)
    else:
        draw(template / "data")
    (template / "outputs").mkdir()
    return template


def _command(scene: Scene, name: str) -> list[str]:
    balance = scene.balance()
    where = [
        word
        for word in balance[2:]
        if word.partition("=")[0] in ("data", "outputs", "quiet", "retry.wait_s", "grace_s")
    ]
    return ["run", JOBS[name], *where, "execute=true"]


def test_unbroken_both_do_what_they_are_to_do(job: Jobs, wired_job: WiredJobs) -> None:
    """Else the tests below would compare nothing with nothing."""
    for name, states in (("migrate", 3), ("mend", 3)):
        assert [state for _, state, _ in job(name).expected["actions"]] == ["done"] * states
        assert [state for _, state, _ in wired_job(name).expected["actions"]] == ["done"] * states
    done = {operation for operation, _ in wired_job("mend").expected["runs"][0][-1]}
    assert done == {"fetch", "put", "trash", "write", "delete"}


@pytest.mark.parametrize("name", list(JOBS))
def test_a_few_places(job: Jobs, name: str, record_property: Record) -> None:
    """The quick sample."""
    case = job(name)
    for place in ("execute.intent", "execute.rewritten:2", "step.before_finish"):
        case.fail_point(place)
    _report(record_property, case, name, "failpoint", "a few places", 3)


@pytest.mark.chaos
@pytest.mark.parametrize("name", list(JOBS))
def test_it_goes_on_from_each_place_each_time(job: Jobs, name: str, record_property: Record) -> None:
    case = job(name)
    total = _each(case, PLACES)
    assert total >= 3 * 6
    _report(record_property, case, name, "failpoint", "each place each time", total)


@pytest.mark.chaos
@pytest.mark.parametrize("name", list(JOBS))
def test_what_was_cut_off_can_be_undone(job: Jobs, name: str, record_property: Record) -> None:
    case, total = job(name), 0
    for place in (one for one in PLACES if one.startswith("execute.")):
        times = 0
        case.begin()
        while _fail(case, case.command, f"{place}:{times + 1}") == KILLED:
            times += 1
            _undo(case, name, f"{place}:{times}")
            case.begin()
        assert times >= 3, place
        total += times
    _report(record_property, case, name, "failpoint", "undo after each place", total)


@pytest.mark.chaos
@pytest.mark.parametrize("name", list(JOBS))
def test_undo_goes_on(job: Jobs, name: str, record_property: Record) -> None:
    case = job(name)
    total = _each_undo(case, name, ("undo.begun", *WRITE_BACK))
    assert total >= 6
    _report(record_property, case, name, "failpoint", "undo, each place each time", total)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("calls", ["rename", "fsync", "write", "pwrite", "unlink"])
@pytest.mark.parametrize("name", list(JOBS))
def test_killed_before_system_calls(job: Jobs, name: str, calls: str, record_property: Record) -> None:
    case = job(name)
    _report(record_property, case, name, "system call", calls, sweep(case, CALLS[calls], 16))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("name", list(JOBS))
def test_a_full_or_broken_disk(job: Jobs, name: str, call: str, record_property: Record) -> None:
    case = job(name)
    _report(record_property, case, name, "EIO, ENOSPC", call, break_disk(case, call, ("EIO", "ENOSPC"), 6))


@pytest.mark.chaos
@pytest.mark.parametrize("name", list(JOBS))
def test_in_a_bucket_it_goes_on_from_each_place(wired_job: WiredJobs, name: str, record_property: Record) -> None:
    case = wired_job(name)
    total = _each(case, (*PLACES, *((*FETCHING, *MIRROR) if name == "mend" else ())))
    assert total >= (3 * 6 + 2 * 3 if name == "mend" else 3 * 6)
    _report(record_property, case, name, "failpoint", "s3, each place each time", total)


@pytest.mark.chaos
@pytest.mark.parametrize("name", list(JOBS))
def test_in_a_bucket_at_random_moments(wired_job: WiredJobs, name: str, record_property: Record) -> None:
    case = wired_job(name)
    _report(record_property, case, name, "SIGKILL", "s3, random moments", case.moments(MOMENTS, f"{name} 2026"))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_in_a_bucket_at_a_request(wired_job: WiredJobs, call: str, record_property: Record) -> None:
    case = wired_job("mend")
    case.begin()
    points = case.zygote.points(case.command, call)
    numbers = spread((point.number for point in points if "socket:" in point.line), REQUESTS)
    killed = sum(case.request(call, number) for number in numbers)
    assert killed >= 0.8 * len(numbers)
    _report(record_property, case, "mend", "request", f"s3, before {call}", killed)


@pytest.mark.chaos
def test_in_a_bucket_an_undo_goes_on(wired_job: WiredJobs, record_property: Record) -> None:
    case = wired_job("mend")
    total = _each_undo(case, "mend", ("undo.begun", "undo.taken_away", *WRITE_BACK, *MIRROR_UNDO))
    assert total >= 10
    _report(record_property, case, "mend", "failpoint", "s3, undo, each place each time", total)


def test_the_places_are_known() -> None:
    """A place that is renamed elsewhere would else be passed over in silence."""
    from tests.chaos.test_failpoints import REPAIR, REWRITE

    assert {*PLACES, *FETCHING} <= {*REPAIR, *REWRITE}
    assert {"undo.begun", "undo.taken_away"} <= {*UNDO}


def _each(case: Case, places: Sequence[str]) -> int:
    total = 0
    for place in places:
        times = 0
        while case.passes(f"{place}:{times + 1}"):
            times += 1
        assert times, place
        total += times
    return total


def _each_undo(case: Case, name: str, places: Sequence[str]) -> int:
    case.begin()
    assert case.zygote.run(case.command).code == 0
    done = case.scene.root.with_name("done")
    objects: Objects = case.bucket() if isinstance(case, Wired) else {}
    case.scene.keep(done)
    total = 0
    for place in places:
        times = 0
        _again(case, done, objects)
        while _fail(case, case.scene.undo(JOBS[name]), f"{place}:{times + 1}") == KILLED:
            times += 1
            case.bad += [f"killed at {place}:{times}: {line}" for line in case.torn_or_lost()]
            _undo(case, name, f"{place}:{times}")
            _again(case, done, objects)
        assert times, place
        total += times
    return total


def _again(case: Case, done: Path, objects: Objects) -> None:
    """As it is when the job is over."""
    if isinstance(case, Wired):
        case.begin_from(done, objects)
    else:
        case.scene.take(done)


def _fail(case: Case, words: Sequence[str], place: str) -> int:
    return case.zygote.run(words, env={"CALLSHEET_FAILPOINT": place}).code


def _undo(case: Case, name: str, what: str) -> None:
    """Undo what there is; then library and bucket must be what they were."""
    undone = case.zygote.run(case.scene.undo(JOBS[name]))
    # Killed before the first action touched the library, there is nothing to take back.
    if undone.code != 0 and "changed nothing" not in undone.said:
        case.bad.append(f"{what}: undo ends with {undone.code}: {undone.said[-500:]}")
    if visible(case.scene.data) != {path: sha for path, sha in case.before.items() if path[:1] != "."}:
        case.bad.append(f"{what}: the library is not what it was")
    if isinstance(case, Wired):
        now = case.bucket()
        if wrong := sorted(key for key in {*now, *case.objects} if now.get(key) != case.objects.get(key)):
            case.bad.append(f"{what}: the bucket is not what it was: {wrong}")


def _report(record: Record, case: Case, name: str, layer: str, what: str, total: int) -> None:
    record("chaos", f"{layer}|{name}, {what}|{total}|{len(case.bad)}")
    assert total > 0
    assert not case.bad, "\n".join(case.bad)
