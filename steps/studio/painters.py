"""The three styles: flat comic colours, black-and-white ink, and shaded, grainy near-photographs."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from steps.studio.canvas import Box, Painter, blurred, dimmed, mixed, scaled
from steps.studio.colours import RGB
from steps.studio.framing import Points, Spot

STYLES = ("photorealistic", "bw_stylized", "color_stylized")
_LINE: RGB = (38, 26, 34)


class ComicPainter(Painter):
    """Flat colours, one hard shadow, dark outlines."""

    line_share = 0.024
    """An outline's width in units of the frame: heads for a figure."""

    def __init__(self, size: tuple[int, int], over: int, rng: random.Random) -> None:
        """See `Painter`."""
        super().__init__(size, over, rng)
        self.cover = Image.new("L", self.size)
        self._cover_pen = ImageDraw.Draw(self.cover)

    def fill(self, shape: Points, colour: RGB, soft: float = 0.0, line: float = 1.0) -> None:
        """Paint flat, then the shadow on the side away from the light, then the outline."""
        placed = self.frame.place(shape)
        flat = placed.ravel().tolist()
        self.pen.polygon(flat, fill=colour)
        self._cover_pen.polygon(flat, fill=255)
        box = self._clip(placed, self.over) if soft > 0 else None
        if box is not None and min(box.right - box.left, box.bottom - box.top) > 6 * self.over:
            self._shade(placed, box, colour, soft)
        if line > 0:
            closed = np.vstack([placed, placed[:2]])
            self._line(self.pen, closed, _LINE, line * self.line_width())

    def line_width(self) -> float:
        """An outline's width in canvas pixels: never thinner than the finished image can show."""
        return max(0.8 * self.over, self.line_share * self.frame.scale)

    def shadow(self, shape: Points, drop: Spot, strength: float) -> None:
        """A hard shadow on the figure only."""
        placed = self.frame.place(shape + drop)
        box = self._clip(placed)
        if box is not None:
            mask = ImageChops.multiply(self._mask(placed, box), self.cover.crop(box))
            self._overlay((40, 24, 48), box, mask.point(scaled(strength * 0.55)))

    def _shade(self, placed: Points, box: Box, colour: RGB, soft: float) -> None:
        mask = self._mask(placed, box)
        step = max(2, round(0.075 * soft * self.frame.scale))
        moved = Image.new("L", mask.size)
        moved.paste(mask, (-step, -step // 3))
        self._overlay(mixed(dimmed(colour, 0.78), (70, 40, 110), 0.12), box, ImageChops.subtract(mask, moved))


class PhotoPainter(ComicPainter):
    """Round, softly lit shapes without outlines; the scene lies out of focus behind them."""

    def fill(self, shape: Points, colour: RGB, soft: float = 0.0, line: float = 1.0) -> None:  # noqa: ARG002
        """Paint with light from the upper left, falling off towards the edges."""
        placed = self.frame.place(shape)
        flat = placed.ravel().tolist()
        self._cover_pen.polygon(flat, fill=255)
        box = self._clip(placed) if soft > 0 else None
        if box is not None and min(box.right - box.left, box.bottom - box.top) > 2 * self.over:
            self._shade(placed, box, colour, soft)
        else:
            self.pen.polygon(flat, fill=self._ink(colour))

    def shadow(self, shape: Points, drop: Spot, strength: float) -> None:
        """A soft shadow on the figure only."""
        placed = self.frame.place(shape + drop)
        radius = 0.07 * self.frame.scale
        box = self._clip(placed, round(2 * radius))
        if box is not None:
            mask = ImageChops.multiply(blurred(self._mask(placed, box), radius), self.cover.crop(box))
            self._overlay((26, 16, 18), box, mask.point(scaled(strength * 0.7)))

    def finish(self, size: tuple[int, int]) -> Image.Image:
        """Muted colours, a lens's dark corners, fine grain."""
        image = self._reduced(self.image, size)
        muted = image.convert("RGB", _MUTE)
        width, height = muted.size
        pixels = np.asarray(muted, dtype=np.float32) * _vignette(width, height)[:, :, None]
        grain = np.random.default_rng(self.rng.randrange(2**32)).standard_normal((height, width), dtype=np.float32)
        pixels += 2.6 * grain[:, :, None]
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    def _shade(self, placed: Points, box: Box, colour: RGB, soft: float) -> None:
        # The padding lets the blur see where the shape ends; a canvas edge is not an end.
        spans = placed.max(axis=0) - placed.min(axis=0)
        radius = max(1.0, min(0.24 * float(spans.min()), 0.22 * self.frame.scale))
        pad = int(2 * radius) + 2
        wide = Box(box.left - pad, box.top - pad, box.right + pad, box.bottom + pad)
        mask = self._mask(placed, wide)
        factor = max(1, int(radius / 3))
        small = mask.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
        # Reading towards the shade side moves the bright middle towards the light.
        step = 0.62 * radius
        x, y = (pad + step) / factor, (pad + 0.75 * step) / factor
        region = (x, y, x + (box.right - box.left) / factor, y + (box.bottom - box.top) / factor)
        light = small.resize((box.right - box.left, box.bottom - box.top), Image.Resampling.BILINEAR, box=region)
        self._lay(light, colour, soft, box, mask.crop((pad, pad, pad + light.width, pad + light.height)))

    def _lay(self, light: Image.Image, colour: RGB, soft: float, box: Box, mask: Image.Image) -> None:
        light.putpalette(_ramp(colour, soft))
        self.image.paste(light.convert("RGB"), box, mask)


class InkPainter(PhotoPainter):
    """Drawn on white paper with black ink or charcoal: tones become lines, and everything is neutral grey."""

    mode = "L"

    def __init__(self, size: tuple[int, int], over: int, rng: random.Random) -> None:
        """See `Painter`."""
        super().__init__(size, over, rng)
        self.lines = Image.new("L", self.size, 255)
        self._lines_pen = ImageDraw.Draw(self.lines)

    def fill(self, shape: Points, colour: RGB, soft: float = 0.0, line: float = 1.0) -> None:
        """Lay the tone; the outline is kept apart, for tones are cut up by the hatching."""
        super().fill(shape, colour, soft)
        placed = self.frame.place(shape)
        flat = placed.ravel().tolist()
        # Pupils and brows are too small for hatching: they are solid.
        self._lines_pen.polygon(flat, fill=0 if line == 0 and sum(colour) < 330 else 255)
        if line > 0:
            self._line(self._lines_pen, np.vstack([placed, placed[:2]]), 0, line * self.line_width())

    def stroke(self, path: Points, colour: RGB, width: float) -> None:
        """A black line, or a white one for a light colour."""
        if self.too_fine(width):
            return
        ink = 255 if sum(colour) > 420 else 0
        super().stroke(path, colour, width)
        self._line(self._lines_pen, self.frame.place(path), ink, max(0.6 * self.over, width * self.frame.scale))

    def finish(self, size: tuple[int, int]) -> Image.Image:
        """Cut the tones into hatching or charcoal, then the outlines over them."""
        angle, charcoal = self.rng.choice((0.6, 0.8, -0.7)), self.rng.random() < 0.4
        pitch = max(2.7 * self.over, self.size[1] / 110)
        screen = _charcoal(self.size, self.over) if charcoal else _hatching(self.size, pitch, angle)
        tones = np.asarray(self.image)
        inked = np.where(tones > screen, np.uint8(255), np.uint8(18))
        drawn = ImageChops.darker(Image.fromarray(inked), self.lines)
        return self._reduced(drawn, size).convert("RGB")

    def _ink(self, colour: RGB) -> int:
        # Paper stays white under light skin and cloth; only what is dark is hatched.
        grey = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
        lifted = min(1.0, max(0.0, (grey - 0.13) / 0.12))
        # Below lies black hair and cloth, which become solid; above, dark skin must keep its features.
        return round(255 * min(1.0, (1.16 * float(grey**0.72)) * (1 - lifted) + (0.36 + 0.74 * grey) * lifted))

    def _lay(self, light: Image.Image, colour: RGB, soft: float, box: Box, mask: Image.Image) -> None:
        self.image.paste(light.point(_tones(self._ink(colour), soft)), box, mask)


# Each channel keeps four fifths of itself and takes the rest from the grey of the three; slightly warm.
_MUTE = (0.846, 0.12, 0.034, 2.0, 0.05, 0.911, 0.034, 0.0, 0.05, 0.1, 0.83, 0.0)


@lru_cache(maxsize=512)
def _ramp(colour: RGB, soft: float) -> bytes:
    """A palette from the shade (0) over the colour (about 165) to the light (255), as 256 RGB triples."""
    shade = np.array(mixed(dimmed(colour, 0.42), (52, 30, 48), 0.18), dtype=np.float64)
    base, light = np.array(colour, dtype=np.float64), np.array(mixed(dimmed(colour, 1.06), (255, 244, 222), 0.14))
    at = np.linspace(0, 1, 256)[:, None]
    lower = shade + (base - shade) * np.clip(at / 0.62, 0, 1) ** 0.9
    full = lower + (light - base) * np.clip((at - 0.62) / 0.38, 0, 1)
    ramp = base + (full - base) * soft
    return np.clip(ramp, 0, 255).astype(np.uint8).tobytes()


@lru_cache(maxsize=512)
def _tones(tone: int, soft: float) -> list[int]:
    """A table from the shade (0) to the light (255) of a grey tone."""
    low, high = tone * (1 - 0.42 * soft), min(255.0, tone * 1.14 + 8)
    return [round(low + (high - low) * min(1.0, value / 215)) for value in range(256)]


@lru_cache(maxsize=4)
def _vignette(width: int, height: int) -> NDArray[np.float32]:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fall: NDArray[np.float32] = (1.04 - 0.11 * (x * x + y * y)).astype(np.float32)
    return fall


def _wave(phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """A triangle wave of period 1 from 0 to 1."""
    waves: NDArray[np.float32] = np.abs(2 * (phase - np.floor(phase)) - 1)
    return waves


@lru_cache(maxsize=6)
def _hatching(size: tuple[int, int], pitch: float, angle: float) -> NDArray[np.uint8]:
    """Thresholds (H, W) below which a tone is ink: one set of lines for light shade, a crossing one for dark."""
    x = np.arange(size[0], dtype=np.float32)[None, :] / pitch
    y = np.arange(size[1], dtype=np.float32)[:, None] / pitch
    along, across = np.cos(angle), np.sin(angle)
    wobble = (0.16 * np.sin(y * 0.21) + 0.12 * np.sin(x * 0.17)).astype(np.float32)
    first = 0.2 + 0.64 * _wave(x * across + y * along + wobble)
    second = 0.56 * _wave(x * along - y * across + wobble)
    screen: NDArray[np.uint8] = (255 * np.maximum(first, second)).astype(np.uint8)
    return screen


@lru_cache(maxsize=6)
def _charcoal(size: tuple[int, int], over: int) -> NDArray[np.uint8]:
    """Thresholds (H, W) like the tooth of rough paper."""
    shape = (size[1] // max(1, over // 2) + 1, size[0] // max(1, over // 2) + 1)
    tooth = np.random.default_rng(7).normal(0.46, 0.2, shape)
    rough = Image.fromarray((255 * np.clip(tooth, 0.06, 0.88)).astype(np.uint8))
    return np.asarray(rough.resize(size, Image.Resampling.BILINEAR))
