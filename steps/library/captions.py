"""A LoRA's training set on disk: images, a caption of the same name beside each, and which of them are held out.

data/images/ID.jpg|png|webp · data/captions/ID.txt · data/split.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.library.pictures import SUFFIXES

IMAGES, CAPTIONS, SPLIT = "images", "captions", "split.json"
TRAIN, HOLDOUT = "train", "holdout"
FORMAT = 1
_IMAGE_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


@dataclass(frozen=True)
class Captioned:
    """An image of the set.

    Attributes:
        id: The file name without its suffix.
        image: The image file.
        caption: The caption file; it may be missing.
    """

    id: str
    image: Path
    caption: Path


def pairs(images: Path, captions: Path) -> list[Captioned]:
    """Every image with the place of its caption, in the order of their ids.

    Raises:
        UserError: No such folder, or two images of one id.
    """
    if not images.is_dir():
        raise UserError(f"{images}: no such folder: caption images first, with: callsheet run caption")
    found: dict[str, Captioned] = {}
    for path in _images_in(images):
        if path.stem in found:
            raise UserError(f"{path} and {found[path.stem].image.name} would share one caption: rename one of them")
        found[path.stem] = Captioned(path.stem, path, captions / f"{path.stem}.txt")
    return list(found.values())


def read_split(path: Path) -> dict[str, str]:
    """Id -> TRAIN or HOLDOUT; empty where there is no such file.

    Raises:
        UserError: It is not what `write_split` writes.
    """
    if not path.exists():
        return {}
    document: Any = files.read_json(path)
    try:
        parts = {str(id_): str(part) for id_, part in document["images"].items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f'{path}: not a split: it should hold {{"images": {{"ID": "train"}}}}') from error
    if odd := sorted(set(parts.values()) - {TRAIN, HOLDOUT}):
        raise UserError(f"{path}, /images: {odd[0]!r} is neither '{TRAIN}' nor '{HOLDOUT}'")
    return parts


def write_split(path: Path, parts: Mapping[str, str]) -> None:
    """Say which images are trained on and which are held out."""
    files.write_json(path, {"format": FORMAT, "images": dict(sorted(parts.items()))})


def _images_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file())
