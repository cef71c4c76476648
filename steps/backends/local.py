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

    def to_trash(self, item: StoredObject, action: str) -> None:
        """Never called: there are no objects."""
        raise AssertionError(f"{item.key} of {action} is not in a local library")

    def delete(self, item: StoredObject) -> None:
        """Never called: there are no objects."""
        raise AssertionError(f"{item.key} is not in a local library")

    def put(self, key: PurePosixPath, data: bytes, media_type: str) -> None:
        """The file on disk is all there is."""

    def restore(self, action: str) -> None:
        """Nothing was moved."""
