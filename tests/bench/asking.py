"""Questions of text alone through the engine, the ledger and the OpenAI backend: run in a process of its own.

python -m tests.bench.asking FOLDER URL WORKERS COUNT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
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
from runner.step import Item, Results
from runner.stop import Stop
from steps import judging
from steps.backends.openai.vision import OpenAIVision, OpenAIVisionSettings
from steps.backends.protocols import Question


class Ask:
    """Asks the same of everybody."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    def __init__(self, count: int, vision: OpenAIVision) -> None:
        self._count = count
        self._vision = vision

    def items(self) -> Sequence[Item[str]]:
        return [Item(f"{number:05d}", f"{number} year old man", (number,)) for number in range(self._count)]

    def process(self, description: str) -> dict[str, Any]:
        text = judging.PROMPT.replace("{description}", description).replace("{outfit}", "a grey suit")
        return dict(self._vision.ask(Question(text, (), judging.SCHEMA, "base_image")).data)

    def finish(self, results: Results[dict[str, Any]]) -> None:
        assert sum(outcome.result is not None for outcome in results) == self._count


def main(folder: str, url: str, workers: str, count: str) -> None:
    """Print how long it took as JSON."""
    stop, retry = Stop(), RetrySettings()
    began = time.monotonic()
    with Ledger(Path(folder) / "ledger.sqlite") as ledger:
        budget = Budget(ledger, BudgetSettings(usd=1000.0), scope="run", run="run")
        limiter = Limiter(int(workers), stop)
        calls = Calls("vision=openai", budget=budget, retry=retry, limiter=limiter, remote=RemoteJobs(ledger, stop))
        vision = OpenAIVision(OpenAIVisionSettings(base_url=url), calls)
        tools = Tools(
            run="run",
            ledger=ledger,
            executor=LocalExecutor(int(workers), 1.0),
            stop=stop,
            reporter=Reporter(quiet=True),
            retry=retry,
        )
        step = StepRun("ask", Ask(int(count), vision), open_row(ledger, "run"), name="ask", fresh=False, tools=tools)
        step.carry_out(step.list_items())
        vision.close()
        budget.close()
    print(json.dumps({"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
