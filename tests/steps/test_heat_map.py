"""The table of similarities as a picture: dark is alike, its numbers are written, and it needs no colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from steps.heat_map import NUMBERED, heat_map


def levels(row: Sequence[float | None]) -> list[int]:
    """The ground of each cell of a table with one row, at a corner where no number is."""
    picture = heat_map(["1"], [row], [str(number) for number in range(len(row))])
    pixels = np.asarray(picture.convert("RGB"))
    grey = pixels.max(axis=2) == pixels.min(axis=2)
    assert grey.all()
    return [int(pixels[50, 46 + 46 * number + 4, 0]) for number in range(len(row))]


def test_the_more_alike_the_darker() -> None:
    found = levels([-0.3, 0.0, 0.25, 0.5, 0.75, 1.0])
    assert found[0] == found[1] == 255
    assert found[1:] == sorted(found[1:], reverse=True)
    assert len(set(found[1:])) == 5
    assert found[-1] < 60


def test_what_was_not_measured_is_like_no_value() -> None:
    nothing, low, high = levels([None, 0.0, 1.0])
    assert low > nothing > high


@pytest.mark.parametrize("value", [0.05, 0.5, 0.95])
def test_numbers_stand_out_from_their_cells(value: float) -> None:
    pixels = np.asarray(heat_map(["1"], [[value]], ["1"]).convert("L"), np.int16)
    cell = pixels[48:90, 48:90]
    assert cell.max() - cell.min() > 100
    assert not np.array_equal(cell, np.asarray(heat_map(["1"], [[value + 0.02]], ["1"]).convert("L"))[48:90, 48:90])


def test_a_large_table_stays_small_enough_to_be_opened() -> None:
    number = 5 * NUMBERED
    names = [str(index) for index in range(number)]
    picture = heat_map(names, [[0.5] * number for _ in names], names)
    assert max(picture.size) < 2000
