"""A LoRA's training set on disk: images, a caption of the same name beside each, and which of them are held out.

data/images/ID.jpg|png|webp · data/captions/ID.txt · data/split.json
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from runner import files
from runner.errors import UserError
from steps.library.layout import OWN
from steps.library.pictures import FORMATS, SUFFIXES, Picture

IMAGES, CAPTIONS, SPLIT = "images", "captions", "split.json"
TRAIN, HOLDOUT = "train", "holdout"
FORMAT = 1
FEWEST = 4
"""From so many images on one is held out."""
_QUALITY = 95
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


def taught(folder: Path) -> list[Path]:
    """The images of a training set that a LoRA may be taught with, in the order of their ids; none where there is no such folder.

    Args:
        folder: With images, captions and split.json. What the split holds out is for measuring.
    """
    if not (folder / IMAGES).is_dir():
        return []
    parts = read_split(folder / SPLIT)
    return [each.image for each in pairs(folder / IMAGES, folder / CAPTIONS) if parts.get(each.id, TRAIN) == TRAIN]


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


def id_of(sha256: str) -> str:
    """The id of an image file of this content (SHA-256, hexadecimal): the same wherever it lies, and whatever it is called."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{sha256}"))


@dataclass(frozen=True)
class TrainingSet:
    """The two folders, to add to; nothing that is there is written over."""

    images: Path
    captions: Path

    @contextlib.contextmanager
    def locked(self, busy: str, *beside: Path) -> Iterator[None]:
        """Hold what is written, links followed: the two folders, and files `beside`. Another library may name the same ones.

        Raises:
            UserError: Somebody else holds one of them; `busy` says what that means.
        """
        written = {path.resolve() for path in (self.images, self.captions, *beside)}
        with contextlib.ExitStack() as held:
            for path in sorted(written):
                held.enter_context(files.locked(path.parent / OWN / CAPTIONS / f"{path.name}.lock", busy))
            yield

    def image_of(self, id_: str) -> Path | None:
        """The image file of an id, if there is one."""
        places = (self.images / f"{id_}{suffix}" for suffix in _IMAGE_SUFFIXES)
        return next((path for path in places if path.is_file()), None)

    def caption_of(self, id_: str) -> Path:
        """Where the caption of an id is, or would be."""
        return self.captions / f"{id_}.txt"

    def add_image(self, id_: str, picture: Picture) -> Path:
        """Put an image there unless it is: its own bytes, or upright ones where its metadata asks for a rotation."""
        if (there := self.image_of(id_)) is not None:
            return there
        data, suffix = upright(picture)
        path = self.images / f"{id_}{suffix}"
        files.write_bytes(path, data)
        return path

    def add_caption(self, id_: str, text: str) -> bool:
        """Write a caption unless there is one; True when it was written."""
        path = self.caption_of(id_)
        if path.exists():
            return False
        files.write_text(path, text + "\n")
        return True

    def captioned(self) -> list[Captioned]:
        """Every image that has a caption, in the order of their ids; none before the first was added."""
        return (
            [one for one in pairs(self.images, self.captions) if one.caption.is_file()] if self.images.is_dir() else []
        )


def read_caption(path: Path) -> str:
    """The text of a caption, which a person may have edited.

    Raises:
        UserError: It can't be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from error


def upright(picture: Picture) -> tuple[bytes, str]:
    """An image's bytes and the suffix of what they hold. One that only its metadata puts upright is encoded anew."""
    with Image.open(io.BytesIO(picture.data), formats=FORMATS) as opened:
        kind = opened.format or "PNG"
        if "rotated by EXIF" not in picture.notes:
            return picture.data, SUFFIXES[kind][0]
        turned = ImageOps.exif_transpose(opened)
        turned.info = {"icc_profile": opened.info["icc_profile"]} if "icc_profile" in opened.info else {}
        buffer = io.BytesIO()
        turned.save(buffer, kind, **({} if kind == "PNG" else {"quality": _QUALITY}))
        return buffer.getvalue(), SUFFIXES[kind][0]


def split_of(
    ids: Iterable[str], before: Mapping[str, str], share: float, alike: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Id -> TRAIN or HOLDOUT of all ids; what was assigned before stays.

    New images are held out in the order of a hash of their ids until the share is reached, so that it is no matter in which order they
    came. With a share above 0 at least one of `FEWEST` images is held out, an old one only where no image is new.

    Args:
        ids: All images.
        before: What was assigned.
        share: Of the images that are held out, 0 to 0.5.
        alike: Id -> an image that looks nearly the same: it goes where that one goes, or training would know what it is measured on.
    """
    known = sorted(set(ids), key=_lot)
    parts = {id_: before[id_] for id_ in known if id_ in before}
    new = [id_ for id_ in known if id_ not in parts]
    twins = {id_: twin for id_, twin in (alike or {}).items() if id_ in new and twin in known}
    free = [id_ for id_ in new if id_ not in twins]
    wanted = max(1, round(share * len(known))) if share > 0 and len(known) >= FEWEST else 0
    missing = wanted - sum(part == HOLDOUT for part in parts.values())
    parts |= {id_: HOLDOUT if place < missing else TRAIN for place, id_ in enumerate(free)}
    for id_ in twins:
        parts[id_] = parts.get(_last_of(twins, id_), TRAIN)
    if wanted and HOLDOUT not in parts.values():
        parts[known[0]] = HOLDOUT
    return parts


def _last_of(twins: Mapping[str, str], id_: str) -> str:
    """The image at the end of a chain of likenesses; a circle ends where it closes."""
    seen = {id_}
    while id_ in twins and twins[id_] not in seen:
        id_ = twins[id_]
        seen.add(id_)
    return id_


def _lot(id_: str) -> str:
    return hashlib.sha256(f"split {id_}".encode("utf-8", "surrogatepass")).hexdigest()


def _images_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file())
