"""What people said, held against published data, other implementations and counting by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import choix
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from steps.measures.people import Answers, people
from steps.measures.preferences import PRIOR, Choice, bradley_terry, choice_steadiness
from steps.measures.ratings import (
    Check,
    Rating,
    Verdict,
    agreement,
    failed_raters,
    few_raters,
    mean_opinion,
    recognition,
    steadiness,
)

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C: four observers, twelve units; ordinal alpha is 0.815.
PUBLISHED = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]


def published() -> list[Rating]:
    return [
        Rating(f"r{rater}", f"i{item:02}", "a", int(value))
        for rater, row in enumerate(PUBLISHED)
        for item, value in enumerate(row.split())
        if value != "."
    ]


def alpha_by_hand(ratings: Sequence[Rating]) -> float:
    """Ordinal alpha from its definition: coincidences of values, and the squared number of ranks between them."""
    units: dict[str, list[int]] = {}
    for each in ratings:
        units.setdefault(each.item, []).append(each.value)
    coincidences = np.zeros((5, 5))
    for values in units.values():
        for first, one in enumerate(values):
            for second, other in enumerate(values):
                if first != second:
                    coincidences[one - 1, other - 1] += 1 / (len(values) - 1)
    totals = coincidences.sum(axis=0)
    seen = expected = 0.0
    for low in range(5):
        for high in range(low + 1, 5):
            distance = (totals[low : high + 1].sum() - (totals[low] + totals[high]) / 2) ** 2
            seen += coincidences[low, high] * distance
            expected += totals[low] * totals[high] * distance
    return float(1 - (totals.sum() - 1) * seen / expected)


def test_agreement_is_the_published_one() -> None:
    found = agreement(published())
    assert found.alpha == pytest.approx(0.815, abs=5e-4)
    assert found.alpha == pytest.approx(alpha_by_hand(published()))
    # One unit was rated by a single observer.
    assert (found.raters, found.items, found.note) == (4, 11, "")
    assert found.low is not None and found.high is not None and found.low < 0.815 < found.high <= 1


RATINGS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 5)),
    min_size=8,
    max_size=24,
    unique_by=lambda r: r[:2],
)


@settings(deadline=None, max_examples=40)
@given(RATINGS)
def test_agreement_is_that_counted_by_hand(rows: list[tuple[int, int, int]]) -> None:
    ratings = [Rating(str(rater), str(item), "a", value) for rater, item, value in rows]
    found = agreement(ratings, draws=2)
    shared = [each for each in ratings if sum(other.item == each.item for other in ratings) > 1]
    if len({each.value for each in shared}) > 1:
        assert found.alpha == pytest.approx(alpha_by_hand(shared))
    else:
        assert found.alpha is None and found.note


def test_where_agreement_cant_be_told_it_is_said() -> None:
    same = [Rating(rater, "i", "a", 5) for rater in "xyz"]
    assert agreement(same).note == "all answers are the same: agreement beyond chance can't be told from none"
    assert agreement([]).note == "no frame was rated by two people: how far they agree can't be said"
    one = agreement([Rating("x", "i", "a", 5), Rating("x", "j", "a", 1)])
    assert (one.alpha, one.raters, one.items) == (None, 1, 0)
    # The same frame of two arms is two frames.
    assert agreement([Rating("x", "i", "a", 5), Rating("y", "i", "b", 1)]).items == 0


def opinions(random: np.random.Generator, raters: int, items: int) -> list[Rating]:
    """Of one arm that deserves 3: raters are strict or mild, frames good or bad."""
    person, frame = random.normal(0, 0.5, raters), random.normal(0, 0.5, items)
    noise = random.normal(0, 0.6, (raters, items))
    values = np.clip(np.rint(3 + person[:, None] + frame + noise), 1, 5).astype(int)
    return [Rating(f"r{r}", f"i{i}", "a", int(values[r, i])) for r in range(raters) for i in range(items)]


def test_the_mean_opinion_holds_for_other_raters_and_other_frames() -> None:
    random = np.random.default_rng(12)
    held = 0
    for _ in range(200):
        found = mean_opinion(opinions(random, 8, 15), draws=400)[0]
        assert found.low is not None and found.high is not None
        held += found.low <= 3 <= found.high
    # It errs on the wide side; an interval that took answers as independent would hold the truth in about half.
    assert 0.92 <= held / 200 <= 1.0


def test_the_mean_opinion_is_that_of_all_answers_by_arm() -> None:
    rows = [("x", "i", "a", 5), ("x", "j", "a", 3), ("y", "i", "a", 4), ("x", "i", "b", 1), ("y", "i", "b", 2)]
    ratings = [*(Rating(*row) for row in rows), Rating("x", "i", "b", 5, repeat=True)]
    first, second = mean_opinion(ratings)
    assert (first.arm, first.mean, first.n, first.raters, first.items) == ("a", 4.0, 3, 2, 2)
    assert first.low is not None and first.high is not None and 3 <= first.low < 4 < first.high <= 5
    assert (second.arm, second.mean, second.n, second.low, second.high) == ("b", 1.5, 2, None, None)
    assert mean_opinion(reversed(ratings)) == (first, second)
    assert mean_opinion([]) == ()


def test_shares_have_wilsons_interval() -> None:
    said = ["yes"] * 7 + ["no"] * 2 + ["can't tell"]
    found = recognition(Verdict("x", str(number), "a", value) for number, value in enumerate(said))[0]
    assert [found.yes.share, found.no.share, found.cant_tell.share] == [0.7, 0.2, 0.1]
    for share in (found.yes, found.no, found.cant_tell):
        assert (share.low, share.high) == pytest.approx(proportion_confint(share.count, 10, method="wilson"))
    assert (found.n, found.raters) == (10, 1)


def choices(*told: tuple[str, str, str | None, int], rater: str = "x") -> list[Choice]:
    """So many of each (left, right, winner)."""
    every = [(left, right, winner) for left, right, winner, count in told for _ in range(count)]
    return [Choice(rater, f"i{number}", *each) for number, each in enumerate(every)]


MANY = choices(
    ("a", "b", "a", 12),
    ("b", "a", "b", 5),
    ("a", "b", None, 4),
    ("b", "c", "b", 9),
    ("b", "c", "c", 6),
    ("a", "c", "a", 14),
    ("c", "a", "c", 3),
)


def test_strengths_are_those_of_another_fit_of_choix() -> None:
    # Everything ten times: a choice is ten wins, no preference five each way, and the prior's half win five.
    at = {"a": 0, "b": 1, "c": 2}
    pairs = [
        (at[one], at[other]) for one, other in ("ab", "ac", "bc", "ba", "ca", "cb") for _ in range(int(10 * PRIOR))
    ]
    for each in MANY:
        left, right = at[each.left], at[each.right]
        for_left = 5 if each.winner is None else 10 * (each.winner == each.left)
        pairs += [(left, right)] * for_left + [(right, left)] * (10 - for_left)
    other = choix.opt_pairwise(3, pairs, alpha=0.0)
    found = [each.strength for each in bradley_terry(MANY).arms]
    assert found == pytest.approx((other - other.mean()).tolist(), abs=1e-5)


def test_strengths_are_those_of_a_logistic_regression_of_statsmodels() -> None:
    wins = {("a", "b"): (14, 7), ("a", "c"): (14, 3), ("b", "c"): (9, 6)}
    design = np.asarray([[1, -1, 0], [1, 0, -1], [0, 1, -1]])[:, :2]
    counts = np.asarray(list(wins.values())) + PRIOR
    fitted = sm.GLM(counts, design, family=sm.families.Binomial()).fit()
    other = np.append(fitted.params, 0.0)
    found = bradley_terry(MANY)
    assert [each.strength for each in found.arms] == pytest.approx((other - other.mean()).tolist(), abs=1e-6)
    assert [(each.wins, each.losses, each.ties) for each in found.arms] == [(26, 8, 4), (14, 18, 4), (9, 23, 0)]
    first = found.arms[0]
    assert first.strength is not None
    assert first.preferred == pytest.approx(1 / (1 + np.exp(-first.strength)))
    # One rater says nothing of others.
    assert (first.low, first.high, found.raters, found.choices, found.note) == (None, None, 1, 53, "")


def test_who_wins_every_time_has_a_finite_strength_and_a_note() -> None:
    found = bradley_terry(choices(("a", "b", "a", 20), ("b", "c", "b", 10), ("b", "c", "c", 10)))
    assert found.arms[0].strength is not None and 1 < found.arms[0].strength < 10
    assert found.note == "a won or lost every time: only the half win that is added keeps the strength finite"
    assert bradley_terry(choices(("a", "b", "b", 2000), ("b", "c", "c", 2000))).arms[0].strength is not None


def test_arms_that_were_never_compared_have_no_strength() -> None:
    found = bradley_terry(choices(("a", "b", "a", 5), ("c", "d", "c", 5)))
    assert [each.strength for each in found.arms] == [None] * 4
    assert found.arms[0].wins == 5
    assert found.note.startswith("some arms were never compared with the others, nor by way of a third: nothing can")
    assert bradley_terry([]).note == "no pair was judged: nothing can be said of how strong they are"


def test_only_no_preferences_make_equals() -> None:
    found = bradley_terry(choices(("a", "b", None, 5)))
    assert [each.strength for each in found.arms] == pytest.approx([0.0, 0.0])
    assert [each.preferred for each in found.arms] == pytest.approx([0.5, 0.5])


def test_intervals_are_as_wide_as_raters_differ() -> None:
    def panel(shares: Sequence[float]) -> list[Choice]:
        told = []
        for number, share in enumerate(shares):
            wins = round(20 * share)
            told += choices(("a", "b", "a", wins), ("a", "b", "b", 20 - wins), rater=f"r{number}")
        return told

    agreed, split = bradley_terry(panel([0.7] * 6)), bradley_terry(panel([1.0, 1.0, 1.0, 0.4, 0.4, 0.4]))
    assert agreed.arms[0].strength == pytest.approx(split.arms[0].strength)
    one, other = agreed.arms[0], split.arms[0]
    assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
    assert one.high - one.low < 1e-6 < 0.5 < other.high - other.low
    assert other.low < 0.42 < other.high
    # The arms of one pair are each other's opposites.
    assert split.arms[1].low == pytest.approx(-other.high)
    assert bradley_terry(reversed(panel([1.0, 0.5, 0.2]))) == bradley_terry(panel([1.0, 0.5, 0.2]))


def test_repeats_say_how_steady_raters_are_and_nothing_else() -> None:
    ratings = [Rating("x", "i", "a", 5), Rating("x", "i", "a", 5, repeat=True), Rating("y", "i", "a", 4, repeat=True)]
    verdicts = [Verdict("x", "i", "a", "no", repeat=True), Verdict("x", "i", "a", "yes")]
    found = steadiness(ratings, verdicts)
    assert found.equal is not None and (found.equal.share, found.equal.count, found.repeats) == (0.5, 1, 2)
    assert steadiness([]).equal is None
    pair = Choice("x", "i", "a", "b", "a")
    swapped = replace(pair, left="b", right="a", repeat=True)
    steady = choice_steadiness([pair, swapped, replace(swapped, winner=None)])
    assert steady.equal is not None and steady.equal.share == 0.5
    assert bradley_terry([pair, swapped]) == bradley_terry([pair])


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="x rated i with 6: 1 to 5 are allowed"):
        Rating("x", "i", "a", 6)
    with pytest.raises(ValueError, match="x said 'perhaps' of i: yes, no and can't tell are allowed"):
        Verdict("x", "i", "a", "perhaps")
    with pytest.raises(ValueError, match="x chose 'c' of 'a' and 'b': give one, or None"):
        Choice("x", "i", "a", "b", "c")
    with pytest.raises(ValueError, match="x answered twice of i \\(a\\): mark the second as a repeat"):
        mean_opinion([Rating("x", "i", "a", 5)] * 2)
    with pytest.raises(ValueError, match="x chose twice of b and a \\(i\\)"):
        bradley_terry([Choice("x", "i", "a", "b", "a"), Choice("x", "i", "b", "a", None)])


def test_few_raters_are_said() -> None:
    assert few_raters(5) == ""
    assert few_raters(1).startswith("Only 1 person answered: fewer than 5 raters say little")
    assert few_raters(4).endswith("Ask 1 more.")
    assert few_raters(0).startswith("Nobody has answered")


def answers() -> Answers:
    """Six raters who like `reference` best; one of them sleeps."""
    names = [f"r{number}" for number in range(6)]
    better = {"simple": 3, "reference": 4}
    ratings = [
        Rating(name, f"i{item}", arm, value - item % 2)
        for name in names
        for item in range(4)
        for arm, value in better.items()
    ]
    verdicts = [Verdict(each.rater, each.item, each.arm, "yes" if each.value > 2 else "no") for each in ratings]
    pairs = [Choice(name, f"i{item}", "simple", "reference", "reference") for name in names for item in range(4)]
    checks = [Check(name, name != "r5") for name in names]
    return Answers(tuple(ratings), tuple(verdicts), tuple(pairs), tuple(checks))


def test_who_fails_attention_checks_is_never_left_out_in_silence() -> None:
    kept, excluded = people(answers(), exclude_failed=False), people(answers(), exclude_failed=True)
    assert (kept.failed, kept.excluded, len(kept.raters)) == (("r5",), (), 6)
    assert (excluded.failed, excluded.excluded, len(excluded.raters)) == (("r5",), ("r5",), 5)
    assert "1 of 6 raters failed attention checks (r5), and the answers are kept." in kept.notes
    assert "1 of 6 raters failed attention checks (r5), and the answers are left out." in excluded.notes
    assert (kept.opinions[0].n, excluded.opinions[0].n) == (24, 20)
    assert failed_raters(answers().checks, allowed=1) == ()
    assert not people(answers(), exclude_failed=True, allowed=1).excluded


def test_all_that_people_said_is_plain_json() -> None:
    found = people(answers(), exclude_failed=True)
    told = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert [each["mean"] for each in told["opinions"]] == [3.5, 2.5]
    assert told["agreement"]["alpha"] == 1.0
    assert told["preferences"]["arms"][0]["wins"] == 20
    assert told["recognition"][1]["yes"]["share"] == 0.5
    shuffled = Answers(*(tuple(reversed(each)) for each in vars(answers()).values()))
    assert people(shuffled, exclude_failed=True) == found
    nobody = people(Answers(), exclude_failed=True)
    assert nobody.notes[0].startswith("Nobody has answered")
    assert nobody.notes[1] == "No frame was rated by two people: how far they agree can't be said."
