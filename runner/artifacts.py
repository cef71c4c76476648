"""Artifacts: folders of files that later steps and other runs use (a LoRA, a storyboard), made once for all that they depend on.

An artifact lies in OUTPUTS/artifacts/STEP/KEY and is complete when its manifest is there, which is written last. One that was cut off
keeps what it has, so that a long training goes on from its checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from runner.fingerprint import FileHashes, fingerprint
from runner.ledger import Ledger
from runner.stop import Stop

MANIFEST = "manifest.json"
FOLDER = "artifacts"
FORMAT = 1


@dataclass(frozen=True)
class Artifact:
    """One folder.

    Attributes:
        path: The folder.
        key: Names all that it depends on.
    """

    path: Path
    key: str

    @property
    def is_complete(self) -> bool:
        """Whether it was finished, and all its files have the length that they had then."""
        return self.about() is not None

    def about(self) -> Any | None:
        """What `finish` was told; None while it is not complete."""
        try:
            manifest = files.read_json(self.path / MANIFEST)
            whole = all((self.path / row["path"]).stat().st_size == row["bytes"] for row in manifest["files"])
            return manifest["about"] if whole and manifest["key"] == self.key else None
        except (UserError, OSError, KeyError, TypeError):
            return None

    def finish(self, about: Any) -> None:
        """Say that it is complete: every file in it is listed, and kept from now on.

        Args:
            about: Plain values that `about` gives back.
        """
        found = sorted(path for path in self.path.rglob("*") if path.is_file() and _counts(path))
        rows = [
            {
                "path": path.relative_to(self.path).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": files.sha256_of(path),
            }
            for path in found
        ]
        files.write_json(
            self.path / MANIFEST, {"format": FORMAT, "key": self.key, "complete": True, "about": about, "files": rows}
        )

    def anew(self) -> Artifact:
        """Where it is made another time: this one stays whole, and is what `Artifacts.making` gives until that one is complete."""
        files.make_folder(self.later.path)
        return self.later

    @property
    def later(self) -> Artifact:
        """The next one for the same key, which may not be there."""
        first, _, number = self.path.name.partition("-")
        return Artifact(self.path.with_name(f"{first}-{int(number or 1) + 1}"), self.key)

    def clear(self) -> None:
        """Delete what a try has left, to begin anew."""
        files.remove_tree(self.path)
        files.make_folder(self.path)


class Artifacts:
    """The artifacts below one outputs folder."""

    def __init__(self, outputs: Path, ledger: Ledger, hashes: FileHashes, stop: Stop) -> None:
        self._root = outputs / FOLDER
        self._ledger = ledger
        self._hashes = hashes
        self._stop = stop

    @contextlib.contextmanager
    def making(self, step: str, version: int, depends_on: Sequence[Any]) -> Iterator[Artifact]:
        """The artifact for all that it depends on, complete or not, of several the latest complete one; nobody else makes it meanwhile.

        Args:
            step: The kind, for example "train".
            version: Of the code that makes it.
            depends_on: Files (as `Path`, by content), plain values, dataclasses: as `runner.step.Item.depends_on`.

        Raises:
            Interrupted: The run stops while another process makes it.
            RuntimeError: This thread makes another one already (`Claims.wait_for`).
        """
        key = fingerprint([step, version, *depends_on], self._hashes)
        claims = self._ledger.claims
        claims.wait_for(key, self._stop, inner=True)
        try:
            folder = self._root / step / key
            files.make_folder(folder)
            artifact = Artifact(folder, key)
            while artifact.later.is_complete:
                artifact = artifact.later
            yield artifact
        finally:
            claims.release(key, inner=True)

    def shared(self, step: str, version: int, depends_on: Sequence[Any]) -> Path:
        """A folder that many fill at once, each file whole by itself. Nobody waits for it, so that it may be asked for while one is made.

        Args:
            step: The kind, for example "encoded".
            version: Of the code that fills it.
            depends_on: As `making`.
        """
        folder = self._root / step / fingerprint([step, version, *depends_on], self._hashes)
        files.make_folder(folder)
        return folder


def link(artifact: Artifact, place: Path) -> None:
    """Show an artifact in a run's folder: a relative link, or a copy where links are not to be had."""
    if place.is_symlink() or place.exists():
        files.remove_tree(place) if not place.is_symlink() else place.unlink()
    files.make_folder(place.parent)
    try:
        place.symlink_to(os.path.relpath(artifact.path, place.parent), target_is_directory=True)
    except OSError:
        shutil.copytree(artifact.path, place)
    files.sync_folder(place.parent)


def _counts(path: Path) -> bool:
    return path.name != MANIFEST and not path.name.startswith(files.TEMPORARY)
