"""Whole repairs of a library that is mirrored in a bucket: what its owner finds there before, after, and after an undo."""
# ruff: noqa: F811

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from runner.errors import Interrupted, UserError
from runner.files import write_json
from runner.ledger import Ledger
from steps.library import trash
from steps.library.journal import DONE, MOVING, UNDONE
from steps.library.transaction import HalfDone
from tests.contract.storage_servers import Bucket, aws, moto, new_bucket, rclone  # noqa: F401 - fixtures
from tests.library import jpeg, tree
from tests.steps.owner import Owner, library_tree
from tests.steps.test_half_done import kill_at

BEK = "actors/0001_bek"
BASE = f"{BEK}/base_image/0001_bek_base.jpg"
TRAINING = f"{BEK}/training_data/0001_bek_1.jpg"
KINDS = ("s3", "s3-versioned", "s3-prefix", "rclone")


def mirrored(owner: Owner, bucket: Bucket) -> Bucket:
    """Store the library in the bucket, and somebody else's objects beside it."""
    for path in sorted((owner.library / "actors").rglob("*")):
        if path.is_file():
            bucket.write(path.relative_to(owner.library).as_posix(), path.read_bytes(), ContentType="image/x-own")
    bucket.client.put_object(Bucket=bucket.name, Key="elsewhere/of/others.txt", Body=b"theirs")
    owner.mirror = bucket.storage(owner.ledger)
    return bucket


@pytest.fixture(params=KINDS)
def any_bucket(request: pytest.FixtureRequest, owner: Owner) -> Bucket:
    kind = request.param
    url = request.getfixturevalue("rclone" if kind == "rclone" else "moto")
    prefix = "cast/data" if kind.endswith("prefix") else ""
    made = new_bucket(url, versioned="versioned" in kind, prefix=prefix, conditional=kind != "rclone")
    return mirrored(owner, made)


@pytest.fixture
def bucket(moto: str, owner: Owner) -> Bucket:
    return mirrored(owner, new_bucket(moto))


def operations(owner: Owner, run: str = "executing") -> list[tuple[str, str]]:
    lines = (owner.folder / run / "operations.jsonl").read_text().splitlines()
    return [(entry["operation"], entry["target"]) for entry in map(json.loads, lines)]


def test_a_repair_mirrors_and_an_undo_mirrors_back(owner: Owner, any_bucket: Bucket) -> None:
    library, before = library_tree(owner), any_bucket.everything()
    about = any_bucket.about(BASE)["ContentType"]
    rows = owner.execute(owner.plan(), actions=["recreate_blurry"])
    after = any_bucket.objects()
    assert [key for key in after if key.startswith(f"{BEK}/")] == [BASE]
    assert hashlib.sha256(after[BASE]).hexdigest() == rows["0001_bek"]["image"]["sha256"]
    assert any_bucket.about(BASE)["ContentType"] == "image/jpeg"
    # Nothing is lost, and nobody else's is touched.
    assert set(before.values()) <= set(any_bucket.everything().values())
    assert {key: data for key, data in after.items() if BEK not in key} == {
        key: data for key, data in any_bucket.objects().items() if BEK not in key
    }
    assert owner.undo() == []
    assert any_bucket.everything() == before
    assert any_bucket.about(BASE)["ContentType"] == about
    assert library_tree(owner) == library


def test_a_plan_lists_the_objects_that_go(owner: Owner, bucket: Bucket) -> None:
    bucket.write(f"{BEK}/training_data/only-there.jpg", b"old")
    bucket.write(f"{BEK}/poster_frame/0001_bek_poster.png", b"stays")
    before = bucket.everything()
    rows = json.loads(owner.plan().read_text())["actions"]
    assert [key["key"] for key in rows[0]["keys"]] == [
        BASE,
        *(f"{BEK}/training_data/{name}" for name in ("0001_bek_1.jpg", "0001_bek_2.jpg", "manifest.json", "only-there.jpg")),
    ]  # fmt: skip
    assert rows[0]["keys"][0]["etag"] == hashlib.md5(before[BASE]).hexdigest()
    assert bucket.everything() == before


def test_an_object_at_the_new_images_key_is_kept_though_there_is_no_such_file(owner: Owner, bucket: Bucket) -> None:
    """The judged image was a png; what stands in the bucket at the new one's key came from somewhere else."""
    png = (owner.library / BASE).with_suffix(".png")
    (owner.library / BASE).rename(png)
    bucket.write(BASE.replace(".jpg", ".png"), png.read_bytes())
    bucket.write(BASE, b"only in the bucket")
    before = bucket.everything()
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    assert [key for key in bucket.objects() if key.startswith(f"{BEK}/")] == [BASE]
    assert b"only in the bucket" in bucket.trash().values()
    assert png.name in {Path(key).name for key in bucket.trash()}
    assert owner.undo() == []
    assert bucket.everything() == before


def test_where_nothing_stood_in_the_bucket_nothing_stands_after_an_undo(owner: Owner, moto: str) -> None:
    bucket = new_bucket(moto)
    owner.mirror = bucket.storage(owner.ledger)
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    assert list(bucket.everything()) == [BASE]
    assert owner.undo() == []
    assert bucket.everything() == {}


def test_what_is_done_to_keys_is_on_record(owner: Owner, bucket: Bucket) -> None:
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    names = [f"{BEK}/training_data/{name}" for name in ("0001_bek_1.jpg", "0001_bek_2.jpg", "manifest.json")]
    url = f"s3://{bucket.name}/"
    assert operations(owner) == [
        ("make", BASE),
        *(("trash", url + name) for name in [BASE, *names]),
        *(("trash", name) for name in [BASE, *names]),
        ("put", BASE),
        ("put", url + BASE),
        *(("delete", url + name) for name in names),
    ]
    done = len(operations(owner))
    owner.undo()
    assert operations(owner)[done:] == [
        ("trash", BASE),
        *(("restore", name) for name in [BASE, *names]),
        ("delete", url + BASE),
        *(("restore", url + name) for name in [BASE, *names]),
    ]


def test_a_preview_changes_nothing_in_the_bucket(owner: Owner, bucket: Bucket) -> None:
    plan = owner.plan()
    before = bucket.everything()
    rows = owner.execute(plan, act=False)
    assert rows["0001_bek"]["objects"] == 4
    assert bucket.everything() == before


def change_object(bucket: Bucket) -> None:
    bucket.write(TRAINING, b"changed")


def change_base(bucket: Bucket) -> None:
    bucket.write(BASE, b"changed")


def remove_object(bucket: Bucket) -> None:
    bucket.remove(TRAINING)


@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize(
    ("change", "naming"),
    [
        (change_object, "0001_bek_1.jpg has changed since the plan was made: make a new plan"),
        (change_base, "0001_bek_base.jpg has changed since the plan was made: make a new plan"),
        (remove_object, "0001_bek_1.jpg is not in the library's mirror: make a new plan"),
    ],
)
def test_a_plan_is_stale_when_an_object_changed(
    owner: Owner, bucket: Bucket, change: Callable[[Bucket], None], naming: str, *, act: bool
) -> None:
    plan = owner.plan()
    change(bucket)
    before, library = bucket.everything(), library_tree(owner)
    rows = owner.execute(plan, actions=["recreate_blurry"], act=act)
    assert naming in rows["0001_bek"]["error"]
    assert bucket.everything() == before
    assert library_tree(owner) == library


def test_a_plan_is_stale_when_an_object_appeared_where_the_image_goes(owner: Owner, bucket: Bucket) -> None:
    bucket.remove(BASE)
    plan = owner.plan()
    bucket.write(BASE, b"new here")
    before = bucket.everything()
    rows = owner.execute(plan, actions=["recreate_blurry"])
    assert f"s3://{bucket.name}/{BASE} has appeared since the plan was made" in rows["0001_bek"]["error"]
    assert bucket.everything() == before


def test_a_plan_that_was_cut_down_by_hand_never_overwrites_an_object(owner: Owner, bucket: Bucket) -> None:
    plan = owner.plan()
    document = json.loads(plan.read_text())
    document["actions"][0]["keys"] = document["actions"][0]["keys"][1:]
    write_json(plan, document)
    before = bucket.everything()
    assert "has appeared since" in owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["error"]
    assert bucket.everything() == before


def test_an_etag_that_was_taken_out_by_hand_is_no_free_pass(owner: Owner, bucket: Bucket) -> None:
    plan = owner.plan()
    document = json.loads(plan.read_text())
    document["actions"][0]["keys"][1]["etag"] = None
    write_json(plan, document)
    before = bucket.everything()
    assert "has changed since" in owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["error"]
    assert bucket.everything() == before


@pytest.mark.parametrize(
    ("key", "naming"),
    [
        (f"{BEK}/training_data//x.jpg", "is not below"),
        (f"{BEK}/./x.jpg", "is not below"),
        (f"{BEK}/training_data/", "is not below"),
        ("actors/0000_ada/x.jpg", "is not below"),
        (f"/{BEK}/x.jpg", "is not below"),
        (BASE, "stands at /keys/0 already"),
    ],
)
def test_a_key_in_a_plan_has_one_spelling(owner: Owner, bucket: Bucket, key: str, naming: str) -> None:
    plan = owner.plan()
    document = json.loads(plan.read_text())
    document["actions"][0]["keys"][1]["key"] = key
    write_json(plan, document)
    with pytest.raises(UserError, match=rf"/actions/0/keys/1/key: .*{naming}"):
        owner.execute(plan)


def test_undo_leaves_alone_what_has_changed_in_the_bucket_since(owner: Owner, bucket: Bucket) -> None:
    owner.execute(owner.plan(), force=True)
    bucket.write(BASE, b"mine now")
    bucket.write("actors/0002_cui/training_data/0002_cui_1.jpg", b"mine too")
    before, library = bucket.everything(), tree(owner.library)
    url = f"s3://{bucket.name}"
    assert owner.undo() == [
        f"{url}/{BASE} has changed since",
        f"{url}/actors/0002_cui/training_data/0002_cui_1.jpg has appeared since",
    ]
    assert bucket.everything() == before
    assert tree(owner.library) == library
    bucket.remove(BASE)
    bucket.remove("actors/0002_cui/training_data/0002_cui_1.jpg")
    assert owner.undo() == []
    assert bucket.trash() == {}


def test_after_the_buckets_trash_was_emptied_an_action_is_not_undone_by_halves(owner: Owner, bucket: Bucket) -> None:
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    for entry in trash.entries(owner.library):
        owner.mirror.empty_trash(entry.folder.name)
    before, library = bucket.everything(), tree(owner.library)
    assert owner.undo() == [f"s3://{bucket.name}/{BASE} is no longer in the mirror's trash (emptied?)"]
    assert bucket.everything() == before
    assert tree(owner.library) == library


def test_a_half_done_action_stops_for_an_object_in_its_way_and_is_not_over(
    owner: Owner, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bucket.everything()
    plan = owner.plan()
    with monkeypatch.context() as patch:
        kill_at(patch, "execute.placed")
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.states() == {"0001_bek": MOVING}
    bucket.write(BASE, b"mine")
    with pytest.raises(HalfDone, match=rf"half done: s3://{bucket.name}/{BASE} has changed since .* Mend that"):
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.undo() == [f"s3://{bucket.name}/{BASE} has changed since"]
    assert bucket.objects()[BASE] == b"mine"
    bucket.remove(BASE)
    assert owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["done"] is True
    assert owner.states() == {"0001_bek": DONE}
    assert owner.undo() == []
    assert bucket.everything() == before


def test_a_half_done_action_goes_on_without_an_object_that_somebody_deleted(
    owner: Owner, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = owner.plan()
    with monkeypatch.context() as patch:
        kill_at(patch, "mirror.trashed")
        owner.execute(plan, actions=["recreate_blurry"])
    bucket.remove(TRAINING)
    assert owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["done"] is True
    assert ("missing", f"s3://{bucket.name}/{TRAINING}") in operations(owner)
    assert owner.undo() == [f"s3://{bucket.name}/{TRAINING} is no longer in the mirror's trash (emptied?)"]


def test_an_image_that_somebody_changed_on_disk_is_not_put_into_the_bucket(
    owner: Owner, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = owner.plan()
    with monkeypatch.context() as patch:
        kill_at(patch, "execute.placed")
        owner.execute(plan, actions=["recreate_blurry"])
    (owner.library / BASE).write_bytes(jpeg("white"))
    before = bucket.everything()
    with pytest.raises(HalfDone, match="is not the image that was made: somebody changed it since"):
        owner.execute(plan, actions=["recreate_blurry"])
    assert bucket.everything() == before


def test_the_same_image_again_is_not_mistaken_for_the_old_one(owner: Owner, bucket: Bucket, ledger: Ledger) -> None:
    """With one seed for all, the new image may be the old one byte for byte."""
    same = jpeg("orange", (64, 96))
    (owner.library / BASE).write_bytes(same)
    bucket.write(BASE, same)
    before = bucket.everything()
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    assert owner.undo() == []
    assert bucket.everything() == before
    assert owner.states() == {"0001_bek": UNDONE}


def test_an_old_image_that_is_the_new_one_is_not_taken_away_by_an_undo_that_goes_on(
    owner: Owner, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put back already, and its copy deleted already: what stands is the old one, though it looks like ours."""
    same = jpeg("orange", (64, 96))
    (owner.library / BASE).write_bytes(same)
    bucket.write(BASE, same)
    before = bucket.everything()
    owner.execute(owner.plan(), actions=["recreate_blurry"])

    def half_empty(action: str) -> None:
        bucket.remove(f".callsheet/trash/{action}/{BASE}")
        raise Interrupted("killed")

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(owner.mirror, "empty_trash", half_empty)
        owner.undo()
    assert owner.undo() == []
    assert bucket.everything() == before


def test_the_trash_of_the_bucket_is_emptied_with_its_entry(owner: Owner, bucket: Bucket) -> None:
    owner.execute(owner.plan(), force=True)
    objects = bucket.objects()
    for entry in trash.old(owner.library, timedelta(0)):
        assert entry.objects == 4
        assert entry.mirror == f"s3://{bucket.name}/.callsheet/trash/{entry.folder.name}/"
        with pytest.raises(ValueError, match="has to be emptied too"):
            trash.empty(entry)
        trash.empty(entry, owner.mirror)
    assert bucket.trash() == {}
    assert bucket.objects() == objects
    assert list(trash.entries(owner.library)) == []


def test_after_an_undo_no_entry_speaks_of_the_bucket(owner: Owner, bucket: Bucket) -> None:
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    owner.undo()
    assert [(entry.objects, entry.mirror) for entry in trash.entries(owner.library)] == [(0, "")]
