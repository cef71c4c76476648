"""The study's images: pixels encoded anew and nothing else, all of one shape, one size in bytes and one date."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from runner import files
from runner.errors import ItemError, UserError
from steps.library import pictures

# Up to here lossless files are small; above, JPEG at 95 without chroma subsampling, which eyes don't tell from it.
LOSSLESS_SIDE = 512
QUALITY = 95
# 2001-01-01 UTC, for every file: the order of writing would tell who belongs together.
DATE = 978307200
CHECK_SIZE = (480, 480)
_PAPER, _INK = "#f6f3ec", "#20262b"
_LINE = 18


def suffix_for(long_side: int) -> str:
    """The suffix of a study whose largest frame has this many pixels on its long side."""
    return ".png" if long_side <= LOSSLESS_SIDE else ".jpg"


def box_of(paths: Iterable[Path], long_side: int) -> tuple[int, int]:
    """The size that all frames are brought to: the smallest width and height among them, `long_side` at most.

    Raises:
        UserError: One is not there or no image.
    """
    sizes = {_load(path).size for path in paths}
    width, height = (min(size[side] for size in sizes) for side in (0, 1))
    scale = min(1.0, long_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def write_images(folder: Path, images: Mapping[str, Path], box: tuple[int, int], checks: Mapping[str, str]) -> None:
    """Write all images of a study.

    Args:
        folder: Where to; new.
        images: By file name below it the image to show there.
        box: Width and height of every one, pixels; another shape is laid on grey.
        checks: By file name the words to draw.
    """
    written = []
    # In the order of their names, which tells nothing.
    for name in sorted([*images, *checks]):
        shown = _framed(_load(images[name]).image, box) if name in images else _card(checks[name])
        files.write_bytes(folder / name, _encoded(shown, Path(name).suffix))
        written.append(folder / name)
    _make_alike(written)


def _make_alike(paths: list[Path]) -> None:
    """Fill every file up to the length of the longest with zeros, which no decoder looks at; a length would tell who drew it."""
    longest = max(path.stat().st_size for path in paths)
    for path in paths:
        with path.open("r+b") as file:
            file.truncate(longest)
            os.fsync(file.fileno())
        os.utime(path, (DATE, DATE))


def _load(path: Path) -> pictures.Picture:
    try:
        return pictures.load(path)
    except ItemError as error:
        raise UserError(f"{path}: {error}: draw it again, or take it out") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: its run has lost it; draw it again") from error


def _framed(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    return image if image.size == box else ImageOps.pad(image, box, Image.Resampling.LANCZOS, color="#808080")


def _encoded(image: Image.Image, suffix: str) -> bytes:
    """The pixels alone: a copy, for Pillow writes along what it knows of an image's origin."""
    bare = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    if suffix == ".jpg":
        return pictures.encode_jpeg(bare, QUALITY)
    buffer = io.BytesIO()
    bare.save(buffer, "PNG")
    return buffer.getvalue()


def _card(words: str) -> Image.Image:
    """Words as an image: an attention check."""
    card = Image.new("RGB", CHECK_SIZE, _PAPER)
    font = ImageFont.load_default(size=40)
    text = "\n".join(_lines(words))
    centre = (CHECK_SIZE[0] // 2, CHECK_SIZE[1] // 2)
    ImageDraw.Draw(card).multiline_text(centre, text, _INK, font, anchor="mm", align="center", spacing=14)
    return card


def _lines(words: str) -> Iterator[str]:
    line = ""
    for word in words.split():
        if line and len(line) + len(word) >= _LINE:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line
