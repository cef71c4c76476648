"""Reads a character from free text; what isn't understood is passed over, what isn't said is drawn from a hash."""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from steps.studio import vocabulary as words
from steps.studio.colours import COLOURS, EYE_COLOURS, HAIR_COLOURS, HAIR_SYNONYMS, SKIN_COLOURS, SYNONYMS
from steps.studio.people import BROWS, Character, seeded

MAX_CHARACTERS = 4000
_TOKEN = re.compile(r"[^\W_]+(?:'[a-z]+)?|[,.;:!?\n]")
_NUMBER = re.compile(r"([0-9]{1,3})(?:s|yo|y)?")
_STOPS = frozenset(".;:!?\n")
_PAUSES = words.BREAKS | {","}
_LOOSE_MEN = ("short", "short", "short", "curly", "buzzed")
_LOOSE_WOMEN = ("long", "bob", "bun", "ponytail", "braids")


@dataclass
class _Thing:
    """Something that the text names, with the adjectives that belong to it."""

    word: str
    clause: int
    absent: bool
    adjectives: list[str] = field(default_factory=list)


def read(description: str, outfit: str) -> Character:
    """The character that the texts tell of.

    Any text is taken: unknown words are passed over, and only the first 4,000 characters of each are read. The same
    texts always give the same character.
    """
    things = _things([*_tokens(description), "\n", *_tokens(outfit)])
    rng = seeded(hashlib.sha256(f"{description}\0{outfit}".encode(errors="replace")).hexdigest())
    sex = _sex(things, rng)
    age = _age(_tokens(description), rng)
    skin = _skin(things, rng)
    hair_style, hair_colour = _hair(things, (sex, skin, age), rng)
    cloth = _clothes(things, sex, rng)
    hat, hat_colour = _hat(things, rng)
    return Character(
        sex=sex,
        age=age,
        skin=skin,
        hair_colour=hair_colour,
        hair_style=hair_style,
        hat=hat,
        hat_colour=hat_colour,
        outfit=cloth[0],
        outfit_colour=cloth[1],
        second_colour=cloth[2],
        pattern=_first(things, words.PATTERNS) or "plain",
        facial_hair=_facial_hair(things),
        mark=_first(things, words.MARKS) or "none",
        eye_colour=_eyes(things, rng),
        brows=_brows(things, rng),
        face_seed=rng.randrange(2**31),
    )


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).lower().replace("’", "'")
    found = _TOKEN.findall(plain)
    tokens: list[str] = []
    index = 0
    while index < len(found):
        for length in (3, 2, 1):
            phrase = " ".join(found[index : index + length])
            if length == 1 or phrase in words.PHRASES:
                tokens.append(words.PHRASES.get(phrase, phrase))
                index += length
                break
    return tokens


_NOUNS: frozenset[str] = frozenset().union(
    words.HATS, words.OUTFITS, words.SECONDS, words.PATTERNS, words.HAIR_NOUNS, words.HAIR_STYLES, words.BEARDS,
    words.SHAVEN, words.MARKS, words.SKIN_NOUNS, words.ORIGINS, words.EYES, words.BROW_NOUNS, words.MALE, words.FEMALE,
    words.HE, words.SHE, words.OTHER_NOUNS,
)  # fmt: skip


def _things(tokens: list[str]) -> list[_Thing]:
    """The named things in the text's order, each with its adjectives: those before it, else those after it."""
    things: list[_Thing] = []
    waiting: list[str] = []
    clause, absent = 0, False
    for index, token in enumerate(tokens):
        if token in _STOPS or token in _PAUSES:
            waiting = _settle(waiting, things, clause)
            clause += token in _STOPS
            # "Not wearing a hat" denies the hat; "without a hat in a coat" keeps the coat.
            absent = absent and token in words.BREAKS and tokens[index - 1] in words.NEGATIONS
        if token in words.NEGATIONS:
            waiting, absent = _settle(waiting, things, clause), True
        elif token in ("and", "but"):
            absent = absent and _goes_on(tokens, index)
        elif token in _NOUNS:
            passed_on = _tells_of_cloth(tokens, index)
            things.append(_Thing(token, clause, absent, [] if passed_on else waiting))
            waiting = waiting if passed_on else []
        elif token in words.ADJECTIVES:
            waiting.append(token)
    _settle(waiting, things, clause)
    return things


def _tells_of_cloth(tokens: list[str], index: int) -> bool:
    """Whether a pattern's word stands before its garment: in "yellow dotted dress" yellow is the dress."""
    return tokens[index] in words.PATTERNS and index + 1 < len(tokens) and tokens[index + 1] in words.OUTFITS


def _settle(waiting: list[str], things: list[_Thing], clause: int) -> list[str]:
    """Adjectives that no noun followed belong to the last thing of their clause, if it has none; the rest wait on."""
    if waiting and things and things[-1].clause == clause and not things[-1].adjectives:
        things[-1].adjectives.extend(waiting)
        return []
    return waiting


def _goes_on(tokens: list[str], index: int) -> bool:
    """Whether a negation reaches over this "and": "no hat and glasses" does, "no hat and short hair" doesn't."""
    following = tokens[index + 1] if index + 1 < len(tokens) else ""
    return tokens[index] == "and" and (following in words.BEARDS or following in words.MARKS or following in words.HATS)


def _named(things: Iterable[_Thing], vocabulary: Container[str]) -> list[_Thing]:
    return [thing for thing in things if thing.word in vocabulary and not thing.absent]


def _first(things: Iterable[_Thing], vocabulary: Mapping[str, str]) -> str | None:
    found = _named(things, vocabulary)
    return vocabulary[found[0].word] if found else None


def _sex(things: list[_Thing], rng: random.Random) -> str:
    for men, women in ((words.MALE, words.FEMALE), (words.HE, words.SHE)):
        for thing in things:
            if thing.word in men:
                return "male"
            if thing.word in women:
                return "female"
    if _named(things, words.BEARDS):
        return "male"
    return "female" if _first(things, words.OUTFITS) == "dress" else rng.choice(("male", "female"))


def _age(tokens: list[str], rng: random.Random) -> int:
    """A number with "year", "aged" or "yo" beside it, else a lone one, else words."""
    matches = [(index, _NUMBER.fullmatch(token)) for index, token in enumerate(tokens)]
    numbers = [(index, int(match[1])) for index, match in matches if match]
    likely = [(index, number) for index, number in numbers if 1 <= number <= 110]
    sure = [number for index, number in likely if _beside_age(tokens, index)]
    told = sure or [number for _, number in likely if number >= 5] or _spelt(tokens)
    if told:
        return told[0]
    return _age_by_words(frozenset(tokens), rng)


def _beside_age(tokens: list[str], index: int) -> bool:
    near = tokens[max(0, index - 1) : index + 2]
    return any(token.startswith(("year", "aged", "age", "yo", "yr")) for token in near)


def _spelt(tokens: list[str]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in words.TENS:
            following = tokens[index + 1] if index + 1 < len(tokens) else ""
            return [words.TENS[token] + (words.UNITS.get(following, 0) if words.TENS[token] >= 20 else 0)]
    return []


def _age_by_words(said: frozenset[str], rng: random.Random) -> int:
    for word, age in words.AGES.items():
        if word in said:
            return age + rng.randint(-2, 2)
    if "young" in said:
        return rng.randint(20, 28)
    if "old" in said:
        return rng.randint(62, 74)
    return rng.randint(10, 12) if said & {"boy", "girl", "little"} else rng.randint(24, 50)


def _hair(things: list[_Thing], person: tuple[str, str, int], rng: random.Random) -> tuple[str, str]:
    sex, skin, age = person
    mentions = _named(things, words.HAIR_NOUNS) + _named(things, words.HAIR_STYLES)
    adjectives = [word for thing in mentions for word in thing.adjectives]
    lengths = [words.HAIR_LENGTHS[word] for word in adjectives if word in words.HAIR_LENGTHS]
    usual = rng.choice(_LOOSE_MEN if sex == "male" else _LOOSE_WOMEN)
    style = _first(things, words.HAIR_STYLES) or (lengths[0] if lengths else usual)
    beards = [word for thing in _named(things, words.BEARDS) for word in thing.adjectives]
    colour = _hair_colour(adjectives) or _hair_colour(_loose_hair_words(things)) or _hair_colour(beards)
    return style, colour or rng.choice(_natural_colours(skin, age))


def _natural_colours(skin: str, age: int) -> tuple[str, ...]:
    if age > 57:
        return ("grey", "white")
    dark = ("black", "dark brown")
    return (*dark, "brown", "blonde", "red") if skin in ("very fair", "fair") else dark


def _loose_hair_words(things: list[_Thing]) -> list[str]:
    """Said of a person, these words mean the hair: "a blonde woman"."""
    people = words.MALE | words.FEMALE
    telling = {"blonde", "blond", "redhead", "brunette", "ginger"}
    return [word for thing in things if thing.word in people for word in thing.adjectives if word in telling]


def _hair_colour(adjectives: Iterable[str]) -> str | None:
    for word in adjectives:
        if word == "darkbrown":
            return "dark brown"
        if word in HAIR_COLOURS or word in HAIR_SYNONYMS:
            return HAIR_SYNONYMS.get(word, word)
    return None


def _hat(things: list[_Thing], rng: random.Random) -> tuple[str, str]:
    hats = _named(things, words.HATS)
    if not hats:
        return "none", rng.choice(tuple(COLOURS))
    # "A white hat, a kalpak": the plain word says less.
    best = next((thing for thing in hats if thing.word not in ("hat", "hats", "headwear")), hats[0])
    colours = _colours([word for thing in (best, *hats) for word in thing.adjectives])
    return words.HATS[best.word], colours[0] if colours else rng.choice(("white", "grey", "brown", "maroon", "navy"))


def _clothes(things: list[_Thing], sex: str, rng: random.Random) -> tuple[str, str, str]:
    """Kind, colour, second colour."""
    garments = _named(things, words.OUTFITS)
    whole = [thing for thing in garments if words.OUTFITS[thing.word] != "casual"]
    main = next(iter(whole or garments), None)
    usual = ("casual", "suit", "coat", "robe") if sex == "male" else ("casual", "dress", "coat", "robe")
    kind = words.OUTFITS[main.word] if main is not None else rng.choice(usual)
    same = [thing for thing in garments if words.OUTFITS[thing.word] == kind]
    own = _colours([word for thing in same for word in thing.adjectives])
    seconds = _colours([word for thing in _named(things, words.SECONDS) for word in thing.adjectives])
    others = _colours([word for thing in garments if thing not in same for word in thing.adjectives])
    free = [name for name in COLOURS if name not in own[:1]]
    first = own[0] if own else rng.choice([name for name in COLOURS if name not in seconds])
    spare = [*seconds, *own[1:], *others]
    # Said is said: a belt of the coat's own colour stays so.
    return kind, first, spare[0] if spare else rng.choice([name for name in free if name != first])


def _colours(adjectives: Iterable[str]) -> list[str]:
    """Names of COLOURS for those words that are colours."""
    known = (("brown" if word == "darkbrown" else word) for word in adjectives)
    return [SYNONYMS.get(word, word) for word in known if word in words.COLOUR_WORDS]


def _facial_hair(things: list[_Thing]) -> str:
    if _named(things, words.SHAVEN):
        return "none"
    found = _named(things, words.BEARDS)
    kinds = {words.BEARDS[thing.word] for thing in found}
    if "beard" in kinds:
        long = any("long" in thing.adjectives or "flowing" in thing.adjectives for thing in found)
        return "long beard" if long else "beard"
    return "goatee" if "goatee" in kinds else "moustache" if kinds else "none"


def _skin(things: list[_Thing], rng: random.Random) -> str:
    for thing in _named(things, words.SKIN_NOUNS):
        for word in thing.adjectives:
            if word in words.SKIN_ADJECTIVES:
                return words.SKIN_ADJECTIVES[word]
    return _first(things, words.ORIGINS) or rng.choice(tuple(SKIN_COLOURS))


def _eyes(things: list[_Thing], rng: random.Random) -> str:
    for thing in _named(things, words.EYES):
        for word in thing.adjectives:
            name = {"black": "dark", "darkbrown": "dark"}.get(
                word, SYNONYMS.get(word, word) if word != "hazel" else word
            )
            if name in EYE_COLOURS:
                return name
    return rng.choice(tuple(EYE_COLOURS))


def _brows(things: list[_Thing], rng: random.Random) -> str:
    said = [word for thing in _named(things, words.BROW_NOUNS) for word in thing.adjectives if word in words.BROWS]
    return words.BROWS[said[0]] if said else rng.choice(BROWS)
