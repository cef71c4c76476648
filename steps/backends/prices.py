"""What a call costs: the provider's usage times a dated price file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from runner.errors import MisconfiguredRun
from runner.strangers import read_yaml

DOLLARS = {"type": "number", "minimum": 0}
MODEL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["as_of"],
    "properties": {
        "as_of": {},
        "ends": {},
        "successor": {"type": "string"},
        **dict.fromkeys(("input", "cached", "output", "image_input", "image", "second"), DOLLARS),
        "image_tokens": {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        "images": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    },
}
SCHEMA = {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": MODEL}}


@dataclass(frozen=True)
class Price:
    """What one model costs. US dollars; tokens by the million.

    Attributes:
        as_of: The day on which its vendor said so.
        image: One image.
        second: One second of the machine that it runs on.
        image_tokens: How the tokens of an image in a prompt are counted.
        images: Output tokens of a made image, by quality.
        ends: The day on which the vendor shuts it down, if that is announced.
        successor: What the vendor names in its place.
    """

    as_of: date
    input: float | None = None
    cached: float | None = None
    output: float | None = None
    image_input: float | None = None
    image: float | None = None
    second: float | None = None
    image_tokens: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)
    ends: date | None = None
    successor: str | None = None

    def of_tokens(self, fresh: float, cached: float, output: float) -> float | None:
        """US dollars for prompt tokens that were not cached, those that were, and the answer's; None when a price is unknown."""
        if self.input is None or self.output is None:
            return None
        cheap = self.input if self.cached is None else self.cached
        return (fresh * self.input + cached * cheap + output * self.output) / 1e6


def read(path: str | None, vendor: str, model: str) -> Price | None:
    """The price of a model: from a file of one's own, then from the one that ships. A dated snapshot costs what its model costs.

    Raises:
        MisconfiguredRun: The file is not there, or is none.
    """
    tables = [_table(path)] if path else []
    tables.append(_checked(yaml.safe_load(_shipped().read_text("utf-8")), "prices.yaml"))
    found: dict[str, Any] = {}
    for table in reversed(tables):
        models = table.get(vendor, {})
        names = [name for name in models if model == name or model.startswith(f"{name}-20")]
        found |= models[max(names, key=len)] if names else {}
    return Price(**found) if found else None


def image_tokens(rule: Mapping[str, float], size: tuple[int, int]) -> int:
    """The tokens of an image in a prompt, as OpenAI's guide to images and vision counts them.

    Args:
        rule: `patches` (at most so many) and `each`; or `tiles` (tokens of one) and `base`. Without either: the dearest of both.
        size: Width and height in pixels, as sent.
    """
    if "patches" in rule:
        patches = min(math.ceil(size[0] / 32) * math.ceil(size[1] / 32), rule["patches"])
        return math.ceil(patches * rule["each"])
    tile, base = rule.get("tiles", 5667), rule.get("base", 2833)
    scale = min(1.0, 2048 / max(size), 768 / min(size))
    tiles = math.prod(math.ceil(side * scale / 512) for side in size)
    return math.ceil(base + tiles * tile)


def _shipped() -> Any:
    return resources.files("steps.backends").joinpath("prices.yaml")


def _table(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise MisconfiguredRun(f"prices = {path}: there is no such file")
    return _checked(read_yaml(Path(path)), path)


def _checked(table: Any, where: str) -> dict[str, Any]:
    fault = next(iter(Draft202012Validator(SCHEMA).iter_errors(table)), None)
    if fault is not None:
        pointer = "".join(f"/{part}" for part in fault.absolute_path) or "/"
        raise MisconfiguredRun(f"{where}: {pointer}: {fault.message[:200]}")
    assert isinstance(table, dict)
    for vendor, models in table.items():
        for model, price in models.items():
            if not all(math.isfinite(value) for value in price.values() if isinstance(value, float)):
                raise MisconfiguredRun(f"{where}: /{vendor}/{model}: a price is no number")
            for name in ("as_of", "ends"):
                if name in price and type(price[name]) is not date:
                    raise MisconfiguredRun(f"{where}: /{vendor}/{model}/{name}: give a day as 2026-11-01")
    return table
