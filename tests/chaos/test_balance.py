"""Killed anywhere, a balance of training images and its undo go on as if nothing had been, on disk and in the bucket."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.conftest import Cases, Record, Wiring
from tests.chaos.crash import KILLED, Case, needs_strace, spread
from tests.chaos.test_disk import break_disk
from tests.chaos.test_failpoints import REPAIR, REWRITE, UNDO, WRITE_BACK, visible
from tests.chaos.test_system_calls import CALLS, sweep
from tests.chaos.wired import MIRROR, MIRROR_UNDO, Wired

PLACES = (*REPAIR, *REWRITE)
MOMENTS, REQUESTS = 14, 10


def test_a_few_places(case: Cases, record_property: Record) -> None:
    """The quick sample."""
    balance = case("balance")
    for name in ("execute.staged:3", "execute.trashed", "execute.rewritten"):
        balance.fail_point(name)
    _report(record_property, balance, "failpoint", "a few places", 3)


@pytest.mark.chaos
@pytest.mark.parametrize("name", PLACES)
def test_it_goes_on_from_each_time(case: Cases, name: str, record_property: Record) -> None:
    balance = case("balance")
    times = 0
    while balance.passes(f"{name}:{times + 1}"):
        times += 1
    assert times >= 2
    _report(record_property, balance, "failpoint", f"{name}, each time", times)


@pytest.mark.chaos
@pytest.mark.parametrize("name", [name for name in PLACES if name.startswith("execute.")])
def test_what_was_cut_off_can_be_undone(case: Cases, name: str, record_property: Record) -> None:
    balance = case("balance")
    balance.begin()
    times = 0
    while _fail(balance, balance.command, f"{name}:{times + 1}") == KILLED:
        times += 1
        _undo(balance, f"{name}:{times}")
        balance.begin()
    assert times >= 2
    _report(record_property, balance, "failpoint", f"undo after {name}", times)


@pytest.mark.chaos
@pytest.mark.parametrize("name", [*UNDO, *WRITE_BACK])
def test_undo_goes_on(case: Cases, name: str, record_property: Record) -> None:
    balance = case("balance")
    balance.begin()
    assert balance.zygote.run(balance.command).code == 0
    done = balance.scene.root.with_name("balanced")
    balance.scene.keep(done)
    times = 0
    while _fail(balance, balance.scene.undo("balance_training_data"), f"{name}:{times + 1}") == KILLED:
        times += 1
        _undo(balance, f"{name}:{times}")
        balance.scene.take(done)
    assert times >= 2
    _report(record_property, balance, "failpoint", f"undo, {name}", times)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("calls", ["rename", "fsync", "write", "pwrite", "unlink"])
def test_killed_before_system_calls(case: Cases, calls: str, record_property: Record) -> None:
    balance = case("balance")
    _report(record_property, balance, "system call", calls, sweep(balance, CALLS[calls], 16))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_or_broken_disk(case: Cases, call: str, record_property: Record) -> None:
    balance = case("balance")
    _report(record_property, balance, "EIO, ENOSPC", call, break_disk(balance, call, ("EIO", "ENOSPC"), 6))


@pytest.mark.chaos
def test_in_a_bucket_it_goes_on_from_each_place(wired: Wiring, record_property: Record) -> None:
    balance = wired("s3", "embedded", "balance")
    total = 0
    for name in (*PLACES, *MIRROR):
        nth = 1
        while balance.passes(f"{name}:{nth}"):
            nth += 1
            total += 1
    assert total >= 30
    _report(record_property, balance, "failpoint", "s3, each place each time", total)


@pytest.mark.chaos
def test_in_a_bucket_at_random_moments(wired: Wiring, record_property: Record) -> None:
    balance = wired("s3", "embedded", "balance")
    _report(record_property, balance, "SIGKILL", "s3, random moments", balance.moments(MOMENTS, "balance 2026"))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_in_a_bucket_at_a_request(wired: Wiring, call: str, record_property: Record) -> None:
    balance = wired("s3", "embedded", "balance")
    balance.begin()
    points = balance.zygote.points(balance.command, call)
    numbers = spread((point.number for point in points if "socket:" in point.line), REQUESTS)
    killed = sum(balance.request(call, number) for number in numbers)
    assert killed >= 0.8 * len(numbers)
    _report(record_property, balance, "request", f"s3, before {call}", killed)


@pytest.mark.chaos
def test_in_a_bucket_an_undo_goes_on(wired: Wiring, record_property: Record) -> None:
    balance = wired("s3", "embedded", "balance")
    balance.begin()
    assert balance.zygote.run(balance.command).code == 0
    done, objects = balance.scene.root.with_name("balanced"), balance.bucket()
    balance.scene.keep(done)
    total = 0
    for name in (*UNDO, *WRITE_BACK, *MIRROR_UNDO):
        times = 0
        balance.begin_from(done, objects)
        while _fail(balance, balance.scene.undo("balance_training_data"), f"{name}:{times + 1}") == KILLED:
            times += 1
            balance.bad += [f"killed at {name}:{times}: {line}" for line in balance.torn_or_lost()]
            _undo(balance, f"{name}:{times}")
            _check_bucket(balance, f"{name}:{times}")
            balance.begin_from(done, objects)
        assert times >= 1, name
        total += times
    _report(record_property, balance, "failpoint", "s3, undo, each place each time", total)


def _fail(balance: Case, command: Sequence[str], name: str) -> int:
    return balance.zygote.run(command, env={"CALLSHEET_FAILPOINT": name}).code


def _undo(balance: Case, what: str) -> None:
    """Undo what there is; then the library must be what it was."""
    undone = balance.zygote.run(balance.scene.undo("balance_training_data"))
    # Killed before the first action touched the library, there is nothing to take back.
    if undone.code != 0 and "changed nothing" not in undone.said:
        balance.bad.append(f"{what}: undo ends with {undone.code}: {undone.said[-500:]}")
    if visible(balance.scene.data) != {path: sha for path, sha in balance.before.items() if path[:1] != "."}:
        balance.bad.append(f"{what}: the library is not what it was")


def _check_bucket(balance: Wired, what: str) -> None:
    now = balance.bucket()
    if wrong := sorted(key for key in {*now, *balance.objects} if now.get(key) != balance.objects.get(key)):
        balance.bad.append(f"{what}: the bucket is not what it was: {wrong}")


def _report(record: Record, balance: Case, layer: str, what: str, total: int) -> None:
    record("chaos", f"{layer}|balance, {what}|{total}|{len(balance.bad)}")
    assert total > 0
    assert not balance.bad, "\n".join(balance.bad)
