"""An actor's training images: which files they are, and the manifest that says where each came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from runner.errors import ItemError, UserError
from runner.files import plain_name, under
from steps.library import layout
from steps.library.actors import Actor
from steps.library.documents import read_checked

VERSION = 1
SUFFIXES = (".png", ".jpg", ".jpeg")
# Files that older tools left beside the images, some of them under an image's suffix.
NOT_IMAGES = ("response", "request", "metadata")
# More digits are no number of ours: a time stamp, say.
NUMBER = re.compile(r"_(\d{1,9})\.")
NUMBERS_END = 10**9
# So many numbers must be free after the one that is counted on from.
ROOM = 10_000
TEXT_OR_NULL: Mapping[str, Any] = {"type": ["string", "null"], "maxLength": 100_000}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Training images of one actor",
    "type": "object",
    "required": ["version", "actor_id", "actor_name", "images"],
    "properties": {
        "version": {"const": VERSION},
        "actor_id": {"type": "string", "pattern": r"^[0-9]{4,9}(?!\n)$"},
        "actor_name": {"type": "string"},
        "images": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "minLength": 1, "maxLength": 255},
                    "sha256": {
                        "anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64}]
                    },
                    "prompt": TEXT_OR_NULL,
                    "class": TEXT_OR_NULL,
                    "seed": {"type": ["integer", "null"], "minimum": 0},
                    "model": TEXT_OR_NULL,
                    "usd": {"type": ["number", "null"], "minimum": 0},
                    "made_at": TEXT_OR_NULL,
                    "url": TEXT_OR_NULL,
                    "source": TEXT_OR_NULL,
                },
            },
        },
        "unmapped": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "pointer", "why"],
                "properties": {"source": {"type": "string"}, "pointer": {"type": "string"}, "why": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True)
class TrainingImage:
    """One training image as the manifest has it; what nobody knows is None.

    Attributes:
        file: Its name in the actor's training_data folder.
        sha256: Of the file's bytes, as they were when the entry was written.
        kind: The class that it was made to be, "class" in the file.
        usd: What it cost.
        made_at: ISO time.
        url: Where the mirror holds it. One that the manifest already has is kept as it is, whatever the storage's settings say.
        source: What the entry is from: "prompt_metadata.json", "response.json", "disk" (found there), "made" (by us).
        extra: What else the entry holds, kept as it is.
    """

    file: str
    sha256: str | None = None
    prompt: str | None = None
    kind: str | None = None
    seed: int | None = None
    model: str | None = None
    usd: float | None = None
    made_at: str | None = None
    url: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """As in the file."""
        known = {_key(name): getattr(self, name) for name in _FIELDS}
        return {**known, **self.extra}


@dataclass(frozen=True)
class Unmapped:
    """A piece of a legacy file that no image could be given to.

    Attributes:
        source: The legacy file's name.
        pointer: Where in it (JSON pointer).
        why: What could not be understood.
        value: The piece itself; for a file that is no JSON, its beginning.
    """

    source: str
    pointer: str
    why: str
    value: Any = None


@dataclass(frozen=True)
class TrainingManifest:
    """training_data/manifest.json."""

    actor_id: int
    actor_name: str
    images: tuple[TrainingImage, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As in the file."""
        return {
            "version": VERSION,
            "actor_id": f"{self.actor_id:04d}",
            "actor_name": self.actor_name,
            "images": [image.row() for image in self.images],
            "unmapped": [
                {"source": u.source, "pointer": u.pointer, "why": u.why, "value": u.value} for u in self.unmapped
            ],
            **self.extra,
        }

    def text(self) -> str:
        """The file's text, the same for the same manifest."""
        text = json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # Half a surrogate pair, which a manifest may hold as \\ud83d, becomes JSON's own escape again: no file takes it otherwise.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def entry(self, file: str) -> TrainingImage | None:
        """What it says of a file."""
        return next((image for image in self.images if image.file == file), None)

    def changed(self, *, without: Iterable[str] = (), plus: Sequence[TrainingImage] = ()) -> TrainingManifest:
        """The manifest without the entries of some files and with new ones; the new entry of a file replaces its old one."""
        gone = {*without, *(image.file for image in plus)}
        return replace(self, images=(*(image for image in self.images if image.file not in gone), *plus))


def manifest_path(root: Path, name: str) -> Path:
    """Where an actor's manifest is."""
    return layout.training_folder(root, name) / "manifest.json"


def is_image(name: str) -> bool:
    """Whether a file of training_data is a training image, by its name. What is hidden ("._1.png", left by macOS) is none."""
    folded = name.casefold()
    return folded.endswith(SUFFIXES) and not folded.startswith(".") and not any(word in folded for word in NOT_IMAGES)


def images_on_disk(root: Path, actor: Actor, *, odd: bool = False) -> list[Path]:
    """The training images of an actor, by number, then by name. Links are no images: they are neither followed nor removed.

    Args:
        root: The library.
        actor: Whose.
        odd: Also those whose names no manifest can hold.

    Raises:
        ItemError: The folder is a link that leads out of the library, can't be read, or (unless `odd`) holds a name that no manifest can.
    """
    folder = layout.training_folder(root, actor.name)
    if not folder.is_dir():
        return []
    try:
        under(root, folder.relative_to(root).as_posix(), f"{actor.name}: training_data")
        found = [path for path in folder.iterdir() if is_image(path.name) and path.is_file() and not path.is_symlink()]
        if not odd:
            _check_names(sorted(path.name for path in found), folder)
    except UserError as error:
        raise ItemError(str(error)) from error
    except OSError as error:
        raise ItemError(f"{folder} can't be read: {error.strerror}") from error
    return sorted(found, key=lambda path: order_of(path.name))


def _check_names(names: Sequence[str], folder: Path) -> None:
    """Names must be such that a manifest, a plan and every disk can tell them apart."""
    seen: dict[str, str] = {}
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(f"{folder}: {name!a} is not UTF-8, so no manifest can name it: rename it") from error
        try:
            plain_name(name, str(folder))
        except UserError as error:
            raise UserError(f"{error}: rename it") from error
        if (first := seen.setdefault(layout.folded(name), name)) != name:
            raise UserError(
                f"{folder}: {first!r} and {name!r} are one file to disks that don't know case or forms of accents: rename one"
            )


def order_of(name: str) -> tuple[int, str]:
    """The key that training images are sorted by: those without a number last."""
    number = number_of(name)
    return (2**31 if number is None else number, name)


def number_of(name: str) -> int | None:
    """The number in a file's name, of nine digits at most: 13 for "0001_european_20_female_13.jpg"."""
    found = NUMBER.findall(name)
    return int(found[-1]) if found else None


def highest_number(names: Iterable[str]) -> int:
    """The highest number in any of the names, 0 where there is none: the next images get those after it.

    One that leaves no `ROOM` below the end of all numbers is passed over, for the next highest with room above it.
    """
    numbers = sorted({0, *(number for name in names if (number := number_of(name)) is not None)}, reverse=True)
    with_room = (one for one, above in zip(numbers, [NUMBERS_END, *numbers], strict=False) if above - one > ROOM)
    return next(with_room, 0)


def read_manifest(root: Path, actor: Actor) -> TrainingManifest | None:
    """An actor's manifest, or None where there is none.

    Raises:
        ItemError: It is broken, of another version or of another actor, or names files that are no plain names; with the JSON pointer.
    """
    path = manifest_path(root, actor.name)
    if not path.is_file():
        return None
    try:
        return _manifest(read_checked(path, SCHEMA), actor, path)
    except UserError as error:
        raise ItemError(str(error)) from error


def _manifest(document: Mapping[str, Any], actor: Actor, path: Path) -> TrainingManifest:
    if document["actor_name"] != actor.name:
        raise UserError(f"{path}, /actor_name: is the manifest of {document['actor_name']!r}")
    if int(document["actor_id"]) != actor.id:
        raise UserError(
            f"{path}, /actor_id: is {document['actor_id']}, and {actor.name} is {actor.id:04d} in {layout.ACTORS}: correct the one that is wrong"
        )
    seen: dict[str, int] = {}
    images = []
    for index, row in enumerate(document["images"]):
        file = plain_name(row["file"], f"{path}, /images/{index}/file")
        if (first := seen.setdefault(layout.folded(file), index)) != index:
            raise UserError(f"{path}, /images/{index}/file: {file!r} stands at /images/{first} already")
        images.append(_image(row))
    known = {"version", "actor_id", "actor_name", "images", "unmapped"}
    return TrainingManifest(
        actor.id,
        actor.name,
        tuple(images),
        tuple(Unmapped(u["source"], u["pointer"], u["why"], u.get("value")) for u in document.get("unmapped", ())),
        {key: value for key, value in document.items() if key not in known},
    )


def _image(row: Mapping[str, Any]) -> TrainingImage:
    known: dict[str, Any] = {name: row.get(_key(name)) for name in _FIELDS}
    extra = {key: value for key, value in row.items() if key not in {_key(name) for name in _FIELDS}}
    return TrainingImage(**known, extra=extra)


def _key(name: str) -> str:
    """`class` is a word of Python's."""
    return "class" if name == "kind" else name


_FIELDS = tuple(entry.name for entry in fields(TrainingImage) if entry.name != "extra")
