"""A contact sheet: a storyboard's frames in order, with what they show and how they scored."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

COLUMNS = 5
WIDEST = 256
_GAP, _LINE, _LINES = 8, 14, 5
_GROUND, _INK = (250, 250, 247), (30, 34, 38)


def contact_sheet(frames: Sequence[tuple[Image.Image, str]]) -> Image.Image:
    """Frames in rows of COLUMNS, each over its words.

    Args:
        frames: Images of one size, and what stands below each: a few lines at most, the rest is cut.

    Returns:
        RGB; larger frames are made WIDEST pixels wide, smaller ones nearly so, by a whole number.
    """
    width, height = _size(frames[0][0])
    columns = min(COLUMNS, len(frames))
    rows = -(-len(frames) // columns)
    tall = height + _LINES * _LINE + _GAP
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (tall + _GAP) + _GAP), _GROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (image, words) in enumerate(frames):
        left, top = _GAP + number % columns * (width + _GAP), _GAP + number // columns * (tall + _GAP)
        sheet.paste(image.resize((width, height), Image.Resampling.LANCZOS), (left, top))
        pen.multiline_text((left, top + height + 2), _wrapped(words, width), fill=_INK, font=font, spacing=1)
    return sheet


def _size(image: Image.Image) -> tuple[int, int]:
    if image.width >= WIDEST:
        return WIDEST, round(image.height * WIDEST / image.width)
    times = WIDEST // image.width
    return image.width * times, image.height * times


def _wrapped(words: str, width: int) -> str:
    lines = [line for part in words.splitlines() for line in textwrap.wrap(part, width=max(8, width // 6))]
    return "\n".join(lines[:_LINES])
