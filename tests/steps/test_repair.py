"""Plan, execute, undo and trash together: a library before and after, as its owner sees it (rules 5, 6 and 7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.cli import main
from runner.errors import UserError
from runner.files import write_json
from runner.ledger import Ledger
from steps.library import trash
from steps.library.actors import Library
from steps.library.journal import DONE, FAILED, UNDONE
from tests.library import (
    BLURRY,
    OTHER,
    RecordingMirror,
    context,
    jpeg,
    put,
    tree,
)
from tests.steps.owner import Owner, library_tree


def test_a_plan_says_what_goes_and_what_comes_and_changes_nothing(owner: Owner) -> None:
    before = tree(owner.library)
    document = json.loads(owner.plan().read_text())
    assert document["total_actors_checked"] == 3
    assert document["actions_needed"] == 2
    assert document["summary"] == {"create_base_image": 0, "recreate_blurry": 1, "recreate_mismatch": 1}
    assert document["estimate"] == {
        "images": 2,
        "usd": 0.084,
        "image_backend": "scripted images",
        "vision_backend": "scripted vision",
    }
    row = document["actions"][0]
    assert row["success"] is False
    home = "actors/0001_bek"
    going = [file["path"] for file in row["files"]]
    assert going == [
        f"{home}/base_image/0001_bek_base.jpg",
        *(f"{home}/training_data/{name}" for name in ("0001_bek_1.jpg", "0001_bek_2.jpg", "manifest.json")),
    ]
    assert row["judged"]["sha256"] == before[going[0]]
    assert 0 <= row["make"]["seed"] < 2**31
    assert tree(owner.library) == before


def test_a_failed_assessment_is_never_in_a_plan(owner: Owner) -> None:
    owner.vision.script = {"0001_bek": [UserError("the wire was cut")]}
    assert json.loads(owner.plan().read_text())["actions"] == []


def test_seeds_are_drawn_from_the_recipes_seed_or_given(owner: Owner) -> None:
    drawn = json.loads(owner.plan("one").read_text())["actions"][0]["make"]["seed"]
    owner.vision.script = {"0001_bek": [BLURRY]}
    assert json.loads(owner.plan("two").read_text())["actions"][0]["make"]["seed"] == drawn
    assert json.loads(owner.plan("three", seed=7).read_text())["actions"][0]["make"]["seed"] == 7


def test_a_preview_changes_nothing(owner: Owner) -> None:
    plan = owner.plan()
    before = tree(owner.library)
    rows = owner.execute(plan, act=False)
    assert [row["done"] for row in rows.values()] == [False, False]
    assert tree(owner.library) == before
    assert owner.images.requests == []


def test_executing_makes_verifies_and_trashes(owner: Owner) -> None:
    plan = owner.plan()
    before = library_tree(owner)
    rows = owner.execute(plan, force=True)
    assert rows["0001_bek"]["done"] is True
    after = library_tree(owner)
    assert [path for path in after if "0001_bek" in path] == ["actors/0001_bek/base_image/0001_bek_base.jpg"]
    assert after["actors/0001_bek/base_image/0001_bek_base.jpg"] == rows["0001_bek"]["image"]["sha256"]
    assert {path: digest for path, digest in after.items() if "0000_ada" in path} == {
        path: digest for path, digest in before.items() if "0000_ada" in path
    }
    # Nothing is lost: every file that was there is in the library or in the trash, byte for byte.
    assert set(before.values()) <= set(tree(owner.library).values())
    # The same look that condemned the old image passed the new one.
    assert len(owner.vision.questions) == 3 + 2
    operations = [
        json.loads(line) for line in (owner.folder / "executing" / "operations.jsonl").read_text().splitlines()
    ]
    assert [entry["operation"] for entry in operations if "0001_bek" in entry["target"]] == [
        "make",
        *["trash"] * 4,
        "put",
    ]


def test_the_image_that_we_made_is_preferred_over_what_the_manifest_names(owner: Owner, ledger: Ledger) -> None:
    put(owner.library / "actors/0001_bek/poster_frame/old.png", jpeg("red"))
    put(
        owner.library / "actor_manifests/0001_manifest.json",
        json.dumps({"base_images": [{"relative_path": "actors/0001_bek/poster_frame/old.png"}]}).encode(),
    )
    owner.execute(owner.plan(), force=True)
    library = Library(owner.library)
    found = library.base_image(library.actors()[1], context(ledger, owner.folder, owner.library).hashes)
    assert found == owner.library / "actors/0001_bek/base_image/0001_bek_base.jpg"


def test_only_some_types_then_the_rest_and_no_action_twice(owner: Owner) -> None:
    plan = owner.plan()
    assert set(owner.execute(plan, "first", actions=["recreate_blurry"])) == {"0001_bek"}
    assert set(owner.execute(plan, "second", actions=["recreate_mismatch"], force=True)) == {"0002_cui"}
    with pytest.raises(UserError, match="was carried out before, by first"):
        owner.execute(plan, "third", actions=["recreate_blurry"])


def test_an_empty_plan_is_used_once_too(owner: Owner) -> None:
    owner.vision.script = {}
    plan = owner.plan()
    owner.execute(plan, "first")
    with pytest.raises(UserError, match="was carried out before, by first"):
        owner.execute(plan, "second")


def test_a_run_that_is_resumed_may_use_its_plan_again(owner: Owner) -> None:
    plan = owner.plan()
    owner.execute(plan, force=True)
    made = len(owner.images.requests)
    owner.execute(plan, force=True)
    assert len(owner.images.requests) == made


def test_rows_may_be_deleted_by_hand(owner: Owner) -> None:
    plan = owner.plan()
    document = json.loads(plan.read_text())
    write_json(plan, document | {"actions": document["actions"][1:]})
    assert set(owner.execute(plan)) == {"0002_cui"}


def change_image(library: Path) -> None:
    put(library / "actors/0001_bek/base_image/0001_bek_base.jpg", jpeg("white"))


def change_training(library: Path) -> None:
    put(library / "actors/0001_bek/training_data/0001_bek_2.jpg", jpeg("white"))


def remove_training(library: Path) -> None:
    (library / "actors/0001_bek/training_data/0001_bek_2.jpg").unlink()


@pytest.mark.parametrize("change", [change_image, change_training, remove_training])
def test_a_stale_action_is_refused_and_the_others_go_on(owner: Owner, change: Callable[[Path], None]) -> None:
    plan = owner.plan()
    change(owner.library)
    before = {path: digest for path, digest in tree(owner.library).items() if "0001_bek" in path}
    rows = owner.execute(plan, force=True)
    assert "make a new plan" in rows["0001_bek"]["error"]
    assert rows["0002_cui"]["done"] is True
    assert {path: digest for path, digest in tree(owner.library).items() if "0001_bek" in path} == before


def test_a_plan_of_another_library_is_refused(owner: Owner, tmp_path: Path) -> None:
    plan = owner.plan()
    owner.library = owner.library.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="was made for the library"):
        owner.execute(plan)


def test_more_than_half_of_the_library_needs_force(owner: Owner) -> None:
    plan = owner.plan()
    before = library_tree(owner)
    with pytest.raises(UserError, match="8 of the library's 12 files would go to the trash, more than half"):
        owner.execute(plan)
    assert library_tree(owner) == before


def test_images_are_made_again_until_one_passes(owner: Owner) -> None:
    plan = owner.plan()
    owner.vision.script = {"0001_bek": [OTHER]}
    owner.images.refuse = 1
    rows = owner.execute(plan, actions=["recreate_blurry"])
    # The first was refused by the image backend, the second did not match, the third passed.
    assert rows["0001_bek"]["images_made"] == 3
    seeds = [request.seed for request in owner.images.requests]
    assert len(set(seeds)) == 3
    assert seeds[0] == json.loads(plan.read_text())["actions"][0]["make"]["seed"]


def test_when_none_passes_the_old_one_stays(owner: Owner) -> None:
    plan = owner.plan()
    owner.vision.script = {"0001_bek": [OTHER, OTHER, BLURRY]}
    before = library_tree(owner)
    rows = owner.execute(plan, actions=["recreate_blurry"])
    assert "none of 3 new images passed, the old one stays" in rows["0001_bek"]["error"]
    assert library_tree(owner) == before
    assert owner.states() == {"0001_bek": FAILED}
    assert not list((owner.library / ".callsheet" / "staging").iterdir())


def test_an_action_that_came_to_nothing_may_be_tried_by_another_run(owner: Owner) -> None:
    plan = owner.plan()
    owner.vision.script = {"0001_bek": [OTHER, OTHER, OTHER]}
    owner.execute(plan, "first", actions=["recreate_blurry"])
    assert owner.execute(plan, "second", actions=["recreate_blurry"])["0001_bek"]["done"] is True
    assert owner.states() == {"0001_bek": DONE}


def test_undo_puts_everything_back(owner: Owner) -> None:
    plan = owner.plan()
    before = library_tree(owner)
    owner.execute(plan, force=True)
    assert library_tree(owner) != before
    assert owner.undo() == []
    assert library_tree(owner) == before
    assert set(owner.states().values()) == {UNDONE}
    assert not (owner.library / ".callsheet" / "made" / "0001_bek.json").exists()


def test_undo_leaves_alone_what_has_changed_since(owner: Owner) -> None:
    owner.execute(owner.plan(), force=True)
    put(owner.library / "actors/0001_bek/base_image/0001_bek_base.jpg", jpeg("white"))
    put(owner.library / "actors/0002_cui/training_data/0002_cui_1.jpg", jpeg("white"))
    before = tree(owner.library)
    assert owner.undo() == [
        "actors/0001_bek/base_image/0001_bek_base.jpg has changed since",
        "actors/0002_cui/training_data/0002_cui_1.jpg has appeared since",
    ]
    assert tree(owner.library) == before


def test_the_trash_is_listed_and_emptied_by_age(owner: Owner, capsys: pytest.CaptureFixture[str]) -> None:
    owner.execute(owner.plan(), force=True)
    root = owner.library
    assert sorted((entry.actor_name, entry.count) for entry in trash.entries(root)) == [
        ("0001_bek", 4),
        ("0002_cui", 4),
    ]
    oldest = next(entry for entry in trash.entries(root) if entry.actor_name == "0001_bek").folder / "entry.json"
    document = json.loads(oldest.read_text())
    write_json(oldest, document | {"moved_at": (datetime.now(UTC) - timedelta(days=40)).isoformat()})
    arguments = ["trash", "empty", "--data", str(root), "--older-than", "30d"]
    assert main(arguments) == 0
    assert "nothing was deleted: add --yes" in capsys.readouterr().out
    assert len(list(trash.entries(root))) == 2
    assert main([*arguments, "--yes"]) == 0
    assert [entry.actor_name for entry in trash.entries(root)] == ["0002_cui"]
    assert main(["trash", "list", "--data", str(root)]) == 0
    assert "0002_cui" in capsys.readouterr().out


def test_the_trash_of_an_action_under_way_is_never_emptied(owner: Owner) -> None:
    owner.execute(owner.plan(), force=True)
    for entry in trash.entries(owner.library):
        path = entry.folder / "entry.json"
        write_json(path, json.loads(path.read_text()) | {"complete": False, "moved_at": "2020-01-01T00:00:00+00:00"})
    assert trash.old(owner.library, timedelta(days=1)) == []


def test_after_its_trash_was_emptied_an_action_is_not_undone_by_halves(owner: Owner) -> None:
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    for entry in trash.entries(owner.library):
        trash.empty(entry)
    before = library_tree(owner)
    assert owner.undo() == ["actors/0001_bek/base_image/0001_bek_base.jpg is no longer in the trash (emptied?)"]
    assert library_tree(owner) == before


def test_a_mirror_is_copied_before_and_deleted_after_the_files(owner: Owner) -> None:
    home = "actors/0001_bek"
    objects = {f"{home}/training_data/0001_bek_1.jpg": b"one", "actors/0000_ada/training_data/0000_ada_1.jpg": b"other"}
    owner.mirror = mirror = RecordingMirror(owner.library, dict(objects))
    plan = owner.plan()
    assert [key["key"] for key in json.loads(plan.read_text())["actions"][0]["keys"]] == [
        f"{home}/training_data/0001_bek_1.jpg"
    ]
    assert mirror.asked == []
    owner.execute(plan, actions=["recreate_blurry"])
    assert mirror.asked == [
        "to_trash 0001_bek_1.jpg there",
        "put 0001_bek_base.jpg there",
        "delete 0001_bek_1.jpg gone",
    ]
    assert set(mirror.objects) == {
        f"{home}/base_image/0001_bek_base.jpg",
        "actors/0000_ada/training_data/0000_ada_1.jpg",
    }
    owner.undo()
    assert mirror.asked[-2:] == ["restore 0001_bek_1.jpg there", "empty_trash"]
    assert mirror.objects == objects
    assert mirror.trash == {}
