"""What steps tell the report, in words that know nothing of what a step is about.

A step writes one `report.json` in its folder with `write_part`; the report joins the parts of all steps, and entries with the same
key (one actor, judged by one step and changed by another) become one card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runner import files
from runner.errors import UserError

PART = "report.json"
GOES, COMES = "goes", "comes"


@dataclass(frozen=True)
class Badge:
    """A verdict at a glance: symbol, word and colour, so that none of them is needed alone.

    Attributes:
        kind: The machine word, filtered by ("recreate_blurry").
        word: What a person reads ("recreate: blurry").
        symbol: One character.
        tone: "good", "change", "destructive", "warning", "error" or "neutral".
    """

    kind: str
    word: str
    symbol: str
    tone: str


@dataclass(frozen=True)
class Shown:
    """An image of a card: a file below the run's folder, and what it shows ("before").

    Attributes:
        file: Its path from the run's folder; empty where there is nothing to show but the words.
        caption: What stands below it.
        alt: The picture in words.
        mark: `GOES` for one that is struck out, `COMES` for a new one; else it is one of the card's own.
        reason: Why it is marked. Shown by pointing at it or tabbing to it, read out and printed.
    """

    file: str
    caption: str
    alt: str
    mark: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Frame:
    """One picture of a strip: a sequence that is read in order, large enough to look at.

    Attributes:
        file: Its path from the run's folder; empty where there is nothing to show but the words.
        caption: What names it ("1").
        text: What stands below it.
        badge: Its verdict, if there is one.
        facts: Name and value pairs, shown on demand.
        tries: Pictures that were made for it and not taken, with what is to be said of each as the caption; shown on demand.
        alt: The picture in words; by default the text.
    """

    file: str
    caption: str
    text: str = ""
    badge: Badge | None = None
    facts: Sequence[tuple[str, str]] = ()
    tries: Sequence[Shown] = ()
    alt: str = ""


@dataclass(frozen=True)
class Bar:
    """One class of a distribution against its target, in whole things such as images.

    Attributes:
        label: The class.
        before: How many there are.
        target: How many there should be.
        after: How many there will be, or are by now; None where nobody has planned that.
        tolerance: How many more or fewer are all right; drawn as a band.
        whole: What the full length stands for; longer where a number of the same entry needs it.
        text: The bar in words, for those who can't see it; by default its numbers.
    """

    label: str
    before: int
    target: int
    after: int | None = None
    tolerance: float = 0.0
    whole: int = 0
    text: str = ""


@dataclass(frozen=True)
class Trend:
    """A distribution over time.

    Attributes:
        times: ISO times, oldest first.
        series: By class, how many there were at each of the times.
        unit: What is counted ("images").
    """

    times: Sequence[str]
    series: Mapping[str, Sequence[int]]
    unit: str


@dataclass(frozen=True)
class Entry:
    """One card, or one step's share of it.

    Attributes:
        key: The same for all steps that speak of the same thing.
        title: Its name.
        subtitle: A line below, for example a description.
        badge: The verdict; a later step's replaces an earlier one's unless that one is None.
        pictures: Images, in order.
        notes: Sentences: reasons, what was done.
        facts: Name and value pairs.
        strip: A sequence of pictures; such a card is as wide as the page. A later step's replaces an earlier one's.
        bars: A distribution against its target; a later step's replaces an earlier one's, as do the next three.
        trend: That distribution over time.
        rank: Where it stands in the overview of a part that has a `ranking_title`, the highest first; None leaves it out.
        rank_text: What makes its rank, in words.
    """

    key: str
    title: str
    subtitle: str = ""
    badge: Badge | None = None
    pictures: Sequence[Shown] = ()
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    strip: Sequence[Frame] = ()
    bars: Sequence[Bar] = ()
    trend: Trend | None = None
    rank: float | None = None
    rank_text: str = ""


@dataclass(frozen=True)
class ReportPart:
    """What one step has to say.

    Attributes:
        headline: One sentence with the outcome.
        counts: Name and number, most important first.
        entries: Cards.
        warnings: What a person should know before trusting the rest.
        ranking_title: Heads an overview of all ranked entries ("Actors by distance from their target"); empty for none.
    """

    headline: str
    counts: Sequence[tuple[str, int]] = ()
    entries: Sequence[Entry] = field(default_factory=list)
    warnings: Sequence[str] = ()
    ranking_title: str = ""


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 actor", "2 actors"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def headline(out: Path) -> str | None:
    """The sentence that a step left in its folder, if it did."""
    try:
        found = files.read_json(out / PART)
    except UserError:
        return None
    return str(found["headline"]) if isinstance(found, dict) and found.get("headline") else None


def write_part(out: Path, part: ReportPart) -> None:
    """Leave a step's part in its folder."""
    files.write_json(out / PART, asdict(part))
