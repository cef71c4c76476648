"""The part of the drawn world that the embedded models know: fewer attributes than `world` can draw, each plain at 64 pixels.

Some combinations of attributes are never trained on. Characters who have one are strangers whom a LoRA can be taught.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from steps.studio.people import Character, seeded
from steps.studio.world import FACINGS, PLACES, SHOTS, Scene, Shot, draw, draw_scene

SIZE = 64
SKINS = ("fair", "tan", "brown", "deep")
HAIR_COLOURS = ("black", "brown", "blonde", "red", "white")
HAIR_OF_MEN, HAIR_OF_WOMEN = ("short", "long"), ("long", "braids", "curly")
HATS = ("none", "cap", "kalpak", "turban", "fur hat", "headscarf")
COLOURS = ("white", "red", "orange", "yellow", "green", "blue", "purple", "black")
SECOND_COLOURS = ("white", "black", "gold")
PATTERNS = ("plain", "stripes", "zigzag")
FACIAL_HAIR = ("none", "moustache", "beard", "long beard")
MARKS = ("none", "glasses", "eyepatch")
GESTURES = ("standing", "waving", "sitting", "riding")
FACE_SEEDS = 4
LAYOUTS = 4
"""Spots that most pictures show; the rest show one that nobody has seen."""

SPLITS = ("train", "test", "stranger")
RENDERS = 8
"""Pictures of each person."""

_AGE = 30
_FREE_LAYOUT = 0.3
_SIDE = 0.4

_STRANGERS: tuple[Callable[[Character], bool], ...] = (
    lambda who: (who.hat, who.pattern, who.facial_hair) == ("kalpak", "zigzag", "moustache"),
    lambda who: (who.hat, who.pattern, who.mark) == ("turban", "stripes", "glasses"),
    lambda who: (who.hat, who.pattern, who.hair_style) == ("cap", "zigzag", "braids"),
)


@dataclass(frozen=True)
class Picture:
    """What one picture shows."""

    who: Character
    where: Scene
    shot: Shot

    def draw(self, size: int = SIZE) -> Image.Image:
        """The picture (RGB, `size` pixels each way)."""
        return draw(self.who, self.where, self.shot, size=(size, size))


def is_stranger(who: Character) -> bool:
    """Whether the attributes are combined as they never are in training."""
    return any(combines(who) for combines in _STRANGERS)


@lru_cache(maxsize=65_536)
def picture(split: str, index: int) -> Picture:
    """Picture `index` of a split: RENDERS in a row show the same person.

    Args:
        split: "train", "test" (other people, seen combinations) or "stranger" (combinations that training never has).
        index: From 0; any number.
    """
    who = person(split, index // RENDERS)
    rng = seeded(f"embedded models {split} picture {index}")
    return Picture(who, random_scene(rng), random_shot(rng))


def person(split: str, index: int) -> Character:
    """Person `index` of a split."""
    rng = seeded(f"embedded models {split} person {index}")
    who = random_person(rng)
    while is_stranger(who) != (split == "stranger"):
        who = random_person(rng)
    return who


def empty_place(split: str, index: int) -> Image.Image:
    """Picture `index` of a place with nobody in it (RGB, SIZE pixels each way); every layout is another."""
    rng = seeded(f"embedded models {split} empty {index}")
    return draw_scene(Scene(rng.choice(PLACES), rng.randrange(2**31)), size=(SIZE, SIZE))


def random_person(rng: random.Random) -> Character:
    """Any mix of the attributes, but beards on men and headscarves on women."""
    man = rng.random() < 0.5
    cloth = rng.choice(COLOURS)
    return Character(
        sex="male" if man else "female",
        age=_AGE,
        skin=rng.choice(SKINS),
        hair_colour=rng.choice(HAIR_COLOURS),
        hair_style=rng.choice(HAIR_OF_MEN if man else HAIR_OF_WOMEN),
        hat=rng.choice(HATS[:-1] if man else HATS),
        hat_colour=rng.choice(COLOURS),
        outfit="robe",
        outfit_colour=cloth,
        second_colour=rng.choice([colour for colour in SECOND_COLOURS if colour != cloth]),
        pattern=rng.choice(PATTERNS),
        facial_hair=rng.choice(FACIAL_HAIR) if man else "none",
        mark=_often_none(rng, MARKS),
        eye_colour="brown",
        brows="thick" if man else "arched",
        face_seed=rng.randrange(FACE_SEEDS),
    )


def random_scene(rng: random.Random) -> Scene:
    """Any place, most often in one of its known layouts."""
    layout = rng.randrange(2**31) if rng.random() < _FREE_LAYOUT else rng.randrange(LAYOUTS)
    return Scene(rng.choice(PLACES), layout)


def random_shot(rng: random.Random) -> Shot:
    """Any shot."""
    return Shot(rng.choice(SHOTS), rng.choice(GESTURES), rng.choice(FACINGS), rng.uniform(-1, 1), rng.uniform(-1, 1))


def side_of(shot: Shot) -> str:
    """Where in the picture the figure stands: "left", "middle" or "right"."""
    if abs(shot.x) < _SIDE:
        return "middle"
    return "left" if shot.x < 0 else "right"


def _often_none(rng: random.Random, choices: Sequence[str]) -> str:
    return "none" if rng.random() < 0.5 else rng.choice(choices[1:])
