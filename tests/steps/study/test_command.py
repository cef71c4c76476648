"""`callsheet study`: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import main
from steps.study.studies import read_study
from tests.steps.study.boards import draw_references, draw_run
from tests.steps.study.raters import answer, send


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def callsheet(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """How it ended, and all that it said."""
    code = main(["study", *words])
    return code, "".join(capsys.readouterr())


def test_build_says_what_there_is_to_hand_out_and_what_to_keep(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = callsheet(capsys, "build", "run")
    study = read_study(root / "outputs" / "studies" / "study")
    assert code == 0
    assert text.splitlines() == [
        "note: nobody is asked whether it is the character: --references DIR shows who it is",
        f"study 'study' ({study.id}): 6 storyboards, 6 pairs of baseline, reference, simple",
        "each person rates 6 storyboards, compares 6 pairs, 1 of them twice, and meets 2 attention checks: about 4 minutes",
        "Hand out: outputs/studies/study/study (the whole folder; people open index.html). Give them names p1, p2, ... for exact balance.",
        "Keep to yourself: outputs/studies/study/key.json",
        "Then: callsheet study add FILES",
    ]


def test_options_choose_what_is_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_references(root / "references")
    part = ["--arms", "simple", "baseline", "--stories", "dry_well", "--references", "references", "--choice", "better"]
    code, text = callsheet(capsys, "build", "run", *part, "--name", "pilot", "-o", "for people", "--checks", "0")
    assert code == 0, text
    page = read_study(root / "outputs" / "studies" / "pilot").page
    assert (len(page["rate"]), len(page["pairs"]), page["checks"]) == (2, 1, [])
    assert page["choice"] == "better"
    assert "which is better" in (root / "for people" / "index.html").read_text("utf-8")
    assert text.splitlines()[-1] == "Then: callsheet study add FILES --name pilot"


def test_add_and_show_tell_who_has_answered_and_that_few_are_few(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callsheet(capsys, "build", "run")
    study = read_study(root / "outputs" / "studies" / "study")
    sent = send(root, answer(study, "p1"))
    (root / "broken.json").write_text("{")
    code, text = callsheet(capsys, "add", str(sent), "broken.json")
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == f"{sent}: added"
    assert lines[1].startswith("broken.json: refused: broken.json:1:2: not JSON: ")
    assert lines[2] == "study 'study': 1 rater, 1 with all answers"
    assert lines[3].split() == [
        "rater",
        "answered",
        "checks",
        "passed",
        "repeats",
        "agreeing",
        "median",
        "seconds",
        "flagged",
    ]
    row = lines[4].split()
    assert row[:7] == ["p1", "15", "of", "15", "2", "of", "2"]
    assert row[8:] == ["of", "1", "4.0"]
    assert lines[5].startswith("fewer than 5 raters")
    assert callsheet(capsys, "show") == (0, "\n".join(lines[2:]) + "\n")


def test_five_raters_are_not_few(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callsheet(capsys, "build", "run")
    study = read_study(root / "outputs" / "studies" / "study")
    sent = [str(send(root, answer(study, f"p{number}"))) for number in range(5)]
    code, text = callsheet(capsys, "add", *sent)
    assert code == 0
    assert "5 raters, 5 with all answers" in text
    assert "fewer" not in text


@pytest.mark.parametrize("words", [("show",), ("add", "answers.json")])
def test_without_a_study_there_is_nothing_to_add_to(
    root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert callsheet(capsys, *words) == (
        2,
        "outputs/studies has no study: build one with `callsheet study build RUNS`\n",
    )


def test_of_several_studies_one_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callsheet(capsys, "build", "run", "--name", "a")
    callsheet(capsys, "build", "run", "--name", "b", "--seed", "1")
    code, text = callsheet(capsys, "show")
    assert (code, text) == (2, "outputs/studies has several studies: choose one with --name: a, b\n")
    assert callsheet(capsys, "show", "--name", "b")[0] == 0
    code, text = callsheet(capsys, "show", "--name", "c")
    assert (code, "outputs/studies/c is no study" in text) == (2, True)
    # A file says itself which study it answers.
    sent = send(root, answer(read_study(root / "outputs" / "studies" / "b"), "p1"))
    assert "study 'b': 1 rater" in callsheet(capsys, "add", str(sent))[1]
    code, text = callsheet(capsys, "add", str(sent), "--name", "a")
    assert code == 1
    assert "answers the study 'b', not 'a': add it with --name b" in text


@pytest.mark.parametrize("name", ["../up", "/tmp/x", ".hidden"])
def test_a_study_s_name_is_no_path(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, text = callsheet(capsys, "build", "run", "--name", name)
    assert code == 2
    assert "--name" in text
    assert not (root / "outputs").exists()


def test_a_broken_key_is_told_with_its_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callsheet(capsys, "build", "run")
    (root / "outputs/studies/study/key.json").write_text('{"format": 2}')
    code, text = callsheet(capsys, "show")
    assert code == 2
    assert "outputs/studies/study/key.json, " in text


def test_runs_without_storyboards_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "empty").mkdir()
    code, text = callsheet(capsys, "build", "empty")
    assert code == 2
    assert text.startswith("empty: no storyboards there")
