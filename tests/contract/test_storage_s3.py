"""What S3 alone has: names, pages, metadata, and conditions for when somebody writes between look and act."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import Any, cast

import pytest

from runner.errors import ItemError
from runner.ledger import Ledger
from steps.backends.s3 import S3Storage
from steps.backends.s3_names import MAX_KEY_BYTES, Names
from steps.library.mirror import StoredObject
from tests.contract.storage_servers import TRASH, Bucket, new_bucket

ACTION = "a" * 24
HOME = PurePosixPath("actors/0001_bek")
KEY = HOME / "training_data" / "0001_bek_1.jpg"


@dataclasses.dataclass(frozen=True)
class Spelt:
    """A path in a spelling that PurePosixPath would tidy up."""

    text: str

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "actors/../../x",
        "/etc/passwd",
        "actors//x",
        "actors/./x",
        "",
        ".",
        "actors/x/",
        "a\0b",
        "a\nb",
        f"{TRASH}x/y",
    ],
)
def test_no_key_outside_the_prefix_is_ever_named(path: str) -> None:
    names, raw = Names.of("bucket", "cast", TRASH), cast("PurePosixPath", Spelt(path))
    told = "is no file of the library: no object outside s3://bucket/cast/ is touched"
    with pytest.raises(ItemError, match=told):
        names.key(raw)
    with pytest.raises(ItemError, match=told):
        names.trash_key(raw, ACTION)


@pytest.mark.parametrize("action", ["", "..", "a/b", "../../other", "a" * 25, "2026", "A" * 24])
def test_no_trash_outside_the_trash_is_ever_named(action: str) -> None:
    with pytest.raises(ItemError, match="is no action"):
        Names.of("bucket", "cast", TRASH).trash_folder(action)


def test_keys_and_paths_are_each_others_opposite() -> None:
    names = Names.of("bucket", "cast/data", ".trash")
    assert names.key(KEY) == f"cast/data/{KEY}"
    assert names.path(names.key(KEY)) == KEY
    assert names.trash_key(KEY, ACTION) == f"cast/data/.trash/{ACTION}/{KEY}"
    assert names.path_in_trash(names.trash_key(KEY, ACTION), ACTION) == KEY
    assert names.url(names.key(KEY)) == f"s3://bucket/cast/data/{KEY}"


def test_keys_that_are_no_clean_path_are_left_alone(
    bucket: Bucket, storage: S3Storage, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [
        f"{HOME}/{name}"
        for name in ("../0000_ada/x.jpg", "/x.jpg", "./x.jpg", "tab\t.jpg", "x//y.jpg", "d/" + "y" * 990)
    ]
    for key in [*odd, f"{HOME}/training_data/", str(KEY)]:
        bucket.write(key, b"one")
    assert [item.key for item in storage.inventory(HOME)] == [KEY]
    assert sum("is left alone" in message for message in caplog.messages) == len(odd)
    assert set(bucket.objects()) == {*odd, f"{HOME}/training_data/", str(KEY)}


def test_a_key_is_told_by_the_length_that_it_has_in_the_trash(bucket: Bucket, storage: S3Storage) -> None:
    room = MAX_KEY_BYTES - len(f"{TRASH}{ACTION}/{HOME}/")
    fits, too_long = HOME / ("y" * room), HOME / ("y" * (room + 1))
    for key in (fits, too_long):
        bucket.write(str(key), b"one")
    [item] = storage.inventory(HOME)
    assert item.key == fits
    assert storage.to_trash(item, ACTION)


def test_the_trash_is_no_part_of_the_library(bucket: Bucket, ledger: Ledger) -> None:
    storage = bucket.storage(ledger, trash_prefix="actors/trash/")
    bucket.write(f"actors/trash/{ACTION}/{KEY}", b"one")
    bucket.write(str(KEY), b"two")
    assert [item.key for item in storage.inventory(PurePosixPath("actors"))] == [KEY]
    assert [item.key for item in storage.in_trash(ACTION)] == [KEY]


def test_objects_of_others_in_the_bucket_are_out_of_reach(moto: str, ledger: Ledger) -> None:
    bucket = new_bucket(moto, prefix="cast")
    storage = bucket.storage(ledger)
    others = {str(KEY): b"1", f"castle/{KEY}": b"2", f"{TRASH}{ACTION}/{KEY}": b"3"}
    for key, data in others.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data)
    assert list(storage.inventory(HOME)) == []
    assert list(storage.in_trash(ACTION)) == []
    storage.put(KEY, b"ours", "image/jpeg")
    [item] = storage.inventory(HOME)
    storage.to_trash(item, ACTION)
    storage.delete(item)
    storage.empty_trash(ACTION)
    assert bucket.everything() == others


def test_an_inventory_of_more_than_a_page_is_whole(bucket: Bucket, storage: S3Storage) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    names = {f"{HOME}/training_data/{number:05d}.jpg" for number in range(2050)}
    for name in names:
        backend.put_object(bucket.name, name, b"x")
    assert {str(item.key) for item in storage.inventory(HOME)} == names


def test_rclone_pages_too(rclone: str, ledger: Ledger) -> None:
    bucket = new_bucket(rclone, conditional=False)
    names = {f"{HOME}/{number}.jpg" for number in range(12)}
    for name in names:
        bucket.write(name, b"x")
    storage = bucket.storage(ledger)
    storage._client.meta.events.register("before-parameter-build.s3.ListObjectsV2", _small_pages)
    assert {str(item.key) for item in storage.inventory(HOME)} == names


def _small_pages(params: dict[str, Any], **_more: Any) -> None:
    params["MaxKeys"] = 5


@pytest.mark.parametrize("versioned", [False, True])
def test_metadata_goes_to_the_trash_and_back(moto: str, ledger: Ledger, *, versioned: bool) -> None:
    bucket = new_bucket(moto, versioned=versioned)
    bucket.write(str(KEY), b"one", ContentType="image/x-own", Metadata={"who": "me"}, CacheControl="max-age=5")
    before = _lasting(bucket.about(str(KEY)))
    assert before["ContentType"] == "image/x-own"
    storage = bucket.storage(ledger)
    [item] = storage.inventory(HOME)
    storage.to_trash(item, ACTION)
    storage.delete(item)
    [kept] = storage.in_trash(ACTION)
    storage.restore(kept, ACTION)
    assert _lasting(bucket.about(str(KEY))) == before


def _lasting(about: dict[str, Any]) -> dict[str, Any]:
    return {key: about.get(key) for key in ("ContentType", "Metadata", "CacheControl", "ETag", "ContentLength")}


def test_an_image_says_what_it_is(bucket: Bucket, storage: S3Storage) -> None:
    storage.put(KEY, b"one", "image/jpeg")
    about = bucket.about(str(KEY))
    assert about["ContentType"] == "image/jpeg"
    assert about["Metadata"] == {"callsheet-sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"}


def test_metadata_that_lies_convinces_nobody(bucket: Bucket, storage: S3Storage) -> None:
    sha256 = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    bucket.write(str(KEY), b"two", Metadata={"callsheet-sha256": sha256})
    assert storage.holding(KEY, sha256) is None
    with pytest.raises(ItemError, match="has appeared since"):
        storage.put(KEY, b"one", "image/jpeg")


def test_a_copy_with_another_etag_is_known_by_its_bytes(bucket: Bucket, storage: S3Storage) -> None:
    """As where parts or encryption make the ETag: then only the bytes tell."""
    bucket.write(str(KEY), b"one")
    [item] = storage.inventory(HOME)
    storage.to_trash(item, ACTION)
    [kept] = storage.in_trash(ACTION)
    assert storage.can_return(dataclasses.replace(kept, etag="made-of-parts-2"), ACTION)
    bucket.write(str(KEY), b"two")
    assert not storage.can_return(dataclasses.replace(kept, etag="made-of-parts-2"), ACTION)


def looks_away(storage: S3Storage, monkeypatch: pytest.MonkeyPatch, seen: StoredObject | None) -> None:
    """Let the first look show what stood there before."""
    head, looks = storage._head, iter([seen])
    monkeypatch.setattr(storage, "_head", lambda full, key: next(looks, None) or head(full, key))


def test_a_write_between_look_and_put_is_not_overwritten(
    bucket: Bucket, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write(str(KEY), b"one")
    [seen] = storage.inventory(HOME)
    bucket.write(str(KEY), b"two")
    looks_away(storage, monkeypatch, seen)
    with pytest.raises(ItemError, match="has changed since"):
        storage.put(KEY, b"new", "image/jpeg", replaces=seen)
    monkeypatch.setattr(storage, "_head", lambda full, key: None)
    with pytest.raises(ItemError, match="has appeared since"):
        storage.put(KEY, b"new", "image/jpeg")
    assert bucket.objects() == {str(KEY): b"two"}


def test_a_write_between_look_and_deletion_is_not_deleted(
    bucket: Bucket, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write(str(KEY), b"one")
    [seen] = storage.inventory(HOME)
    bucket.write(str(KEY), b"two")
    looks_away(storage, monkeypatch, seen)
    with pytest.raises(ItemError, match="has changed since, and is not deleted"):
        storage.delete(seen)
    assert bucket.objects() == {str(KEY): b"two"}


@pytest.mark.parametrize(
    ("conditional", "expected"),
    [(True, {"x-amz-copy-source-if-match", "if-none-match"}), (False, {"x-amz-copy-source-if-match"})],
)
def test_copies_are_conditional_too(bucket: Bucket, ledger: Ledger, *, conditional: bool, expected: set[str]) -> None:
    """Neither server here heeds conditions of copies, so it is looked at what is sent."""
    storage = bucket.storage(ledger, conditional_writes=conditional)
    sent: list[dict[str, str]] = []
    storage._client.meta.events.register(
        "before-send.s3.CopyObject",
        lambda request, **_: sent.append({key.lower(): request.headers[key] for key in request.headers}),
    )
    bucket.write(str(KEY), b"one")
    [item] = storage.inventory(HOME)
    storage.to_trash(item, ACTION)
    storage.delete(item)
    [kept] = storage.in_trash(ACTION)
    storage.restore(kept, ACTION)
    conditions = {"x-amz-copy-source-if-match", "if-none-match"}
    assert [set(headers) & conditions for headers in sent] == [{"x-amz-copy-source-if-match"}, expected]


def test_a_copy_that_has_not_arrived_whole_deletes_nothing(
    bucket: Bucket, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write(str(KEY), b"one")
    [item] = storage.inventory(HOME)
    head = storage._head

    def half(full: str, key: PurePosixPath) -> StoredObject | None:
        found = head(full, key)
        return dataclasses.replace(found, size=1) if found and full.startswith(TRASH) else found

    monkeypatch.setattr(storage, "_head", half)
    with pytest.raises(ItemError, match="is not there whole"):
        storage.to_trash(item, ACTION)
