"""Which interval holds the truth how often, and how often nothing is called significant: `python -m tests.bench.statistics [STUDIES]`.

Studies are made up (tests/steps/measures/studies.py): 2 arms, 3 seeds a story, no true difference. Of the intervals only the first
is the product's; the others are what it was chosen from, of the same stories' mean differences.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from steps.measures.bootstrap import weights
from steps.measures.statistics import Unit, compare, compare_all
from tests.steps.measures.studies import METRIC, SKEWED, SYMMETRIC, study

DRAWS = 2000
STORIES = (4, 7, 20)
FAMILY = [("1", "0", METRIC), ("2", "0", METRIC), ("3", "0", METRIC)]


def percentile(values: Any) -> Any:
    """Plain percentiles of the resampled means."""
    return np.quantile(weights(len(values), DRAWS, 0) @ values / len(values), [0.025, 0.975])


def bca(values: Any) -> Any:
    """scipy's bias-corrected and accelerated interval."""
    from scipy.stats import bootstrap

    return bootstrap((values,), np.mean, n_resamples=DRAWS, rng=0).confidence_interval


def studentised(values: Any) -> Any:
    """The bootstrap of t; draws without any spread are left out."""
    drawn, count = weights(len(values), DRAWS, 0), len(values)
    means = drawn @ values / count
    errors = np.sqrt(np.maximum(drawn @ values**2 / count - means**2, 0) / (count - 1))
    t = (means - values.mean())[errors > 1e-9] / errors[errors > 1e-9]
    low, high = np.quantile(t, [0.025, 0.975])
    error = values.std(ddof=1) / np.sqrt(count)
    return values.mean() - high * error, values.mean() - low * error


def student(values: Any) -> Any:
    """Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


OTHERS: Mapping[str, Callable[[Any], Any]] = {
    "percentile": percentile,
    "BCa": bca,
    "studentised": studentised,
    "Student's t": student,
}


def differences(units: list[Unit]) -> Any:
    """The stories' mean differences of arm "1" from arm "0"."""
    by_arm = [np.asarray([unit.values[METRIC] for unit in units if unit.arm == arm], dtype=float) for arm in ("1", "0")]
    return (by_arm[0] - by_arm[1]).reshape(-1, 3).mean(axis=1)


def of_one(random: np.random.Generator, stories: int, effects: Any, studies: int) -> Iterator[str]:
    """Shares of the studies in which it is called significant, and in which each interval holds 0; and how wide they are."""
    held: Counter[str] = Counter()
    widths: dict[str, list[float]] = {}
    significant = 0
    for _ in range(studies):
        units = study(random, stories, effects)
        first, second = ([unit for unit in units if unit.arm == arm] for arm in ("1", "0"))
        found = compare(first, second, METRIC, draws=DRAWS)
        significant += bool(found.significant)
        values = differences(units)
        for name, ends in (("ours", (found.low, found.high)), *((name, of(values)) for name, of in OTHERS.items())):
            held[name] += ends[0] <= 0 <= ends[1]
            widths.setdefault(name, []).append(ends[1] - ends[0])
    yield f"significant {significant / studies:.3f}"
    for name, count in held.items():
        yield f"{name} {count / studies:.3f} (width {np.median(widths[name]):.2f}, widest {np.max(widths[name]):.0f})"


def of_a_family(random: np.random.Generator, stories: int, effects: Any, studies: int) -> str:
    """The share of studies with any of three comparisons called significant."""
    any_found = 0
    for _ in range(studies):
        units = study(random, stories, effects, (0.0,) * 4)
        any_found += any(each.significant for each in compare_all(units, FAMILY, draws=10))
    return f"any of {len(FAMILY)} significant {any_found / studies:.3f}"


def main(studies: int) -> None:
    """Print a line for each size and shape."""
    random = np.random.default_rng(2026)
    for stories in STORIES:
        for name, effects in {**SYMMETRIC, **SKEWED}.items():
            told = [*of_one(random, stories, effects, studies), of_a_family(random, stories, effects, studies)]
            print(f"{stories} stories, {name}: " + "; ".join(told), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
