"""What of an actor's training images may go: not what serves somebody else, on the disk or in the mirror."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from runner.errors import ItemError
from runner.fingerprint import FileHashes
from steps.balancing import Balance, Rated
from steps.library import addresses, layout
from steps.library.actors import Library
from steps.library.addresses import Claim
from steps.library.balances import Leaving
from steps.library.evaluations import Evaluation
from steps.library.mirror import Storage, StoredObject
from steps.library.plans import PlannedKey
from steps.library.training import TrainingManifest


class Stock:
    """Knows which training images and objects of a library serve whom."""

    def __init__(self, library: Library, storage: Storage, hashes: FileHashes) -> None:
        self._library = library
        self._storage = storage
        self._hashes = hashes
        self._bases: frozenset[Path] = frozenset()
        self._claims: Mapping[PurePosixPath, Collection[Claim]] = {}

    def take(self) -> None:
        """Look through the whole library, before anything is asked."""
        self._bases = self._base_images()
        self._claims = addresses.claimed_by(self._storage, self._library.root, self._library.actors())

    def rated(self, row: Evaluation) -> Iterator[Rated]:
        """An actor's images for the planner."""
        folder = layout.training_folder(self._library.root, row.actor_name).resolve()
        return _rated(row, {path.name for path in self._bases if path.parent == folder})

    def going(
        self,
        row: Evaluation,
        done: Balance,
        manifest: TrainingManifest,
        objects: Mapping[PurePosixPath, StoredObject],
    ) -> tuple[tuple[Leaving, ...], list[str]]:
        """The images that go, with what the mirror has of them, and what a person should know.

        Args:
            row: What was seen.
            done: Which of it go.
            manifest: The actor's.
            objects: What the mirror has in the actor's folder.
        """
        whys, goes, notes = {going.number: going for going in done.goes}, [], []
        keys: set[PurePosixPath] = set()
        for image in row.images:
            if (going := whys.get(image.number)) is None:
                continue
            key = addresses.key_of(self._storage, manifest, image.file)
            there = objects.get(key)
            if not key.is_relative_to(addresses.folder_of(manifest.actor_name)):
                notes.append(
                    f"{image.file}: its URL leads to {key}, outside of this actor's folder: nothing is deleted there"
                )
            elif there is not None and (owner := self._owner(key, manifest, row, whys.keys())) is not None:
                notes.append(f"{image.file}: {key} is the image of {owner} too: it is not deleted")
                there = None
            elif key in keys:
                # Two images that go are one object.
                there = None
            keys.add(key)
            goes.append(
                Leaving(
                    number=going.number,
                    file=image.file,
                    kind=image.kind,
                    quality=image.quality,
                    why=going.why,
                    condemned=going.condemned,
                    sha256=image.sha256 if image.on_disk else None,
                    size=image.size if image.on_disk else None,
                    keys=() if there is None else (PlannedKey(str(there.key), there.size, there.etag),),
                )
            )
        return tuple(goes), notes

    def _owner(
        self, key: PurePosixPath, manifest: TrainingManifest, row: Evaluation, going: Collection[int]
    ) -> str | None:
        """Who else has an object: an image of this actor that stays, or another actor."""
        gone = {image.file for image in row.images if image.number in going}
        own = {*(image.file for image in row.images), *(image.file for image in manifest.images)} - gone
        staying = next((file for file in sorted(own) if addresses.key_of(self._storage, manifest, file) == key), None)
        others = {claim.actor_name for claim in self._claims.get(key, ())} - {manifest.actor_name}
        return staying or min(others, default=None)

    def _base_images(self) -> frozenset[Path]:
        """Everybody's base images that lie among training images, perhaps another actor's: they may not go."""
        found = set()
        for actor in self._library.actors():
            with contextlib.suppress(ItemError):
                base = self._library.base_image(actor, self._hashes)
                if base is not None and "training_data" in base.parts:
                    found.add(base.resolve())
        return frozenset(found)


def _rated(row: Evaluation, staying: Collection[str]) -> Iterator[Rated]:
    """The images for the planner.

    Args:
        row: What was seen.
        staying: Files that serve as base images. Of exact copies such a one counts as the original; a broken one serves nobody.
    """
    stays = {image.number: image.on_disk and image.file in staying and image.kind is not None for image in row.images}
    originals = {image.sha256: image for image in row.images if image.quality > 0}
    kept = {image.sha256: image for image in row.images if stays[image.number]}
    for image in row.images:
        original, base = originals.get(image.sha256), kept.get(image.sha256)
        quality, problem = image.quality, image.problem
        if base is not None and original is not None and not stays[original.number]:
            if image is base:
                quality, problem = original.quality, ""
            elif image is original:
                quality, problem = 0, f"duplicate: the same file as number {base.number}, which serves as a base image"
        yield Rated(image.number, image.kind, quality, image.made_at, problem, stays[image.number])
