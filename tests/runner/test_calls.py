"""One retry policy, one budget, one limit on concurrency (rules 3, 8 and 10)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.budget import Budget, BudgetSettings
from runner.calls import Reply, RetrySettings, metering
from runner.errors import (
    BadAnswer,
    BudgetReached,
    Interrupted,
    ItemError,
    MisconfiguredRun,
    ProviderStopped,
    Refused,
    Transient,
)
from runner.ledger import Ledger
from runner.limiter import Limiter
from runner.stop import Stop
from tests.support import calls


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


class Server:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Reply[str]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Reply(str(answer), usd=0.01)


class Recorder(Stop):
    """Notes how long it was asked to wait, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_transient_faults_are_tried_again_and_retry_after_is_honoured(ledger: Ledger) -> None:
    stop = Recorder()
    server = Server(Transient("503"), Transient("429", retry_after=7.5), "fine")
    assert calls(ledger, stop=stop, retry=RetrySettings(wait_s=2.0)).make(server) == "fine"
    assert 1.0 <= stop.slept[0] <= 2.0
    assert stop.slept[1] == 7.5


def test_waits_grow_and_are_bounded(ledger: Ledger) -> None:
    stop = Recorder()
    server = Server(*[Transient("503")] * 7, "fine")
    calls(ledger, stop=stop, retry=RetrySettings(attempts=8, wait_s=1.0, wait_max_s=4.0)).make(server)
    for slept, longest in zip(stop.slept, [1, 2, 4, 4, 4, 4, 4], strict=True):
        assert longest / 2 <= slept <= longest


@pytest.mark.parametrize(("fault", "asked"), [(Transient("503"), 3), (BadAnswer("not JSON"), 2)])
def test_giving_up_says_how_often_it_was_tried(ledger: Ledger, fault: ItemError, asked: int) -> None:
    server = Server(*[fault] * 5)
    with pytest.raises(ItemError) as caught:
        calls(ledger).make(server)
    assert server.asked == asked
    assert str(caught.value) == f"{fault} (gave up after {asked} attempts)"


@pytest.mark.parametrize("fault", [Refused("no"), ItemError("404"), ProviderStopped("bad key")])
def test_what_asking_again_can_not_mend_is_asked_once(ledger: Ledger, fault: Exception) -> None:
    server = Server(fault, "never")
    with pytest.raises(type(fault)):
        calls(ledger).make(server)
    assert server.asked == 1


def test_a_wait_wakes_up_when_the_run_stops(ledger: Ledger) -> None:
    stop = Stop()
    threading.Timer(0.05, lambda: stop.request(Interrupted("ctrl+c"))).start()
    with pytest.raises(Interrupted):
        calls(ledger, stop=stop).make(Server(Transient("429", retry_after=3600.0), "never"))


def test_the_call_that_would_break_the_budget_is_not_made(ledger: Ledger) -> None:
    backend = calls(ledger, budget=BudgetSettings(usd=0.03))
    server = Server("1", "2", "3")
    backend.make(server, estimate=0.02)
    backend.make(server, estimate=0.02)
    with pytest.raises(BudgetReached) as caught:
        backend.make(server, estimate=0.02)
    assert server.asked == 2
    assert "$0.02 of $0.03 spent" in str(caught.value)


def test_a_budget_of_calls_counts_retries(ledger: Ledger) -> None:
    server = Server(Transient("503"), "fine", "never")
    backend = calls(ledger, budget=BudgetSettings(calls=2))
    backend.make(server)
    with pytest.raises(BudgetReached, match="2 of 2 calls made"):
        backend.make(server)


def test_a_budget_holds_over_resumes_and_over_all_jobs_of_a_sweep(ledger: Ledger) -> None:
    settings = BudgetSettings(usd=0.015)
    calls(ledger, budget=settings, scope="sweep").make(Server("1"), estimate=0.01)
    with pytest.raises(BudgetReached):
        calls(ledger, budget=settings, scope="sweep").make(Server("2"), estimate=0.01)
    assert calls(ledger, budget=settings, scope="another").make(Server("3"), estimate=0.01) == "3"


def test_a_call_that_the_provider_rejected_is_not_paid_for(ledger: Ledger) -> None:
    backend = calls(ledger, budget=BudgetSettings(usd=1.0))
    with pytest.raises(ProviderStopped):
        backend.make(Server(ProviderStopped("bad key")), estimate=1.0)
    assert backend.make(Server("fine"), estimate=1.0) == "fine"


def test_calls_at_once_never_reserve_more_than_there_is(ledger: Ledger) -> None:
    backend = calls(ledger, budget=BudgetSettings(usd=0.05))
    made, refused = [], []

    def one() -> None:
        try:
            made.append(backend.make(lambda: Reply("x", usd=0.01), estimate=0.01))
        except BudgetReached:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (5, 15)


def test_a_call_that_a_kill_cut_off_counts_at_its_estimate(ledger: Ledger) -> None:
    killed = Budget(ledger, BudgetSettings(usd=1.0), scope="scope", run="run")
    killed.reserve(0.25, "fake")
    resumed = Budget(ledger, BudgetSettings(usd=1.0), scope="scope", run="run")
    assert resumed.settle_lost() == (1, 0.25)
    assert resumed.spent() == (0.25, 1)
    assert resumed.settle_lost() == (0, 0.0)


def test_an_unknown_price_with_a_dollar_budget_is_the_users_to_mend(ledger: Ledger) -> None:
    with pytest.raises(MisconfiguredRun, match="price of this model is unknown"):
        calls(ledger, budget=BudgetSettings(usd=1.0)).make(Server("never"), estimate=None)


def test_an_item_is_charged_for_its_own_calls_also_for_billed_nonsense(ledger: Ledger) -> None:
    billed = BadAnswer("cut off")
    billed.usd = 0.5  # type: ignore[attr-defined]
    with metering() as meter:
        calls(ledger).make(Server(billed, "fine"))
    assert meter.usd == pytest.approx(0.51)
    assert meter.calls == 2


def clock(*times: float) -> Callable[[], float]:
    iterator = iter(times)
    return lambda: next(iterator)


def test_concurrency_shrinks_once_for_a_burst_of_refusals_and_grows_back() -> None:
    limiter = Limiter(9, Stop(), clock(1.0, 2.0, 10.0, 11.0))
    with limiter.slot() as began, limiter.slot() as also_began:
        limiter.throttled(began)
        shrunk = limiter.limit
        # This one began before the limit shrank: it says nothing new.
        limiter.throttled(also_began)
    assert shrunk == limiter.limit == pytest.approx(9 * 0.67)
    for _ in range(40):
        limiter.succeeded()
    assert limiter.limit == 9


def test_no_more_calls_run_than_the_limit() -> None:
    limiter = Limiter(2, Stop())
    running, most, lock = [0], [0], threading.Lock()

    def one() -> None:
        with limiter.slot():
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=one) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2


def test_a_call_that_was_sent_and_never_answered_counts_at_its_estimate(ledger: Ledger) -> None:
    backend = calls(ledger, budget=BudgetSettings(usd=1.0))
    with metering() as meter:
        backend.make(Server(Transient("timed out", maybe_billed=True), Transient("503"), "fine"), estimate=0.25)
    assert meter.usd == pytest.approx(0.26)
    usd, count = Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()
    assert usd == pytest.approx(0.26)
    assert count == 3
