"""training_metrics.csv: a line a step, flushed, cut back to where a training goes on from."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from runner import files

NAME = "training_metrics.csv"


@dataclass(frozen=True)
class Row:
    """What one step was like.

    Attributes:
        step: From 1.
        loss: Of the step's images, weighed by noise level.
        validation_loss: Of the held-out images with the same noise each time, not weighed; None where they were not looked at.
        learning_rate: That was stepped with.
        gradient_norm: Before it was shortened.
        images_per_second: Without the time for checkpoints and samples.
        memory_mb: The most that was held so far: of the GPU, or of the process.
    """

    step: int
    loss: float
    validation_loss: float | None
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    memory_mb: float


COLUMNS = tuple(field.name for field in fields(Row))


class Metrics:
    """The file and what is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, step: int) -> None:
        """Drop what is later than a step, or was cut off; a new file gets its heading."""
        rows = [row for row in self.rows() if row.step <= step]
        files.write_text(self._path, "".join(f"{line}\n" for line in [",".join(COLUMNS), *map(_line, rows)]))

    def append(self, row: Row) -> None:
        """Add a step's line."""
        files.append_line(self._path, _line(row))

    def rows(self) -> list[Row]:
        """Every whole line, in order."""
        if not self._path.is_file():
            return []
        text = self._path.read_text(encoding="utf-8", errors="replace")
        # What follows the last newline was cut off.
        lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
        return [row for row in map(_row, lines) if row is not None]


def _line(row: Row) -> str:
    # As many digits as tell each number from its neighbours.
    return ",".join("" if value is None else repr(value) for value in asdict(row).values())


def _row(values: Sequence[str]) -> Row | None:
    try:
        step, loss, validation, *rest = values
        rate, norm, speed, memory = map(float, rest)
        return Row(int(step), float(loss), float(validation) if validation else None, rate, norm, speed, memory)
    except ValueError:
        return None
