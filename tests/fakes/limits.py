"""A rate limit as OpenAI's: a bucket that holds a minute's worth and refills evenly, and the headers that tell of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Bucket:
    """A token bucket.

    Attributes:
        per_minute: What refills in a minute.
        capacity: The most it holds.
        clock: Seconds.
    """

    per_minute: int
    capacity: float
    clock: Callable[[], float] = time.monotonic
    level: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.capacity
        self._at = self.clock()

    def take(self, amount: float) -> None:
        """Take that much, which must be there."""
        self.level -= amount

    def wait_s(self, amount: float) -> float:
        """Seconds until that much is there; 0 if it is."""
        self._refill()
        return max(0.0, (amount - self.level) * 60 / self.per_minute)

    def headers(self, kind: str) -> dict[str, str]:
        """x-ratelimit-*; the reset is the time until the bucket is full."""
        return {
            f"x-ratelimit-limit-{kind}": str(self.per_minute),
            f"x-ratelimit-remaining-{kind}": str(int(self.level)),
            f"x-ratelimit-reset-{kind}": duration(self.wait_s(self.capacity)),
        }

    def _refill(self) -> None:
        now = self.clock()
        self.level = min(self.capacity, self.level + (now - self._at) * self.per_minute / 60)
        self._at = now


def duration(seconds: float) -> str:
    """Like the vendor: 120ms, 7.66s, 6m0s, 1h2m3s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    whole, rest = divmod(seconds, 60)
    text = f"{round(rest, 3):g}s"
    if seconds < 60:
        return text
    hours, minutes = divmod(int(whole), 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
