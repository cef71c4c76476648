"""Somebody with a library of older tools' files migrates it: looks first, acts, acts again, and takes it back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ItemError
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from steps.library import training
from steps.library.actors import Library
from steps.library.legacy import current
from steps.library.mirror import Storage
from steps.library.training import TrainingManifest
from steps.library.undoing import UndoReport
from steps.migrate import Migrate, MigrateParams
from steps.studio.training_files import LINK, NOTHING, SampleImage, images_of
from steps.studio.training_library import cast
from steps.studio.training_metadata import documents_of
from tests.library import context, jpeg, make_library, no_mirror, put, tree
from tests.steps.undone import undo
from tests.support import Engine

ADA, BEK, CUI, DEV = NAMES = ("0000_ada", "0001_bek", "0002_cui", "0003_dev")
URL = "https://cast.s3.amazonaws.com/actors"


class Migrator:
    """Somebody who migrates one library."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.folder = folder
        self.library = make_library(folder / "data", NAMES, training=0)
        self.mirror: Storage = no_mirror(ledger)
        self.engine = Engine(folder, workers=2)
        self._draw()

    def migrate(self, run: str = "migrating", *, act: bool = True, **params: Any) -> dict[str, Any]:
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="migrate", run=run, execute=act)
        step = Migrate(MigrateParams(**params), there, self.mirror)
        try:
            self.engine.run(step, run)
        finally:
            step.close()
        self.report = json.loads((there.out / "report.json").read_text())
        self.document = json.loads((there.out / "results.json").read_text())
        return {row["actor_name"]: row for row in self.document["results"]}

    def undo(self, run: str = "migrating") -> UndoReport:
        return undo(self.ledger, self.folder, run, self.mirror)

    def manifest(self, name: str) -> TrainingManifest:
        actor = Library(self.library).by_name(name)
        assert actor is not None
        found = training.read_manifest(self.library, actor)
        assert found is not None
        return found

    def files(self) -> dict[str, str]:
        return {path: digest for path, digest in tree(self.library).items() if not path.startswith(".callsheet/")}

    def path(self, name: str, file: str) -> Path:
        return self.library / "actors" / name / "training_data" / file

    def _draw(self) -> None:
        """Ada has prompt_metadata.json, Bek response.json, Cui only images, and Dev nothing."""
        for name in (ADA, BEK, CUI):
            for number in (1, 2):
                put(self.path(name, f"{name}_{number}.jpg"), jpeg(f"#{number:02x}20{name[3]}0"))
        entries = [
            {"filename": f"{ADA}_{n}.jpg", "prompt": f"ada {n}", "s3_url": f"{URL}/{ADA}_{n}.jpg"} for n in (1, 2, 9)
        ]
        put(self.path(ADA, "prompt_metadata.json"), json.dumps({"images": entries, "tool": "v0"}).encode())
        predictions = [
            {"id": f"p{n}", "input": {"prompt": f"bek {n}"}, "output": [f"https://r/{n}.png"]} for n in (1, 2)
        ]
        put(self.path(BEK, "response.json"), json.dumps(predictions).encode())


@pytest.fixture
def migrator(ledger: Ledger, tmp_path: Path) -> Migrator:
    return Migrator(ledger, tmp_path)


def test_a_preview_says_what_would_be_and_changes_nothing(migrator: Migrator) -> None:
    before = tree(migrator.library)
    rows = migrator.migrate(act=False)
    assert tree(migrator.library) == before
    assert {name: row["state"] for name, row in rows.items()} == {
        ADA: "to_write",
        BEK: "to_write",
        CUI: "to_write",
        DEV: "nothing",
    }
    assert migrator.document["dry_run"] is True
    assert migrator.report["headline"].startswith("Preview: 3 manifests could be written with 7 images;")


def test_manifests_are_written_and_legacy_files_stay(migrator: Migrator) -> None:
    before = migrator.files()
    rows = migrator.migrate()
    after = migrator.files()
    assert {path for path in after if path not in before} == {
        f"actors/{name}/training_data/manifest.json" for name in (ADA, BEK, CUI)
    }
    assert {path: after[path] for path in before} == before
    ada = migrator.manifest(ADA)
    assert [(image.file, image.prompt, image.url) for image in ada.images] == [
        (f"{ADA}_{n}.jpg", f"ada {n}", f"{URL}/{ADA}_{n}.jpg") for n in (1, 2, 9)
    ]
    assert [(piece.pointer, piece.value) for piece in ada.unmapped] == [("/tool", "v0")]
    assert [image.prompt for image in migrator.manifest(BEK).images] == ["bek 1", "bek 2"]
    assert {image.source for image in migrator.manifest(CUI).images} == {"disk"}
    assert rows[ADA]["unplaced"] == [
        {"file": f"{ADA}_9.jpg", "why": "prompt_metadata.json names it, and it is not on the disk"}
    ]
    assert rows[ADA]["unmapped"] == [{"where": "prompt_metadata.json, /tool", "why": "names no image of training_data"}]
    assert rows[CUI]["images"] == {"disk": 2}
    assert migrator.document["summary"] == {
        "manifests": 3, "had_one": 0, "no_training_data": 1, "errors": 0, "images": 7, "prompts": 5, "urls": 5, "unplaced": 3, "unmapped": 1,
    }  # fmt: skip


def test_a_second_run_changes_nothing(migrator: Migrator) -> None:
    migrator.migrate()
    after = tree(migrator.library)
    stamps = {path: path.stat().st_mtime_ns for path in migrator.library.rglob("manifest.json")}
    rows = migrator.migrate(run="again")
    assert {name: row["state"] for name, row in rows.items()} == {
        ADA: "there",
        BEK: "there",
        CUI: "there",
        DEV: "nothing",
    }
    assert tree(migrator.library) == after
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_an_undo_takes_the_manifests_away_and_a_new_run_writes_them_again(migrator: Migrator) -> None:
    before = migrator.files()
    migrator.migrate()
    after = migrator.files()
    assert (migrator.undo().undone, migrator.files()) == (3, before)
    migrator.migrate(run="again")
    assert migrator.files() == after


def test_an_undo_leaves_a_manifest_that_somebody_changed(migrator: Migrator) -> None:
    migrator.migrate()
    changed = migrator.path(ADA, "manifest.json")
    changed.write_text(changed.read_text() + "\n")
    report = migrator.undo()
    assert report.refused == (f"{ADA}: actors/{ADA}/training_data/manifest.json has changed since: left as it is",)
    assert changed.is_file()
    assert report.undone == 2


OF_ANOTHER_VERSION = b'{"version": 9, "actor_id": "0000", "actor_name": "0000_ada", "images": []}'


@pytest.mark.parametrize("content", [b"{}", b'{"version": 1, "images"', b'["a.jpg"]', OF_ANOTHER_VERSION])
def test_a_broken_manifest_is_that_actors_error_and_stays(migrator: Migrator, content: bytes) -> None:
    put(migrator.path(ADA, "manifest.json"), content)
    rows = migrator.migrate()
    assert rows[ADA]["success"] is False
    assert "training_data/manifest.json" in rows[ADA]["error"]
    assert migrator.path(ADA, "manifest.json").read_bytes() == content
    assert rows[BEK]["state"] == "written"
    assert migrator.document["summary"]["errors"] == 1


def test_only_some_actors(migrator: Migrator) -> None:
    assert set(migrator.migrate(actors=["0001", "@pair"] if (migrator.library / "groups.yaml").exists() else [1])) == {
        BEK
    }
    assert not migrator.path(ADA, "manifest.json").exists()


def test_what_stands_in_the_manifests_place_is_left_alone(migrator: Migrator, tmp_path: Path) -> None:
    migrator.path(ADA, "manifest.json").mkdir()
    migrator.path(BEK, "manifest.json").symlink_to(tmp_path / "nowhere")
    rows = migrator.migrate()
    for name in (ADA, BEK):
        assert rows[name]["error"].endswith("is no plain file (a folder or a link): move it away")
    assert migrator.path(BEK, "manifest.json").is_symlink()
    assert rows[CUI]["state"] == "written"


def test_a_folder_that_leads_out_of_the_library_is_not_written(migrator: Migrator, tmp_path: Path) -> None:
    put(tmp_path / "outside" / f"{DEV}_1.jpg", jpeg("red"))
    migrator.path(DEV, "").symlink_to(tmp_path / "outside")
    rows = migrator.migrate()
    assert "leaves" in rows[DEV]["error"]
    assert [path.name for path in (tmp_path / "outside").iterdir()] == [f"{DEV}_1.jpg"]


def test_what_migration_writes_is_what_every_reader_takes_until_then(migrator: Migrator) -> None:
    actor = Library(migrator.library).by_name(ADA)
    assert actor is not None
    hashes = FileHashes(migrator.ledger)
    before = current(migrator.library, actor, hashes)
    migrator.migrate()
    assert current(migrator.library, actor, hashes) == before
    migrator.path(ADA, "manifest.json").write_text("{}")
    with pytest.raises(ItemError):
        current(migrator.library, actor, hashes)


def test_the_sample_casts_metadata_is_read_as_it_was_meant(migrator: Migrator) -> None:
    """Every form and fault that the sample library draws, with a few bytes instead of pictures."""
    actors = cast()
    (migrator.library / "actorsData.json").write_text(json.dumps([{"id": one.id, "name": one.name} for one in actors]))
    meant: dict[str, list[SampleImage]] = {}
    for actor in actors:
        images = list(images_of(actor))
        contents = {image.file: image.file.encode() for image in images if image.what not in (LINK, NOTHING)}
        for image in images:
            if image.disk and image.file in contents:
                put(migrator.path(actor.name, image.file), contents[image.file])
        for name, text in documents_of(actor, images, contents).items():
            put(migrator.path(actor.name, name), text.encode())
        meant[actor.name] = images
    rows = migrator.migrate()
    assert migrator.document["summary"]["errors"] == 0
    for actor in actors:
        if rows[actor.name]["state"] == "nothing":
            assert not meant[actor.name]
            continue
        entries = {image.file: image for image in migrator.manifest(actor.name).images}
        told = actor.part.legacy not in ("", "broken")
        wanted = {
            image.file for image in meant[actor.name] if (image.disk and image.what != LINK) or (image.noted and told)
        }
        assert set(entries) == wanted, actor.name
        for image in meant[actor.name]:
            if image.noted and told:
                assert entries[image.file].prompt == (image.prompt or None), image.file
                assert entries[image.file].url, image.file
    after = tree(migrator.library)
    assert migrator.migrate(run="again")
    assert tree(migrator.library) == after


def test_who_takes_the_library_sweeps_staging(migrator: Migrator) -> None:
    left = migrator.library / ".callsheet/staging" / f"{'ab' * 12}-0.jpg"
    put(left, b"of an action that nobody knows")
    os.utime(left, (0, 0))
    migrator.migrate(act=False)
    assert left.exists()
    migrator.migrate(run="acting")
    assert not left.exists()
