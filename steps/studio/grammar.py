"""A small grammar of tales: places, actions and directions of the embedded world that an English text names, as shots in its order.

It knows words, not meanings: who does what to whom is lost, and a beat in which it recognises nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from steps.library.shots import Shot
from steps.studio.models.captions import staged_caption
from steps.studio.models.domain import Picture
from steps.studio.people import Character, seeded
from steps.studio.scenery import Scene

WHO = "{who}"
SIDES: Mapping[str, float] = {"left": -0.7, "middle": 0.0, "right": 0.7}


def _meanings(words: Mapping[str, str]) -> dict[str, str]:
    """Word -> meaning, from all words of each meaning."""
    return {word: meaning for meaning, known in words.items() for word in known.split()}


# Words that name a place, and below words that only hint at one; they count where a clause has none of the former.
_PLACES: Mapping[str, str] = _meanings(
    {
        "steppe": "steppe steppes grass grassland meadow meadows pasture pastures hill hills plain plains field fields valley",
        "market": "market markets marketplace bazaar bazaars stall stalls shop town city square",
        "night": "night nights midnight moon moonlight star stars starlight dark darkness nightfall dusk",
        "desert": "desert deserts dune dunes sand sands sandy oasis",
        "snow": "snow snows snowy winter ice frost frozen blizzard snowstorm",
        "yurt": "yurt yurts tent tents home house hut hearth indoors inside",
        "studio": "studio",
    }
)
_HINTS: Mapping[str, str] = _meanings(
    {
        "steppe": "shepherd shepherds herd herds sheep river lake road path village",
        "market": "merchant merchants trader traders seller sellers coins buys buy sells sell bargains haggles price",
        "night": "evening thief thieves sleeps dreams dream",
        "desert": "caravan caravans camel camels thirsty thirst",
        "snow": "cold freezing wolf wolves",
        "yurt": "guest guests host feast supper dinner meal soup tea bowl khan bai",
    }
)
_ACTIONS: Mapping[str, str] = _meanings(
    {
        "riding": "ride rides riding rode ridden gallop gallops galloping galloped trot trots trotting mounts mounted race races "
        "racing raced chases chased chasing flees fled fleeing escapes escaped escaping travels travelled traveling travelling",
        "sitting": "sit sits sitting sat eat eats eating ate drink drinks drinking drank rest rests resting rested sleep sleeps "
        "sleeping slept dines feasts feasting kneels kneeling squats settles",
        "waving": "wave waves waving waved greet greets greeting greeted laugh laughs laughing laughed call calls calling called "
        "shout shouts shouting shouted points pointing pointed beckons cheers cheering thanks thanked welcomes welcomed cries "
        "cried farewell goodbye signals hails sings singing sang dances dancing danced",
        "standing": "stand stands standing stood wait waits waiting waited walk walks walking walked meet meets meeting met look "
        "looks looking looked arrive arrives arriving arrived asks asked says said tells told speaks talks talking listens "
        "listened watches watched thinks thought bargains haggles haggling negotiates buys bought sells sold trades traded "
        "tricks tricked takes took gives gave hides hid stops stopped comes came goes went finds found steals stole sees saw",
    }
)
_MOUNTS = _meanings({"riding": "horse horses horseback mare stallion foal steed saddle pony"})
_WAYS = _meanings(
    {
        "right": "away off leaves leaving departs departing flees fled escapes escaped onward onwards disappears",
        "left": "back returns returning returned homeward homewards",
    }
)
_TURNED = re.compile(
    r"\b(?:to|to the|toward|towards|towards the|toward the|facing|faces|turns|turned|looks|looking)\s+(left|right|west|east)\b"
)
_FRONTS = re.compile(r"\b(?:at us|the camera|the viewer|faces front|facing front|front-facing|straight ahead)\b")
_STANDS = re.compile(r"\bon the (left|right)\b(?! side of)")
_SHOTS: Mapping[str, str] = _meanings(
    {
        "portrait": "close-up closeup face faces expression eyes smile smiles smiling grins portrait frowns",
        "full": "distance far wide horizon whole silhouette disappears vanishes",
    }
)
_SENTENCE = re.compile(r"[.!?\n;]+")
_CLAUSE = re.compile(r"[,:—–]|\b(?:and|then|but|while|until|when|so)\b")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_FROM = frozenset(("from", "leaving", "leaves", "left"))
_SMALL = frozenset(("the", "a", "an", "his", "her", "their", "this", "that"))
_WEST = {"west": "left", "east": "right", "left": "left", "right": "right"}
_TITLE_WORDS = 10

_NEUTRAL: tuple[tuple[str, str, str, str], ...] = (
    ("steppe", "standing", "half", "front"),
    ("steppe", "riding", "full", "right"),
    ("market", "waving", "half", "front"),
    ("market", "standing", "full", "left"),
    ("yurt", "sitting", "full", "front"),
    ("night", "standing", "half", "right"),
    ("desert", "riding", "full", "right"),
    ("desert", "sitting", "full", "left"),
    ("snow", "standing", "full", "front"),
    ("snow", "riding", "full", "left"),
)


@dataclass(frozen=True)
class Beat:
    """One shot of a tale; None where the text says nothing of it."""

    place: str | None = None
    gesture: str | None = None
    facing: str | None = None
    kind: str | None = None
    side: str | None = None

    def with_what_is_missing_from(self, other: Beat) -> Beat:
        """This one, and what it does not say from the other."""
        return Beat(*(mine or theirs for mine, theirs in zip(_values(self), _values(other), strict=True)))


@dataclass(frozen=True)
class Told:
    """A tale in shots: each beat whole, and what a reader should know of how they came to be."""

    title: str
    beats: Sequence[Beat]
    notes: str


def tell(tale: str, least: int, most: int) -> Told:
    """Shots for a tale; the same tale gives the same ones.

    Args:
        tale: English prose.
        least: Shots at least.
        most: Shots at most.
    """
    found = _whole(_read(tale))
    if not found:
        beats = [Beat(place, gesture, facing, kind, "middle") for place, gesture, kind, facing in _NEUTRAL]
        return Told(_title(tale), _fitted(beats, tale, least, min(most, max(least, 6))), _NOTHING)
    beats = [_introduction(found[0]), *found]
    fitted = _fitted(beats, tale, least, most)
    return Told(_title(tale), fitted, _said(len(found), len(fitted) - len(beats)))


def line(beat: Beat) -> str:
    """A whole beat in the words of the embedded models' captions, {who} for the character."""
    return staged_caption(Picture(Character(), Scene(_known(beat.place)), shot_of(beat)), WHO)


def shot_of(beat: Beat) -> Shot:
    """How a whole beat is taken."""
    return Shot(_known(beat.kind), _known(beat.gesture), _known(beat.facing), SIDES[_known(beat.side)])


def _read(tale: str) -> list[Beat]:
    """What each clause says, those left out that say nothing; clauses of a sentence that complete each other are one."""
    beats: list[Beat] = []
    for sentence in _SENTENCE.split(tale.lower()):
        said: list[Beat] = []
        for clause in _CLAUSE.split(sentence):
            beat = _beat_of(clause)
            if beat == Beat():
                continue
            if said and _complete(said[-1], beat):
                said[-1] = said[-1].with_what_is_missing_from(beat)
            else:
                said.append(beat)
        beats += said
    return beats


def _complete(before: Beat, after: Beat) -> bool:
    """Whether no part is said by both, so that both tell of one moment: "At the market, he waves"."""
    return not any(mine and theirs for mine, theirs in zip(_values(before), _values(after), strict=True))


def _beat_of(clause: str) -> Beat:
    words = _WORD.findall(clause)
    gesture = _first(words, _ACTIONS)
    if gesture in (None, "standing"):
        # Whatever somebody does who has a horse there, it is the horse that is worth to be seen.
        gesture = _first(words, _MOUNTS) or gesture
    stands = _STANDS.search(clause)
    return Beat(_place(words), gesture, _facing(clause, words), _first(words, _SHOTS), stands and stands[1])


def _place(words: Sequence[str]) -> str | None:
    """Where a clause is: a place that is left does not count."""
    kept = [word for index, word in enumerate(words) if not _is_left(words, index)]
    return _first(kept, _PLACES) or _first(kept, _HINTS)


def _is_left(words: Sequence[str], index: int) -> bool:
    before = [word for word in words[max(0, index - 3) : index] if word not in _SMALL]
    return bool(before) and before[-1] in _FROM


def _facing(clause: str, words: Sequence[str]) -> str | None:
    """Who goes away goes right, as one reads, and who comes back left, where nothing else is said."""
    if turned := _TURNED.search(clause):
        return _WEST[turned[1]]
    if _FRONTS.search(clause):
        return "front"
    return _first(words, _WAYS)


def _first(words: Sequence[str], table: Mapping[str, str]) -> str | None:
    """The meaning of the first word that a table knows."""
    return next((table[word] for word in words if word in table), None)


def _whole(beats: Sequence[Beat]) -> list[Beat]:
    """The beats with nothing left open: a place lasts until another is named, and two of a kind in a row are one."""
    places = [beat.place for beat in beats if beat.place]
    place = places[0] if places else "steppe"
    whole: list[Beat] = []
    for beat in beats:
        place = beat.place or place
        filled = _filled(beat, place)
        if not whole or filled != whole[-1]:
            whole.append(filled)
    return whole


def _filled(beat: Beat, place: str) -> Beat:
    gesture = beat.gesture or "standing"
    riding = gesture == "riding"
    kind = "full" if riding else beat.kind or ("half" if gesture == "waving" else "full")
    facing = beat.facing or ("right" if riding else "front")
    return Beat(_outdoors(place) if riding else place, gesture, facing, kind, beat.side or "middle")


def _outdoors(place: str | None) -> str | None:
    """Where a horse is that goes to a place: it stays before the yurt."""
    return "steppe" if place in ("yurt", "studio") else place


def _introduction(first: Beat) -> Beat:
    """The hero's face, clear and from the front, where the tale begins."""
    return Beat(first.place, "standing", "front", "half", "middle")


def _fitted(beats: Sequence[Beat], tale: str, least: int, most: int) -> list[Beat]:
    """As many as are wanted: those too many are left out evenly between the first and the last, those missing are made up."""
    fitted = [beats[0], *(beat for before, beat in pairwise(beats) if beat != before)]
    if len(fitted) > most:
        fitted = [fitted[round(index * (len(fitted) - 1) / max(1, most - 1))] for index in range(most)]
    added = _transitions(fitted, tale)
    while len(fitted) < least:
        fitted = next(added)
    return fitted


def _transitions(beats: Sequence[Beat], tale: str) -> Iterator[list[Beat]]:
    """The beats with one more, and one more: first the ways between places, then what can be seen at each from elsewhere."""
    beats = list(beats)
    for before, after in list(pairwise(beats)):
        way = Beat(_outdoors(after.place), "riding", "right", "full", "middle")
        if before.place != after.place and way not in beats:
            beats.insert(beats.index(after), way)
            yield list(beats)
    rng = seeded(f"grammar {tale}")
    views = list(product(("half", "full", "portrait"), ("standing", "waving", "sitting"), ("left", "right", "front")))
    while True:
        # Never the first, which introduces, and never after the last, which ends the tale, where there is one between.
        at = rng.randrange(1, max(2, len(beats)))
        kind, gesture, facing = rng.choice(views)
        view = Beat(beats[at - 1].place, gesture, facing, kind, rng.choice(("middle", "middle", "left", "right")))
        if line(view) not in {line(beat) for beat in beats}:
            beats.insert(at, view)
            yield list(beats)


def _said(recognised: int, added: int) -> str:
    text = f"Told by a small grammar, which recognised {recognised} {'moment' if recognised == 1 else 'moments'}"
    if added < 0:
        return f"{text} and left out {-added}."
    return f"{text} and added {added} {'shot' if added == 1 else 'shots'}." if added else f"{text}."


def _title(tale: str) -> str:
    """The beginning of the tale."""
    words = re.split(r"[.!?\n]", tale.strip(), maxsplit=1)[0].split()
    return " ".join(words[:_TITLE_WORDS]) + (" …" if len(words) > _TITLE_WORDS else "")


def _values(beat: Beat) -> tuple[str | None, ...]:
    return beat.place, beat.gesture, beat.facing, beat.kind, beat.side


def _known(value: str | None) -> str:
    assert value is not None
    return value


_NOTHING = (
    "The embedded grammar recognised no place and no action in this tale (it knows English words for "
    "steppe, market, night, desert, snow and yurt, riding, sitting, waving and standing): these shots are a neutral order of its world."
)
