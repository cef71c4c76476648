"""Aspect-ratio buckets: each image is trained at the size of about the wanted area that is nearest to its own shape."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

LARGEST_RATIO = 4.0


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Fitted(NamedTuple):
    """An image brought to its bucket's size.

    Attributes:
        image: The pixels, resized until they cover the bucket and cut in the middle.
        left: Pixels that were cut off at the left of the resized image.
        top: Pixels that were cut off at its top.
    """

    image: Image.Image
    left: int
    top: int


def buckets(resolution: int, step: int) -> list[Size]:
    """The sizes of at most resolution² pixels whose sides are multiples of `step`, none longer than four times its width.

    A resolution that is no multiple is rounded down; the square is always among them.
    """
    square = max(step, resolution // step * step)
    found = {Size(square, square)}
    for width in range(step, 2 * square + 1, step):
        height = square * square // width // step * step
        if height and max(width / height, height / width) <= LARGEST_RATIO:
            found |= {Size(width, height), Size(height, width)}
    return sorted(found)


def nearest(size: Size, among: Sequence[Size]) -> Size:
    """The bucket of the most similar shape; of two, the larger."""
    wanted = math.log(size.width / size.height)
    return min(among, key=lambda one: (abs(math.log(one.width / one.height) - wanted), -one.width * one.height))


def fitted(image: Image.Image, bucket: Size) -> Fitted:
    """The image at the bucket's size."""
    factor = max(bucket.width / image.width, bucket.height / image.height)
    covering = Size(max(bucket.width, round(image.width * factor)), max(bucket.height, round(image.height * factor)))
    if covering != image.size:
        image = image.resize(covering, Image.Resampling.LANCZOS)
    left, top = (covering.width - bucket.width) // 2, (covering.height - bucket.height) // 2
    return Fitted(image.crop((left, top, left + bucket.width, top + bucket.height)), left, top)


class Order:
    """Which images each step sees: every one once an epoch, those of one bucket together as far as they go.

    Args:
        shapes: The bucket of each image.
        batch: Images a step.
        seed: Of the order; an epoch's comes from (seed, epoch) alone.
    """

    def __init__(self, shapes: Sequence[Size], batch: int, seed: int) -> None:
        self._shapes = shapes
        self._batch = batch
        self._seed = seed
        self.epoch_steps = math.ceil(len(shapes) / batch)
        self._known: tuple[int, list[list[int]]] = (-1, [])

    def at(self, step: int) -> list[int]:
        """The images of a step, counted from 0."""
        epoch, place = divmod(step, self.epoch_steps)
        if self._known[0] != epoch:
            self._known = (epoch, self._batches(epoch))
        return self._known[1][place]

    def _batches(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"order {self._seed} {epoch}")  # noqa: S311
        whole, rest = [], []
        for shape in sorted(set(self._shapes)):
            images = [number for number, own in enumerate(self._shapes) if own == shape]
            rng.shuffle(images)
            cut = len(images) // self._batch * self._batch
            whole += [images[start : start + self._batch] for start in range(0, cut, self._batch)]
            rest += images[cut:]
        # The last batch is filled up, so that each step weighs the same.
        missing = -len(rest) % self._batch
        rest += [rng.randrange(len(self._shapes)) for _ in range(missing)]
        found = whole + [rest[start : start + self._batch] for start in range(0, len(rest), self._batch)]
        rng.shuffle(found)
        return found
