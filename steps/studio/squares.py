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
