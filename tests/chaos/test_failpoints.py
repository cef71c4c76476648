"""Killed at every named place, a repair and an undo go on as if nothing had been; and a repair that was cut off can be undone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.conftest import Cases, Record
from tests.chaos.crash import KILLED, ROOT, Case
from tests.chaos.scene import contents
from tests.chaos.test_remote import FAILPOINTS as REMOTE
from tests.chaos.test_storyboard import PLACES as STORYBOARD
from tests.chaos.test_train import FAILPOINTS as TRAIN
from tests.chaos.wired import MIRROR, MIRROR_UNDO

REPAIR = (
    "run.step_done",
    "step.before_finish",
    "execute.intent",
    "execute.staged",
    "execute.made",
    "execute.moving",
    "execute.trashed",
    "execute.placed",
    "execute.entered",
)
# Those of manifests are in test_balance.py, of trainings and storyboards in theirs, of remote jobs and of the mirror in test_remote.py and test_providers.py.
REWRITE, WRITE_BACK = ("execute.rewritten",), ("undo.written_back",)
UNDO = ("undo.begun", "undo.taken_away", "undo.restored")


def test_every_failpoint_has_a_scenario() -> None:
    sources = [path for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py")]
    found = {name for path in sources for name in re.findall(r'\bfailpoint\("([^"]+)"\)', path.read_text("utf-8"))}
    assert found == {*REPAIR, *UNDO, *REMOTE, *MIRROR, *MIRROR_UNDO, *REWRITE, *WRITE_BACK, *TRAIN, *STORYBOARD}


@pytest.mark.parametrize("name", REPAIR)
def test_repair_goes_on(case: Cases, name: str, record_property: Record) -> None:
    repair = case("repair")
    repair.fail_point(name)
    _report(record_property, repair, f"repair, {name}", 1)


@pytest.mark.chaos
@pytest.mark.parametrize("name", REPAIR)
def test_repair_goes_on_from_each_time(case: Cases, name: str, record_property: Record) -> None:
    repair = case("repair")
    times = _times(repair, name)
    assert times >= 2
    for nth in range(2, times + 1):
        repair.fail_point(f"{name}:{nth}")
    _report(record_property, repair, f"repair, {name}, each time", times - 1)


@pytest.mark.parametrize("name", [name for name in REPAIR if name.startswith("execute.")])
def test_what_was_cut_off_can_be_undone(case: Cases, name: str, record_property: Record) -> None:
    execute = case("execute")
    execute.scene.take(execute.template)
    killed = execute.zygote.run(execute.command, env={"CALLSHEET_FAILPOINT": f"{name}:2"})
    assert killed.code == KILLED
    undone = execute.zygote.run(execute.scene.undo("execute_plan"))
    assert undone.code == 0, undone.said
    record_property("chaos", f"failpoint|undo after {name}|1|0")
    assert visible(execute.scene.data) == _original(execute)


@pytest.mark.parametrize("name", UNDO)
def test_undo_goes_on(case: Cases, name: str, record_property: Record) -> None:
    execute = case("execute")
    execute.scene.take(execute.template)
    assert execute.zygote.run(execute.command).code == 0
    done = execute.scene.root.with_name("done")
    execute.scene.keep(done)
    undo = execute.scene.undo("execute_plan")
    times = 0
    while execute.zygote.run(undo, env={"CALLSHEET_FAILPOINT": f"{name}:{times + 1}"}).code == KILLED:
        times += 1
        again = execute.zygote.run(undo)
        assert again.code == 0, again.said
        assert visible(execute.scene.data) == _original(execute), f"{name}:{times}"
        execute.scene.take(done)
    record_property("chaos", f"failpoint|{name}, each time|{times}|0")
    assert times >= 2
    assert visible(execute.scene.data) == _original(execute)


def visible(data: Path) -> dict[str, str]:
    """The library without our own folder."""
    return {name: digest for name, digest in contents(data).items() if not name.startswith(".callsheet/")}


def _original(case: Case) -> dict[str, str]:
    return {name: digest for name, digest in case.before.items() if not name.startswith(".callsheet/")}


def _times(case: Case, name: str) -> int:
    """How often a repair comes by a place."""
    for nth in range(1, 20):
        case.scene.take(case.template)
        ended = case.zygote.run(case.command, env={"CALLSHEET_FAILPOINT": f"{name}:{nth}"})
        if ended.code != KILLED:
            return nth - 1
    raise AssertionError(f"{name} is passed without end")


def _report(record: Record, case: Case, what: str, total: int) -> None:
    record("chaos", f"failpoint|{what}|{total}|{len(case.bad)}")
    assert not case.bad, "\n".join(case.bad)
