"""What can be told from a picture, as numbers: one list of values an attribute, and -1 where a picture does not show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from steps.studio.models import domain
from steps.studio.models.domain import Picture
from steps.studio.people import SEXES
from steps.studio.world import FACINGS, PLACES, SHOTS

HIDDEN = -1

VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sex": SEXES,
        "skin": domain.SKINS,
        "hair_colour": domain.HAIR_COLOURS,
        "hair_style": tuple(dict.fromkeys(domain.HAIR_OF_MEN + domain.HAIR_OF_WOMEN)),
        "hat": domain.HATS,
        "hat_colour": domain.COLOURS,
        "outfit_colour": domain.COLOURS,
        "second_colour": domain.SECOND_COLOURS,
        "pattern": domain.PATTERNS,
        "facial_hair": domain.FACIAL_HAIR,
        "mark": domain.MARKS,
        "place": PLACES,
        "shot": SHOTS,
        "gesture": domain.GESTURES,
        "facing": FACINGS,
        "side": ("left", "middle", "right"),
    }
)
"""Attribute -> its values in the order of their numbers."""

IDENTITY = (
    "sex", "skin", "hair_colour", "hair_style", "hat", "hat_colour", "outfit_colour", "second_colour", "pattern",
    "facial_hair", "mark",
)  # fmt: skip
"""The attributes that belong to a person, whatever the picture."""


def texts_of(shown: Picture) -> dict[str, str]:
    """Attribute -> value, of those that the picture shows."""
    who, shot = shown.who, shown.shot
    texts = {name: str(getattr(who, name)) for name in IDENTITY}
    texts |= {"place": shown.where.place, "shot": shot.kind, "facing": shot.facing}
    texts |= {"gesture": shot.gesture, "side": domain.side_of(shot)}
    return {name: text for name, text in texts.items() if name not in _hidden(shown)}


def numbers_of(shown: Picture) -> list[int]:
    """The values' numbers in the order of VALUES; HIDDEN where the picture does not show the attribute."""
    texts = texts_of(shown)
    return [values.index(texts[name]) if name in texts else HIDDEN for name, values in VALUES.items()]


def sizes() -> Sequence[int]:
    """How many values each attribute has."""
    return [len(values) for values in VALUES.values()]


def _hidden(shown: Picture) -> set[str]:
    who, hidden = shown.who, set()
    if who.hat == "none":
        hidden.add("hat_colour")
    if who.hat == "headscarf":
        hidden |= {"hair_colour", "hair_style"}
    if shown.shot.kind == "portrait":
        # Hands, horse and most of the robe are outside.
        hidden |= {"gesture", "side", "second_colour", "pattern"}
    return hidden
