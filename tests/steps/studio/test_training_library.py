from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.errors import ItemError
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from steps.library import layout, training
from steps.library.actors import Actor, Library
from steps.library.documents import ACTOR_MANIFEST_SCHEMA, ACTORS_SCHEMA, check
from steps.library.pictures import BrokenPicture, UnreadablePicture, load
from steps.library.prompts import PromptBook
from steps.sample import SampleParams, cast_of
from steps.studio.training_cast import BASES, FLAWS, LEGACIES, PARTS, USABLE_BASES
from steps.studio.training_files import WHOLE, TrainingActor, decoys_of, images_of
from steps.studio.training_library import actors_document, cast, draw_actor, outcome, truth_document
from steps.studio.training_picture import CLASSES


def by_word(word: str) -> TrainingActor:
    """The first actor with this flaw, metadata or base image."""
    return next(actor for actor in cast() if word in (*actor.part.flaws, actor.part.legacy, actor.part.base))


class Drawn:
    """Some actors on disk, each drawn when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bucket = folder / "data", folder / "bucket"
        self._drawn: set[str] = set()

    def of(self, word: str) -> tuple[TrainingActor, Path]:
        """An actor with its training folder."""
        actor = by_word(word)
        if actor.name not in self._drawn:
            draw_actor(actor, self.root, self.bucket)
            self._drawn.add(actor.name)
        return actor, layout.training_folder(self.root, actor.name)

    def objects(self, actor: TrainingActor) -> set[str]:
        """The names of the objects beside each other in the bucket."""
        folder = self.bucket / "actors" / actor.name / "training_data"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("library"))


@pytest.fixture
def hashes(tmp_path: Path) -> Iterator[FileHashes]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield FileHashes(ledger)


def metadata(folder: Path) -> Any:
    (path,) = [folder / name for name in ("prompt_metadata.json", "response.json") if (folder / name).exists()]
    return json.loads(path.read_text("utf-8"))


def test_the_cast_holds_everything_that_the_issue_asks_for() -> None:
    actors = cast()
    assert len(actors) >= 32
    assert [actor.id for actor in actors] == list(range(len(actors)))
    counts = [sum(actor.part.counts) for actor in actors]
    assert (min(counts), max(counts)) == (0, 40)
    assert {flaw for part in PARTS for flaw in part.flaws} == set(FLAWS)
    assert {part.legacy for part in PARTS} == set(LEGACIES)
    assert {part.base for part in PARTS} == set(BASES)
    assert {part.being for part in PARTS} == {"human", "creature", "robot"}
    check(actors_document(actors), ACTORS_SCHEMA, "actorsData.json")


def test_every_outcome_occurs_and_only_a_usable_base_image_can_fill_up() -> None:
    found = {actor.name: outcome(actor) for actor in cast()}
    assert set(found.values()) == {"balanced", "at target", "refilled", "short", "nothing"}
    for actor in cast():
        if actor.part.base in USABLE_BASES:
            assert found[actor.name] in ("balanced", "at target", "refilled"), actor.name
    assert found["0000_european_20_female"] == "at target"
    assert found["0001_kazakh_45_male"] == found["0002_korean_27_female"] == "balanced"
    assert found["0012_russian_70_female"] == "at target", "without a base image, by deletions alone"


def test_truth_tells_of_every_name_and_agrees_with_the_disk(drawn: Drawn) -> None:
    for word in ("bucket only", "disk only", "neither", "link", "archived", "decoys"):
        actor, folder = drawn.of(word)
        truth = truth_document([actor])["actors"][actor.name]["training"]
        for place, there in (("disk", {path.name for path in folder.iterdir()}), ("bucket", drawn.objects(actor))):
            told = {file for file, image in truth["images"].items() if place in image["where"]}
            assert {file for file in there if training.is_image(file)} == told, (word, place)
        assert all((folder / name).is_file() for name in truth["not_images"])


def test_truth_tells_what_each_file_is(drawn: Drawn) -> None:
    actor, folder = drawn.of("broken files")
    truth = truth_document([actor])["actors"][actor.name]["training"]["images"]
    assert Counter(fault for image in truth.values() for fault in image["faults"]) == {
        "cut off": 2,
        "empty": 1,
        "corrupt": 1,
    }
    for file, image in truth.items():
        if image["faults"]:
            assert (image["class"], image["quality"]) == (None, 0)
            with pytest.raises(BrokenPicture):
                load(folder / file)
        else:
            load(folder / file)


def test_classes_are_what_the_pixels_show(drawn: Drawn) -> None:
    actor, folder = drawn.of("upper case")
    for image in images_of(actor):
        pixels = np.asarray(load(folder / image.file).image, dtype=np.int16)
        without_colour = np.ptp(pixels, axis=2).max() <= 2
        assert without_colour == (image.kind == "bw_stylized"), image


def test_copies_are_copies_and_others_differ(drawn: Drawn) -> None:
    actor, folder = drawn.of("copies")
    digests = {image.file: hashlib.sha256((folder / image.file).read_bytes()).hexdigest() for image in images_of(actor)}
    copies = [image for image in images_of(actor) if image.copy_of]
    assert len(copies) == 4
    assert all(digests[copy.file] == digests[copy.copy_of] and copy.quality == 0 for copy in copies)
    assert len(set(digests.values())) == len(digests) - 4


def test_only_images_are_found_as_images(drawn: Drawn) -> None:
    for word in ("decoys", "link", "upper case", "unnumbered"):
        actor, _ = drawn.of(word)
        found = {path.name for path in training.images_on_disk(drawn.root, Actor(actor.id, actor.name))}
        assert found == {image.file for image in images_of(actor) if image.disk and image.what != "a link"}
    decoys = decoys_of(by_word("decoys"))
    assert sum(name.casefold().endswith(training.SUFFIXES) for name in decoys) == 3


def test_odd_files_are_as_odd_as_told(drawn: Drawn) -> None:
    actor, folder = drawn.of("mislabelled")
    notes = {note for image in images_of(actor) if image.what in WHOLE for note in load(folder / image.file).notes}
    assert "named .jpg but holds PNG" in notes
    text = next(image for image in images_of(actor) if image.what == "a text")
    with pytest.raises(UnreadablePicture):
        load(folder / text.file)
    gaps = [training.number_of(image.file) or 0 for image in images_of(by_word("gaps"))]
    assert gaps == sorted(set(gaps))
    assert gaps[-1] > len(gaps)


def test_usable_base_images_can_be_used_and_others_can_not(drawn: Drawn, hashes: FileHashes) -> None:
    for kind in BASES:
        actor, _ = drawn.of(kind)
        (drawn.root / "actorsData.json").write_text(json.dumps(actors_document([actor])))
        usable = True
        try:
            path = Library(drawn.root).base_image(Actor(actor.id, actor.name), hashes)
            usable = path is not None and load(path).size == (384, 576)
        except ItemError:
            usable = False
        assert usable == (kind in USABLE_BASES), kind
        assert truth_document([actor])["actors"][actor.name]["usable_base_image"] == usable


def test_actor_manifests_say_type_and_descriptor_where_there_is_one(drawn: Drawn) -> None:
    book = PromptBook.read()
    drawn.of("no descriptor")
    drawn.of("no actor manifest")
    for part in ("household_robot", "market_goblin"):
        actor = next(actor for actor in cast() if actor.part.name == part)
        draw_actor(replace(actor, part=actor.part._replace(counts=(0, 0, 0))), drawn.root, drawn.bucket)
        manifest = json.loads(layout.actor_manifest(drawn.root, actor.id).read_text())
        check(manifest, ACTOR_MANIFEST_SCHEMA, "manifest")
        assert manifest["actor_type"] == actor.part.being
        assert book.subject(drawn.root, Actor(actor.id, actor.name)) == book.about(actor.part.being, actor.descriptor)
    for word in ("no descriptor", "no actor manifest"):
        actor = by_word(word)
        assert book.subject(drawn.root, Actor(actor.id, actor.name)) == book.about("human")


def test_legacy_files_come_in_their_shapes(drawn: Drawn) -> None:
    listed = metadata(drawn.of("list")[1])["images"]
    assert {"filename", "prompt", "s3_url"} == set(listed[0])
    mapped = metadata(drawn.of("map")[1])
    assert all({"prompt", "url"} == set(entry) and training.is_image(name) for name, entry in mapped.items())
    predictions = metadata(drawn.of("response")[1])
    actor = by_word("response")
    made = [prediction for prediction in predictions if prediction["status"] == "succeeded"]
    assert [prediction["input"]["prompt"] for prediction in made] == [image.prompt for image in images_of(actor)]
    assert [prediction["output"] for prediction in predictions if prediction not in made] == [None]
    assert metadata(drawn.of("one response")[1])["status"] == "succeeded"
    puzzling = metadata(drawn.of("puzzling")[1])
    assert len(puzzling["images"]) == len(images_of(by_word("puzzling"))) + 7
    with pytest.raises(json.JSONDecodeError):
        metadata(drawn.of("broken")[1])


def test_our_own_manifests_can_be_read_and_their_hashes_are_right(drawn: Drawn, hashes: FileHashes) -> None:
    for word in ("migrated", "copies", "neither", "archived"):
        actor, folder = drawn.of(word)
        manifest = training.read_manifest(drawn.root, Actor(actor.id, actor.name))
        assert manifest is not None
        assert {image.file for image in manifest.images} == {image.file for image in images_of(actor) if image.noted}
        assert all(image.sha256 == hashes.of(folder / image.file) for image in manifest.images)
        assert {image.source for image in manifest.images} == {"made", "prompt_metadata.json"}


def test_archived_objects_are_where_their_urls_lead(drawn: Drawn) -> None:
    actor, _ = drawn.of("archived")
    manifest = training.read_manifest(drawn.root, Actor(actor.id, actor.name))
    assert manifest is not None
    archived = {image.file for image in images_of(actor) if image.archived}
    assert archived
    for image in manifest.images:
        assert image.url is not None
        assert ("archive/2025" in image.url) == (image.file in archived)
    assert {path.name for path in (drawn.bucket / "archive" / "2025" / actor.name).iterdir()} == archived
    assert not archived & drawn.objects(actor)


def test_the_same_actor_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    def digests(seed: int, name: str) -> dict[str, str]:
        actor = cast(seed)[30]
        draw_actor(actor, tmp_path / name / "data", tmp_path / name / "bucket")
        found = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {
            path.relative_to(tmp_path / name).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found
        }

    one = digests(0, "one")
    assert one == digests(0, "again")
    other = digests(1, "other")
    assert {path for path in one if other.get(path) == one[path]} <= {"data/actor_manifests/0030_manifest.json"}


def test_the_whole_is_told_in_documents_beside_the_library(tmp_path: Path) -> None:
    casting = cast_of(SampleParams(cast="training"))
    casting.finish(tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text("utf-8"))["actors"]
    assert list(truth) == [actor.name for actor in Library(tmp_path / "data").actors()]
    assert all(entry["expected"] and entry["why"] and entry["training"]["why"] for entry in truth.values())
    for entry in truth.values():
        counts = entry["training"]["counts"]
        assert list(counts) == list(CLASSES)
    robots = [actor.name for actor in Library(tmp_path / "data").select("@robots")]
    assert all(name.endswith("robot") for name in robots)
    assert len(Library(tmp_path / "data").select("@villains")) == 3
