"""OpenAI's published schemas as a judge of what passes through the server; only where ../shared is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

PATH = Path(__file__).parents[3] / "shared" / "specs" / "openai_schemas.json"
_URI = "urn:openai"


def available() -> bool:
    """Whether anything can be checked."""
    return PATH.is_file()


def faults(name: str, body: Any, *, closed: bool = False) -> Iterator[str]:
    """What in a body is not of a published schema, as " at /path: message". Nothing when the schemas are not there.

    Args:
        name: In #/components/schemas.
        body: A request or an answer, parsed.
        closed: Whether properties that the schema does not name are wrong too: the vendor refuses them in requests.
    """
    if not available():
        return
    for error in validator(name, closed).iter_errors(body):
        deepest = best_match([error]) or error
        yield f" at /{'/'.join(map(str, deepest.absolute_path))}: {_shortened(deepest)}"


@lru_cache
def validator(name: str, closed: bool) -> Draft202012Validator:
    """For one schema; made once."""
    published = _document()
    if name not in published["components"]["schemas"]:
        raise KeyError(f"{PATH.name} has no schema {name}")
    schema: dict[str, Any] = {"$ref": f"{_URI}#/components/schemas/{name}"}
    if closed:
        schema["unevaluatedProperties"] = False
    registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(published))
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


@lru_cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = _nullable(json.loads(PATH.read_text()))
    return document


def _nullable(node: Any) -> Any:
    """OpenAPI 3.0's `nullable`, which stands in the document beside 3.1, said in JSON Schema."""
    if isinstance(node, list):
        return [_nullable(each) for each in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _nullable(value) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") is True else inner


def _shortened(error: ValidationError) -> str:
    return error.message if len(error.message) <= 300 else f"{error.message[:150]} ... {error.message[-150:]}"
