"""The action plan: a JSON file that a person reads, may cut down, and hands to `execute`."""

from __future__ import annotations

import hashlib
import reprlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from runner.errors import UserError
from runner.files import MAX_PATH, plain_name, read_json
from steps.library import layout
from steps.library.documents import check

PLAN = "action_plan.json"
VERSION = 1
SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64}
WHOLE = {"type": "integer", "minimum": 0}
# Of the image that was looked at, or null where there was none.
LOOKED_AT_SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {"type": "null"},
        {
            "type": "object",
            "required": ["path", "sha256"],
            "properties": {"path": {"type": "string"}, "sha256": SHA256},
        },
    ]
}
KEYS_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["key", "size", "etag"],
        "properties": {"key": {"type": "string"}, "size": WHOLE, "etag": {"type": ["string", "null"]}},
    },
}
MAKE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["prompt", "width", "height", "steps", "seed"],
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 20_000},
        "width": {"type": "integer", "minimum": 64, "maximum": 4096},
        "height": {"type": "integer", "minimum": 64, "maximum": 4096},
        "steps": {"type": "integer", "minimum": 1, "maximum": 200},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    },
}
LIBRARY_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["id", "path"],
    "properties": {"id": {"type": "string"}, "path": {"type": "string"}},
}

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": [
        "plan_id",
        "version",
        "library",
        "generated_at",
        "total_actors_checked",
        "actions_needed",
        "summary",
        "actions",
    ],
    "properties": {
        "plan_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "maxLength": 32},
        "version": {"const": VERSION},
        "library": LIBRARY_SCHEMA,
        "generated_at": {"type": "string"},
        "total_actors_checked": WHOLE,
        "actions_needed": WHOLE,
        "summary": {"type": "object", "additionalProperties": WHOLE},
        "actions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "actor_id",
                    "actor_name",
                    "action",
                    "reason",
                    "success",
                    "judged",
                    "files",
                    "keys",
                    "make",
                ],
                "additionalProperties": False,
                "properties": {
                    "actor_id": WHOLE,
                    "actor_name": {"type": "string"},
                    "action": {"enum": ["create_base_image", "recreate_blurry", "recreate_mismatch"]},
                    "reason": {"type": "string"},
                    "success": {"const": False},
                    "judged": LOOKED_AT_SCHEMA,
                    "files": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["path", "sha256", "size"],
                            "properties": {"path": {"type": "string"}, "sha256": SHA256, "size": WHOLE},
                        },
                    },
                    "keys": KEYS_SCHEMA,
                    "make": MAKE_SCHEMA,
                },
            },
        },
    },
}


@dataclass(frozen=True)
class PlannedFile:
    """A file that goes: its path below the library, and what it held when the plan was made."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class PlannedKey:
    """An object in the library's mirror that goes."""

    key: str
    size: int
    etag: str | None = None


@dataclass(frozen=True)
class Making:
    """The image that comes."""

    prompt: str
    width: int
    height: int
    steps: int
    seed: int


@dataclass(frozen=True)
class PlannedAction:
    """One row of a plan."""

    actor_id: int
    actor_name: str
    action: str
    reason: str
    judged: tuple[str, str] | None
    files: tuple[PlannedFile, ...]
    keys: tuple[PlannedKey, ...]
    make: Making

    def id_in(self, plan_id: str) -> str:
        """Names this action for good; 24 hexadecimal digits, so that it can name a folder."""
        return hashlib.sha256(f"{plan_id}/{self.actor_name}/{self.action}".encode()).hexdigest()[:24]

    def row(self) -> dict[str, Any]:
        """As in the file."""
        judged = None if self.judged is None else {"path": self.judged[0], "sha256": self.judged[1]}
        return {
            "actor_id": self.actor_id,
            "actor_name": self.actor_name,
            "action": self.action,
            "reason": self.reason,
            "success": False,
            "judged": judged,
            "files": [asdict(file) for file in self.files],
            "keys": [asdict(key) for key in self.keys],
            "make": asdict(self.make),
        }


@dataclass(frozen=True)
class ActionPlan:
    """A plan as read from its file."""

    id: str
    library_id: str
    library_path: str
    actions: tuple[PlannedAction, ...]


def library_id(root: Path) -> str:
    """Tells libraries apart without writing into them: a digest of the resolved path."""
    return hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def plan_id_of(path: Path) -> str:
    """The id for a plan that is to be written; when a step is repeated after a crash, the one that may already have been handed on."""
    return str(read_json(path)["plan_id"]) if path.is_file() else secrets.token_hex(16)


def read_plan(path: Path) -> ActionPlan:
    """Read a plan that a person may have edited.

    Raises:
        UserError: Not a plan, or one with names or paths that lead elsewhere; with the JSON pointer.
    """
    document = read_json(path)
    if isinstance(document, dict) and "actions" in document and "plan_id" not in document:
        raise UserError(
            f"{path}: was made by the old script, and does not say what it judged: run `callsheet run validate_base_images`"
        )
    check(document, SCHEMA, str(path))
    actions = []
    seen: dict[str, int] = {}
    for index, row in enumerate(document["actions"]):
        name = plain_name(row["actor_name"], f"{path}, /actions/{index}/actor_name")
        if (first := seen.setdefault(layout.folded(name), index)) != index:
            raise UserError(
                f"{path}, /actions/{index}: {name!r} stands at /actions/{first} already: one action an actor"
            )
        actions.append(_action(row, f"{path}, /actions/{index}"))
    library = document["library"]
    return ActionPlan(document["plan_id"], library["id"], library["path"], tuple(actions))


def _action(row: Mapping[str, Any], where: str) -> PlannedAction:
    folder = f"actors/{row['actor_name']}/"
    judged = row["judged"]
    seen: dict[str, int] = {}
    for index, file in enumerate(row["files"]):
        path = file["path"]
        plain = str(PurePosixPath(path)) == path and "\0" not in path and len(path) <= MAX_PATH
        if not plain or not path.startswith(folder) or ".." in path.split("/"):
            raise UserError(
                f"{where}/files/{index}/path: {reprlib.repr(path)} is no plain path below {folder}: an action touches its own actor's files only"
            )
        if (first := seen.setdefault(path, index)) != index:
            raise UserError(f"{where}/files/{index}/path: {path!r} stands at /files/{first} already")
    check_keys(row["keys"], folder, where)
    return PlannedAction(
        actor_id=row["actor_id"],
        actor_name=row["actor_name"],
        action=row["action"],
        reason=row["reason"],
        judged=None if judged is None else (judged["path"], judged["sha256"]),
        files=tuple(PlannedFile(file["path"], file["sha256"], file["size"]) for file in row["files"]),
        keys=tuple(PlannedKey(key["key"], key["size"], key["etag"]) for key in row["keys"]),
        make=making(row["make"]),
    )


def check_keys(keys: Sequence[Mapping[str, Any]], folder: str, where: str) -> None:
    """Raise UserError where a key is no plain one below an actor's folder ("actors/NAME/"), or stands there twice."""
    seen: dict[str, int] = {}
    for index, entry in enumerate(keys):
        key = entry["key"]
        plain = str(PurePosixPath(key)) == key and "\0" not in key and len(key) <= MAX_PATH
        if not plain or not key.startswith(folder) or ".." in key.split("/"):
            raise UserError(
                f"{where}/keys/{index}/key: {reprlib.repr(key)} is not below {folder}: an action touches its own actor's objects only"
            )
        if (first := seen.setdefault(key, index)) != index:
            raise UserError(f"{where}/keys/{index}/key: {key!r} stands at /keys/{first} already")


def making(row: Mapping[str, Any]) -> Making:
    """An image that comes, from a checked row."""
    return Making(**{name: row[name] for name in ("prompt", "width", "height", "steps", "seed")})
