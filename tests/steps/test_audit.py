"""Somebody whose manifests, disk and bucket have drifted apart audits the library, mends it, and takes that back."""
# ruff: noqa: F811

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.cli import main
from runner.errors import UserError
from runner.ledger import Ledger
from steps.audit import Audit, AuditParams
from steps.library import differences, training
from steps.library.actors import Library
from steps.library.differences import Comparison, Findings, Folder, OnDisk
from steps.library.mirror import Storage, StoredObject
from steps.library.training import TrainingImage, TrainingManifest
from steps.library.undoing import UndoReport
from steps.mend import Mend, MendParams
from tests.contract.storage_servers import Bucket, aws, moto, new_bucket, rclone  # noqa: F401 - fixtures
from tests.library import RecordingMirror, context, jpeg, make_library, no_mirror, put, tree
from tests.steps.undone import undo
from tests.support import Engine

ADA, BEK = NAMES = ("0000_ada", "0001_bek")
COUNT = 4


class Auditor:
    """Somebody who audits and mends one library, which a bucket mirrors whole."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.folder = folder
        self.library = make_library(folder / "data", NAMES, training=0)
        self.mirror: Storage = no_mirror(ledger)
        self.engine = Engine(folder, workers=2)
        for name in NAMES:
            for number in range(1, COUNT + 1):
                put(self.path(name, number), jpeg(f"#{number:02x}20{name[3]}0"))

    def name(self, name: str, number: int) -> str:
        return f"{name}_{number}.jpg"

    def path(self, name: str, number: int) -> Path:
        return self.folder_of(name) / self.name(name, number)

    def folder_of(self, name: str) -> Path:
        return self.library / "actors" / name / "training_data"

    def key(self, name: str, number: int) -> str:
        return f"actors/{name}/training_data/{self.name(name, number)}"

    def write_manifests(self) -> None:
        """As they are after balancing: a hash and an address for each image."""
        for number, name in enumerate(NAMES):
            images = [
                TrainingImage(
                    path.name,
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                    prompt=f"prompt of {path.name}",
                    url=self.mirror.url(PurePosixPath(path.relative_to(self.library).as_posix())),
                    source="made",
                )
                for path in sorted(self.folder_of(name).glob("*.jpg"))
            ]
            put(self.folder_of(name) / "manifest.json", TrainingManifest(number, name, tuple(images)).text().encode())

    def edit(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.folder_of(name) / "manifest.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def audit(self, run: str = "auditing", **params: Any) -> dict[str, list[tuple[str, str, bool]]]:
        """Kind, target and whether it can be mended, by actor."""
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="audit", run=run)
        step = Audit(AuditParams(**params), there, self.mirror)
        self.engine.run(step, run)
        self.gate = step.gate()
        self.file = there.out / "results.json"
        self.document = json.loads(self.file.read_text())
        rows = {row["actor_name"]: row["differences"] for row in self.document["results"]}
        return {
            name: [(one["kind"], one["target"], one["mendable"]) for one in found]
            for name, found in rows.items()
            if found
        }

    def mend(self, run: str = "mending", *, act: bool = True, **params: Any) -> dict[str, Any]:
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="mend", run=run, execute=act)
        step = Mend(MendParams(str(self.file), **params), there, self.mirror)
        try:
            self.engine.run(step, run)
        finally:
            step.close()
        self.gate = step.gate()
        self.mended = json.loads((there.out / "mended.json").read_text())
        return {row["actor_name"]: row for row in self.mended["results"]}

    def undo(self, run: str = "mending") -> UndoReport:
        return undo(self.ledger, self.folder, run, self.mirror)

    def manifest(self, name: str) -> dict[str, TrainingImage]:
        actor = Library(self.library).by_name(name)
        assert actor is not None
        found = training.read_manifest(self.library, actor)
        assert found is not None
        return {image.file: image for image in found.images}

    def files(self) -> dict[str, str]:
        return {path: digest for path, digest in tree(self.library).items() if not path.startswith(".callsheet/")}


@pytest.fixture
def auditor(ledger: Ledger, tmp_path: Path) -> Auditor:
    return Auditor(ledger, tmp_path)


def mirrored(auditor: Auditor, bucket: Bucket) -> Bucket:
    """Store the library in the bucket, and write manifests with its addresses."""
    for path in sorted((auditor.library / "actors").rglob("*.jpg")):
        bucket.write(path.relative_to(auditor.library).as_posix(), path.read_bytes())
    bucket.client.put_object(Bucket=bucket.name, Key="elsewhere/of/others.jpg", Body=b"theirs")
    auditor.mirror = bucket.storage(auditor.ledger)
    auditor.write_manifests()
    return bucket


@pytest.fixture(params=["s3", "s3-prefix", "rclone"])
def any_bucket(request: pytest.FixtureRequest, auditor: Auditor) -> Bucket:
    kind = request.param
    url = request.getfixturevalue("rclone" if kind == "rclone" else "moto")
    made = new_bucket(url, prefix="cast/data" if kind.endswith("prefix") else "", conditional=kind != "rclone")
    return mirrored(auditor, made)


@pytest.fixture
def bucket(moto: str, auditor: Auditor) -> Bucket:
    return mirrored(auditor, new_bucket(moto))


def drift(auditor: Auditor, bucket: Bucket) -> None:
    """One of each difference that can be mended, in Bek's folder."""
    auditor.path(BEK, 1).unlink()
    bucket.remove(auditor.key(BEK, 2))
    auditor.path(BEK, 3).unlink()
    bucket.remove(auditor.key(BEK, 3))
    bucket.write(f"actors/{BEK}/training_data/old_9.png", b"left behind")
    put(auditor.path(BEK, 7), jpeg("orange"))
    put(auditor.path(BEK, 8), jpeg("purple"))
    bucket.write(auditor.key(BEK, 8), auditor.path(BEK, 8).read_bytes())
    auditor.edit(BEK, lambda document: document["images"][3].update(url=None))


def test_where_all_agree_nothing_is_found(auditor: Auditor, any_bucket: Bucket) -> None:
    assert auditor.audit() == {}
    assert auditor.gate is None
    assert auditor.document["total_differences"] == 0
    assert auditor.mend() == {}
    assert auditor.gate is None


def test_every_difference_is_found_and_mended_and_taken_back(auditor: Auditor, any_bucket: Bucket) -> None:
    drift(auditor, any_bucket)
    library, objects = auditor.files(), any_bucket.everything()
    address = auditor.mirror.address(PurePosixPath(f"actors/{BEK}/training_data/old_9.png"))
    assert auditor.audit() == {
        BEK: [
            ("gone_from_disk", auditor.name(BEK, 1), True),
            ("not_in_mirror", auditor.name(BEK, 2), True),
            ("nowhere", auditor.name(BEK, 3), True),
            ("no_address", auditor.name(BEK, 4), True),
            ("unlisted", auditor.name(BEK, 7), True),
            ("not_in_mirror", auditor.name(BEK, 7), True),
            ("unlisted", auditor.name(BEK, 8), True),
            ("orphan", address, True),
        ]
    }
    assert auditor.gate == "8 differences, 8 of them can be mended: execute=true, or callsheet audit --fix"
    # A preview, then the deed.
    auditor.mend(run="previewing", act=False)
    assert (auditor.files(), any_bucket.everything()) == (library, objects)
    row = auditor.mend()[BEK]
    assert row["success"] is True
    assert row["left"] == []
    assert not auditor.gate
    entries = auditor.manifest(BEK)
    assert set(entries) == {auditor.name(BEK, number) for number in (1, 2, 4, 7, 8)}
    for number in (1, 2, 4, 7, 8):
        data = auditor.path(BEK, number).read_bytes()
        assert any_bucket.objects()[auditor.key(BEK, number)] == data
        entry = entries[auditor.name(BEK, number)]
        assert entry.sha256 == hashlib.sha256(data).hexdigest()
        assert entry.url == auditor.mirror.url(PurePosixPath(auditor.key(BEK, number)))
        assert entry.prompt == (f"prompt of {entry.file}" if number < 7 else None)
    assert f"actors/{BEK}/training_data/old_9.png" not in any_bucket.objects()
    assert b"left behind" in any_bucket.trash().values()
    assert auditor.audit(run="again") == {}
    assert auditor.undo().refused == ()
    assert (auditor.files(), any_bucket.everything()) == (library, objects)


def test_without_a_mirror_manifest_and_disk_are_compared_and_that_is_said(auditor: Auditor) -> None:
    auditor.write_manifests()
    auditor.path(ADA, 1).unlink()
    auditor.path(ADA, 2).unlink()
    auditor.edit(ADA, lambda document: document["images"][1].update(url="https://cast.s3.amazonaws.com/a.jpg"))
    put(auditor.path(ADA, 9), jpeg("orange"))
    before = auditor.files()
    assert auditor.audit() == {
        ADA: [
            # The objects may be where nobody looked.
            ("nowhere", auditor.name(ADA, 1), False),
            ("gone_from_disk", auditor.name(ADA, 2), False),
            ("unlisted", auditor.name(ADA, 9), True),
        ]
    }
    assert auditor.document["notes"][0].startswith("nothing mirrors the library")
    auditor.mend()
    assert auditor.gate == "2 differences left, for a person to mend"
    assert set(auditor.manifest(ADA)) == {auditor.name(ADA, number) for number in (1, 2, 3, 4, 9)}
    assert auditor.undo().refused == ()
    assert auditor.files() == before


def test_what_differs_in_content_is_listed_and_left(auditor: Auditor, bucket: Bucket) -> None:
    data = auditor.path(ADA, 1).read_bytes()
    bucket.write(auditor.key(ADA, 1), data[:-1] + b"x")
    bucket.write(auditor.key(ADA, 2), b"shorter")
    put(auditor.path(ADA, 3), jpeg("orange"))
    before, objects = auditor.files(), bucket.everything()
    assert auditor.audit() == {
        ADA: [
            ("differs_from_mirror", auditor.name(ADA, 1), False),
            ("differs_from_mirror", auditor.name(ADA, 2), False),
            ("differs_from_manifest", auditor.name(ADA, 3), False),
        ]
    }
    assert auditor.mend() == {}
    assert auditor.gate == "3 differences left, for a person to mend"
    assert (auditor.files(), bucket.everything()) == (before, objects)
    # By sizes alone the first is not seen.
    assert ("differs_from_mirror", auditor.name(ADA, 1), False) not in auditor.audit(run="quick", contents=False)[ADA]


def test_objects_in_parts_are_compared_by_their_bytes(auditor: Auditor, bucket: Bucket) -> None:
    """Their ETag is no MD5."""
    begun = {"Bucket": bucket.name, "Key": auditor.key(ADA, 1)}
    upload = bucket.client.create_multipart_upload(**begun)["UploadId"]
    part = bucket.client.upload_part(**begun, UploadId=upload, PartNumber=1, Body=auditor.path(ADA, 1).read_bytes())
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    bucket.client.complete_multipart_upload(**begun, UploadId=upload, MultipartUpload=parts)
    assert "-" in bucket.about(auditor.key(ADA, 1))["ETag"]
    assert auditor.audit() == {}


@pytest.mark.parametrize("content", [b"{}", b"[", b'{"version": 2}'])
def test_a_broken_manifest_is_told_and_nothing_of_its_actor_is_mended(
    auditor: Auditor, bucket: Bucket, content: bytes
) -> None:
    put(auditor.folder_of(BEK) / "manifest.json", content)
    bucket.write(f"actors/{BEK}/training_data/old_9.png", b"perhaps the broken manifest's")
    assert auditor.audit() == {BEK: [("manifest", "manifest.json", False)]}
    auditor.mend()
    assert auditor.gate == "1 difference left, for a person to mend"


def test_a_library_that_is_not_migrated_is_told_so_and_left(auditor: Auditor, bucket: Bucket) -> None:
    (auditor.folder_of(BEK) / "manifest.json").unlink()
    bucket.remove(auditor.key(BEK, 2))
    before = auditor.files()
    found = auditor.audit()[BEK]
    assert found[0] == ("manifest", "manifest.json", False)
    assert ("not_in_mirror", auditor.name(BEK, 2), False) in found
    assert auditor.mend() == {}
    assert auditor.files() == before


def test_addresses_elsewhere_are_kept_and_their_objects_never_touched(auditor: Auditor, bucket: Bucket) -> None:
    bucket.write("sets/one.jpg", auditor.path(BEK, 1).read_bytes())
    bucket.write(auditor.key(ADA, 9), b"ada's ninth, as bek's manifest has it")
    storage = auditor.mirror

    def change(document: dict[str, Any]) -> None:
        one, two = (storage.url(PurePosixPath(key)) for key in ("sets/one.jpg", "sets/two.jpg"))
        urls = [one, "https://replicate.delivery/x/out-0.png", "s3://somebody/else.jpg", two]
        for row, url in zip(document["images"], urls, strict=True):
            row["url"] = url
        document["images"].append(
            {"file": auditor.name(ADA, 9), "url": storage.url(PurePosixPath(auditor.key(ADA, 9)))}
        )

    auditor.edit(BEK, change)
    before = bucket.everything()
    assert auditor.audit() == {
        BEK: [
            ("elsewhere", auditor.name(BEK, 4), False),
            ("elsewhere", auditor.name(ADA, 9), False),
            *[("stale", storage.address(PurePosixPath(auditor.key(BEK, number))), False) for number in (1, 4)],
        ],
        # Ada's own is no orphan, for somebody's manifest names it.
    }
    assert auditor.document["notes"] == [f"{BEK}: 2 URLs outside of this mirror, kept and never touched"]
    assert auditor.mend() == {}
    assert bucket.everything() == before


def test_objects_of_nobody_are_listed(auditor: Auditor, bucket: Bucket) -> None:
    bucket.write("actors/0009_gone/training_data/0009_gone_1.jpg", b"nobody's")
    bucket.write("actors/0009_gone/base_image/0009_gone_base.jpg", b"nobody's")
    address = auditor.mirror.address(PurePosixPath("actors/0009_gone"))
    assert auditor.audit() == {"0009_gone": [("nobodys", address, False)]}
    assert "has 2 objects" in auditor.document["results"][-1]["differences"][0]["says"]
    before = bucket.everything()
    auditor.mend()
    assert bucket.everything() == before
    assert auditor.audit(run="some", actors=[0]) == {}


def test_what_is_no_training_image_is_nobodys_business(auditor: Auditor, bucket: Bucket) -> None:
    for name in ("manifest.json", "response.json", "request_1.png", "older/notes.txt"):
        bucket.write(f"actors/{BEK}/training_data/{name}", b"as it is")
        put(auditor.folder_of(BEK) / "notes.txt", b"mine")
    assert auditor.audit() == {}


def test_without_a_mirror_no_only_copy_is_lost(auditor: Auditor, bucket: Bucket) -> None:
    """An entry without an address is no reason to take its object for an orphan afterwards."""
    auditor.edit(BEK, lambda document: document["images"][0].update(url=None))
    data = auditor.path(BEK, 1).read_bytes()
    auditor.path(BEK, 1).unlink()
    mirror, auditor.mirror = auditor.mirror, no_mirror(auditor.ledger)
    assert auditor.audit() == {BEK: [("nowhere", auditor.name(BEK, 1), False)]}
    edited(auditor, "nowhere", mendable=True)
    assert "nothing mirrors the library" in auditor.mend()[BEK]["error"]
    auditor.mirror = mirror
    assert auditor.audit(run="with") == {BEK: [("gone_from_disk", auditor.name(BEK, 1), True)]}
    auditor.mend(run="fetching")
    assert auditor.path(BEK, 1).read_bytes() == data


def test_an_entry_with_an_address_elsewhere_is_not_dropped(auditor: Auditor, bucket: Bucket) -> None:
    auditor.edit(BEK, lambda document: document["images"][0].update(url="s3://somebody/else.jpg"))
    auditor.path(BEK, 1).unlink()
    bucket.remove(auditor.key(BEK, 1))
    assert auditor.audit() == {BEK: [("nowhere", auditor.name(BEK, 1), False)]}


def test_entries_that_share_an_object_are_listed_and_left(auditor: Auditor, bucket: Bucket) -> None:
    first, ada = (auditor.mirror.url(PurePosixPath(auditor.key(name, 1))) for name in (BEK, ADA))
    # By its own key the first one's, by the address the second's too; the third's is Ada's.
    auditor.edit(BEK, lambda document: document["images"][0].update(url=None))
    auditor.edit(BEK, lambda document: document["images"][1].update(url=first))
    auditor.edit(BEK, lambda document: document["images"][2].update(url=ada))
    auditor.path(BEK, 2).unlink()
    before = bucket.everything()
    assert auditor.audit() == {
        ADA: [("shared", auditor.name(ADA, 1), False)],
        BEK: [
            *[("shared", auditor.name(BEK, number), False) for number in (1, 2, 3)],
            *[("stale", auditor.mirror.address(PurePosixPath(auditor.key(BEK, number))), False) for number in (2, 3)],
        ],
    }
    (said,) = [row["differences"][0]["says"] for row in auditor.document["results"] if row["actor_name"] == ADA]
    assert said.endswith(f"and so does {auditor.name(BEK, 3)} of {BEK}: mend the url of all but one")
    assert auditor.mend() == {}
    assert bucket.everything() == before


def test_objects_in_subfolders_are_listed_unless_an_entry_leads_there(auditor: Auditor, bucket: Bucket) -> None:
    deep = f"actors/{BEK}/training_data/older"
    bucket.write(f"{deep}/{auditor.name(BEK, 1)}", b"left behind")
    bucket.write(f"{deep}/kept.jpg", auditor.path(BEK, 2).read_bytes())
    bucket.remove(auditor.key(BEK, 2))
    url = auditor.mirror.url(PurePosixPath(f"{deep}/kept.jpg"))
    auditor.edit(BEK, lambda document: document["images"][1].update(url=url))
    address = auditor.mirror.address(PurePosixPath(deep, auditor.name(BEK, 1)))
    assert auditor.audit() == {BEK: [("in_subfolder", address, False)]}
    assert auditor.mend() == {}


def test_what_is_no_plain_image_is_for_a_person_and_blocks_nothing(auditor: Auditor, bucket: Bucket) -> None:
    drift(auditor, bucket)
    linked, folder, text = auditor.name(BEK, 3), auditor.name(BEK, 5), "notes.txt"
    auditor.path(BEK, 3).symlink_to(auditor.path(ADA, 1))
    auditor.path(BEK, 5).mkdir()
    bucket.write(auditor.key(BEK, 5), b"of what the folder was once")
    put(auditor.folder_of(BEK) / text, b"mine")
    auditor.edit(BEK, lambda document: document["images"].append({"file": text}))
    odd = {one for one in auditor.audit()[BEK] if one[0] in ("no_image", "nowhere")}
    assert odd == {("no_image", linked, False), ("no_image", folder, False), ("no_image", text, False)}
    row = auditor.mend()[BEK]
    assert row["success"] is True
    assert set(row["left"]) == {linked, folder, text}
    assert {linked, text} < set(auditor.manifest(BEK))
    assert auditor.path(BEK, 3).is_symlink()
    assert bucket.objects()[auditor.key(BEK, 5)] == b"of what the folder was once"
    assert {one[0] for one in auditor.audit(run="again")[BEK]} == {"no_image"}


def test_an_entry_that_differs_by_case_alone_is_not_dropped(auditor: Auditor, bucket: Bucket) -> None:
    name = auditor.name(BEK, 1)
    auditor.edit(BEK, lambda document: document["images"][0].update(file=name.upper(), url=None))
    found = auditor.audit()[BEK]
    assert {one for one in found if name.upper() in one[1].upper()} == {
        ("name", name, False),
        ("name", name.upper(), False),
    }


def test_without_contents_only_what_can_be_mended_is_read(
    auditor: Auditor, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.fingerprint import FileHashes

    drift(auditor, bucket)
    put(auditor.path(ADA, 1), jpeg("orange"))
    bucket.write(auditor.key(ADA, 2), b"shorter")
    known, read = FileHashes.of, set()

    def of(self: FileHashes, path: Path) -> str | None:
        read.add(path.name)
        return known(self, path)

    monkeypatch.setattr(FileHashes, "of", of)
    size = auditor.path(ADA, 1).stat().st_size
    bucket.write(auditor.key(ADA, 1), b"x" * size)
    found = auditor.audit(contents=False)
    # The first is another image than entry and object say, of the same size.
    assert found[ADA] == [("differs_from_mirror", auditor.name(ADA, 2), False)]
    assert read - {"manifest.json"} == {auditor.name(BEK, number) for number in (2, 7, 8)}
    monkeypatch.undo()
    row = auditor.mend()[BEK]
    assert row["success"] is True
    assert auditor.audit(run="again").keys() == {ADA}


def test_line_ends_of_a_manifest_come_back_as_they_were(auditor: Auditor, bucket: Bucket) -> None:
    drift(auditor, bucket)
    path = auditor.folder_of(BEK) / "manifest.json"
    path.write_bytes(json.dumps(json.loads(path.read_bytes()), indent=1).replace("\n", "\r\n").encode())
    before = auditor.files()
    auditor.audit()
    assert auditor.mend()[BEK]["success"] is True
    assert auditor.undo().refused == ()
    assert auditor.files() == before


def test_who_could_not_be_compared_is_told(
    auditor: Auditor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auditor.write_manifests()
    folder = auditor.folder_of(BEK)
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    assert auditor.audit() == {}
    assert auditor.gate == "1 actor could not be compared"
    auditor.path(ADA, 1).unlink()
    auditor.audit(run="both")
    assert str(auditor.gate).startswith("1 actor could not be compared; 1 difference, 0 of them can be mended")
    words = [f"data={auditor.library}", f"outputs={tmp_path / 'outputs'}", "quiet=true"]
    assert main(["audit", *words]) == 1
    assert f"{BEK}: could not be compared: " in capsys.readouterr().out


def test_names_that_no_manifest_can_hold_are_listed(auditor: Auditor, bucket: Bucket) -> None:
    put(auditor.folder_of(BEK) / auditor.name(BEK, 1).upper(), b"another")
    put(auditor.folder_of(BEK) / " outer_5.jpg", b"spaces")
    assert sorted(auditor.audit()[BEK]) == [
        ("name", " outer_5.jpg", False),
        ("name", auditor.name(BEK, 1).upper(), False),
    ]
    assert auditor.mend() == {}


def test_a_file_that_cannot_be_read_is_told(auditor: Auditor, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs as root reads everything, so that the file system is asked to refuse by a link's place in a folder that is none."""
    from runner.fingerprint import FileHashes

    known = FileHashes.of
    monkeypatch.setattr(
        FileHashes, "of", lambda self, path: None if path == auditor.path(BEK, 1) else known(self, path)
    )
    assert auditor.audit() == {BEK: [("unreadable", auditor.name(BEK, 1), False)]}


def test_broken_images_are_named_when_asked_for(auditor: Auditor) -> None:
    put(auditor.path(BEK, 1), b"\xff\xd8 cut off")
    auditor.write_manifests()
    assert auditor.audit() == {}
    assert not any("broken" in note for note in auditor.document["notes"])
    assert auditor.audit(run="whole", decode=True) == {}
    assert any(note.startswith(f"{BEK}: {auditor.name(BEK, 1)} is broken: ") for note in auditor.document["notes"])


def unlist_again(auditor: Auditor, bucket: Bucket) -> None:
    auditor.edit(BEK, lambda document: document["images"].pop())


def change_file(auditor: Auditor, bucket: Bucket) -> None:
    put(auditor.path(BEK, 7), jpeg("blue"))


def change_upload(auditor: Auditor, bucket: Bucket) -> None:
    put(auditor.path(BEK, 2), jpeg("blue"))


def fill_gap(auditor: Auditor, bucket: Bucket) -> None:
    put(auditor.path(BEK, 1), jpeg("blue"))


def find_again(auditor: Auditor, bucket: Bucket) -> None:
    put(auditor.path(BEK, 3), jpeg("blue"))


def change_orphan(auditor: Auditor, bucket: Bucket) -> None:
    bucket.write(f"actors/{BEK}/training_data/old_9.png", b"no longer left behind")


def store_meanwhile(auditor: Auditor, bucket: Bucket) -> None:
    bucket.write(auditor.key(BEK, 2), b"another's")


def change_source(auditor: Auditor, bucket: Bucket) -> None:
    bucket.write(auditor.key(BEK, 1), b"another's")


@pytest.mark.parametrize(
    "change",
    [unlist_again, change_file, change_upload, fill_gap, find_again, change_orphan, store_meanwhile, change_source],
)
def test_what_changed_since_the_audit_is_not_mended(
    auditor: Auditor, bucket: Bucket, change: Callable[[Auditor, Bucket], None]
) -> None:
    drift(auditor, bucket)
    auditor.audit()
    change(auditor, bucket)
    library, objects = auditor.files(), bucket.everything()
    row = auditor.mend()[BEK]
    assert row["success"] is False
    assert any(word in row["error"] for word in ("changed since", "appeared since", "has changed"))
    assert (auditor.files(), bucket.everything()) == (library, objects)
    assert auditor.gate is not None


def test_what_the_mirror_has_must_be_what_the_manifest_says(auditor: Auditor, bucket: Bucket) -> None:
    auditor.path(BEK, 1).unlink()
    bucket.write(auditor.key(BEK, 1), b"another's")
    library = auditor.files()
    auditor.audit()
    row = auditor.mend()[BEK]
    assert "is not what it was when its entry was written" in row["error"]
    assert auditor.files() == library


def test_an_audit_is_mended_once(auditor: Auditor, bucket: Bucket) -> None:
    drift(auditor, bucket)
    auditor.audit()
    auditor.mend()
    with pytest.raises(UserError, match="was carried out before, by mending"):
        auditor.mend(run="again")


def test_most_of_a_mirror_goes_only_by_force(auditor: Auditor, bucket: Bucket) -> None:
    """Somebody gave the wrong folder as data: to it, everything in the bucket is an orphan."""
    for name in NAMES:
        for path in auditor.folder_of(name).iterdir():
            path.unlink()
    before = bucket.everything()
    assert len(auditor.audit()[BEK]) == COUNT
    with pytest.raises(UserError, match="8 of the mirror's 8 training images would go to its trash, more than half"):
        auditor.mend()
    assert bucket.everything() == before
    auditor.mend(run="forced", force=True)
    assert set(bucket.objects()) & {auditor.key(BEK, number) for number in range(9)} == set()
    assert auditor.undo("forced").refused == ()
    assert bucket.everything() == before


def test_the_mirror_is_listed_once(auditor: Auditor, tmp_path: Path) -> None:
    class Counting(RecordingMirror):
        listed = 0

        def inventory(self, folder: PurePosixPath) -> Any:
            self.listed += 1
            return super().inventory(folder)

    mirror = Counting(auditor.library)
    for path in auditor.library.rglob("*.jpg"):
        mirror.objects[path.relative_to(auditor.library).as_posix()] = path.read_bytes()
    auditor.mirror = mirror
    auditor.write_manifests()
    assert auditor.audit() == {}
    assert mirror.listed == 1


def edited(auditor: Auditor, of: str, **changes: Any) -> None:
    document = json.loads(auditor.file.read_text())
    row = next(row for row in document["results"] if row["actor_name"] == BEK)
    next(one for one in row["differences"] if one["kind"] == of).update(changes)
    auditor.file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"of": "orphan", "key": {"key": "elsewhere/of/others.jpg", "size": 6, "etag": None}}, "is not below actors/0001_bek/training_data/"),
        ({"of": "orphan", "key": {"key": f"actors/{ADA}/training_data/x.jpg", "size": 6, "etag": None}}, "is not below"),
        ({"of": "not_in_mirror", "key": {"key": "elsewhere.jpg", "size": 0, "etag": None}}, "is not below"),
        ({"of": "gone_from_disk", "file": "../../../etc/passwd"}, "would leave the library"),
        ({"of": "gone_from_disk", "file": "manifest.json"}, "is no training image by its name"),
        ({"of": "gone_from_disk", "key": None}, "null, but kind 'gone_from_disk' is about an object"),
        ({"of": "unlisted", "sha256": None}, "null, but kind 'unlisted' is about a file"),
        ({"of": "orphan", "kind": "nobodys"}, "differences of kind 'nobodys' are not mended"),
        ({"of": "orphan", "kind": "rm -rf"}, "is not one of"),
    ],
)  # fmt: skip
def test_an_edited_audit_reaches_nothing_else(
    auditor: Auditor, bucket: Bucket, changes: dict[str, Any], said: str
) -> None:
    drift(auditor, bucket)
    auditor.audit()
    edited(auditor, **changes)
    before = bucket.everything()
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        auditor.mend()
    assert bucket.everything() == before


def test_the_command_exits_1_while_something_differs(
    auditor: Auditor,
    bucket: Bucket,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
    drift(auditor, bucket)
    library = auditor.files()
    words = [f"data={auditor.library}", f"outputs={tmp_path / 'outputs'}", "quiet=true", *bucket.words()]
    assert main(["audit", *words]) == 1
    said = capsys.readouterr().out
    assert f"{BEK}: {auditor.name(BEK, 3)}: is neither on the disk nor in the mirror\n" in said
    assert auditor.files() == library
    assert main(["audit", "--fix", *words]) == 0
    assert (
        f"{BEK}: {auditor.name(BEK, 3)}: is neither on the disk nor in the mirror: mended\n" in capsys.readouterr().out
    )
    assert main(["audit", *words]) == 0
    assert capsys.readouterr().out == ""
    assert main(["undo", "audit", "--outputs", str(tmp_path / "outputs")]) == 0
    assert auditor.files() == library
    auditor.edit(BEK, lambda document: document.update(version=9))
    assert main(["audit", "--fix", *words]) == 1
    assert main(["audit", *words, "nosuchkey=1"]) == 2


SIDES = st.lists(
    st.tuples(
        st.sampled_from([f"{BEK}_{number}.jpg" for number in range(6)]),
        st.sampled_from(["none", "plain", "hashed", "wrong hash", "no url", "foreign"]),
        st.booleans(),
        st.sampled_from(["none", "same", "other"]),
    ),
    max_size=6,
    unique_by=lambda side: side[0],
)


@settings(max_examples=300, deadline=None)
@given(SIDES)
def test_what_is_mended_is_mended(sides: list[tuple[str, str, bool, str]]) -> None:
    """Whatever the sides hold, what can be mended differs no more afterwards, and nothing new does."""
    folder = f"actors/{BEK}/training_data"
    mirror = RecordingMirror(Path("nowhere"))
    disk, images = {}, []
    for file, entry, on_disk, stored in sides:
        own = hashlib.sha256(file.encode()).hexdigest()
        if on_disk:
            disk[file] = OnDisk(Path(file), own)
        if stored != "none":
            mirror.objects[f"{folder}/{file}"] = file.encode() if stored == "same" else b"other"
        if entry != "none":
            sha256 = {"hashed": own, "wrong hash": "0" * 64}.get(entry)
            url = {"no url": None, "foreign": "https://else.where/x.jpg"}.get(
                entry, f"https://mirror.example/{folder}/{file}"
            )
            images.append(TrainingImage(file, sha256=sha256, url=url))
    manifest = TrainingManifest(1, BEK, tuple(images))

    def same(there: OnDisk, stored: StoredObject) -> bool:
        return mirror.holding(stored.key, str(there.sha256)) is not None

    def compared() -> list[differences.Difference]:
        there = {item.key: item for item in mirror.inventory(PurePosixPath(folder))}
        comparison = Comparison(manifest, Folder(disk), mirror, there, {}, same)
        return list(comparison.differences())

    findings = Findings(BEK, None, tuple(compared()))
    fetched = {}
    for one in findings.of(differences.GONE):
        assert one.key is not None
        assert one.file is not None
        data = mirror.objects[one.key.key]
        fetched[one.file] = hashlib.sha256(data).hexdigest()
        disk[one.file] = OnDisk(Path(one.file), fetched[one.file])
    for one in findings.of(differences.UNSTORED):
        assert one.key is not None
        mirror.objects[one.key.key] = str(one.file).encode()
    for one in findings.of(differences.ORPHAN):
        assert one.key is not None
        del mirror.objects[one.key.key]
    manifest = differences.mended(manifest, findings, mirror, fetched)
    again = compared()
    # A fetched file that is not what its entry says is refused before it is placed; here it shows.
    assert all(one.kind == differences.CHANGED or one in findings.differences for one in again)
    assert not [one for one in again if one.mendable]
