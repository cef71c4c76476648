"""What we made: a small record for each image of ours, so that where it came from stays known, and a base image is preferred."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.library import layout


@dataclass(frozen=True)
class MadeRecord:
    """Where an image came from; `usd` is what it cost."""

    sha256: str
    model: str
    prompt: str
    seed: int
    action: str
    made_at: str
    usd: float = 0.0


def path_of(root: Path, name: str) -> Path:
    """The record of an actor's base image."""
    return root.joinpath(layout.OWN, "made", f"{name}.json")


def read(root: Path, name: str) -> MadeRecord | None:
    """The record, or None where there is none that can be read: then the image is just an image."""
    path = path_of(root, name)
    if not path.is_file():
        return None
    try:
        value: Any = files.read_json(path)
        return MadeRecord(**value)
    except (UserError, TypeError):
        return None


def write(root: Path, name: str, record: MadeRecord) -> None:
    """Keep a record."""
    files.write_json(path_of(root, name), asdict(record))
