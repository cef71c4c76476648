"""Small copies of images for reports: the originals may be replaced, and a report must still show them."""

from __future__ import annotations

from pathlib import Path

from runner import files
from runner.errors import ItemError
from steps.library import pictures

LONG_SIDE = 480


def thumbnail(source: Path, folder: Path, name: str) -> str | None:
    """Write a JPEG of at most 480 pixels; returns its file name, or None when the source can't be shown."""
    try:
        image = pictures.reduced(pictures.load(source), LONG_SIDE)
    except (ItemError, OSError):
        return None
    target = f"{name}.jpg"
    files.write_bytes(folder / target, pictures.encode_jpeg(image, quality=85))
    return target
