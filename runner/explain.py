"""Hydra's and OmegaConf's errors as sentences that say what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import OverrideParseException

NO_SUCH_KEY = re.compile(r"Could not override '([^']+)'")
AMBIGUOUS = re.compile(r"Ambiguous value for argument '([^=]+)=(.*)'")
MISSING_VALUE = re.compile(r"missing mandatory value: (\S+)", re.IGNORECASE)
NOT_A_NAME = "Config group override must be a string or a list"
UNKNOWN_FIELD = re.compile(r"Key '([^']+)' not in '\w+'")


def shown(path: Path) -> str:
    """A path as a person in this folder would write it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def missing_key(error: Exception) -> str | None:
    """The full key of an override that fits nothing in the recipe."""
    found = NO_SUCH_KEY.search(str(error))
    return found[1] if found else None


def explain(path: Path, error: Exception, keys: Sequence[str] = (), of_steps: Sequence[str] = ()) -> str:
    """What Hydra refused, and what to do.

    Args:
        path: The recipe.
        error: Hydra's or OmegaConf's.
        keys: What stands where a mistyped key was looked for.
        of_steps: The full keys of steps' parameters that have its name.
    """
    if isinstance(error, OverrideParseException):
        return f"{error.override}: is no override: {str(error).splitlines()[0]}"
    if (key := missing_key(error)) is not None and of_steps:
        return f"{shown(path)}: {key} is no key of this recipe: did you mean {' or '.join(of_steps)}?"
    if key is not None:
        return f"{shown(path)}: {key} is no key of this recipe{_meant(key, keys)}"
    text = _whole(error)
    if found := AMBIGUOUS.search(text):
        name, value = found.groups()
        return f"{name}={value}: a list needs brackets: {name}=[{value}]; to run once for each value add -m"
    if NOT_A_NAME in text:
        return f"{shown(path)}: steps and backends are chosen by name (image=embedded); a parameter of a step is steps.LABEL.NAME=VALUE"
    if UNKNOWN_FIELD.search(text):
        return f"{shown(path)}: {one_line(error)}; `callsheet recipes {path.stem}` lists parameters"
    # Where Hydra looked is of no use to anybody who chose a word.
    return f"{shown(path)}: {text.split('Config search path')[0].strip()}"


def one_line(error: BaseException, above: str = "") -> str:
    """OmegaConf's error as `key: what`; `above` is the key of the node that it may know only the inside of."""
    text = _whole(error)
    if found := MISSING_VALUE.search(text):
        key = f"{above}.{found[1]}" if above else found[1]
        return f"{key} has no value: give {key}=..."
    lines = [line.strip() for line in text.splitlines() if line.strip() and "object_type" not in line]
    keys = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    rest = " ".join(line for line in lines if not line.startswith("full_key:"))
    if "is not a ListConfig, list or tuple" in rest:
        rest = "needs a list in brackets, for example [a,b]"
    if found := UNKNOWN_FIELD.search(rest):
        rest = f"'{found[1]}' is no parameter"
    key = keys[0] if keys else ""
    if not key.startswith(above):
        key = f"{above}.{key}" if key else above
    key = key or above
    return f"{key}: {rest}" if key not in rest else rest


def _whole(error: BaseException) -> str:
    """The texts of an error and its causes, each once."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).strip()
        if text and text not in lines:
            lines.append(text)
        cause = cause.__cause__
    return "\n".join(lines)


def _meant(key: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    above, _, last = key.rpartition(".")
    close = difflib.get_close_matches(last, keys, n=1)
    guess = f": did you mean {above + '.' if above else ''}{close[0]}?" if close else ":"
    return f"{guess} {'Keys of ' + above if above else 'Keys'} are {', '.join(keys)}"
