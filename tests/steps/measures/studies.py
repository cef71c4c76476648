"""Made-up ablations of which the truth is known: stories with an effect of their own, several seeds each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from steps.measures.statistics import Unit

METRIC = "likeness"
Effects = Callable[[np.random.Generator, int], Any]
"""(random, stories) -> each story's own effect, (stories,), of mean 0."""

SYMMETRIC: Mapping[str, Effects] = {
    "normal": lambda random, stories: 0.7 * random.standard_normal(stories),
    "heavy tails": lambda random, stories: random.standard_t(2.5, stories),
    "unequal": lambda random, stories: random.standard_normal(stories) * random.lognormal(0, 1, stories),
}
SKEWED: Mapping[str, Effects] = {"skewed": lambda random, stories: random.exponential(size=stories) - 1}


def study(
    random: np.random.Generator, stories: int, effects: Effects, gains: Sequence[float] = (0.0, 0.0), seeds: int = 3
) -> list[Unit]:
    """One study: arms "0", "1", ... of these true gains over one another.

    A story is as hard in all arms, and reacts with an effect of its own to each arm but "0", so that differences from it have the
    effects' shape. Seeds vary, twice as much in arm "1".
    """
    hard = random.normal(0, 2, (stories, 1))
    units = []
    for arm, gain in enumerate(gains):
        noise = random.normal(0, 1 + (arm == 1), (stories, seeds))
        values = hard + gain + noise + (effects(random, stories)[:, None] if arm else 0.0)
        units += [
            Unit(f"story {story:02}", f"story {story:02}-{seed}", str(arm), {METRIC: float(values[story, seed])})
            for story in range(stories)
            for seed in range(seeds)
        ]
    return units
