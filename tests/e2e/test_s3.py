"""The real command over a library that is mirrored in a bucket: repair, undo, trash, and what it says when the bucket is out of reach."""
# ruff: noqa: F811

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from runner.errors import ItemError
from runner.files import write_json
from steps.backends.s3 import S3Storage
from steps.library.mirror import StoredObject
from tests.contract.storage_servers import SECRET, Bucket, aws, moto, new_bucket  # noqa: F401 - fixtures
from tests.e2e.stage import ABSENT, BLURRED, Stage, assert_told
from tests.library import tree

MAKING = ("steps.plan.width=128", "steps.plan.height=192", "retry.wait_s=0")
ACTING = ("execute=true", "force=true")


@pytest.fixture
def bucket(stage: Stage, moto: str) -> Bucket:
    made = new_bucket(moto, prefix="cast")
    for path in sorted((stage.data / "actors").rglob("*")):
        if path.is_file():
            made.write(path.relative_to(stage.data).as_posix(), path.read_bytes())
    return made


def repair(stage: Stage, bucket: Bucket, *words: str, code: int = 0, naming: tuple[str, ...] = ()) -> str:
    told = stage.run("run", "repair_base_images", *bucket.words(), *MAKING, *words)
    assert_told(told, code, naming)
    return told.text


def actors(stage: Stage) -> dict[str, str]:
    return {path: digest for path, digest in tree(stage.data).items() if path.startswith("actors/")}


def test_a_repair_and_its_undo(stage: Stage, bucket: Bucket) -> None:
    before, library = bucket.everything(), actors(stage)
    repair(stage, bucket)
    assert bucket.everything() == before
    repair(stage, bucket, *ACTING)
    after = bucket.objects()
    for name in (BLURRED, ABSENT):
        image = f"actors/{name}/base_image/{name}_base.jpg"
        assert [key for key in after if key.startswith(f"actors/{name}/")] == [image]
        assert after[image] == (stage.data / image).read_bytes()
    assert_told(stage.run("trash", "list"), 0, ("1 entries",))
    assert_told(stage.run("undo", "repair_base_images"), 0, ("2 of 2 actions undone", "objects put back in the mirror"))
    assert bucket.everything() == before
    assert actors(stage) == library
    written = [path for path in stage.root.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_the_trash_is_emptied_in_the_bucket_too(stage: Stage, bucket: Bucket) -> None:
    repair(stage, bucket, *ACTING)
    library = bucket.objects()
    age(stage)
    emptying = ("trash", "empty", "--older-than", "30d")
    assert_told(stage.run(*emptying), 0, ("nothing was deleted",))
    assert bucket.trash()
    assert_told(stage.run(*emptying, "--yes"), 0, ("1 entries deleted for good",))
    assert bucket.trash() == {}
    assert bucket.objects() == library
    assert_told(stage.run("trash", "list"), 0, ("the trash is empty",))
    # What is gone for good can't be put back; the action that replaced nothing can be taken back still.
    assert_told(stage.run("undo", "repair_base_images"), 1, ("is no longer in the trash (emptied?)", "1 of 2 actions"))
    del library[f"actors/{ABSENT}/base_image/{ABSENT}_base.jpg"]
    assert bucket.objects() == library


def test_an_undo_that_an_object_got_in_the_way_of_goes_on(
    stage: Stage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, library = bucket.everything(), actors(stage)
    repair(stage, bucket, *ACTING)
    with monkeypatch.context() as patch:
        patch.setattr(S3Storage, "restore", somebody_comes_first)
        told = stage.run("undo", "repair_base_images")
        assert_told(told, 1, (f"{BLURRED}: half undone: s3://", "has appeared since", "1 of 2 actions undone"))
    assert_told(stage.run("undo", "repair_base_images"), 0, ("1 of 1 actions undone",))
    assert bucket.everything() == before
    assert actors(stage) == library


def somebody_comes_first(storage: S3Storage, item: StoredObject, action: str) -> None:
    raise ItemError(f"{storage.address(item.key)} has appeared since: move it aside")


def test_a_trash_that_nobody_knows_the_way_to_is_kept(stage: Stage, bucket: Bucket) -> None:
    repair(stage, bucket, *ACTING)
    age(stage)
    kept = bucket.everything()
    shutil.rmtree(stage.root / "outputs")
    told = stage.run("trash", "empty", "--older-than", "30d", "--yes")
    assert_told(told, 1, (f"s3://{bucket.name}/cast/.callsheet/trash/", "by hand", "0 entries deleted for good"))
    assert bucket.everything() == kept
    assert_told(stage.run("trash", "list"), 0, ("1 entries",))


def test_a_trash_that_is_out_of_reach_is_kept(stage: Stage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    repair(stage, bucket, *ACTING)
    age(stage)
    with monkeypatch.context() as patch:
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        told = stage.run("trash", "empty", "--older-than", "30d", "--yes")
    assert_told(told, 1, ("AWS_SECRET_ACCESS_KEY (or AWS_ACCESS_SECRET) is not", "0 entries deleted for good"))
    assert bucket.trash()
    assert_told(stage.run("trash", "list"), 0, ("1 entries",))


def age(stage: Stage) -> None:
    """Let the trash lie for a while."""
    entries = list((stage.data / ".callsheet/trash").glob("*/entry.json"))
    for path in entries:
        about = json.loads(path.read_text())
        write_json(path, about | {"moved_at": (datetime.now(UTC) - timedelta(days=40)).isoformat()})
    assert len(entries) == 1


def test_a_bucket_that_is_not_there_stops_the_run_and_changes_nothing(stage: Stage, bucket: Bucket) -> None:
    library = actors(stage)
    repair(stage, bucket, *ACTING, "storage.bucket=no-such-bucket", code=3, naming=("NoSuchBucket", "storage.bucket"))
    assert actors(stage) == library


def test_a_bucket_must_be_named(stage: Stage) -> None:
    stage.refuses("run", "repair_base_images", "storage=s3", naming=("storage.bucket",))


@pytest.mark.parametrize(
    ("word", "naming"),
    [
        ("storage.prefix=../other", ("storage.prefix", "no '..'")),
        ("storage.bucket=s3://cast", ("storage.bucket", "without s3://")),
        ("storage.endpoint_url=nowhere", ("storage.endpoint_url", "https://HOST:PORT")),
    ],
)
def test_settings_are_checked_before_anything_is_asked(stage: Stage, word: str, naming: tuple[str, ...]) -> None:
    stage.refuses("run", "repair_base_images", "storage=s3", "storage.bucket=cast", word, naming=naming)


def test_a_conflict_of_credentials_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_SECRET", "another-secret-value")
    words = ("run", "repair_base_images", "storage=s3", "storage.bucket=cast")
    said = stage.refuses(*words, naming=("AWS_SECRET_ACCESS_KEY and AWS_ACCESS_SECRET are both set and differ",))
    assert "another-secret-value" not in said


def test_the_doctor_looks_at_the_bucket(stage: Stage, bucket: Bucket) -> None:
    told = stage.run("doctor", "repair_base_images", *bucket.words())
    assert f"s3://{bucket.name}" in told.text
    assert SECRET not in told.text
