"""Cutting squares out of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def cut_square(image: Image.Image, box: Sequence[float], side: int) -> Image.Image:
    """What lies in a square (left, top, right, bottom in pixels), `side` pixels each way; beyond the image its border is repeated."""
    left, top, right, bottom = (round(value) for value in box)
    reach = max(0, -left, -top, right - image.width, bottom - image.height)
    pixels = np.asarray(image.convert("RGB"))
    if reach:
        pixels = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    cut = pixels[top + reach : max(bottom, top + 1) + reach, left + reach : max(right, left + 1) + reach]
    return Image.fromarray(cut).resize((side, side), Image.Resampling.BICUBIC)


def square_around(image: Image.Image, box: Sequence[float], margin: float, side: int) -> Image.Image:
    """The square around a box (left, top, right, bottom in pixels), `margin` times its longer side, as `cut_square` cuts it."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * margin / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return cut_square(image, (x - half, y - half, x + half, y + half), side)
