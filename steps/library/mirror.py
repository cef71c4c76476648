"""A mirror of the library elsewhere (S3): what a storage backend must do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol


@dataclass(frozen=True)
class StoredObject:
    """An object that mirrors a library file: its key below the storage's prefix, and its ETag where known."""

    key: PurePosixPath
    size: int
    etag: str | None = None


class Storage(Protocol):
    """A mirror of the library elsewhere. Each call is idempotent, so that a resumed action may repeat it."""

    def inventory(self, folder: PurePosixPath) -> Iterable[StoredObject]:
        """The objects below a folder of the library."""
        ...

    def to_trash(self, item: StoredObject, action: str) -> None:
        """Copy one object to the trash prefix of `action`, or note its version id."""
        ...

    def delete(self, item: StoredObject) -> None:
        """Delete one object that is in the trash, by its ETag where known."""
        ...

    def put(self, key: PurePosixPath, data: bytes, media_type: str) -> None:
        """Store one object."""
        ...

    def restore(self, action: str) -> None:
        """Put back what `action` moved to the trash."""
        ...
