"""Where conf/ and recipes/ are: at the top of a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def packaged(name: str) -> Path:
    """The folder `conf` or `recipes` that came with this installation."""
    inside = HERE / "packaged" / name
    return inside if inside.is_dir() else HERE.parent / name
