"""Replacing an actor's images so that nothing is ever lost, whatever moment the process dies at.

The order: intent with the full inventory -> the new image made aside and verified -> mirror objects copied to the mirror's trash -> local
files moved to the trash -> the new image moved into its place and put into the mirror -> mirror objects deleted -> done. Every operation may be
repeated, and a resumed action rolls forward from the state that the ledger holds. `undo` walks back the same way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from runner import files
from runner.errors import ItemError, RunStopped
from runner.failpoints import failpoint
from runner.operations import Operations
from runner.run import now
from steps.library import layout, made
from steps.library.journal import DONE, MOVING, UNDOING, UNDONE, UNTOUCHED, ActionRecord, Journal
from steps.library.mirror import Storage
from steps.library.mirroring import Mirrored
from steps.library.plans import PlannedFile, PlannedKey


class HalfDone(RunStopped):
    """An action can't go on though its files are on their way: the run must not count it as over."""


class Undone(NamedTuple):
    """What an undo could put back, and what was nowhere any more."""

    restored: int
    objects: int
    missing: tuple[str, ...]


class Replacement:
    """Carries one action from `made` to `done`, and back."""

    def __init__(self, root: Path, journal: Journal, operations: Operations, storage: Storage) -> None:
        self._root = root
        self._journal = journal
        self._operations = operations
        self._mirrored = Mirrored(storage, operations)

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
        self._mirrored.check_unchanged(record)

    def finish(self, record: ActionRecord) -> None:
        """Roll an action with a verified image forward to its end.

        Raises:
            HalfDone: A file or object is in the way; the same command goes on once it is moved.
            OSError: The disk failed.
        """
        if record.image is None:
            raise ItemError(f"{record.actor_name}: has no new image: nothing was moved")
        self._journal.note(record, MOVING)
        try:
            self._move(record)
        except (FileExistsError, FileNotFoundError, ConnectionError, TimeoutError, ItemError) as error:
            raise HalfDone(
                f"{record.actor_name}: half done: {error}. Mend that (move what is in the way aside); then the same command goes on, "
                "or `callsheet undo` takes it back"
            ) from error

    def _move(self, record: ActionRecord) -> None:
        failpoint("execute.moving")
        self._write_entry(record, complete=False)
        self._mirrored.to_trash(record)
        for file in record.files:
            self._to_trash(record, file)
        self._place(record)
        failpoint("execute.placed")
        self._mirrored.put(record, self._new(record))
        self._mirrored.delete(record)
        self._write_entry(record, complete=True)
        failpoint("execute.entered")
        self._journal.note(record, DONE)

    def undo_fault(self, state: str, record: ActionRecord) -> str | None:
        """Why an action can't be taken back (something changed since), or None."""
        if state in UNTOUCHED:
            return None
        fault = self._target_fault(state, record) or self._trash_fault(state, record)
        return fault or self._mirrored.fault(state, record)

    def undo(self, record: ActionRecord) -> Undone:
        """Put back what an action moved. May be repeated.

        Raises:
            ItemError: The mirror can't go on (something appeared there meanwhile); the same call goes on later.
        """
        self._journal.note(record, UNDOING)
        if self._trash(record).is_dir():
            # What is still to be put back must not be emptied meanwhile.
            self._write_entry(record, complete=False)
        failpoint("undo.begun")
        target, kept = self._root / record.target, self._kept(record)
        if self._is_new(target, record) and not kept.exists():
            files.move(target, kept)
            self._operations.record("trash", record.target, action=record.id)
            failpoint("undo.taken_away")
        restored = sum(self._restore(record, file) for file in record.files)
        missing = tuple(file.path for file in record.files if not (self._root / file.path).exists())
        mirror = self._mirrored.undo(record)
        self._forget_made(record)
        files.remove(self.staged(record.id))
        self._close_entry(record)
        self._journal.note(record, UNDONE)
        return Undone(restored, mirror.restored, missing + mirror.missing)

    def _restore(self, record: ActionRecord, file: PlannedFile) -> bool:
        source = self.in_trash(record.id, file.path)
        if not source.exists():
            return False
        files.move(source, self._root / file.path)
        self._operations.record("restore", file.path, action=record.id, sha256=file.sha256)
        failpoint("undo.restored")
        return True

    def _forget_made(self, record: ActionRecord) -> None:
        """Put back the record of the image that was replaced, where the one that stands is this action's."""
        stands = made.read(self._root, record.actor_name)
        if stands is None or stands.action != record.id:
            return
        if record.former is None:
            files.remove(made.path_of(self._root, record.actor_name))
        else:
            made.write(self._root, record.actor_name, record.former)

    def _to_trash(self, record: ActionRecord, file: PlannedFile) -> None:
        source, kept = self._root / file.path, self.in_trash(record.id, file.path)
        if os.path.lexists(kept) and os.path.lexists(source):
            # Moved by an earlier try, and what stands there now came later: the new image, or a person's file.
            files.sync_folder(kept.parent)
        elif not os.path.lexists(kept) and not os.path.lexists(source):
            # Somebody deleted, between two tries, what was to go anyway.
            self._operations.record("missing", file.path, action=record.id)
            return
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

    def _new(self, record: ActionRecord) -> bytes:
        """The image that was put in place, for the mirror."""
        assert record.image is not None
        data = (self._root / record.target).read_bytes()
        if hashlib.sha256(data).hexdigest() != record.image.sha256:
            raise FileExistsError(f"{record.target} is not the image that was made: somebody changed it since")
        return data

    def _trash(self, record: ActionRecord) -> Path:
        return self._root / layout.OWN / "trash" / record.id

    def in_trash(self, action_id: str, path: str) -> Path:
        """Where an action puts a file of the library."""
        return self._root / layout.OWN / "trash" / action_id / "files" / path

    def _kept(self, record: ActionRecord) -> Path:
        """Where an undo puts the image that we made."""
        return self._trash(record) / "made.jpg"

    def _is_new(self, path: Path, record: ActionRecord) -> bool:
        return record.image is not None and path.is_file() and files.sha256_of(path) == record.image.sha256

    def _target_fault(self, state: str, record: ActionRecord) -> str | None:
        target = self._root / record.target
        if self._is_new(target, record):
            return None
        if state == DONE:
            return f"{record.target} {'has changed since' if target.is_file() else 'is gone'}"
        former = next((file for file in record.files if file.path == record.target), None)
        if not target.exists() or (former is not None and files.sha256_of(target) == former.sha256):
            return None
        return f"{record.target} has appeared since"

    def _trash_fault(self, state: str, record: ActionRecord) -> str | None:
        for file in record.files:
            in_trash, original = self.in_trash(record.id, file.path), self._root / file.path
            if in_trash.exists():
                if original.exists() and file.path != record.target:
                    return f"{file.path} has appeared since"
            elif state == DONE and not (original.is_file() and files.sha256_of(original) == file.sha256):
                return f"{file.path} is no longer in the trash (emptied?)"
        return None

    def _write_entry(self, record: ActionRecord, *, complete: bool) -> None:
        """The trash explains itself, without ledger or run."""
        if record.files or record.keys:
            self._explain(record, record.action, record.files, complete=complete, keys=record.keys)

    def _close_entry(self, record: ActionRecord) -> None:
        """After an undo only the image that we made is left in the trash, or nothing."""
        kept = self._kept(record)
        if kept.is_file():
            left = PlannedFile("made.jpg", files.sha256_of(kept), kept.stat().st_size)
            self._explain(record, f"undone {record.action}", [left], complete=True)
            files.remove_tree(self._trash(record) / "files")
        else:
            files.remove_tree(self._trash(record))

    def _explain(
        self,
        record: ActionRecord,
        action: str,
        what: Sequence[PlannedFile],
        *,
        complete: bool,
        keys: Sequence[PlannedKey] = (),
    ) -> None:
        entry = {
            "action": action,
            "actor_name": record.actor_name,
            "plan": record.plan,
            "run": record.run,
            "moved_at": now(),
            "complete": complete,
            "files": [asdict(file) for file in what],
            "keys": [asdict(key) for key in keys],
        }
        if keys:
            entry["mirror"] = self._mirrored.trash_address(record)
        files.write_json(self._trash(record) / "entry.json", entry)


def sweep_own(root: Path) -> None:
    """Remove what killed writes left in our own folder, under its lock. What lies in the trash is a person's, whatever its name."""
    own = root / layout.OWN
    for folder in (own / "staging", own / "made", *(own / "trash").glob("*")):
        files.sweep_temporaries(folder, deep=False)
