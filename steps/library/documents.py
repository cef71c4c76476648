"""JSON and YAML files that people may have written by hand, checked against a schema before anything believes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from runner.errors import UserError
from runner.files import read_json

ACTORS_SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": 10**9},
                    {"type": "string", "pattern": r"^[0-9]{1,9}(?!\n)$"},
                ]
            },
            "name": {"type": "string"},
            "description": {"type": ["string", "null"], "maxLength": 100_000},
            "outfit": {"type": ["string", "null"], "maxLength": 100_000},
        },
    },
}

ACTOR_MANIFEST_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "base_images": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {"moved_to": {"type": ["string", "null"]}, "relative_path": {"type": ["string", "null"]}},
            },
        },
        "descriptor": {"type": ["string", "null"]},
    },
}


def read_checked(path: Path, schema: Mapping[str, Any]) -> Any:
    """Parse a JSON file and check it.

    Raises:
        UserError: Not there, not JSON, or not of the schema; with the path and the JSON pointer of the first fault.
    """
    value = read_json(path, finite=True)
    check(value, schema, str(path))
    return value


def check(value: Any, schema: Mapping[str, Any], source: str) -> None:
    """Check a value that came from `source`; raises as `read_checked`."""
    fault = next(
        iter(
            sorted(
                Draft202012Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path))
            )
        ),
        None,
    )
    if fault is None:
        return
    pointer = "".join(f"/{part}" for part in fault.absolute_path) or "/"
    message = fault.message if len(fault.message) < 200 else f"{fault.message[:100]} ... {fault.message[-80:]}"
    raise UserError(f"{source}, {pointer}: {message}")
