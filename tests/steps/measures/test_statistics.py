"""Statistics held against other people's implementations, against made-up studies of which the truth is known, and against laws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from steps.measures.power import EFFICIENCY, power, smallest_effect, smallest_p, stories_needed
from steps.measures.statistics import (
    Comparison,
    Unit,
    compare,
    compare_all,
    estimate,
    gain_curve,
    holm,
    power_note,
    signed_ranks,
)
from tests.steps.measures.studies import METRIC, SYMMETRIC, study

# Darwin's pairs of maize, crossed less self-fertilised, in eighths of an inch (The Effects of Cross and Self Fertilisation, 1876).
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def arm(name: str, values: Sequence[float | None], seeds: int = 1) -> list[Unit]:
    """Units of one arm: the values story by story."""
    return [
        Unit(f"s{number // seeds:02}", f"s{number // seeds:02}-{number % seeds}", name, {METRIC: value})
        for number, value in enumerate(values)
    ]


def against_zero(values: Sequence[float | None], seeds: int = 1) -> Comparison:
    """Values as differences from an arm that is 0 everywhere."""
    return compare(arm("a", values, seeds), arm("b", [0.0] * len(values), seeds), METRIC, draws=500)


def test_darwins_maize_has_the_p_and_the_effect_that_are_known() -> None:
    found = against_zero([float(value) for value in DARWIN])
    known = stats.wilcoxon(DARWIN, method="exact")
    assert found.p == pytest.approx(known.pvalue, abs=1e-12)
    assert found.p == pytest.approx(0.04126, abs=1e-5)
    assert found.difference == pytest.approx(20.93, abs=0.01)
    assert found.dz == pytest.approx(20.933 / 37.744, abs=1e-3)
    # The smaller sum of ranks is 24 of 120.
    assert found.rank_biserial == pytest.approx((96 - 24) / 120)
    assert found.significant
    assert (found.pairs, found.clusters, found.note) == (15, 15, "")


def test_the_interval_is_near_that_of_another_bootstrap() -> None:
    values = np.random.default_rng(3).normal(0.4, 0.1, 40)
    found = estimate(arm("a", values.tolist()), METRIC)
    other = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=1).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(other.low, abs=0.003)
    assert found.high == pytest.approx(other.high, abs=0.003)


def test_a_storys_seeds_are_not_taken_for_stories_of_their_own() -> None:
    by_story = np.repeat(np.random.default_rng(5).normal(0, 1, 20), 5)
    whole = estimate(arm("a", by_story.tolist(), seeds=5), METRIC)
    single = estimate(arm("a", by_story.tolist()), METRIC)
    assert (whole.n, whole.clusters) == (100, 20)
    assert whole.low is not None and whole.high is not None and single.low is not None and single.high is not None
    assert whole.high - whole.low > 1.8 * (single.high - single.low)


def test_a_story_with_more_values_counts_as_much_more() -> None:
    units = [*arm("a", [1.0, 1.0, 1.0], seeds=3), Unit("s01", "s01-0", "a", {METRIC: 0.0})]
    found = estimate(units, METRIC)
    assert found.mean == 0.75
    # Draws are of whole stories: (0, 0), (0, 1), (1, 1) have the means 0, 3/4 and 1.
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize("ps", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.0, 1.0], [0.02], []])
def test_holm_is_that_of_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]) if ps else [])


P_VALUES = st.lists(st.none() | st.floats(0, 1), max_size=8)


@given(P_VALUES)
def test_holm_keeps_the_order_never_lowers_and_passes_over_what_is_missing(ps: list[float | None]) -> None:
    adjusted = holm(ps)
    pairs = sorted((p, after) for p, after in zip(ps, adjusted, strict=True) if p is not None and after is not None)
    assert [p is None for p in ps] == [after is None for after in adjusted]
    assert all(p <= after <= 1 for p, after in pairs)
    assert [after for _, after in pairs] == sorted(after for _, after in pairs)
    assert [after for after in adjusted if after is not None] == holm([p for p in ps if p is not None])


VALUES = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=10)


@given(VALUES, VALUES, st.randoms())
def test_sides_swapped_turn_every_sign_and_order_means_nothing(
    first: list[float], second: list[float], random: object
) -> None:
    units = [*arm("a", first), *arm("b", second)]
    there, back = compare_all(units, [("a", "b", METRIC), ("b", "a", METRIC)], draws=200)
    assert there.difference == -back.difference if back.difference is not None else there.difference is None
    assert (there.p, there.p_holm, there.pairs) == (back.p, back.p_holm, back.pairs)
    for one, other in ((there.low, back.high), (there.high, back.low), (there.dz, back.dz)):
        assert one == (None if other is None else pytest.approx(-other, abs=1e-12))
    random.shuffle(units)  # type: ignore[attr-defined]
    assert compare_all(units, [("a", "b", METRIC), ("b", "a", METRIC)], draws=200) == (there, back)


@given(VALUES)
def test_signed_ranks_are_those_counted_by_hand(values: list[float]) -> None:
    p, effect = signed_ranks(np.asarray(values))
    moved = np.asarray([value for value in values if value])
    if not len(moved):
        assert (p, effect) == (None, None)
        return
    ranks = stats.rankdata(abs(moved))
    # Each way of giving signs to the ranks is as likely as any other.
    signs = 1 - 2 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
    sums = signs @ ranks
    seen = (np.sign(moved) * ranks).sum()
    assert p == pytest.approx((abs(sums) >= abs(seen) - 1e-9).mean())
    assert effect == pytest.approx(seen / ranks.sum())


@pytest.mark.parametrize("stories", [1, 7, 20, 50])
def test_the_exact_p_is_that_of_scipy(stories: int) -> None:
    values = np.random.default_rng(stories).normal(0.2, 1, stories)
    assert signed_ranks(values)[0] == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, abs=1e-12)


def test_with_ties_or_very_many_stories_the_p_is_near_that_of_the_normal_approximation() -> None:
    tied = np.random.default_rng(1).integers(-4, 6, 40) / 4
    approximate = stats.wilcoxon(tied, method="asymptotic", correction=True).pvalue
    assert signed_ranks(tied)[0] == pytest.approx(approximate, rel=0.05)
    many = np.random.default_rng(2).normal(0.1, 1, 51)
    assert signed_ranks(many)[0] == stats.wilcoxon(many, method="asymptotic", correction=True).pvalue


def test_noise_of_the_last_digit_is_no_difference() -> None:
    first, second = arm("a", [0.1 + 0.2] * 8), arm("b", [0.3] * 8)
    found = compare(first, second, METRIC)
    assert (found.p, found.p_holm, found.dz, found.rank_biserial, found.significant) == (None, None, None, None, False)
    assert found.note == "no story differs between the arms: there is nothing to test"


@pytest.mark.parametrize(
    ("stories", "told"),
    [
        (
            1,
            "1 story is too few to call anything significant (the smallest two-sided exact Wilcoxon p is 1): 6 more are needed",
        ),
        (
            5,
            "5 stories are too few to call anything significant (the smallest two-sided exact Wilcoxon p is 0.0625): 2 more",
        ),
        (
            6,
            "6 stories are too few to call anything significant (the smallest two-sided exact Wilcoxon p is 0.0312): 1 more is",
        ),
    ],
)
def test_below_seven_stories_nothing_is_called_significant(stories: int, told: str) -> None:
    found = against_zero([0.3 + number / 100 for number in range(stories)])
    assert found.significant is None
    assert found.p == smallest_p(stories) == pytest.approx(2.0 ** (1 - stories))
    assert told in found.note


def test_seven_stories_that_agree_are_significant_on_their_own_and_not_among_four() -> None:
    values = [0.3 + number / 100 for number in range(7)]
    assert against_zero(values).p == pytest.approx(0.015625)
    assert against_zero(values).significant
    units = [*arm("a", values), *arm("b", [0.0] * 7)]
    family = compare_all(units, [("a", "b", METRIC)] * 4, draws=10)
    assert [each.p_holm for each in family] == pytest.approx([0.0625] * 4)
    assert [each.significant for each in family] == [False] * 4


def test_few_stories_have_an_interval_that_says_what_it_is_worth() -> None:
    found = estimate(arm("a", [0.1, 0.4, 0.2, 0.3]), METRIC)
    assert (found.low, found.high) == pytest.approx((0.1, 0.4), abs=0.05)
    assert found.note == "an interval from 4 stories holds the truth in at most 88% of studies, not 95 %"
    alone = estimate(arm("a", [0.1, 0.2], seeds=2), METRIC)
    assert (alone.low, alone.high, alone.n, alone.clusters) == (None, None, 2, 1)
    assert alone.note == "one story gives no interval"


def test_what_has_no_partner_or_no_value_is_left_out_and_counted() -> None:
    found = compare(arm("a", [0.5, None, 0.7, 0.1]), arm("b", [0.25, 0.5, None]), METRIC)
    assert (found.difference, found.pairs, found.left_out) == (0.25, 1, 3)
    nothing = compare(arm("a", [None]), arm("b", [0.5]), METRIC)
    assert (nothing.difference, nothing.p, nothing.significant, nothing.left_out) == (None, None, None, 1)
    assert nothing.note == "no story was drawn with the same seed, and has a value, in both arms"
    assert estimate(arm("a", [None, 0.5]), METRIC).left_out == 1
    assert estimate([], METRIC).mean is None
    absent = compare_all(arm("a", [0.5]), [("a", "gone", METRIC)])[0]
    assert (absent.a, absent.b, absent.pairs, absent.left_out) == ("a", "gone", 0, 1)


def test_what_makes_no_sense_is_refused() -> None:
    one = arm("a", [0.5])
    with pytest.raises(ValueError, match="arm 'a' has two units for 's00-0'"):
        estimate([*one, *one], METRIC)
    with pytest.raises(ValueError, match="units of one arm are wanted, and these are of 'a' and 'b'"):
        estimate([*one, *arm("b", [0.5])], METRIC)
    with pytest.raises(ValueError, match="a comparison needs units of both arms"):
        compare(one, [], METRIC)
    with pytest.raises(ValueError, match="a pair is in different clusters"):
        compare(one, [Unit("other", "s00-0", "b", {METRIC: 0.5})], METRIC)
    with pytest.raises(ValueError, match="likeness of 's00-0' in arm 'a' is nan: give a number, or None"):
        estimate(arm("a", [float("nan")]), METRIC)


def test_results_are_plain_json_and_come_out_the_same_twice() -> None:
    units = study(np.random.default_rng(1), 8, SYMMETRIC["normal"], (0.0, 0.5))
    family = [("1", "0", METRIC), ("1", "0", "unknown")]
    told = json.dumps([asdict(each) for each in compare_all(units, family)], allow_nan=False)
    assert told == json.dumps([asdict(each) for each in compare_all(units, family)])
    assert json.loads(told)[1]["left_out"] == 24


def test_a_curve_has_a_point_for_each_setting_in_order() -> None:
    settings = {
        strength: [*arm("reference", [0.5 + strength * story / 10 for story in range(8)]), *arm("simple", [0.5] * 8)]
        for strength in (1.0, 0.0, 0.5)
    }
    points = gain_curve(settings, "reference", "simple", METRIC, draws=500)
    assert [point.setting for point in points] == [0.0, 0.5, 1.0]
    assert [point.difference for point in points] == pytest.approx([0.0, 0.175, 0.35])
    assert points[2].low is not None and points[2].low > 0


@pytest.mark.parametrize("stories", [4, 7, 20, 60])
def test_power_is_that_of_statsmodels(stories: int) -> None:
    size = stories * EFFICIENCY
    other = TTestPower().solve_power(effect_size=None, nobs=size, alpha=0.05, power=0.8)
    assert smallest_effect(stories) == pytest.approx(float(other), rel=1e-3)
    assert power(0.5, stories) == pytest.approx(TTestPower().power(0.5, size, 0.05), abs=1e-4)
    assert smallest_effect(1) is None


def test_the_stories_needed_are_just_enough() -> None:
    needed = stories_needed(-0.5)
    assert needed is not None
    assert power(0.5, needed) >= 0.8 > power(0.5, needed - 1)
    assert stories_needed(30.0) == 7
    assert stories_needed(0.001) is None


def test_the_power_note_says_both() -> None:
    note = power_note(against_zero([float(value) for value in DARWIN]))
    assert note.startswith("With 15 stories an effect of dz = 0.80 is found with 80 % power at 5 % (before Holm's")
    assert note.endswith("The effect that was seen, dz = 0.55, would need about 29 stories.")
    assert power_note(against_zero([0.5])) == "1 story can show no effect: draw 7 or more."
    few = power_note(against_zero([0.5, 0.25, 0.75]))
    assert (
        few
        == "3 stories can show no effect: draw 7 or more. The effect that was seen, dz = 2.00, would need about 7 stories."
    )
    assert power_note(against_zero([0.0] * 9)).endswith("taken as 0.955).")
    tiny = against_zero([*[1.0, -1.0] * 500, 0.01])
    assert "would need more than 10,000 stories" in power_note(tiny)


def test_the_power_is_about_what_wilcoxons_test_has() -> None:
    random = np.random.default_rng(8)
    found = [signed_ranks(random.normal(0.7, 1, 20))[0] for _ in range(1000)]
    assert np.mean([p is not None and p < 0.05 for p in found]) == pytest.approx(power(0.7, 20), abs=0.04)


@pytest.mark.parametrize("stories", [7, 20])
def test_where_nothing_is_true_little_is_found_and_intervals_hold_the_truth(stories: int) -> None:
    random = np.random.default_rng(2026)
    found = [
        compare_all(study(random, stories, effects), [("1", "0", METRIC)], draws=400)[0]
        for effects in SYMMETRIC.values()
        for _ in range(1000)
    ]
    assert 0.04 < np.mean([each.significant for each in found]) <= 0.06
    held = np.mean([each.low is not None and each.high is not None and each.low <= 0 <= each.high for each in found])
    assert (0.92 if stories == 7 else 0.935) <= held <= 0.96


def test_in_a_family_of_true_nulls_any_is_found_as_seldom() -> None:
    random = np.random.default_rng(7)
    family = [(a, "0", METRIC) for a in ("1", "2", "3")]
    studies = (study(random, 12, SYMMETRIC["heavy tails"], (0.0,) * 4) for _ in range(1000))
    found = [compare_all(units, family, draws=10) for units in studies]
    assert np.mean([any(each.significant for each in one) for one in found]) <= 0.06
    # Without the correction it would be more than twice that.
    assert np.mean([any(each.p is not None and each.p < 0.05 for each in one) for one in found]) > 0.08


def test_what_is_true_is_found() -> None:
    random = np.random.default_rng(11)
    studies = (study(random, 20, SYMMETRIC["normal"], (0.0, 1.5)) for _ in range(200))
    found = [compare_all(units, [("1", "0", METRIC)], draws=400)[0] for units in studies]
    assert np.mean([each.significant for each in found]) > 0.95
    held = [each.low is not None and each.high is not None and each.low <= 1.5 <= each.high for each in found]
    assert 0.9 <= np.mean(held) <= 0.99
