"""An action's part in the library's mirror: what `transaction` does to files, in the same order, to objects."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

from runner.errors import ItemError
from runner.failpoints import failpoint
from runner.operations import Operations
from steps.library.journal import DONE, UNDOING, ActionRecord, Arrival, Upload
from steps.library.mirror import Storage, StoredObject
from steps.library.plans import PlannedKey


class PutBack(NamedTuple):
    """What an undo could put back in the mirror, and what was nowhere any more."""

    restored: int
    missing: tuple[str, ...]


class Mirrored:
    """Carries an action's objects to the trash and back. Every operation may be repeated."""

    def __init__(self, storage: Storage, operations: Operations) -> None:
        self._storage = storage
        self._operations = operations

    def check_unchanged(self, record: ActionRecord) -> None:
        """Every object that goes must be what the plan saw, and nothing may stand where a new image goes.

        Raises:
            ItemError: Something changed since.
        """
        if not _touches(record):
            return
        there = self._there(record)
        for key in record.keys:
            standing = there.get(PurePosixPath(key.key))
            if standing is None:
                raise ItemError(f"{key.key} is not in the library's mirror: make a new plan")
            if standing != _stored(key):
                raise ItemError(f"{self._address(standing.key)} has changed since the plan was made: make a new plan")
        for target in _coming(record):
            if target in there and _planned(record, target) is None:
                raise ItemError(f"{self._address(target)} has appeared since the plan was made: make a new plan")

    def to_trash(self, record: ActionRecord) -> None:
        """Copy what goes to the mirror's trash."""
        for key in record.keys:
            item = _stored(key)
            if self._storage.to_trash(item, record.id):
                self._operations.record("trash", self._address(item.key), action=record.id)
                failpoint("mirror.trashed")
            else:
                # Somebody deleted, between two tries, what was to go anyway.
                self._operations.record("missing", self._address(item.key), action=record.id)

    def put(self, record: ActionRecord, arrival: Arrival, data: bytes) -> None:
        """Store a new image."""
        assert arrival.made is not None
        self._put(record, PurePosixPath(arrival.path), data, sha256=arrival.made.sha256, seed=arrival.made.seed)

    def upload(self, record: ActionRecord, upload: Upload, data: bytes) -> None:
        """Store a file that only the disk had."""
        self._put(record, PurePosixPath(upload.key), data, sha256=upload.sha256)

    def _put(self, record: ActionRecord, target: PurePosixPath, data: bytes, **about: str | float) -> None:
        media_type = "image/png" if target.suffix.lower() == ".png" else "image/jpeg"
        if self._storage.put(target, data, media_type, replaces=_planned(record, target)):
            self._operations.record("put", self._address(target), action=record.id, **about)
            failpoint("mirror.put")

    def delete(self, record: ActionRecord) -> None:
        """Delete what is in the trash; what stood at a new image's key was replaced by it."""
        replaced = set(_coming(record))
        for key in record.keys:
            if PurePosixPath(key.key) not in replaced:
                self._delete(_stored(key), record)

    def trash_address(self, record: ActionRecord) -> str:
        """Where the mirror's trash of an action is, for people."""
        return self._storage.trash_address(record.id)

    def fault(self, state: str, record: ActionRecord) -> str | None:
        """Why the action's objects can't be put back (something changed since), or None."""
        if not _touches(record):
            return None
        there = self._there(record)
        kept = {item.key: item for item in self._storage.in_trash(record.id)}
        coming = _coming(record)
        for target, sha256 in coming.items():
            # What an undo before has put back already is not looked at again: a copy may have another ETag than the plan saw.
            returned = state == UNDOING and _planned(record, target) is not None and target not in kept
            if target in there and not returned and not self._is_known(there[target], record, sha256, kept):
                return f"{self._address(target)} has changed since"
        for item in kept.values():
            if item.key not in coming and item.key in there and not self._storage.can_return(item, record.id):
                return f"{self._address(item.key)} has appeared since"
        for key in record.keys if state == DONE else ():
            path = PurePosixPath(key.key)
            if path not in kept and there.get(path) != _stored(key):
                return f"{self._address(path)} is no longer in the mirror's trash (emptied?)"
        return None

    def undo(self, record: ActionRecord) -> PutBack:
        """Take away the new images, put back what the trash holds, then empty it."""
        kept = list(self._storage.in_trash(record.id)) if _touches(record) else []
        for target, sha256 in _coming(record).items():
            self._take_away(record, target, sha256, {item.key for item in kept})
        for item in kept:
            self._storage.restore(item, record.id)
            self._operations.record("restore", self._address(item.key), action=record.id)
            failpoint("mirror.restored")
        if kept:
            self._storage.empty_trash(record.id)
        if not record.keys:
            return PutBack(len(kept), ())
        there = self._there(record)
        gone = [PurePosixPath(key.key) for key in record.keys if PurePosixPath(key.key) not in there]
        return PutBack(len(kept), tuple(self._address(key) for key in gone))

    def _take_away(
        self, record: ActionRecord, target: PurePosixPath, sha256: str | None, kept: set[PurePosixPath]
    ) -> None:
        """Delete a new image if it is still ours. Where an object stood that has left the trash again, that one stands there now."""
        if sha256 is None or (_planned(record, target) is not None and target not in kept):
            return
        ours = self._storage.holding(target, sha256)
        if ours is not None:
            self._delete(ours, record)

    def _delete(self, item: StoredObject, record: ActionRecord) -> None:
        deleted = self._storage.delete(item)
        # A try that was cut off may have deleted it without saying so; said twice is better than never.
        self._operations.record("delete", self._address(item.key), action=record.id)
        if deleted:
            failpoint("mirror.deleted")

    def _is_known(
        self,
        standing: StoredObject,
        record: ActionRecord,
        sha256: str | None,
        kept: dict[PurePosixPath, StoredObject],
    ) -> bool:
        """Whether what stands at a new image's key is the object that the plan saw, its copy put back, or the new image."""
        if standing == _planned(record, standing.key):
            return True
        if sha256 is not None and self._storage.holding(standing.key, sha256) is not None:
            return True
        return standing.key in kept and self._storage.can_return(kept[standing.key], record.id)

    def _there(self, record: ActionRecord) -> dict[PurePosixPath, StoredObject]:
        """What stands in the actor's folder, and where the record names keys elsewhere."""
        home = PurePosixPath("actors", record.actor_name)
        there = {item.key: item for item in self._storage.inventory(home)}
        for key in record.keys:
            path = PurePosixPath(key.key)
            if not path.is_relative_to(home) and (found := self._storage.find(path)) is not None:
                there[path] = found
        return there

    def _address(self, key: PurePosixPath) -> str:
        return self._storage.address(key)


def _coming(record: ActionRecord) -> dict[PurePosixPath, str | None]:
    """The keys that an action writes, each with the hash of what comes there, once that is made."""
    coming = {
        PurePosixPath(arrival.path): None if arrival.made is None else arrival.made.sha256
        for arrival in record.arrivals
        if arrival.upload
    }
    return coming | {PurePosixPath(upload.key): upload.sha256 for upload in record.uploads}


def _touches(record: ActionRecord) -> bool:
    """Whether an action has anything to do in the mirror at all."""
    return bool(record.keys or _coming(record))


def _planned(record: ActionRecord, key: PurePosixPath) -> StoredObject | None:
    return next((_stored(planned) for planned in record.keys if planned.key == str(key)), None)


def _stored(key: PlannedKey) -> StoredObject:
    return StoredObject(PurePosixPath(key.key), key.size, key.etag)
