"""Every request to a backend goes through here: one retry policy, one limit on concurrency, one budget."""

from __future__ import annotations

import contextlib
import contextvars
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from runner.budget import Budget
from runner.errors import BadAnswer, ItemError, ProviderStopped, Transient
from runner.limiter import Limiter
from runner.params import at_least, param
from runner.remote import RemoteJobs

T = TypeVar("T")


@dataclass(frozen=True)
class RetrySettings:
    """When a call that failed is made again."""

    attempts: int = param(5, help="calls in all when the fault is transient", check=at_least(1))
    bad_answers: int = param(3, help="calls in all when answers are nonsense", check=at_least(1))
    wait_s: float = param(1.0, help="seconds before the second call; doubled each time, with jitter", check=at_least(0))
    wait_max_s: float = param(
        60.0, help="most seconds between two calls, unless the server asks for more", check=at_least(0)
    )


@dataclass(frozen=True)
class Reply(Generic[T]):
    """What a request brought, and what it cost in US dollars."""

    value: T
    usd: float = 0.0


class ItemMeter:
    """Adds up what the calls of one item cost."""

    def __init__(self) -> None:
        self.usd = 0.0
        self.calls = 0


_meter: contextvars.ContextVar[ItemMeter | None] = contextvars.ContextVar("meter", default=None)


@contextlib.contextmanager
def metering() -> Iterator[ItemMeter]:
    """Attribute the calls made in this block (in this thread) to one item."""
    meter = ItemMeter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


class Calls:
    """What a backend gets to make its requests with.

    Attributes:
        backend: For messages, for example "vision=openai".
        remote: For work that a vendor does in jobs: each is created once, and found again after a crash.
        stop: For waits and long work of the backend's own.
    """

    def __init__(
        self, backend: str, *, budget: Budget, retry: RetrySettings, limiter: Limiter, remote: RemoteJobs
    ) -> None:
        self.backend = backend
        self.remote = remote
        self.stop = remote.stop
        self._budget = budget
        self._retry = retry
        self._limiter = limiter

    def make(self, send: Callable[[], Reply[T]], *, estimate: float | None = 0.0) -> T:
        """Send a request, again while it is worth it.

        Args:
            send: Makes one request; raises what `runner.errors` sorts failures into. An error that was billed says so by an
                attribute `usd`; one of which that is not known by `maybe_billed`.
            estimate: The most that one request may cost in US dollars; None when unknown.

        Raises:
            ItemError: It failed for good; the message counts the attempts.
            RunStopped: Nothing more can be called.
            Interrupted: The run stops while waiting.
        """
        return self._retried(lambda: self._once(send, estimate))

    def _retried(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception_type((Transient, BadAnswer)),
            stop=self._give_up,
            wait=self._pause,
            sleep=self.stop.sleep,
            reraise=True,
        )
        attempts = 0

        def once() -> T:
            nonlocal attempts
            attempts += 1
            return work()

        try:
            return retrying(once)
        except (Transient, BadAnswer) as error:
            if attempts > 1:
                raise ItemError(f"{error} (gave up after {attempts} attempts)") from error
            raise

    def free(self, send: Callable[[], T]) -> T:
        """Send a request that costs nothing (a poll, an upload): retried and held to the limits as others, not counted by the budget."""
        return self._retried(lambda: self._limited(send))

    def _once(self, send: Callable[[], Reply[T]], estimate: float | None) -> T:
        return self._limited(lambda: self._paid(send, estimate))

    def _limited(self, send: Callable[[], T]) -> T:
        with self._limiter.slot() as began:
            try:
                value = send()
            except Transient as error:
                if error.throttled:
                    self._limiter.throttled(began)
                raise
        self._limiter.succeeded()
        return value

    def _paid(self, send: Callable[[], Reply[T]], estimate: float | None) -> T:
        reservation = self._budget.reserve(estimate, self.backend)
        # A call counts at its maximum unless it is known what became of it: one that is cut off, or that the server took and
        # never answered, may well have been billed.
        usd = estimate or 0.0
        try:
            reply = send()
            usd = reply.usd
        except (ItemError, ProviderStopped) as error:
            unknown = isinstance(error, Transient) and error.maybe_billed
            usd = getattr(error, "usd", usd if unknown else 0.0)
            raise
        finally:
            self._budget.settle(reservation, usd)
            self._count(usd)
        return reply.value

    def _count(self, usd: float) -> None:
        meter = _meter.get()
        if meter is not None:
            meter.usd += usd
            meter.calls += 1

    def _give_up(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        limit = self._retry.bad_answers if isinstance(error, BadAnswer) else self._retry.attempts
        return state.attempt_number >= limit

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, BadAnswer):
            return 0.0
        if isinstance(error, Transient) and error.retry_after is not None:
            return max(0.0, error.retry_after)
        longest: float = min(self._retry.wait_max_s, self._retry.wait_s * 2 ** (state.attempt_number - 1))
        # Jitter so that a hundred workers do not come back as one (full jitter of the upper half).
        return longest * random.uniform(0.5, 1.0)  # noqa: S311
