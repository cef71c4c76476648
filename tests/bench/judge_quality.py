"""How often the embedded judge is right, on pictures that its thresholds were not chosen on.

python -m tests.bench.judge_quality [cases per cell]
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

from steps.studio.clarity import measure
from steps.studio.colours import HAIR_COLOURS
from steps.studio.likeness import compare
from steps.studio.people import Character
from steps.studio.wording import describe
from steps.studio.world import Scene, Shot, draw, random_character
from tests.bench.spoil import (
    HELD_OUT,
    ONE_WAY,
    WITH_A_SUBJECT,
    as_jpeg,
    blurred,
    drawing,
    noisy,
    one_way,
    padded,
    photograph,
    shallow,
)

KINDS = ("sharp", "shallow", "gauss", "disc", "motion", "enlarged", "grey zone")
NOISES = (("none", 0.0), ("white", 10.0), ("white", 25.0), ("grain", 10.0), ("grain", 25.0))
SHORT_SIDES = (200, 384, 640, 1024)


def main() -> None:
    """Print the tables."""
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    print("Clarity: verdicts that are right. Blur of 1 to 2.5 % of the short side (motion 1.45 % up: a length of 5 %),")
    print(
        "the grey zone 0.4 to 0.6 % (share called clear). Short sides 200 to 1024, some padded, half JPEG of quality 60+."
    )
    _clarity_table("held-out photographs", _photograph, cases)
    _clarity_table("drawings", _drawing, cases)
    _one_way_table(cases)
    print("\nLikeness of studio portraits, full body, by verdict and confidence")
    for label, counted in _likeness(cases * 8).items():
        print(f"  {label:42s}", "  ".join(f"{verdict} {count}" for verdict, count in sorted(counted.items())))
    _speed()


def _photograph(kind: str, rng: np.random.Generator) -> Image.Image:
    names = WITH_A_SUBJECT if kind == "shallow" else tuple(HELD_OUT)
    return photograph(names[rng.integers(len(names))], int(rng.choice(SHORT_SIDES)))


def _drawing(kind: str, rng: np.random.Generator) -> Image.Image:
    del kind
    return drawing(int(rng.integers(10_000, 20_000)))


def _clarity_table(title: str, picture: Callable[[str, np.random.Generator], Image.Image], cases: int) -> None:
    print(f"\n{title:24s}" + "".join(f"{kind + f' {sigma:.0f}':>16s}" for kind, sigma in NOISES))
    rng = np.random.default_rng(20261120)
    for kind in KINDS:
        cells = []
        for noise in NOISES:
            clear = sum(measure(_case(picture(kind, rng), kind, noise, rng)).is_clear for _ in range(cases))
            right = clear if kind in ("sharp", "shallow", "grey zone") else cases - clear
            cells.append(f"{right}/{cases}")
        print(f"{kind:24s}" + "".join(f"{cell:>16s}" for cell in cells))


def _one_way_table(cases: int) -> None:
    print("\nSharp pictures with edges in one direction: clear, and not clear by confidence")
    rng = np.random.default_rng(20261121)
    for kind in ONE_WAY:
        counted: Counter[str] = Counter()
        for index in range(cases):
            image = one_way(kind, int(rng.choice(SHORT_SIDES)), rng)
            verdict = measure(_case(image, "sharp", NOISES[index % len(NOISES)], rng))
            counted["clear" if verdict.is_clear else verdict.confidence] += 1
        print(f"  {kind:22s}", "  ".join(f"{said} {count}" for said, count in sorted(counted.items())))


def _case(image: Image.Image, kind: str, noise: tuple[str, float], rng: np.random.Generator) -> Image.Image:
    around = float(rng.choice((0.0, 0.0, 0.0, 0.25)))
    percent = float(rng.uniform(0.4, 0.6)) if kind == "grey zone" else float(rng.uniform(1.0, 2.5))
    percent *= 1 + 2 * around  # Of the whole picture, as it is looked at.
    if kind == "shallow":
        image = shallow(image, float(rng.uniform(0.2, 0.35)), percent)
    elif kind != "sharp":
        way = str(rng.choice(("gauss", "disc"))) if kind == "grey zone" else kind
        lifted = percent * 1.45 if kind == "motion" else percent
        image = blurred(image, way, lifted, float(rng.uniform(0, np.pi)))
    if around:
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        image = padded(image, around, (red, green, blue))
    image = noisy(image, *noise, rng)
    return as_jpeg(image, int(rng.integers(60, 96))) if rng.random() < 0.5 else image


def _likeness(count: int) -> dict[str, Counter[str]]:
    tables: dict[str, Counter[str]] = {label: Counter() for label in ("described as drawn", "of somebody wholly other")}
    for index, (who, other) in enumerate(_pairs(count)):
        image = draw(
            who,
            Scene("studio", index),
            Shot(),
            size=(512, 768),
            seed=index,
            style=("photorealistic", "color_stylized")[index % 2],
        )
        for label, told in zip(tables, (who, other), strict=True):
            verdict = compare(image, *describe(told, index))
            tables[label][f"{'match' if verdict.is_match else 'no match'} ({verdict.confidence})"] += 1
    return tables


def _pairs(count: int) -> Iterator[tuple[Character, Character]]:
    """People bare-headed with hair, each with one whose hair and clothes share no colour."""
    rng = random.Random(f"bench {count}")
    found = 0
    while found < count:
        one, other = random_character(rng), random_character(rng)
        if _wholly_other(one, other):
            found += 1
            yield one, other


def _wholly_other(one: Character, other: Character) -> bool:
    bare = all(who.hat == "none" and who.hair_style not in ("bald", "buzzed") for who in (one, other))
    light = {name: sum(rgb) > 380 for name, rgb in HAIR_COLOURS.items()}
    cloths = {one.outfit_colour, one.second_colour} & {other.outfit_colour, other.second_colour}
    return bare and not cloths and light[one.hair_colour] != light[other.hair_colour]


def _speed() -> None:
    print("\nCPU ms an image (median of 5)")
    told = describe(random_character(random.Random(1)))
    for size in ((512, 768), (1024, 1536), (2731, 4096)):
        image = drawing(1).resize(size)
        clarity, likeness = _ms(partial(measure, image)), _ms(partial(compare, image, *told))
        print(f"  {size[0]} x {size[1]}: clarity {clarity:.0f}, likeness {likeness:.0f}")


def _ms(call: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return sorted(times)[2]


if __name__ == "__main__":
    main()
