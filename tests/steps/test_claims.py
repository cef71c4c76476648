"""The documents' figures held against evidence: no verdict without footing."""

from __future__ import annotations

from typing import Any

import pytest

from steps.claims import ANOTHER_WORLD, FAILS, HOLDS, NOT_MEASURED, UNSURE, Claim, Evidence, claims
from steps.measures.ratings import Opinion
from steps.measures.statistics import Estimate

SIMPLE, REFERENCE = "simple mode about 0.65 similar to frame 1", "above 0.85 similar to frame 1"
MACHINE = ("30 s", "60 s", "GB", "minutes", "dollars", "MB", "10 s")
EMBEDDED = {"diffusion": "embedded diffusion 12ab", "clip": "embedded clip 12ab"}


def mean(value: float | None, within: float = 0.01, stories: int = 8) -> Estimate:
    """A mean whose interval ends `within` of it on either side."""
    if value is None:
        return Estimate(None, None, None, 0, 0)
    low, high = (value - within, value + within) if stories > 1 else (None, None)
    return Estimate(value, low, high, 3 * stories, stories)


def arms(simple: Any = 0.5, reference: Any = 0.72, baseline: Any = 0.5, **about: Any) -> dict[str, Any]:
    """Arms with these means of frame 1, and of consistency 0.05 above."""
    found = {"simple": simple, "reference": reference, "baseline": baseline}
    return {
        arm: {
            "frame1": mean(value, **about),
            "consistency": mean(None if value is None else value + 0.05, **about),
            "passed": mean(0.9, **about),
        }
        for arm, value in found.items()
        if value != "absent"
    }


def evidence(**changes: Any) -> Evidence:
    given: dict[str, Any] = {
        "arms": arms(),
        "seconds_a_frame": {"simple": 12.0, "reference": 70.0},
        "memory": {"simple": 9e9, "reference": None},
        "seconds_a_storyboard": 240.0,
        "usd_a_storyboard": 0.31,
        "threshold": 0.70,
        "passed": 0.9,
        "diffusion": "stabilityai/sdxl",
        "clip": "vit_b32",
        **changes,
    }
    return Evidence(**given)


def held(words: str, **changes: Any) -> Claim:
    return next(each for each in claims(evidence(**changes)) if words in each.claim)


def verdict(words: str, **changes: Any) -> str:
    return held(words, **changes).verdict


def test_similarities_are_held_raw_and_rescaled_and_told_with_interval_and_number() -> None:
    raw, scaled = held(f"{REFERENCE}, raw"), held(f"{REFERENCE}, rescaled")
    assert (raw.verdict, raw.measured) == (FAILS, "0.720 (0.710 to 0.730), n = 24, 8 stories")
    assert (scaled.verdict, scaled.measured) == (HOLDS, "0.860 (0.855 to 0.865), n = 24, 8 stories")
    assert verdict(f"{SIMPLE}, raw") == FAILS
    assert verdict(f"{SIMPLE}, rescaled") == FAILS


@pytest.mark.parametrize(
    ("simple", "within", "found"),
    [(0.64, 0.02, HOLDS), (0.64, 0.06, UNSURE), (0.69, 0.02, UNSURE), (0.75, 0.02, FAILS), (0.5, 0.02, FAILS)],
)
def test_about_is_a_range_that_the_whole_interval_lies_in_or_not(simple: float, within: float, found: str) -> None:
    claim = held(f"{SIMPLE}, raw", arms=arms(simple, within=within))
    assert claim.verdict == found
    assert "within 0.05 counts as about" in claim.note
    assert ("both sides of what is claimed" in claim.note) == (found == UNSURE)


@pytest.mark.parametrize("reference", [0.849, 0.851])
def test_a_mean_beside_the_figure_is_told_apart_from_it_only_by_its_interval(reference: float) -> None:
    assert verdict(f"{REFERENCE}, raw", arms=arms(reference=reference)) == UNSURE
    surely = verdict(f"{REFERENCE}, raw", arms=arms(reference=reference, within=0.0005))
    assert surely == (HOLDS if reference > 0.85 else FAILS)


@pytest.mark.parametrize("words", [f"{SIMPLE}, raw", f"{REFERENCE}, rescaled", "30 %", "40 %", "CLIP score of 0.70"])
@pytest.mark.parametrize(("stories", "said"), [(6, "6 of the 7 stories"), (1, "1 of the 7 stories"), (7, "")])
def test_below_seven_stories_there_is_a_figure_and_no_verdict(words: str, stories: int, said: str) -> None:
    claim = held(words, arms=arms(stories=stories))
    assert claim.measured
    assert (claim.verdict == UNSURE) == bool(said)
    assert said in claim.note


@pytest.mark.parametrize(
    ("reference", "within", "found"),
    [(0.72, 0.01, HOLDS), (0.60, 0.01, FAILS), (0.66, 0.01, UNSURE), (0.72, 0.05, UNSURE)],
)
def test_a_share_more_holds_where_the_ends_of_both_intervals_agree(reference: float, within: float, found: str) -> None:
    claim = held("30 % more similar", arms=arms(reference=reference, within=within))
    assert claim.verdict == found
    assert claim.measured == f"{100 * (reference / 0.5 - 1):+.0f} % ({reference:.3f} against 0.500), 8 stories"
    assert "depends on where 0 lies" in claim.note


def test_a_share_of_what_may_be_nothing_means_nothing() -> None:
    assert verdict("30 % more similar", arms=arms(simple=-0.1)) == NOT_MEASURED
    assert verdict("30 % more similar", arms=arms(simple=0.05, within=0.06)) == UNSURE


def test_an_arm_is_missing_only_where_it_is() -> None:
    absent = arms(simple="absent")
    for words in (f"{SIMPLE}, raw", "30 % more", "40 % more"):
        assert held(words, arms=absent) == Claim(held(words).claim, "", NOT_MEASURED, "the arm simple is missing")
        assert held(words, arms=arms(simple=None)).note == "nothing could be measured"
    assert held("30 s a frame", arms=absent, seconds_a_frame={}).note == "the arm simple is missing"
    assert held("18 GB").note == "nothing could be measured"


def test_the_gate() -> None:
    claim = held("CLIP score of 0.70")
    assert (claim.verdict, claim.measured) == (HOLDS, "90 % of the kept frames reach 0.70")
    few = {arm: {**found, "passed": mean(0.2)} for arm, found in arms().items()}
    assert verdict("CLIP score of 0.70", arms=few, passed=0.2) == FAILS
    assert verdict("CLIP score of 0.70", arms={**arms(), "simple": few["simple"]}) == UNSURE
    other = held("CLIP score of 0.70", threshold=0.9)
    assert (other.verdict, other.note) == (NOT_MEASURED, "another threshold was set: draw with threshold=0.7")
    assert verdict("CLIP score of 0.70", threshold=None) == NOT_MEASURED


def test_time_money_and_memory() -> None:
    assert verdict("30 s a frame") == HOLDS
    assert (verdict("60 s a frame"), held("60 s a frame").measured) == (FAILS, "70.00 s")
    assert verdict("60 s a frame", seconds_a_frame={"reference": 65.9}) == HOLDS
    assert held("3 to 10 minutes").measured == "4.00 minutes"
    assert verdict("0.20 dollars for a storyboard") == FAILS
    assert "gpu_usd_per_hour" in held("0.20 dollars for a storyboard", usd_a_storyboard=0.0).note
    assert verdict("minutes for a training", training=[{"seconds": 6000.0, "usd": 1.7, "lora_bytes": 9e7}]) == HOLDS
    assert verdict("100 MB for a LoRA", training=[{"lora_bytes": 9e6}]) == FAILS
    captions = [{"usd_per_image": 0.01, "seconds_per_image": 4.0}]
    assert verdict("0.10 dollars for a caption", captions=captions) == HOLDS
    assert held("10 s for a caption").note == "no figure of a captioning was given: captions=FOLDER of the step caption"


@pytest.mark.parametrize("seconds", [True, -60.0, float("nan"), float("inf"), 10**400, "6000", None, [6000]])
def test_what_is_no_plain_number_does_not_count(seconds: Any) -> None:
    assert held("90 to 120 minutes", training=[{"seconds": seconds}]).verdict == NOT_MEASURED
    told = held("90 to 120 minutes", training=[{"seconds": seconds}, {"seconds": 6000}])
    assert (told.verdict, told.measured) == (HOLDS, "100.0 minutes")


def test_models_that_ship_give_verdicts_on_faces_and_none_on_machines() -> None:
    training = [{"seconds": 6000.0, "usd": 1.7, "lora_bytes": 9e7}]
    captions = [{"usd_per_image": 0.01, "seconds_per_image": 4.0}]
    opinion = Opinion("reference", 4.5, 4.3, 4.7, 60, 6, 10)
    found = claims(evidence(**EMBEDDED, training=training, captions=captions, opinion=opinion))
    for claim in found:
        if any(unit in claim.claim for unit in MACHINE):
            assert claim.verdict == NOT_MEASURED
            assert claim.measured.endswith("(embedded models)") or claim.note == "nothing could be measured"
        elif "CLIP" not in claim.claim:
            assert claim.verdict in (HOLDS, FAILS)
            assert claim.note.endswith(ANOTHER_WORLD)
    gate = next(claim for claim in found if "CLIP" in claim.claim)
    assert (gate.verdict, "a threshold of its own" in gate.note) == (NOT_MEASURED, True)
    assert not any(ANOTHER_WORLD in claim.note for claim in claims(evidence()))


@pytest.mark.parametrize(
    ("score", "within", "raters", "found", "said"),
    [
        (4.4, 0.2, 5, HOLDS, ""),
        (3.5, 0.2, 9, FAILS, ""),
        (4.1, 0.2, 9, UNSURE, "both sides"),
        (4.8, 0.1, 4, UNSURE, "4 of the 5 people that a verdict needs"),
        (4.8, None, 1, UNSURE, "1 of the 5 people that a verdict needs"),
        (4.8, None, 5, UNSURE, "no interval"),
    ],
)
def test_what_people_think(score: float, within: float | None, raters: int, found: str, said: str) -> None:
    low, high = (None, None) if within is None else (score - within, score + within)
    claim = held("4.0 of 5", opinion=Opinion("reference", score, low, high, 10 * raters, raters, 10))
    assert claim.verdict == found
    assert said in claim.note
    assert f"by {'1 person' if raters == 1 else f'{raters} people'}, of mode reference" in claim.measured
    assert claim.measured.startswith(f"{score:.2f}")


def test_nobody_was_asked() -> None:
    claim = held("4.0 of 5")
    assert (claim.verdict, claim.measured) == (NOT_MEASURED, "")
    assert "callsheet study build" in claim.note
