"""`make bench`: what the engine costs, as tables with ratios inside one run, since these machines are noisy."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import composites, judge_quality, library, providers, storyboard, styles, training

ROUNDS = 3
console = Console(width=120)


def main() -> None:
    """Run every benchmark."""
    engine()
    restart()
    incremental()
    imports()
    judge_quality.main()
    composites.main()
    library.main()
    styles.main()
    providers.main()
    training.main()
    storyboard.main()


def engine() -> None:
    """The engine and ledger around a step that does nothing."""
    table = Table(
        "items", "CPU ms an item", "against 1,000 items", "against a bare thread pool", "peak MB", "MB over 1,000 items"
    )
    base: dict[str, float] = {}
    for count in (1_000, 10_000, 100_000):
        rounds = [measured("null_step", count, "run") for _ in range(ROUNDS)]
        cpu = statistics.median(found["cpu_s"] for found in rounds) / count * 1000
        memory = statistics.median(found["peak_mb"] for found in rounds)
        base = base or {"cpu": cpu, "memory": memory}
        bare = statistics.median(bare_pool(count) for _ in range(ROUNDS)) / count * 1000
        row = [
            f"{cpu:.4f}",
            f"{cpu / base['cpu']:.2f}",
            f"{cpu / bare:.1f}",
            f"{memory:.0f}",
            f"{memory - base['memory']:.0f}",
        ]
        table.add_row(f"{count:,}", *row)
    show("Engine and ledger, a step that does nothing (bars: 0.3 ms an item, ratio 1.3, 50 MB)", table)


def bare_pool(count: int) -> float:
    """CPU seconds of the least that could be done: a thread pool and a result kept."""
    began = process_time()
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(str, range(count)))
    assert len(kept) == count
    return process_time() - began


def restart() -> None:
    """A run with 100,000 items done is started again with one more."""
    table = Table("items done before", "seconds to the first new item", "CPU s in all")
    with tempfile.TemporaryDirectory() as folder:
        call("null_step", folder, 100_000, "first")
        rounds = [call("null_step", folder, 100_001 + number, "first") for number in range(ROUNDS)]
    first = statistics.median(found["first_s"] for found in rounds)
    table.add_row("100,000", f"{first:.2f}", f"{statistics.median(found['cpu_s'] for found in rounds):.2f}")
    show("Starting again (bar: 3 s)", table)


def incremental() -> None:
    """One changed image among a thousand actors."""
    table = Table("run over 1,000 actors", "assessments", "CPU s")
    rounds = [measured("incremental", 1000) for _ in range(ROUNDS)]
    for name, title in (("first", "the first"), ("changed", "one image changed")):
        assessments = {found[name]["assessments"] for found in rounds}
        table.add_row(
            title,
            "/".join(map(str, sorted(assessments))),
            f"{statistics.median(found[name]['cpu_s'] for found in rounds):.2f}",
        )
    show("One changed image (bar: one assessment)", table)


def imports() -> None:
    """What `callsheet --help` costs."""
    program = """
import sys, time
began = time.process_time()
from runner.cli import main
try: main(['--help'])
except SystemExit: pass
heavy = [m for m in ('torch','diffusers','transformers','openai','boto3','replicate','insightface','ray') if m in sys.modules]
print(time.process_time() - began, len(sys.modules), ' '.join(heavy) or 'none')
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, modules, heavy = done.stdout.splitlines()[-1].split(" ", 2)
    table = Table("CPU s", "modules", "heavy packages imported")
    table.add_row(f"{float(seconds):.2f}", modules, heavy)
    show("callsheet --help", table)


def measured(module: str, *arguments: object) -> dict[str, Any]:
    """One benchmark in a process and folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return call(module, folder, *arguments)


def call(module: str, folder: str, *arguments: object) -> dict[str, Any]:
    """One benchmark in a process of its own."""
    words = [sys.executable, "-m", f"tests.bench.{module}", folder, *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


def show(title: str, table: Table) -> None:
    """Print a table under its title."""
    console.print(f"\n[bold]{title}[/bold]")
    console.print(table)


if __name__ == "__main__":
    main()
