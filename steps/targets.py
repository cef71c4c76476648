"""Which target each actor's training images have, from a recipe's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runner.errors import UserError
from steps.balancing import Target, by_weight
from steps.library.actors import Library

FIELDS = ("total", "targets", "tolerance", "min_quality")


def weights(value: Any) -> str | None:
    """A parameter's check: None, or a weight for each class."""
    if value is None or (isinstance(value, Mapping) and _are_weights(value)):
        return None
    return "give a weight of 0 or more for each class, one of them more than 0"


def overriding(value: Any) -> str | None:
    """A parameter's check: a list of mappings as `Targets` takes them."""
    if isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_entry, value)):
        return None
    return f"give a list, each with actors and any of {', '.join(FIELDS)}"


@dataclass(frozen=True)
class Wanted:
    """What a recipe says of a target: images in all, weight of each class, percentage points, least quality."""

    total: int
    targets: Mapping[str, float]
    tolerance: float
    min_quality: int


class Targets:
    """The target of each actor: the recipe's, changed by each entry of `per` that names the actor, in order."""

    def __init__(self, default: Wanted, per: Sequence[Any], library: Library, label: str) -> None:
        """Check what the recipe says.

        Args:
            default: For everybody.
            per: Mappings of `actors` and the fields of `Wanted` that are others for them.
            library: Who there is.
            label: The step's name in the recipe, for errors.

        Raises:
            UserError: A weight, total, tolerance or quality that can't be, or an entry of `per` that names nobody.
        """
        self._default = _checked(asdict(default), label)
        self._of: dict[int, Wanted] = {}
        for index, entry in enumerate(per):
            where = f"{label}.per[{index}]"
            unknown = (
                sorted(str(key) for key in entry if key not in ("actors", *FIELDS))
                if isinstance(entry, Mapping)
                else []
            )
            if not isinstance(entry, Mapping) or "actors" not in entry or unknown:
                extra = f", not {', '.join(map(repr, unknown))}" if unknown else ""
                raise UserError(f"{where}: give actors, and with them any of {', '.join(FIELDS)}{extra}")
            for actor in library.select(entry["actors"]):
                base = self._of.get(actor.id, self._default)
                merged = {name: entry.get(name, getattr(base, name)) for name in FIELDS}
                self._of[actor.id] = _checked(merged, where)

    def of(self, actor_id: int) -> Target:
        """The target of an actor."""
        settings = self._of.get(actor_id, self._default)
        return Target(by_weight(settings.total, settings.targets), float(settings.tolerance), settings.min_quality)

    def classes(self) -> set[str]:
        """Every class that any target wants images of."""
        return {kind for settings in self._all() for kind, weight in settings.targets.items() if weight}

    def _all(self) -> Iterator[Wanted]:
        yield self._default
        yield from self._of.values()


def _checked(values: Mapping[str, Any], where: str) -> Wanted:
    targets = values["targets"]
    if not isinstance(targets, Mapping) or not all(isinstance(kind, str) and kind for kind in targets):
        raise UserError(
            f"{where}.targets = {targets!r}: give a weight for each class, as in {{photorealistic: 65, bw_stylized: 35}}"
        )
    if not _are_weights(targets):
        raise UserError(
            f"{where}.targets = {dict(targets)!r}: weights are numbers of 0 or more, and one of them more than 0"
        )
    for name, low, high, whole in (
        ("total", 1, 10_000, True),
        ("tolerance", 0, 100, False),
        ("min_quality", 0, 10, True),
    ):
        value = values[name]
        if not _number(value, low, high) or (whole and not isinstance(value, int)):
            raise UserError(
                f"{where}.{name} = {value!r}: give {'a whole number' if whole else 'a number'} from {low} to {high}"
            )
    return Wanted(values["total"], dict(targets), values["tolerance"], values["min_quality"])


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "actors" in entry and not {*entry} - {"actors", *FIELDS}


def _are_weights(targets: Mapping[Any, Any]) -> bool:
    named = all(isinstance(kind, str) and kind for kind in targets)
    return named and all(_number(weight, 0, 1e9) for weight in targets.values()) and sum(targets.values()) > 0


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
