"""Who can be drawn: a character's attributes, and the face that its seed gives."""

from __future__ import annotations

import random
from dataclasses import dataclass

from steps.studio.colours import COLOURS, EYE_COLOURS, HAIR_COLOURS, RGB, SKIN_COLOURS

SEXES = ("male", "female")
HAIR_STYLES = ("bald", "buzzed", "short", "bob", "long", "braids", "bun", "ponytail", "curly")
HATS = ("none", "cap", "kalpak", "fur hat", "turban", "headscarf", "hood", "skullcap")
OUTFITS = ("robe", "suit", "dress", "casual", "coat", "uniform", "armour")
PATTERNS = ("plain", "stripes", "zigzag", "dots", "checks")
FACIAL_HAIR = ("none", "moustache", "goatee", "beard", "long beard")
MARKS = ("none", "scar", "freckles", "mole", "glasses", "eyepatch")
BROWS = ("thin", "straight", "arched", "thick")
AGE_GROUPS = ("child", "teen", "young", "middle-aged", "elderly")
_OLDEST = {"child": 12, "teen": 19, "young": 34, "middle-aged": 57}
# Long hair worn loose is common for some and rare for others; a cast should look like people one meets.
_WORN_BY_MEN = ("bald", "buzzed", "short", "short", "short", "curly", "long")
_WORN_BY_WOMEN = ("short", "bob", "long", "long", "braids", "bun", "ponytail", "curly")


@dataclass(frozen=True)
class Character:
    """Everything that makes one person recognisable, whatever the scene.

    Attributes:
        sex: One of SEXES.
        age: Years.
        skin: A key of SKIN_COLOURS.
        hair_colour: A key of HAIR_COLOURS; facial hair has it too.
        hair_style: One of HAIR_STYLES.
        hat: One of HATS.
        hat_colour: A key of COLOURS.
        outfit: One of OUTFITS.
        outfit_colour: A key of COLOURS.
        second_colour: A key of COLOURS: trousers, lapels, trimmings and the pattern.
        pattern: One of PATTERNS.
        facial_hair: One of FACIAL_HAIR.
        mark: One of MARKS.
        eye_colour: A key of EYE_COLOURS.
        brows: One of BROWS.
        face_seed: Draws the face's proportions; see `Face`.
    """

    sex: str = "male"
    age: int = 30
    skin: str = "fair"
    hair_colour: str = "brown"
    hair_style: str = "short"
    hat: str = "none"
    hat_colour: str = "grey"
    outfit: str = "casual"
    outfit_colour: str = "blue"
    second_colour: str = "grey"
    pattern: str = "plain"
    facial_hair: str = "none"
    mark: str = "none"
    eye_colour: str = "brown"
    brows: str = "straight"
    face_seed: int = 0

    @property
    def age_group(self) -> str:
        """One of AGE_GROUPS."""
        return next((group for group, oldest in _OLDEST.items() if self.age <= oldest), "elderly")

    @property
    def skin_rgb(self) -> RGB:
        """The skin's colour."""
        return SKIN_COLOURS[self.skin]

    @property
    def hair_rgb(self) -> RGB:
        """The hair's colour."""
        return HAIR_COLOURS[self.hair_colour]

    @property
    def cloth_rgb(self) -> RGB:
        """The outfit's colour."""
        return COLOURS[self.outfit_colour]

    @property
    def trim_rgb(self) -> RGB:
        """The second colour."""
        return COLOURS[self.second_colour]

    @property
    def eye_rgb(self) -> RGB:
        """The iris's colour."""
        return EYE_COLOURS[self.eye_colour]


@dataclass(frozen=True)
class Face:
    """A face's proportions, in heads (chin to crown is 1; x from the middle, y from the crown)."""

    width: float
    jaw: float
    chin: float
    eye_gap: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_curve: float
    lips: float
    brow_tilt: float
    parting: float


def seeded(text: str) -> random.Random:
    """A generator of its own for each text: pictures are drawn by it, secrets are not."""
    return random.Random(text)  # noqa: S311


def face_of(character: Character) -> Face:
    """The face of `character.face_seed`: the same person in every picture."""
    draw = seeded(f"face {character.face_seed}").uniform
    woman = character.sex == "female"
    young = character.age_group == "child"
    return Face(
        width=draw(0.345, 0.415),
        jaw=draw(0.56, 0.74) + (0 if woman else 0.1),
        chin=draw(0.2, 0.34) + (0 if woman else 0.08),
        eye_gap=draw(0.145, 0.19),
        eye_size=draw(0.07, 0.092) + (0.008 if woman or young else 0),
        eye_open=draw(0.52, 0.82) + (0.08 if woman or young else 0),
        eye_tilt=draw(-0.012, 0.016),
        nose_length=draw(0.655, 0.72),
        nose_width=draw(0.05, 0.085),
        mouth_width=draw(0.1, 0.155),
        mouth_curve=draw(0.002, 0.036),
        lips=draw(0.014, 0.026) + (0.008 if woman else 0),
        brow_tilt=draw(-0.032, 0.018),
        parting=draw(-0.7, 0.7),
    )


def random_character(rng: random.Random) -> Character:
    """A likely person: any mix of attributes, but beards on men and hats on some."""
    sex = rng.choice(SEXES)
    man = sex == "male"
    age = rng.randint(16, 74)
    outfit = rng.choice(("robe", "suit", "casual", "coat", "uniform", "armour") if man else OUTFITS)
    cloth, trim = rng.sample(tuple(COLOURS), 2)
    grey = age > 57 and rng.random() < 0.7
    return Character(
        sex=sex,
        age=age,
        skin=rng.choice(tuple(SKIN_COLOURS)),
        hair_colour=rng.choice(("grey", "white") if grey else tuple(HAIR_COLOURS)),
        hair_style=rng.choice(_WORN_BY_MEN if man else _WORN_BY_WOMEN),
        hat=rng.choice(HATS) if rng.random() < 0.5 else "none",
        hat_colour=rng.choice(tuple(COLOURS)),
        outfit=outfit,
        outfit_colour=cloth,
        second_colour=trim,
        pattern=rng.choice(PATTERNS) if rng.random() < 0.6 else "plain",
        facial_hair=rng.choice(FACIAL_HAIR) if man and age > 19 else "none",
        mark=rng.choice(MARKS) if rng.random() < 0.5 else "none",
        eye_colour=rng.choice(tuple(EYE_COLOURS)),
        brows=rng.choice(BROWS),
        face_seed=rng.randrange(2**31),
    )
