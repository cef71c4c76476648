"""How many calls go at once and how fast.

Concurrency grows by one call a round while all is well and shrinks by a third when told to slow down (AIMD). Requests and tokens a minute
are spread evenly where the recipe or the provider's headers name a limit; and nothing goes while a provider has asked to wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from runner.rates import LimitSettings, Pacer, RateHeaders
from runner.stop import Stop

SHRINK = 0.67
POLL_SECONDS = 0.2
# So many calls find out what the limits are; the others wait for the first answer.
SCOUTS = 10


class Limiter:
    """At most `limit` calls at once, between 1 and `maximum`, and no faster than the limits."""

    def __init__(
        self,
        maximum: int,
        stop: Stop,
        clock: Callable[[], float] = time.monotonic,
        *,
        settings: LimitSettings | None = None,
    ) -> None:
        self._settings = settings or LimitSettings()
        self.maximum = min(maximum, self._settings.concurrency or maximum)
        self.limit = float(self.maximum)
        self._stop = stop
        self._clock = clock
        self._inside = self._running = 0
        self._answered = False
        self._shrunk_at = float("-inf")
        self._closed_until = float("-inf")
        self._changed = threading.Condition()
        self._requests = Pacer(self._settings.requests_per_minute, clock)
        self._tokens = Pacer(self._settings.tokens_per_minute, clock)

    @contextlib.contextmanager
    def slot(self, tokens: float = 0.0, *, paced: bool = True) -> Iterator[float]:
        """Hold one place while a call runs; yields the time at which it began. Raises Interrupted when the run stops.

        Args:
            tokens: The most that the call may use; see `used`.
            paced: Whether it counts against the limits a minute.
        """
        self._enter()
        try:
            if paced:
                self._pace(tokens)
            began = self._begin()
            try:
                yield began
            finally:
                with self._changed:
                    self._running -= 1
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all() if self._inside < SCOUTS else self._changed.notify()

    def _enter(self) -> None:
        """Until a first answer has named the limits, only a few go: a hundred at once would meet a limit that nobody knew."""
        with self._changed:
            while not self._answered and self._inside >= SCOUTS:
                self._stop.check()
                self._changed.wait(POLL_SECONDS)
            self._inside += 1

    def _pace(self, tokens: float) -> None:
        wait = self._requests.book()
        if tokens:
            wait = max(wait, self._tokens.book(tokens))
        if wait > 0:
            self._stop.sleep(wait)

    def _begin(self) -> float:
        with self._changed:
            began = self._clock()
            while self._running >= int(self.limit) or began < self._closed_until:
                self._stop.check()
                closed = self._closed_until - began
                self._changed.wait(min(POLL_SECONDS, closed) if closed > 0 else POLL_SECONDS)
                began = self._clock()
            self._running += 1
        return began

    def succeeded(self) -> None:
        """A call came back well."""
        if not self._answered:
            with self._changed:
                self._answered = True
                self._changed.notify_all()
        if self.limit < self.maximum:
            with self._changed:
                self.limit = min(float(self.maximum), self.limit + 1 / self.limit)
                self._changed.notify()

    def throttled(self, began: float, retry_after: float | None = None) -> None:
        """A call was refused for coming too fast. Calls that began before the last shrinking say nothing new.

        Args:
            began: When the call began.
            retry_after: Seconds that the provider asked to wait: nothing goes before.
        """
        with self._changed:
            if retry_after:
                self._closed_until = max(self._closed_until, self._clock() + retry_after)
            if began > self._shrunk_at:
                self.limit = max(1.0, self.limit * SHRINK)
                self._shrunk_at = self._clock()

    def heard(self, headers: RateHeaders) -> None:
        """A provider named its limits: they hold where the recipe names none, and where they are lower."""
        self._requests.set(_lower(self._settings.requests_per_minute, headers.requests_per_minute))
        self._tokens.set(_lower(self._settings.tokens_per_minute, headers.tokens_per_minute))

    @property
    def limits(self) -> RateHeaders:
        """The limits that hold now."""
        return RateHeaders(self._requests.per_minute, self._tokens.per_minute)

    def used(self, tokens: float, booked: float) -> None:
        """A call used so many tokens and had booked so many."""
        self._tokens.correct(tokens - booked)


def _lower(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)
