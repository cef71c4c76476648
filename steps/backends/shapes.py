"""Vendors draw in a few shapes; the nearest one to what was asked is taken."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

SHAPE = re.compile(r"([1-9]\d{0,4})\s*[x:]\s*([1-9]\d{0,4})")


def all_shapes(value: Any) -> str | None:
    """A parameter's check: a list of shapes, at least one."""
    usable = value and all(SHAPE.fullmatch(str(shape).strip()) for shape in value)
    return None if usable else "give shapes like 16:9 or 1024x1536"


def nearest(width: int, height: int, shapes: Iterable[str]) -> str:
    """Of shapes like "16:9" or "1024x1536" the one whose sides are nearest in ratio; of several the one nearest in size.

    Args:
        width: Pixels.
        height: Pixels.
        shapes: As `all_shapes` accepts them.
    """

    def distance(shape: str) -> tuple[float, float]:
        found = SHAPE.fullmatch(shape.strip())
        assert found is not None, shape
        across, down = int(found[1]), int(found[2])
        ratio = abs(math.log(across / down) - math.log(width / height))
        return round(ratio, 6), abs(math.log(across * down) - math.log(width * height))

    return min(shapes, key=distance)
