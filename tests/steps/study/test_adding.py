"""What raters send back is a stranger's: checked, stored whole, counted once."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import files
from runner.errors import UserError
from steps.study.adding import KNOWN, NEW, REFUSED, REPLACED, Taken, add
from steps.study.answers import read_answers
from steps.study.exports import CHOICE, IDENTITY, QUALITY, check_rater
from steps.study.studies import Study
from tests.steps.study.boards import build_study, draw_references, draw_run
from tests.steps.study.raters import answer, sealed, send

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    run = draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16))
    return build_study(tmp_path / "outputs", run, references=draw_references(tmp_path / "references")).study


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def stored(study: Study) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in study.answers.glob("*")} if study.answers.is_dir() else {}


def test_answers_are_stored_by_their_rater(study: Study, inbox: Path) -> None:
    document = answer(study, "Ольга 2")
    assert add([send(inbox, document)], [study]) == [
        Taken(inbox / "answers-0.json", NEW, study="study", rater="Ольга 2")
    ]
    assert files.read_json(study.answers / "Ольга 2.json") == document
    assert set(stored(study)) == {"Ольга 2.json"}


def test_the_same_file_again_is_no_second_vote(study: Study, inbox: Path) -> None:
    path = send(inbox, answer(study, "p1"))
    copy = send(inbox, files.read_json(path), "answers (1).json")
    before = [each.outcome for each in add([path, copy], [study])]
    assert before == [NEW, KNOWN]
    assert [rater.rater for rater in read_answers(study.folder).raters] == ["p1"]


def test_a_newer_export_takes_the_place_of_the_older_and_not_the_other_way_round(study: Study, inbox: Path) -> None:
    later = answer(study, "p1")
    half = sealed(later | {"answers": later["answers"][:4], "complete": False, "exported_at": later["exported_at"] - 1})
    old, new = send(inbox, half), send(inbox, later)
    told = add([old, new, old], [study])
    assert [each.outcome for each in told] == [NEW, REPLACED, KNOWN]
    assert told[1].note == "in the place of 4 earlier answers"
    assert told[2].note == "older than what is stored of this rater: left out"
    assert files.read_json(study.answers / "p1.json") == later
    assert [files.read_json(path) for path in (study.folder / "replaced").iterdir()] == [half]


def test_two_people_under_one_name_are_not_made_one(study: Study, inbox: Path) -> None:
    first, second = send(inbox, answer(study, "p1")), send(inbox, answer(study, "p1", session="0" * 16))
    [_, refused] = add([first, second], [study])
    assert refused.outcome == REFUSED
    assert "has answered in another sitting, and may be somebody else" in refused.note
    given = stored(study)["p1.json"]
    assert add([second], [study], replace=True)[0].outcome == REPLACED
    # The first person's answers are not gone.
    [kept] = (study.folder / "replaced").iterdir()
    assert kept.read_bytes() == given


def test_answers_find_their_study_and_another_s_are_refused_by_name(study: Study, inbox: Path, tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", seeds=[1], frames=1, size=(16, 16))
    other = build_study(tmp_path / "elsewhere", run).study
    theirs = send(inbox, answer(other, "p1"))
    [refused] = add([theirs], [study])
    assert refused.note == f"{theirs}: answers study '{other.id}', which is not here; here are: 'study' ({study.id})"
    renamed = Study(other.folder.with_name("pilot"), other.key)
    [refused] = add([theirs], [study, renamed], only="study")
    assert refused.note == f"{theirs}: answers the study 'pilot', not 'study': add it with --name pilot"
    assert stored(study) == {}


def change_value(document: dict[str, Any]) -> None:
    entry = next(entry for entry in document["answers"] if entry["question"] == QUALITY)
    entry["value"] = entry["value"] % 5 + 1


def test_a_file_that_was_changed_is_refused_by_its_checksum(study: Study, inbox: Path) -> None:
    document = answer(study, "p1")
    change_value(document)
    [refused] = add([send(inbox, document)], [study])
    assert "its checksum does not match: it was changed or cut off after it was saved" in refused.note
    assert stored(study) == {}


def of(asked: str, /, **changes: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        next(entry for entry in document["answers"] if entry["question"] == asked).update(changes)

    return change


def double(document: dict[str, Any]) -> None:
    document["answers"].append(dict(document["answers"][0]))


def swap(document: dict[str, Any]) -> None:
    """Claim that the other storyboard was on the left."""
    entries = [entry for entry in document["answers"] if entry["question"] == CHOICE]
    entries[0]["left"] = entries[1]["left"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of(QUALITY, value=6), "/value: 6 is not allowed: 1, 2, 3, 4, 5"),
        (of(QUALITY, value=0), "/value: 0 is not allowed"),
        (of(QUALITY, value="5"), "/value: '5' is not allowed"),
        (of(QUALITY, value=3.0), "/value: 3.0 is not allowed"),
        (of(QUALITY, value=True), "True is not of type 'integer', 'string'"),
        (of(QUALITY, value=2.5), "2.5 is not of type 'integer', 'string'"),
        (of(IDENTITY, value="maybe"), "/value: 'maybe' is not allowed: yes, no, cant_tell"),
        (of(CHOICE, value="both"), "/value: 'both' is not allowed: left, right, none"),
        (of(CHOICE, left=None), "None is not of type 'string'"),
        (swap, "was not on the left of page"),
        (of(QUALITY, page="0" * 16), "was not asked 'quality' on page '0000000000000000'"),
        (of(QUALITY, question="beauty"), "was not asked 'beauty'"),
        (of(QUALITY, ms="long"), "'long' is not of type 'integer'"),
        (double, "a second answer to"),
        (lambda it: it.update(complete=False), "says complete = False, and has"),
        (lambda it: it["pages"].append({"page": "f" * 16, "ms": 1}), "was not shown page 'ffffffffffffffff'"),
        (lambda it: it.update(extra="<script>"), "Additional properties are not allowed ('extra' was unexpected)"),
        (lambda it: it.update(format="callsheet study answers 2"), "'callsheet study answers 1' was expected"),
        (lambda it: it.pop("session"), "'session' is a required property"),
    ],
)
def test_what_the_page_could_not_have_saved_is_refused(study: Study, inbox: Path, change: Change, said: str) -> None:
    document = answer(study, "p1")
    change(document)
    [refused] = add([send(inbox, sealed(document))], [study])
    assert refused.outcome == REFUSED
    assert said in refused.note
    assert stored(study) == {}


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "..",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "-o",
        "a\n",
        " p1",
        "p1 ",
        "\x00",
        "p\u202e1",
        "<b>",
        unicodedata.normalize("NFD", "Zoë"),
    ],
)
def test_a_rater_s_name_is_no_path(study: Study, inbox: Path, name: str) -> None:
    before = sorted(inbox.parent.rglob("*"))
    document = answer(study, name)
    path = send(inbox, document)
    [refused] = add([path], [study])
    assert refused.outcome == REFUSED
    assert stored(study) == {}
    assert [each for each in sorted(inbox.parent.rglob("*")) if each not in before] == [
        path,
        study.folder / "answers.lock",
    ]


@pytest.mark.parametrize("name", ["p1", "Zoë", "Ольга", "अदिति", "r-0f3c2a17x", "Anna B.", "李 3", "_x"])
def test_names_of_many_scripts_are_allowed(name: str) -> None:
    check_rater(name, "file")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "is not of type 'object'"),
        (b'{"a": 1e999}', "more than a number can hold"),
        (b"[" * 100_000, "not usable JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (5 * 1024 * 1024 + 1), "are no answers of one person"),
    ],
)
def test_a_file_that_is_no_answers_is_refused_and_stops_no_other(
    study: Study, inbox: Path, data: bytes, said: str
) -> None:
    (inbox / "bad.json").write_bytes(data)
    told = add([inbox / "bad.json", inbox / "none.json", send(inbox, answer(study, "p1"))], [study])
    assert [each.outcome for each in told] == [REFUSED, REFUSED, NEW]
    assert said in told[0].note
    assert "no such file" in told[1].note


@pytest.mark.parametrize(
    "change",
    [
        lambda it: [entry.update(ms=80) for entry in it["answers"]],
        lambda it: [entry.update(ms=-5) for entry in it["answers"]],
        # Longer than the page was looked at.
        lambda it: [entry.update(ms=9000) for entry in it["answers"]],
        # All in all longer than the sitting.
        lambda it: it.update(exported_at=it["started_at"] + 10),
        lambda it: it.update(pages=[]),
    ],
)
def test_answers_in_impossible_times_are_kept_and_flagged(study: Study, inbox: Path, change: Change) -> None:
    document = answer(study, "p1")
    change(document)
    [taken] = add([send(inbox, sealed(document))], [study])
    assert taken.outcome == NEW
    assert taken.note == f"{len(document['answers'])} answers in impossible times, kept and flagged"
    [rater] = read_answers(study.folder).raters
    assert rater.hasty == rater.answered == rater.expected


def test_a_stored_file_that_was_changed_is_told(study: Study, inbox: Path) -> None:
    add([send(inbox, answer(study, "p1"))], [study])
    document = files.read_json(study.answers / "p1.json")
    change_value(document)
    files.write_json(study.answers / "p1.json", document)
    with pytest.raises(UserError, match=r"answers/p1.json: its checksum does not match"):
        read_answers(study.folder)
    path = send(inbox, answer(study, "p1"))
    [refused] = add([path], [study])
    assert refused.note.endswith("; --replace puts these answers in its place")
    [replaced] = add([path], [study], replace=True)
    assert (replaced.outcome, replaced.note) == (REPLACED, "in the place of what was stored")
    assert len(read_answers(study.folder).raters) == 1


def test_a_write_that_fails_leaves_the_older_answers(
    study: Study, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = answer(study, "p1")
    add([send(inbox, sealed(later | {"answers": [], "complete": False, "exported_at": 1}))], [study])
    before, path = stored(study), send(inbox, later)

    def full(path: Path, value: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        add([path], [study])
    assert stored(study) == before
