"""Sizes that images are trained at, and the order in which they are seen."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from steps.studio.lora.buckets import Order, Size, buckets, fitted, nearest


def test_buckets_of_sdxl_have_its_area_and_shapes() -> None:
    found = buckets(1024, 64)
    assert Size(1024, 1024) in found
    assert {Size(1152, 896), Size(896, 1152), Size(1216, 832), Size(1344, 768), Size(1536, 640)} <= set(found)
    assert all(size.width * size.height <= 1024 * 1024 for size in found)
    assert all(size.width % 64 == size.height % 64 == 0 for size in found)
    assert all(max(size) <= 4 * min(size) for size in found)


@pytest.mark.parametrize(("resolution", "step", "expected"), [(64, 64, [Size(64, 64)]), (100, 64, [Size(64, 64)])])
def test_one_bucket_where_there_is_room_for_one(resolution: int, step: int, expected: list[Size]) -> None:
    assert buckets(resolution, step) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(3000, 3000), Size(1024, 1024)),
        (Size(2048, 1024), Size(1408, 704)),
        (Size(700, 1050), Size(832, 1216)),
        (Size(9000, 10), Size(2048, 512)),
    ],
)
def test_an_image_gets_the_bucket_of_its_shape(size: Size, expected: Size) -> None:
    assert nearest(size, buckets(1024, 64)) == expected


def test_an_image_covers_its_bucket_and_is_cut_in_the_middle() -> None:
    image = Image.new("RGB", (300, 100), "white")
    image.paste("red", (100, 0, 200, 100))
    fit = fitted(image, Size(64, 64))
    assert fit.image.size == (64, 64)
    assert (fit.left, fit.top) == (64, 0)
    assert fit.image.getpixel((32, 32)) == (255, 0, 0)
    assert fitted(image, Size(300, 100)).image.tobytes() == image.tobytes()


def test_each_image_is_seen_once_an_epoch() -> None:
    order = Order([Size(8, 8)] * 7, 3, seed=5)
    assert order.epoch_steps == 3
    for epoch in range(3):
        seen = Counter(image for step in range(3) for image in order.at(3 * epoch + step))
        assert set(seen) == set(range(7))
        # The last batch is filled up to the size of the others.
        assert seen.total() == 9
    assert [order.at(step) for step in range(3)] != [order.at(step) for step in range(3, 6)]


def test_images_of_one_bucket_stay_together_as_far_as_they_go() -> None:
    shapes = [Size(8, 8)] * 6 + [Size(16, 4)] * 5
    order = Order(shapes, 2, seed=0)
    mixed = [step for step in range(order.epoch_steps) if len({shapes[image] for image in order.at(step)}) > 1]
    assert len(mixed) <= 1


def test_the_order_of_a_step_hangs_on_seed_and_step_alone() -> None:
    shapes = [Size(8, 8)] * 10
    one = Order(shapes, 4, seed=1)
    backwards = [one.at(step) for step in reversed(range(9))][::-1]
    assert [Order(shapes, 4, seed=1).at(step) for step in range(9)] == backwards
    assert [Order(shapes, 4, seed=2).at(step) for step in range(9)] != backwards
