"""A step that does nothing, so that what remains is the engine: run in a process of its own for honest CPU time and memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from runner.calls import RetrySettings
from runner.engine import StepRun, Tools, open_row
from runner.executor import LocalExecutor
from runner.ledger import Ledger
from runner.progress import Reporter
from runner.step import Item, Results
from runner.stop import Stop


@dataclass(frozen=True)
class Nothing:
    """What a null item gives."""

    number: int


class NullStep:
    """Counts."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    def __init__(self, count: int) -> None:
        self._count = count
        self.first_processed: float | None = None
        self.walked = 0

    def items(self) -> Iterator[Item[int]]:
        for number in range(self._count):
            yield Item(f"item-{number:07d}", number, (number, "a parameter"))

    def process(self, number: int) -> Nothing:
        if self.first_processed is None:
            self.first_processed = time.perf_counter()
        return Nothing(number)

    def finish(self, results: Results[Nothing]) -> None:
        self.walked = sum(1 for outcome in results if outcome.result is not None)


def main(folder: str, count: str, run: str) -> None:
    """Run `count` null items in a run named `run`, and print what it took as JSON."""
    stop = Stop()
    began, cpu = time.perf_counter(), time.process_time()
    with Ledger(Path(folder) / "ledger.sqlite") as ledger:
        tools = Tools(
            run=run,
            ledger=ledger,
            executor=LocalExecutor(8, 10.0),
            stop=stop,
            reporter=Reporter(quiet=True),
            retry=RetrySettings(),
        )
        step = NullStep(int(count))
        work = StepRun("null", step, open_row(ledger, run), name="null", fresh=False, tools=tools)
        work.carry_out(work.list_items())
    found = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - began,
        "first_s": None if step.first_processed is None else step.first_processed - began,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "walked": step.walked,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
