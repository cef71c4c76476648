"""Composites of 20 JPEGs of 2048 x 2048 against decoding them at full size, and how much memory it takes."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from steps.library import pictures
from steps.library.composites import THUMBNAIL, Cell, sheets
from steps.library.pictures import encode_jpeg
from steps.studio.training_picture import training_picture
from steps.studio.world import random_character

COUNT, SIDE = 20, 2048
ROUNDS = 5
# As many of each as an actor is to have of 20.
KINDS = (*["photorealistic"] * 3, "bw_stylized", "color_stylized")
console = Console(width=120)


def main() -> None:
    """Print the table; each way runs in a process of its own, so that its memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        _draw(Path(folder))
        found = {way: _measured(folder, way) for way in WAYS}
    table = Table("20 JPEGs of 2048 x 2048", "CPU ms an image", "times ours", "peak MB", "MB over its start")
    base = found["ours"]["ms"]
    for way, row in found.items():
        figures = (f"{row['ms']:.1f}", f"{row['ms'] / base:.1f}", f"{row['peak_mb']:.0f}", f"{row['over_mb']:.0f}")
        table.add_row(way, *figures)
    console.print("\n[bold]Composites (bars: 4 times faster than at full size, resized; 150 MB)[/bold]")
    console.print(table)


def small(folder: Path) -> None:
    """A composite as it is made: each JPEG is read to its end, at an eighth of its size."""
    for _sheet in sheets(Cell(path.stem, _shrunk(path)) for path in sorted(folder.glob("*.jpg"))):
        pass


def full(folder: Path) -> None:
    """The same sheet as it would be made without: checked whole as base images are, then decoded at full size and reduced."""
    for _sheet in sheets(
        Cell(path.stem, _thumbnail(pictures.load(path).image)) for path in sorted(folder.glob("*.jpg"))
    ):
        pass


def resized(folder: Path) -> None:
    """As one writes it at first: decoded at full size and resized, unchecked."""
    for _sheet in sheets(Cell(path.stem, _resized(_plain(path))) for path in sorted(folder.glob("*.jpg"))):
        pass


def unchecked(folder: Path) -> None:
    """The least that full size costs: decoded, unchecked, and halved to near its size before it is resized."""
    for _sheet in sheets(Cell(path.stem, _thumbnail(_plain(path))) for path in sorted(folder.glob("*.jpg"))):
        pass


WAYS: dict[str, Callable[[Path], None]] = {
    "checked, at full size": full,
    "at full size, resized, unchecked": resized,
    "at full size, box-reduced, unchecked": unchecked,
    "ours": small,
}


def _shrunk(path: Path) -> Image.Image:
    return pictures.shrink(pictures.read(path), path.name, THUMBNAIL).image


def _plain(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def _resized(image: Image.Image) -> Image.Image:
    return image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def _thumbnail(image: Image.Image) -> Image.Image:
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return image


def _draw(folder: Path) -> None:
    """Training images as the studio draws them, with a photograph's texture and noise where they are photographs."""
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        who = random_character(random.Random(number))
        image = training_picture(who, kind, seed=number, size=(SIDE, SIDE))
        (folder / f"{number:02d}.jpg").write_bytes(encode_jpeg(image, quality=88))


def _measured(folder: str, way: str) -> dict[str, float]:
    words = [sys.executable, "-m", "tests.bench.composites", folder, way]
    found: dict[str, float] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return found


def _measure(folder: Path, way: str) -> None:
    before, rounds = _peak_mb(), []
    for _ in range(ROUNDS):
        began = time.process_time()
        WAYS[way](folder)
        rounds.append(1000 * (time.process_time() - began) / COUNT)
    peak = _peak_mb()
    print(json.dumps({"ms": statistics.median(rounds), "peak_mb": peak, "over_mb": peak - before}))


def _peak_mb() -> float:
    """The most memory that this process has held. Not getrusage's, which starts with that of the parent."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    if sys.argv[1:]:
        _measure(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
