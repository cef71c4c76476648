"""How often the embedded judge of styles is right, on pictures that its weights were not fitted on, and the fitting.

python -m tests.bench.styles          prints the table
python -m tests.bench.styles fit      fits the weights anew and prints them, to be put into steps/studio/styles.py

Fitted on drawings of the studio (seeds from `FITTED`) and on the photographs of `spoil.CHOSEN_ON`, as they are, without colour, and made
into cartoons and ink drawings by filters, so that outlines and not the studio's scenes are learnt. Reported on drawings of other seeds
and other photographs.
"""

from __future__ import annotations

import io
import random
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from steps.library.composites import PER_SHEET, THUMBNAIL, Cell, cells, sheets
from steps.library.pictures import encode_jpeg, shrink
from steps.studio.styles import BW_STYLIZED, COLOR_STYLIZED, FIGURES, PHOTOREALISTIC, figures, has_colour, look, terms
from steps.studio.training_picture import training_picture
from steps.studio.world import STYLES, draw, random_character, random_scene, random_shot
from tests.bench.spoil import CHOSEN_ON, HELD_OUT, blurred, photograph

Numbers = NDArray[np.float64]

FITTED, REPORTED = 30_000, 60_000
SIZES = ((352, 198), (352, 198), (240, 360))
QUALITIES = (10, 9, 9, 8, 8, 7, 6, 6, 4, 2)
GREY_CHOSEN, GREY_HELD_OUT = ("brick.png", "gravel.png", "clock_motion.png"), ("grass.png", "moon.png")
GROUP = 900  # As many pictures as a group counts for; the ridge is measured against it.
# The page is print, whose photograph is as much a drawing.
IN_COLOUR_HELD_OUT = tuple(name for name in HELD_OUT if name not in ("coins", "page"))


def main() -> None:
    """Print the table, or fitted weights."""
    if sys.argv[1:] == ["fit"]:
        fit()
        return
    print("\nStyles of thumbnails on sheets, held out: right of all, and what the others were taken for")
    for name, (kind, pictures) in held_out().items():
        found = Counter(look(thumbnail).kind for thumbnail in through_sheets(pictures))
        right = found.pop(kind, 0)
        print(
            f"  {name:34s}{right:4d} of {right + found.total():4d}  ", "  ".join(f"{k} {n}" for k, n in found.items())
        )


def held_out(drawings: int = 300, crops: int = 12) -> Mapping[str, tuple[str, list[Image.Image]]]:
    """Pictures that no weight was fitted on: by what they are, the class and the pictures."""
    found = {f"drawn: {kind}": (kind, pictures) for kind, pictures in drawn(REPORTED, drawings).items()}
    colour = cropped([photograph(name, 384) for name in IN_COLOUR_HELD_OUT], crops)
    grey = cropped([photograph("coins", 300), *map(shipped, GREY_HELD_OUT)], crops)
    found["photographs in colour"] = (PHOTOREALISTIC, colour)
    found["photographs without"] = (PHOTOREALISTIC, [*grey, *map(greyed, colour)])
    return found


def drawn(first: int, count: int) -> Mapping[str, list[Image.Image]]:
    """Pictures of the studio by style."""
    found: dict[str, list[Image.Image]] = {kind: [] for kind in STYLES}
    for seed in range(first, first + count):
        found[STYLES[seed % len(STYLES)]].append(drawing(seed))
    return found


def drawing(seed: int) -> Image.Image:
    """A picture of the studio in STYLES[seed % 3], through JPEG: a training image, most of them good ones, or plainly drawn."""
    rng = random.Random(seed)
    who, size, style = random_character(rng), rng.choice(SIZES), STYLES[seed % len(STYLES)]
    if rng.random() < 0.9:
        image = training_picture(who, style, seed=seed, quality=rng.choice(QUALITIES), size=size)
    else:
        image = draw(who, random_scene(rng), random_shot(rng), size=size, seed=seed, style=style)
    return Image.open(io.BytesIO(encode_jpeg(image, quality=88)))


def shipped(file: str) -> Image.Image:
    """A file that scikit-image ships, RGB."""
    with Image.open(Path(skimage.__file__).parent / "data" / file) as opened:
        return opened.convert("RGB")


def cropped(images: Iterable[Image.Image], crops: int, seed: int = 1) -> list[Image.Image]:
    """Each picture whole and in some parts."""
    rng = random.Random(seed)
    found = []
    for image in images:
        found.append(image)
        for _ in range(crops):
            width = rng.uniform(0.4, 0.9) * image.width
            height = min(0.95 * image.height, width * rng.choice((9 / 16, 1, 1.2)))
            left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
            found.append(image.crop((round(left), round(top), round(left + width), round(top + height))))
    return found


def softened(images: Sequence[Image.Image], rng: random.Random) -> list[Image.Image]:
    """Every third picture out of focus, so that softness is no mark of either side."""
    return [blurred(image, "gauss", rng.uniform(0.2, 0.8)) if rng.random() < 1 / 3 else image for image in images]


def greyed(image: Image.Image) -> Image.Image:
    """Without colour."""
    return ImageOps.grayscale(image).convert("RGB")


def cartooned(image: Image.Image, rng: random.Random) -> Image.Image:
    """A photograph as a cartoon: few flat colours, dark outlines."""
    reach = rng.choice((3, 5, 7))
    smooth = image.filter(ImageFilter.MedianFilter(reach)).filter(ImageFilter.MedianFilter(reach))
    flat = smooth.quantize(rng.choice((8, 12, 16, 24)), dither=Image.Dither.NONE).convert("RGB")
    flat = flat.filter(ImageFilter.ModeFilter(5))
    grey = smooth.convert("L")
    steps = ImageChops.difference(grey.filter(ImageFilter.MaxFilter(5)), grey.filter(ImageFilter.MinFilter(5)))
    flat.paste((30, 24, 28), mask=steps.point([255 * (level > 40) for level in range(256)]))
    return flat


def inked(image: Image.Image, rng: random.Random) -> Image.Image:
    """A photograph as ink on paper: hatched, or stippled."""
    tones = np.asarray(ImageOps.equalize(image.convert("L").filter(ImageFilter.MedianFilter(5)))) / 255
    y, x = np.mgrid[0 : tones.shape[0], 0 : tones.shape[1]]
    pitch = rng.uniform(5, 8)
    screen = np.maximum(0.1 + 0.5 * _wave((x + y) / pitch), 0.4 * _wave((x - y) / pitch))
    if rng.random() < 0.4:
        screen = np.random.default_rng(rng.randrange(2**31)).normal(0.4, 0.2, tones.shape)
    return Image.fromarray(np.where(tones > screen, np.uint8(255), np.uint8(15))).convert("RGB")


def through_sheets(images: Sequence[Image.Image]) -> list[Image.Image]:
    """The thumbnails as a vision backend sees them: reduced, on a sheet, compressed, cut out again."""
    found: list[Image.Image] = []
    for first in range(0, len(images), PER_SHEET):
        part = images[first : first + PER_SHEET]
        small = (shrink(encode_jpeg(image), "x.jpg", THUMBNAIL).image for image in part)
        laid = (Cell(str(number), image) for number, image in enumerate(small, 1))
        for sheet in sheets(laid):
            found += cells(Image.open(io.BytesIO(sheet)).convert("RGB"), len(part))
    return found


def fit() -> None:
    """Print weights for pictures in colour and for those without."""
    rng = random.Random(1)
    kinds = drawn(FITTED, 2400)
    colour = cropped([photograph(name, 384) for name in CHOSEN_ON if name != "camera"], 16)
    grey = cropped([photograph("camera", 384), *map(shipped, GREY_CHOSEN)], 16)
    colour, grey = softened(colour, rng), softened(grey, rng)
    toons, inks = [cartooned(image, rng) for image in colour], [inked(image, rng) for image in colour + grey]
    in_colour = [(kinds[PHOTOREALISTIC], 0, 1.0), (colour, 0, 1.0), (kinds[COLOR_STYLIZED], 1, 1.0), (toons, 1, 0.4)]
    # Among training images, one without colour is likelier drawn.
    without = [(grey, 0, 0.25), ([*map(greyed, colour)], 0, 0.25), (kinds[BW_STYLIZED], 1, 1.0), (inks, 1, 0.3)]
    for name, groups in (("IN_COLOUR", in_colour), ("WITHOUT", without)):
        measured = [(terms(_measured(found), groups is in_colour), kind, weight) for found, kind, weight in groups]
        print(f"{name} = ({', '.join(f'{weight:.4g}' for weight in _logistic(measured))})")
    print(f"# {len(FIGURES)} figures and the constant; {sum(map(has_colour, inks))} ink drawings seen in colour")


def _measured(images: Sequence[Image.Image]) -> Numbers:
    return np.array([figures(thumbnail) for thumbnail in through_sheets(images)])


def _logistic(groups: Sequence[tuple[Numbers, int, float]], ridge: float = 1.0) -> Numbers:
    """Weights by Newton's method (iteratively reweighted least squares), with a ridge; each group counts by its weight."""
    rows = np.vstack([found[:, :-1] for found, _, _ in groups])
    target = np.concatenate([np.full(len(found), kind) for found, kind, _ in groups])
    share = np.concatenate([np.full(len(found), GROUP * weight / len(found)) for found, _, weight in groups])
    centre, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    design = np.column_stack([(rows - centre) / spread, np.ones(len(rows))])
    penalty = ridge * np.diag([*np.ones(rows.shape[1]), 0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (share * (chance - target)) + penalty @ weights
        bend = (design * (share * chance * (1 - chance))[:, None]).T @ design + penalty
        weights -= np.linalg.solve(bend, slope)
    plain = weights[:-1] / spread
    return np.append(plain, weights[-1] - plain @ centre)


def _wave(phase: Numbers) -> Numbers:
    """A triangle wave of period 1 from 0 to 1."""
    waves: Numbers = np.abs(2 * (phase - np.floor(phase)) - 1)
    return waves


if __name__ == "__main__":
    main()
