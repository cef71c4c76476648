"""What so many stories can show, and how many would be needed.

All of it is an approximation: the power of the paired t test (noncentral t), for a sample that is smaller by Wilcoxon's asymptotic
relative efficiency under normal differences, 3 / pi = 0.955 (Hodges and Lehmann 1956; as G*Power has it, Faul et al. 2007).
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

EFFICIENCY = 3 / math.pi
LEAST_STORIES = 7
"""Fewer are never called significant."""
ALPHA, POWER = 0.05, 0.80
MOST_STORIES = 10_000
LARGEST_DZ = 100.0
_GRID = 4000


def power(dz: float, stories: int) -> float:
    """The chance that so many stories (2 or more) show an effect of Cohen's dz at 5 %, two-sided.

    It is the mean, over the sample's standard deviation, of the normal tails beyond Student's t: scipy's `nct` has no answer (NaN)
    for some large effects.
    """
    from scipy.special import ndtr
    from scipy.stats import chi2, t

    size = stories * EFFICIENCY
    degrees, shift = size - 1, abs(dz) * math.sqrt(size)
    spread = np.sqrt(chi2.ppf((np.arange(_GRID) + 0.5) / _GRID, degrees) / degrees)
    critical = t.ppf(1 - ALPHA / 2, degrees) * spread
    return float(np.mean(ndtr(shift - critical) + ndtr(-shift - critical)))


def smallest_effect(stories: int) -> float | None:
    """The smallest Cohen's dz that so many stories show with 80 % power; None with fewer than 2."""
    from scipy.optimize import brentq

    if stories < 2:
        return None
    return float(brentq(lambda dz: power(dz, stories) - POWER, 0.0, LARGEST_DZ, xtol=1e-6))


def stories_needed(dz: float) -> int | None:
    """How many stories show this Cohen's dz with 80 % power, 7 or more; None beyond 10,000."""
    sizes = range(LEAST_STORIES, MOST_STORIES + 1)
    at = bisect_left(sizes, POWER, key=lambda stories: power(dz, stories))
    return sizes[at] if at < len(sizes) else None


def smallest_p(stories: int) -> float:
    """The smallest p that a two-sided exact Wilcoxon test of so many stories can give."""
    return min(1.0, 2.0 ** (1 - stories))
