"""Composites: an actor's training images as numbered thumbnails on a few sheets, for one look at all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from steps.library.pictures import encode_jpeg

THUMBNAIL = 200
"""Pixels of a thumbnail's long side."""
COLUMNS = 5
PER_SHEET = 50
QUALITY = 90

# Together 1,016 pixels: backends that send at most 1,024 send four rows as they are.
_GAP = 4
_COLUMN = THUMBNAIL + _GAP
_WIDTH = COLUMNS * _COLUMN - _GAP
_STRIP = 32
_ROW = _STRIP + THUMBNAIL
_GROUND = (38, 52, 60)
_LABEL = (255, 214, 64)
_CROSS = (150, 60, 60)
# What JPEG and a vendor's scaling leave of the ground, in levels of any channel.
_GROUND_TOLERANCE = 24
_SMEARED = 0.3


@dataclass(frozen=True)
class Cell:
    """One place on a sheet.

    Attributes:
        label: What stands above it: the image's number, perhaps with a remark ("7 = 3").
        image: At most `THUMBNAIL` pixels on the long side; None is crossed out, for a file that nobody can see.
    """

    label: str
    image: Image.Image | None = field(repr=False)


def sheets(found: Iterable[Cell]) -> Iterator[bytes]:
    """Lay thumbnails out, in rows of `COLUMNS` and at most `PER_SHEET` a sheet.

    Args:
        found: In order. They are taken one after the other, so that a generator holds one picture at a time.

    Yields:
        JPEGs of quality 90, 1,016 pixels wide and 232 high for each row.
    """
    left = iter(found)
    while together := list(islice(left, PER_SHEET)):
        yield _sheet(together)


def cells(sheet: Image.Image, count: int) -> list[Image.Image]:
    """The inverse of `sheets`: the thumbnails of one sheet, without labels and ground.

    Args:
        sheet: RGB; it may have been scaled since.
        count: How many cells to cut out; a sheet with fewer places yields those that it has.
    """
    scale = sheet.width / _WIDTH
    found = []
    for index in range(min(count, places(sheet))):
        left, top = (index % COLUMNS) * _COLUMN, (index // COLUMNS) * _ROW + _STRIP
        edges = [round(edge * scale) for edge in (left, top, left + THUMBNAIL, top + THUMBNAIL)]
        found.append(_without_ground(sheet.crop((edges[0], edges[1], edges[2], edges[3]))))
    return found


def places(sheet: Image.Image) -> int:
    """How many cells a sheet has room for."""
    return COLUMNS * round(sheet.height * _WIDTH / (sheet.width * _ROW))


def _sheet(found: Sequence[Cell]) -> bytes:
    sheet = Image.new("RGB", (_WIDTH, _ROW * math.ceil(len(found) / COLUMNS)), _GROUND)
    pen = ImageDraw.Draw(sheet)
    for index, cell in enumerate(found):
        left, top = (index % COLUMNS) * _COLUMN, (index // COLUMNS) * _ROW
        pen.text((left + THUMBNAIL // 2, top + _STRIP // 2), cell.label, _LABEL, _font(), anchor="mm")
        if cell.image is None:
            _cross_out(pen, left, top + _STRIP)
        else:
            sheet.paste(cell.image, (left + _centred(cell.image.width), top + _STRIP + _centred(cell.image.height)))
    return encode_jpeg(sheet, QUALITY)


def _centred(length: int) -> int:
    return (THUMBNAIL - length) // 2


def _cross_out(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    inset, far = 24, THUMBNAIL - 24
    pen.line((left + inset, top + inset, left + far, top + far), fill=_CROSS, width=6)
    pen.line((left + inset, top + far, left + far, top + inset), fill=_CROSS, width=6)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, so that a sheet looks the same on every machine."""
    return ImageFont.load_default(26)


def _without_ground(cell: Image.Image) -> Image.Image:
    """The thumbnail that stands in the middle of a cell; the whole cell where nothing does."""
    away = np.abs(np.asarray(cell.convert("RGB"), dtype=np.int16) - np.array(_GROUND, dtype=np.int16))
    drawn = away.max(axis=2) > _GROUND_TOLERANCE
    if not drawn.any():
        return cell
    (left, right), (top, bottom) = _margins(drawn.sum(axis=0)), _margins(drawn.sum(axis=1))
    return cell.crop((left, top, cell.width - right, cell.height - bottom))


def _margins(drawn: NDArray[np.int64]) -> tuple[int, int]:
    """How many lines hold hardly anything before and behind the thumbnail, of (N,) counts of pixels that are not ground.

    Compression smears a thumbnail's edge over a block, but thinly. And thumbnails are centred, to a pixel: one that is as dark as
    the ground on one side is not cut there.
    """
    lines = np.flatnonzero(drawn >= _SMEARED * drawn.max())
    before, behind = int(lines[0]), len(drawn) - 1 - int(lines[-1])
    return min(before, behind + 1), min(behind, before + 1)
