"""The set that captioning leaves: split, exports, results.json and report."""

from __future__ import annotations

import json
import shutil
import statistics
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.errors import BadAnswer, BudgetReached, Refused, UserError
from runner.ledger import Ledger
from steps.caption import Caption, CaptionParams
from steps.library.captions import HOLDOUT, TRAIN, read_split, split_of
from tests.library import context
from tests.steps.captioned import PLAIN, ScriptedCaptions, Studio, drawn


@pytest.fixture
def studio(ledger: Ledger, tmp_path: Path) -> Studio:
    return Studio(tmp_path, ledger)


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


def test_what_is_held_out_is_said_before_the_first_image_is_there_and_stays_when_a_run_stops(studio: Studio) -> None:
    ids = [studio.put(f"{number:02d}.png", drawn(number)) for number in range(10)]
    vision = ScriptedCaptions()
    vision.says(drawn(2), BudgetReached("no more"))
    with pytest.raises(BudgetReached):
        studio.caption(vision, holdout=0.3)
    stopped = read_split(studio.data / "split.json")
    assert {path.stem for path in (studio.data / "captions").iterdir()} == set(ids[:2])
    assert sorted(stopped) == sorted(ids)
    assert sorted(stopped.values()) == [HOLDOUT] * 3 + [TRAIN] * 7
    studio.caption(ScriptedCaptions(), holdout=0.3)
    assert read_split(studio.data / "split.json") == stopped
    for number in range(10, 20):
        studio.put(f"{number:02d}.png", drawn(number))
    studio.caption(ScriptedCaptions(), holdout=0.3)
    grown = read_split(studio.data / "split.json")
    assert {id_: grown[id_] for id_ in ids} == stopped
    assert sorted(grown.values()) == [HOLDOUT] * 6 + [TRAIN] * 14


def test_a_stopped_run_leaves_the_split_that_an_unbroken_one_does(studio: Studio) -> None:
    for number in range(8):
        studio.put(f"{number}.png", drawn(number))
    studio.caption(
        ScriptedCaptions(),
        split=str(studio.root / "unbroken.json"),
        images=f"{studio.root}/i",
        captions=f"{studio.root}/c",
    )
    vision = ScriptedCaptions()
    vision.says(drawn(1), BudgetReached("no more"))
    with pytest.raises(BudgetReached):
        studio.caption(vision, describe=["action"])
    assert read_split(studio.data / "split.json") == read_split(studio.root / "unbroken.json")


def test_where_all_that_was_to_be_held_out_is_refused_another_is(studio: Studio) -> None:
    ids = {studio.put(f"{number}.png", drawn(number)): number for number in range(6)}
    (held_out,) = [id_ for id_, part in split_of(ids, {}, 0.1).items() if part == HOLDOUT]
    vision = ScriptedCaptions()
    vision.says(drawn(ids[held_out]), Refused("no"), Refused("no"))
    found = studio.caption(vision)
    assert (found["statistics"]["train"], found["statistics"]["holdout"]) == (4, 1)
    assert len(imagefolder(studio.out("imagefolder") / HOLDOUT)) == 1


def test_no_split_is_said_of_nothing(studio: Studio) -> None:
    studio.put("a.png", drawn(0))
    vision = ScriptedCaptions()
    vision.says(drawn(0), BadAnswer("not JSON"))
    studio.caption(vision)
    assert not (studio.data / "split.json").exists()


@pytest.mark.parametrize("same", ["images", "captions", "split"])
def test_two_libraries_that_name_the_same_place_take_turns(studio: Studio, ledger: Ledger, same: str) -> None:
    studio.put("a.png", drawn(0))
    (studio.root / "linked").symlink_to(studio.root, target_is_directory=True)
    places = {"images": "shared/i", "captions": "shared/c", "split": "shared/s.json"}

    def step(name: str, root: Path) -> Caption:
        given: dict[str, Any] = {
            place: str(root / (where if place == same else f"{name}/{where}")) for place, where in places.items()
        }
        about = context(ledger, studio.root, studio.root / name, run=name)
        return Caption(CaptionParams(raw=str(studio.raw), **given), about, ScriptedCaptions())

    first, second = step("one", studio.root), step("two", studio.root / "linked")
    (item,) = first.items()
    listed: list[int] = []
    waiting = threading.Thread(target=lambda: listed.append(len(second.items())))
    waiting.start()
    waiting.join(0.8)
    assert waiting.is_alive()
    first.process(item.value)
    assert listed == []
    first.close()
    waiting.join(30)
    assert listed == [1]
    second.close()


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
    assert found["usd"] == pytest.approx(0.006)
    assert found["usd_per_image"] == pytest.approx(0.002)
    assert found["seconds_per_image"] == statistics.median(row["seconds"] for row in found["results"])
    assert found["from_cache"] == 0
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


def test_remembered_captions_are_told_at_what_they_cost_when_they_were_asked(studio: Studio) -> None:
    for number in range(2):
        studio.put(f"{number}.png", drawn(number))
    first = studio.caption(ScriptedCaptions())
    shutil.rmtree(studio.data)
    studio.put("2.png", drawn(2))
    vision = ScriptedCaptions(usd=0.008)
    again = studio.caption(vision)
    assert len(vision.questions) == 1
    assert (again["from_cache"], again["summary"]["captioned"]) == (2, 3)
    assert again["usd"] == pytest.approx(0.008)
    assert again["usd_per_image"] == pytest.approx((0.002 + 0.002 + 0.008) / 3)
    row = again["0.png"]
    assert (row["usd"], row["usd_when_asked"], row["from_cache"]) == (0, pytest.approx(0.002), True)
    assert row["seconds"] == first["0.png"]["seconds"]
    part = json.loads(studio.out("report.json").read_text())
    assert part["headline"].startswith(
        "3 images captioned (2 of them asked in earlier runs), 0 had a caption. $0.0080 in all, $0.0040 and "
    )
    assert ["remembered", 2] in part["counts"]
    kept = studio.caption(ScriptedCaptions())
    assert (kept["summary"]["kept"], kept["from_cache"], kept["usd"]) == (3, 0, 0)
    # A caption that was there before may be anybody's.
    assert (kept["usd_per_image"], kept["seconds_per_image"]) == (None, None)
    assert json.loads(studio.out("report.json").read_text())["headline"] == "0 images captioned, 3 had a caption."


def test_what_refusals_cost_is_a_part_of_what_captions_cost(studio: Studio) -> None:
    for number in range(3):
        studio.put(f"{number}.png", drawn(number))
    vision = ScriptedCaptions()
    vision.says(drawn(0), "I'm sorry, I can't help with that.", "He waits.")
    found = studio.caption(vision)
    assert found["0.png"]["usd"] == pytest.approx(0.004)
    assert found["usd_per_image"] == pytest.approx(0.008 / 3, abs=1e-6)


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
