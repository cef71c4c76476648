"""What a study shows and to whom: decks of storyboards and pairs, balanced over arms, under names that tell nothing."""

from __future__ import annotations

import hmac
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from steps.library.storyboards import DrawnStoryboard
from steps.study.cells import Place, Selection

FORMAT = 1
CONSISTENT, BETTER = "consistent", "better"
CHOICES = (CONSISTENT, BETTER)
SCALE = (1, 2, 3, 4, 5)
# What a person needs for a page, seconds: for the estimate on the first page.
SECONDS_RATE, SECONDS_PAIR, SECONDS_INTRODUCTION = 12, 14, 60


@dataclass(frozen=True)
class StudyOptions:
    """How a study is made.

    Attributes:
        per_rater: The most storyboards and pairs together that one person sees, repeats and checks not counted; all by default.
        repeats: The share of a person's pairs that come again with sides swapped, 0 to 1.
        checks: Pages that say what to choose, for each person.
        choice: What is asked of a pair: which is more "consistent", or which is "better".
        seed: Draws orders and sides, together with the study's secret.
        title: What raters see above.
        contact: Where to send the answers and whom to ask; shown as it is.
        long_side: Pixels that a frame has at most.
    """

    per_rater: int | None = None
    repeats: float = 0.1
    checks: int = 2
    choice: str = CONSISTENT
    seed: int = 0
    title: str = "Stories in pictures"
    contact: str = ""
    long_side: int = 1024


class Drawn(NamedTuple):
    """An attention check: what its images say.

    Attributes:
        page: Its page's id.
        boards: By id what the image says.
        expected: The value to choose, or the id of the storyboard.
    """

    page: str
    boards: Mapping[str, str]
    expected: int | str


@dataclass(frozen=True)
class Design:
    """A study before its images are written.

    Attributes:
        document: What the page knows.
        answers: What only the key knows: what each id stands for.
        images: By file name the image to show there.
        checks: By file name the words to draw.
    """

    document: dict[str, Any]
    answers: dict[str, Any]
    images: dict[str, Path]
    checks: dict[str, str] = field(default_factory=dict)


class Names:
    """Ids and file names that nobody can derive without the secret."""

    def __init__(self, secret: str, suffix: str) -> None:
        self._secret = secret.encode()
        self._suffix = suffix

    def of(self, *what: object) -> str:
        """Sixteen hexadecimal digits."""
        return hmac.digest(self._secret, repr(what).encode("utf-8", "backslashreplace"), "sha256").hex()[:16]

    def file(self, *what: object) -> str:
        """A file's name below the study's folder."""
        return f"images/{self.of('file', *what)}{self._suffix}"


class Designer:
    """Draws up a study."""

    def __init__(
        self, selection: Selection, references: Mapping[str, Sequence[Path]], names: Names, secret: str
    ) -> None:
        self._selection = selection
        self._references = references
        self._names = names
        self._secret = secret
        self._images: dict[str, Path] = {}

    def design(self, options: StudyOptions) -> Design:
        """The whole study; the same for the same secret, seed and storyboards."""
        rng = random.Random(f"{self._secret}/{options.seed}")  # noqa: S311 - no key is made of it
        units = list(self._selection.units)
        rng.shuffle(units)
        places = [unit.place for unit in units]
        boards = {(unit.place, arm): self._names.of("board", unit.place, arm) for unit in units for arm in unit.boards}
        rate = [boards[place, arm] for place, arm in _deck(places, self._selection.arms, rng)]
        pairs = []
        for place, arms in _deck(places, list(itertools.combinations(self._selection.arms, 2)), rng):
            shown = [boards[place, arm] for arm in arms]
            rng.shuffle(shown)
            pairs.append({"page": self._names.of("pair", place, arms), "boards": shown})
        checks = list(self._checks(options.checks, with_pairs=bool(pairs), rng=rng))
        document = {
            "format": FORMAT,
            "study": self._names.of("study"),
            "title": options.title,
            "contact": options.contact,
            "choice": options.choice,
            "characters": self._characters(),
            "boards": _shuffled(self._boards(boards) | self._drawn(checks), rng),
            "rate": rate,
            "pairs": pairs,
            "checks": [{"page": check.page, "boards": list(check.boards)} for check in checks],
            "sees": _sees(options, len(rate), len(pairs)),
        }
        document["minutes"] = minutes_of(document)
        said = {self._names.file(board): words for check in checks for board, words in check.boards.items()}
        return Design(document, self._answers(boards, checks), self._images, said)

    def _boards(self, boards: Mapping[tuple[Place, str], str]) -> dict[str, Any]:
        found = {}
        for unit in self._selection.units:
            for arm, board in unit.boards.items():
                name = boards[unit.place, arm]
                frames = [
                    {"file": self._show(frame.file, name, frame.frame), "text": text}
                    for frame, text in zip(board.frames, unit.texts, strict=True)
                ]
                found[name] = {"character": self._names.of("character", board.character), "frames": frames}
        return found

    def _characters(self) -> dict[str, list[str]]:
        """By character the images that show who it is."""
        return {
            self._names.of("character", character): [
                self._show(path, "character", character, index) for index, path in enumerate(paths)
            ]
            for character, paths in self._references.items()
        }

    def _show(self, path: Path, *what: object) -> str:
        name = self._names.file(*what)
        self._images[name] = path
        return name

    def _checks(self, number: int, *, with_pairs: bool, rng: random.Random) -> Iterator[Drawn]:
        """By turns a page that says how many points to give, and a pair that says which side to choose."""
        for index in range(number):
            page = self._names.of("check", index)
            if with_pairs and index % 2:
                this, other = (self._names.of("check", index, side) for side in ("this", "other"))
                words = {
                    this: "Attention check: please choose this one.",
                    other: "Attention check: please choose the other one.",
                }
                yield Drawn(page, words, this)
            else:
                points = rng.choice(SCALE)
                yield Drawn(page, {page: f"Attention check: please give {points} out of 5."}, points)

    def _drawn(self, checks: Sequence[Drawn]) -> dict[str, Any]:
        return {
            board: {"character": None, "frames": [{"file": self._names.file(board), "text": "", "alt": words}]}
            for check in checks
            for board, words in check.boards.items()
        }

    def _answers(self, boards: Mapping[tuple[Place, str], str], checks: Sequence[Drawn]) -> dict[str, Any]:
        drawn = {unit.place: unit.boards for unit in self._selection.units}
        return {
            "arms": list(self._selection.arms),
            "boards": {name: _about(place, arm, drawn[place][arm]) for (place, arm), name in boards.items()},
            "checks": {check.page: check.expected for check in checks},
        }


def minutes_of(study: Mapping[str, Any]) -> int:
    """About how long one person needs, minutes."""
    sees: Mapping[str, int] = study["sees"]
    of_checks = sum(SECONDS_RATE if len(check["boards"]) == 1 else SECONDS_PAIR for check in study["checks"])
    seconds = sees["rate"] * SECONDS_RATE + (sees["pairs"] + sees["repeats"]) * SECONDS_PAIR + of_checks
    return max(1, round((seconds + SECONDS_INTRODUCTION) / 60))


def _about(place: Place, arm: str, board: DrawnStoryboard) -> dict[str, Any]:
    character, story, seed = place
    return {
        "character": character,
        "story": story,
        "seed": seed,
        "arm": arm,
        "mode": board.mode,
        "lora_scale": board.lora_scale,
        "adapter_scale": board.adapter_scale,
        "folder": str(board.folder),
    }


def _sees(options: StudyOptions, boards: int, pairs: int) -> dict[str, int]:
    """How many of each kind of page one person sees: both kinds in the share that they have in the study."""
    rate, compared = boards, pairs
    if options.per_rater is not None and options.per_rater < boards + pairs:
        rate = min(boards, max(1, round(options.per_rater * boards / (boards + pairs))))
        compared = min(pairs, options.per_rater - rate)
    # One at least, where any are wanted: without it nobody's steadiness is known.
    repeats = min(compared, max(1, round(options.repeats * compared))) if options.repeats and compared else 0
    return {"rate": rate, "pairs": compared, "repeats": repeats}


def _deck(places: Sequence[Place], treatments: Sequence[Any], rng: random.Random) -> Iterator[tuple[Place, Any]]:
    """Every place with every treatment, so that any stretch of the deck holds places and treatments about equally often.

    Places are taken in groups as large as there are treatments, and within a group a Latin square says which place comes with which
    treatment in which round (Cochran and Cox, Experimental Designs, section 4.3). Each group has a square of its own, so that nobody can
    tell from where two storyboards stand in the deck whether one arm drew both.
    """
    if not treatments:
        return
    size = len(treatments)
    squares = [_latin(size, rng) for _ in range(0, len(places), size)]
    for turn in range(size):
        for index, place in enumerate(places):
            yield place, treatments[squares[index // size][turn][index % size]]


def _latin(size: int, rng: random.Random) -> list[list[int]]:
    """A cyclic Latin square with rows, columns and symbols shuffled."""
    rows, columns, symbols = (rng.sample(range(size), size) for _ in range(3))
    return [[symbols[(row + column) % size] for column in columns] for row in rows]


def _shuffled(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    keys = list(values)
    rng.shuffle(keys)
    return {key: values[key] for key in keys}
