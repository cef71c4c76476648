"""Parameters of steps and backends: a frozen dataclass each, whose fields carry their help, unit and limits.

Hydra checks types and names from the dataclass; `faults` gathers all that types can't see.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

CHECK = "callsheet.check"
HELP = "callsheet.help"
OPERATIONAL = "callsheet.operational"
Check = Callable[[Any], str | None]


def param(
    default: Any = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - reads best
    check: Check | None = None,
    operational: bool = False,
) -> Any:
    """A dataclass field with its help text (meaning, unit) and a check.

    Args:
        default: The default value; lists and dicts are copied for each instance. Without one the recipe must give it.
        help: What it means, shown by `callsheet recipes` and in errors.
        check: Takes the value; returns what is allowed when the value is not, else None.
        operational: It changes no result (a time-out, a limit, a key's name): a run may be taken up again with another value.
    """
    metadata = {HELP: help, CHECK: check, OPERATIONAL: operational}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def at_least(minimum: float) -> Check:
    """None or a number of `minimum` or more."""
    return lambda value: None if value is None or value >= minimum else f"give {minimum:g} or more"


def between(low: float, high: float) -> Check:
    """None or a number from `low` to `high`."""
    return lambda value: None if value is None or low <= value <= high else f"give {low:g} to {high:g}"


def one_of(*choices: str) -> Check:
    """One of some words, or a list of them."""

    def check(value: Any) -> str | None:
        words = [value] if isinstance(value, str) else list(value or ())
        return None if all(word in choices for word in words) else f"choose from {', '.join(choices)}"

    return check


def a_path(value: Any) -> str | None:
    """None or a text that may name a file or folder."""
    usable = value is None or (value and "\0" not in value)
    return None if usable else "give a path"


def faults(key: str, value: object) -> Iterator[str]:
    """Every field of a parameter dataclass that its check refuses: full key, value, what is allowed, and what it is for."""
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        content = getattr(value, field.name)
        name = f"{key}.{field.name}" if key else field.name
        if dataclasses.is_dataclass(content):
            yield from faults(name, content)
        check = field.metadata.get(CHECK)
        if check is not None and (allowed := check(content)):
            yield f"{name} = {content!r} is not allowed: {allowed} ({field.metadata[HELP]})"


def without_operational(params: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of a parameter dataclass, those left out that change no result."""
    kept = dict(values)
    hints = typing.get_type_hints(params)
    for field in dataclasses.fields(params):
        inner = hints[field.name]
        if field.metadata.get(OPERATIONAL):
            kept.pop(field.name, None)
        elif dataclasses.is_dataclass(inner) and isinstance(inner, type) and isinstance(kept.get(field.name), Mapping):
            kept[field.name] = without_operational(inner, kept[field.name])
    return kept


def described(params: type) -> Iterator[tuple[str, str, str]]:
    """Name, default (as YAML would have it) and help of each field, for listings; nested ones as `outer.inner`."""
    hints = typing.get_type_hints(params)
    for field in dataclasses.fields(params):
        inner = hints[field.name]
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            yield from ((f"{field.name}.{name}", default, text) for name, default, text in described(inner))
            continue
        default = "(required)"
        if field.default is not dataclasses.MISSING:
            default = json.dumps(field.default, ensure_ascii=False)
        elif field.default_factory is not dataclasses.MISSING:
            default = json.dumps(field.default_factory(), ensure_ascii=False)
        yield field.name, default, field.metadata.get(HELP, "")
