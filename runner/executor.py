"""Runs items beside each other. The contract is one function, so that another executor (Ray) can take its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from runner.errors import Interrupted
from runner.stop import Stop

T = TypeVar("T")
POLL_SECONDS = 0.2


class Executor(Protocol):
    """Carries out `work` on every item; `work` handles its own errors."""

    def run(self, items: Iterable[T], work: Callable[[T], None], stop: Stop) -> bool:
        """Take items as there is room, none once the run stops; those that have begun end before this returns or raises.

        Returns:
            False if the run was interrupted and items were still under way when the grace was over.
        """
        ...


class LocalExecutor:
    """A thread pool in this process."""

    def __init__(self, workers: int, grace_s: float) -> None:
        self._workers = workers
        self._grace_s = grace_s

    def run(self, items: Iterable[T], work: Callable[[T], None], stop: Stop) -> bool:
        """See `Executor.run`. At most twice as many items as workers are held in memory."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="item")
        outstanding = _Outstanding(2 * self._workers)
        broken = threading.Event()

        def one(item: T) -> None:
            try:
                if not broken.is_set():
                    work(item)
            finally:
                outstanding.leave()

        try:
            for item in items:
                if not outstanding.enter(stop):
                    break
                pool.submit(one, item)
            return outstanding.drained(stop, self._grace_s)
        except BaseException:
            # The list of items broke off. Whoever is told lets go of locks, so nobody may be at work any more.
            broken.set()
            if not outstanding.drained(stop, self._grace_s):
                return False
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Outstanding:
    """Counts items that were handed out and are not done."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._count = 0
        self._changed = threading.Condition()

    def enter(self, stop: Stop) -> bool:
        """Wait for room; False when the run stops."""
        with self._changed:
            while self._count >= self._room and not stop.requested:
                self._changed.wait(POLL_SECONDS)
            if stop.requested:
                return False
            self._count += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._count -= 1
            if self._count == 0 or self._count == self._room - 1:
                self._changed.notify()

    def drained(self, stop: Stop, grace_s: float) -> bool:
        """Wait for the last one; not longer than the grace where a person waits for the end."""
        deadline: float | None = None
        with self._changed:
            while self._count:
                if isinstance(stop.reason, Interrupted) and deadline is None:
                    deadline = time.monotonic() + grace_s
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                self._changed.wait(POLL_SECONDS)
        return True
