"""OpenAI's published schemas as a judge of what passes through the server; only where ../shared is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PATH = Path(__file__).parents[3] / "shared" / "specs" / "openai_schemas.json"
_URI = "urn:openai"
_NAMED = "#/components/schemas/"


def available() -> bool:
    """Whether anything can be checked."""
    return PATH.is_file()


def faults(name: str, body: Any) -> Iterator[str]:
    """What in a body is not of a published schema, as " at /path: message". Nothing when the schemas are not there.

    Properties that the schema does not name are wrong: the vendor refuses them in requests, and we invent none in answers.
    """
    if not available():
        return
    errors = list(validator(name).iter_errors(body))
    # Where a property is wrong, its object as a whole counts as unevaluated, which says nothing more.
    told = [error for error in errors if error.validator != "unevaluatedProperties"] or errors
    for error in told:
        deepest = _deepest(error)
        yield f" at /{'/'.join(map(str, deepest.absolute_path))}: {_shortened(deepest.message)}"


@lru_cache
def validator(name: str) -> Draft202012Validator:
    """For one schema; made once."""
    published = _document()
    if name not in published["components"]["schemas"]:
        raise KeyError(f"{PATH.name} has no schema {name}")
    registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(published))
    schema = {"$ref": f"{_URI}{_NAMED}{name}", "unevaluatedProperties": False}
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


@lru_cache
def _document() -> Mapping[str, Any]:
    published = json.loads(PATH.read_text())
    whole = published["components"]["schemas"]
    parts = {
        part["$ref"].removeprefix(_NAMED) for each in whole.values() for part in each.get("allOf", ()) if "$ref" in part
    }
    # What is put together by allOf can't be closed part by part: the validator closes it as a whole.
    named = {name: _strict(each, closed=name not in parts and "allOf" not in each) for name, each in whole.items()}
    return {"components": {"schemas": named}}


def _strict(node: Any, *, closed: bool = True) -> Any:
    """A schema that finds more: objects take no other properties, and OpenAPI 3.0's `nullable` is said in JSON Schema."""
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _strict(value) for key, value in node.items() if key not in ("nullable", "allOf")}
    if "allOf" in node:
        inner["allOf"] = [_strict(part, closed=False) for part in node["allOf"]]
    if closed and isinstance(node.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") is True else inner


def _deepest(error: ValidationError) -> ValidationError:
    """The innermost fault, in the one of several alternatives that was meant: whose type or role is right."""
    for _, branch in groupby(error.context or (), key=lambda each: each.schema_path[0]):
        found = list(branch)
        if not any(_is_other_kind(each) for each in found):
            return _deepest(found[0])
    return error


def _is_other_kind(error: ValidationError) -> bool:
    here = list(error.relative_path)
    return (error.validator == "type" and not here) or (error.validator == "enum" and here in (["type"], ["role"]))


def _shortened(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:150]} ... {message[-150:]}"
