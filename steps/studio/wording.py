"""Words and characters, both ways: `describe` and `caption` tell of a character, `read` makes one of any text."""

from __future__ import annotations

from steps.studio.framing import Shot
from steps.studio.people import Character, seeded
from steps.studio.reading import read
from steps.studio.scenery import Scene

__all__ = ["caption", "describe", "read"]

_NOUNS = {
    ("child", "male"): "boy",
    ("child", "female"): "girl",
    ("teen", "male"): "young man",
    ("teen", "female"): "young woman",
    ("elderly", "male"): "elderly man",
    ("elderly", "female"): "elderly woman",
}
_HAIR = {
    "bald": "a bald head",
    "buzzed": "{colour} hair in a buzz cut",
    "short": "short {colour} hair",
    "bob": "a {colour} bob haircut",
    "long": "long {colour} hair",
    "braids": "{colour} hair in braids",
    "bun": "{colour} hair in a bun",
    "ponytail": "{colour} hair in a ponytail",
    "curly": "curly {colour} hair",
}
_PATTERNS = {"stripes": "stripes", "zigzag": "zigzag pattern", "dots": "dots", "checks": "checks"}
_OUTFITS = {
    "robe": ("Traditional attire", "{first} robe with a {second} sash"),
    "suit": ("Formal attire", "{first} suit with a {second} tie"),
    "dress": ("Elegant attire", "{first} dress with a {second} belt"),
    "casual": ("Casual attire", "{first} t-shirt and {second} trousers"),
    "coat": ("Outdoor attire", "{first} coat with a {second} scarf"),
    "uniform": ("Service attire", "{first} uniform with {second} trim"),
    "armour": ("Warrior attire", "{first} armour with {second} trim"),
}
_MARKS = {
    "scar": "a scar on the cheek",
    "freckles": "freckles",
    "mole": "a mole above the lip",
    "glasses": "round glasses",
    "eyepatch": "an eyepatch",
}
_PLACES = {
    "steppe": "on the green steppe",
    "market": "at the market",
    "night": "under the night sky",
    "desert": "in the desert",
    "snow": "in the snow",
    "yurt": "inside a yurt",
    "studio": "before a plain studio backdrop",
}
_GESTURES = {
    "standing": "standing",
    "waving": "waving a hand",
    "akimbo": "standing with hands on hips",
    "sitting": "sitting cross-legged",
    "riding": "riding a horse",
}
_SHOTS = {"portrait": "portrait", "half": "half-length picture", "full": "full-body picture"}


def describe(character: Character, seed: int = 0) -> tuple[str, str]:
    """A description and an outfit in the words of the source library; `seed` chooses among phrasings.

    `read` of the two gives back sex, age, hair, hat, outfit with its colours and facial hair.
    """
    rng = seeded(f"words {seed}")
    traits = [_hair(character), f"{character.eye_colour} eyes", f"{character.brows} eyebrows"]
    rng.shuffle(traits)
    if character.facial_hair != "none":
        traits.append(_facial_hair(character))
    elif character.sex == "male" and rng.random() < 0.5:
        traits.append("clean-shaven")
    if character.mark != "none":
        traits.append(_MARKS[character.mark])
    skin = rng.choice(("{} skin", "{} complexion")).format(character.skin)
    opening = rng.choice(("{} year old {}, with {}, ", "{}-year-old {} with {}, "))
    return opening.format(character.age, _noun(character), skin) + ", ".join(traits) + ".", _outfit(
        character, rng.random()
    )


def caption(character: Character, scene: Scene, shot: Shot) -> str:
    """One sentence that says who, how and where."""
    worn = _worn(character)
    hat = "" if character.hat == "none" else f" and a {character.hat_colour} {character.hat}"
    beard = "" if character.facial_hair == "none" else f" and {_facial_hair(character)}"
    facing = "" if shot.facing == "front" else f", facing {shot.facing}"
    who = f"{character.age} year old {_noun(character)} with {_hair(character)}{beard}"
    what = f"wearing {_article(worn)} {worn}{hat}"
    how = f"{_GESTURES[shot.gesture]}{facing}, {_PLACES[scene.place]}"
    return f"A {_SHOTS[shot.kind]} of {_article(who)} {who}, {what}, {how}."


def _noun(character: Character) -> str:
    return _NOUNS.get((character.age_group, character.sex), "man" if character.sex == "male" else "woman")


def _hair(character: Character) -> str:
    # A bald person's brows and beard have a colour too.
    return _HAIR[character.hair_style].format(colour=character.hair_colour)


def _facial_hair(character: Character) -> str:
    size, kind = ("long ", "beard") if character.facial_hair == "long beard" else ("", character.facial_hair)
    return f"a {size}{character.hair_colour} {kind}"


def _worn(character: Character) -> str:
    cloth = _OUTFITS[character.outfit][1].format(first=character.outfit_colour, second=character.second_colour)
    if character.pattern == "plain":
        return cloth
    return f"{cloth} and {character.second_colour} {_PATTERNS[character.pattern]}"


def _outfit(character: Character, chance: float) -> str:
    heading, cloth = _OUTFITS[character.outfit][0], _worn(character)
    if character.hat != "none":
        return f"{heading}: {cloth}, {character.hat_colour} {character.hat}."
    return f"{heading}: {cloth}{', no hat' if chance < 0.4 else ''}."


def _article(text: str) -> str:
    return "an" if text[0] in "aeiou" or text.startswith(("8", "11 ", "18 ")) else "a"
