"""Every request to a backend goes through here: one retry policy, one limit on concurrency, one budget."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from runner.budget import Budget
from runner.errors import BadAnswer, CallsheetError, ItemError, MisconfiguredRun, ProviderStopped, Transient
from runner.exchanges import Exchanges
from runner.fingerprint import FileHashes
from runner.limiter import Limiter
from runner.params import at_least, param
from runner.rates import RateHeaders
from runner.remote import FoundJob, RemoteJobs

T = TypeVar("T")
log = logging.getLogger("callsheet")


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
    """What a request brought, what it cost in US dollars, and how many tokens it used where they are limited."""

    value: T
    usd: float = 0.0
    tokens: int | None = None


class ItemMeter:
    """Adds up what the calls of one item cost."""

    def __init__(self, item: str) -> None:
        self.item = item
        self.usd = 0.0
        self.calls = 0


_meter: contextvars.ContextVar[ItemMeter | None] = contextvars.ContextVar("meter", default=None)


@contextlib.contextmanager
def metering(item: str = "") -> Iterator[ItemMeter]:
    """Attribute the calls made in this block (in this thread) to one item, named LABEL/KEY."""
    meter = ItemMeter(item)
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


class Calls:
    """What a backend gets to make its requests with.

    Attributes:
        backend: For messages, for example "vision=openai".
        remote: Forgets and finds jobs; `job` runs them.
        stop: For waits and long work of the backend's own.
        exchanges: Keeps requests and answers under debug=true; backends over HTTP hand them over.
        hashes: Of files that a backend works with.
    """

    def __init__(
        self,
        backend: str,
        *,
        budget: Budget,
        retry: RetrySettings,
        limiter: Limiter,
        remote: RemoteJobs,
        exchanges: Exchanges | None = None,
    ) -> None:
        self.backend = backend
        self.remote = remote
        self.stop = remote.stop
        self.exchanges = exchanges or Exchanges(None, backend)
        self.hashes = FileHashes(remote.ledger)
        self._budget = budget
        self._retry = retry
        self._limiter = limiter
        self._retrying = Retrying(
            retry=retry_if_exception_type((Transient, BadAnswer)),
            stop=self._give_up,
            wait=self._pause,
            sleep=self.stop.sleep,
            reraise=True,
        )

    def make(self, send: Callable[[], Reply[T]], *, estimate: float | None = 0.0, tokens: int = 0) -> T:
        """Send a request, again while it is worth it.

        Args:
            send: Makes one request; raises what `runner.errors` sorts failures into. An error that was billed says so by
                `usd`; one of which that is not known by `maybe_billed`.
            estimate: The most that one request may cost in US dollars; None when unknown.
            tokens: The most that one request may use, where the provider limits tokens a minute.

        Raises:
            ItemError: It failed for good; the message counts the attempts.
            RunStopped: Nothing more can be called.
            Interrupted: The run stops while waiting.
        """
        return self._retried(lambda: self._once(send, estimate, tokens))

    def job(
        self,
        key: str,
        *,
        create: Callable[[], str],
        poll: Callable[[str], Reply[T] | None],
        estimate: float | None,
        every_s: float = 1.0,
    ) -> T:
        """The result of a job that a vendor does; created once for a key, whatever happens meanwhile, and paid for once.

        The estimate is counted when the job is created, and corrected by what it cost when it has ended: a job that a killed run left
        behind has been counted by then.

        Args:
            key: Names the job for good.
            create: Starts it and returns its id.
            poll: Takes the id; the result with its cost, or None while it runs. An error that ends the job says so by `job_usd`.
            estimate: The most that it may cost in US dollars; None when unknown.
            every_s: Seconds between polls.

        Raises:
            Transient: It failed, and another may not.
            ItemError, RunStopped, Interrupted: As `make`.
        """
        usd = estimate or 0.0
        try:
            reply, first = self.remote.run(
                key,
                self.backend,
                create=lambda: self._create(create, estimate),
                poll=lambda remote_id: self.free(lambda: poll(remote_id)),
                every_s=every_s,
            )
        except ItemError as error:
            if error.job_usd is not None:
                self.remote.forget(key)
                if error.job_first:
                    self._correct(error.job_usd - usd)
            raise
        if first:
            self._correct(reply.usd - usd)
        return reply.value

    def _create(self, create: Callable[[], str], estimate: float | None) -> str:
        """Create a job. An error says by `maybe_created` that the answer to a try was lost."""
        lost: list[Transient] = []

        def once() -> Reply[str]:
            try:
                remote_id = create()
                return Reply(remote_id, 0.0 if isinstance(remote_id, FoundJob) else estimate or 0.0)
            except Transient as error:
                if error.maybe_billed:
                    log.warning(
                        "%s: the answer to a create was lost (%s): the job may run and be paid for", self.backend, error
                    )
                    lost.append(error)
                raise

        try:
            return self.make(once, estimate=estimate)
        except CallsheetError as error:
            error.maybe_created = bool(lost)
            raise

    def heard(self, headers: RateHeaders) -> None:
        """The provider named its limits."""
        self._limiter.heard(headers)

    def _correct(self, usd: float) -> None:
        if usd:
            self._budget.correct(usd)
            self._count(usd, calls=0)

    def _retried(self, work: Callable[[], T]) -> T:
        try:
            # Nearly all go well, and need none of what follows.
            return work()
        except (Transient, BadAnswer) as error:
            first: list[CallsheetError] = [error]
        attempts = 0

        def again() -> T:
            nonlocal attempts
            attempts += 1
            if first:
                raise first.pop()
            return work()

        try:
            return self._retrying(again)
        except (Transient, BadAnswer) as error:
            if attempts > 1 and error.job_usd is None:
                raise ItemError(f"{error} (gave up after {attempts} attempts)") from error
            raise

    def free(self, send: Callable[[], T]) -> T:
        """Send a request that costs nothing (a poll, an upload): retried as others, counted neither by the budget nor a minute's limit."""
        return self._retried(lambda: self._limited(send, paced=False))

    def _once(self, send: Callable[[], Reply[T]], estimate: float | None, tokens: int) -> T:
        reply = self._limited(lambda: self._paid(send, estimate), tokens)
        if reply.tokens is not None:
            self._limiter.used(reply.tokens, tokens)
        return reply.value

    def _limited(self, send: Callable[[], T], tokens: int = 0, *, paced: bool = True) -> T:
        with self._limiter.slot(tokens, paced=paced) as began:
            try:
                value = send()
            except Transient as error:
                if error.throttled:
                    self._limiter.throttled(began, error.retry_after)
                raise
        self._limiter.succeeded()
        return value

    def _paid(self, send: Callable[[], Reply[T]], estimate: float | None) -> Reply[T]:
        reservation = self._budget.reserve(estimate, self.backend)
        # A call counts at its maximum unless it is known what became of it: one that is cut off, or that the server took and
        # never answered, may well have been billed.
        usd = estimate or 0.0
        try:
            reply = send()
            usd = reply.usd
        except (ItemError, ProviderStopped, MisconfiguredRun) as error:
            usd = error.usd if error.usd is not None else usd if error.maybe_billed else 0.0
            raise
        finally:
            self._budget.settle(reservation, usd)
            self._count(usd)
        return reply

    def _count(self, usd: float, calls: int = 1) -> None:
        meter = _meter.get()
        if meter is not None:
            meter.usd += usd
            meter.calls += calls

    def _give_up(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ItemError) and error.job_usd is not None:
            return True
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


def current_item() -> str:
    """The item (LABEL/KEY) that this thread works on; empty outside of items."""
    meter = _meter.get()
    return "" if meter is None else meter.item


def current_usd() -> float:
    """US dollars that the calls of this thread's item have cost so far; 0 outside of items."""
    meter = _meter.get()
    return 0.0 if meter is None else meter.usd
