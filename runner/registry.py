"""Steps, backends and commands by name: the only way from a word in a recipe to code, and so the allow-list.

They are entry points (groups `callsheet.steps`, `callsheet.backends`, `callsheet.commands`), imported when first used.
"""

from __future__ import annotations

import inspect
import typing
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from runner.errors import UserError

STEPS = "callsheet.steps"
BACKENDS = "callsheet.backends"
COMMANDS = "callsheet.commands"


@cache
def names(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group; of two with one name, ours is the one that counts."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        ours = entry.dist is not None and entry.dist.name == "callsheet"
        if entry.name not in found or ours:
            found[entry.name] = entry
    return dict(sorted(found.items()))


@cache
def load(group: str, name: str) -> Any:
    """Import the object behind a registered name.

    Raises:
        UserError: No such name, or its package can't be imported.
    """
    known = names(group)
    if name not in known:
        raise UserError(
            f"{group.removeprefix('callsheet.')}: {name!r} is not registered: choose from {', '.join(known)}"
        )
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{name!r} ({known[name].value}) can't be loaded: {error}") from error


def step(name: str) -> Any:
    """A step class."""
    return load(STEPS, name)


def backend(kind: str, name: str) -> Any:
    """A backend class, for example kind "vision", name "embedded"."""
    return load(BACKENDS, f"{kind}.{name}")


def backend_kinds() -> set[str]:
    """The kinds of backends that exist: vision, image ..."""
    return {name.split(".", 1)[0] for name in names(BACKENDS)}


def parameter_type(factory: Any, name: str) -> type:
    """The annotated type of a constructor's parameter: `params` of a step, `settings` of a backend."""
    hints = typing.get_type_hints(factory.__init__)
    found = hints.get(name)
    if not isinstance(found, type):
        raise UserError(f"{factory.__name__}: its constructor must annotate '{name}' with a dataclass")
    return found


def needed_backends(step_class: Any) -> list[str]:
    """The kinds of backends that a step's constructor asks for by parameter name."""
    asked = [
        name for name in inspect.signature(step_class.__init__).parameters if name not in {"self", "params", "context"}
    ]
    if unknown := sorted(set(asked) - backend_kinds()):
        raise UserError(
            f"{step_class.__name__} asks for {', '.join(unknown)}: backends are of the kinds {', '.join(sorted(backend_kinds()))}"
        )
    return asked


def result_type(step_class: Any) -> Any:
    """The return annotation of a step's `process`."""
    return typing.get_type_hints(step_class.process)["return"]
