"""What many tests need: a small real engine around a step, and commands run as a user would."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from runner.budget import Budget, BudgetSettings
from runner.calls import Calls, RetrySettings
from runner.engine import StepRun, Tools, open_row
from runner.executor import LocalExecutor
from runner.ledger import Ledger
from runner.limiter import Limiter
from runner.progress import Reporter
from runner.remote import RemoteJobs
from runner.step import Item, Outcome, Results
from runner.stop import Stop

AT_ONCE = RetrySettings(attempts=3, bad_answers=2, wait_s=0.0, wait_max_s=0.0)


@dataclass(frozen=True)
class Word:
    """A result."""

    text: str


@dataclass
class Upper:
    """A step that puts words in capitals, and does what `behaviour` says instead where it has a word."""

    words: Sequence[str]
    behaviour: dict[str, Callable[[], Any]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    outcomes: list[Outcome[Word]] = field(default_factory=list)

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    def items(self) -> Sequence[Item[str]]:
        return [Item(word, word, (word,)) for word in self.words]

    def process(self, word: str) -> Word:
        self.seen.append(word)
        if word in self.behaviour:
            self.behaviour[word]()
        return Word(word.upper())

    def finish(self, results: Results[Word]) -> None:
        self.outcomes = list(results)


@dataclass
class Acting(Upper):
    """The same, with effects."""

    after: str = ""

    reuses_answers: ClassVar[bool] = False

    def items(self) -> Sequence[Item[str]]:
        return [Item(word, word, (word, self.after)) for word in self.words]


def raising(error: BaseException) -> Callable[[], None]:
    """Something that raises."""

    def act() -> None:
        raise error

    return act


class Engine:
    """A ledger and what stands around a step, over one folder."""

    def __init__(self, folder: Path, *, workers: int = 2) -> None:
        self.folder = folder
        self.workers = workers
        self.output = io.StringIO()

    def run(self, step: Any, run: str = "run-1", *, fresh: bool = False, stop: Stop | None = None) -> StepRun:
        """Carry a step out as one session of a run; raises what ends it."""
        with Ledger(self.folder / "ledger.sqlite") as ledger:
            work = self.prepare(step, ledger, run, fresh=fresh, stop=stop or Stop())
            try:
                work.carry_out(work.list_items())
            finally:
                self.counts, self.usd = work.counts(), work.usd()
        return work

    def prepare(self, step: Any, ledger: Ledger, run: str, *, fresh: bool, stop: Stop) -> StepRun:
        tools = Tools(
            run=run,
            ledger=ledger,
            executor=LocalExecutor(self.workers, 0.1),
            stop=stop,
            reporter=Reporter(stream=self.output),
            retry=AT_ONCE,
        )
        return StepRun("step", step, open_row(ledger, run), name="upper", fresh=fresh, tools=tools)


def calls(
    ledger: Ledger,
    *,
    budget: BudgetSettings | None = None,
    scope: str = "scope",
    retry: RetrySettings = AT_ONCE,
    stop: Stop | None = None,
) -> Calls:
    """Calls of a backend named `fake`."""
    stop = stop or Stop()
    kept = Budget(ledger, budget or BudgetSettings(), scope=scope, run="run")
    return Calls("fake", budget=kept, retry=retry, limiter=Limiter(4, stop), remote=RemoteJobs(ledger, stop))
