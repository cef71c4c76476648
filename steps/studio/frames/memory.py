"""When memory is short: first what is not needed goes, then batches become smaller, then models wait in main memory for their turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.setups import Setup
from steps.studio.memory import free_memory, is_out_of_memory

T = TypeVar("T")
R = TypeVar("R")


class NotEnoughMemory(Exception):
    """Not even one image at a time fits."""


class Memory:
    """How many images are drawn at once; what was learned to be too many is not tried again.

    Attributes:
        size: Images at once.
    """

    def __init__(self, pipelines: Pipelines, most: int) -> None:
        """`most`: images at once at first."""
        self._pipelines = pipelines
        self.size = most

    def batches(
        self, setup: Setup, orders: Sequence[T], draw: Callable[[Sequence[T]], R], say: Callable[[str], None]
    ) -> Iterator[tuple[Sequence[T], R]]:
        """Draw all orders in batches as large as fit.

        Args:
            setup: What they are drawn with: the pipelines of others may go.
            orders: In order.
            draw: Draws one batch.
            say: Takes a sentence for people about each measure.

        Yields:
            Each batch with what `draw` gave.

        Raises:
            NotEnoughMemory: Nothing helped.
        """
        left = list(orders)
        while left:
            # Shared out evenly: a last batch of one would take as long as three of a full one.
            batch = left[: math.ceil(len(left) / math.ceil(len(left) / self.size))]
            made: list[R] = []
            try:
                made.append(draw(batch))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Out of the handler: the error held the tensors that filled the memory.
            if not made:
                self._make_room(setup, len(batch), say)
                continue
            yield batch, made[0]
            left = left[len(batch) :]

    def _make_room(self, setup: Setup, tried: int, say: Callable[[str], None]) -> None:
        if self._pipelines.keep_only(setup):
            say("not enough memory: the pipelines of other modes were let go")
        elif tried > 1:
            self.size = (tried + 1) // 2
            say(f"not enough memory for {tried} frames at once: {self.size} at once from now on")
        elif self._pipelines.offload():
            say(
                "not enough memory for one frame: models wait in main memory for their turn from now on, which is slower"
            )
        else:
            raise NotEnoughMemory("not enough memory for one frame at a time")
        free_memory()
