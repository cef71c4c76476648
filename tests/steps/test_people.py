"""What raters said, as an ablation tells it: from their files to words and figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from steps.people import Told, asked
from steps.study.adding import add
from steps.study.exports import LEFT, NONE, QUALITY, RIGHT
from steps.study.schedule import Page
from steps.study.studies import Study
from tests.steps.study.boards import build_study, draw_references, draw_run
from tests.steps.study.raters import answer, sealed, send
from tests.steps.study.test_answers import LIKENESS, POINTS, arm_of, honest


@pytest.fixture
def study(tmp_path: Path) -> Study:
    run = draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16))
    references = draw_references(tmp_path / "references")
    return build_study(tmp_path / "outputs", run, references=references, repeats=1.0).study


def wrong(study: Study, page: Page, question: str) -> object:
    """The opposite of `honest`."""
    said = honest(study, page, question)
    arms = [arm_of(study, board) for board in page.boards]
    if "" in arms:
        return said
    if len(arms) == 1:
        return 6 - POINTS[arms[0]] if question == QUALITY else LIKENESS[arms[0]]
    return {LEFT: RIGHT, RIGHT: LEFT}.get(str(said), NONE)


def told_by(study: Study, inbox: Path, *raters: Callable[[Study, Page, str], object]) -> Told:
    for number, say in enumerate(raters):
        document = answer(study, f"p{number + 1}", partial(say, study))
        add([send(inbox, document)], [study])
    told = asked(str(study.folder))
    assert told is not None
    return told


def test_nobody_was_asked() -> None:
    assert asked(None) is None


def test_raters_who_agree_give_means_preferences_and_full_agreement(study: Study, tmp_path: Path) -> None:
    told = told_by(study, tmp_path, *[honest] * 5)
    text = "\n\n".join(told.paragraphs)
    assert told.opinion is not None
    assert (told.opinion.arm, told.opinion.mean, told.opinion.raters) == ("reference", 5.0, 5)
    assert {each["arm"]: each["mean"] for each in told.document["opinions"]} == {
        "baseline": 2,
        "simple": 3,
        "reference": 5,
    }
    assert told.document["agreement"]["alpha"] == pytest.approx(1.0)
    strengths = {each["arm"]: each["strength"] for each in told.document["preferences"]["arms"]}
    assert strengths["reference"] > strengths["simple"] == pytest.approx(strengths["baseline"])
    for words in (
        "5 raters of the study",
        "alpha (ordinal) over the quality ratings: 1.00",
        "Which of two is more consistent: ",
        "Bradley and Terry",
        "100 %",
        "were decided as before",
    ):
        assert words in text
    assert "fewer than 5" not in text


def test_fewer_than_five_raters_are_said_to_be_few(study: Study, tmp_path: Path) -> None:
    text = "\n\n".join(told_by(study, tmp_path, honest, wrong).paragraphs)
    assert "Only 2 people answered: fewer than 5 raters say little of what others would. Ask 3 more." in text


def test_who_fails_an_attention_check_is_named_and_left_out_only_where_asked(study: Study, tmp_path: Path) -> None:
    document = answer(study, "p2", partial(honest, study))
    for entry in document["answers"]:
        expected = study.key["answers"]["checks"].get(entry["page"])
        if isinstance(expected, int):
            entry["value"] = expected % 5 + 1
    add([send(tmp_path, sealed(document), "careless.json")], [study])
    told = told_by(study, tmp_path, honest)
    assert told.document["failed"] == ("p2",)
    assert "1 of 2 raters failed attention checks (p2), and the answers are kept." in "\n".join(told.paragraphs)
    assert told.opinion is not None
    assert told.opinion.raters == 2
    again = asked(str(study.folder), leave_out_failed=True)
    assert again is not None
    assert again.opinion is not None
    assert (again.opinion.mean, again.opinion.raters) == (5.0, 1)
    assert "left out" in "\n".join(again.paragraphs)


MEASURED = [("aldar", "lost_foal", 1), ("aldar", "dry_well", 1)]


@pytest.mark.parametrize(
    ("cells", "said", "number"),
    [
        (None, "", None),
        (MEASURED, "", 0),
        (MEASURED[:1], "3 of the study's 6 storyboards are not among those measured here (the first: dry_well, seed 1 of aldar)", 3),
        ([("aldar", "lost_foal", 2), ("another", "dry_well", 1)], "None of the study's 6 storyboards is among those measured", 6),
    ],
)  # fmt: skip
def test_a_study_of_other_storyboards_is_said_to_be_one(
    study: Study, tmp_path: Path, cells: list[tuple[str, str, int]] | None, said: str, number: int | None
) -> None:
    told_by(study, tmp_path, honest)
    told = asked(str(study.folder), cells=cells)
    assert told is not None
    assert said in " ".join(told.paragraphs).replace("\\", "")
    assert ("measured here" in " ".join(told.paragraphs)) == bool(said)
    assert told.document["not_measured"] == number
    assert (told.opinion is None) == said.startswith("None")


def test_storyboards_that_do_not_say_who_is_drawn_are_known_by_story_and_seed(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16), character="aldar")
    results = run / "results.json"
    results.write_text(results.read_text("utf-8").replace('"character": "aldar",', ""), "utf-8")
    study = build_study(tmp_path / "outputs", run).study
    told_by(study, tmp_path, honest)
    told = asked(str(study.folder), cells=[("character", "lost_foal", 1)])
    assert told is not None
    assert told.document["not_measured"] == 3
    assert "(the first: dry_well, seed 1)" in " ".join(told.paragraphs).replace("\\", "")
