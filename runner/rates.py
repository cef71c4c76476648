"""Requests and tokens a minute: spread evenly, as the recipe or the provider's headers say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.params import at_least, param

# A little under the limit, since the server's clock and ours differ and requests overtake each other on the way.
SHARE = 0.97
# What may go at once, as a share of a minute's limit: servers count by the minute in several ways, and even spacing suits them all.
BURST = 0.05


@dataclass(frozen=True)
class LimitSettings:
    """How fast a backend may be called. null leaves it to the provider's headers and to what it refuses."""

    requests_per_minute: float | None = param(
        None, help="most requests a minute", check=at_least(0.1), operational=True
    )
    tokens_per_minute: float | None = param(
        None, help="most tokens a minute, of prompts and answers", check=at_least(1), operational=True
    )
    concurrency: int | None = param(
        None, help="most requests at once; null is as many as workers", check=at_least(1), operational=True
    )


@dataclass(frozen=True)
class RateHeaders:
    """What a provider's answer said about its limits, a minute; None where it said nothing."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Pacer:
    """Spreads amounts over time at a rate that may become known, or change, while it works (GCRA: ITU-T I.371, annex A).

    Args:
        per_minute: The limit, if it is known.
        clock: Seconds.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._per_second: float | None = None
        self._burst_s = 0.0
        # When what was let through so far is used up at the rate.
        self._paid_until = float("-inf")
        # While no rate is known: what was let through, and since when.
        self._unpaced, self._since = 0.0, clock()
        self.per_minute: float | None = None
        self.set(per_minute)

    def set(self, per_minute: float | None) -> None:
        """Work at this rate from now on; what was let through before any was known counts."""
        if per_minute is None or per_minute == self.per_minute:
            return
        with self._lock:
            first = self._per_second is None
            self.per_minute = per_minute
            self._per_second = per_minute * SHARE / 60
            self._burst_s = max(1.0, per_minute * BURST) / self._per_second
            if first:
                self._paid_until = max(self._since, self._clock() - 60) + self._unpaced / self._per_second

    def book(self, amount: float = 1.0) -> float:
        """Let an amount through; returns the seconds after which it may go."""
        with self._lock:
            now = self._clock()
            if self._per_second is None:
                self._unpaced += amount
                return 0.0
            self._paid_until = max(self._paid_until, now) + amount / self._per_second
            return max(0.0, self._paid_until - self._burst_s - now)

    def correct(self, difference: float) -> None:
        """An amount that was booked turned out larger (or smaller) by so much."""
        with self._lock:
            if self._per_second is None:
                self._unpaced += difference
            else:
                self._paid_until += difference / self._per_second
