"""Where the library's mirror has an actor's training images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from runner.errors import ItemError
from steps.library import training
from steps.library.actors import Actor
from steps.library.mirror import Storage, StoredObject
from steps.library.training import TrainingManifest


class Claim(NamedTuple):
    """An entry of a manifest, as one that an object belongs to."""

    actor_name: str
    file: str


def folder_of(actor_name: str) -> PurePosixPath:
    """Below which key an actor's training images are."""
    return PurePosixPath("actors", actor_name, "training_data")


def key_of(storage: Storage, manifest: TrainingManifest, file: str) -> PurePosixPath:
    """Where the mirror has an image: where the manifest's URL says, if that leads into this mirror, else at the key of its path.

    The key may be outside of the actor's folder: what stands there is not this actor's to remove.
    """
    entry = manifest.entry(file)
    return _key(storage, manifest.actor_name, file, None if entry is None else entry.url)


def keys_of(storage: Storage, manifest: TrainingManifest) -> Mapping[str, PurePosixPath]:
    """Where the mirror has each image of a manifest, by file; as `key_of`."""
    return {image.file: _key(storage, manifest.actor_name, image.file, image.url) for image in manifest.images}


def claimed(storage: Storage, manifests: Iterable[TrainingManifest]) -> Mapping[PurePosixPath, set[Claim]]:
    """The keys that manifests lead to, each with its entries: an object that another entry leads to is not one entry's alone to remove."""
    claims: defaultdict[PurePosixPath, set[Claim]] = defaultdict(set)
    for manifest in manifests:
        for file, key in keys_of(storage, manifest).items():
            claims[key].add(Claim(manifest.actor_name, file))
    return dict(claims)


def claimed_by(storage: Storage, root: Path, actors: Iterable[Actor]) -> Mapping[PurePosixPath, set[Claim]]:
    """As `claimed`, of the manifests on the disk; a broken one claims nothing."""
    manifests = []
    for actor in actors:
        try:
            manifest = training.read_manifest(root, actor)
        except ItemError:
            continue
        if manifest is not None:
            manifests.append(manifest)
    return claimed(storage, manifests)


def of_actor(storage: Storage, actor_name: str) -> Mapping[PurePosixPath, StoredObject]:
    """The objects of an actor's training images, by key."""
    folder = folder_of(actor_name)
    found = storage.inventory(folder.parent)
    return {item.key: item for item in found if item.key.is_relative_to(folder)}


def _key(storage: Storage, actor_name: str, file: str, url: str | None) -> PurePosixPath:
    named = storage.path_of(url) if url else None
    return named if named is not None else folder_of(actor_name) / file
