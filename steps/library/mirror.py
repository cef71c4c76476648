"""A mirror of the library elsewhere (S3): what a storage backend must do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol


@dataclass(frozen=True)
class StoredObject:
    """An object that mirrors a library file: its key below the storage's prefix, and its ETag (without quotes) where known."""

    key: PurePosixPath
    size: int
    etag: str | None = None


class Storage(Protocol):
    """A mirror of the library elsewhere. Each call is idempotent, so that a resumed action may repeat it.

    Keys are paths below the library. Nothing outside the storage's own place is ever written or deleted, and nothing is replaced or
    deleted that is not what the caller says it is: then a call raises ItemError and leaves it alone.
    """

    def inventory(self, folder: PurePosixPath) -> Iterable[StoredObject]:
        """The objects below a folder of the library."""
        ...

    def holding(self, key: PurePosixPath, sha256: str) -> StoredObject | None:
        """The object at a key if that is its content, byte for byte; else None."""
        ...

    def find(self, key: PurePosixPath) -> StoredObject | None:
        """The object at a key, or None."""
        ...

    def get(self, item: StoredObject) -> bytes:
        """The bytes of an object.

        Raises:
            ItemError: It is gone, another one stands there, or it is too large.
        """
        ...

    def to_trash(self, item: StoredObject, action: str) -> bool:
        """Copy one object to the trash of `action`; the object itself stays.

        Returns:
            False if it is neither there nor in the trash any more: somebody deleted what was to go anyway.

        Raises:
            ItemError: Another object than `item` stands there, and `item` is not in the trash.
        """
        ...

    def put(self, key: PurePosixPath, data: bytes, media_type: str, replaces: StoredObject | None = None) -> bool:
        """Store one object, in place of `replaces` or where nothing stands.

        Returns:
            False if this storage keeps nothing.

        Raises:
            ItemError: Something else stands there.
        """
        ...

    def delete(self, item: StoredObject) -> bool:
        """Delete one object, which is in the trash or was ours.

        Returns:
            False if it was gone already.

        Raises:
            ItemError: Another object than `item` stands there.
        """
        ...

    def in_trash(self, action: str) -> Iterable[StoredObject]:
        """What the trash of `action` holds, each with the key that it came from."""
        ...

    def can_return(self, item: StoredObject, action: str) -> bool:
        """Whether nothing stands where an object of the trash came from, or the same content."""
        ...

    def restore(self, item: StoredObject, action: str) -> None:
        """Copy one object of the trash back to where it came from; the copy in the trash stays.

        Raises:
            ItemError: Something else stands there.
        """
        ...

    def empty_trash(self, action: str) -> None:
        """Delete for good what the trash of `action` holds."""
        ...

    def address(self, key: PurePosixPath) -> str:
        """Where a key is, for people."""
        ...

    def trash_address(self, action: str) -> str:
        """Where the trash of `action` is, for people."""
        ...

    def url(self, key: PurePosixPath) -> str | None:
        """The address that a manifest notes for a key; None where nothing mirrors the library."""
        ...

    def path_of(self, url: str) -> PurePosixPath | None:
        """The key that an address in a manifest names; None for one that is not in this mirror, which is never touched."""
        ...
