"""One retry policy, one budget, one limit on concurrency (rules 3, 8 and 10)."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.budget import Budget, BudgetSettings
from runner.calls import Calls, Reply, RetrySettings, metering
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
from runner.rates import LimitSettings, Pacer, RateHeaders
from runner.remote import FoundJob, RemoteJobs
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
    assert resumed.settle_lost() == 0.25
    assert resumed.spent()[0] == 0.25
    assert resumed.settle_lost() == 0.0


def test_an_unknown_price_with_a_dollar_budget_is_the_users_to_mend(ledger: Ledger) -> None:
    with pytest.raises(MisconfiguredRun, match="price of this model is unknown"):
        calls(ledger, budget=BudgetSettings(usd=1.0)).make(Server("never"), estimate=None)


def test_an_item_is_charged_for_its_own_calls_also_for_billed_nonsense(ledger: Ledger) -> None:
    billed = BadAnswer("cut off")
    billed.usd = 0.5
    with metering() as meter:
        calls(ledger).make(Server(billed, "fine"))
    assert meter.usd == pytest.approx(0.51)
    assert meter.calls == 2


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_concurrency_shrinks_once_for_a_burst_of_refusals_and_grows_back() -> None:
    clock = Clock()
    limiter = Limiter(9, Stop(), clock)
    with limiter.slot() as began, limiter.slot() as also_began:
        clock.now += 1
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
    ledger.flush()
    usd, count = Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()
    assert usd == pytest.approx(0.26)
    assert count == 3


def paced(pacer: Pacer, clock: Clock, count: int) -> list[float]:
    """When each of so many amounts may go, in seconds from now, each waited for."""
    start, times = clock.now, []
    for _ in range(count):
        clock.now += pacer.book()
        times.append(clock.now - start)
    return times


def test_requests_are_spread_evenly_under_the_limit() -> None:
    clock = Clock()
    times = paced(Pacer(600, clock), clock, 700)
    assert sum(time <= 60 for time in times) <= 600 + 600 * 0.05
    assert max(sum(time <= other <= time + 60 for other in times) for time in times) <= 617
    assert times[-1] == pytest.approx((700 - 30) / (10 * 0.97), rel=0.02)


def test_what_went_before_the_limit_was_known_counts() -> None:
    clock = Clock()
    pacer = Pacer(None, clock)
    assert [pacer.book() for _ in range(100)] == [0.0] * 100
    pacer.set(500)
    assert pacer.book() == pytest.approx((101 - 25) / (500 * 0.97 / 60))


def test_what_went_long_before_the_limit_was_known_is_forgotten() -> None:
    clock = Clock()
    pacer = Pacer(None, clock)
    pacer.book(5)
    clock.now += 1000
    pacer.set(60)
    assert pacer.book() == 0.0


def test_tokens_that_were_booked_and_not_used_are_given_back() -> None:
    clock = Clock()
    pacer = Pacer(6000, clock)
    pacer.book(6000)
    waiting = pacer.book(0)
    pacer.correct(-6000)
    assert waiting > 50
    assert pacer.book(0) == 0.0


def test_the_lower_of_the_recipes_and_the_providers_limit_holds() -> None:
    clock = Clock()
    limiter = Limiter(4, Stop(), clock, settings=LimitSettings(requests_per_minute=60))
    limiter.heard(RateHeaders(requests_per_minute=6000))
    assert limiter.limits == RateHeaders(requests_per_minute=60)
    limiter.heard(RateHeaders(requests_per_minute=30, tokens_per_minute=1000))
    assert limiter.limits == RateHeaders(requests_per_minute=30, tokens_per_minute=1000)


def test_nothing_goes_while_the_provider_has_asked_to_wait() -> None:
    clock, stop = Clock(), Stop()
    limiter = Limiter(4, stop, clock)
    limiter.throttled(clock(), retry_after=300)
    stop.request(Interrupted("enough"))
    with pytest.raises(Interrupted), limiter.slot():
        pass
    clock.now += 301
    with limiter.slot() as began:
        assert began == clock.now


def test_a_run_may_go_below_its_workers(ledger: Ledger) -> None:
    assert Limiter(8, Stop(), settings=LimitSettings(concurrency=2)).limit == 2


def test_money_is_set_aside_for_many_calls_and_what_is_left_given_back(ledger: Ledger) -> None:
    budget = Budget(ledger, BudgetSettings(usd=100.0), scope="scope", run="run")
    for _ in range(40):
        budget.settle(budget.reserve(0.01, "fake"), 0.004)
    ledger.flush()
    usd, count = budget.spent()
    assert usd == pytest.approx(0.16)
    assert count == 40
    assert 0.0 < ledger.row("SELECT total(usd) FROM reservations")[0] <= 0.01 * 2 * 64
    budget.close()
    assert ledger.row("SELECT count(*) FROM reservations")[0] == 0


def test_two_processes_never_spend_more_than_there_is(ledger: Ledger) -> None:
    budgets = [Budget(ledger, BudgetSettings(usd=1.0), scope="sweep", run=f"job-{number}") for number in range(2)]
    made = 0
    with contextlib.suppress(BudgetReached):
        while True:
            budget = budgets[made % 2]
            budget.settle(budget.reserve(0.01, "fake"), 0.01)
            made += 1
    ledger.flush()
    assert budgets[0].spent()[0] <= 1.0 + 1e-9
    assert made >= 90


class Vendor:
    """Makes jobs; each poll takes the next of what is scripted."""

    def __init__(self, *polls: Any) -> None:
        self.polls = list(polls)
        self.created = 0

    def create(self) -> str:
        self.created += 1
        return f"job-{self.created}"

    def poll(self, remote_id: str) -> Reply[str] | None:
        found = self.polls.pop(0)
        if isinstance(found, Exception):
            raise found
        return None if found is None else Reply(f"{found} of {remote_id}", 0.03)

    def run(self, backend: Calls) -> str:
        return backend.job("one", create=self.create, poll=self.poll, estimate=0.10, every_s=0.0)


def spent(ledger: Ledger) -> float:
    ledger.flush()
    return Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()[0]


def test_a_job_counts_at_its_estimate_and_then_at_its_cost_once(ledger: Ledger) -> None:
    vendor = Vendor(None, Transient("503"), "picture", "picture")
    with metering() as meter:
        assert vendor.run(calls(ledger)) == "picture of job-1"
    assert meter.usd == pytest.approx(0.03)
    assert meter.calls == 1
    # Fetched again: the process died before it was used.
    assert vendor.run(calls(ledger)) == "picture of job-1"
    assert vendor.created == 1
    assert spent(ledger) == pytest.approx(0.03)


def test_a_job_that_failed_is_forgotten_and_counts_at_what_it_cost(ledger: Ledger) -> None:
    failed = ItemError("out of memory")
    failed.job_usd = 0.01
    vendor = Vendor(failed, "picture")
    with pytest.raises(ItemError, match="out of memory"):
        vendor.run(calls(ledger))
    assert spent(ledger) == pytest.approx(0.01)
    assert vendor.run(calls(ledger)) == "picture of job-2"


def test_a_failed_job_is_not_polled_again_although_another_may_work(ledger: Ledger) -> None:
    failed = Transient("interrupted, please retry")
    failed.job_usd = 0.0
    vendor = Vendor(failed, "picture")
    with pytest.raises(Transient, match="interrupted"):
        vendor.run(calls(ledger))
    assert vendor.run(calls(ledger)) == "picture of job-2"


def test_a_create_whose_answer_was_lost_is_said(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("callsheet").propagate = True
    vendor = Vendor("picture")
    lost = [Transient("timed out", maybe_billed=True)]

    def create() -> str:
        if lost:
            raise lost.pop()
        return vendor.create()

    assert calls(ledger).job("one", create=create, poll=vendor.poll, estimate=0.0) == "picture of job-1"
    assert "may run and be paid for" in caplog.text


@pytest.mark.parametrize(("fault", "left"), [(Transient("timed out", maybe_billed=True), 1), (Transient("503"), 0)])
def test_a_create_that_failed_leaves_a_mark_only_where_the_job_may_exist(
    ledger: Ledger, fault: Transient, left: int
) -> None:
    def create() -> str:
        raise fault

    with pytest.raises(ItemError):
        calls(ledger).job("one", create=create, poll=Vendor().poll, estimate=0.0)
    assert ledger.row("SELECT count(*) FROM remote_jobs")[0] == left


def of_run(ledger: Ledger, run: str) -> Calls:
    """Calls of a run with a budget of its own."""
    made = calls(ledger, scope=run)
    made.remote = RemoteJobs(ledger, Stop(), run=run)
    made._budget = Budget(ledger, BudgetSettings(), scope=run, run=run)
    return made


def spent_by(ledger: Ledger, run: str) -> float:
    ledger.flush()
    return Budget(ledger, BudgetSettings(), scope=run, run=run).spent()[0]


def test_another_run_that_fetches_a_job_is_credited_nothing(ledger: Ledger) -> None:
    """The estimate was counted where the job was created, and stays there: it may be too much, never too little."""
    stopped = Interrupted("stopped")
    vendor = Vendor(stopped, stopped, "picture")
    for run in ("first", "second"):
        with pytest.raises(Interrupted):
            vendor.run(of_run(ledger, run))
    assert vendor.run(of_run(ledger, "second")) == "picture of job-1"
    assert spent_by(ledger, "first") == pytest.approx(0.10)
    assert spent_by(ledger, "second") == 0.0


def test_a_job_that_was_settled_is_not_settled_again_when_its_output_is_gone(ledger: Ledger) -> None:
    gone = Transient("the output is gone")
    gone.job_usd = 0.03
    vendor = Vendor("picture", gone, "picture")
    vendor.run(of_run(ledger, "run"))
    with pytest.raises(Transient):
        vendor.run(of_run(ledger, "run"))
    assert spent_by(ledger, "run") == pytest.approx(0.03)


def test_a_lost_create_that_another_run_finds_again_credits_it_nothing(ledger: Ledger) -> None:
    """The first was killed while it created; the second finds the job at the vendor's, and it has failed."""
    statement = (
        "INSERT INTO remote_jobs (key, provider, state, remote_id, at, run) VALUES (?, ?, 'creating', NULL, 1, ?)"
    )
    ledger.execute(statement, ("one", "fake", "first"))
    failed = ItemError("out of memory")
    failed.job_usd = 0.0
    vendor = Vendor(failed)
    with pytest.raises(ItemError, match="out of memory"):
        of_run(ledger, "second").job("one", create=lambda: FoundJob("job-1"), poll=vendor.poll, estimate=0.10)
    assert spent_by(ledger, "second") == 0.0


def test_nonsense_that_may_have_been_billed_counts_at_its_estimate(ledger: Ledger) -> None:
    bad = BadAnswer("cut off")
    bad.maybe_billed = True
    backend = calls(ledger)
    backend.make(Server(bad, "fine"), estimate=0.25)
    assert spent(ledger) == pytest.approx(0.26)
