"""Answers unblinded: rows that say what each rater thought of each arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from steps.study.adding import add
from steps.study.answers import IdentityRow, PairRow, QualityRow, RaterRow, read_answers
from steps.study.exports import CANT_TELL, LEFT, NO, NONE, QUALITY, RIGHT, YES
from steps.study.schedule import AGAIN, Page
from steps.study.studies import Study
from tests.steps.study.boards import ARMS, STORIES, build_study, draw_references, draw_run
from tests.steps.study.raters import answer, sealed, send

POINTS = {"baseline": 2, "simple": 3, "reference": 5}
LIKENESS = {"baseline": NO, "simple": CANT_TELL, "reference": YES}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    run = draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16))
    references = draw_references(tmp_path / "references")
    return build_study(tmp_path / "outputs", run, references=references, repeats=1.0).study


def arm_of(study: Study, board: str) -> str:
    return str(study.key["answers"]["boards"][board]["arm"]) if board in study.key["answers"]["boards"] else ""


def honest(study: Study, page: Page, question: str) -> object:
    """Someone who always thinks the same: points by arm, and of two arms the one that has more."""
    arms = [arm_of(study, board) for board in page.boards]
    if "" in arms:
        return 1 if question == QUALITY else NONE
    if len(arms) == 1:
        return (POINTS if question == QUALITY else LIKENESS)[arms[0]]
    if set(arms) == {"baseline", "simple"}:
        return NONE
    return LEFT if POINTS[arms[0]] > POINTS[arms[1]] else RIGHT


def test_rows_say_who_thought_what_of_which_arm(study: Study, tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        add([send(tmp_path, answer(study, name, lambda page, question: honest(study, page, question)))], [study])
    answers = read_answers(study.folder)
    assert (answers.study, answers.arms, answers.choice) == ("study", tuple(sorted(ARMS)), "consistent")
    assert {(row.rater, row.character, row.story, row.seed, row.arm, row.value) for row in answers.quality} == {
        (name, "aldar", story, 1, arm, POINTS[arm]) for name in ("p1", "p2") for story in STORIES for arm in ARMS
    }
    assert {(row.story, row.arm, row.value) for row in answers.identity} == {
        (story, arm, LIKENESS[arm]) for story in STORIES for arm in ARMS
    }
    assert (len(answers.quality), len(answers.identity), len(answers.pairs)) == (12, 12, 24)
    wanted = {("baseline", "reference"): "b", ("baseline", "simple"): "none", ("reference", "simple"): "a"}
    assert {((row.arm_a, row.arm_b), row.choice) for row in answers.pairs} == set(wanted.items())
    for row in answers.pairs:
        [other] = [
            each
            for each in answers.pairs
            if (each.rater, each.item) == (row.rater, row.item) and each.repeat != row.repeat
        ]
        assert other.swapped != row.swapped
        assert (other.choice, other.arm_a) == (row.choice, row.arm_a)


def test_what_is_known_of_a_rater(study: Study, tmp_path: Path) -> None:
    add([send(tmp_path, answer(study, "p1", lambda page, question: honest(study, page, question)))], [study])
    [rater] = read_answers(study.folder).raters
    assert rater == RaterRow(
        "p1",
        complete=True,
        answered=6 * 2 + 12 + 2,
        expected=6 * 2 + 12 + 2,
        checks_passed=2,
        checks_failed=0,
        repeats=6,
        repeats_agreeing=6,
        median_seconds=4.0,
        hasty=0,
    )


def test_who_always_presses_left_disagrees_with_themselves_and_may_miss_checks(study: Study, tmp_path: Path) -> None:
    document = answer(
        study, "p1", lambda page, question: LEFT if len(page.boards) == 2 else 3 if question == QUALITY else YES
    )
    wrong = 0
    for entry in document["answers"]:
        expected = study.key["answers"]["checks"].get(entry["page"])
        if isinstance(expected, int):
            entry["value"] = expected % 5 + 1
            wrong += 1
        elif expected is not None:
            entry["value"] = NONE
            wrong += 1
    add([send(tmp_path, sealed(document))], [study])
    answers = read_answers(study.folder)
    [rater] = answers.raters
    assert (rater.repeats, rater.repeats_agreeing) == (6, 0)
    assert (rater.checks_passed, rater.checks_failed) == (0, wrong) == (0, 2)
    assert {row.choice for row in answers.pairs} == {"a", "b"}
    assert all((row.choice == "b") == row.swapped for row in answers.pairs)


def test_half_a_study_counts_as_far_as_it_goes(study: Study, tmp_path: Path) -> None:
    def first_parts(page: Page, question: str) -> object:
        return None if page.page.endswith(AGAIN) else honest(study, page, question)

    add([send(tmp_path, answer(study, "p1", first_parts))], [study])
    answers = read_answers(study.folder)
    [rater] = answers.raters
    assert (rater.complete, rater.answered, rater.repeats) == (False, rater.expected - 6, 0)
    assert len(answers.pairs) == 6


def test_checks_are_no_answers_about_any_arm(study: Study, tmp_path: Path) -> None:
    add([send(tmp_path, answer(study, "p1"))], [study])
    answers = read_answers(study.folder)
    checks = set(study.key["answers"]["checks"])
    rows: list[QualityRow | IdentityRow | PairRow] = [*answers.quality, *answers.identity, *answers.pairs]
    assert not checks & {row.item for row in rows}


def test_a_study_that_nobody_answered_is_empty_and_no_study_is_told(study: Study, tmp_path: Path) -> None:
    assert read_answers(study.folder).raters == ()
    with pytest.raises(
        UserError, match=r"is no study \(it has no key.json\): build one with `callsheet study build RUNS`"
    ):
        read_answers(tmp_path)
