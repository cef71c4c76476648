"""Chance that can be repeated: a generator for each (seed, step)."""

from __future__ import annotations

import torch


def generator_at(seed: int, step: int) -> torch.Generator:
    """The generator of one step: the same pair gives the same numbers."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def some_of(count: int, size: int, generator: torch.Generator) -> list[int]:
    """`size` numbers below `count`, drawn with repetition."""
    return [int(index) for index in torch.randint(count, (size,), generator=generator)]
