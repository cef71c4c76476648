"""Adaptive concurrency: grow by one call a round while all is well, shrink by a third when told to slow down (AIMD)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from runner.stop import Stop

SHRINK = 0.67
POLL_SECONDS = 0.2


class Limiter:
    """At most `limit` calls at once, between 1 and `maximum`."""

    def __init__(self, maximum: int, stop: Stop, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self._stop = stop
        self._clock = clock
        self._running = 0
        self._shrunk_at = float("-inf")
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def slot(self) -> Iterator[float]:
        """Hold one place while a call runs; yields the time at which it began. Raises Interrupted when the run stops."""
        with self._changed:
            while self._running >= int(self.limit):
                self._stop.check()
                self._changed.wait(POLL_SECONDS)
            self._running += 1
        try:
            yield self._clock()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def succeeded(self) -> None:
        """A call came back well."""
        if self.limit < self.maximum:
            with self._changed:
                self.limit = min(float(self.maximum), self.limit + 1 / self.limit)
                self._changed.notify()

    def throttled(self, began: float) -> None:
        """A call was refused for coming too fast. Calls that began before the last shrinking say nothing new."""
        with self._changed:
            if began > self._shrunk_at:
                self.limit = max(1.0, self.limit * SHRINK)
                self._shrunk_at = self._clock()
