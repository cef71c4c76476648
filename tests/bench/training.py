"""A LoRA's training step against the loop that diffusers documents: one model, one process, one batch, CPU time.

`python -m tests.bench.training`; with the package's weights, or untrained ones of the same architecture where they are not there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runner.ledger import Ledger
from steps.library import captions
from steps.studio.lora.buckets import Size
from steps.studio.lora.dataset import Rules, read_dataset
from steps.studio.lora.settings import TARGET, LoraSettings
from tests.library import context
from tests.training_set import draw_set

SIDE, IMAGES = 64, 24
# Steps of a whole training, which the caches are filled for.
WHOLE = 150
FEW, STEPS, LONG, ROUNDS = 3, 25, 75, 5
console = Console(width=120)


def main() -> None:
    """Print both tables, from a process of their own: its threads must be one before torch is imported."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "tests.bench.training", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    table = Table("64 px, batch 8, rank 8", "CPU ms a step", f"times ours, median of {ROUNDS} (all)")
    for way, milliseconds in found["ms"].items():
        times = found["times"][way]
        table.add_row(
            way, f"{milliseconds:.1f}", f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
        )
    console.print("\n[bold]Training a LoRA (bar: the documented loop takes 2 times as long)[/bold]")
    console.print(table)
    console.print(f"a step of {LONG} against one of {STEPS}: {found['long']:.2f} times (bar: linear)")


def measure(folder: Path) -> dict[str, Any]:
    """CPU milliseconds a step of each way, in turns, so that what else the machine does hits them alike."""
    import torch

    torch.set_num_threads(1)
    with Ledger(folder / "ledger.sqlite") as ledger:
        bench = _Bench(folder, ledger)
        ways: dict[str, Callable[[int], float]] = {
            "ours": bench.ours,
            "ours in float32": lambda steps: bench.ours(steps, precision="float32"),
            "as documented": bench.documented,
        }
        for way in ways.values():
            way(2)
        rounds = [{name: _a_step(way, STEPS) for name, way in ways.items()} for _ in range(ROUNDS)]
        # What else the machine does shares the caches: only what ran next to each other is compared.
        long = statistics.median(_a_step(bench.ours, LONG) / _a_step(bench.ours, STEPS) for _ in range(3))
    return {
        "ms": {name: statistics.median(found[name] for found in rounds) for name in ways},
        "times": {name: [found[name] / found["ours"] for found in rounds] for name in ways},
        "long": long,
    }


def _a_step(way: Callable[[int], float], steps: int) -> float:
    """CPU milliseconds; what comes before the first step, which hangs on no number of steps, cancels out."""
    return 1000 * (way(steps + FEW) - way(FEW)) / steps


class _Bench:
    """A training set and the two loops."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        data = draw_set(folder / "data", train=IMAGES, holdout=0)
        pairs = captions.pairs(data / captions.IMAGES, data / captions.CAPTIONS)
        self._examples = read_dataset(pairs, {}, Rules([Size(SIDE, SIDE)], None, 77, [len])).train
        self._folder, self._ledger, self._tries = folder, ledger, 0

    def ours(self, steps: int, **settings: Any) -> float:
        """As the step `train` does it, metrics and the last checkpoint included; CPU seconds."""
        from steps.studio.lora.course import Course, Material, Surroundings
        from steps.studio.lora.encoding import Cache, Encoder
        from steps.studio.lora.packing import packed
        from steps.studio.lora.pupil import Pupil

        self._tries += 1
        around = context(self._ledger, self._folder, self._folder / "data", label=f"try{self._tries}")
        pipeline = _load()
        began = time.process_time()
        encoder = Encoder(pipeline, Cache(around.out / "cache"), TARGET)
        material = Material([encoder.encode(example) for example in self._examples], [], encoder.nothing())
        pupil = Pupil(pipeline, LoraSettings(checkpoint_every=steps, **settings), steps, seed=0)
        where = Surroundings(around.out, around, lambda state, _: packed(state), lambda checkpoint: checkpoint.name)
        encoded = time.process_time() - began
        course = Course(pupil, material, where, steps)
        course.run()
        # Filling the caches is a cost of the whole training: the steps here bear their share of it.
        return time.process_time() - began - encoded * (1 - steps / WHOLE)

    def documented(self, steps: int) -> float:
        """As diffusers' example does it; CPU seconds."""
        from tests.bench import plain_training

        pipeline = _load()
        began = time.process_time()
        plain_training.train(pipeline, self._examples, LoraSettings(), SIDE, steps)
        return time.process_time() - began


def _load() -> Any:
    """The embedded model, or one of the same architecture that nobody trained."""
    from steps.studio.models import layout, weights

    if (weights.shipped() / layout.MANIFEST).is_file():
        return weights.load_pipeline(weights.shipped())
    from steps.studio.models.diffusion import new_unet
    from tests.tiny_models import fresh_pipeline

    pipeline = fresh_pipeline()
    pipeline.register_modules(unet=new_unet())
    return pipeline


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        main()
