"""Storage on this disk alone: nothing mirrors the library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.calls import Calls
from steps.library.mirror import StoredObject


@dataclass(frozen=True)
class LocalSettings:
    """Nothing to set."""


class LocalStorage:
    """A mirror that holds nothing, so that steps need not ask whether there is one."""

    def __init__(self, settings: LocalSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls

    def inventory(self, folder: PurePosixPath) -> Iterable[StoredObject]:  # noqa: ARG002 - the protocol's
        """No objects."""
        return ()

    def holding(self, key: PurePosixPath, sha256: str) -> StoredObject | None:  # noqa: ARG002 - the protocol's
        """None."""
        return None

    def find(self, key: PurePosixPath) -> StoredObject | None:  # noqa: ARG002 - the protocol's
        """None."""
        return None

    def get(self, item: StoredObject) -> bytes:
        """Never called: there are no objects."""
        raise AssertionError(f"{item.key} is not in a local library's mirror")

    def to_trash(self, item: StoredObject, action: str) -> bool:  # noqa: ARG002 - the protocol's
        """Nowhere: a plan that was made with another storage names objects that this one does not have."""
        return False

    def put(self, key: PurePosixPath, data: bytes, media_type: str, replaces: StoredObject | None = None) -> bool:  # noqa: ARG002 - the protocol's
        """The file on disk is all there is."""
        return False

    def delete(self, item: StoredObject) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing to delete."""
        return False

    def in_trash(self, action: str) -> Iterable[StoredObject]:  # noqa: ARG002 - the protocol's
        """No objects."""
        return ()

    def can_return(self, item: StoredObject, action: str) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing stands anywhere."""
        return True

    def restore(self, item: StoredObject, action: str) -> None:
        """Never called: the trash holds nothing."""
        raise AssertionError(f"{item.key} of {action} is not in a local library's trash")

    def empty_trash(self, action: str) -> None:
        """Nothing was moved."""

    def address(self, key: PurePosixPath) -> str:
        """The path below the library."""
        return str(key)

    def trash_address(self, action: str) -> str:
        """The path of the files' own trash, below the library."""
        return f".callsheet/trash/{action}/"

    def url(self, key: PurePosixPath) -> str | None:  # noqa: ARG002 - the protocol's
        """None."""
        return None

    def path_of(self, url: str) -> PurePosixPath | None:  # noqa: ARG002 - the protocol's
        """No address is in a mirror that there is not."""
        return None
