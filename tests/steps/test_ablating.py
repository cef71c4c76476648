"""Arms held against each other, on figures that are known."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steps.ablating import Findings, arms_of, find
from steps.ablation_text import Account, ScaleOf, frames_csv, results_md, sentence_of, table_tex
from steps.claims import FAILS, Claim
from tests.measured import STORIES, board, plan, study_of

FEW = {"draws": 300, "seed": 0}


def found(boards: list[Any], strength: Any = (), planned: Any = None) -> Findings:
    return find(boards, strength, planned, **FEW)


def test_arms_are_modes_in_the_order_of_what_they_add() -> None:
    boards = [board(mode) for mode in ("reference", "simple", "adapter", "baseline")]
    assert list(arms_of(boards)) == ["baseline", "simple", "adapter", "reference"]


def test_one_mode_at_several_strengths_is_an_arm_for_each() -> None:
    boards = [board(lora_scale=0.5), board(lora_scale=1.0), board("baseline")]
    assert list(arms_of(boards)) == ["baseline", "simple, lora 0.5", "simple, lora 1"]


def test_the_planned_questions_are_one_family_and_the_primary_one_is_told_apart() -> None:
    planned = plan(("simple", "baseline", "likeness"), ("simple", "baseline", "clip"))
    findings = found(study_of(["baseline", "simple"], simple=0.2), planned=planned)
    assert not findings.exploratory
    assert findings.primary is not None
    assert findings.primary.metric == "likeness"
    assert findings.primary.significant is True
    assert findings.primary.difference == pytest.approx(0.2 * (1 + 0.02 * 3.5))
    # Of the two one does not differ at all, so that nothing is corrected.
    assert [each.p for each in findings.comparisons] == [2 / 2**8, None]
    assert findings.deviations == []


def test_without_a_plan_every_arm_is_held_against_each_before_it_and_that_is_said() -> None:
    findings = found(study_of(["baseline", "simple", "reference"], simple=0.1))
    pairs = {(each.a, each.b) for each in findings.comparisons}
    assert pairs == {("simple", "baseline"), ("reference", "baseline"), ("reference", "simple")}
    assert findings.exploratory
    assert findings.primary is None


def test_below_seven_stories_nothing_is_called_significant() -> None:
    findings = found(study_of(["baseline", "simple"], STORIES[:5], simple=0.2))
    assert {each.significant for each in findings.comparisons} == {None}
    assert "2 more are needed" in sentence_of(findings.comparisons[0])
    assert "not to be said" in results_md(account(findings))


def test_an_interval_of_few_stories_is_not_called_one_of_95_percent() -> None:
    three = found(study_of(["baseline", "simple"], STORIES[:3], simple=0.2))
    assert "(range of 3 stories from +" in sentence_of(three.comparisons[0])
    assert "An interval from 3 stories holds the truth in at most 75% of studies, not 95 %." in results_md(
        account(three)
    )
    five = found(study_of(["baseline", "simple"], STORIES[:5], simple=0.2))
    assert "(95 % from +" in sentence_of(five.comparisons[0])


def test_a_question_about_an_arm_that_is_not_there_is_left_out_and_missed() -> None:
    planned = plan(("reference", "simple", "consistency"), ("simple", "baseline", "likeness"))
    findings = found(study_of(["baseline", "simple"]), planned=planned)
    assert [each.a for each in findings.comparisons] == ["simple"]
    assert findings.primary is None
    assert findings.deviations[0].startswith("16 of 48 planned storyboards missing (story_00, reference, 0, fox")
    assert findings.deviations[1].startswith(
        "1 planned comparison can't be made, for an arm is missing (reference against simple"
    )
    assert "The primary endpoint could not be measured" in results_md(account(findings, planned))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"drawn_as": "baseline"}, "1 storyboard drawn in another mode than asked for"),
        ({"settings": {"retries": 5, "threshold": 0.9}}, "retries is not alike in all storyboards (2; 5)"),
        ({"drawn_at": "2026-11-21T09:59:59+00:00"}, "1 storyboard drawn before the plan was written"),
        ({"story": "another"}, "1 storyboard not planned (another-simple-0), and counted"),
        ({"character": "wolf"}, "1 of 16 planned storyboards missing"),
    ],
)
def test_what_is_not_as_planned_is_told(change: dict[str, Any], sentence: str) -> None:
    boards = [each for each in study_of(["simple"]) if each.key != "story_00-simple-0"]
    boards.append(board("simple", **change))
    planned = plan(("simple", "baseline", "likeness"), arms=("simple",))
    assert any(sentence in said for said in found(boards, planned=planned).deviations)


@pytest.mark.parametrize("drawn_at", ["yesterday", None, "2026-11-21T11:00:00"])
def test_a_time_that_is_none_makes_a_plan_no_proof(drawn_at: str | None) -> None:
    boards = [*study_of(["baseline", "simple"], simple=0.2)[1:], board("baseline", drawn_at=drawn_at)]
    planned = plan(("simple", "baseline", "likeness"))
    findings = found(boards, planned=planned)
    assert not findings.fixed_first
    text = results_md(account(findings, planned))
    assert "Not all storyboards are known to be younger than the plan" in text
    assert "before the first frame" not in text
    assert "before the first frame" in results_md(account(found(boards[:-1], planned=planned), planned))


def test_settings_that_are_not_as_planned_are_told() -> None:
    planned = plan(
        ("simple", "baseline", "likeness"),
        settings={"guidance": 7.0, "lora_scale": 1.0, "adapter_scale": 0.6, "who": 3},
    )
    told = found(study_of(["baseline", "simple"]), planned=planned).deviations
    assert told == ["guidance = 3 where 7 was planned"]


def test_a_mean_that_hides_two_opposites_is_told(tmp_path: Path) -> None:
    up = study_of(["baseline", "simple"], simple=0.3)
    down = [replace(each, character="wolf") for each in study_of(["baseline", "simple"], simple=-0.2)]
    planned = plan(("simple", "baseline", "likeness"), characters={"fox": "fox", "wolf": "stranger 9"})
    findings = found([*up, *down], planned=planned)
    alone = {who: those[0].difference for who, those in findings.by_character.items()}
    assert alone["fox"] == pytest.approx(0.321)
    assert alone["wolf"] == pytest.approx(-0.214)
    text = results_md(account(findings, planned))
    assert "simple against baseline in likeness turns with the character: up for fox, down for wolf." in text
    assert not found(up, planned=plan(("simple", "baseline", "likeness"))).by_character


def test_the_same_pictures_under_two_names_are_told() -> None:
    boards = [
        replace(each, pixels="alike" if each.story == "story_00" else each.pixels) for each in study_of(["simple"])
    ]
    assert found(boards).deviations == [
        "arm simple: of 16 storyboards 15 are distinct, the others show the same pictures as one of these"
    ]


def test_arms_of_different_lengths_are_told() -> None:
    boards = study_of(["baseline", "simple"])
    boards[0] = replace(boards[0], frames=boards[0].frames[:2])
    assert found(boards).deviations[0].startswith("1 of 16 combinations of character, story and seed have more frames")


def test_what_the_primary_endpoint_costs_is_told() -> None:
    planned = plan(
        ("simple", "baseline", "consistency"), ("simple", "baseline", "likeness"), ("simple", "baseline", "clip")
    )
    boards = [
        replace(
            each,
            metrics={
                **each.metrics,
                "likeness": 0.5 - 0.1 * (each.mode == "simple"),
                "clip": 1.0 - 0.08 * (each.mode == "simple"),
            },
        )
        for each in study_of(["baseline", "simple"], simple=0.2)
    ]
    text = results_md(account(found(boards, planned=planned), planned))
    assert "Likeness is lost: -0.100" in text
    assert "The CLIPScore changes by -8.0 %, which is more than 5 % less." in text


def test_the_curve_has_the_gain_at_each_strength() -> None:
    strength = [
        board(mode, story, lora_scale=scale, consistency=0.4 + (0.1 + scale / 10) * (mode == "reference"))
        for mode in ("simple", "reference")
        for scale in (0.5, 1.0)
        for story in STORIES
    ]
    curve = [point for point in found(study_of(["simple"]), strength).curve if point.metric == "consistency"]
    assert [(point.gain.setting, round(point.gain.difference or 0, 6)) for point in curve] == [(0.5, 0.15), (1.0, 0.2)]
    assert curve[0].simple == pytest.approx(0.4)
    assert curve[0].reference == pytest.approx(0.55)


def test_a_cell_that_one_arm_lacks_is_left_out_of_the_comparison_and_said() -> None:
    boards = [each for each in study_of(["baseline", "simple"], simple=0.2) if each.key != "story_03-simple-1"]
    findings = found(boards)
    assert {each.pairs for each in findings.comparisons} == {15}
    assert "1 of 16 combinations of character, story and seed were not drawn in every arm" in findings.deviations[0]


def test_results_md_has_every_arm_metric_comparison_and_claim() -> None:
    planned = plan(("simple", "baseline", "likeness"), chosen_on="owl")
    text = results_md(account(found(study_of(["baseline", "simple"], simple=0.2), planned=planned), planned))
    for words in ("| baseline |", "| simple - baseline |", "likeness, 0 strangers to 1 truth", "d_z", "80 % power", "does not",
                  "Settings were chosen on somebody else, owl", "ceiling", "YuNet", "Nobody was asked"):  # fmt: skip
        assert words in text
    assert "**simple against baseline in likeness: +0.214" in text


def test_names_can_not_break_the_tables() -> None:
    boards = [board(story="=1|<b>\n")]
    rows = list(csv.reader(io.StringIO(frames_csv(arms_of(boards), Path()))))
    assert rows[1][1] == "'=1|<b>\n"
    assert len(rows) == 4
    findings = found(study_of(["baseline", "simple"]))
    assert "CLIPScore" in table_tex(findings)
    assert "frame\\_" not in table_tex(findings)


def account(findings: Findings, planned: Any = None) -> Account:
    return Account(
        findings=findings,
        plan=planned,
        choosing=False,
        scales={"fox": ScaleOf(0.8, 0.1, 12, 24)},
        models={"diffusion": "sdxl", "faces": "buffalo_l"},
        recogniser="YuNet, SFace",
        rule="The largest face counts.",
        claims=[Claim("faces in simple mode about 0.65 similar to frame 1", "0.500 (0.490 to 0.510)", FAILS)],
        people=(),
        costs=dict.fromkeys(findings.arms, ("1.00", "-", "-")),
        plots=[("plots/frames.png", "frames")],
    )
