"""The library on disk: one place for where things are, so that no step spells a path."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

ACTORS = "actorsData.json"
GROUPS = "groups.yaml"
# Ours: lock, images in the making and the trash. A leading dot keeps it out of people's way.
OWN = ".callsheet"


def folded(name: str) -> str:
    """A name's folder as disks that know neither case nor forms of accents tell folders apart."""
    return unicodedata.normalize("NFC", name).casefold()


def actor_folder(root: Path, name: str) -> Path:
    """Where all of an actor's files are."""
    return root.joinpath("actors", name)


def base_image(root: Path, name: str) -> Path:
    """Where we put a base image that we made."""
    return root.joinpath("actors", name, "base_image", f"{name}_base.jpg")


def base_image_places(root: Path, name: str) -> Iterator[Path]:
    """The six places where an actor's base image may be, in order."""
    yield base_image(root, name)
    folder = actor_folder(root, name)
    yield folder / "base_image" / f"{name}_base.png"
    yield folder / "poster_frame" / f"{name}_poster.png"
    yield folder / "poster_frame" / f"{name}_poster.jpg"
    yield folder / "training_data" / f"{name}_0.jpg"
    yield folder / "training_data" / f"{name}_0.png"


def training_folder(root: Path, name: str) -> Path:
    """An actor's training images with their manifest."""
    return actor_folder(root, name) / "training_data"


def actor_manifest(root: Path, actor_id: int) -> Path:
    """Metadata of an actor; never written by us."""
    return root / "actor_manifests" / f"{actor_id:04d}_manifest.json"
