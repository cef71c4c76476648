"""Which files captioning takes, whatever they are called, and how it tells of those that it does not."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.errors import Refused, UserError
from runner.ledger import Ledger
from steps.studio.models import domain
from tests.library import put
from tests.steps.captioned import ScriptedCaptions, Studio, drawn


@pytest.fixture
def studio(ledger: Ledger, tmp_path: Path) -> Studio:
    return Studio(tmp_path, ledger)


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


ODD = [
    "two\nlines.png",
    "-rf.png",
    "#comment.png",
    "Әлдар Көсе 🐎.PNG",
    "$(touch canary).png",
    "`touch canary`.png",
    'it\'s "quoted".png',
    "tab\tand 'quote'\r.png",
    " spaces .png",
    "*.png",
    "right\u202eto left.png",
    "<b>bold; a&b|c.png",
    os.fsdecode(b"latin-\xe9.png"),
]


def test_names_may_be_anything(studio: Studio) -> None:
    for number, name in enumerate(ODD):
        studio.put(name, drawn(number))
    found = studio.caption(ScriptedCaptions())
    assert found["summary"]["captioned"] == len(ODD)
    assert found["two\\nlines.png"]["status"] == "captioned"
    assert found["latin-\\udce9.png"]["status"] == "captioned"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("spared", [1, 0])
def test_what_is_listed_for_deletion_is_deleted_by_the_command_that_the_list_tells(studio: Studio, spared: int) -> None:
    vision = ScriptedCaptions()
    for number, name in enumerate(ODD):
        studio.put(name, drawn(number))
        # Either half: a name that is taken wrongly deletes what is to stay, or stays.
        if number % 2 == spared:
            vision.says(drawn(number), "I'm sorry, I can't help with that.", Refused("no"))
    # What a careless reading of the list would take for a file of it.
    for name in ("two", "lines.png", "spaces", "quoted", "two nlines.png"):
        studio.put(f"kept {name}", b"x")
        (studio.raw / f"kept {name}").rename(studio.raw / f"{name}.txt")
    before = set(os.listdir(studio.raw))
    found = studio.caption(vision)
    refused = {name for number, name in enumerate(ODD) if number % 2 == spared}
    assert {Path(path).name for path in found["delete"]} == refused
    lines = studio.out("refused.txt").read_text("utf-8").splitlines()
    assert len(lines) == 2 + len(refused)
    assert all(line.isprintable() for line in lines)
    command = lines[1].removeprefix("# Delete what is left with: ")
    done = subprocess.run(
        ["bash", "-c", command], cwd=studio.out("refused.txt").parent, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert set(os.listdir(studio.raw)) == before - refused
    assert not list(studio.root.rglob("canary"))


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
