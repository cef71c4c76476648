"""The trash of a library: what actions moved away, and how it goes for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner import files
from runner.errors import UserError
from steps.library import layout
from steps.library.mirror import Storage

AGE = re.compile(r"(\d{1,5})\s*(d|h|w)")
HOURS = {"h": 1, "d": 24, "w": 168}


@dataclass(frozen=True)
class TrashEntry:
    """What one action moved away.

    Attributes:
        objects: How many objects of the mirror are in the mirror's own trash.
        mirror: Where that is; empty where no object is.
    """

    folder: Path
    action: str
    actor_name: str
    run: str
    moved_at: datetime
    complete: bool
    count: int
    size: int
    objects: int = 0
    mirror: str = ""


def entries(root: Path) -> Iterator[TrashEntry]:
    """What is in the trash, oldest first. A folder that does not explain itself is left alone."""
    found = []
    for path in sorted((root / layout.OWN / "trash").glob("*/entry.json")):
        try:
            about = files.read_json(path)
            moved_at = datetime.fromisoformat(about["moved_at"])
            sizes = [entry["size"] for entry in about["files"]]
            found.append(
                TrashEntry(
                    path.parent,
                    about["action"],
                    about["actor_name"],
                    about["run"],
                    moved_at,
                    bool(about["complete"]),
                    len(sizes),
                    sum(sizes),
                    len(about["keys"]),
                    str(about.get("mirror", "")),
                )
            )
        except (UserError, KeyError, TypeError, ValueError):
            continue
    yield from sorted(found, key=lambda entry: (entry.moved_at, entry.folder.name))


def parse_age(text: str) -> timedelta:
    """A time like 30d, 12h or 2w.

    Raises:
        UserError: It is none.
    """
    found = AGE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"--older-than {text!r}: give a number of days, hours or weeks: 30d, 12h, 2w")
    return timedelta(hours=int(found[1]) * HOURS[found[2]])


def old(root: Path, age: timedelta) -> list[TrashEntry]:
    """Entries of finished actions that are older than `age`; those of an action that is under way are still needed."""
    limit = datetime.now(UTC) - age
    return [entry for entry in entries(root) if entry.complete and entry.moved_at <= limit]


def empty(entry: TrashEntry, storage: Storage | None = None) -> None:
    """Delete an entry for good. Its explanation goes last, so that a cut-off deletion is seen and can be repeated.

    Args:
        entry: What goes.
        storage: The mirror whose trash holds the entry's objects, if it has any.
    """
    if entry.objects:
        if storage is None:
            raise ValueError(f"{entry.mirror} has to be emptied too")
        storage.empty_trash(entry.folder.name)
    for child in sorted(entry.folder.iterdir()):
        if child.name == "entry.json":
            continue
        if child.is_dir():
            files.remove_tree(child)
        else:
            files.remove(child)
    files.remove_tree(entry.folder)
