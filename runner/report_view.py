"""What the report's templates show: parts of all steps joined into cards, and run.json's facts in words.

Everything here may have been edited by hand or cut off by a crash, so nothing raises: what can't be used becomes a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from runner import files
from runner.errors import UserError
from runner.report_charts import BarTable, TrendChart, bar_table, percent, trend_chart
from runner.report_parts import COMES, GOES, PART, Badge, Bar, Entry, ReportPart, Trend
from runner.report_pictures import Picture, Pictures, Still

# What changes or loses something comes first.
TONES = ("destructive", "error", "warning", "change", "neutral", "good")
NO_BADGE = Badge("", "no verdict", "·", "neutral")
LONGEST_TEXT = 200_000
MOST_BESIDE = 6


class State(NamedTuple):
    """How a run, a job or a step stands, as symbol, word and tone."""

    word: str
    symbol: str
    tone: str


RUN_STATES = {
    "done": State("Done", "✓", "good"),
    "failed": State("Done, some items failed", "✗", "error"),
    "running": State("Under way when this page was written", "▸", "change"),
    "interrupted": State("Interrupted", "‖", "warning"),
    "stopped": State("Stopped", "■", "warning"),
    "refused": State("Stopped: something must be changed first", "■", "error"),
    "crashed": State("Crashed", "✗", "error"),
    "left": State("Not run yet", "○", "neutral"),
    "undone": State("Undone", "↶", "neutral"),
    "reset": State("Reset", "↶", "neutral"),
}
STEP_STATES = {
    "done": State("done", "✓", "good"),
    "running": State("unfinished", "‖", "warning"),
    "left": State("not run yet", "○", "neutral"),
}
STEP_NUMBERS = ("done", "remembered", "failed", "seconds", "usd")


@dataclass(frozen=True)
class Share:
    """What one step said of a card."""

    step: str
    notes: Sequence[str]
    facts: Sequence[tuple[str, str]]


@dataclass
class Card:
    """All that the steps said of one thing."""

    key: str
    title: str = ""
    subtitle: str = ""
    badge: Badge = NO_BADGE
    shown: dict[tuple[str, str], Picture] = field(default_factory=dict)
    shares: list[Share] = field(default_factory=list)
    strip: Sequence[Still] = ()
    bars: Sequence[Bar] = ()
    trend: Trend | None = None
    rank: float | None = None
    rank_text: str = ""
    anchor: str = ""

    @property
    def pictures(self) -> list[Picture]:
        """Its own images, in order."""
        return [picture for picture in self.shown.values() if not picture.mark]

    @property
    def marked(self) -> list[tuple[str, list[Picture]]]:
        """Images that go and images that come, where there are any."""
        lists = [(mark, [picture for picture in self.shown.values() if picture.mark == mark]) for mark in (GOES, COMES)]
        return [(mark, pictures) for mark, pictures in lists if pictures]

    @property
    def columns(self) -> int:
        """How many pictures of its strip stand beside each other, so that no row is much shorter than the others."""
        rows = -(-len(self.strip) // MOST_BESIDE)
        return -(-len(self.strip) // rows) if rows else 0

    @property
    def bar_table(self) -> BarTable | None:
        """Its distribution against the target."""
        return bar_table(self.bars)

    @property
    def trend_chart(self) -> TrendChart | None:
        """Its distribution over time."""
        return trend_chart(self.trend, [bar.label for bar in self.bars])


@dataclass(frozen=True)
class Ranked:
    """A line of the overview; `length` is its rank as a share of the highest."""

    card: Card
    rank: str
    length: str


@dataclass(frozen=True)
class Ranking:
    """The overview: all ranked cards, the highest first."""

    title: str
    lines: Sequence[Ranked]


@dataclass(frozen=True)
class Verdict:
    """A badge and how many cards carry it."""

    badge: Badge
    number: int


@dataclass(frozen=True)
class StepRow:
    """A line of the table of steps."""

    label: str
    step: str
    state: State
    part: ReportPart | None
    finished: bool
    waits: bool
    numbers: Mapping[str, float | None]


@dataclass
class Parts:
    """The parts of a run's steps, and what was wrong with them, as (step, sentence)."""

    found: dict[str, ReportPart] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)


def read_parts(run: Path, labels: Iterable[str]) -> Parts:
    """Every part that can be read, in the order of the steps."""
    parts = Parts()
    for label in labels:
        try:
            path = files.under(run, f"{label}/{PART}", "a step's label in run.json")
            if not path.is_file():
                continue
            part, faults = _parse_part(files.read_json(path))
        except (UserError, OSError) as error:
            parts.warnings.append((label, f"its report can't be shown: {error}"))
            continue
        parts.found[label] = part
        parts.warnings += [(label, text) for text in (*faults, *part.warnings)]
    return parts


def join(run: Path, parts: Mapping[str, ReportPart]) -> list[Card]:
    """One card per key: the destructive ones first, then those of the highest rank, else as the steps named them.

    Strips stand as the steps named them, for they are compared with their neighbours, but below what failed.
    """
    cards: dict[str, Card] = {}
    pictures = Pictures(run)
    for label, part in parts.items():
        for entry in part.entries:
            _add(cards.setdefault(entry.key, Card(entry.key)), label, entry, pictures)
    ordered = sorted(cards.values(), key=lambda card: (_weight(card), -(card.rank or 0.0)))
    for index, card in enumerate(ordered):
        card.anchor = f"card-{index}"
    return ordered


def _weight(card: Card) -> int:
    return TONES.index("neutral" if card.strip else tone(card.badge))


def ranking(cards: Iterable[Card], parts: Mapping[str, ReportPart]) -> Ranking | None:
    """The overview that the last step with a title for one asks for; None where no card has a rank."""
    title = next((part.ranking_title for part in reversed(list(parts.values())) if part.ranking_title), "")
    ranked = sorted(((card.rank, card) for card in cards if card.rank is not None), key=lambda pair: -pair[0])
    if not title or not ranked:
        return None
    return Ranking(title, [_ranked(card, rank, ranked[0][0]) for rank, card in ranked])


def _ranked(card: Card, rank: float, highest: float) -> Ranked:
    return Ranked(card, f"{rank:,.4g}" if rank % 1 else f"{rank:,.0f}", percent(rank, highest))


def verdicts(cards: Iterable[Card]) -> list[Verdict]:
    """The kinds of badges with their numbers, the destructive ones first."""
    badges: dict[str, Badge] = {}
    numbers: dict[str, int] = {}
    for card in cards:
        badges.setdefault(card.badge.kind, card.badge)
        numbers[card.badge.kind] = numbers.get(card.badge.kind, 0) + 1
    found = [Verdict(badge, numbers[kind]) for kind, badge in badges.items()]
    return sorted(found, key=lambda verdict: (TONES.index(tone(verdict.badge)), -verdict.number))


def step_rows(about: Mapping[str, Any], parts: Mapping[str, ReportPart]) -> list[StepRow]:
    """The steps in their order, those that have not run yet as well."""
    rows = []
    for label, found in mapping(about.get("steps")).items():
        step = mapping(found)
        word = step.get("state")
        numbers = {name: number(step[name]) if name in step else None for name in STEP_NUMBERS}
        known = state_of(step, STEP_STATES)
        rows.append(
            StepRow(label, text(step.get("step")), known, parts.get(label), word == "done", word == "left", numbers)
        )
    return rows


def state_of(about: Mapping[str, Any], known: Mapping[str, State]) -> State:
    """The state in words; one that this version does not know is shown as it is."""
    word = text(about.get("state"))
    return known.get(word, State(word or "state unknown", "?", "neutral"))


def tone(badge: Badge) -> str:
    """The badge's tone, or "neutral" for one that the page has no colour for."""
    return badge.tone if badge.tone in TONES else "neutral"


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: object) -> list[Any]:
    """The value if it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """The value as text; nothing for None."""
    return "" if value is None else str(value)


def number(value: object) -> float:
    """The value if it is a finite number, else 0."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON as dotted names and texts, for a table."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from flat(inner, f"{name}[{index}]")
    elif value is not None:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else text(value)


def read_text(path: Path) -> str:
    """A text file as far as it can be shown; empty where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST_TEXT)
    except OSError:
        return ""


def seconds_of(about: Mapping[str, Any]) -> float:
    """Seconds worked, the pauses between sessions left out."""
    sessions = [mapping(session) for session in listing(about.get("sessions"))]
    spans = [(moment(session.get("started_at")), moment(session.get("ended_at"))) for session in sessions]
    known = [(end - start).total_seconds() for start, end in spans if start and end]
    if known and len(known) == len(spans):
        return max(sum(known), 0.0)
    # A session that was killed has no end; what its steps wrote down is then all that is known.
    return sum(number(mapping(step).get("seconds")) for step in mapping(about.get("steps")).values())


def moment(value: object) -> datetime | None:
    """An ISO time in UTC, or None."""
    try:
        found = datetime.fromisoformat(text(value))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _parse_part(data: object) -> tuple[ReportPart, list[str]]:
    """The part, and a sentence if entries had to be left out; one broken entry does not take the others with it."""
    if not isinstance(data, dict):
        raise UserError(f"{PART} is not a JSON object")
    listed = data.get("entries", [])
    if not isinstance(listed, list):
        raise UserError(f"{PART}: entries is not a list")
    try:
        part = _PART.validate_python({**data, "entries": []})
    except ValidationError as error:
        raise UserError(f"{PART}: {_first_fault(error)}") from error
    entries, faults = _parse_entries(listed)
    whole = replace(part, entries=entries)
    if not faults:
        return whole, []
    return whole, [f"{len(faults)} of {len(listed)} entries can't be shown; the first: {faults[0]}"]


def _parse_entries(listed: Sequence[object]) -> tuple[list[Entry], list[str]]:
    entries, faults = [], []
    for index, data in enumerate(listed):
        try:
            entries.append(_ENTRY.validate_python(data))
        except ValidationError as error:
            faults.append(f"entries[{index}]: {_first_fault(error)}")
    return entries, faults


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"


def _add(card: Card, label: str, entry: Entry, pictures: Pictures) -> None:
    card.title = card.title or entry.title or entry.key
    card.subtitle = card.subtitle or entry.subtitle
    card.badge = entry.badge or card.badge
    for shown in entry.pictures:
        _show(card, pictures.picture(label, card.title, shown))
    card.strip = [pictures.still(label, card.title, frame) for frame in entry.strip] or card.strip
    card.bars = entry.bars or card.bars
    card.trend = entry.trend or card.trend
    if entry.rank is not None:
        card.rank, card.rank_text = number(entry.rank), entry.rank_text
    if entry.notes or entry.facts:
        card.shares.append(Share(label, entry.notes, entry.facts))


def _show(card: Card, picture: Picture) -> None:
    """Add a picture, unless the card has it: then once is enough, but a later step may mark what an earlier one showed."""
    key = (picture.url or picture.reason, picture.caption)
    known = card.shown.get(key)
    if known is None or (picture.mark and not known.mark):
        card.shown[key] = picture


_PART = TypeAdapter(ReportPart)
_ENTRY = TypeAdapter(Entry)
