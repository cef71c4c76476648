"""Caption: what is asked, what is never asked again, what is saved, and what a person is told."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.errors import BadAnswer, Refused, UserError
from runner.ledger import Ledger
from steps import captioning
from steps.backends.protocols import Answer, Question
from steps.caption import Caption, CaptionParams
from steps.library.captions import HOLDOUT, TRAIN, id_of, read_split
from steps.studio.models import domain
from tests.library import context, put, tree
from tests.support import Engine

PLAIN = "Somebody stands in a wide place."


@dataclass
class ScriptedCaptions:
    """Answers by the image's bytes where it is scripted, in turn; else by what every picture shows."""

    script: dict[str, list[str | Exception]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    identity: str = "scripted captions"

    def says(self, data: bytes, *answers: str | Exception) -> None:
        self.script[hashlib.sha256(data).hexdigest()] = list(answers)

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        answers = self.script.get(question.images[0].sha256)
        answer = PLAIN if not answers else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer({"caption": answer}, self.identity, 0.002)

    def estimate(self, question: Question) -> float | None:
        return 0.003


def drawn(number: int, size: int = 96, kind: str = "PNG", **how: Any) -> bytes:
    """Picture `number` of people whom no model knows."""
    buffer = io.BytesIO()
    domain.picture("test", number * domain.RENDERS).draw(size).save(buffer, kind, **how)
    return buffer.getvalue()


@dataclass
class Studio:
    """A folder of raw images, the set that comes of it, and the step run over both."""

    root: Path
    ledger: Ledger
    runs: int = 0

    @property
    def raw(self) -> Path:
        return self.root / "raw_images"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def put(self, name: str, data: bytes) -> str:
        """A raw image; returns the id that it will have."""
        put(self.raw / name, data)
        return id_of(hashlib.sha256(data).hexdigest())

    def caption(self, vision: ScriptedCaptions, *, fresh: bool = False, **params: Any) -> dict[str, Any]:
        """A new run of the step; its results, with rows by the raw file's name."""
        self.runs += 1
        run = f"run-{self.runs}"
        given = {"raw": str(self.raw), "trigger": "Aldar Kose"} | params
        step = Caption(CaptionParams(**given), context(self.ledger, self.root, self.data, run=run), vision)
        self.ledger.flush()
        Engine(self.root, workers=1).run(step, run, fresh=fresh)
        document: dict[str, Any] = json.loads(self.out("results.json").read_text())
        return document | {row["raw"][0]: row for row in document["results"]}

    def out(self, name: str) -> Path:
        return self.root / f"run-{self.runs}" / "step" / name

    def text(self, id_: str) -> str:
        return (self.data / "captions" / f"{id_}.txt").read_text("utf-8")

    def image(self, id_: str) -> Path:
        found = list((self.data / "images").glob(f"{id_}.*"))
        assert len(found) == 1, found
        return found[0]


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
    listed = studio.out("refused.txt").read_text().splitlines()
    assert listed == [str(studio.raw / "copy of it.png"), str(studio.raw / "b/a.png")] == found["delete"]
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


def test_broken_and_odd_files_fail_by_name_and_the_others_go_on(studio: Studio) -> None:
    studio.put("good.png", drawn(0))
    studio.put("cut off.png", drawn(1)[:900])
    studio.put("empty.jpg", b"")
    studio.put("a drawing.png", b"8BPS" + bytes(200))
    (studio.raw / "a folder.png").mkdir()
    studio.put("notes.txt", b"hello")
    studio.put(".hidden.png", b"of an editor")
    studio.put("a folder.png/inside.png", drawn(2))
    os.mkfifo(studio.raw / "pipe.png")
    found = studio.caption(ScriptedCaptions())
    assert {name: row["status"] for name, row in found.items() if isinstance(row, dict) and "status" in row} == {
        "a drawing.png": "failed",
        "a folder.png/inside.png": "captioned",
        "cut off.png": "failed",
        "empty.jpg": "failed",
        "good.png": "captioned",
        "pipe.png": "failed",
    }
    assert "cut off or corrupt" in found["cut off.png"]["error"]
    assert "a drawing.png is not a PNG, JPEG or WebP" in found["a drawing.png"]["error"]
    assert found["no_images"] == ["notes.txt"]


def test_links_that_lead_out_are_refused(studio: Studio) -> None:
    studio.put("good.png", drawn(0))
    put(studio.root / "private" / "secret.png", drawn(1))
    (studio.raw / "out.png").symlink_to(studio.root / "private" / "secret.png")
    (studio.raw / "folder.png").symlink_to(studio.root / "private", target_is_directory=True)
    (studio.raw / "nowhere.png").symlink_to("gone.png")
    (studio.raw / "within.png").symlink_to("good.png")
    vision = ScriptedCaptions()
    found = studio.caption(vision)
    assert len(vision.questions) == 1
    assert "leaves" in found["out.png"]["error"]
    assert "leaves" in found["folder.png"]["error"]
    assert found["nowhere.png"]["error"] == "nowhere.png is no file"
    assert found["good.png"]["raw"] == ["good.png", "within.png"]
    assert len(list((studio.data / "images").iterdir())) == 1


def test_names_may_be_anything(studio: Studio) -> None:
    names = ["two\nlines.png", "-rf.png", "Әлдар Көсе 🐎.PNG", "$(touch canary).png", "<b>bold</b>.png", "a;b.png"]
    for number, name in enumerate(names):
        studio.put(name, drawn(number))
    (studio.raw / "a;b.png").rename(studio.raw / os.fsdecode(b"latin-\xe9.png"))
    vision = ScriptedCaptions()
    vision.says(drawn(0), "I'm sorry, I can't.", Refused("no"))
    found = studio.caption(vision)
    assert found["summary"]["captioned"] == 5
    assert found["two\\nlines.png"]["status"] == "refused"
    assert found["latin-\\udce9.png"]["status"] == "captioned"
    # One name a line, or what deletes by this list would delete another file.
    assert studio.out("refused.txt").read_text() == f"{studio.raw}/two\\nlines.png\n"


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
        ".callsheet/captions/lock",
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
    assert found["statistics"]["long"] == [id_]
    warnings = json.loads(studio.out("report.json").read_text())["warnings"]
    assert any("over about 77 tokens" in warning for warning in warnings)


def test_a_failed_question_names_its_file_and_is_asked_in_the_next_run(studio: Studio) -> None:
    data = drawn(0)
    studio.put("sub/a.png", data)
    vision = ScriptedCaptions()
    vision.says(data, BadAnswer("not JSON"))
    found = studio.caption(vision)
    assert found["sub/a.png"]["error"] == "sub/a.png: not JSON"
    assert not (studio.data / "captions").exists()
    assert studio.caption(vision)["summary"]["captioned"] == 1


def test_what_is_there_twice_is_asked_about_once(studio: Studio) -> None:
    data = drawn(0)
    with Image.open(io.BytesIO(data)) as image:
        again = io.BytesIO()
        image.save(again, "WEBP", lossless=True)
        near = io.BytesIO()
        image.resize((90, 90)).save(near, "JPEG", quality=80)
    studio.put("a.png", data)
    studio.put("b.png", data)
    studio.put("c.webp", again.getvalue())
    studio.put("d.jpg", near.getvalue())
    studio.put("e.png", drawn(3))
    vision = ScriptedCaptions()
    found = studio.caption(vision)
    assert len(vision.questions) == 3
    told = {row["raw"]: (row["same_as"], row["kind"]) for row in found["duplicates"]}
    assert told == {"b.png": ("a.png", "bytes"), "c.webp": ("a.png", "pixels"), "d.jpg": ("a.png", "near")}
    parts = {row["raw"][0]: row["part"] for row in found["results"]}
    assert parts["d.jpg"] == parts["a.png"]
    assert len(list((studio.data / "images").iterdir())) == 3


def test_near_duplicates_can_be_left_out_and_a_captioned_one_stands_for_the_others(studio: Studio) -> None:
    with Image.open(io.BytesIO(drawn(0))) as image:
        small = io.BytesIO()
        image.resize((80, 80)).save(small, "PNG")
    studio.put("z.png", drawn(0))
    studio.caption(ScriptedCaptions(), drop_near=True)
    studio.put("a.png", small.getvalue())
    vision = ScriptedCaptions()
    found = studio.caption(vision, drop_near=True)
    assert vision.questions == []
    assert [(row["raw"], row["same_as"]) for row in found["duplicates"]] == [("a.png", "z.png")]
    assert len(studio.caption(vision, near=0)["duplicates"]) == 0
    assert len(vision.questions) == 1


def test_an_image_that_metadata_turns_is_saved_upright(studio: Studio) -> None:
    image = domain.picture("test", 0).draw(96).crop((0, 0, 96, 64))
    exif = image.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    id_ = studio.put("turned.jpg", buffer.getvalue())
    vision = ScriptedCaptions()
    studio.caption(vision)
    assert vision.questions[0].images[0].size == (64, 96)
    with Image.open(studio.image(id_)) as saved:
        assert saved.size == (64, 96)
        assert 0x0112 not in saved.getexif()


def test_a_split_is_there_before_anybody_trains_and_stays(studio: Studio) -> None:
    for number in range(9):
        studio.put(f"{number}.png", drawn(number))
    studio.caption(ScriptedCaptions(), holdout=0.2)
    first = read_split(studio.data / "split.json")
    assert sorted(first.values()) == [HOLDOUT] * 2 + [TRAIN] * 7
    for number in range(9, 14):
        studio.put(f"{number}.png", drawn(number))
    studio.caption(ScriptedCaptions(), holdout=0.2)
    then = read_split(studio.data / "split.json")
    assert {id_: then[id_] for id_ in first} == first
    assert sorted(then.values()) == [HOLDOUT] * 3 + [TRAIN] * 11


def imagefolder(folder: Path) -> dict[str, str]:
    """Read as Hugging Face's documentation has it: metadata.jsonl beside the images, each with file_name, other columns are its own."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    images = {path.name for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".webp")}
    assert {row["file_name"] for row in rows} == images
    assert all(set(row) == {"file_name", "text"} for row in rows)
    for name in images:
        with Image.open(folder / name) as image:
            image.load()
    return {Path(row["file_name"]).stem: row["text"] for row in rows}


def test_the_set_is_exported_in_both_layouts(studio: Studio) -> None:
    for number in range(5):
        studio.put(f"{number}.png", drawn(number))
    studio.caption(ScriptedCaptions(), repeats=7)
    parts = read_split(studio.data / "split.json")
    train, holdout = (imagefolder(studio.out("imagefolder") / part) for part in (TRAIN, HOLDOUT))
    assert {**dict.fromkeys(train, TRAIN), **dict.fromkeys(holdout, HOLDOUT)} == parts
    assert set(train.values()) == {f"Aldar Kose, {PLAIN}"}
    (place,) = studio.out("kohya").iterdir()
    assert place.name == "7_Aldar Kose"
    assert {path.stem for path in place.glob("*.png")} == {path.stem for path in place.glob("*.txt")} == set(train)
    one = next(iter(train))
    # A tool may rewrite what was exported, in place too: the library has its own.
    kept = studio.image(one).read_bytes()
    assert (place / f"{one}.png").read_bytes() == kept
    with (place / f"{one}.png").open("r+b") as file:
        file.write(b"rewritten")
    assert studio.image(one).read_bytes() == kept
    assert (place / f"{one}.txt").read_text() == studio.text(one)
    studio.caption(ScriptedCaptions(), imagefolder=False, kohya=False)
    assert not studio.out("imagefolder").exists()
    assert not studio.out("kohya").exists()


def test_a_trigger_is_no_path_in_an_export(studio: Studio) -> None:
    studio.put("a.png", drawn(0))
    studio.caption(ScriptedCaptions(), trigger="../../../up/and: away")
    (place,) = studio.out("kohya").iterdir()
    assert place.name == "10__up_and_ away"


def test_results_and_report_tell_what_it_took(studio: Studio) -> None:
    for number in range(3):
        studio.put(f"{number}.png", drawn(number))
    found = studio.caption(ScriptedCaptions())
    assert found["cost"]["usd"] == pytest.approx(0.006)
    assert found["cost"]["usd_per_image"] == pytest.approx(0.002)
    words = len(f"Aldar Kose, {PLAIN}".split())
    assert found["statistics"]["words"] == {"least": words, "mean": words, "most": words}
    assert found["statistics"]["with_trigger"] == 1
    part = json.loads(studio.out("report.json").read_text())
    assert part["headline"].startswith("3 images captioned, 0 had a caption. $0.0060 in all, $0.0020 and ")
    assert [entry["title"] for entry in part["entries"]] == ["Contact sheet", "1 · 0.png", "2 · 1.png", "3 · 2.png"]
    shown = [picture["file"] for entry in part["entries"] for picture in entry["pictures"]]
    assert len(shown) == 4
    for name in shown:
        with Image.open(studio.out("..") / name) as image:
            assert max(image.size) >= 64


def test_captions_are_held_against_a_known_truth(studio: Studio) -> None:
    for number in range(3):
        studio.put(f"{number}.png", drawn(number))
    vision = ScriptedCaptions()
    vision.says(drawn(0), "a portrait of Aldar Kose, waving, in the snow")
    vision.says(drawn(1), "a portrait of Aldar Kose, waving, in the desert")
    rows = [{"file": f"{number}.png", "caption": "a portrait of {who}, waving, in the snow"} for number in range(2)]
    truth = studio.root / "truth.json"
    truth.write_text(json.dumps({"images": rows}))
    assert studio.caption(vision, truth=str(truth))["truth"] == {"known": 2, "agree": 1}
    assert "1 of 2 captions agree with the known truth" in studio.out("report.json").read_text()
    assert studio.caption(vision, truth=str(truth), describe=["action"])["truth"] == {"known": 2, "agree": 2}
    truth.write_text('{"actors": {}}')
    with pytest.raises(UserError, match=r"is no truth.json of"):
        studio.caption(vision, truth=str(truth))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"raw": "nowhere"}, r"nowhere: no such folder"),
        ({"raw": "data"}, r"step.raw = .*data: it holds .*images or lies in it"),
        ({"raw": "data/images/new"}, "lies in it"),
        ({"raw": "empty"}, "no image there"),
    ],
)
def test_a_wrong_folder_is_told_before_anything(studio: Studio, params: Mapping[str, str], told: str) -> None:
    studio.put("a.png", drawn(0))
    (studio.root / "empty").mkdir()
    with pytest.raises(UserError, match=told):
        given: dict[str, Any] = {name: str(studio.root / value) for name, value in params.items()}
        studio.caption(ScriptedCaptions(), **given)
    assert not studio.data.exists()


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
