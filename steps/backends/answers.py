"""What every backend does with an answer before anybody believes it."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from runner.errors import BadAnswer
from steps.backends.protocols import Question


def checked(text: str, question: Question) -> dict[str, Any]:
    """The answer as data of the question's schema.

    Raises:
        BadAnswer: Not JSON, or not of the schema; with the fault and the beginning of what came.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is not JSON ({error}): {text[:80]!r}") from error
    fault = next(iter(Draft202012Validator(question.schema).iter_errors(value)), None)
    if fault is not None:
        pointer = "".join(f"/{part}" for part in fault.absolute_path) or "/"
        raise BadAnswer(f"the answer is not of the schema '{question.name}' at {pointer}: {fault.message[:200]}")
    assert isinstance(value, dict)
    return value
