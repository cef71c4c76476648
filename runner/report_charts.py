"""Geometry of the report's drawings: a distribution against its target, the same over time, and an overview by rank.

Lengths are percentages of the drawing, so that it fits any width; numbers are those that a person may have edited, so any will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.report_parts import Bar, Trend

LARGEST = 10**9
NEWEST = 60
TINTS = 6
"""Fills of classes that can be told apart; the seventh class has that of the first."""
_HEIGHT = 100


@dataclass(frozen=True)
class BarRow:
    """One class: what the table says, and what the drawing beside it shows.

    Attributes:
        text: The drawing in words.
        lengths: Of what is there before and after, from the left, as ("before", "65%").
        aim: Where the target's line stands.
        band: Where the tolerated counts begin and how far they reach; None where only the target will do.
    """

    label: str
    before: int
    after: int | None
    target: int
    tolerance: str
    text: str
    lengths: Sequence[tuple[str, str]]
    aim: str
    band: tuple[str, str] | None


@dataclass(frozen=True)
class BarTable:
    """All classes of a distribution; `planned` says whether there is an after."""

    rows: Sequence[BarRow]
    planned: bool
    before: int
    after: int
    target: int


@dataclass(frozen=True)
class Layer:
    """One class over time: the outline of its columns, and its numbers."""

    label: str
    tint: int
    path: str
    counts: Sequence[int]


@dataclass(frozen=True)
class TrendChart:
    """Columns of stacked counts, one a time, in a drawing `width` wide and 100 high.

    Attributes:
        left_out: Older times that are not drawn.
        totals: The columns' heights in things.
    """

    times: Sequence[str]
    left_out: int
    layers: Sequence[Layer]
    totals: Sequence[int]
    width: int
    unit: str


def bar_table(bars: Sequence[Bar]) -> BarTable | None:
    """The bars on a scale of their own, the same for all of them; None where there are none."""
    if not bars:
        return None
    scale = max(1, *(max(map(_count, (bar.whole, bar.before, bar.target, bar.after))) for bar in bars))
    return BarTable(
        rows=[_bar_row(bar, scale) for bar in bars],
        planned=any(bar.after is not None for bar in bars),
        before=sum(_count(bar.before) for bar in bars),
        after=sum(_count(bar.before if bar.after is None else bar.after) for bar in bars),
        target=sum(_count(bar.target) for bar in bars),
    )


def trend_chart(trend: Trend | None, order: Sequence[str] = ()) -> TrendChart | None:
    """The trend's newest times as stacked columns; None where there is nothing to draw.

    Columns stand at equal distances whatever the time between them: a run finds one distribution and leaves another seconds later,
    and then nothing may happen for months.

    Args:
        trend: What is known.
        order: Classes from the bottom up, so that each has the same fill on all cards; others follow.
    """
    if trend is None or not trend.series:
        return None
    known = min(len(trend.times), *(len(counts) for counts in trend.series.values()))
    first = max(known - NEWEST, 0)
    labels = dict.fromkeys([*(label for label in order if label in trend.series), *trend.series])
    series = {label: [_count(count) for count in trend.series[label][first:known]] for label in labels}
    totals = [sum(column) for column in zip(*series.values(), strict=True)]
    if not any(totals):
        return None
    layers = list(_layers(series, totals))
    return TrendChart(trend.times[first:known], first, layers, totals, len(totals), trend.unit)


def percent(part: float, whole: float) -> str:
    """A share of a length as SVG takes it, within 0% and 100%."""
    return f"{min(max(100 * part / whole, 0.0), 100.0):.4g}%" if whole > 0 else "0%"


def _bar_row(bar: Bar, scale: int) -> BarRow:
    before, target = _count(bar.before), _count(bar.target)
    after = None if bar.after is None else _count(bar.after)
    there = [("before", before)] if after is None else [("before", before), ("after", after)]
    tolerance = min(max(bar.tolerance, 0.0), float(LARGEST))
    low, high = max(target - tolerance, 0.0), min(target + tolerance, float(scale))
    return BarRow(
        label=bar.label,
        before=before,
        after=after,
        target=target,
        tolerance=f"{tolerance:.3g}" if tolerance else "",
        text=bar.text or ", ".join(f"{count:,} {name}" for name, count in [*there, ("wanted", target)]),
        lengths=[(name, percent(count, scale)) for name, count in there],
        aim=percent(target, scale),
        band=(percent(low, scale), percent(high - low, scale)) if tolerance else None,
    )


def _layers(series: dict[str, list[int]], totals: Sequence[int]) -> Iterator[Layer]:
    """From the bottom up; where columns are few there is room for a gap between them."""
    tallest = max(totals)
    gap = 0.2 if len(totals) <= NEWEST // 3 else 0.0
    below = [0] * len(totals)
    for index, (label, counts) in enumerate(series.items()):
        columns = []
        for at, count in enumerate(counts):
            below[at] += count
            top, height = _HEIGHT * (1 - below[at] / tallest), _HEIGHT * count / tallest
            if count:
                columns.append(f"M{at + gap / 2:g} {top:.4g}h{1 - gap:g}v{height:.4g}h{gap - 1:g}z")
        yield Layer(label, index % TINTS, "".join(columns), counts)


def _count(number: int | None) -> int:
    return min(max(number or 0, 0), LARGEST)
