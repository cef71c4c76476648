"""The nearest of the shapes that a vendor draws in."""

from __future__ import annotations

import pytest

from steps.backends.shapes import all_shapes, nearest

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21")
SIZES = ("1024x1024", "1536x1024", "1024x1536", "2048x2048")


@pytest.mark.parametrize(
    ("size", "shape"),
    [((1024, 1536), "2:3"), ((1024, 1024), "1:1"), ((1920, 1080), "16:9"), ((4096, 64), "21:9"), ((64, 4096), "9:21")],
)
def test_by_ratio(size: tuple[int, int], shape: str) -> None:
    assert nearest(*size, RATIOS) == shape


def test_of_equal_ratios_by_size() -> None:
    assert nearest(1000, 1000, SIZES) == "1024x1024"
    assert nearest(1900, 1900, SIZES) == "2048x2048"
    assert nearest(100, 300, SIZES) == "1024x1536"


@pytest.mark.parametrize("shapes", [[], ["big"], ["0x5"], ["16:9", "x"], None])
def test_what_is_no_shape_is_refused(shapes: list[str] | None) -> None:
    assert all_shapes(shapes)
    assert all_shapes(list(SIZES)) is None
