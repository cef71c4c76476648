"""Is a picture a photograph, drawn in black and white, or drawn in colour, and how good is it? Judged from a thumbnail's pixels alone.

Black-and-white is a matter of chroma: whatever tint paper and ink have follows the brightness, so what is left of Cb and Cr (JFIF's)
beside a parabola over the luma is compared with `TINT`. A black-and-white photograph is a photograph.

Drawn or photographed is a matter of how the brightness changes from pixel to pixel. Four kinds of figures are weighed:

* the histogram of slopes. In photographs its logarithm falls evenly over all slopes (Huang and Mumford, "Statistics of natural images
  and models", CVPR 1999, section 3); drawings have many pixels without a slope, many with a steep one, and few between;
* what lies beside the edges: flat fills in drawings, texture and shading in photographs, as neighbours in graphics have either the
  same colour or a wholly other one (Athitsos, Swain and Frankel, "Distinguishing photographs and graphics on the World Wide Web",
  IEEE CBAIVL 1997, section 3: number of colours, farthest neighbour);
* how much fine detail there is, which tells a soft drawing from a photograph;
* dark outlines: the share of edges beside a thin line that is darker than both its sides, found by a morphological closing (Serra,
  "Image Analysis and Mathematical Morphology", 1982, chapter 11: top-hat). That it counts is ours.

The weights are a logistic regression's (tests/bench/styles.py fits and prints them), one for pictures in colour and one for those
without, chosen on drawings of other seeds and photographs of other scenes than those that the tests and the bench report on.
Painting that looks like a photograph passes for one, and a photograph of a drawing for a drawing.

Quality, 1 to 10, takes points off for blur (`clarity`: the width of edges) and little contrast, and in photographs for noise (Immerkaer,
"Fast noise variance estimation", CVIU 64(2), 1996, in the calmest tiles) and for what is burnt out or sunk in black. The points are ours.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from steps.studio.clarity import measure

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

PHOTOREALISTIC, BW_STYLIZED, COLOR_STYLIZED = "photorealistic", "bw_stylized", "color_stylized"
CLASSES = (PHOTOREALISTIC, BW_STYLIZED, COLOR_STYLIZED)
TINT = 6.0
"""Levels of chroma beside the tint, reached by one pixel in twenty: below, there is no colour."""

FIGURES = (
    "slopes under 1",
    "slopes 1 to 3",
    "slopes 3 to 8",
    "slopes 8 to 20",
    "slopes 20 to 60",
    "slopes over 60",
    "flat beside edges",
    "calm beside edges",
    "shaded beside edges",
    "outlined edges",
    "finest detail",
)
# fmt: off
IN_COLOUR: tuple[float, ...] = (
    0.3182, -1.967, 1.119, 0.1215, -0.1583, -0.5952, -0.759, 8.101, -7.431, 2.589, -0.2255, 0.1013, 0.5628, -2.926,
    -1.225, 0.2438, 0.05492, -13.94, 1.634, 1.129, -1.107, -0.9627, -0.3634, 0.07256, -0.5185, -1.185, 0.4829, 4.93,
    -5.31, 1.207, -6.037, 1.883, -1.136, 0.0182, 0.06731, 0.06616, 3.032, 0.9352, -2.558, 7.478, 2.091, 0.3086, 0.1205,
    -0.2609, 0.6636, 0.3798, -1.771, -2.009, -0.3635, 0.1857, -0.04806, -0.6473, 0.1645, 0.1623, 0.6117, 0.08593,
    0.005946, 0.5434, -0.1795, -0.4365, 2.323, 0.2442, -7.655, 7.149, -50.72, 33.95, 4.559, 11.9, 11.89, 6.635, 7.353,
    -5.699, 0.2316, -4.506, 5.752, -4.232, -1.13, -3.276,
)
# fmt: on
"""A weight for each of the `terms`: a sum above zero is drawn."""
# fmt: off
WITHOUT: tuple[float, ...] = (
    1.035, -6.581, 6.779, -0.2198, 0.2939, 1.666, 5.527, 9.799, -5.743, -8.289, -2.058, -0.5711, -0.7126, 0.0958,
    -0.1607, 0.06722, 1.045, 8.14, 2.083, 1.956, 0.5692, 8.282,
)
# fmt: on

_SLOPES = (0, 1, 3, 8, 20, 60, 1000)  # Grey levels per pixel.
_EDGE, _STEEP = 12, 20
_OUTLINE, _DARK = 25, 90  # Levels that a line lies below its sides, and the lightest that it may be.
_UNKNOWN = 0.3  # Stands for a share of what there is too little of.
_LEAST_SIDE = 32
_RIM = 2  # Pixels at the border of a thumbnail, where compression mixes it with what is beside it.
_TILE = 16


@dataclass(frozen=True)
class Style:
    """What a picture looks like.

    Attributes:
        kind: One of CLASSES.
        drawn: How sure it is drawn, 0 to 1.
        coloured: Whether it has colour.
        quality: 1 (of no use) to 10.
    """

    kind: str
    drawn: float
    coloured: bool
    quality: int


class _Surface(NamedTuple):
    """A picture's luma (H, W) in 0..255 and its slope in grey levels per pixel."""

    luma: Floats
    slope: Floats


def look(image: Image.Image, kinds: Collection[str] = CLASSES) -> Style:
    """Judge a thumbnail.

    Args:
        image: RGB; larger ones than 200 pixels are best made that small first, as the weights are for thumbnails.
        kinds: The classes that may be chosen, some of CLASSES.
    """
    coloured = has_colour(image)
    drawn = _sure(image, coloured)
    chances = {
        PHOTOREALISTIC: 1 - drawn,
        BW_STYLIZED: drawn * (0.01 if coloured else 1),
        COLOR_STYLIZED: drawn * (1 if coloured else 0.01),
    }
    kind = max((kind for kind in CLASSES if kind in kinds), key=chances.__getitem__)
    return Style(kind, drawn, coloured, _quality(_cut(image), kind))


def has_colour(image: Image.Image) -> bool:
    """Whether a picture has more colour than paper and ink of one tint."""
    values = np.asarray(_cut(image).convert("YCbCr"), dtype=np.float64).reshape(-1, 3)
    luma = values[:, 0] / 255
    basis = np.column_stack([np.ones_like(luma), luma, luma**2])
    tint, *_ = np.linalg.lstsq(basis, values[:, 1:], rcond=None)
    beside = np.hypot(*(values[:, 1:] - basis @ tint).T)
    return bool(np.quantile(beside, 0.95) > TINT)


def figures(image: Image.Image) -> NDArray[np.float64]:
    """What is weighed: `FIGURES` of a picture, (11,); the histogram's are logarithms of shares."""
    surface = _surface(_cut(image))
    slope = surface.slope
    shares = [np.log(1e-3 + np.mean((slope >= low) & (slope < high))) for low, high in pairwise(_SLOPES)]
    edges, steep = slope > _EDGE, slope > _STEEP
    beside = (_share(slope < 1, _around(edges, 4)), _share(slope < 3, _around(edges, 3)))
    shaded = _share((slope >= 3) & (slope < _EDGE), _around(steep, 4))
    outlined = _share(_widened(_outlines(surface.luma), 1), steep)
    return np.array([*shares, *beside, shaded, outlined, _finest(surface.luma)])


def terms(found: NDArray[np.float64], coloured: bool) -> NDArray[np.float64]:
    """What the weights belong to, of `figures` (..., 11): each, products of two, and one.

    With colour (..., 78) all products, without (..., 22) those with the last, as there are fewer pictures to learn from.
    What slopes and outlines tell depends on how soft a picture is.
    """
    first, second = np.triu_indices(len(FIGURES))
    if not coloured:
        soft = (second == len(FIGURES) - 1) & (first < second)
        first, second = first[soft], second[soft]
    one = np.ones((*found.shape[:-1], 1))
    return np.concatenate([found, found[..., first] * found[..., second], one], axis=-1)


def _sure(image: Image.Image, coloured: bool) -> float:
    odds = float(terms(figures(image), coloured) @ np.array(IN_COLOUR if coloured else WITHOUT))
    return 1 / (1 + float(np.exp(-np.clip(odds, -30, 30))))


def _cut(image: Image.Image) -> Image.Image:
    """The picture without its rim, and not too small to be measured."""
    width, height = image.size
    if min(width, height) > _LEAST_SIDE + 2 * _RIM:
        return image.crop((_RIM, _RIM, width - _RIM, height - _RIM)).convert("RGB")
    return image.convert("RGB").resize((max(_LEAST_SIDE, width), max(_LEAST_SIDE, height)), Image.Resampling.NEAREST)


def _surface(image: Image.Image) -> _Surface:
    luma = np.asarray(image.convert("L"), dtype=np.float32)
    across, down = np.zeros_like(luma), np.zeros_like(luma)
    across[:, 1:-1] = (luma[:, 2:] - luma[:, :-2]) / 2
    down[1:-1] = (luma[2:] - luma[:-2]) / 2
    return _Surface(luma, np.hypot(across, down))


def _finest(luma: Floats) -> float:
    """How much detail of one pixel there is against that of two, as a logarithm: pictures out of focus have little."""
    grey = Image.fromarray(luma.astype(np.uint8))
    soft, softer = (np.asarray(grey.filter(ImageFilter.GaussianBlur(sigma)), dtype=np.float32) for sigma in (0.7, 1.4))
    return float(np.log((0.05 + np.abs(luma - soft).mean()) / (0.05 + np.abs(soft - softer).mean())))


def _outlines(luma: Floats) -> Mask:
    """Dark pixels of lines up to four pixels wide."""
    grey = Image.fromarray(luma.astype(np.uint8))
    closed = grey.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(5))
    return (np.asarray(closed, dtype=np.float32) - luma > _OUTLINE) & (luma < _DARK)


def _widened(mask: Mask, reach: int) -> Mask:
    drawn = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(drawn.filter(ImageFilter.MaxFilter(2 * reach + 1))) > 0


def _around(edges: Mask, reach: int) -> Mask:
    """Pixels beside edges, without those on their slopes."""
    return _widened(edges, reach) & ~_widened(edges, 1)


def _share(what: Mask, where: Mask) -> float:
    return float(what[where].mean()) if np.count_nonzero(where) > 50 else _UNKNOWN


def _quality(image: Image.Image, kind: str) -> int:
    luma = np.asarray(image.convert("L"), dtype=np.float32)
    off = _blur(image) + _flatness(luma)
    if kind == PHOTOREALISTIC:
        # In a drawing hatching would pass for noise, and black and white are ink and paper.
        off += _noise(luma) + _clipping(luma)
    return max(1, min(10, round(10 - off)))


def _blur(image: Image.Image) -> float:
    """Points off: none up to 0.3 % of the short side, 1.5 where a picture stops being clear (0.45 %), 8 from 1.1 %."""
    score = measure(image).score
    return 8.0 if score is None else 10 * min(0.8, max(0.0, score - 0.3))


def _noise(luma: Floats) -> float:
    """Points off: none up to 2 grey levels, 3 from 8. The calmest tenth of the tiles tells, as texture is not noise."""
    one, two = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:], np.sqrt(np.pi / 2) / 6
    laplacian = np.abs(one[:-2] - 2 * one[1:-1] + one[2:])
    rows, columns = (max(1, side // _TILE) for side in laplacian.shape)
    tiles = [tile for band in np.array_split(laplacian, rows) for tile in np.array_split(band, columns, axis=1)]
    sigma = float(np.quantile([two * tile.mean() for tile in tiles], 0.1))
    return min(3.0, max(0.0, sigma - 2) / 2)


def _flatness(luma: Floats) -> float:
    """Points off: none from 80 levels between the darkest and lightest fiftieth, 3 at none."""
    low, high = np.quantile(luma, (0.02, 0.98))
    return 3 * max(0.0, 1 - float(high - low) / 80)


def _clipping(luma: Floats) -> float:
    """Points off: none while up to a third is all black or all white, 3 when everything is."""
    lost = float(np.mean((luma <= 4) | (luma >= 251)))
    return 4.5 * max(0.0, lost - 1 / 3)
