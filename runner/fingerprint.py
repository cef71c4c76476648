"""Fingerprints: one digest of all that an answer depends on, so that only what changed is asked again."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.files import sha256_of
from runner.ledger import Ledger

# A file that was changed this recently may change again within the clock's grain, unseen: its hash is not kept (git's "racy" files).
RACY_NS = 2_000_000_000


class FileHashes:
    """SHA-256 of files, remembered in the ledger by path, size, mtime in nanoseconds and inode."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def of(self, path: Path) -> str | None:
        """The file's hash, or None when there is no such file, or none that can be read: whoever opens it is told why."""
        try:
            return self._of(path)
        except OSError:
            return None

    def _of(self, path: Path) -> str:
        status = path.stat()
        absolute = str(path.absolute())
        known = self._ledger.row("SELECT size, mtime_ns, inode, sha256 FROM file_hashes WHERE path = ?", (absolute,))
        if known and known[:3] == (status.st_size, status.st_mtime_ns, status.st_ino):
            return str(known[3])
        digest = sha256_of(path)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > RACY_NS:
            values = (absolute, status.st_size, status.st_mtime_ns, status.st_ino, digest)
            self._ledger.post("INSERT OR REPLACE INTO file_hashes VALUES (?, ?, ?, ?, ?)", values)
        return digest


def fingerprint(parts: Iterable[Any], hashes: FileHashes) -> str:
    """A digest (40 hexadecimal digits) of plain values, dataclasses, and files by their content.

    Raises:
        TypeError: A value has no stable form (an open file, an object with identity only).
    """
    text = json.dumps(list(parts), sort_keys=True, separators=(",", ":"), default=lambda value: _plain(value, hashes))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def digest_of(value: Any) -> str:
    """A digest of plain values alone, key-sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any, hashes: FileHashes) -> Any:
    if isinstance(value, Path):
        return {"file": hashes.of(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} can't be part of a fingerprint: give plain values, dataclasses or paths")
