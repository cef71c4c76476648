"""Means with intervals, and differences between arms with p values, where frames of one story are not independent.

The unit of observation is one story drawn with one seed (of one character). Stories are what is resampled and tested; seeds only
make each story's value steadier. Differences are paired: the same story and seed in both arms.

Intervals are of a cluster bootstrap: whole stories are drawn with replacement, and the ends are percentiles that go as much further
out as the number of stories asks for (`bootstrap.tail`). They were chosen by simulation (tests/bench/statistics.py: 5,000 studies
each with normal, heavy-tailed, unequal and skewed differences, 3 seeds a story). Studies in which a 95 % interval held the truth:

    stories   these      percentile   BCa        studentised   Student's t
    4         87-88 %    79-80 %      78-80 %    94-95 %       95-97 %
    7         94 %       86-88 %      84-87 %    94-95 %       95-96 %
    20        94-95 %    92-93 %      88-93 %    92-95 %       94-96 %

The studentised bootstrap makes intervals a thousand times too wide where one story is far from the others; Student's t leaves the
range that a cosine or a share can have.

P values are of Wilcoxon's signed-rank test on the stories' mean differences. It asks whether they lie symmetrically about 0.
Where nothing was true, 4.5 to 5.0 % of those studies came out significant at 5 %, and of families of three comparisons under Holm
4.2 to 5.0 % did in any; where differences were skewed, up to 5.4 % and 6.5 %.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from steps.measures.bootstrap import DRAWS, NO_INTERVAL, interval, means_of_clusters
from steps.measures.power import ALPHA, LEAST_STORIES, MOST_STORIES, smallest_effect, smallest_p, stories_needed

MOST_EXACT = 50
"""Stories of which the exact distribution is counted out."""
NARROW = 5
"""With fewer clusters even their whole range holds the truth too seldom."""
# Differences that are alike but for the last digits are ties, and one of 1e-17 is none.
_DECIMALS = 12


@dataclass(frozen=True)
class Unit:
    """One observation.

    Attributes:
        cluster: What is drawn whole: the story, with the character where there are several.
        pair: What it is compared with in other arms: cluster and seed.
        arm: How it was made.
        values: By metric; None where it can't be had.
    """

    cluster: str
    pair: str
    arm: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Estimate:
    """The mean of one arm's units.

    Attributes:
        mean: None without any value.
        low: Where its 95 % interval begins; None with fewer than two clusters.
        high: Where it ends.
        n: Units that have a value.
        clusters: Stories that these are of.
        left_out: Units without a value.
        note: A sentence where the interval can't be trusted; or empty.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    left_out: int = 0
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Arm `a` less arm `b`.

    Attributes:
        a: An arm.
        b: The arm that it is held against.
        metric: Of what.
        difference: Mean of the paired differences a - b; None without any pair.
        low: Where its 95 % interval begins; None with fewer than two stories. Not widened for several comparisons.
        high: Where it ends.
        p: Two-sided, Wilcoxon's signed-rank test on the stories' mean differences; None where no story differs.
        p_holm: Adjusted for all comparisons made together (Holm 1979).
        pairs: Units with a partner.
        clusters: Stories that these are of.
        dz: Cohen's dz of the stories' mean differences: their mean by their standard deviation; None where they are all alike.
        rank_biserial: (sum of ranks for a - sum of ranks for b) / their sum, -1 to 1 (Kerby 2014); None where no story differs.
        significant: Whether p_holm is below 5 %; None where that may not be said.
        note: Why it may not be said, and how to come by it; or empty.
        left_out: Pairs and single units that a value is missing for, on either side.
    """

    a: str
    b: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    pairs: int
    clusters: int
    dz: float | None
    rank_biserial: float | None
    significant: bool | None
    note: str
    left_out: int = 0


@dataclass(frozen=True)
class GainPoint:
    """A paired difference at one setting (a LoRA's strength)."""

    setting: float
    difference: float | None
    low: float | None
    high: float | None
    pairs: int
    clusters: int


class _Clusters(NamedTuple):
    """Values of units by cluster, in the order of the clusters' names: sums and sizes, (clusters,)."""

    sums: Any
    sizes: Any

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def means(self) -> Any:
        return np.round(self.sums / self.sizes, _DECIMALS)


def estimate(units: Sequence[Unit], metric: str, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The mean of one arm's units with its interval; the same units give the same numbers, in whatever order.

    Raises:
        ValueError: Two units of one pair, or units of several arms.
    """
    found = _values(units, metric)
    known = {key: value for key, value in found.items() if value is not None}
    left_out = len(found) - len(known)
    if not known:
        return Estimate(None, None, None, 0, 0, left_out)
    clusters = _clusters(known)
    low, high = _interval(clusters, draws, seed)
    number = len(clusters.sums)
    return Estimate(clusters.mean, low, high, len(known), number, left_out, _narrow(number))


def compare(
    first: Sequence[Unit], second: Sequence[Unit], metric: str, *, draws: int = DRAWS, seed: int = 0
) -> Comparison:
    """Hold one arm against another; the only comparison of its family.

    Args:
        first: Units of arm `a`.
        second: Units of arm `b`.
        metric: Of what.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        ValueError: No units, two units of one pair in one arm, units of several arms, or a pair in two clusters.
    """
    if not (first and second):
        raise ValueError("a comparison needs units of both arms")
    return _judged([_compare(first, second, (first[0].arm, second[0].arm, metric), draws, seed)])[0]


def compare_all(
    units: Sequence[Unit], comparisons: Sequence[tuple[str, str, str]], *, draws: int = DRAWS, seed: int = 0
) -> tuple[Comparison, ...]:
    """Make all comparisons (a, b, metric) of one family, their p values adjusted together; raises as `compare`.

    An arm without units gives a comparison without pairs.
    """
    arms: defaultdict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        arms[unit.arm].append(unit)
    return _judged([_compare(arms[each[0]], arms[each[1]], each, draws, seed) for each in comparisons])


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """P values adjusted so that the chance of any false finding in the family is kept (Holm 1979); None stays and counts for nothing."""
    known = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted


def gain_curve(
    settings: Mapping[float, Sequence[Unit]], a: str, b: str, metric: str, *, draws: int = DRAWS, seed: int = 0
) -> tuple[GainPoint, ...]:
    """The paired difference a - b at each setting, in the order of the settings; it tests nothing."""
    points = []
    for setting, units in sorted(settings.items()):
        found = compare_all(units, [(a, b, metric)], draws=draws, seed=seed)[0]
        points.append(GainPoint(setting, found.difference, found.low, found.high, found.pairs, found.clusters))
    return tuple(points)


def power_note(comparison: Comparison) -> str:
    """What this number of stories can show, and how many the effect that was seen would need, in sentences."""
    can = _detectable(comparison.clusters)
    if comparison.dz is None:
        return can
    needed = stories_needed(comparison.dz)
    number = f"more than {MOST_STORIES:,}" if needed is None else f"about {needed}"
    return f"{can} The effect that was seen, dz = {comparison.dz:.2f}, would need {number} stories."


def _detectable(stories: int) -> str:
    smallest = smallest_effect(stories)
    if smallest is None or stories < LEAST_STORIES:
        return f"{_stories(stories)} can show no effect: draw {LEAST_STORIES} or more."
    return (
        f"With {stories} stories an effect of dz = {smallest:.2f} is found with 80 % power at 5 % "
        "(before Holm's correction; noncentral t, Wilcoxon's efficiency taken as 0.955)."
    )


def _compare(
    first: Sequence[Unit], second: Sequence[Unit], named: tuple[str, str, str], draws: int, seed: int
) -> Comparison:
    """Without Holm's correction and a verdict."""
    a, b, metric = named
    ours, theirs = _values(first, metric), _values(second, metric)
    known = _differences(ours, theirs)
    left_out = len(ours.keys() | theirs.keys()) - len(known)
    if not known:
        note = "no story was drawn with the same seed, and has a value, in both arms"
        return Comparison(a, b, metric, None, None, None, None, None, 0, 0, None, None, None, note, left_out)
    clusters = _clusters(known)
    low, high = _interval(clusters, draws, seed)
    p, rank_biserial = signed_ranks(clusters.means)
    return Comparison(
        a=a,
        b=b,
        metric=metric,
        difference=clusters.mean,
        low=low,
        high=high,
        p=p,
        p_holm=None,
        pairs=len(known),
        clusters=len(clusters.sums),
        dz=_dz(clusters.means),
        rank_biserial=rank_biserial,
        significant=None,
        note="",
        left_out=left_out,
    )


def _judged(family: Sequence[Comparison]) -> tuple[Comparison, ...]:
    adjusted = holm([each.p for each in family])
    return tuple(_verdict(replace(each, p_holm=p)) for each, p in zip(family, adjusted, strict=True))


def _verdict(comparison: Comparison) -> Comparison:
    if not comparison.pairs:
        return comparison
    if comparison.clusters < LEAST_STORIES:
        return replace(comparison, note=_too_few(comparison.clusters))
    if comparison.p_holm is None:
        return replace(
            comparison, significant=False, note="no story differs between the arms: there is nothing to test"
        )
    return replace(comparison, significant=comparison.p_holm < ALPHA)


def _too_few(stories: int) -> str:
    more = LEAST_STORIES - stories
    return (
        f"{_stories(stories)} {'is' if stories == 1 else 'are'} too few to call anything significant (the smallest two-sided exact "
        f"Wilcoxon p is {smallest_p(stories):.3g}): {more} more {'is' if more == 1 else 'are'} needed"
        + ("; " + narrow if (narrow := _narrow(stories)) else "")
    )


def _stories(number: int) -> str:
    return f"{number} {'story' if number == 1 else 'stories'}"


def _narrow(clusters: int) -> str:
    if clusters == 1:
        return "one story gives no interval"
    if clusters >= NARROW:
        return ""
    return f"an interval from {clusters} stories holds the truth in at most {1 - smallest_p(clusters):.0%} of studies, not 95 %"


def signed_ranks(differences: Any) -> tuple[float | None, float | None]:
    """Wilcoxon's signed-rank test of values (stories,) against 0: its two-sided p, and the matched-pairs rank-biserial correlation.

    Zeros are left out (Wilcoxon 1945). Up to 50 values the p is exact, with ties too (scipy's is only without, or up to 13 values);
    beyond, it is the normal approximation with corrections for ties and continuity. Both are None where nothing is left.
    """
    from scipy.stats import rankdata, wilcoxon

    moved = differences[differences != 0]
    if not len(moved):
        return None, None
    ranks = rankdata(np.abs(moved))
    gained, whole = float(ranks[moved > 0].sum()), float(ranks.sum())
    effect = (2 * gained - whole) / whole
    if len(moved) <= MOST_EXACT:
        return _exact(ranks, min(gained, whole - gained)), effect
    return float(wilcoxon(moved, method="asymptotic", correction=True).pvalue), effect


def _exact(ranks: Any, smaller: float) -> float:
    """The chance that, with each sign as likely as the other, either sum of ranks is as small as this."""
    # Ranks that are tied end in .5: doubled, they are whole.
    doubled = np.rint(2 * ranks).astype(int)
    chances = np.zeros(doubled.sum() + 1)
    chances[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chances)
        moved[rank:] = chances[:-rank]
        chances = (chances + moved) / 2
    return min(1.0, 2 * float(chances[: round(2 * smaller) + 1].sum()))


def _dz(differences: Any) -> float | None:
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    return float(np.mean(differences)) / spread if spread > 10.0**-_DECIMALS else None


def _interval(clusters: _Clusters, draws: int, seed: int) -> tuple[float | None, float | None]:
    number = len(clusters.sums)
    if number < 2:
        return NO_INTERVAL
    return interval(means_of_clusters(clusters.sums, clusters.sizes, draws, seed), number)


def _differences(
    ours: Mapping[tuple[str, str], float | None], theirs: Mapping[tuple[str, str], float | None]
) -> dict[tuple[str, str], float]:
    """By pair, where both sides have a value."""
    found = {}
    for key, value in ours.items():
        other = theirs.get(key)
        if value is not None and other is not None:
            found[key] = value - other
    if {pair for _, pair in ours} & {pair for _, pair in theirs} != {pair for _, pair in ours.keys() & theirs.keys()}:
        raise ValueError("a pair is in different clusters in the two arms")
    return found


def _values(units: Sequence[Unit], metric: str) -> dict[tuple[str, str], float | None]:
    """By (cluster, pair), in that order, so that the order of the units changes no sum."""
    found: dict[tuple[str, str], float | None] = {}
    for unit in units:
        if unit.arm != units[0].arm:
            raise ValueError(f"units of one arm are wanted, and these are of {units[0].arm!r} and {unit.arm!r}")
        key = (unit.cluster, unit.pair)
        if key in found:
            raise ValueError(f"arm {unit.arm!r} has two units for {unit.pair!r}")
        value = unit.values.get(metric)
        if value is not None and not math.isfinite(value):
            raise ValueError(
                f"{metric} of {unit.pair!r} in arm {unit.arm!r} is {value}: give a number, or None where there is none"
            )
        found[key] = value
    return dict(sorted(found.items()))


def _clusters(values: Mapping[tuple[str, str], float]) -> _Clusters:
    """From (cluster, pair) in their order."""
    grouped: defaultdict[str, list[float]] = defaultdict(list)
    for (cluster, _), value in values.items():
        grouped[cluster].append(value)
    sums = np.asarray([sum(each) for each in grouped.values()], dtype=np.float64)
    return _Clusters(sums, np.asarray([len(each) for each in grouped.values()], dtype=np.float64))
