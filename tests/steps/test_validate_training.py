"""Validate training images: which actors, which images, what is found without asking, and that nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import ItemError, UserError
from runner.ledger import Ledger
from steps.backends.protocols import Answer, Question
from steps.library.composites import cells, places
from steps.library.history import History
from steps.library.mirror import Storage
from steps.rating import NAME
from steps.validate_training import ValidateTraining, ValidateTrainingParams
from tests.library import RecordingMirror, context, jpeg, make_library, no_mirror, put, tree
from tests.steps.library.test_composites import bomb
from tests.support import Engine

ADA, BEK, CUI = "0000_ada", "0001_bek", "0002_cui"


@dataclass
class Sorting:
    """Says that every image is a photograph of quality 7, or what is scripted for a question."""

    script: list[Any] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    identity: str = "sorting"

    def ask(self, question: Question) -> Answer:
        assert question.name == NAME
        self.questions.append(question)
        answer = self.script.pop(0) if self.script else None
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer or self.all_photographs(question), self.identity)

    def all_photographs(self, question: Question) -> Mapping[str, Any]:
        rows = [{"number": n, "class": "photorealistic", "quality": 7} for n in numbers(question)]
        return {"images": rows, "analysis": "all alike"}

    def estimate(self, question: Question) -> float | None:
        return 0.0


def numbers(question: Question) -> list[int]:
    return [int(number) for number in question.facts["numbers"].split(", ")]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = make_library(tmp_path / "data", training=3)
    for manifest in root.rglob("manifest.json"):
        manifest.unlink()
    for actor, name in enumerate((ADA, BEK, CUI)):
        for number in (1, 2, 3):
            put(home(root, name) / f"{name}_{number}.jpg", jpeg(f"#{80 * actor:02x}{80 * number:02x}40"))
    return root


def home(library: Path, name: str = BEK) -> Path:
    return library / "actors" / name / "training_data"


def evaluate(
    ledger: Ledger, library: Path, vision: Any = None, storage: Storage | None = None, run: str = "run-1", **params: Any
) -> dict[str, Any]:
    """Run the step through the engine; results.json, and in it each actor's row by name."""
    folder = library.parent
    made = context(ledger, folder, library, run=run)
    step = ValidateTraining(ValidateTrainingParams(**params), made, vision or Sorting(), storage or no_mirror(ledger))
    ledger.flush()
    Engine(folder, workers=2).run(step, run)
    document: dict[str, Any] = json.loads((folder / run / "step" / "results.json").read_text())
    assert document["total_processed"] == len(document["results"])
    return {**document, **{row["actor_name"]: row for row in document["results"]}}


def test_every_image_gets_a_class_and_a_quality_and_nothing_is_changed(ledger: Ledger, library: Path) -> None:
    before, vision = tree(library), Sorting()
    found = evaluate(ledger, library, vision)
    assert tree(library) == before
    assert len(vision.questions) == 3, "one question an actor"
    row = found[BEK]
    assert (row["actor_id"], row["success"], row["error"], row["analysis"]) == (1, True, None, "all alike")
    assert row["base_image"] == f"actors/{BEK}/base_image/{BEK}_base.jpg"
    assert row["composites"] == ["0001_composite.jpg"]
    file = home(library) / f"{BEK}_2.jpg"
    assert row["images"][1] == {
        "number": 2,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "size": file.stat().st_size,
        "where": "disk",
        "key": None,
        "class": "photorealistic",
        "quality": 7,
        "problem": None,
        "notes": [],
        "made_at": file.stat().st_mtime,
    }
    assert found["summary"] == {
        "photorealistic": 9,
        "bw_stylized": 0,
        "color_stylized": 0,
        "broken": 0,
        "duplicates": 0,
        "unreadable": 0,
        "actors_with_images": 3,
        "actors_empty": 0,
        "errors": 0,
    }
    assert found["dry_run"] is True
    assert found["classes"] == ["photorealistic", "bw_stylized", "color_stylized"]


def test_the_composite_shows_every_image_under_its_number(ledger: Ledger, library: Path) -> None:
    for colour, number in (("red", 11), ("blue", 4), ("lime", 30)):
        put(home(library) / f"{BEK}_{number}.png", jpeg(colour, (300, 200)))
    row = evaluate(ledger, library)[BEK]
    assert [image["file"].split("_")[-1] for image in row["images"]] == [
        "1.jpg",
        "2.jpg",
        "3.jpg",
        "4.png",
        "11.png",
        "30.png",
    ]
    with Image.open(library.parent / "run-1/step" / row["composites"][0]) as sheet:
        shown = cells(sheet.convert("RGB"), places(sheet))
    for cell, rgb in zip(shown[3:6], ((0, 0, 255), (255, 0, 0), (0, 255, 0)), strict=True):
        pixel = np.asarray(cell, dtype=int)[60, 100]
        assert np.abs(pixel - rgb).max() < 12


def test_more_than_fifty_images_take_several_sheets_and_one_question(ledger: Ledger, library: Path) -> None:
    for number in range(4, 56):
        put(home(library) / f"{BEK}_{number}.jpg", jpeg(f"#{4 * number:02x}8020"))
    vision = Sorting()
    row = evaluate(ledger, library, vision, actors=[1])[BEK]
    assert row["composites"] == ["0001_composite.jpg", "0001_composite_2.jpg"]
    assert len(row["images"]) == 55
    (question,) = vision.questions
    assert len(question.images) == 2
    assert numbers(question) == list(range(1, 56))


def test_copies_are_found_by_us_and_the_lowest_number_stays(ledger: Ledger, library: Path) -> None:
    for number in (7, 9):
        put(home(library) / f"{BEK}_{number}.jpg", (home(library) / f"{BEK}_2.jpg").read_bytes())
    rows = [{"number": 1, "class": "photorealistic", "quality": 3}, {"number": 2, "class": "bw_stylized", "quality": 9}]
    vision = Sorting([{"images": [*rows, {**rows[0], "number": 3}], "analysis": ""}])
    row = evaluate(ledger, library, vision, actors=[1])[BEK]
    assert numbers(vision.questions[0]) == [1, 2, 3]
    original, *copies = (row["images"][index] for index in (1, 3, 4))
    assert (original["quality"], original["problem"]) == (9, None)
    for copy in copies:
        assert (copy["class"], copy["quality"], copy["problem"]) == ("bw_stylized", 0, "duplicate")
        assert copy["notes"] == ["the same file as number 2"]


def test_broken_images_count_and_nobody_is_asked_about_them(ledger: Ledger, library: Path) -> None:
    whole = (home(library) / f"{BEK}_1.jpg").read_bytes()
    put(home(library) / f"{BEK}_4.jpg", whole[: len(whole) // 2])
    put(home(library) / f"{BEK}_5.jpg", b"")
    vision = Sorting()
    found = evaluate(ledger, library, vision, actors=[1])
    assert numbers(vision.questions[0]) == [1, 2, 3]
    for image in found[BEK]["images"][3:]:
        assert (image["class"], image["quality"], image["problem"]) == (None, 0, "broken")
    assert "empty (0 bytes)" in found[BEK]["images"][4]["notes"][0]
    assert (found["summary"]["broken"], found["summary"]["photorealistic"]) == (2, 3)


def test_when_all_are_broken_nobody_is_asked(ledger: Ledger, library: Path) -> None:
    for path in home(library).iterdir():
        path.write_bytes(path.read_bytes()[:200])
    vision = Sorting()
    row = evaluate(ledger, library, vision, actors=[1])[BEK]
    assert vision.questions == []
    assert row["success"]
    # Cut off, they are not the same: each is broken for itself.
    assert [image["problem"] for image in row["images"]] == ["broken"] * 3


def test_files_that_nobody_can_show_are_broken_or_left_alone(ledger: Ledger, library: Path) -> None:
    put(home(library) / f"{BEK}_4.png", b"8BPS" + bytes(100))
    put(home(library) / f"{BEK}_5.png", bomb(40_000, 30_000))
    put(home(library) / "response.json.png", b"{}")
    put(home(library) / "manifest.json", b"{}")
    found = evaluate(ledger, library, actors=[1])
    row = found[BEK]
    assert [(image["number"], image["problem"]) for image in row["images"]][3:] == [(4, "broken")]
    assert "not a PNG, JPEG or WebP image" in row["images"][3]["notes"][0]
    assert [one["file"] for one in row["unreadable"]] == ["manifest.json", f"{BEK}_5.png"]
    assert "decompression bomb" in row["unreadable"][1]["why"]
    assert found["summary"]["unreadable"] == 2


def test_an_actor_without_a_usable_answer_fails_alone(ledger: Ledger, library: Path) -> None:
    class Confused(Sorting):
        def ask(self, question: Question) -> Answer:
            if len(numbers(question)) == 4:
                return Answer({"images": [], "analysis": ""}, self.identity)
            return super().ask(question)

    put(home(library) / f"{BEK}_4.jpg", jpeg("red"))
    found = evaluate(ledger, library, Confused())
    assert found[BEK]["success"] is False
    assert found[BEK]["error"].startswith(
        "2 answers did not rate every image once; the last one: no rating for 1, 2, 3"
    )
    assert found[BEK]["images"] == found[BEK]["composites"] == []
    assert found[ADA]["success"]
    assert found["summary"]["errors"] == 1
    assert History(ledger, library).of(BEK) == []


def test_only_actors_whose_images_changed_are_asked_about_again(ledger: Ledger, library: Path) -> None:
    evaluate(ledger, library)
    first = home(library, ADA) / f"{ADA}_1.jpg"
    os.utime(first, (1_000_000_000, 1_000_000_000))
    put(home(library) / f"{BEK}_2.jpg", jpeg("white"))
    (home(library, CUI) / f"{CUI}_3.jpg").rename(home(library, CUI) / f"{CUI}_0.jpg")
    vision = Sorting()
    found = evaluate(ledger, library, vision, run="run-2")
    assert len(vision.questions) == 2, "a changed file, and one whose name gave it another number"
    assert found[ADA]["images"][0]["made_at"] == 1_000_000_000, "as it is now, not as it was when it was asked"
    for name in ("0000", "0001", "0002"):
        with Image.open(library.parent / f"run-2/step/{name}_composite.jpg") as sheet:
            assert sheet.size == (1016, 232)


@pytest.mark.parametrize("lost", [False, True])
def test_a_remembered_answer_keeps_its_composite(ledger: Ledger, library: Path, lost: bool) -> None:
    evaluate(ledger, library)
    drawn = library.parent / "run-1/step/0001_composite.jpg"
    before = drawn.read_bytes()
    if lost:
        drawn.write_bytes(b"something else")
    vision = Sorting()
    row = evaluate(ledger, library, vision, run="run-2")[BEK]
    assert vision.questions == []
    assert row["composites"] == ["0001_composite.jpg"]
    assert (library.parent / "run-2/step/0001_composite.jpg").read_bytes() == before


@pytest.mark.parametrize("setting", [{"classes": ["a", "b"]}, {"prompt": "{classes} {numbers}"}, {"asks": 3}])
def test_another_question_is_asked_anew(ledger: Ledger, library: Path, setting: dict[str, Any]) -> None:
    class Obliging(Sorting):
        def all_photographs(self, question: Question) -> Mapping[str, Any]:
            kind = question.facts["classes"].split(", ")[0]
            return {"images": [{"number": n, "class": kind, "quality": 7} for n in numbers(question)], "analysis": ""}

    evaluate(ledger, library, Obliging())
    vision = Obliging()
    evaluate(ledger, library, vision, run="run-2", **setting)
    assert len(vision.questions) == 3


def test_actors_without_images_are_left_out_unless_they_are_asked_for(ledger: Ledger, library: Path) -> None:
    for path in home(library).iterdir():
        path.unlink()
    put(home(library) / "prompt_metadata.json", b"{}")
    for path in home(library, CUI).iterdir():
        path.unlink()
    base = library / f"actors/{CUI}/base_image/{CUI}_base.jpg"
    base.write_bytes(base.read_bytes()[:300])
    found = evaluate(ledger, library)
    assert [row["actor_name"] for row in found["results"]] == [ADA]
    assert {one["actor_name"]: one["why"] for one in found["left_out"]} == {
        BEK: "has no training images",
        CUI: "has no training images",
    }
    vision = Sorting()
    found = evaluate(ledger, library, vision, run="run-2", include_empty=True)
    assert [row["actor_name"] for row in found["results"]] == [ADA, BEK]
    assert (found[BEK]["success"], found[BEK]["images"], found[BEK]["composites"]) == (True, [], [])
    assert (found["summary"]["actors_with_images"], found["summary"]["actors_empty"]) == (1, 1)
    assert "its base image can't be used: " in found["left_out"][0]["why"]
    assert vision.questions == []
    base.unlink()
    found = evaluate(ledger, library, run="run-3", include_empty=True)
    assert found["left_out"] == [{"actor_name": CUI, "why": "has neither training images nor a base image"}]


def test_the_protected_are_not_looked_at(ledger: Ledger, library: Path) -> None:
    vision = Sorting()
    found = evaluate(ledger, library, vision, protect=[1])
    assert BEK not in found
    assert found["left_out"] == [{"actor_name": BEK, "why": "protected by step.protect: not looked at"}]
    assert len(vision.questions) == 2
    with pytest.raises(UserError, match=r"step.protect: \[999\] are ids of nobody"):
        evaluate(ledger, library, protect=[999])


def test_a_sample_is_drawn_by_the_seed(ledger: Ledger, library: Path) -> None:
    assert evaluate(ledger, library, sample=2)["results"] == evaluate(ledger, library, sample=2, run="run-2")["results"]
    assert len(evaluate(ledger, library, sample=2, run="run-3")["results"]) == 2


def test_a_folder_that_leads_out_of_the_library_fails_its_actor_alone(ledger: Ledger, library: Path) -> None:
    outside = library.parent / "outside"
    home(library).rename(outside)
    home(library).symlink_to(outside)
    found = evaluate(ledger, library)
    assert found[BEK]["success"] is False
    assert "by a symbolic link" in found[BEK]["error"]
    assert found[ADA]["success"]


def manifest(name: str, *images: dict[str, Any]) -> bytes:
    return json.dumps({"version": 1, "actor_id": name[:4], "actor_name": name, "images": list(images)}).encode()


def test_the_manifest_says_when_an_image_was_made(ledger: Ledger, library: Path) -> None:
    images = ({"file": f"{BEK}_1.jpg", "made_at": "2026-01-02T03:04:05Z"}, {"file": f"{BEK}_2.jpg", "made_at": "once"})
    evaluate(ledger, library)
    put(home(library) / "manifest.json", manifest(BEK, *images))
    vision = Sorting()
    row = evaluate(ledger, library, vision, run="run-2")[BEK]
    assert row["images"][0]["made_at"] == 1767323045
    assert row["images"][1]["made_at"] == (home(library) / f"{BEK}_2.jpg").stat().st_mtime
    assert vision.questions == [], "a manifest changes no image"


def test_images_that_only_the_mirror_has_are_looked_at_and_not_written(ledger: Ledger, library: Path) -> None:
    mirror = RecordingMirror(library)
    folder, elsewhere = f"actors/{BEK}/training_data", "archive/x.jpg"
    mirror.objects = {
        f"{folder}/{BEK}_2.jpg": (home(library) / f"{BEK}_2.jpg").read_bytes(),
        f"{folder}/{BEK}_8.jpg": jpeg("white"),
        f"{folder}/{BEK}_9.jpg": jpeg("blue"),
        f"{folder}/response_9.jpg": b"no image by its name",
        f"{folder}/manifest.json": b"{}",
        elsewhere: jpeg("black"),
    }
    plain, named = {"file": f"{BEK}_8.jpg"}, {"file": f"{BEK}_6.jpg", "url": f"https://mirror.example/{elsewhere}"}
    gone = {"file": f"{BEK}_7.jpg", "url": f"https://mirror.example/{folder}/{BEK}_7.jpg"}
    foreign = {"file": f"{BEK}_5.jpg", "url": "https://elsewhere.example/a.jpg"}
    put(home(library) / "manifest.json", manifest(BEK, plain, named, gone, foreign))
    before = tree(library)
    # Number 9 is named by no manifest: nobody's, until an audit puts that right.
    row = evaluate(ledger, library, storage=mirror, actors=[1])[BEK]
    assert [(image["file"], image["where"], image["key"]) for image in row["images"]] == [
        (f"{BEK}_1.jpg", "disk", None),
        (f"{BEK}_2.jpg", "disk", f"{folder}/{BEK}_2.jpg"),
        (f"{BEK}_3.jpg", "disk", None),
        (f"{BEK}_6.jpg", "mirror", elsewhere),
        (f"{BEK}_8.jpg", "mirror", f"{folder}/{BEK}_8.jpg"),
    ]
    assert [image["made_at"] for image in row["images"][3:]] == [None, None]
    assert tree(library) == before
    assert not list(library.parent.rglob(f"{BEK}_8.jpg")), "nobody would read it"
    assert mirror.asked == []


def leading_out(library: Path) -> None:
    path = library / f"actors/{BEK}/base_image/{BEK}_base.jpg"
    path.unlink()
    put(library.parent / "outside.jpg", jpeg("red"))
    path.symlink_to(library.parent / "outside.jpg")


def test_images_are_looked_at_though_the_base_image_can_not_be_looked_for(ledger: Ledger, library: Path) -> None:
    leading_out(library)
    row = evaluate(ledger, library)[BEK]
    assert (row["success"], len(row["images"]), row["base_image"]) == (True, 3, None)
    (fault,) = row["unreadable"]
    assert fault["file"] == "the base image"
    assert "by a symbolic link" in fault["why"]


def test_without_images_a_base_image_that_can_not_be_looked_for_is_an_error(ledger: Ledger, library: Path) -> None:
    leading_out(library)
    for path in home(library).iterdir():
        path.unlink()
    row = evaluate(ledger, library)[BEK]
    assert row["success"] is False
    assert "by a symbolic link" in row["error"]


def test_an_odd_name_fails_its_actor_alone(ledger: Ledger, library: Path) -> None:
    put(home(library) / os.fsdecode(b"\xff_4.jpg"), jpeg("red"))
    put(home(library, CUI) / f"._{CUI}_1.jpg", b"left by macOS")
    found = evaluate(ledger, library)
    assert found[BEK]["error"].endswith("is not UTF-8, so no manifest can name it: rename it")
    assert [len(found[name]["images"]) for name in (ADA, CUI)] == [3, 3]


def test_an_object_that_changed_is_asked_about_again_and_one_that_went_fails_its_actor(
    ledger: Ledger, library: Path
) -> None:
    mirror = RecordingMirror(library)
    key = f"actors/{BEK}/training_data/{BEK}_8.jpg"
    put(home(library) / "manifest.json", manifest(BEK, {"file": f"{BEK}_8.jpg"}))
    mirror.objects[key] = jpeg("white")
    evaluate(ledger, library, storage=mirror)
    mirror.objects[key] = jpeg("black")
    vision = Sorting()
    evaluate(ledger, library, vision, mirror, run="run-2")
    assert len(vision.questions) == 1

    class Leaky(RecordingMirror):
        def get(self, item: Any) -> bytes:
            raise ItemError(f"mirror:{item.key} is gone")

    leaky = Leaky(library, {key: jpeg("blue")})
    found = evaluate(ledger, library, storage=leaky, run="run-3")
    assert (found[BEK]["success"], found[BEK]["error"]) == (False, f"mirror:{key} is gone")
    assert found[ADA]["success"]


def test_what_only_the_mirror_has_is_training_data_too(ledger: Ledger, library: Path) -> None:
    mirror = RecordingMirror(library)
    for path in [*home(library).iterdir()]:
        mirror.objects[f"actors/{BEK}/training_data/{path.name}"] = path.read_bytes()
        path.unlink()
    images = [{"file": f"{BEK}_{number}.jpg"} for number in (1, 2, 3)]
    put(home(library) / "manifest.json", manifest(BEK, *images))
    found = evaluate(ledger, library, storage=mirror, include_empty=True)
    assert [image["where"] for image in found[BEK]["images"]] == ["mirror"] * 3
    assert found["summary"]["actors_empty"] == 0


def test_many_actors_cost_one_listing_of_the_mirror(ledger: Ledger, tmp_path: Path) -> None:
    names = [f"{number:04d}_x" for number in range(25)]
    library = make_library(tmp_path / "data", names, training=1)
    for path in library.rglob("manifest.json"):
        path.unlink()

    class Counting(RecordingMirror):
        listings = 0

        def inventory(self, folder: Any) -> Any:
            self.listings += 1
            return super().inventory(folder)

    put(home(library, "0007_x") / "manifest.json", manifest("0007_x", {"file": "0007_x_4.jpg"}))
    mirror = Counting(library, {"actors/0007_x/training_data/0007_x_4.jpg": jpeg("white")})
    found = evaluate(ledger, library, storage=mirror)
    assert mirror.listings == 1
    assert len(found["0007_x"]["images"]) == 2


def test_the_distribution_is_kept_for_each_run(ledger: Ledger, library: Path) -> None:
    evaluate(ledger, library)
    put(home(library) / f"{BEK}_9.jpg", jpeg("white"))
    evaluate(ledger, library, run="run-2")
    assert [found.counts for found in History(ledger, library).of(BEK)] == [
        {"photorealistic": 3},
        {"photorealistic": 4},
    ]
    assert [found.counts for found in History(ledger, library).of(ADA)] == [{"photorealistic": 3}]


def test_the_report_shows_the_composite_and_what_is_wrong(ledger: Ledger, library: Path) -> None:
    put(home(library) / f"{BEK}_4.jpg", b"")
    evaluate(ledger, library)
    part = json.loads((library.parent / "run-1/step/report.json").read_text())
    assert part["headline"] == "10 training images of 3 actors looked at."
    assert ["broken", 1] in part["counts"]
    entry = next(entry for entry in part["entries"] if entry["key"] == BEK)
    (shown,) = entry["pictures"]
    assert (library.parent / "run-1" / shown["file"]).is_file()
    assert shown["alt"] == "4 training images of 0001_bek, numbered"
    assert entry["badge"]["kind"] == "broken_or_double"
    assert f"{BEK}_4.jpg: {BEK}_4.jpg is empty (0 bytes)" in entry["notes"]


def test_the_truth_is_compared_where_it_is_known(ledger: Ledger, library: Path, tmp_path: Path) -> None:
    put(home(library) / f"{BEK}_4.jpg", b"")
    known = {
        f"{BEK}_1.jpg": {"class": "photorealistic", "faults": []},
        f"{BEK}_2.jpg": {"class": "bw_stylized", "faults": []},
        f"{BEK}_4.jpg": {"class": "photorealistic", "faults": ["empty"]},
        f"{BEK}_5.jpg": {"class": None, "faults": ["a link"]},
    }
    put(
        tmp_path / "truth.json",
        json.dumps({"actors": {BEK: {"training": {"images": known}}, ADA: {"expected": "skip"}}}).encode(),
    )
    evaluate(ledger, library, truth=str(tmp_path / "truth.json"))
    part = json.loads((library.parent / "run-1/step/report.json").read_text())
    assert part["headline"].endswith("2 of 3 agree with the known truth.")
    assert f"{BEK}: {BEK}_2.jpg: expected bw_stylized, found photorealistic" in part["warnings"]
    put(tmp_path / "truth.json", b'{"actors": {"x": {"training": 3}}}')
    with pytest.raises(UserError, match=r"is no truth\.json"):
        evaluate(ledger, library, run="run-2", truth=str(tmp_path / "truth.json"))
