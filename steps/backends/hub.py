"""Models that lie in a folder or in the Hugging Face cache: where they are, what is missing, and the command that fetches it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError
from runner.fingerprint import FileHashes

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASHED = (".safetensors", ".json", ".txt", ".onnx")


@dataclass(frozen=True)
class Source:
    """A model.

    Attributes:
        place: A folder, or an id on the hub.
        revision: The hub's commit, 40 hexadecimal digits: a name that can be moved would not say what was loaded.
        needed: Files that must be there; of a folder only those that `folder_needs` names.
        folder_needs: What a folder must hold.
    """

    place: str
    revision: str | None
    needed: tuple[str, ...]
    folder_needs: tuple[str, ...] = ()

    def identity(self, hashes: FileHashes) -> str:
        """The id with its revision, or the folder's digest."""
        if self.is_folder:
            return f"{Path(self.place).name} {folder_digest(Path(self.place), hashes)}"
        return f"{self.place}@{(self.revision or 'unknown')[:12]}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder on this machine."""
        return Path(self.place).is_dir()

    @property
    def fetch(self) -> str:
        """The command that brings it into the cache."""
        words = ["hf", "download", self.place, *self.needed]
        return shlex.join([*words, "--revision", self.revision] if self.revision else words)

    def fault(self) -> str | None:
        """What is wrong and what to do; None when all is there."""
        if self.is_folder:
            gone = [name for name in self.folder_needs if not (Path(self.place) / name).exists()]
            return f"{self.place} is no such model: {', '.join(gone)} is missing" if gone else None
        if not _ID.fullmatch(self.place):
            return f"{self.place}: no such folder, and no id on the hub (OWNER/NAME)"
        if self.revision is None or not _COMMIT.fullmatch(self.revision):
            return f"{self.place}: revision = {self.revision!r} is not allowed: give the commit, 40 hexadecimal digits"
        gone = [name for name in self.needed if self._cached(name) is None]
        missing = f"{len(gone)} of {len(self.needed)} files are missing"
        return f"{self.place} is not here ({missing}): fetch it with: {self.fetch}" if gone else None

    def folder(self, *, download: bool = False) -> Path:
        """The folder that holds it.

        Args:
            download: Fetch what is missing.

        Raises:
            UserError: It is not all there.
        """
        if self.is_folder:
            check([self])
            return Path(self.place)
        if download and self.fault() is not None and self.revision and _COMMIT.fullmatch(self.revision):
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(self.place, revision=self.revision, allow_patterns=list(self.needed)))
        check([self])
        found = self._cached(self.needed[0])
        assert found is not None
        return found.parents[len(Path(self.needed[0]).parts) - 1]

    def _cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.place, name, revision=self.revision)
        return Path(found) if isinstance(found, str) else None


def check(sources: Iterable[Source]) -> None:
    """Raise UserError with all that is missing, a line each, and the commands that fetch it."""
    faults = [fault for source in sources if (fault := source.fault()) is not None]
    if faults:
        raise UserError("\n".join(dict.fromkeys(faults)))


def folder_digest(folder: Path, hashes: FileHashes) -> str:
    """12 digits over the content of a folder's weights and configurations: gigabytes, which are read once and remembered."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _HASHED and path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {hashes.of(path)}\n".encode())
    return digest.hexdigest()[:12]
