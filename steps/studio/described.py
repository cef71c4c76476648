"""What a text says about the colours of hair, clothes and background. One pass over any text; no orders are obeyed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from steps.studio.colours import COLOURS, HAIR_COLOURS, HAIR_SYNONYMS, SYNONYMS

_LONGEST = 200_000  # Characters; nobody describes an actor at greater length.
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|[.,;:()!?\n]")
_STOPS = frozenset(".;()!?\n")
_LINKS = frozenset(("is", "are", "was", "were", "of", "in", ":"))
_NEGATIONS = frozenset(("not", "no", "without", "never"))
_DARKER = {"blue": "navy", "red": "maroon", "yellow": "gold", "green": "olive"}
_KEPT = 8  # Colour words that wait for their noun.
_AHEAD = 3  # Words after a noun and a link in which its colour may follow ("hair is black", "a dress of red silk").

_HAIR_WORDS = """
    hair haired hairs hairdo hairstyle haircut braid braids braided ponytail curls curly bun bob locks tresses
    fringe bangs mane pigtails dreadlocks plaits afro ringlets
"""
_HAIR_BY_NAME = {"blonde": "blonde", "blond": "blonde", "brunette": "brown", "redhead": "red", "redheaded": "red"}
_CLOTHES_WORDS = """
    attire apron armour armor blazer blouse bodice caftan cardigan chapan cloak clothes clothing coat costume
    dress dungarees fatigues frock garb garment garments gown hoodie jacket jeans jersey jumper jumpsuit kaftan
    kilt kimono kurta leggings mail outfit overalls overcoat parka plate polo poncho pullover raincoat robe robes
    sari shirt shorts skirt slacks suit sundress sweater sweatshirt tabard tank tee toga top trenchcoat trousers
    tracksuit t-shirt tshirt tunic tuxedo uniform vest waistcoat wear windbreaker pants chinos stripes striped
    dots dotted checks checked pattern zigzag
"""
_COVERS_WORDS = """
    hat cap hood hooded turban kalpak helmet headscarf hijab veil beanie bonnet beret skullcap kippah bandana wig
    bald shaven shaved headdress niqab ushanka crown headwrap fez
"""
_BACKGROUND = frozenset(("background", "backdrop", "backcloth", "wall"))
_OTHER_WORDS = """
    eyes eye eyed skin skinned complexion complexioned face lips lipstick brows eyebrows lashes beard bearded
    moustache mustache goatee stubble freckles scar mole nails makeup glasses eyepatch boots boot shoes shoe
    sneakers heels sandals loafers trainers socks stockings tights belt sash buttons button tie necktie bow ribbon
    scarf gloves watch earrings necklace bracelet ring rings jewelry jewellery bag backpack trim trimming trimmings
    lining lapels collar cuffs badge details accents accessories embroidery
    lighting sky floor horse
"""

_HAIR = frozenset(_HAIR_WORDS.split())
_CLOTHES = frozenset(_CLOTHES_WORDS.split())
_COVERS = frozenset(_COVERS_WORDS.split())
_OTHERS = frozenset(_OTHER_WORDS.split())


@dataclass(frozen=True)
class Described:
    """Colours that a text names.

    Attributes:
        hair: Keys of HAIR_COLOURS.
        clothes: Keys of COLOURS.
        background: Keys of COLOURS.
        hats: Keys of COLOURS, of whatever covers the hair.
        hair_is_covered: A hat, a hood or a bald head is spoken of.
    """

    hair: tuple[str, ...] = ()
    clothes: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    hats: tuple[str, ...] = ()
    hair_is_covered: bool = False


def read(description: str, outfit: str) -> Described:
    """The colours that a description and an outfit name; never raises, in time linear in the text."""
    first, second = _Reader(), _Reader(default="clothes")
    for reader, text in ((first, description), (second, outfit)):
        reader.take(_words(text))
    kinds = ("hair", "clothes", "background", "hats")
    hair, clothes, background, hats = (tuple(dict.fromkeys(first.found[kind] + second.found[kind])) for kind in kinds)
    return Described(hair, clothes, background, hats, first.covered or second.covered)


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text[:_LONGEST].lower()):
        word = match.group()
        if "-" in word and not _is_colour(word) and word not in _CLOTHES:
            yield from word.split("-")
        else:
            yield word


def _is_colour(word: str) -> bool:
    return word in COLOURS or word in SYNONYMS or word in HAIR_COLOURS or word in HAIR_SYNONYMS


@dataclass
class _Reader:
    """Holds colour words until the noun that they belong to comes, or gives them to the noun just before."""

    default: str = ""
    found: dict[str, list[str]] = field(
        default_factory=lambda: {"hair": [], "clothes": [], "background": [], "hats": []}
    )
    covered: bool = False
    _waiting: list[str] = field(default_factory=list)
    _last: str = ""
    _ahead: int = 0
    _took: bool = False
    _open: bool = False
    _denied: bool = False

    def take(self, words: Iterable[str]) -> None:
        for word in words:
            self._one(word)
        self._settle(self.default)

    def _one(self, word: str) -> None:
        self._ahead -= 1
        if word in _COVERS and not self._denied:
            self.covered = True
        noun = _noun(word)
        if noun is not None:
            self._noun(noun)
        elif word in _LINKS and self._open:
            self._ahead = _AHEAD + 1
        elif word in _STOPS or word in _NEGATIONS:
            self._settle(self.default)
            self._ahead = 0
        elif word in (",", "with"):
            self._ahead = 0
            self._settle_if_clothes()
        elif _is_colour(word):
            self._colour(word)
        self._open = noun is not None and not self._took
        self._denied = word in _NEGATIONS

    def _settle_if_clothes(self) -> None:
        """In a text on clothes what a part begins with is worn: "blue casual, brown shoes"."""
        if self.default:
            self._settle(self.default)

    def _noun(self, noun: str) -> None:
        """Colours before a noun are its own; with none before, those that follow are."""
        self._took = bool(self._waiting)
        self._ahead = 0
        self._last = noun
        self._settle(noun)

    def _colour(self, word: str) -> None:
        if word in _HAIR_BY_NAME:
            self.found["hair"].append(_HAIR_BY_NAME[word])
        if self._ahead > 0:
            self._give(self._last, [word])
        else:
            self._waiting = [*self._waiting[1 - _KEPT :], word]

    def _settle(self, noun: str) -> None:
        self._give(noun, self._waiting)
        self._waiting = []

    def _give(self, noun: str, words: list[str]) -> None:
        if noun == "hair":
            self.found["hair"] += _hair_names(words)
        elif noun in self.found:
            self.found[noun] += [name for word in words if (name := word if word in COLOURS else SYNONYMS.get(word))]
            if "dark" in words:
                self.found[noun] += [_DARKER[word] for word in words if word in _DARKER]


def _noun(word: str) -> str | None:
    """The noun's kind: a key of `_Reader.found`, or "other" for what is not looked at; None for any other word."""
    if word in _HAIR:
        return "hair"
    if word in _CLOTHES:
        return "clothes"
    if word in _BACKGROUND:
        return "background"
    if word in _COVERS:
        return "hats"
    return "other" if word in _OTHERS else None


def _hair_names(words: list[str]) -> list[str]:
    """Hair colours; "dark" before a colour makes it darker, alone it means black or dark brown."""
    names = [name for word in words if word != "dark" and (name := _hair_name(word))]
    if "dark" in words:
        names += ["dark brown"] if names else ["black", "dark brown"]
    return names


def _hair_name(word: str) -> str | None:
    return word if word in HAIR_COLOURS else HAIR_SYNONYMS.get(word)
