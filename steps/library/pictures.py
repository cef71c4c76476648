"""Images from disk, opened safely: upright, RGB, 8 bits, with what was odd about them said."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from runner.errors import ItemError

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",)}
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
ORIENTATION = 0x0112
# 64 megapixels: four times the largest image that today's generators make.
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 1024 * 1024
_QUIET_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
"""The filter as Python keeps it: what Pillow warns of in a file is told in other ways, or of no use."""


class UnreadablePicture(ItemError):
    """The file is not an image that we open: another format, or too large to be safe. It may well be a good one."""


class NoPicture(UnreadablePicture):
    """The file is no PNG, JPEG or WebP at all."""


class BrokenPicture(ItemError):
    """The file is empty, or a PNG, JPEG or WebP that is cut off or corrupt: no viewer can show it whole."""


@dataclass(frozen=True)
class Picture:
    """An image that is known to be whole.

    Attributes:
        data: The file's bytes.
        size: Width and height in pixels, EXIF rotation applied.
        sha256: Of the file's bytes, hexadecimal.
        notes: What was odd about the file ("CMYK", "named .png but holds JPEG"), for reports.
        bare: A JPEG without metadata, upright, in RGB or grey: its bytes may be handed on as they are.
    """

    data: bytes = field(repr=False)
    size: tuple[int, int]
    sha256: str
    notes: tuple[str, ...] = ()
    bare: bool = False

    @property
    def image(self) -> Image.Image:
        """The pixels: RGB, 8 bits a channel, EXIF rotation applied, transparency laid on white. Decoded once."""
        # Not functools.cached_property: its lock is one for all pictures, and threads would decode in turn.
        found: Image.Image | None = self.__dict__.get("_pixels")
        if found is None:
            with _opened(self.data) as opened:
                found = self.__dict__["_pixels"] = _rgb(ImageOps.exif_transpose(opened))
        return found

    @classmethod
    def of(cls, image: Image.Image) -> Picture:
        """From pixels."""
        return decode(encode_jpeg(image), "a picture")


@dataclass(frozen=True)
class Small:
    """A small copy of an image that is known to be whole.

    Attributes:
        image: RGB, 8 bits a channel, EXIF rotation applied, transparency laid on white.
        size: Width and height of the original in pixels, EXIF rotation applied.
        notes: As `Picture.notes`.
    """

    image: Image.Image = field(repr=False)
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


class _Whole(NamedTuple):
    """An image that is open and was decoded to its end, with what is known of the original."""

    opened: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...]
    bare: bool


def load(path: Path) -> Picture:
    """Read an image file and check that it is whole.

    Raises:
        BrokenPicture: Empty, cut off or corrupt.
        UnreadablePicture: Not PNG, JPEG or WebP, or a decompression bomb.
        OSError: The file can't be read.
    """
    return decode(read(path), path.name)


def read(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadablePicture: It is too large to be read.
        OSError: The file can't be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnreadablePicture(f"{path.name} has {size / 2**20:.0f} MiB: at most {MAX_BYTES // 2**20} are opened")
    return path.read_bytes()


def decode(data: bytes, name: str) -> Picture:
    """Check the bytes of an image; `name` is used for messages and to say when a suffix lies. Raises as `load`."""
    # A JPEG is read to its end also at an eighth of its size, many times faster: whoever wants the pixels decodes them.
    with _whole(data, name, 1) as whole:
        return Picture(data, whole.size, hashlib.sha256(data).hexdigest(), whole.notes, whole.bare)


def shrink(data: bytes, name: str, long_side: int) -> Small:
    """Check the bytes of an image and make a small copy, in one decode; raises as `load`.

    Args:
        data: The file's bytes.
        name: For messages, and to say when a suffix lies.
        long_side: Pixels that the copy has at most; a smaller image keeps its size.
    """
    with _whole(data, name, long_side) as whole:
        image = _small(whole.opened, long_side)
        return Small(image, whole.size, whole.notes)


def reduced(picture: Picture, long_side: int) -> Image.Image:
    """The pixels with at most `long_side` on the long side, for thumbnails: a JPEG is decoded at a reduced size, many times faster."""
    with _opened(picture.data) as opened:
        _draft(opened, long_side)
        return _small(opened, long_side)


def as_jpeg(picture: Picture, *, long_side: int, quality: int) -> bytes:
    """A JPEG of at most `long_side` pixels without metadata: the file's own bytes where they are that, or it is encoded."""
    if picture.bare and max(picture.size) <= long_side:
        return picture.data
    image = picture.image
    if max(image.size) > long_side:
        image = image.copy()
        image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    return encode_jpeg(image, quality)


def encode_jpeg(image: Image.Image, quality: int = 95) -> bytes:
    """The image as a baseline JPEG without metadata."""
    buffer = io.BytesIO()
    bare = image.convert("RGB")
    # Pillow would write the comment of the file that it came from.
    bare.info = {}
    bare.save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return buffer.getvalue()


@contextlib.contextmanager
def _whole(data: bytes, name: str, long_side: int) -> Iterator[_Whole]:
    """Decode an image to its end, a JPEG at the smallest size that has `long_side` pixels; raises as `load`."""
    if not data:
        raise BrokenPicture(f"{name} is empty (0 bytes)")
    try:
        opened = _opened(data)
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(f"{name} is a decompression bomb: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        if data.startswith(SIGNATURES):
            raise BrokenPicture(f"{name} is corrupt: its header can't be read") from error
        raise NoPicture(f"{name} is not a PNG, JPEG or WebP image") from error
    with opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise UnreadablePicture(f"{name} is a decompression bomb: {width} x {height} pixels, over {MAX_PIXELS:,}")
        try:
            # Already asking for EXIF reads a PNG to its end.
            notes = tuple(_oddities(opened, Path(name).suffix))
            bare = _bare(opened)
            if opened.getexif().get(ORIENTATION, 1) > 4:
                width, height = height, width
            _draft(opened, long_side)
            opened.load()
        except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise BrokenPicture(f"{name} is cut off or corrupt: {error}") from error
        yield _Whole(opened, (width, height), notes, bare)


def _draft(opened: Image.Image, long_side: int) -> None:
    """Let a JPEG be decoded at a half, a quarter or an eighth of its size; other formats know no such thing."""
    scale = min(1.0, long_side / max(opened.size))
    opened.draft("RGB", (max(1, round(opened.width * scale)), max(1, round(opened.height * scale))))


def _small(opened: Image.Image, long_side: int) -> Image.Image:
    """Upright RGB pixels with at most `long_side` on the long side."""
    rotated = opened.getexif().get(ORIENTATION, 1) != 1
    image = _rgb(ImageOps.exif_transpose(opened) if rotated else opened)
    if max(image.size) > long_side:
        image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _opened(data: bytes) -> Image.Image:
    # Pillow announces images over its own limit by a warning; ours is checked before any pixel is decoded. The filter stays: filters
    # are the process's, and threads that set them aside put back each other's.
    if tuple(warnings.filters[:1]) != (_QUIET_PILLOW,):
        warnings.filterwarnings("ignore", module=_QUIET_PILLOW[3].pattern)
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _bare(image: Image.Image) -> bool:
    """Plain baseline or progressive JPEG with no metadata beside its density and colour transform."""
    known = {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "adobe",
        "adobe_transform",
        "progressive",
        "progression",
    }
    return image.format == "JPEG" and image.mode in ("RGB", "L") and set(image.info) <= known


def _oddities(image: Image.Image, suffix: str) -> list[str]:
    notes = []
    kind = image.format or ""
    if suffix.lower() not in SUFFIXES.get(kind, ()):
        notes.append(f"named {suffix or 'without suffix'} but holds {kind}")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"animated ({getattr(image, 'n_frames', 1)} frames): the first is judged")
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.append("rotated by EXIF")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        notes.append("transparent: laid on white")
    named = {"CMYK": "CMYK", "P": "palette", "L": "greyscale", "1": "black and white"}
    if image.mode.startswith("I") or image.mode == "F":
        notes.append("16-bit")
    elif image.mode in named:
        notes.append(named[image.mode])
    return notes


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # 16-bit greyscale: Pillow would clip at 255 instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")
