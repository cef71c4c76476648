"""A folder of images as people leave them: what can be opened, what is there twice, and what looks nearly the same."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from runner import files
from runner.errors import ItemError, UserError
from steps.library import pictures
from steps.library.captions import id_of

SUFFIXES = tuple(suffix for suffixes in pictures.SUFFIXES.values() for suffix in suffixes)
BYTES, PIXELS, NEAR = "bytes", "pixels", "near"
# The hash looks at 32 x 32 pixels; a JPEG decoded smaller is decoded faster.
_HASHED_SIDE = 256
# Pixels that are equal may still come out of a decoder's short cut a little different.
_SAME_PIXELS_WITHIN = 8
# Levels of 256. The hash sees no colour, and all plain images are the same to it.
_SAME_TONES_WITHIN = 32
_TONES = 8
_THREADS = 8


@dataclass(frozen=True)
class RawImage:
    """One image of the folder, and the files that hold exactly the same bytes.

    Attributes:
        id: Its id in the training set; of a file that can't be opened its shown name.
        path: The file.
        name: Its path below the folder, with control characters spelled out.
        sha256: Of its bytes; empty where it can't be opened.
        size: Width and height in pixels.
        look: Its perceptual hash (DCT, 64 bits).
        tones: Its colours when it is 8 x 8 pixels small, RGB.
        problem: Why it can't be opened.
        others: Other files with the same bytes.
        copies: Their names.
    """

    id: str
    path: Path
    name: str
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    look: int = 0
    tones: bytes = b""
    problem: str | None = None
    others: tuple[Path, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Twin:
    """An image that another one makes superfluous, or nearly.

    Attributes:
        image: The image.
        of: The one that stands for it.
        kind: PIXELS or NEAR.
        distance: Bits in which their perceptual hashes differ.
    """

    image: RawImage
    of: RawImage
    kind: str
    distance: int


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
        images: Each content once, the folder's own first and by name, those that can't be opened among them.
        others: Names of files that are no images by their suffix.
    """

    images: list[RawImage]
    others: list[str]


def look_through(folder: Path, check: Callable[[], None] = lambda: None) -> Found:
    """Open every image of a folder and those below it.

    Args:
        folder: The folder.
        check: Called before each file; raises when the work is to stop.

    Raises:
        UserError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: put images there, or name another one with raw=FOLDER")
    paths: list[Path] = []
    others: list[Path] = []
    for path in sorted(_files_in(folder), key=lambda path: (len(path.parts), path)):
        (paths if path.suffix.lower() in SUFFIXES else others).append(path)
    if not paths:
        raise UserError(f"{folder}: no image there: it takes {', '.join(SUFFIXES)}, in sub-folders too")

    def look(path: Path) -> RawImage:
        check()
        return _looked_at(folder, path)

    with ThreadPoolExecutor(_THREADS) as pool:
        images = list(pool.map(look, paths))
    return Found(_without_copies(images), [_name(folder, path) for path in others])


def twins(images: Sequence[RawImage], near: int, settled: Collection[str] = (), *, drop: bool = False) -> list[Twin]:
    """Images with the same pixels as another one, and those that look nearly the same.

    Args:
        images: Those that can be opened. The larger stands for the smaller one, the earlier for the later.
        near: Bits in which perceptual hashes may differ (of 64); 0 finds only the same pixels.
        settled: Ids that stand for others whatever their size: they have captions already.
        drop: What looks nearly like another image stands for no third one.
    """
    ordered = sorted(images, key=lambda image: (image.id not in settled, -image.size[0] * image.size[1]))
    looks = np.array([image.look for image in ordered], dtype=np.uint64)
    found: list[Twin] = []
    gone: set[int] = set()
    for index, image in enumerate(ordered):
        distances = np.bitwise_count(looks[:index] ^ looks[index])
        twin = _nearest(image, ordered, distances, gone, near)
        if twin is not None:
            found.append(twin)
            if twin.kind == PIXELS or drop:
                gone.add(index)
    return found


def _nearest(
    image: RawImage,
    ordered: Sequence[RawImage],
    distances: np.ndarray[tuple[int], np.dtype[np.uint8]],
    gone: Collection[int],
    near: int,
) -> Twin | None:
    """The image before it that has its pixels, or else the one most like it."""
    nearest: Twin | None = None
    # Of few images of a folder the hashes are near, so that the rest is looked at no further.
    close = np.flatnonzero(distances <= max(near, _SAME_PIXELS_WITHIN))
    for index in close[np.argsort(distances[close], kind="stable")].tolist():
        if index in gone:
            continue
        other, distance = ordered[index], int(distances[index])
        alike = _tones_apart(image, other) <= _SAME_TONES_WITHIN
        if alike and other.size == image.size and distance <= _SAME_PIXELS_WITHIN and _pixels(other) == _pixels(image):
            return Twin(image, other, PIXELS, distance)
        if alike and near > 0 and distance <= near and nearest is None:
            nearest = Twin(image, other, NEAR, distance)
    return nearest


def _files_in(folder: Path) -> Iterator[Path]:
    """Every file below a folder; hidden ones are left out, and links to folders are not followed."""
    for where, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        # A link to a folder is told like a file, for its images are not looked at.
        links = [name for name in below if (Path(where) / name).is_symlink()]
        yield from (Path(where) / name for name in [*names, *links] if not name.startswith("."))


def _looked_at(folder: Path, path: Path) -> RawImage:
    name = _name(folder, path)
    try:
        if not files.under(folder, path.relative_to(folder).as_posix(), name).is_file():
            return RawImage(name, path, name, problem=f"{name} is no file")
        picture = pictures.decode(pictures.read(path), name)
        small = pictures.reduced(picture, _HASHED_SIDE)
        return RawImage(
            id_of(picture.sha256), path, name, picture.sha256, picture.size, _hash_of(small), _tones_of(small)
        )
    except (UserError, ItemError) as error:
        return RawImage(name, path, name, problem=str(error))
    except OSError as error:
        return RawImage(name, path, name, problem=f"{name}: can't be read: {error.strerror}")


def _hash_of(small: Image.Image) -> int:
    import imagehash

    bits = imagehash.phash(small).hash
    return int("".join("1" if bit else "0" for bit in bits.flatten()), 2)


def _tones_of(small: Image.Image) -> bytes:
    return small.resize((_TONES, _TONES), Image.Resampling.BOX).tobytes()


def _tones_apart(one: RawImage, other: RawImage) -> float:
    """Mean difference in levels."""
    levels = (np.frombuffer(image.tones, dtype=np.uint8).astype(np.int16) for image in (one, other))
    return float(np.abs(next(levels) - next(levels)).mean())


def _pixels(image: RawImage) -> str:
    return hashlib.sha256(pictures.load(image.path).image.tobytes()).hexdigest()


def _without_copies(images: Sequence[RawImage]) -> list[RawImage]:
    """Each content once, under the name that comes first."""
    kept: dict[str, RawImage] = {}
    for image in images:
        first = kept.setdefault(image.id, image)
        if first is not image:
            kept[image.id] = replace(first, others=(*first.others, image.path), copies=(*first.copies, image.name))
    return list(kept.values())


def _name(folder: Path, path: Path) -> str:
    """A file's path below a folder as a person can read it, on one line."""
    return shown(path.relative_to(folder).as_posix())


def shown(text: str) -> str:
    """A text with control characters, and bytes that are not UTF-8, spelled out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def quoted(path: Path) -> str:
    """A path as one word on one line for bash and zsh: what can't be printed, or is not UTF-8, is told byte by byte."""
    if (text := str(path)).isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_octal(byte) for byte in os.fsencode(path)) + "'"


def _octal(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and chr(byte) not in "'\\"
    return chr(byte) if plain else f"\\{byte:03o}"
