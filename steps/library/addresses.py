"""Where the library's mirror has an actor's training images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from steps.library.mirror import Storage, StoredObject
from steps.library.training import TrainingManifest


def folder_of(actor_name: str) -> PurePosixPath:
    """Below which key an actor's training images are."""
    return PurePosixPath("actors", actor_name, "training_data")


def key_of(storage: Storage, manifest: TrainingManifest, file: str) -> PurePosixPath:
    """Where the mirror has an image: where the manifest's URL says, if that leads into this mirror, else at the key of its path.

    The key may be outside of the actor's folder: what stands there is not this actor's to remove.
    """
    entry = manifest.entry(file)
    named = storage.path_of(entry.url) if entry is not None and entry.url else None
    return named if named is not None else folder_of(manifest.actor_name) / file


def of_actor(storage: Storage, actor_name: str) -> Mapping[PurePosixPath, StoredObject]:
    """The objects of an actor's training images, by key."""
    folder = folder_of(actor_name)
    found = storage.inventory(folder.parent)
    return {item.key: item for item in found if item.key.is_relative_to(folder)}
