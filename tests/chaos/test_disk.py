"""A disk that is full or broken: the command ends with a message that names the file, nothing is lost, and it goes on once the disk is well."""

from __future__ import annotations

import re

import pytest

from tests.chaos.conftest import Cases, Record
from tests.chaos.crash import Case, needs_strace, spread
from tests.chaos.scene import difference, lost, snapshot

pytestmark = needs_strace
# What stands in the library and about it; how many runs it took is another matter.
SETTLED = ("check", "actions", "plans", "data", "leftovers", "reservations")
# What a run can do without: it says so in its log, and ends well. SQLite does not mind when its folder can't be synced.
SPARE = ("report.html", "/pictures/", "latest", "log.txt", "/outputs>)")


def break_disk(case: Case, call: str, errors: tuple[str, ...], most: int) -> int:
    """Let a call fail at some points, once and from then on; returns at how many."""
    case.scene.take(case.template)
    # A call that failed anyway (a folder that is there, a file that may be missing) is no point.
    points = [
        point
        for point in case.zygote.points(case.command, call)
        if str(case.scene.root) in point.line and " = -1 " not in point.line
    ]
    numbers = spread((point.number for point in points if point.number <= 0.75 * max(p.number for p in points)), most)
    for number in numbers:
        for error in errors:
            # Not even the message could be written if all writing failed.
            for when in (str(number),) if call == "write" else (str(number), f"{number}+"):
                _fail(case, call, error, when)
    return len(numbers) * len(errors) * (1 if call == "write" else 2)


def _fail(case: Case, call: str, error: str, when: str) -> None:
    case.scene.take(case.template)
    ended = case.zygote.run(
        case.command, strace=["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    )
    hit = [line for line in case.zygote.log.read_text("utf-8", errors="replace").splitlines() if "(INJECTED)" in line]
    assert hit, f"{call} {when} failed nothing"
    wrong = [f"lost: {line}" for line in lost(case.before, case.scene.data)]
    if "Traceback" in ended.said:
        wrong.append(f"a traceback: {ended.said[-1500:]}")
    if ended.code == 0:
        if not any(spare in line for line in hit for spare in SPARE):
            wrong.append("it ends with 0")
    elif not re.search(r"/\S+: ", ended.said):
        wrong.append(f"names no file: {ended.said}")
    if ended.code != 0 and (again := case.zygote.run(case.command)).code != 0:
        wrong.append(f"given again it ends with {again.code}: {again.said[-500:]}")
    state = snapshot(case.scene)
    wrong += difference({key: state[key] for key in SETTLED}, {key: case.expected[key] for key in SETTLED})
    if wrong:
        case.bad.append("\n  ".join([f"{call} {error} {when} ({hit[0][:200]}), ended with {ended.code}", *wrong[:8]]))


def test_some_failures(case: Cases, record_property: Record) -> None:
    execute = case("execute")
    total = break_disk(execute, "fsync", ("ENOSPC",), 2)
    _report(record_property, execute, "execute, fsync, some", total)


@pytest.mark.chaos
@pytest.mark.parametrize("call", ["write", "pwrite64", "fsync", "fdatasync", "rename", "openat", "mkdir"])
def test_failures(case: Cases, call: str, record_property: Record) -> None:
    execute = case("execute")
    total = break_disk(execute, call, ("EIO", "ENOSPC"), 12)
    _report(record_property, execute, f"execute, {call}", total)


def _report(record: Record, case: Case, what: str, total: int) -> None:
    record("chaos", f"EIO, ENOSPC|{what}|{total}|{len(case.bad)}")
    assert total > 0
    assert not case.bad, "\n".join(case.bad)
