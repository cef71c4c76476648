"""Items beside each other: whoever is told that a step is over may let go of its locks, for nobody works any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runner.errors import BudgetReached, CallsheetError, Interrupted
from runner.executor import LocalExecutor
from runner.stop import Stop

BLINK = 0.05


class Work:
    """Items 0 and 1 are under way at the same time; 0 stops the run, and 1 goes on for a moment after that."""

    def __init__(self, stop: Stop, reason: CallsheetError | None, moment: float = BLINK) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.free = threading.Event()
        self._both = threading.Barrier(2)
        self._stop, self._reason, self._moment = stop, reason, moment

    def __call__(self, number: int) -> None:
        self.begun.append(number)
        self._both.wait(10)
        if number == 0 and self._reason is not None:
            self._stop.request(self._reason)
        self.free.wait(self._moment)
        self.ended.append(number)


def test_what_the_budget_stops_comes_to_its_end_however_short_the_grace() -> None:
    stop = Stop()
    work = Work(stop, BudgetReached("spent"))
    assert LocalExecutor(2, grace_s=0).run(range(100), lambda item: None if stop.requested else work(item), stop)
    assert sorted(work.ended) == [0, 1]


def test_a_person_who_interrupts_waits_for_the_grace_only() -> None:
    stop = Stop()
    work = Work(stop, Interrupted("ctrl+c"), moment=10)
    assert not LocalExecutor(2, grace_s=0).run(range(2), work, stop)
    assert work.ended == []
    work.free.set()


def test_a_person_need_not_wait_for_what_the_budget_stopped() -> None:
    stop = Stop()
    stop.request(BudgetReached("spent"))
    stop.request(Interrupted("ctrl+c"))
    stop.request(BudgetReached("spent again"))
    assert isinstance(stop.reason, Interrupted)


def test_when_the_list_breaks_off_those_under_way_end_and_no_other_begins() -> None:
    stop = Stop()
    work = Work(stop, None)

    def items() -> Iterator[int]:
        yield from range(3)
        while len(work.begun) < 2:
            work.free.wait(0.001)
        raise ValueError("two of one name")

    with pytest.raises(ValueError, match="two of one name"):
        LocalExecutor(2, grace_s=0).run(items(), work, stop)
    assert sorted(work.begun) == sorted(work.ended) == [0, 1]
