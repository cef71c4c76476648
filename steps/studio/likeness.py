"""Does a picture show who is described? Judged from colours: a figure before a plain backdrop, its hair, its clothes.

Nothing here recognises a person. A picture is refused only when there is plainly no figure, or when hair and clothes
are both clearly of other colours than the text names. Everything else counts as a match, with the confidence that the
evidence allows: age, sex, origin and face can't be judged, nor can figures before busy backgrounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from steps.studio.colours import COLOURS, HAIR_COLOURS, RGB, SKIN_COLOURS
from steps.studio.described import Described, read

Confidence = Literal["high", "medium", "low"]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PIXELS = 24_000  # Of the copy that is looked at: a full figure's head is still some 25 pixels high.
_UNJUDGED = "age, sex and face are not judged"
# What may pass for a named hair colour, by light and by habit of speech.
_ALIKE: Mapping[str, tuple[str, ...]] = {
    "black": ("dark brown",),
    "dark brown": ("black", "brown"),
    "brown": ("dark brown",),
    "grey": ("white",),
    "white": ("grey",),
    "red": ("brown",),
}
# Share of a head without its skin that shows hair of a colour; outlines, eyes and shade are dark in any head.
_LEAST_HAIR: Mapping[str, float] = {"black": 0.4, "dark brown": 0.45}


@dataclass(frozen=True)
class Evidence:
    """One thing that was compared.

    Attributes:
        what: "figure", "hair", "clothes" or "background".
        expected: Colour names that the text gives, or "present".
        seen: What the picture has, the most common first.
        agrees: None when it can't be judged.
    """

    what: str
    expected: tuple[str, ...]
    seen: tuple[str, ...]
    agrees: bool | None


@dataclass(frozen=True)
class Likeness:
    """Whether the picture may show who is described, how sure that is, why, and on what evidence."""

    is_match: bool
    confidence: Confidence
    reason: str
    evidence: tuple[Evidence, ...]


class _Figure(NamedTuple):
    """Pixels in CIELAB, (N, 3): head and clothes without skin, and the backdrop.

    `gaps` is the share of the body's outline that looks like the backdrop: between arms and legs, or white on white.
    """

    head: Floats
    clothes: Floats
    backdrop: Floats
    gaps: float


def compare(image: Image.Image, description: str, outfit: str) -> Likeness:
    """Compare a picture with a description.

    Args:
        image: RGB, 8 bits a channel, of any size.
        description: What the person looks like; any text. Colour words in English are understood, nothing else is, and
            nothing in it is obeyed.
        outfit: What the person wears; any text.

    Returns:
        The verdict: no match only if no figure is there, or hair and clothes both are clearly of other colours.
    """
    expected = read(description, outfit)
    lab = _lab_of(image)
    if np.all(np.quantile(lab, 0.995, axis=(0, 1)) - np.quantile(lab, 0.005, axis=(0, 1)) < 8):
        nothing = Evidence("figure", ("present",), ("a flat picture",), False)
        return Likeness(False, "high", "There is no figure: the picture is of one colour.", (nothing,))
    backdrop = _backdrop(lab)
    if backdrop is None:
        return _in_a_scene(lab, expected)
    outline = _silhouette(lab, backdrop)
    if outline is None:
        return _empty(lab, backdrop)
    figure = _cut_out(lab, backdrop, outline)
    if _is_monochrome(lab):
        return _unknown("the picture is in black and white or in one tint")
    if float(np.median(backdrop[..., 0])) < 25:
        return _unknown("it is too dark for colours")
    return _verdict([_hair(figure, expected), _clothes(figure, expected), _background(figure, expected)])


def _verdict(evidence: list[Evidence]) -> Likeness:
    figure = Evidence("figure", ("present",), ("present",), True)
    hair, clothes = evidence[0].agrees, evidence[1].agrees
    said = "; ".join(_phrase(item) for item in evidence if item.expected)
    told = (figure, *evidence)
    if hair is False and clothes is False:
        return Likeness(False, "medium", f"Hair and clothes are both of other colours: {said}.", told)
    if hair and clothes:
        return Likeness(True, "medium", f"A figure with the colours described ({said}); {_UNJUDGED}.", told)
    if hair is False or clothes is False:
        return Likeness(True, "low", f"Some colours differ, not enough to call it another person: {said}.", told)
    known = said or "the text names no colour that can be looked for"
    return Likeness(True, "low", f"A figure is there, but little can be compared ({known}); {_UNJUDGED}.", told)


def _phrase(item: Evidence) -> str:
    seen = ", ".join(item.seen) or "unclear"
    return f"{item.what}: expected {' or '.join(item.expected)}, seen {seen}"


def _unknown(why: str) -> Likeness:
    evidence = Evidence("figure", ("present",), (), None)
    return Likeness(True, "low", f"Can't be compared, so counts as a match: {why}; {_UNJUDGED}.", (evidence,))


def _empty(lab: Floats, backdrop: Floats) -> Likeness:
    """A plain backdrop with no upright figure; only a picture with hardly anything else on it is refused."""
    share = float(np.mean(_apart(lab, backdrop) > 8))
    if share > 0.01:
        return _unknown("what stands before the backdrop has not the shape of a figure")
    evidence = Evidence("figure", ("present",), ("a bare backdrop",), False)
    return Likeness(False, "high", f"There is no figure: {100 - 100 * share:.1f} % is bare backdrop.", (evidence,))


def _in_a_scene(lab: Floats, expected: Described) -> Likeness:
    """A busy background, where no outline is to be had: refused only on three grounds at once.

    In an upright or square picture the middle is bare, its shade reaches both edges and so is background, and the
    colours of the clothes are nowhere about it.
    """
    height, width, _ = lab.shape
    shade = _bare_shade(lab)
    if width > 1.1 * height or shade is None or _is_monochrome(lab):
        return _unknown("the background is too busy to tell the figure from it")
    edges = lab[:, : width // 16], lab[:, -(width // 16) :]
    reaches = min(float(np.mean(_apart(edge, shade) < 8)) for edge in edges)
    middle = lab[height // 4 :, int(0.28 * width) : int(0.72 * width)].reshape(-1, 3)
    clothes = _clothes(_Figure(middle, middle, middle, 0.0), expected)
    if reaches < 0.08 or not expected.clothes or _share_near(middle, expected.clothes) > 0.03:
        return _unknown("the background is too busy to tell the figure from it")
    nobody = Evidence("figure", ("present",), ("a bare middle",), False)
    reason = f"Nobody seems to be there: the middle of the picture is bare background; {_phrase(clothes)}."
    return Likeness(False, "medium", reason, (nobody, clothes))


def _bare_shade(lab: Floats) -> Floats | None:
    """The one smooth shade, (3,), of the middle of the picture; None when something is drawn there."""
    height, width, _ = lab.shape
    strip = lab[int(0.3 * height) : int(0.72 * height), int(0.42 * width) : int(0.58 * width)]
    rows = np.median(strip, axis=1)
    down = np.linspace(-1, 1, len(rows))
    curve = np.stack([np.ones_like(down), down, down**2], axis=1)
    fit, *_ = np.linalg.lstsq(curve, rows, rcond=None)
    bare = float(np.mean(_apart(strip, (curve @ fit)[:, None]) < 8)) > 0.9
    return np.asarray(np.median(rows, axis=0), dtype=np.float64) if bare else None


def _lab_of(image: Image.Image) -> Floats:
    """A small copy in CIELAB under D65 (IEC 61966-2-1 and CIE 15, section 8.2.1), (H, W, 3)."""
    width, height = image.size
    scale = min(1.0, (_PIXELS / (width * height)) ** 0.5)
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    small = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), dtype=np.float64) / 255
    return _to_lab(small)


def _to_lab(rgb: Floats) -> Floats:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _apart(one: Floats, other: Floats) -> Floats:
    """Distance in CIELAB with lightness halved, because light and shade change it most."""
    difference = (one - other) * np.array([0.5, 1.0, 1.0])
    distance: Floats = np.sqrt(np.sum(difference * difference, axis=-1))
    return distance


def _apart_from_each(pixels: Floats, colours: Floats) -> Floats:
    """`_apart` of pixels (N, 3) and colours (K, 3), as (N, K)."""
    return np.stack([_apart(pixels, colour) for colour in colours], axis=1)


def _backdrop(lab: Floats) -> Floats | None:
    """The backdrop behind each pixel, (H, W, 3), carried on from both edges; None when the edges are busy."""
    height, width, _ = lab.shape
    strip = max(2, round(0.05 * width))
    left, right = _carried(lab[:, :strip]), _carried(lab[:, -strip:])
    upper = slice(0, height // 2)
    rough = [_apart(lab[upper, :strip], left[upper, None]), _apart(lab[upper, -strip:], right[upper, None])]
    uneven = float(np.median(_apart(left[upper], right[upper])))
    if max(float(np.quantile(part, 0.9)) for part in rough) > 6 or uneven > 12:
        return None
    share = np.linspace(0, 1, width)[None, :, None]
    model: Floats = left[:, None] * (1 - share) + right[:, None] * share
    return model


def _carried(strip: Floats) -> Floats:
    """The strip's colour by row, (H, 3); rows where something reaches the edge take the colour above."""
    rows = np.median(strip, axis=1)
    for index in range(1, len(rows)):
        if _apart(rows[index], rows[index - 1]) > 10:
            rows[index] = rows[index - 1]
    return rows


def _is_monochrome(lab: Floats) -> bool:
    """Whether a pixel's lightness gives its colour: black and white, sepia, one tint."""
    flat = lab.reshape(-1, 3)
    light = flat[:, 0] / 100
    curve = np.stack([np.ones_like(light), light, light**2], axis=1)
    fit, *_ = np.linalg.lstsq(curve, flat[:, 1:], rcond=None)
    left = np.hypot(*(flat[:, 1:] - curve @ fit).T)
    return float(np.quantile(left, 0.99)) < 6


def _silhouette(lab: Floats, backdrop: Floats) -> NDArray[np.intp] | None:
    """Left end, right end and row of each row of the figure, (N, 3); None when nothing upright stands there."""
    stands = _apart(lab, backdrop) > 9
    # A figure near the middle: what lies at the far sides (lamps, shadows) is left out.
    rows = [(np.flatnonzero(row), y) for y, row in enumerate(stands)]
    found = np.array([(x[0], x[-1], y) for x, y in rows if len(x) >= 3], dtype=np.intp).reshape(-1, 3)
    height, width, _ = lab.shape
    share = float(stands.mean())
    if len(found) < 0.3 * height or not 0.03 < share < 0.9:
        return None
    middle = np.median(found[:, :2].mean(axis=1)) / width
    return found if 0.2 < middle < 0.8 else None


def _cut_out(lab: Floats, backdrop: Floats, outline: NDArray[np.intp]) -> _Figure:
    """Head and clothes: the shoulders are where the outline first has two thirds of its upper half's width."""
    widths = outline[:, 1] - outline[:, 0] + 1
    upper = widths[: max(4, len(widths) // 2)]
    shoulder = int(np.argmax(upper >= 0.68 * np.quantile(upper, 0.97)))
    shoulder = min(max(shoulder, len(outline) // 8), len(outline) * 9 // 20)
    stands = _apart(lab, backdrop) > 7
    parts = [_within(lab, stands, rows) for rows in (outline[:shoulder], outline[shoulder:])]
    skin = _skin(lab, outline[int(0.4 * shoulder) : int(0.8 * shoulder) + 1])
    head, clothes = (part[_apart(part, skin) > limit] for part, limit in zip(parts, (11, 8), strict=True))
    filled = int(np.sum(outline[shoulder:, 1] - outline[shoulder:, 0] + 1))
    return _Figure(head, clothes, backdrop.reshape(-1, 3), 1 - len(parts[1]) / filled)


def _within(lab: Floats, stands: Mask, rows: NDArray[np.intp]) -> Floats:
    """The pixels (N, 3) between the ends of the outline's rows, without the backdrop that shows through."""
    return np.concatenate([lab[y, left : right + 1][stands[y, left : right + 1]] for left, right, y in rows])


def _skin(lab: Floats, rows: NDArray[np.intp]) -> Floats:
    """The usual skin colour, (3,), in the middle third of the face's rows; far from any colour when there is none."""
    middle = int(np.median(rows[:, :2]))
    reach = [max(1, (right - left) // 6) for left, right, _ in rows]
    face = np.concatenate([lab[y, middle - r : middle + r + 1] for r, (_, _, y) in zip(reach, rows, strict=True)])
    like_skin = np.min(_apart_from_each(face, _lab_colours(SKIN_COLOURS.values())), axis=1) < 12
    if np.mean(like_skin) < 0.15:
        return np.full(3, 1e3)
    skin: Floats = np.median(face[like_skin], axis=0)
    return skin


def _hair(figure: _Figure, expected: Described) -> Evidence:
    """Hair by the nearest hair colour; a hat that the text speaks of may hide most of it."""
    shares = _shares(figure.head, HAIR_COLOURS)
    seen = _most(shares, 2)
    if not expected.hair or (expected.hair_is_covered and not expected.hats):
        return Evidence("hair", expected.hair, seen, None)
    widened = {other for name in expected.hair for other in (name, *_ALIKE.get(name, ()))}
    least = max(_LEAST_HAIR.get(name, 0.28) for name in expected.hair)
    share = sum(shares[name] for name in widened)
    if not expected.hats:
        return Evidence("hair", expected.hair, seen, share > least)
    agrees = share > least / 2 or _share_near(figure.head, expected.hats) > 0.12
    return Evidence("hair", (*expected.hair, *(f"a {hat} hat" for hat in expected.hats)), seen, agrees)


def _clothes(figure: _Figure, expected: Described) -> Evidence:
    seen = _most(_shares(figure.clothes, COLOURS), 3)
    if not expected.clothes:
        return Evidence("clothes", (), seen, None)
    like_backdrop = figure.gaps > 0.25 and _share_near(figure.backdrop, expected.clothes) > 0.3
    worn = _share_near(figure.clothes, expected.clothes) > 0.11
    return Evidence("clothes", expected.clothes, seen, worn or like_backdrop)


def _background(figure: _Figure, expected: Described) -> Evidence:
    shares = _shares(figure.backdrop, COLOURS)
    seen = max(shares, key=lambda name: shares[name])
    near = _share_near(figure.backdrop, expected.background)
    return Evidence("background", expected.background, (seen,), near > 0.3 if expected.background else None)


def _most(shares: Mapping[str, float], count: int) -> tuple[str, ...]:
    return tuple(name for name in sorted(shares, key=lambda name: -shares[name]) if shares[name] > 0.1)[:count]


def _shares(pixels: Floats, palette: Mapping[str, RGB]) -> dict[str, float]:
    """Share of the pixels whose nearest colour each name is."""
    if not len(pixels):
        return dict.fromkeys(palette, 0.0)
    nearest = np.argmin(_apart_from_each(pixels, _lab_colours(palette.values())), axis=1)
    counts = np.bincount(nearest, minlength=len(palette)) / len(pixels)
    return {name: float(count) for name, count in zip(palette, counts, strict=True)}


def _share_near(pixels: Floats, names: Iterable[str]) -> float:
    """Share of the pixels that pass for one of the named COLOURS."""
    known = [COLOURS[name] for name in names]
    if not known or not len(pixels):
        return 0.0
    return float(np.mean(np.min(_apart_from_each(pixels, _lab_colours(known)), axis=1) < 16))


def _lab_colours(colours: Iterable[RGB]) -> Floats:
    return _to_lab(np.array(list(colours), dtype=np.float64) / 255)
