"""What drawing a storyboard costs, against a plain loop in the same process: `python -m tests.bench.storyboard`."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time

from rich.console import Console
from rich.table import Table

from runner.ledger import Ledger
from steps.backends import embedded_models as embedded
from steps.library.shots import GESTURES, Shot
from steps.studio.frames.attempts import Attempts
from steps.studio.frames.gate import Gate
from steps.studio.frames.memory import Memory
from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.setups import REFERENCE, SIMPLE, Sampling, Scales
from steps.studio.frames.telling import Board, Panel, Studio, Teller
from steps.studio.models import weights
from tests.bench.plain_storyboard import PlainStoryboard
from tests.frames import write_lora
from tests.support import calls

ROUNDS = 3
STEPS = 20
FRAMES = 10
BAR = 1.5
LENGTHS = (5, 10, 20)
console = Console(width=120)


def main() -> None:
    """Print both tables."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        bench = _Bench(Path(folder), ledger)
        bench.against_plain()
        bench.by_length()


class _Bench:
    """Both ways of drawing, warmed up."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        self._drawn = 0
        self._lora = write_lora(folder / "lora")
        asked = calls(ledger)
        diffusion = embedded.EmbeddedDiffusion(embedded.EmbeddedDiffusionSettings(), asked)
        clip = embedded.EmbeddedClip(embedded.EmbeddedClipSettings(), asked)
        faces = embedded.EmbeddedFaces(embedded.EmbeddedFacesSettings(), asked)
        pipelines = Pipelines(diffusion)
        # No frame is drawn again: both ways draw as many images.
        self._studio = Studio(diffusion, pipelines, Memory(pipelines, FRAMES), Gate(clip, 0.0), faces)
        self._plain = PlainStoryboard(weights.shipped(), self._lora)
        for mode in (SIMPLE, REFERENCE):
            self._ours(mode, 2, steps=1)
        self._theirs(REFERENCE, 2, steps=1)

    def against_plain(self) -> None:
        """Frames a second, side by side."""
        table = Table("mode", "frames", "plain loop: CPU s a frame", "storyboard: CPU s a frame", "times as fast")
        for mode in (SIMPLE, REFERENCE):
            # In turn, so that a busy machine slows both.
            rounds = [(_seconds(self._theirs, mode), _seconds(self._ours, mode)) for _ in range(ROUNDS)]
            plain, ours = (statistics.median(column) / FRAMES for column in zip(*rounds, strict=True))
            table.add_row(mode, str(FRAMES), f"{plain:.3f}", f"{ours:.3f}", f"{plain / ours:.2f}")
        console.print(f"\n[bold]Drawing a storyboard, {STEPS} steps, one thread (bar: {BAR} times)[/bold]")
        console.print(table)

    def by_length(self) -> None:
        """Time must grow with the frames, and no faster."""
        table = Table("frames", "CPU s a frame, mode simple", f"against {LENGTHS[0]} frames")
        base = 0.0
        for length in LENGTHS:
            spent = statistics.median(_seconds(self._ours, SIMPLE, length) for _ in range(ROUNDS)) / length
            base = base or spent
            table.add_row(str(length), f"{spent:.3f}", f"{spent / base:.2f}")
        console.print("\n[bold]Longer stories (bar: no more a frame)[/bold]")
        console.print(table)

    def _ours(self, mode: str, frames: int = FRAMES, *, steps: int = STEPS) -> None:
        self._drawn += 1
        panels = [Panel(number, _prompt(number), _prompt(number), _shot(number)) for number in range(1, frames + 1)]
        lora = self._lora / "pytorch_lora_weights.safetensors"
        board = Board(mode, 0, panels, lora, Sampling(steps, 3.0, 64, 64), Scales(), 0)
        Teller(self._studio, board, Attempts(self._folder / str(self._drawn))).tell()

    def _theirs(self, mode: str, frames: int = FRAMES, *, steps: int = STEPS) -> None:
        prompts = [_prompt(number) for number in range(1, frames + 1)]
        if mode == SIMPLE:
            self._plain.simple(prompts, steps)
            return
        poses = [self._studio.model.pose(_shot(number), 64) for number in range(1, frames + 1)]
        self._plain.reference(prompts, poses, steps)


def _seconds(draw: Callable[..., None], *arguments: object) -> float:
    began = process_time()
    draw(*arguments)
    return process_time() - began


def _prompt(number: int) -> str:
    return f"a full-body picture of ohwx person, {'waving' if number % 2 else 'riding a horse'}, in the desert"


def _shot(number: int) -> Shot:
    return Shot(gesture=GESTURES[number % len(GESTURES)])


if __name__ == "__main__":
    main()
