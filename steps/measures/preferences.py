"""Which arm people prefer, from pairs that they saw side by side (Bradley and Terry 1952)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.measures.bootstrap import NO_INTERVAL, Interval, interval, weights
from steps.measures.ratings import Steadiness, repeated, steady

PRIOR = 0.5
"""Wins each way that are added to each pair of arms that was compared, so that an arm that always won has a finite strength."""
DRAWS = 1000
_MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class Choice:
    """One pair.

    Attributes:
        rater: Who.
        item: What was shown (a story's frame, drawn with one seed).
        left: An arm.
        right: Another.
        winner: One of them; None for no preference.
        repeat: Whether the rater had been asked before, with sides swapped or not.
    """

    rater: str
    item: str
    left: str
    right: str
    winner: str | None
    repeat: bool = False

    def __post_init__(self) -> None:
        if self.left == self.right or self.winner not in (self.left, self.right, None):
            raise ValueError(
                f"{self.rater} chose {self.winner!r} of {self.left!r} and {self.right!r}: give one, or None"
            )

    @property
    def question(self) -> tuple[str, frozenset[str]]:
        """The same whichever side is which."""
        return self.item, frozenset((self.left, self.right))


@dataclass(frozen=True)
class Strength:
    """One arm's.

    Attributes:
        arm: Whose.
        strength: In logits; the mean of all arms is 0.
        low: Where its 95 % interval begins, by drawing raters; None with fewer than two.
        high: Where it ends.
        preferred: The chance to be preferred over an arm of mean strength.
        wins: How often it was preferred.
        losses: How often the other one was.
        ties: How often neither.
    """

    arm: str
    strength: float | None
    low: float | None
    high: float | None
    preferred: float | None
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Preferences:
    """All arms, by name; the strengths are None where a note says why."""

    arms: tuple[Strength, ...]
    choices: int
    raters: int
    note: str = ""


def bradley_terry(choices: Iterable[Choice], *, draws: int = DRAWS, seed: int = 0) -> Preferences:
    """How strong each arm is: the logit of the chance that a is preferred over b is the difference of their strengths.

    No preference counts as half a win for either. Half a win each way is added to each pair of arms that was compared (as the
    empirical logit has it, Haldane 1956), so that strengths are a little nearer to one another than the choices alone say. Intervals
    are of a bootstrap that draws raters, percentiles as far out as their number asks for (`bootstrap.tail`); with 5 raters they held
    the truth in about 91 % of simulated studies, with 20 in about 95 %.

    Returns:
        Strengths of None, and a note, where some arms were never compared with the others, not even by way of a third.

    Raises:
        ValueError: A rater chose twice of one pair, and neither is marked as a repeat.
    """
    firsts = _firsts(choices)
    arms = sorted({arm for each in firsts for arm in (each.left, each.right)})
    raters = sorted({each.rater for each in firsts})
    wins = _wins(firsts, arms, raters)
    compared = (wins.sum(axis=0) + wins.sum(axis=0).T) > 0
    if not arms or _groups(compared) > 1:
        told = (
            "no pair was judged" if not arms else "some arms were never compared with the others, nor by way of a third"
        )
        entries = tuple(_strength(arm, firsts, None, NO_INTERVAL) for arm in arms)
        return Preferences(entries, len(firsts), len(raters), f"{told}: nothing can be said of how strong they are")
    prior = PRIOR * compared
    strengths = _fit(wins.sum(axis=0) + prior)
    drawn = _drawn(wins, prior, draws, seed)
    entries = tuple(
        _strength(arm, firsts, float(strengths[index]), interval(drawn[:, index], len(raters)))
        for index, arm in enumerate(arms)
    )
    return Preferences(entries, len(firsts), len(raters), _one_sided(entries))


def choice_steadiness(choices: Iterable[Choice]) -> Steadiness:
    """How often a repeated pair was decided as before."""
    pairs = repeated(choices, lambda each: each.question)
    return steady([before.winner == again.winner for before, again in pairs])


def _firsts(choices: Iterable[Choice]) -> list[Choice]:
    firsts = sorted((each for each in choices if not each.repeat), key=lambda each: (each.rater, each.item, each.left))
    seen = set()
    for each in firsts:
        name = (each.rater, each.question)
        if name in seen:
            raise ValueError(
                f"{each.rater} chose twice of {each.left} and {each.right} ({each.item}): mark the second as a repeat"
            )
        seen.add(name)
    return firsts


def _wins(choices: Sequence[Choice], arms: Sequence[str], raters: Sequence[str]) -> Any:
    """How often each rater preferred one arm over another (raters, arms, arms); no preference is half a win for either."""
    wins = np.zeros((len(raters), len(arms), len(arms)))
    for each in choices:
        rater, left, right = raters.index(each.rater), arms.index(each.left), arms.index(each.right)
        for_left = 0.5 if each.winner is None else float(each.winner == each.left)
        wins[rater, left, right] += for_left
        wins[rater, right, left] += 1 - for_left
    return wins


def _groups(compared: Any) -> int:
    """How many groups of arms there are that were not compared with one another."""
    from scipy.sparse.csgraph import connected_components

    return int(connected_components(compared, directed=False, return_labels=False))


def _fit(wins: Any) -> Any:
    """The strengths, centred, from how often each arm won over each (arms, arms)."""
    import choix

    strengths = choix.ilsr_pairwise_dense(wins, max_iter=_MOST_ROUNDS)
    return strengths - strengths.mean()


def _drawn(wins: Any, prior: Any, draws: int, seed: int) -> Any:
    """Strengths of drawn raters (draws, arms). Few raters are often drawn alike, and fitted once."""
    alike, back = np.unique(weights(len(wins), draws, seed), axis=0, return_inverse=True)
    fitted = np.asarray([_fit(np.tensordot(times, wins, axes=1) + prior) for times in alike])
    return fitted[back.ravel()]


def _strength(arm: str, choices: Sequence[Choice], strength: float | None, ends: Interval) -> Strength:
    from scipy.special import expit

    own = [each for each in choices if arm in (each.left, each.right)]
    wins = sum(each.winner == arm for each in own)
    ties = sum(each.winner is None for each in own)
    preferred = None if strength is None else float(expit(strength))
    return Strength(arm, strength, ends.low, ends.high, preferred, wins, len(own) - wins - ties, ties)


def _one_sided(arms: Sequence[Strength]) -> str:
    extreme = [each.arm for each in arms if each.ties == 0 and 0 in (each.wins, each.losses)]
    if not extreme:
        return ""
    return f"{', '.join(extreme)} won or lost every time: only the half win that is added keeps the strength finite"
