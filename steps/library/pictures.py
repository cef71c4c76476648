"""Images from disk, decoded safely: upright, RGB, 8 bits, with what was odd about them said."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from runner.errors import ItemError

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",)}
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF")
# 64 megapixels: four times the largest image that today's generators make.
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 1024 * 1024


class UnreadablePicture(ItemError):
    """The file is not an image that we open: another format, or too large to be safe. It may well be a good one."""


class BrokenPicture(ItemError):
    """The file is empty, or a PNG, JPEG or WebP that is cut off or corrupt: no viewer can show it whole."""


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        image: RGB, 8 bits a channel, EXIF rotation applied, transparency laid on white.
        sha256: Of the file's bytes, hexadecimal.
        notes: What was odd about the file ("CMYK", "named .png but holds JPEG"), for reports.
    """

    image: Image.Image
    sha256: str
    notes: tuple[str, ...] = ()


def load(path: Path, *, long_side: int | None = None) -> Picture:
    """Decode an image file.

    Args:
        path: The file.
        long_side: For thumbnails: a JPEG may be decoded at a reduced size that still has this many pixels, which is many times faster.

    Raises:
        BrokenPicture: Empty, cut off or corrupt.
        UnreadablePicture: Not PNG, JPEG or WebP, or a decompression bomb.
        OSError: The file can't be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnreadablePicture(f"{path.name} has {size / 2**20:.0f} MiB: at most {MAX_BYTES // 2**20} are opened")
    return decode(path.read_bytes(), path.name, long_side=long_side)


def decode(data: bytes, name: str, *, long_side: int | None = None) -> Picture:
    """Decode the bytes of an image; `name` is used for messages and to say when a suffix lies. Raises as `load`."""
    if not data:
        raise BrokenPicture(f"{name} is empty (0 bytes)")
    try:
        # Pillow announces images over its own limit by a warning; ours is checked below, before any pixel is decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(f"{name} is a decompression bomb: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        if data.startswith(SIGNATURES):
            raise BrokenPicture(f"{name} is corrupt: its header can't be read") from error
        raise UnreadablePicture(f"{name} is not a PNG, JPEG or WebP image") from error
    with opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise UnreadablePicture(f"{name} is a decompression bomb: {width} x {height} pixels, over {MAX_PIXELS:,}")
        if long_side is not None:
            opened.draft("RGB", (long_side, long_side))
        try:
            # Already asking for EXIF reads a PNG to its end.
            notes = tuple(_oddities(opened, Path(name).suffix))
            upright = ImageOps.exif_transpose(opened)
            image = _rgb(upright)
        except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise BrokenPicture(f"{name} is cut off or corrupt: {error}") from error
    return Picture(image=image, sha256=hashlib.sha256(data).hexdigest(), notes=notes)


def encode_jpeg(image: Image.Image, quality: int = 95) -> bytes:
    """The image as a baseline JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return buffer.getvalue()


def _oddities(image: Image.Image, suffix: str) -> list[str]:
    notes = []
    kind = image.format or ""
    if suffix.lower() not in SUFFIXES.get(kind, ()):
        notes.append(f"named {suffix or 'without suffix'} but holds {kind}")
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"animated ({getattr(image, 'n_frames', 1)} frames): the first is judged")
    if image.getexif().get(0x0112, 1) != 1:
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
