"""Replacing an actor's images so that nothing is ever lost, whatever moment the process dies at.

The order: intent with the full inventory -> new images made aside and verified -> mirror objects copied to the mirror's trash -> local
files moved to the trash -> new images moved into their places and put into the mirror -> the manifest written -> mirror objects deleted ->
done. Every operation may be repeated, and a resumed action rolls forward from the state that the ledger holds. `undo` walks back the same way.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from runner import files
from runner.errors import ItemError, RunStopped
from runner.failpoints import failpoint
from runner.operations import Operations
from runner.run import now
from steps.library import layout, made
from steps.library.journal import (
    DONE,
    MOVING,
    UNDOING,
    UNDONE,
    UNTOUCHED,
    ActionRecord,
    Arrival,
    Journal,
    Rewrite,
)
from steps.library.mirror import Storage
from steps.library.mirroring import Mirrored
from steps.library.plans import PlannedFile, PlannedKey

STAGED_NAME = re.compile(r"([0-9a-f]{8,64})-\d+\.\w+")
# The ledger of another folder of runs may know of what ours does not: it gets so long to go on.
STAGED_SECONDS = 7 * 24 * 3600.0


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
        self._staging = root / layout.OWN / "staging"

    def staged(self, action_id: str, arrival: Arrival) -> Path:
        """Where a new image waits, on the library's own disk so that moving it is one rename."""
        name = f"{action_id}-{arrival.slot}{PurePosixPath(arrival.path).suffix}"
        return self._staging / name

    def waits(self, record: ActionRecord, arrival: Arrival) -> bool:
        """Whether the image of an earlier try is in staging, whole."""
        path = self.staged(record.id, arrival)
        return arrival.made is not None and path.is_file() and files.sha256_of(path) == arrival.made.sha256

    def sweep_staging(self) -> None:
        """Remove images in staging whose action is over, or is nobody's since long ago. Only under the library's lock."""
        before = time.time() - STAGED_SECONDS
        for path in sorted(self._staging.glob("*")):
            name = STAGED_NAME.fullmatch(path.name)
            is_old = name is not None and path.is_file() and path.lstat().st_mtime < before
            if name is not None and is_old and not self._journal.needs_staging(name[1]):
                files.remove(path)
                self._operations.record("sweep", path.relative_to(self._root).as_posix(), action=name[1])

    def check_unchanged(self, record: ActionRecord) -> None:
        """Every file that goes must be what the plan saw, nothing may stand where a new image goes, and all folders can be written.

        Raises:
            ItemError: Something changed since, or a folder can't be written.
        """
        planned = {file.path for file in record.files}
        for file in record.files:
            path = self._root / file.path
            if path.is_symlink() or not path.is_file():
                raise ItemError(f"{file.path} is gone or no plain file any more: make a new plan")
            if files.sha256_of(path) != file.sha256:
                raise ItemError(f"{file.path} has changed since the plan was made: make a new plan")
            _check_writable(path.parent, f"{file.path} can't be moved")
        for arrival in record.arrivals:
            if arrival.path not in planned and os.path.lexists(self._root / arrival.path):
                raise ItemError(f"{arrival.path} has appeared since the plan was made: make a new plan")
            _check_writable((self._root / arrival.path).parent, f"{arrival.path} can't be put there")
        for upload in record.uploads:
            path = self._root / upload.path
            if path.is_symlink() or not path.is_file() or files.sha256_of(path) != upload.sha256:
                raise ItemError(f"{upload.path} has changed since the plan was made: make a new plan")
        if record.rewrite is not None:
            self._check_rewrite(record.rewrite)
        self._mirrored.check_unchanged(record)

    def _check_rewrite(self, rewrite: Rewrite) -> None:
        path = self._root / rewrite.path
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ItemError(f"{path}: is no plain file (a folder or a link): move it away")
        if rewrite.standing(self._root) != rewrite.before:
            raise ItemError(f"{rewrite.path} has changed since the plan was made: make a new plan")
        _check_writable(path.parent, f"{rewrite.path} can't be written")

    def finish(self, record: ActionRecord) -> None:
        """Roll an action whose images are verified forward to its end.

        Raises:
            HalfDone: A file or object is in the way; the same command goes on once it is moved.
            OSError: The disk failed.
        """
        if any(arrival.made is None for arrival in record.arrivals):
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
        for arrival in record.arrivals:
            self._place(record, arrival)
        failpoint("execute.placed")
        for arrival in record.arrivals:
            if arrival.upload:
                self._mirrored.put(record, arrival, self._new(arrival))
        for upload in record.uploads:
            self._mirrored.upload(record, upload, self._bytes(upload.path, upload.sha256, "planned"))
        self._rewrite(record)
        self._mirrored.delete(record)
        self._write_entry(record, complete=True)
        failpoint("execute.entered")
        self._journal.note(record, DONE)

    def undo_fault(self, state: str, record: ActionRecord) -> str | None:
        """Why an action can't be taken back (something changed since), or None."""
        if state in UNTOUCHED:
            return None
        faults = (self._arrival_fault(state, record, arrival) for arrival in record.arrivals)
        fault = next(filter(None, faults), None) or self._rewrite_fault(record) or self._trash_fault(state, record)
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
        for arrival in record.arrivals:
            self._take_away(record, arrival)
        self._write_back(record)
        restored = sum(self._restore(record, file) for file in record.files)
        missing = tuple(file.path for file in record.files if not (self._root / file.path).exists())
        mirror = self._mirrored.undo(record)
        self._forget_made(record)
        for arrival in record.arrivals:
            files.remove(self.staged(record.id, arrival))
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

    def _place(self, record: ActionRecord, arrival: Arrival) -> None:
        assert arrival.made is not None
        files.move(self.staged(record.id, arrival), self._root / arrival.path)
        self._operations.record(
            "put", arrival.path, action=record.id, sha256=arrival.made.sha256, seed=arrival.made.seed
        )
        if self._is_base(record, arrival):
            made.write(self._root, record.actor_name, arrival.made)

    def _is_base(self, record: ActionRecord, arrival: Arrival) -> bool:
        return self._root / arrival.path == layout.base_image(self._root, record.actor_name)

    def _new(self, arrival: Arrival) -> bytes:
        """The image that was put in place, for the mirror."""
        assert arrival.made is not None
        return self._bytes(arrival.path, arrival.made.sha256, "made")

    def _bytes(self, path: str, sha256: str, what: str) -> bytes:
        data = (self._root / path).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileExistsError(f"{path} is not the image that was {what}: somebody changed it since")
        return data

    def _rewrite(self, record: ActionRecord) -> None:
        """Write the manifest, with what it was kept in the trash for whoever looks there."""
        rewrite = record.rewrite
        if rewrite is None:
            return
        if (standing := rewrite.standing(self._root)) != rewrite.after:
            if standing != rewrite.before:
                raise FileExistsError(f"{rewrite.path} has changed since the plan was made")
            if rewrite.before is not None:
                files.write_text(self.in_trash(record.id, rewrite.path), rewrite.before, aside=self._staging)
            files.write_text(self._root / rewrite.path, rewrite.after, aside=self._staging)
        # A try that was cut off may have written it without saying so; said twice is better than never.
        self._operations.record("write", rewrite.path, action=record.id)
        failpoint("execute.rewritten")

    def _write_back(self, record: ActionRecord) -> None:
        """Give the manifest its former text, or take away the one that there was not."""
        rewrite = record.rewrite
        if rewrite is None or rewrite.standing(self._root) != rewrite.after:
            return
        if rewrite.before is None:
            files.remove(self._root / rewrite.path)
        else:
            files.write_text(self._root / rewrite.path, rewrite.before, aside=self._staging)
        self._operations.record("restore", rewrite.path, action=record.id)
        failpoint("undo.written_back")

    def _take_away(self, record: ActionRecord, arrival: Arrival) -> None:
        """Move a new image aside, out of the way of what it replaced."""
        path, kept = self._root / arrival.path, self._kept(record, arrival)
        if self._is_new(path, arrival) and not kept.exists():
            files.move(path, kept)
            self._operations.record("trash", arrival.path, action=record.id)
            failpoint("undo.taken_away")

    def _trash(self, record: ActionRecord) -> Path:
        return self._root / layout.OWN / "trash" / record.id

    def in_trash(self, action_id: str, path: str) -> Path:
        """Where an action puts a file of the library."""
        return self._root / layout.OWN / "trash" / action_id / "files" / path

    def _kept(self, record: ActionRecord, arrival: Arrival) -> Path:
        """Where an undo puts an image that we made."""
        return self._trash(record) / "made" / PurePosixPath(arrival.path).name

    def _is_new(self, path: Path, arrival: Arrival) -> bool:
        return arrival.made is not None and path.is_file() and files.sha256_of(path) == arrival.made.sha256

    def _arrival_fault(self, state: str, record: ActionRecord, arrival: Arrival) -> str | None:
        target = self._root / arrival.path
        if self._is_new(target, arrival):
            return None
        if state == DONE:
            return f"{arrival.path} {'has changed since' if target.is_file() else 'is gone'}"
        former = next((file for file in record.files if file.path == arrival.path), None)
        if not target.exists() or (former is not None and files.sha256_of(target) == former.sha256):
            return None
        return f"{arrival.path} has appeared since"

    def _rewrite_fault(self, record: ActionRecord) -> str | None:
        rewrite = record.rewrite
        if rewrite is None or rewrite.standing(self._root) in (rewrite.before, rewrite.after):
            return None
        return f"{rewrite.path} has changed since"

    def _trash_fault(self, state: str, record: ActionRecord) -> str | None:
        coming = {arrival.path for arrival in record.arrivals}
        for file in record.files:
            in_trash, original = self.in_trash(record.id, file.path), self._root / file.path
            if in_trash.exists():
                if original.exists() and file.path not in coming:
                    return f"{file.path} has appeared since"
            elif state == DONE and not (original.is_file() and files.sha256_of(original) == file.sha256):
                return f"{file.path} is no longer in the trash (emptied?)"
        return None

    def _write_entry(self, record: ActionRecord, *, complete: bool) -> None:
        """The trash explains itself, without ledger or run."""
        going = [*record.files, *_former_text(record.rewrite)]
        if going or record.keys:
            self._explain(record, record.action, going, complete=complete, keys=record.keys)

    def _close_entry(self, record: ActionRecord) -> None:
        """After an undo only the images that we made are left in the trash, or nothing."""
        made_here = sorted((self._trash(record) / "made").glob("*"))
        left = [PlannedFile(f"made/{path.name}", files.sha256_of(path), path.stat().st_size) for path in made_here]
        if left:
            self._explain(record, f"undone {record.action}", left, complete=True)
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


def _check_writable(folder: Path, so: str) -> None:
    """A folder, or the one above it that there is, must take new names and let go of old ones."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise ItemError(f"{folder} is no folder, so {so}: move it away")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ItemError(f"{folder} can't be written, so {so}: change its permissions")


def _former_text(rewrite: Rewrite | None) -> list[PlannedFile]:
    """The manifest that is kept in the trash, as the entry lists it."""
    if rewrite is None or rewrite.before is None:
        return []
    data = rewrite.before.encode("utf-8")
    return [PlannedFile(rewrite.path, hashlib.sha256(data).hexdigest(), len(data))]


def sweep_own(root: Path) -> None:
    """Remove what killed writes left in our own folder, under its lock. What lies in the trash is a person's, whatever its name."""
    own = root / layout.OWN
    for folder in (own / "staging", own / "made", *(own / "trash").glob("*")):
        files.sweep_temporaries(folder, deep=False)
