"""A mirrored repair and its undo, cut off after every single request in turn: given again, they end as if nothing had been."""
# ruff: noqa: F811

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from runner.calls import Calls
from runner.errors import Interrupted
from runner.ledger import Ledger
from steps.backends.s3 import S3Storage
from steps.library.journal import DONE, UNDONE
from tests.contract.storage_servers import Bucket, aws, moto, new_bucket  # noqa: F401 - fixtures
from tests.library import BLURRY, make_library
from tests.steps.owner import Owner, library_tree

T = TypeVar("T")
NAME = "0001_bek"


class CutOff:
    """Lets so many requests through; then the process is dead, whether or not the last one's answer came."""

    def __init__(self, calls: Calls, left: int) -> None:
        self._calls = calls
        self.stop = calls.stop
        self.left = left
        self.cut = False

    def free(self, send: Callable[[], T]) -> T:
        if self.left == 0:
            self.cut = True
            raise Interrupted("killed")
        self.left -= 1
        return self._calls.free(send)


@dataclass(frozen=True)
class Scene:
    """A mirrored library with one actor to repair, planned for."""

    owner: Owner
    bucket: Bucket
    before: dict[str, bytes]
    library: dict[str, str]
    plan: Path

    @property
    def storage(self) -> S3Storage:
        return cast("S3Storage", self.owner.mirror)

    def repair(self) -> None:
        self.owner.execute(self.plan, force=True)

    def undo(self) -> None:
        assert self.owner.undo() == []

    def cut_off(self, work: Callable[[], None], after: int) -> bool:
        """Do something until so many requests are made; whether that was before its end."""
        calls = self.storage._calls
        cutting = CutOff(calls, after)
        self.storage._calls = cast("Calls", cutting)
        try:
            work()
        except Interrupted:
            pass
        finally:
            self.storage._calls = calls
        return cutting.cut

    def state(self) -> dict[str, Any]:
        """All that a person may see, without the action's name."""
        operations = (self.owner.folder / "executing" / "operations.jsonl").read_text().splitlines()
        entries = list((self.owner.library / ".callsheet/trash").glob("*/entry.json"))
        address = f"s3://{self.bucket.name}/"
        return {
            "states": self.owner.states(),
            "bucket": self.bucket.objects(),
            "trash": {key.partition("/")[2]: data for key, data in self.bucket.trash().items()},
            "library": library_tree(self.owner),
            "entries": [
                (about["complete"], len(about["keys"])) for about in map(json.loads, map(Path.read_text, entries))
            ],
            "said": {
                (entry["operation"], entry["target"].replace(address, "s3://")) for entry in map(json.loads, operations)
            },
        }


@contextmanager
def scene(
    folder: Path, url: str, *, versioned: bool = False, upload: Callable[[Bucket, str, bytes], None] = Bucket.write
) -> Iterator[Scene]:
    library = make_library(folder / "data", ["0000_ada", NAME], training=1)
    bucket = new_bucket(url, versioned=versioned)
    for path in sorted((library / "actors").rglob("*.jpg")):
        upload(bucket, path.relative_to(library).as_posix(), path.read_bytes())
    with Ledger(folder / "ledger.sqlite") as ledger:
        owner = Owner(ledger, library)
        owner.vision.script = {NAME: [BLURRY]}
        owner.mirror = bucket.storage(ledger)
        plan = owner.plan()
        yield Scene(owner, bucket, bucket.everything(), library_tree(owner), plan)


@pytest.fixture
def repaired(moto: str, tmp_path: Path) -> dict[str, Any]:
    """How an unbroken repair ends."""
    with scene(tmp_path / "unbroken", moto) as there:
        there.repair()
        return there.state()


@pytest.mark.parametrize("versioned", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_a_repair_goes_on_after_every_request(
    moto: str, tmp_path: Path, repaired: dict[str, Any], *, versioned: bool
) -> None:
    assert repaired["states"] == {NAME: DONE}
    after, cut = 0, True
    while cut:
        with scene(tmp_path / f"{after}", moto, versioned=versioned) as there:
            cut = there.cut_off(there.repair, after)
            # What was there is there, in the bucket or its trash.
            assert set(there.before.values()) <= set(there.bucket.everything().values()), after
            there.repair()
            assert there.state() == repaired, after
        after += 1
    assert after > 12


def test_a_repair_that_was_cut_off_can_be_undone_after_every_request(moto: str, tmp_path: Path) -> None:
    after, cut = 0, True
    while cut:
        with scene(tmp_path / f"{after}", moto) as there:
            cut = there.cut_off(there.repair, after)
            there.undo()
            assert there.bucket.everything() == there.before, after
            assert library_tree(there.owner) == there.library, after
        after += 1
    assert after > 12


@pytest.mark.parametrize("versioned", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_an_undo_goes_on_after_every_request(moto: str, tmp_path: Path, *, versioned: bool) -> None:
    after, cut = 0, True
    while cut:
        with scene(tmp_path / f"{after}", moto, versioned=versioned) as there:
            there.repair()
            cut = there.cut_off(there.undo, after)
            assert set(there.before.values()) <= set(there.bucket.everything().values()), after
            there.undo()
            assert there.owner.states() == {NAME: UNDONE}, after
            assert there.bucket.everything() == there.before, after
            assert library_tree(there.owner) == there.library, after
            assert there.state()["entries"] == [(True, 0)], after
        after += 1
    assert after > 10


def in_parts(bucket: Bucket, key: str, data: bytes) -> None:
    """Upload as clients do with what is large: such an object's ETag is not that of a copy of it."""
    about = {"Bucket": bucket.name, "Key": key}
    upload = bucket.client.create_multipart_upload(**about)["UploadId"]
    part = bucket.client.upload_part(**about, UploadId=upload, PartNumber=1, Body=data)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    bucket.client.complete_multipart_upload(**about, UploadId=upload, MultipartUpload=parts)
    assert bucket.about(key)["ETag"].endswith('-1"')


def test_an_undo_goes_on_though_copies_have_other_etags(moto: str, tmp_path: Path) -> None:
    after, cut = 0, True
    while cut:
        with scene(tmp_path / f"{after}", moto, upload=in_parts) as there:
            there.repair()
            cut = there.cut_off(there.undo, after)
            if cut:
                there.undo()
            assert there.bucket.everything() == there.before, after
        after += 1
    assert after > 12
