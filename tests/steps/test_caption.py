"""Caption: what is asked, what is never asked again, what is saved, and what a person is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import BadAnswer, Refused
from runner.ledger import Ledger
from steps import captioning
from steps.caption import CaptionParams
from tests.library import tree
from tests.steps.captioned import PLAIN, ScriptedCaptions, Studio, drawn


@pytest.fixture
def studio(ledger: Ledger, tmp_path: Path) -> Studio:
    return Studio(tmp_path, ledger)


def test_each_image_is_copied_with_its_caption_under_an_id_of_its_content(studio: Studio) -> None:
    first = studio.put("a.png", drawn(0))
    second = studio.put("below/deeper/B.JPG", drawn(1, kind="JPEG"))
    third = studio.put("c.webp", drawn(2, kind="WEBP"))
    before = tree(studio.raw)
    found = studio.caption(ScriptedCaptions())
    assert tree(studio.raw) == before
    assert studio.image(first).name == f"{first}.png"
    assert studio.image(second).read_bytes() == (studio.raw / "below/deeper/B.JPG").read_bytes()
    assert studio.image(third).suffix == ".webp"
    assert studio.text(first) == f"Aldar Kose, {PLAIN}\n"
    assert found["below/deeper/B.JPG"]["id"] == second
    assert found["summary"]["captioned"] == 3
    assert {path.suffix for path in (studio.data / "captions").iterdir()} == {".txt"}


def test_a_second_run_adds_only_what_is_new(studio: Studio) -> None:
    studio.put("a.png", drawn(0))
    studio.put("b.png", drawn(1))
    studio.caption(ScriptedCaptions())
    before = tree(studio.data)
    asked_nothing = ScriptedCaptions()
    found = studio.caption(asked_nothing)
    assert asked_nothing.questions == []
    assert (found["summary"]["kept"], found["summary"]["captioned"]) == (2, 0)
    assert tree(studio.data) == before
    studio.put("0 before all others.png", drawn(2))
    vision = ScriptedCaptions()
    found = studio.caption(vision)
    assert len(vision.questions) == 1
    assert found["0 before all others.png"]["status"] == "captioned"
    assert {path: digest for path, digest in tree(studio.data).items() if path in before and path != "split.json"} == {
        path: digest for path, digest in before.items() if path != "split.json"
    }


def test_a_caption_that_a_person_edited_is_neither_asked_again_nor_written_over(studio: Studio) -> None:
    id_ = studio.put("a.png", drawn(0))
    studio.caption(ScriptedCaptions())
    path = studio.data / "captions" / f"{id_}.txt"
    path.write_text("By hand.")
    vision = ScriptedCaptions()
    found = studio.caption(vision, fresh=True, sentences="seven")
    assert vision.questions == []
    assert path.read_text() == "By hand."
    assert found["a.png"]["caption"] == "By hand."
    assert found["statistics"]["with_trigger"] == 0
    warnings = json.loads(studio.out("report.json").read_text())["warnings"]
    assert any("without “Aldar Kose”" in warning and id_ in warning for warning in warnings)


def test_an_image_is_paid_for_once_whatever_it_is_called_and_wherever_it_goes(studio: Studio) -> None:
    id_ = studio.put("a.png", drawn(0))
    studio.caption(ScriptedCaptions())
    for path in (studio.data / "captions" / f"{id_}.txt", studio.image(id_)):
        path.unlink()
    (studio.raw / "a.png").rename(studio.raw / "renamed.png")
    vision = ScriptedCaptions()
    found = studio.caption(vision)
    assert vision.questions == []
    assert found["renamed.png"]["status"] == "captioned"
    assert studio.text(id_) == f"Aldar Kose, {PLAIN}\n"
    elsewhere = str(studio.root / "other")
    found = studio.caption(vision, images=f"{elsewhere}/i", captions=f"{elsewhere}/c", split=f"{elsewhere}/s.json")
    assert vision.questions == []
    assert Path(elsewhere, "c", f"{id_}.txt").exists()


def test_other_words_ask_again_where_no_caption_is(studio: Studio) -> None:
    id_ = studio.put("a.png", drawn(0))
    studio.caption(ScriptedCaptions())
    (studio.data / "captions" / f"{id_}.txt").unlink()
    vision = ScriptedCaptions()
    studio.caption(vision, describe=["action"])
    assert [question.facts["describe"] for question in vision.questions] == ["action"]


@pytest.mark.parametrize("refusal", [Refused("the model declined"), "I'm sorry, but I can't assist with that.", "  "])
def test_what_is_refused_is_asked_again_as_animation(studio: Studio, refusal: str | Exception) -> None:
    data = drawn(0)
    id_ = studio.put("a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, refusal, "Aldar Kose waves.")
    found = studio.caption(vision)
    assert [question.text.startswith(captioning.FRAMING) for question in vision.questions] == [False, True]
    assert studio.text(id_) == "Aldar Kose waves.\n"
    assert found["a.png"]["asked_again"] is True
    assert found["summary"]["asked_again"] == 1


@pytest.mark.parametrize("second", [Refused("declined again"), "I cannot describe this image."])
def test_refused_twice_it_is_listed_for_deletion_and_never_saved(studio: Studio, second: str | Exception) -> None:
    data = drawn(0)
    studio.put("b/a.png", data)
    studio.put("copy of it.png", data)
    studio.put("good.png", drawn(1))
    before = tree(studio.raw)
    vision = ScriptedCaptions()
    vision.says(data, "I'm sorry, I can't help with that.", second)
    found = studio.caption(vision)
    assert found["summary"] | {"refused": 1, "captioned": 1} == found["summary"]
    assert len(list((studio.data / "captions").iterdir())) == len(list((studio.data / "images").iterdir())) == 1
    assert found["delete"] == [str(studio.raw / "copy of it.png"), str(studio.raw / "b/a.png")]
    head, how, *listed = studio.out("refused.txt").read_text().splitlines()
    assert head.startswith("# Images that were refused twice: a file a line")
    assert how.startswith("# Delete what is left with: ")
    assert listed == [f"'{studio.raw}/copy of it.png'", f"{studio.raw}/b/a.png"]
    assert tree(studio.raw) == before
    part = json.loads(studio.out("report.json").read_text())
    assert part["entries"][1]["badge"]["kind"] == "refused"
    assert "refused.txt lists them" in part["headline"]
    assert any("copy of it.png, b/a.png" in warning for warning in part["warnings"])


def test_a_stated_pattern_decides_what_a_refusal_is(studio: Studio) -> None:
    data = drawn(0)
    studio.put("a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, "NO COMMENT", "He waits.")
    assert studio.caption(vision, refusal="^NO COMMENT")["a.png"]["caption"] == "Aldar Kose, He waits."


@pytest.mark.parametrize(
    ("answer", "saved"),
    [
        ("One.\n\nTwo.\r\n\tThree.", "Aldar Kose, One. Two. Three."),
        ("Aldar Kose\u0000\u001b[31m waves\u202e.", "Aldar Kose[31m waves."),
        ("half a pair \ud83d of Aldar Kose", "half a pair \ufffd of Aldar Kose"),
        ("<script>alert(1)</script>", "Aldar Kose, <script>alert(1)</script>"),
        ("../../etc/passwd", "Aldar Kose, ../../etc/passwd"),
    ],
)
def test_whatever_is_answered_is_a_line_of_text(studio: Studio, answer: str, saved: str) -> None:
    data = drawn(0)
    id_ = studio.put("a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, answer)
    studio.caption(vision)
    assert studio.text(id_) == f"{saved}\n"
    assert sorted(tree(studio.data)) == [
        ".callsheet/captions/captions.lock",
        ".callsheet/captions/images.lock",
        ".callsheet/captions/split.json.lock",
        f"captions/{id_}.txt",
        f"images/{id_}.png",
        "split.json",
    ]


def test_an_endless_answer_is_cut_and_said(studio: Studio) -> None:
    data = drawn(0)
    id_ = studio.put("a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, "Aldar Kose rides on. " * 4000)
    found = studio.caption(vision)
    assert len(studio.text(id_)) <= captioning.MAX_CHARACTERS + 1
    assert found["a.png"]["shortened"] is True
    (long,) = found["statistics"]["long"]
    assert (long["id"], long["raw"]) == (id_, "a.png")
    assert long["tokens_about"] == found["a.png"]["tokens_about"] > captioning.CLIP_TOKENS
    warnings = json.loads(studio.out("report.json").read_text())["warnings"]
    told = f"1 caption over about 77 tokens, of which CLIP reads no more: shorten {id_}.txt (a.png, about {long['tokens_about']})"
    assert told in warnings


def test_a_failed_question_names_its_file_and_is_asked_in_the_next_run(studio: Studio) -> None:
    data = drawn(0)
    studio.put("sub/a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, BadAnswer("not JSON"))
    found = studio.caption(vision)
    assert found["sub/a.png"]["error"] == "sub/a.png: not JSON"
    assert not (studio.data / "captions").exists()
    assert studio.caption(vision)["summary"]["captioned"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("refusal", "("),
        ("describe", []),
        ("describe", ["mood"]),
        ("holdout", 0.6),
        ("trigger", "two\nlines"),
        ("near", -1),
    ],
)
def test_wrong_parameters_are_told(name: str, value: Any) -> None:
    from runner.params import faults

    assert [
        fault for fault in faults("steps.caption", CaptionParams(**{name: value})) if f"steps.caption.{name}" in fault
    ]
    assert list(faults("steps.caption", CaptionParams())) == []


def test_a_broken_caption_of_somebody_else_s_is_said_and_left_alone(studio: Studio) -> None:
    id_ = studio.put("a.png", drawn(0))
    studio.put("b.png", drawn(1))
    studio.caption(ScriptedCaptions())
    (studio.data / "captions" / f"{id_}.txt").write_bytes(b"\xff\xfe broken")
    found = studio.caption(ScriptedCaptions())
    assert found["a.png"]["status"] == "failed"
    assert found["statistics"]["images"] == 1
    assert any("not UTF-8" in line for line in json.loads(studio.out("report.json").read_text())["warnings"])
