"""The balance plan: a JSON file that a person reads, may cut down, and hands to `execute_training`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.files import plain_name, read_json
from steps.library import layout, training
from steps.library.documents import check
from steps.library.plans import (
    KEYS_SCHEMA,
    LIBRARY_SCHEMA,
    LOOKED_AT_SCHEMA,
    MAKE_SCHEMA,
    SHA256,
    WHOLE,
    Making,
    PlannedKey,
    check_keys,
    making,
)

PLAN = "balance_plan.json"
VERSION = 1
COUNTS: Mapping[str, Any] = {"type": "object", "additionalProperties": WHOLE}
FILE: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
CLASS: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["plan_id", "version", "library", "generated_at", "total_actors_checked", "actions_needed", "actions"],
    "properties": {
        "plan_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "maxLength": 32},
        "version": {"const": VERSION},
        "library": LIBRARY_SCHEMA,
        "generated_at": {"type": "string"},
        "total_actors_checked": WHOLE,
        "actions_needed": WHOLE,
        "actions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["actor_id", "actor_name", "base_image", "manifest_sha256", "stays", "delete", "generate"],
                "additionalProperties": False,
                "properties": {
                    "actor_id": WHOLE,
                    "actor_name": {"type": "string"},
                    "before": COUNTS,
                    "target": COUNTS,
                    "after": COUNTS,
                    "tolerance": {"type": "number", "minimum": 0, "maximum": 100},
                    "min_quality": {"type": "integer", "minimum": 0, "maximum": 10},
                    "base_image": LOOKED_AT_SCHEMA,
                    "manifest_sha256": {"anyOf": [{"type": "null"}, SHA256]},
                    "stays": {"type": "array", "items": FILE},
                    "delete": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["image_number", "file", "type", "quality", "why", "sha256", "size", "keys"],
                            "additionalProperties": False,
                            "properties": {
                                "image_number": WHOLE,
                                "file": FILE,
                                "type": {"anyOf": [{"type": "null"}, CLASS]},
                                "quality": {"type": "integer", "minimum": 0, "maximum": 10},
                                "why": {"type": "string"},
                                "condemned": {"type": "boolean"},
                                "sha256": {"anyOf": [{"type": "null"}, SHA256]},
                                "size": {"type": ["integer", "null"], "minimum": 0},
                                "keys": KEYS_SCHEMA,
                            },
                        },
                    },
                    "generate": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["file", "type", "make"],
                            "additionalProperties": False,
                            "properties": {"file": FILE, "type": CLASS, "make": MAKE_SCHEMA},
                        },
                    },
                },
            },
        },
    },
}


@dataclass(frozen=True)
class Leaving:
    """A training image that goes.

    Attributes:
        number: Its number on the composite.
        file: Its name in the actor's training_data folder.
        kind: Its class, as it was seen.
        quality: 0 for a broken file or an exact copy, else 1 to 10.
        why: For people.
        condemned: For its own quality, and not because there are too many of its class.
        sha256: Of the file on disk; None where only the mirror has it.
        size: Bytes of that file.
        keys: Where the mirror has it.
    """

    number: int
    file: str
    kind: str | None
    quality: int
    why: str
    condemned: bool
    sha256: str | None
    size: int | None
    keys: tuple[PlannedKey, ...] = ()


@dataclass(frozen=True)
class Coming:
    """A training image that is to be made."""

    file: str
    kind: str
    make: Making


@dataclass(frozen=True)
class PlannedBalance:
    """What happens to one actor's training images.

    Attributes:
        before: Usable images by class.
        target: Images by class as they are to be.
        after: Images by class when all of it is done.
        tolerance: Percentage points that a class's share may differ.
        min_quality: Images below it go in any case: a new one must be as good.
        base: The base image that new images stay true to (path and SHA-256); None where none is needed.
        manifest_sha256: Of manifest.json as the plan saw it; None where there was none.
        stays: Files of training images that stay: a plan is void once there are others.
        goes: Images that go.
        comes: Images that come.
    """

    actor_id: int
    actor_name: str
    before: Mapping[str, int]
    target: Mapping[str, int]
    after: Mapping[str, int]
    tolerance: float
    min_quality: int
    base: tuple[str, str] | None
    manifest_sha256: str | None
    stays: tuple[str, ...]
    goes: tuple[Leaving, ...]
    comes: tuple[Coming, ...]

    def id_in(self, plan_id: str) -> str:
        """Names this action for good; 24 hexadecimal digits, so that it can name a folder."""
        return hashlib.sha256(f"{plan_id}/{self.actor_name}/balance".encode()).hexdigest()[:24]

    def row(self) -> dict[str, Any]:
        """As in the file."""
        return {
            "actor_id": self.actor_id,
            "actor_name": self.actor_name,
            "before": dict(self.before),
            "target": dict(self.target),
            "after": dict(self.after),
            "tolerance": self.tolerance,
            "min_quality": self.min_quality,
            "base_image": None if self.base is None else {"path": self.base[0], "sha256": self.base[1]},
            "manifest_sha256": self.manifest_sha256,
            "stays": list(self.stays),
            "delete": [_leaving_row(image) for image in self.goes],
            "generate": [{"file": new.file, "type": new.kind, "make": asdict(new.make)} for new in self.comes],
        }


@dataclass(frozen=True)
class BalancePlan:
    """A plan as read from its file."""

    id: str
    library_id: str
    library_path: str
    actions: tuple[PlannedBalance, ...]


def read_balance_plan(path: Path) -> BalancePlan:
    """Read a plan that a person may have edited.

    Raises:
        UserError: Not a plan, or one with names or keys that lead elsewhere; with the JSON pointer.
    """
    document = read_json(path)
    check(document, SCHEMA, str(path))
    actions = []
    seen: dict[str, int] = {}
    for index, row in enumerate(document["actions"]):
        where = f"{path}, /actions/{index}"
        name = plain_name(row["actor_name"], f"{where}/actor_name")
        if (first := seen.setdefault(layout.folded(name), index)) != index:
            raise UserError(f"{where}: {name!r} stands at /actions/{first} already: one action an actor")
        _check_files(row, where)
        check_keys([key for image in row["delete"] for key in image["keys"]], f"actors/{name}/training_data/", where)
        actions.append(_action(row))
    return BalancePlan(document["plan_id"], document["library"]["id"], document["library"]["path"], tuple(actions))


def _check_files(row: Mapping[str, Any], where: str) -> None:
    """Each file is a training image by its name, and named once: what goes can't stay, and nothing comes where something is."""
    seen: dict[str, str] = {}
    for part in ("stays", "delete", "generate"):
        for index, entry in enumerate(row[part]):
            here = f"{where}/{part}/{index}"
            file = plain_name(entry if part == "stays" else entry["file"], here)
            if not training.is_image(file):
                raise UserError(f"{here}: {file!r} is no training image by its name")
            if (first := seen.setdefault(layout.folded(file), here)) != here:
                raise UserError(f"{here}: {file!r} stands at {first} already")
            if part == "delete" and (entry["sha256"] is None) != (entry["size"] is None):
                raise UserError(f"{here}: sha256 and size are of the file on disk: give both, or null for both")
    if row["generate"] and row["base_image"] is None:
        raise UserError(f"{where}/base_image: null, but {len(row['generate'])} images are to be made from it")


def _action(row: Mapping[str, Any]) -> PlannedBalance:
    base = row["base_image"]
    return PlannedBalance(
        actor_id=row["actor_id"],
        actor_name=row["actor_name"],
        before=row.get("before", {}),
        target=row.get("target", {}),
        after=row.get("after", {}),
        tolerance=row.get("tolerance", 0.0),
        min_quality=row.get("min_quality", 0),
        base=None if base is None else (base["path"], base["sha256"]),
        manifest_sha256=row["manifest_sha256"],
        stays=tuple(row["stays"]),
        goes=tuple(map(_leaving, row["delete"])),
        comes=tuple(Coming(new["file"], new["type"], making(new["make"])) for new in row["generate"]),
    )


def _leaving(row: Mapping[str, Any]) -> Leaving:
    return Leaving(
        number=row["image_number"],
        file=row["file"],
        kind=row["type"],
        quality=row["quality"],
        why=row["why"],
        condemned=row.get("condemned", False),
        sha256=row["sha256"],
        size=row["size"],
        keys=tuple(PlannedKey(key["key"], key["size"], key["etag"]) for key in row["keys"]),
    )


def _leaving_row(image: Leaving) -> dict[str, Any]:
    return {
        "image_number": image.number,
        "file": image.file,
        "type": image.kind,
        "quality": image.quality,
        "why": image.why,
        "condemned": image.condemned,
        "sha256": image.sha256,
        "size": image.size,
        "keys": [asdict(key) for key in image.keys],
    }
