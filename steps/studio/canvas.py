"""Curves, and the painter that puts them on an image; `painters.py` has one painter a style."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from steps.studio.colours import RGB
from steps.studio.framing import Frame, Points, Spot

_STEPS = 6
_T = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
# Catmull-Rom basis (uniform, tension 1/2): the curve goes through every control point.
_BASIS = 0.5 * np.hstack(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, -(_T**2) + _T**3]
)


class Box(NamedTuple):
    """Pixels left, top (inside) and right, bottom (outside)."""

    left: int
    top: int
    right: int
    bottom: int


@lru_cache(maxsize=64)
def _neighbours(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return (np.arange(count)[:, None] + np.arange(-1, 3)[None, :]) % count


def points(spots: Sequence[Spot] | Points) -> Points:
    """Spots as an array (N, 2)."""
    return np.asarray(spots, dtype=np.float64)


def smooth(spots: Sequence[Spot] | Points) -> Points:
    """A closed curve through the spots. A spot given twice makes a corner."""
    control = points(spots)
    curve: Points = (_BASIS @ control[_neighbours(len(control))]).reshape(-1, 2)
    return curve


def thread(spots: Sequence[Spot] | Points) -> Points:
    """An open curve through the spots."""
    control = points(spots)
    control = np.vstack([control[:1], control, control[-1:]])
    curve = (_BASIS @ control[_neighbours(len(control))][1:-2]).reshape(-1, 2)
    return np.vstack([curve, control[-1:]])


def mirrored(half: Sequence[Spot], middle: float = 0.0) -> Points:
    """A closed curve from its right half, given from the top down."""
    right = points(half)
    left = right[::-1] * (-1, 1) + (2 * middle, 0)
    # A spot on the axis is its own mirror image: once is enough.
    keep = np.abs(left[:, 0] - middle) > 1e-9
    return smooth(np.vstack([right, left[keep]]))


def oval(centre: Spot, across: float, down: float) -> Points:
    """An ellipse by its half axes."""
    return _CIRCLE * (across, down) + centre


_TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.column_stack([np.cos(_TURNS), np.sin(_TURNS)])


def limb(joints: Sequence[Spot], widths: Sequence[float]) -> Points:
    """A tapered tube along the joints, `widths` wide (half) at each."""
    path, half = points(joints), np.asarray(widths)[:, None]
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    across = np.column_stack([-along[:, 1], along[:, 0]]) * half
    return smooth(np.vstack([path + across, (path - across)[::-1]]))


def mixed(one: RGB, other: RGB, share: float) -> RGB:
    """`one` with `share` (0 to 1) of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def dimmed(colour: RGB, factor: float) -> RGB:
    """The colour times `factor`."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


@lru_cache(maxsize=64)
def _spot(strength: float) -> Image.Image:
    """A mask that is `strength` in the middle and clear from the circle that the square holds."""
    full = ImageChops.invert(Image.radial_gradient("L")).resize((64, 64), Image.Resampling.BILINEAR)
    return full.point([round(max(0.0, value - 75) * 1.4 * strength) for value in range(256)])


@lru_cache(maxsize=64)
def scaled(factor: float) -> list[int]:
    """A table for `Image.point` that multiplies by `factor` (0 to 1)."""
    return [round(value * factor) for value in range(256)]


class Painter:
    """Paints shapes given in heads; what a shape looks like is the style's."""

    mode = "RGB"

    def __init__(self, size: tuple[int, int], over: int, rng: random.Random) -> None:
        """`over`: pixels here for one pixel of the finished image, each way."""
        self.size = (size[0] * over, size[1] * over)
        self.over = over
        self.rng = rng
        self.image = Image.new(self.mode, self.size, "white")
        self.pen = ImageDraw.Draw(self.image)
        self.frame = Frame(1.0, 0.0, 0.0)

    def fill(self, shape: Points, colour: RGB, soft: float = 0.0, line: float = 1.0) -> None:
        """Paint a closed shape; `soft` (0 to 1) is how round it looks, `line` the outline's weight."""
        raise NotImplementedError

    def stroke(self, path: Points, colour: RGB, width: float) -> None:
        """Paint an open line, `width` in heads."""
        if self.too_fine(width):
            return
        placed = self.frame.place(path)
        self._line(self.pen, placed, self._ink(colour), max(1.0, width * self.frame.scale))

    def glow(self, centre: Spot, reach: Spot, colour: RGB, strength: float) -> None:
        """A spot of colour that fades out at `reach` (half axes in heads)."""
        placed = self._bounds(self.frame.place(points([centre])), 0)
        across, down = int(reach[0] * self.frame.scale), int(reach[1] * self.frame.scale)
        if across < 1 or down < 1:
            return
        mask = _spot(strength).resize((2 * across, 2 * down))
        self.image.paste(self._ink(colour), (placed.left - across, placed.top - down), mask)

    def too_fine(self, width: float) -> bool:
        """Whether something `width` heads wide would only muddy the finished image."""
        return width * self.frame.scale < 0.26 * self.over

    def shadow(self, shape: Points, drop: Spot, strength: float) -> None:
        """The shadow that a shape throws on what is painted so far, moved by `drop` heads."""

    def pattern(self, shape: Points, kind: str, colour: RGB) -> None:
        """Lay a pattern on a shape."""
        placed = self.frame.place(shape)
        box = self._clip(placed)
        if kind == "plain" or box is None:
            return
        mask = self._mask(placed, box)
        motif = Image.new("L", mask.size)
        origin = (self.frame.x - box.left, self.frame.y - box.top)
        _MOTIFS[kind](ImageDraw.Draw(motif), mask.size, origin, self.frame.scale)
        self._overlay(colour, box, ImageChops.multiply(mask, motif))

    def finish(self, size: tuple[int, int]) -> Image.Image:
        """The finished RGB image."""
        return self._reduced(self.image, size).convert("RGB")

    def _overlay(self, colour: RGB, box: Box, mask: Image.Image) -> None:
        self.image.paste(self._ink(colour), box, mask)

    def _reduced(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        return image if image.size == size else image.reduce(self.over)

    def _ink(self, colour: RGB) -> RGB | int:
        return colour

    def _line(self, pen: ImageDraw.ImageDraw, placed: Points, ink: RGB | int, width: float) -> None:
        flat = placed.ravel().tolist()
        pen.line(flat, fill=ink, width=max(1, round(width)), joint="curve" if width > 5 else None)

    def _bounds(self, placed: Points, margin: int) -> Box:
        left, top = placed.min(axis=0)
        right, bottom = placed.max(axis=0)
        return Box(int(left) - margin, int(top) - margin, int(right) + 1 + margin, int(bottom) + 1 + margin)

    def _clip(self, placed: Points, margin: int = 1) -> Box | None:
        """The part of the canvas that a shape may touch; None when it touches none."""
        bounds = self._bounds(placed, margin)
        box = Box(
            max(0, bounds.left), max(0, bounds.top), min(self.size[0], bounds.right), min(self.size[1], bounds.bottom)
        )
        return box if box.left < box.right and box.top < box.bottom else None

    def _mask(self, placed: Points, box: Box) -> Image.Image:
        mask = Image.new("L", (box.right - box.left, box.bottom - box.top))
        ImageDraw.Draw(mask).polygon((placed - (box.left, box.top)).ravel().tolist(), fill=255)
        return mask


def blurred(mask: Image.Image, radius: float) -> Image.Image:
    """A mask blurred by a Gaussian; a wide blur is done on a smaller copy, which looks the same and costs little."""
    factor = max(1, int(radius / 3))
    small = mask.reduce(factor) if factor > 1 else mask
    small = small.filter(ImageFilter.GaussianBlur(radius / factor))
    return small.resize(mask.size, Image.Resampling.BILINEAR) if factor > 1 else small


def _stripes(pen: ImageDraw.ImageDraw, size: tuple[int, int], origin: Spot, scale: float) -> None:
    pitch = 0.22 * scale
    start = (origin[0] - pitch / 4) % pitch - pitch
    for index in range(int(size[0] / pitch) + 3):
        left = start + index * pitch
        pen.rectangle((left, 0, left + pitch * 0.42, size[1]), fill=255)


def _zigzag(pen: ImageDraw.ImageDraw, size: tuple[int, int], origin: Spot, scale: float) -> None:
    pitch, tall = 0.2 * scale, 0.42 * scale
    count = int(size[0] / pitch) + 4
    xs = np.arange(count) * pitch + origin[0] % (2 * pitch) - 2 * pitch
    rise = (np.arange(count) % 2) * 0.17 * scale
    for index in range(int(size[1] / tall) + 3):
        ys = origin[1] % tall + (index - 1) * tall + rise
        pen.line(
            np.column_stack([xs, ys]).ravel().tolist(), fill=255, width=max(1, round(0.075 * scale)), joint="curve"
        )


def _dots(pen: ImageDraw.ImageDraw, size: tuple[int, int], origin: Spot, scale: float) -> None:
    pitch, radius = 0.26 * scale, max(0.7, 0.062 * scale)
    for row in range(-1, int(size[1] / pitch) + 2):
        y = origin[1] % (2 * pitch) + (row - 1) * pitch
        start = origin[0] % pitch + (pitch / 2 if row % 2 else 0) - pitch
        for column in range(int(size[0] / pitch) + 3):
            x = start + column * pitch
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)


def _checks(pen: ImageDraw.ImageDraw, size: tuple[int, int], origin: Spot, scale: float) -> None:
    pitch = 0.34 * scale
    for axis, extent in enumerate(size):
        start = (origin[axis] - pitch / 4) % pitch - pitch
        for index in range(int(extent / pitch) + 3):
            low = start + index * pitch
            high = low + pitch * 0.34
            pen.rectangle((low, 0, high, size[1]) if axis == 0 else (0, low, size[0], high), fill=255)


_MOTIFS = {"stripes": _stripes, "zigzag": _zigzag, "dots": _dots, "checks": _checks}
