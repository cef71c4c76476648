"""What is looked at before anything is made, how a manifest is compared, and what is left in staging."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import ItemError
from runner.ledger import Ledger
from steps.library.journal import (
    DONE,
    FAILED,
    INTENT,
    MADE,
    MOVING,
    UNDOING,
    ActionRecord,
    Arrival,
    Journal,
    rewrite_of,
)
from steps.library.transaction import STAGED_SECONDS, Replacement
from tests.library import context, make_library, no_mirror, put

NAME = "0001_bek"
ID = "ab" * 12


class Action:
    """Somebody who carries out one action on a small library."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.library = make_library(folder / "data")
        self.manifest = self.library / "actors" / NAME / "training_data/manifest.json"
        self.journal = Journal(ledger)
        self.operations = folder / "run-1/operations.jsonl"
        operations = context(ledger, folder, self.library).operations
        self.replacement = Replacement(self.library, self.journal, operations, no_mirror(ledger))

    def record(self, after: str = "after", arrivals: tuple[Arrival, ...] = (), action_id: str = ID) -> ActionRecord:
        rewrite = rewrite_of(self.library, self.manifest, after)
        return ActionRecord(
            action_id, "plan", "run-1", str(self.library), NAME, "test", arrivals=arrivals, rewrite=rewrite
        )


@pytest.fixture
def action(ledger: Ledger, tmp_path: Path) -> Action:
    return Action(ledger, tmp_path)


def test_a_manifest_keeps_its_line_ends_and_is_not_seen_as_changed(action: Action) -> None:
    before = b'\xef\xbb\xbf{\r\n  "version": 1\r\n}\r\n'
    action.manifest.write_bytes(before)
    record = action.record()
    action.replacement.check_unchanged(record)
    action.journal.begin(record)
    action.replacement.finish(record)
    assert action.manifest.read_text() == "after"
    action.replacement.undo(record)
    assert action.manifest.read_bytes() == before


def test_what_stands_already_is_not_rewritten(action: Action) -> None:
    action.manifest.write_bytes(b"as it is\r\n")
    assert action.record("as it is\r\n").rewrite is None
    assert action.record("as it is\n").rewrite is not None


def test_a_manifest_whose_text_could_not_be_put_back_is_refused(action: Action) -> None:
    action.manifest.write_bytes(b"{}\xff")
    with pytest.raises(ItemError, match=r"manifest\.json: not UTF-8 at byte 2: save it as UTF-8"):
        action.record()


def test_all_folders_must_be_such_that_they_can_be_written(action: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    new = f"actors/{NAME}/new/folder/{NAME}_9.jpg"
    locked = ""
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != locked)
    record = action.record(arrivals=(Arrival(new),))
    action.replacement.check_unchanged(record)
    locked = NAME
    with pytest.raises(ItemError, match=rf"actors/{NAME} can't be written, so {new} can't be put there: change its"):
        action.replacement.check_unchanged(record)
    locked = "training_data"
    with pytest.raises(ItemError, match=r"training_data can't be written, so .*manifest.json can't be written: change"):
        action.replacement.check_unchanged(record)
    put(action.library / "actors" / NAME / "new", b"a file")
    with pytest.raises(ItemError, match=rf"{NAME}/new is no folder, so {new} can't be put there: move it away"):
        action.replacement.check_unchanged(record)


@pytest.mark.parametrize("stands", ["folder", "link"])
def test_a_folder_or_link_in_the_manifests_place_is_told_before_anything_is_made(action: Action, stands: str) -> None:
    moved = action.manifest.rename(action.manifest.with_name("moved.json"))
    if stands == "folder":
        action.manifest.mkdir()
    else:
        action.manifest.symlink_to(moved)
    with pytest.raises(ItemError, match=r"manifest\.json: is no plain file \(a folder or a link\): move it away"):
        action.replacement.check_unchanged(action.record())


def staged(action: Action, action_id: str, *, old: bool = True) -> Path:
    path = action.replacement.staged(action_id, Arrival("a/b.jpg", 3))
    put(path, b"paid for")
    if old:
        os.utime(path, (0, path.stat().st_mtime - STAGED_SECONDS - 60))
    return path


def test_staging_is_swept_of_what_no_action_can_want(action: Action) -> None:
    wanted = []
    for number, state in enumerate((INTENT, MADE, MOVING, UNDOING)):
        record = action.record(action_id=f"{number:024x}")
        action.journal.begin(record)
        action.journal.note(record, state)
        wanted.append(staged(action, record.id))
    gone = [staged(action, "cd" * 12)]
    for number, state in enumerate((DONE, FAILED), start=10):
        record = action.record(action_id=f"{number:024x}")
        action.journal.begin(record)
        action.journal.note(record, state)
        gone.append(staged(action, record.id))
    wanted.append(staged(action, "ef" * 12, old=False))
    wanted.append(gone[0].with_name("notes.txt"))
    put(wanted[-1], b"a person's")
    os.utime(wanted[-1], (0, 0))
    action.replacement.sweep_staging()
    assert sorted(gone[0].parent.iterdir()) == sorted(wanted)
    assert action.operations.read_text().count('"operation": "sweep"') == len(gone)
    action.replacement.sweep_staging()
