"""Captions: what a picture shows in words, whole or with parts left out, so that the models learn to do without any of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from steps.studio.models import domain
from steps.studio.models.domain import Picture
from steps.studio.people import Character
from steps.studio.world import Shot

_KEPT = 0.78
_NAMELESS = 0.3
_PORTRAIT_GESTURE = 0.25

_SHOTS: Mapping[str, tuple[str, ...]] = {
    "portrait": ("a portrait of", "a close-up of", "the face of"),
    "half": ("a half-length picture of", "a medium shot of"),
    "full": ("a full-body picture of", "a wide shot of"),
}
_ANY_SHOT = ("a picture of", "an image of", "a drawing of", "")
_PLACES: Mapping[str, tuple[str, ...]] = {
    "steppe": ("on the green steppe", "on the steppe", "in the hills"),
    "market": ("at the market", "in the bazaar"),
    "night": ("under the night sky", "at night"),
    "desert": ("in the desert", "among the dunes"),
    "snow": ("in the snow", "in winter"),
    "yurt": ("inside a yurt", "in the yurt"),
    "studio": ("before a plain studio backdrop", "in a studio"),
}
_GESTURES: Mapping[str, tuple[str, ...]] = {
    "standing": ("standing", "stands"),
    "waving": ("waving a hand", "waving", "waves"),
    "sitting": ("sitting cross-legged", "sitting", "sits"),
    "riding": ("riding a horse", "riding", "rides a horse"),
}
_FACINGS = {"left": ("facing left",), "right": ("facing right",), "front": ("facing front",)}
_SIDES = {"left": ("on the left",), "right": ("on the right",), "middle": ("in the middle",)}
_HAIR = {
    "short": "short {} hair",
    "long": "long {} hair",
    "braids": "{} hair in braids",
    "curly": "curly {} hair",
}
_MARKS = {"glasses": "round glasses", "eyepatch": "an eyepatch"}
_ANYBODY = ("a person", "someone", "the hero", "a traveller", "the friend")
_FILLERS = """
    cheerful clever calm proud tired quiet kind brave merry gentle bright warm colourful simple detailed cartoon animation comic story
    scene moment day people friends dream smile laughs thinks looks waits listens speaks and then there with a new old small big good
    happy sad two three golden soft light clear
"""
_SYLLABLES = "ka zo ri te mu al dar ko se no shi ba lu ve xa ti or en gu sks ohw pi ran qel"


def full_caption(shown: Picture) -> str:
    """All that the picture shows, always in the same words."""
    who, shot = shown.who, shown.shot
    return ", ".join([f"{_SHOTS[shot.kind][0]} {described(who)}", *_staging_in_full(shown)])


def described(who: Character) -> str:
    """Who, in the words of `full_caption`."""
    return _joined(_noun(who), _traits(who), _clothes(who))


def staged_caption(shown: Picture, name: str, rng: random.Random | None = None) -> str:
    """How and where `name` is, and nothing of who that is; with `rng` in any phrasing, parts left out."""
    if rng is not None:
        return ", ".join([f"{_opening(shown.shot, rng)} {name}".strip(), *_staging(shown, rng)])
    return ", ".join([f"{_SHOTS[shown.shot.kind][0]} {name}", *_staging_in_full(shown)])


def any_caption(shown: Picture, rng: random.Random) -> str:
    """A caption in which any part may be missing, in any of its phrasings, with words strewn in that mean nothing."""
    subject = _nameless(shown.who, rng) if rng.random() < _NAMELESS else _partly(shown.who, rng)
    parts = [f"{_opening(shown.shot, rng)} {subject}".strip()]
    parts += _staging(shown, rng)
    if rng.random() < 0.3:
        parts.insert(rng.randint(1, len(parts)), " ".join(rng.choices(_FILLERS.split(), k=rng.randint(1, 4))))
    if rng.random() < 0.1:
        rng.shuffle(parts)
    text = ", ".join(parts)
    return text if rng.random() < 0.8 else text + "."


def corpus() -> list[str]:
    """Every word that captions use, for the tokenizer."""
    phrases = [
        text for table in (_SHOTS, _PLACES, _GESTURES, _FACINGS, _SIDES) for texts in table.values() for text in texts
    ]
    phrases += [
        *_ANY_SHOT,
        *_ANYBODY,
        *_FILLERS.split(),
        *_MARKS.values(),
        *_HAIR.values(),
        *domain.COLOURS,
        *domain.SKINS,
    ]
    phrases += [*domain.SECOND_COLOURS, *domain.HAIR_COLOURS, *domain.HATS, *domain.PATTERNS, *domain.FACIAL_HAIR]
    phrases += ["man woman wearing robe with a an and skin beard moustache wavy zigzags sash striped patterned plain"]
    return [word.strip("{}-") for phrase in phrases for word in phrase.replace("-", " ").split() if word.strip("{}-")]


def _opening(shot: Shot, rng: random.Random) -> str:
    return rng.choice(_SHOTS[shot.kind] if rng.random() < _KEPT else _ANY_SHOT)


def _staging_in_full(shown: Picture) -> list[str]:
    shot = shown.shot
    parts = [] if shot.kind == "portrait" else [_GESTURES[shot.gesture][0]]
    if shot.facing != "front":
        parts.append(_FACINGS[shot.facing][0])
    if shot.kind != "portrait" and domain.side_of(shot) != "middle":
        parts.append(_SIDES[domain.side_of(shot)][0])
    return [*parts, _PLACES[shown.where.place][0]]


def _staging(shown: Picture, rng: random.Random) -> list[str]:
    shot = shown.shot
    parts = []
    if rng.random() < (_PORTRAIT_GESTURE if shot.kind == "portrait" else _KEPT):
        parts.append(rng.choice(_GESTURES[shot.gesture]))
    if rng.random() < (0.15 if shot.facing == "front" else _KEPT):
        parts.append(_FACINGS[shot.facing][0])
    if shot.kind != "portrait" and rng.random() < (0.15 if domain.side_of(shot) == "middle" else _KEPT):
        parts.append(_SIDES[domain.side_of(shot)][0])
    if rng.random() < 0.85:
        parts.append(rng.choice(_PLACES[shown.where.place]))
    return parts


def _nameless(who: Character, rng: random.Random) -> str:
    """Nobody that words tell of: a name made up for this caption, or just anybody."""
    name = "".join(rng.choices(_SYLLABLES.split(), k=rng.randint(1, 3)))
    return rng.choice(
        (
            rng.choice(_ANYBODY),
            name,
            f"{name} {''.join(rng.choices(_SYLLABLES.split(), k=2))}",
            f"{name} {_noun(who)[2:]}",
        )
    )


def _partly(who: Character, rng: random.Random) -> str:
    noun = _noun(who) if rng.random() < _KEPT else rng.choice(_ANYBODY)
    traits = [text for text in _traits(who) if rng.random() < _KEPT]
    clothes = [text for text in _clothes(who) if rng.random() < _KEPT]
    if rng.random() < 0.3:
        rng.shuffle(traits)
        rng.shuffle(clothes)
    return _joined(noun, traits, clothes)


def _joined(noun: str, traits: Sequence[str], clothes: Sequence[str]) -> str:
    text = noun
    if traits:
        text += f" with {_listed(traits)}"
    if clothes:
        text += f"{',' if traits else ''} wearing {_listed(clothes)}"
    return text


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _noun(who: Character) -> str:
    return "a man" if who.sex == "male" else "a woman"


def _traits(who: Character) -> list[str]:
    traits = [f"{who.skin} skin"]
    if who.hat != "headscarf":
        traits.append(_HAIR[who.hair_style].format(who.hair_colour))
    if who.facial_hair != "none":
        traits.append(f"a {who.facial_hair}")
    return traits


def _clothes(who: Character) -> list[str]:
    cloth = f"a {who.outfit_colour} robe with a {who.second_colour} sash"
    if who.pattern != "plain":
        cloth = f"a {who.outfit_colour} robe with {who.second_colour} {_PATTERN_WORDS[who.pattern]}"
    clothes = [cloth.replace("a orange", "an orange")]
    if who.hat != "none":
        clothes.append(f"a {who.hat_colour} {who.hat}".replace("a orange", "an orange"))
    if who.mark != "none":
        clothes.append(_MARKS[who.mark])
    return clothes


_PATTERN_WORDS = {"stripes": "stripes", "zigzag": "zigzags"}
