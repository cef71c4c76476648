"""Similarities of every image with every other as a picture: dark is alike. It is read without colours, by its numbers too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

NUMBERED = 40
"""Images up to which each cell has its number; with more it would be too small to be read."""
_CELL, _SMALLEST, _MOST = 46, 8, 1800
_HEAD, _GAP, _LEGEND = 46, 8, 40
_GROUND, _INK, _NOTHING = (255, 255, 255), (26, 26, 26), (232, 232, 232)
_DARKEST = 40
"""Level of 255 that a cosine of 1 is drawn in; 0 and below are white."""
_STEPS = 5


def heat_map(names: Sequence[str], rows: Sequence[Sequence[float | None]], columns: Sequence[str]) -> Image.Image:
    """Draw a table of raw cosines.

    Args:
        names: Of the rows.
        rows: Of each row a value for each column; None where nothing could be measured.
        columns: Their names, short: they stand above.

    Returns:
        RGB, white ground.
    """
    cell = _CELL if len(columns) <= NUMBERED else max(_SMALLEST, _MOST // len(columns))
    width, height = _HEAD + cell * len(columns) + _GAP, _HEAD + cell * len(rows) + _LEGEND + _GAP
    picture = Image.new("RGB", (max(width, _HEAD + 6 * _CELL), height), _GROUND)
    pen = ImageDraw.Draw(picture)
    numbered = cell == _CELL
    for across, name in enumerate(columns if numbered else ()):
        _write(pen, (_HEAD + (across + 0.5) * cell, _HEAD / 2), name, _INK)
    for down, (name, row) in enumerate(zip(names, rows, strict=True)):
        if numbered:
            _write(pen, (_HEAD / 2, _HEAD + (down + 0.5) * cell), name, _INK)
        for across, value in enumerate(row):
            _cell(pen, (_HEAD + across * cell, _HEAD + down * cell), cell, value)
    _legend(pen, (_HEAD, height - _LEGEND))
    return picture


def _cell(pen: ImageDraw.ImageDraw, at: tuple[int, int], side: int, value: float | None) -> None:
    left, top = at
    ground = _NOTHING if value is None else _shade(value)
    pen.rectangle((left, top, left + side - 2, top + side - 2), fill=ground, outline=_NOTHING)
    if side == _CELL:
        _write(pen, (left + side / 2, top + side / 2), "-" if value is None else f"{value:.2f}", _ink_on(ground))
    elif value is None:
        pen.line((left, top, left + side - 2, top + side - 2), fill=_INK)


def _legend(pen: ImageDraw.ImageDraw, at: tuple[int, int]) -> None:
    left, top = at
    for step in range(_STEPS + 1):
        value = step / _STEPS
        place = left + step * _CELL
        ground = _shade(value)
        pen.rectangle((place, top, place + _CELL - 2, top + _LEGEND // 2), fill=ground, outline=_NOTHING)
        _write(pen, (place + _CELL / 2, top + _LEGEND / 4), f"{value:.1f}", _ink_on(ground))


def _shade(value: float) -> tuple[int, int, int]:
    level = round(255 - (255 - _DARKEST) * min(1.0, max(0.0, value)))
    return level, level, level


def _ink_on(ground: tuple[int, int, int]) -> tuple[int, int, int]:
    return _GROUND if ground[0] < 120 else _INK


def _write(pen: ImageDraw.ImageDraw, middle: tuple[float, float], words: str, ink: Any) -> None:
    pen.text(middle, words, fill=ink, font=ImageFont.load_default(14), anchor="mm")
