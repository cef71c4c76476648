"""Replacing an actor's images so that nothing is ever lost, whatever moment the process dies at.

The order: intent with the full inventory -> the new image made aside and verified -> mirror objects copied to the mirror's trash -> local
files moved to the trash -> the new image moved into its place -> mirror updated -> done. Every operation may be repeated, and a resumed
action rolls forward from the state that the ledger holds. `undo` walks back the same way.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from runner import files
from runner.errors import ItemError
from runner.failpoints import failpoint
from runner.ledger import Ledger
from runner.operations import Operations
from runner.run import now
from steps.library import layout, made
from steps.library.made import MadeRecord
from steps.library.mirror import Storage, StoredObject
from steps.library.plans import PlannedFile, PlannedKey

INTENT, MADE, MOVING, DONE, FAILED, UNDOING, UNDONE = "intent", "made", "moving", "done", "failed", "undoing", "undone"


@dataclass(frozen=True)
class ActionRecord:
    """An action as the ledger holds it: all that is needed to finish it or to take it back.

    Attributes:
        attempts: Images that were made and did not pass.
        image: What was made and verified, once it was.
    """

    id: str
    plan: str
    run: str
    library: str
    actor_name: str
    action: str
    target: str
    files: tuple[PlannedFile, ...]
    keys: tuple[PlannedKey, ...]
    attempts: int = 0
    image: MadeRecord | None = None


class Journal:
    """The ledger's table of actions."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def read(self, action_id: str) -> tuple[str, ActionRecord] | None:
        """State and record of an action, or None when it was never begun."""
        row = self._ledger.row("SELECT state, record FROM actions WHERE id = ?", (action_id,))
        return None if row is None else (str(row[0]), _record_from(row[1]))

    def of_run(self, run: str) -> Iterator[tuple[str, ActionRecord]]:
        """State and record of each action of a run, in the order in which they were begun."""
        for state, record in self._ledger.rows(
            "SELECT state, record FROM actions WHERE run = ? ORDER BY at, id", (run,)
        ):
            yield str(state), _record_from(record)

    def begin(self, record: ActionRecord) -> None:
        """Write down what is about to happen, durably."""
        values = (record.id, record.plan, record.run, INTENT, json.dumps(asdict(record)), time.time())
        self._ledger.execute(
            "INSERT INTO actions (id, plan, run, state, record, at) VALUES (?, ?, ?, ?, ?, ?)", values, durable=True
        )

    def note(self, record: ActionRecord, state: str) -> None:
        """Write down how far an action has come, durably."""
        values = (record.run, state, json.dumps(asdict(record)), record.id)
        self._ledger.execute("UPDATE actions SET run = ?, state = ?, record = ? WHERE id = ?", values, durable=True)

    def claim_plan(self, plan_id: str, run: str) -> str | None:
        """Say that a run carries out a plan; returns the run that did so before, if that is another one."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT run FROM plans WHERE id = ?", (plan_id,)).fetchone()
            if row is None:
                connection.execute("INSERT INTO plans (id, run, at) VALUES (?, ?, ?)", (plan_id, run, time.time()))
                return None
            return None if row[0] == run else str(row[0])

        return self._ledger.commit(work, durable=True)

    def runs_of_plan(self, plan_id: str) -> dict[str, str]:
        """Which run touched the library for which action of a plan: action id -> run. Actions that came to nothing are not among them."""
        return dict(
            self._ledger.rows(
                "SELECT id, run FROM actions WHERE plan = ? AND state NOT IN (?, ?, ?)", (plan_id, INTENT, MADE, FAILED)
            )
        )


class Replacement:
    """Carries one action from `made` to `done`, and back."""

    def __init__(self, root: Path, journal: Journal, operations: Operations, storage: Storage) -> None:
        self._root = root
        self._journal = journal
        self._operations = operations
        self._storage = storage

    def staged(self, action_id: str) -> Path:
        """Where the new image waits, on the library's own disk so that moving it is one rename."""
        return self._root / layout.OWN / "staging" / f"{action_id}.jpg"

    def check_unchanged(self, record: ActionRecord) -> None:
        """Every file that goes must be what the plan saw, and nothing may stand where the new image goes.

        Raises:
            ItemError: Something changed since.
        """
        planned = {file.path for file in record.files}
        for file in record.files:
            path = self._root / file.path
            if path.is_symlink() or not path.is_file():
                raise ItemError(f"{file.path} is gone or no plain file any more: make a new plan")
            if files.sha256_of(path) != file.sha256:
                raise ItemError(f"{file.path} has changed since the plan was made: make a new plan")
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise ItemError(
                    f"{path.parent} can't be written, so {file.path} can't be moved: change its permissions"
                )
        if record.target not in planned and (self._root / record.target).exists():
            raise ItemError(f"{record.target} has appeared since the plan was made: make a new plan")

    def finish(self, record: ActionRecord) -> None:
        """Roll an action with a verified image forward to its end."""
        self._journal.note(record, MOVING)
        failpoint("execute.moving")
        for key in record.keys:
            self._storage.to_trash(_stored(key), record.id)
        self._write_entry(record, complete=False)
        for file in record.files:
            self._to_trash(record, file)
        self._place(record)
        failpoint("execute.placed")
        self._mirror(record)
        self._write_entry(record, complete=True)
        failpoint("execute.entered")
        self._journal.note(record, DONE)

    def undo_fault(self, state: str, record: ActionRecord) -> str | None:
        """Why an action can't be taken back (something changed since), or None."""
        target = self._root / record.target
        if state == DONE and record.image is not None:
            if not target.is_file():
                return f"{record.target} is gone"
            if files.sha256_of(target) != record.image.sha256:
                return f"{record.target} has changed since"
        if state in (DONE, MOVING):
            return self._trash_fault(record)
        return None

    def undo(self, record: ActionRecord) -> int:
        """Put back what an action moved; returns how many files. May be repeated."""
        self._journal.note(record, UNDOING)
        failpoint("undo.begun")
        target, kept = self._root / record.target, self._trash(record) / "made.jpg"
        ours = record.image is not None and target.is_file() and files.sha256_of(target) == record.image.sha256
        if ours and not kept.exists():
            files.move(target, kept)
            self._operations.record("trash", record.target, action=record.id)
            failpoint("undo.taken_away")
        restored = 0
        for file in record.files:
            source = self._in_trash(record, file.path)
            if source.exists() and files.move(source, self._root / file.path):
                self._operations.record("restore", file.path, action=record.id, sha256=file.sha256)
                restored += 1
                failpoint("undo.restored")
        self._storage.restore(record.id)
        files.remove(made.path_of(self._root, record.actor_name))
        files.remove(self.staged(record.id))
        self._journal.note(record, UNDONE)
        return restored

    def _to_trash(self, record: ActionRecord, file: PlannedFile) -> None:
        source, kept = self._root / file.path, self._in_trash(record, file.path)
        if os.path.lexists(kept) and os.path.lexists(source):
            # Moved by an earlier try, and what stands there now came later: the new image, or a person's file.
            files.sync_folder(kept.parent)
        else:
            files.move(source, kept)
        # A try that was cut off may have moved it without saying so; said twice is better than never.
        self._operations.record("trash", file.path, action=record.id, sha256=file.sha256)
        failpoint("execute.trashed")

    def _place(self, record: ActionRecord) -> None:
        assert record.image is not None
        target = self._root / record.target
        files.move(self.staged(record.id), target)
        self._operations.record(
            "put", record.target, action=record.id, sha256=record.image.sha256, seed=record.image.seed
        )
        made.write(self._root, record.actor_name, record.image)

    def _mirror(self, record: ActionRecord) -> None:
        target = self._root / record.target
        self._storage.put(PurePosixPath(record.target), target.read_bytes(), "image/jpeg")
        for key in record.keys:
            self._storage.delete(_stored(key))

    def _trash(self, record: ActionRecord) -> Path:
        return self._root / layout.OWN / "trash" / record.id

    def _in_trash(self, record: ActionRecord, path: str) -> Path:
        return self._trash(record) / "files" / path

    def _trash_fault(self, record: ActionRecord) -> str | None:
        for file in record.files:
            in_trash, original = self._in_trash(record, file.path), self._root / file.path
            if not in_trash.exists():
                if original.is_file() and files.sha256_of(original) == file.sha256:
                    continue
                return f"{file.path} is no longer in the trash (emptied?)"
            if original.exists() and file.path != record.target:
                return f"{file.path} has appeared since"
        return None

    def _write_entry(self, record: ActionRecord, *, complete: bool) -> None:
        """The trash explains itself, without ledger or run."""
        entry = {
            "action": record.action,
            "actor_name": record.actor_name,
            "plan": record.plan,
            "run": record.run,
            "moved_at": now(),
            "complete": complete,
            "files": [asdict(file) for file in record.files],
            "keys": [asdict(key) for key in record.keys],
        }
        if record.files or record.keys:
            files.write_json(self._trash(record) / "entry.json", entry)


def sweep_own(root: Path) -> None:
    """Remove what killed writes left in our own folder, under its lock. What lies in the trash is a person's, whatever its name."""
    own = root / layout.OWN
    for folder in (own / "staging", own / "made", *(own / "trash").glob("*")):
        files.sweep_temporaries(folder, deep=False)


def with_image(record: ActionRecord, image: MadeRecord) -> ActionRecord:
    """The record once its image is made and verified."""
    return replace(record, image=image)


def with_attempt(record: ActionRecord) -> ActionRecord:
    """The record after one more image that did not pass."""
    return replace(record, attempts=record.attempts + 1)


def _stored(key: PlannedKey) -> StoredObject:
    return StoredObject(PurePosixPath(key.key), key.size, key.etag)


def _record_from(text: str) -> ActionRecord:
    value: dict[str, Any] = json.loads(text)
    image: Mapping[str, Any] | None = value["image"]
    value["files"] = tuple(PlannedFile(**file) for file in value["files"])
    value["keys"] = tuple(PlannedKey(**key) for key in value["keys"])
    value["image"] = None if image is None else MadeRecord(**image)
    return ActionRecord(**value)
