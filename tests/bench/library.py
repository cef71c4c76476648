"""Finding actors with training images, and previewing the migration of their manifests, in libraries of growing size.

python -m tests.bench.library                  prints the table
python -m tests.bench.library FOLDER COUNT     measures one library of so many actors, in a process of its own
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from steps.library.actors import Library
from steps.library.surveys import Surveyor
from steps.migrate import Migrate, MigrateParams
from tests.library import context, jpeg, no_mirror, put
from tests.support import Engine

COUNTS = (1_250, 2_500, 5_000, 10_000)
IMAGES = 4
ROUNDS = 3
console = Console(width=120)


def main() -> None:
    """Print the table: seconds, and what an actor costs against the smallest library, where 1 is linear."""
    table = Table(
        *("actors", "seconds to find those with images", "an actor, against 1,250"),
        *("seconds of a migration's preview", "an actor, against 1,250", "again"),
    )
    base: dict[str, float] = {}
    for count in COUNTS:
        rounds = [_measured(count) for _ in range(ROUNDS)]
        found = {name: statistics.median(one[name] for one in rounds) for name in ("detect_s", "preview_s", "again_s")}
        each = {name: seconds / count for name, seconds in found.items()}
        base = base or each
        table.add_row(
            f"{count:,}",
            f"{found['detect_s']:.2f}",
            f"{each['detect_s'] / base['detect_s']:.2f}",
            f"{found['preview_s']:.2f}",
            f"{each['preview_s'] / base['preview_s']:.2f}",
            f"{found['again_s']:.2f}",
        )
    console.print(
        f"\n[bold]Libraries of actors with {IMAGES} training images and legacy files, CPU time (bar: linear)[/bold]"
    )
    console.print(table)


def measure(folder: Path, count: int) -> dict[str, float]:
    """CPU seconds over one library: detection, a preview, and another that remembers the files' hashes."""
    data = folder / "data"
    _draw(data, count)
    with Ledger(folder / "ledger.sqlite") as ledger:
        began = time.process_time()
        library = Library(data)
        surveyor = Surveyor(library, no_mirror(ledger), FileHashes(ledger))
        surveyor.prepare(library.actors())
        there = sum(surveyor.has_images(actor) for actor in library.actors())
        detected = time.process_time() - began
        assert there == count - count // 10
        return {
            "detect_s": detected,
            "preview_s": _preview(folder, data, ledger, "first", there),
            "again_s": _preview(folder, data, ledger, "second", there),
        }


def _preview(folder: Path, data: Path, ledger: Ledger, run: str, there: int) -> float:
    began = time.process_time()
    step = Migrate(MigrateParams(), context(ledger, folder, data, run=run), no_mirror(ledger))
    Engine(folder, workers=8).run(step, run)
    seconds = time.process_time() - began
    summary = json.loads((folder / run / "step" / "results.json").read_text())["summary"]
    assert summary["manifests"] == there
    assert summary["prompts"] == IMAGES * there
    return seconds


def _draw(data: Path, count: int) -> None:
    """Actors with hard links to a few small images and a legacy file of either kind; each tenth has none."""
    names = [f"{number:05d}_actor" for number in range(count)]
    put(
        data / "actorsData.json",
        json.dumps([{"id": number, "name": name} for number, name in enumerate(names)]).encode(),
    )
    sources = [data / "drawn" / f"{number}.jpg" for number in range(IMAGES)]
    for number, source in enumerate(sources):
        put(source, jpeg(f"#{number * 50:02x}4080"))
    for number, name in enumerate(names):
        if number % 10 == 9:
            continue
        folder = data / "actors" / name / "training_data"
        folder.mkdir(parents=True)
        files = [f"{name}_{index}.jpg" for index in range(1, IMAGES + 1)]
        for source, file in zip(sources, files, strict=True):
            os.link(source, folder / file)
        if number % 2:
            entries = [
                {"filename": file, "prompt": file, "s3_url": f"https://b.s3.amazonaws.com/{file}"} for file in files
            ]
            (folder / "prompt_metadata.json").write_text(json.dumps({"images": entries}))
        else:
            predictions = [{"id": file, "input": {"prompt": file}, "output": ["https://r/0.png"]} for file in files]
            (folder / "response.json").write_text(json.dumps(predictions))


def _measured(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "tests.bench.library", folder, str(count)]
        found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
    else:
        main()
