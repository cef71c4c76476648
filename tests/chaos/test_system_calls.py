"""Killed before its Nth system call, a repair leaves nothing torn or lost, and the same command ends as if nothing had been."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Cases, Record
from tests.chaos.crash import Case, needs_strace, spread

pytestmark = needs_strace
# Names differ between machines; those that occur are swept.
CALLS = {
    "openat": "open,openat",
    "write": "write,writev,pwritev2",
    "pwrite": "pwrite64",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat,rmdir",
    "ftruncate": "truncate,ftruncate",
    "mkdir": "mkdir,mkdirat",
    "link": "link,linkat,symlink,symlinkat",
}
# The ledger's writer gathers what comes within a tenth of a second, so that how often it writes differs a little between runs.
BATCHED = ("pwrite64", "fdatasync", "ftruncate")


def sweep(case: Case, calls: str, most: int, *, faults: tuple[str, ...] = (), inline: bool = True) -> int:
    """Kill at the points of some calls that touch the scene; returns how many there were."""
    case.scene.take(case.template)
    points = case.zygote.points(case.command, calls, inline=inline)
    total = 0
    for call in sorted({point.call for point in points}):
        numbers = [point.number for point in points if point.call == call and str(case.scene.root) in point.line]
        if call in BATCHED:
            numbers = [number for number in numbers if number <= 0.75 * max(numbers)]
        for number in spread(numbers, most):
            case.kill(call, number, faults=faults, inline=inline)
            total += 1
    return total


def report(record: Record, case: Case, what: str, total: int) -> None:
    areas = ", ".join(f"{area} {count}" for area, count in sorted(case.areas.items()))
    record("chaos", f"system call|{what} ({areas})|{total}|{len(case.bad)}")
    assert not case.bad, "\n".join(case.bad)


@pytest.mark.parametrize("calls", ["rename", "fsync", "pwrite"])
def test_some_points_of_an_execute(case: Cases, calls: str, record_property: Record) -> None:
    execute = case("execute")
    report(record_property, execute, f"execute, {calls}, some", sweep(execute, CALLS[calls], 4))


@pytest.mark.chaos
@pytest.mark.parametrize("calls", list(CALLS))
def test_every_point_of_an_execute(case: Cases, calls: str, record_property: Record) -> None:
    execute = case("execute")
    total = sweep(execute, CALLS[calls], {"openat": 60, "pwrite": 60}.get(calls, 10_000))
    assert total > 0
    report(record_property, execute, f"execute, {calls}", total)


@pytest.mark.chaos
@pytest.mark.parametrize("calls", list(CALLS))
def test_points_of_a_repair(case: Cases, calls: str, record_property: Record) -> None:
    repair = case("repair")
    report(record_property, repair, f"repair, {calls}", sweep(repair, CALLS[calls], 16))


@pytest.mark.chaos
@pytest.mark.parametrize("calls", ["write", "fsync", "rename"])
def test_points_with_the_real_threads(case: Cases, calls: str, record_property: Record) -> None:
    """As it is used: eight workers, so that each thread counts for itself and every number up to the least of them is sure to come."""
    execute = case("execute")
    execute.scene.take(execute.template)
    points = execute.zygote.points(execute.command, CALLS[calls], inline=False)
    sure = max(point.number for point in points) // 2
    for number in spread(range(1, sure + 1), 10):
        execute.kill(calls, number, inline=False)
    report(record_property, execute, f"execute with threads, {calls}", len(spread(range(1, sure + 1), 10)))
    assert execute.areas["library"] + execute.areas["run"] > 0
