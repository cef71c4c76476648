"""Training data on disk, made once: files of CHUNK rows each, whole or not there, so that making them goes on where it stopped."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runner import files
from runner.errors import UserError
from steps.studio.models import domain

CHUNK = 512
Rows = NDArray[Any]


def draw_chunks(folder: Path, split: str, count: int, processes: int = 1) -> Iterator[int]:
    """Draw what is missing of a split's first `count` pictures; yields the number of pictures after each file."""
    yield from make_chunks(folder / split, count, partial(_pictures, split), processes)


def draw_empty_chunks(folder: Path, split: str, count: int, processes: int = 1) -> Iterator[int]:
    """Draw what is missing of the first `count` places with nobody in them."""
    yield from make_chunks(folder / f"{split}-empty", count, partial(_places, split), processes)


def make_chunks(folder: Path, count: int, make: Callable[[range], Rows], processes: int = 1) -> Iterator[int]:
    """Make what is missing of `count` rows; `make` gives the rows of some indices. Yields the rows there are after each file."""
    parts = [range(start, min(count, start + CHUNK)) for start in range(0, count, CHUNK)]
    write = partial(_write_chunk, folder, make)
    if processes == 1:
        yield from map(write, parts)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, parts)


def _write_chunk(folder: Path, make: Callable[[range], Rows], part: range) -> int:
    path = folder / f"{part.start // CHUNK:04d}.npy"
    if not path.is_file():
        buffer = io.BytesIO()
        np.save(buffer, make(part))
        files.write_bytes(path, buffer.getvalue())
    return part.stop


def _pictures(split: str, indices: range) -> Rows:
    return np.stack([np.asarray(domain.picture(split, index).draw()) for index in indices])


def _places(split: str, indices: range) -> Rows:
    return np.stack([np.asarray(domain.empty_place(split, index)) for index in indices])


class Renders:
    """Rows on disk, mapped: `renders[indices]` is (N, 64, 64, 3) uint8 for drawn pictures."""

    def __init__(self, folder: Path, split: str) -> None:
        """Raises UserError when nothing has been made."""
        paths = sorted((folder / split).glob("*.npy"))
        if not paths:
            raise UserError(f"{folder / split}: nothing there: run the recipe's earlier stages first")
        self._chunks = [np.load(path, mmap_mode="r") for path in paths]

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self._chunks)

    def __getitem__(self, indices: Any) -> Rows:
        return np.stack([self._chunks[index // CHUNK][index % CHUNK] for index in np.asarray(indices).tolist()])
