"""Repairs and undos that were cut off, or that somebody changed something under: nothing is lost, nothing is over too soon."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from runner.errors import Interrupted, UserError
from runner.files import write_json
from steps.library import trash
from steps.library.journal import DONE, MOVING, STAGED, UNDOING, UNDONE
from steps.library.transaction import HalfDone
from tests.library import (
    BLURRY,
    OTHER,
    jpeg,
    put,
    tree,
)
from tests.steps.owner import Owner, library_tree


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Break off where a failpoint stands, as a kill would: no clean-up of the step's own runs."""

    def failpoint(here: str) -> None:
        if here == name:
            raise Interrupted("killed")

    for module in ("steps.carrying", "steps.making", "steps.library.transaction", "steps.library.mirroring"):
        monkeypatch.setattr(f"{module}.failpoint", failpoint)


def test_an_image_that_waits_to_be_looked_at_is_not_made_again(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = owner.plan()
    with monkeypatch.context() as patch:
        kill_at(patch, "execute.staged")
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.states() == {"0001_bek": STAGED}
    assert owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["done"] is True
    assert len(owner.images.requests) == 1


def test_the_rest_of_a_plan_that_was_cut_down_by_hand_can_follow(owner: Owner) -> None:
    plan = owner.plan()
    cut = plan.with_name("cut.json")
    document = json.loads(plan.read_text())
    write_json(cut, document | {"actions": document["actions"][:1]})
    owner.execute(cut, "first")
    assert set(owner.execute(plan, "second", force=True)) == {"0002_cui"}
    report = json.loads((owner.folder / "second/execute/report.json").read_text())
    assert report["warnings"] == ["1 action of the plan passed over: carried out before, by first"]


def test_a_preview_tells_what_would_be_refused(owner: Owner) -> None:
    plan = owner.plan()
    owner.execute(plan, act=False)
    [warning] = json.loads((owner.folder / "executing/execute/report.json").read_text())["warnings"]
    assert warning.startswith("execute=true would be refused: 8 of the library's 12 files would go to the trash")


def test_another_image_than_the_judged_one_is_never_acted_for(owner: Owner) -> None:
    """The judged image was a poster frame, which does not go; a base image has come since."""
    home = owner.library / "actors/0001_bek"
    (home / "base_image/0001_bek_base.jpg").rename(home / "poster.jpg")
    put(home / "poster_frame/0001_bek_poster.jpg", jpeg("red"))
    plan = owner.plan()
    put(home / "base_image/0001_bek_base.png", jpeg("white"))
    before = library_tree(owner)
    rows = owner.execute(plan, actions=["recreate_blurry"], force=True)
    assert (
        "the base image was actors/0001_bek/poster_frame/0001_bek_poster.jpg when the plan was made"
        in rows["0001_bek"]["error"]
    )
    assert library_tree(owner) == before


def half_done(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan whose first action was cut off when one file was in the trash; returns the plan."""
    plan = owner.plan()
    with monkeypatch.context() as patch:
        kill_at(patch, "execute.trashed")
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.states() == {"0001_bek": MOVING}
    return plan


def test_a_half_done_action_goes_on_without_a_file_that_somebody_deleted(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = half_done(owner, monkeypatch)
    (owner.library / "actors/0001_bek/training_data/0001_bek_2.jpg").unlink()
    assert owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["done"] is True
    assert owner.states() == {"0001_bek": DONE}


def test_a_half_done_action_can_be_taken_back_without_a_file_that_somebody_deleted(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(owner, monkeypatch)
    before = tree(owner.library)["actors/0001_bek/training_data/manifest.json"]
    (owner.library / "actors/0001_bek/training_data/0001_bek_2.jpg").unlink()
    assert owner.undo() == []
    after = library_tree(owner)
    assert "actors/0001_bek/base_image/0001_bek_base.jpg" in after
    assert after["actors/0001_bek/training_data/manifest.json"] == before
    assert list(trash.entries(owner.library)) == []


def test_a_half_done_action_stops_for_a_file_in_its_way_and_is_not_over(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = half_done(owner, monkeypatch)
    mine = owner.library / "actors/0001_bek/base_image/0001_bek_base.jpg"
    put(mine, jpeg("white"))
    with pytest.raises(HalfDone, match=r"half done: .* is not moved: .* exists already. Mend that"):
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.undo() == ["actors/0001_bek/base_image/0001_bek_base.jpg has appeared since"]
    mine.rename(owner.folder / "mine.jpg")
    assert owner.execute(plan, actions=["recreate_blurry"])["0001_bek"]["done"] is True


def test_an_undo_that_was_cut_off_is_finished_by_undo_alone(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = owner.plan()
    before = library_tree(owner)
    owner.execute(plan, actions=["recreate_blurry"])
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        kill_at(patch, "undo.restored")
        owner.undo()
    assert owner.states() == {"0001_bek": UNDOING}
    kept = tree(owner.library)
    rows = owner.execute(plan, "executing", actions=["recreate_blurry"])
    assert rows["0001_bek"]["done"] is True, "the engine remembers what this run has done"
    assert tree(owner.library) == kept
    assert owner.undo() == []
    assert library_tree(owner) == before


def test_undo_puts_back_the_record_of_an_image_of_ours(owner: Owner) -> None:
    owner.execute(owner.plan("one"), "first", actions=["recreate_blurry"])
    record = (owner.library / ".callsheet/made/0001_bek.json").read_bytes()
    owner.vision.script = {"0001_bek": [BLURRY]}
    owner.execute(owner.plan("two"), "second", actions=["recreate_blurry"])
    assert (owner.library / ".callsheet/made/0001_bek.json").read_bytes() != record
    assert owner.undo("second") == []
    assert (owner.library / ".callsheet/made/0001_bek.json").read_bytes() == record


def test_after_an_undo_the_trash_holds_the_image_that_was_made(owner: Owner) -> None:
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    owner.undo()
    assert [(entry.action, entry.count) for entry in trash.entries(owner.library)] == [("undone recreate_blurry", 1)]


def test_a_plan_after_one_that_failed_draws_another_seed(owner: Owner) -> None:
    plan = owner.plan("one")
    owner.vision.script = {"0001_bek": [OTHER, OTHER, OTHER]}
    owner.execute(plan, "first", actions=["recreate_blurry"])
    owner.vision.script = {"0001_bek": [BLURRY]}
    seeds = [json.loads(path.read_text())["actions"][0]["make"]["seed"] for path in (plan, owner.plan("two"))]
    assert seeds[0] != seeds[1]


def test_keys_of_others_are_refused(owner: Owner) -> None:
    plan = owner.plan()
    document = json.loads(plan.read_text())
    document["actions"][0]["keys"] = [{"key": "actors/0001_bek/../0000_ada/x.jpg", "size": 1, "etag": None}]
    write_json(plan, document)
    with pytest.raises(UserError, match=r"/actions/0/keys/0/key: .* is not below actors/0001_bek/"):
        owner.execute(plan)
    document["actions"][0]["keys"][0]["key"] = "actors/0001_bek/training_data/x.jpg"
    write_json(plan, document)
    assert "is not in the library's mirror" in owner.execute(plan, force=True)["0001_bek"]["error"]


def test_the_trash_of_an_undo_that_was_cut_off_is_not_emptied(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    before = library_tree(owner)
    owner.execute(owner.plan(), actions=["recreate_blurry"])
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        kill_at(patch, "undo.restored")
        owner.undo()
    assert trash.old(owner.library, timedelta(0)) == []
    assert owner.undo() == []
    assert library_tree(owner) == before


def test_a_half_done_action_whose_new_image_is_gone_is_not_over(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = half_done(owner, monkeypatch)
    for path in (owner.library / ".callsheet/staging").iterdir():
        path.unlink()
    with pytest.raises(HalfDone, match="`callsheet undo` takes it back"):
        owner.execute(plan, actions=["recreate_blurry"])
    assert owner.undo() == []
    assert owner.states() == {"0001_bek": UNDONE}
