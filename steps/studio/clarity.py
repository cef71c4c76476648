"""Is a picture clear? Judged from its edges: how wide they are, in percent of the picture's short side.

A person looks at a whole picture at one size, whatever its pixels, so blur is measured relative to the picture: it is
brought to a short side of `REFERENCE` pixels first, by area averaging when it is larger. A picture that was enlarged
from a tiny one, or is tiny itself, is therefore as blurred as it looks.

The measure is the width of edges along their gradient (Marziliano, Dufaux, Winkler and Ebrahimi, "A no-reference
perceptual blur metric", ICIP 2002, section 2), with contrast over peak slope as the width, which reads a step blurred
by a Gaussian as sqrt(2 pi) times its standard deviation (the edge model of Elder and Zucker, "Local scale control for
edge detection and blur estimation", IEEE TPAMI 20(7), 1998, section 2). Edges are found in a smoothed copy whose own
blur is taken off again in quadrature; the smoothing grows with the noise (their minimum reliable scale, section 3).
Only edges with a strong contrast count, as those are what a person sees (Ferzli and Karam, "A no-reference objective
image sharpness metric based on the notion of just noticeable blur", IEEE TIP 18(4), 2009, section III).

Motion spreads an edge by its length times the cosine between it and the edge's gradient and leaves edges along it sharp
(Levin, "Blind motion deblurring using image statistics", NIPS 2006, section 2: the derivatives across the blur stay as
they were, those along it shrink). Three things are ours: edges are grouped by direction and the worst direction counts;
what stands out in a direction is measured against that direction's own edges, because motion leaves hardly any contrast
along it; and the second-sharpest window of the picture may stand for the whole, because a sharp figure before a blurred
background is clear, and one window may be so by chance. Where nothing at all stands out along a direction, as in stripes, nothing is concluded from it.
`python -m tests.bench.judge_quality` prints how often the verdicts are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Confidence = Literal["high", "medium", "low"]
Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

REFERENCE = 384
"""Short side in pixels of the copy that is measured."""

BLURRED = 0.45
"""Percent of the short side (4.6 px in 1024): edges spread more than this make a picture unclear."""
SURELY_BLURRED = 0.70
DOUBTFUL = 0.36
"""Between this and `BLURRED` the picture counts as clear, with low confidence."""

MOST = 1.1
"""Wider spreads than this can't be told apart, as edges are followed only so far."""

_MAX_PIXELS = 4 * REFERENCE * REFERENCE  # A panorama is shrunk further, so that the work stays bounded.
_REACH = 12  # Pixels that an edge is followed to either side: 3 % of the short side.
_FINE, _COARSE = 1.5, 2.25  # Standard deviation of the smoothing in pixels, for clean and for noisy pictures.
_NOISY = 1.7  # Grey levels per pixel of slope that the noise alone has.
_VERY_NOISY = 3.0
_MIN_SLOPE = 0.5  # Grey levels per pixel.
_MIN_CONTRAST = 8.0  # Grey levels of 255; JPEG's blocks at quality 60 stay below.
_RELATIVE_CONTRAST = 0.3  # Of the picture's strong edges.
_FAINT = 0.1  # Of the picture's strong edges: what motion leaves of those across it.
_OWN_CONTRAST = 0.35  # Of the strong ones among a direction's faint edges.
_FAINT_SHARE = 0.015  # Of the faint edges, that a direction needs to count.
_CLIPPED = 1.8  # Noise around black or white loses about half, as one of its sides is cut off.
_NOISE_CONTRAST = 10.0  # Times noise slope times smoothing: about 8 standard deviations of the noise.
_MAX_EDGES = 6000
_MIN_EDGES = 40
_DIRECTIONS = 6
_QUANTILE = 0.25


@dataclass(frozen=True)
class Clarity:
    """What the edges say.

    Attributes:
        score: Spread of the edges, as the standard deviation of the Gaussian that would blur an ideal edge as much, in
            percent of the picture's short side, 0 to `MOST`; smaller is sharper. None when there is no edge to measure.
        is_clear: False when `score` is above `BLURRED`, or when there is nothing to see.
        confidence: How far the score is from the limit, and how much of it noise may have made.
        reason: One sentence with the figures.
    """

    score: float | None
    is_clear: bool
    confidence: Confidence
    reason: str


class _Edges(NamedTuple):
    """Edge pixels, arrays of (N,): position in 0..1, spread in % of the short side, contrast, direction in 0..pi."""

    x: Floats
    y: Floats
    spread: Floats
    contrast: Floats
    direction: Floats


class _Slopes(NamedTuple):
    """A smoothed picture (H, W) in 0..255 and its slopes in grey levels per pixel."""

    smooth: Floats
    x: Floats
    y: Floats
    steepness: Floats
    sigma: float


def measure(image: Image.Image) -> Clarity:
    """Judge whether a picture is sharp enough to be recognized.

    The cost is bounded: about 30 ms for 1024 x 1536 on one core, little more for larger ones.

    Args:
        image: RGB, 8 bits a channel, of any size.

    Returns:
        The spread of its edges and the verdict. It is lenient: in doubt a picture is clear, with low confidence.
    """
    grey = _at_reference_size(image)
    slopes = _slopes_of(grey, _FINE)
    noise = _noise_slope(slopes)
    if noise > _NOISY:
        slopes = _slopes_of(grey, _COARSE)
    all_edges, limit = _follow(slopes, _ridges(slopes)), _noise_slope(slopes) * slopes.sigma
    edges = _strong(all_edges, limit)
    if len(edges.spread) < _MIN_EDGES:
        return _nothing_to_see(grey)
    windows, whole = _windows(edges), _worst_direction(edges, 1)
    plain = min([*([] if whole is None else [whole]), *windows], default=None)
    if plain is None:
        plain = float(np.quantile(edges.spread, _QUANTILE))
    faint = min([_worst_faint_direction(_strong(all_edges, limit, _FAINT)), *windows])
    return _verdict(min(plain, MOST), min(faint, MOST), noise)


def _verdict(score: float, faint: float, noise: float) -> Clarity:
    """Say it; `faint` is the spread with faint edges counted too, `noise` is in grey levels per pixel."""
    said = f"edges spread over {score:.2f} % of the short side"
    if faint > BLURRED >= score:
        reason = f"The picture is blurred in one direction: {said}, but {faint:.2f} % there, more than {BLURRED:.2f} %."
        return Clarity(faint, False, "low", reason)
    if score > BLURRED:
        sure: Confidence = "high" if score > SURELY_BLURRED else "medium"
        return Clarity(score, False, sure, f"The picture is blurred: {said}, more than {BLURRED:.2f} %.")
    if noise > _VERY_NOISY:
        return Clarity(score, True, "low", f"The picture seems sharp, but grain or texture may pass for it: {said}.")
    if score > DOUBTFUL:
        return Clarity(
            score, True, "low", f"The picture is soft but not surely blurred: {said}, up to {BLURRED:.2f} %."
        )
    confidence: Confidence = "medium" if noise > _NOISY else "high"
    return Clarity(score, True, confidence, f"The picture is sharp: {said}, at most {BLURRED:.2f} %.")


def _nothing_to_see(grey: Floats) -> Clarity:
    low, high = np.quantile(grey, (0.02, 0.98))
    if high - low < _MIN_CONTRAST:
        reason = f"There is nothing to see: the picture is flat, with {high - low:.0f} of 255 levels of contrast."
        return Clarity(None, False, "high", reason)
    reason = f"There is nothing to see: nothing stands out from noise or soft shading of {high - low:.0f} levels."
    return Clarity(None, False, "low", reason)


def _at_reference_size(image: Image.Image) -> Floats:
    """Luma as (H, W) with a short side of `REFERENCE` pixels, or less for a panorama."""
    width, height = image.size
    scale = min(REFERENCE / min(width, height), (_MAX_PIXELS / (width * height)) ** 0.5)
    least = 2 * _REACH + 2
    size = (max(least, round(width * scale)), max(least, round(height * scale)))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(image.convert("L").resize(size, how), dtype=np.float32)


def _smooth(grey: Floats, sigma: float) -> Floats:
    """Gaussian smoothing with repeated borders; Pillow's own rounds to 8 bits, too coarse for soft edges."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    height, width = grey.shape
    padded = np.pad(grey, ((radius, radius), (0, 0)), mode="edge")
    rows = _weighted([padded[i : i + height] for i in range(len(kernel))], kernel)
    padded = np.pad(rows, ((0, 0), (radius, radius)), mode="edge")
    return _weighted([padded[:, i : i + width] for i in range(len(kernel))], kernel)


def _weighted(shifted: list[Floats], kernel: Floats) -> Floats:
    total: Floats = shifted[0] * kernel[0]
    for array, weight in zip(shifted[1:], kernel[1:], strict=True):
        total += array * weight
    return total


def _slopes_of(grey: Floats, sigma: float) -> _Slopes:
    smooth = _smooth(grey, sigma)
    x, y = np.zeros_like(smooth), np.zeros_like(smooth)
    x[:, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    y[1:-1] = (smooth[2:] - smooth[:-2]) / 2
    return _Slopes(smooth, x, y, np.sqrt(x * x + y * y), sigma)


def _noise_slope(slopes: _Slopes) -> float:
    """Slope that noise or grain alone has: the median of a calm tile, tiles of pure colour (padding) left out."""
    medians, level = np.median(_tiles(slopes.steepness), axis=1), _tiles(slopes.smooth).mean(axis=1)
    medians = np.where((level < 20) | (level > 235), _CLIPPED, 1) * medians
    medians = medians[medians > 0.05]
    return float(np.quantile(medians, 0.2)) if len(medians) > 8 else 0.0


def _tiles(plane: Floats, tile: int = 24) -> Floats:
    rows, columns = plane.shape[0] // tile, plane.shape[1] // tile
    cut = plane[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, tile * tile)


def _ridges(slopes: _Slopes) -> tuple[Ints, Ints]:
    """Rows and columns of the pixels that are steepest across their edge, frames left out, at most `_MAX_EDGES`."""
    steepness, inside = slopes.steepness, slice(_REACH, -_REACH)
    before, after = slice(_REACH - 1, -_REACH - 1), slice(_REACH + 1, -_REACH + 1)
    upright = np.abs(slopes.x) >= np.abs(slopes.y)
    across = upright[inside, inside]
    left = np.where(across, steepness[inside, before], steepness[before, inside])
    right = np.where(across, steepness[inside, after], steepness[after, inside])
    centre = steepness[inside, inside]
    floor = max(_MIN_SLOPE, 2 * _noise_slope(slopes))
    y, x = np.nonzero((centre > floor) & (centre >= left) & (centre > right))
    y, x = y + _REACH, x + _REACH
    frame = _on_a_frame(y, x, upright[y, x], steepness.shape)
    if np.count_nonzero(~frame) >= _MIN_EDGES:
        y, x = y[~frame], x[~frame]
    if len(y) > _MAX_EDGES:
        kept = np.linspace(0, len(y) - 1, _MAX_EDGES).astype(np.intp)
        y, x = y[kept], x[kept]
    return y, x


def _on_a_frame(y: Ints, x: Ints, upright: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which edges lie on a straight upright or level line across the picture: a blurred photograph in a sharp frame."""
    columns = _frame_lines(x[upright], shape[1], 0.3 * shape[0])
    rows = _frame_lines(y[~upright], shape[0], 0.3 * shape[1])
    return np.where(upright, columns[x], rows[y])


def _frame_lines(places: Ints, size: int, least: float, most: int = 4) -> NDArray[np.bool_]:
    """Which columns (or rows) are lines of a frame: long ones, but few, as many are what the picture shows."""
    found = np.convolve(np.bincount(places, minlength=size), (1, 1, 1), "same") > least
    lines = np.count_nonzero(found[1:] & ~found[:-1])
    return found if lines <= most else np.zeros(size, dtype=np.bool_)


def _follow(slopes: _Slopes, pixels: tuple[Ints, Ints]) -> _Edges:
    """Follow each edge up and down its gradient while it goes on rising, and take its contrast over its slope."""
    y, x = pixels
    height, width = slopes.smooth.shape
    slope = slopes.steepness[y, x]
    down, along = slopes.y[y, x] / slope, slopes.x[y, x] / slope
    offsets = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
    rows = np.clip(np.rint(y[:, None] + down[:, None] * offsets).astype(np.intp), 0, height - 1)
    columns = np.clip(np.rint(x[:, None] + along[:, None] * offsets).astype(np.intp), 0, width - 1)
    steps = np.diff(slopes.smooth[rows, columns], axis=1)
    contrast = _rise(steps[:, _REACH:], slope) + _rise(steps[:, :_REACH][:, ::-1], slope)
    variance = (contrast / slope) ** 2 / (2 * np.pi) - slopes.sigma**2
    spread = np.sqrt(np.maximum(variance, 0)) * (100 / min(height, width))
    direction = np.mod(np.arctan2(down, along), np.pi)
    return _Edges(*(a.astype(np.float32) for a in (x / width, y / height, spread, contrast, direction)))


def _rise(steps: Floats, slope: Floats) -> Floats:
    """Sum of the steps (N, reach) up to the first that rises by less than 8 % of the edge's steepest."""
    rising = np.logical_and.accumulate(steps >= 0.08 * slope[:, None], axis=1)
    total: Floats = np.sum(steps * rising, axis=1)
    return total


def _strong(edges: _Edges, noise: float, relative: float = _RELATIVE_CONTRAST) -> _Edges:
    """The edges that a person sees; `noise` is the noise slope times the smoothing, in grey levels."""
    if not len(edges.contrast):
        return edges
    usual, best = np.quantile(edges.contrast, (0.95, 0.99))
    limit = _NOISE_CONTRAST * noise
    # The tail of noise alone crosses its limit too, but hardly; where something is drawn, something stands well above.
    if best < 1.25 * limit:
        limit = np.inf
    return _select(edges, edges.contrast >= max(_MIN_CONTRAST, relative * usual, limit))


def _select(edges: _Edges, chosen: NDArray[np.bool_]) -> _Edges:
    return _Edges(*(array[chosen] for array in edges))


def _worst_direction(edges: _Edges, directions_needed: int, share: float = 0.06) -> float | None:
    """Spread of the sharper edges in the direction where they are widest; None when too few directions have edges."""
    least = max(20, share * len(edges.spread))
    chosen = [edges.spread[near] for near in _by_direction(edges)]
    found = [float(np.quantile(spreads, _QUANTILE)) for spreads in chosen if len(spreads) >= least]
    return max(found) if len(found) >= directions_needed else None


def _worst_faint_direction(edges: _Edges) -> float:
    """The same with each direction measured by what stands out in it, however little that is; 0 when nothing does."""
    least, found = max(20, _FAINT_SHARE * len(edges.spread)), [0.0]
    for near in _by_direction(edges):
        spreads, contrasts = edges.spread[near], edges.contrast[near]
        if len(spreads) >= least:
            spreads = spreads[contrasts >= _OWN_CONTRAST * np.quantile(contrasts, 0.95)]
        if len(spreads) >= least:
            found.append(float(np.quantile(spreads, _QUANTILE)))
    return max(found)


def _by_direction(edges: _Edges) -> Iterator[NDArray[np.bool_]]:
    """Which edges have their gradient within 30 degrees of each direction; neighbours overlap by half."""
    for index in range(_DIRECTIONS):
        turned = np.mod(edges.direction - index * np.pi / _DIRECTIONS + np.pi / 2, np.pi) - np.pi / 2
        yield np.abs(turned) <= np.pi / _DIRECTIONS


def _windows(edges: _Edges, size: float = 1 / 3, steps: int = 5) -> list[float]:
    """Spread in the second-sharpest window with edges in all directions, so that motion can't hide in it; or none."""
    found = []
    for corner in np.ndindex(steps, steps):
        top, left = (index * (1 - size) / (steps - 1) for index in corner)
        inside = (edges.y >= top) & (edges.y <= top + size) & (edges.x >= left) & (edges.x <= left + size)
        if np.count_nonzero(inside) >= max(80, 0.08 * len(inside)):
            found.append(_worst_direction(_select(edges, inside), _DIRECTIONS, 0.1))
    return sorted(spread for spread in found if spread is not None)[1:2]
