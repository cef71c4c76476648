"""Arms held against each other: from measured storyboards to estimates, comparisons, a curve and what deviates from the plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steps.deviations import deviations, drawn_after
from steps.library.preregistrations import METRICS, Contrast, Preregistration
from steps.measured_boards import MeasuredBoard, mean_of
from steps.measures.statistics import Comparison, Estimate, GainPoint, Unit, compare_all, estimate, gain_curve

HEADLINE = "headline"
"""Likeness as a share of the way from strangers to true images: (likeness - floor) / (ceiling - floor)."""
FURTHER = (
    HEADLINE,
    "likeness_with_missing",
    "consistency_with_missing",
    "frame1_with_missing",
    "first_likeness",
    "first_consistency",
    "first_frame1",
    "first_copy_paste",
    "first_clip",
    "first_detection_rate",
    "null_percentile",
    "passed",
    "attempts",
    "seconds_a_frame",
)
"""Also told of each arm, beside METRICS."""
CURVE_METRICS = ("consistency", "likeness", "clip")


@dataclass(frozen=True)
class CurvePoint:
    """Reference held against simple mode at one strength of the LoRA.

    Attributes:
        metric: One of CURVE_METRICS.
        simple: Mean of simple mode; None where nothing could be measured.
        reference: Mean of reference mode.
        gain: Reference less simple, paired.
    """

    metric: str
    simple: float | None
    reference: float | None
    gain: GainPoint


@dataclass(frozen=True)
class Findings:
    """What an ablation found.

    Attributes:
        arms: By arm and metric.
        comparisons: The family that was fixed beforehand, or the usual one; Holm-corrected together.
        primary: The one that the study stands on; None where its arms were not drawn.
        by_character: The same comparisons of each character alone, where there are several: a mean can hide that they differ.
        curve: Over the LoRA's strength; empty where none was drawn.
        deviations: Where what was drawn is not what was planned, a sentence each.
        exploratory: Whether nothing was fixed beforehand.
        fixed_first: Whether every storyboard is known to be younger than the plan.
        boards: Storyboards by arm.
    """

    arms: Mapping[str, Mapping[str, Estimate]]
    comparisons: Sequence[Comparison]
    primary: Comparison | None
    by_character: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)
    curve: Sequence[CurvePoint] = ()
    deviations: Sequence[str] = ()
    exploratory: bool = True
    fixed_first: bool = False
    boards: Mapping[str, int] = field(default_factory=dict)


def arms_of(boards: Sequence[MeasuredBoard]) -> dict[str, list[MeasuredBoard]]:
    """Storyboards by arm: its mode, and its strengths where one mode was drawn at several."""
    strengths: defaultdict[str, set[tuple[float | None, float | None]]] = defaultdict(set)
    for board in boards:
        strengths[board.mode].add((board.lora_scale, board.adapter_scale))
    found: defaultdict[str, list[MeasuredBoard]] = defaultdict(list)
    for board in boards:
        found[_arm(board, len(strengths[board.mode]) > 1)].append(board)
    return {arm: found[arm] for arm in sorted(found, key=_order)}


def find(
    boards: Sequence[MeasuredBoard],
    strength: Sequence[MeasuredBoard],
    plan: Preregistration | None,
    *,
    draws: int,
    seed: int,
) -> Findings:
    """Hold the arms against each other.

    Args:
        boards: The storyboards of the comparison.
        strength: Those over the LoRA's strength.
        plan: What was fixed beforehand.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    arms = arms_of(boards)
    units = [_unit(board, arm) for arm, those in arms.items() for board in those]
    asked = [each for each in _asked(plan, list(arms)) if each.a in arms and each.b in arms]
    named = [(each.a, each.b, each.metric) for each in asked]
    compared = compare_all(units, named, draws=draws, seed=seed)
    primary = next(
        (found for found, each in zip(compared, asked, strict=True) if plan is not None and each == plan.primary), None
    )
    return Findings(
        arms={
            arm: {
                metric: estimate([unit for unit in units if unit.arm == arm], metric, draws=draws, seed=seed)
                for metric in (*METRICS, *FURTHER)
            }
            for arm in arms
        },
        comparisons=compared,
        primary=primary,
        by_character=dict(_by_character(boards, arms, named, draws=draws, seed=seed)),
        curve=list(_curve(strength, draws, seed)),
        deviations=list(deviations(arms, plan)),
        exploratory=plan is None,
        fixed_first=plan is not None and all(drawn_after(board, plan) for board in boards),
        boards={arm: len(those) for arm, those in arms.items()},
    )


def _arm(board: MeasuredBoard, several: bool) -> str:
    parts = [board.mode]
    if several and board.lora_scale is not None:
        parts.append(f"lora {board.lora_scale:g}")
    if several and board.adapter_scale is not None:
        parts.append(f"adapter {board.adapter_scale:g}")
    return ", ".join(parts)


SIMPLE, REFERENCE = "simple", "reference"
_MODES = ("baseline", SIMPLE, "adapter", REFERENCE)


def _order(arm: str) -> tuple[int, str]:
    mode = arm.split(",")[0]
    return (_MODES.index(mode) if mode in _MODES else len(_MODES)), arm


def _unit(board: MeasuredBoard, arm: str) -> Unit:
    """Story x seed is the unit; what happens in one story is one cluster, whoever is in it."""
    pair = f"{board.character}\n{board.story}\n{board.seed}"
    # Characters share a story's cluster: their scenes are the same.
    return Unit(cluster=board.story, pair=pair, arm=arm, values=board.metrics)


def _asked(plan: Preregistration | None, arms: Sequence[str]) -> list[Contrast]:
    """The questions: those of the plan, or of each arm against each one before it in likeness, consistency and CLIPScore."""
    if plan is not None:
        return list(plan.comparisons)
    return [
        Contrast(b, a, metric)
        for number, a in enumerate(arms)
        for b in arms[number + 1 :]
        for metric in ("likeness", "consistency", "clip")
    ]


def _by_character(
    boards: Sequence[MeasuredBoard],
    arms: Mapping[str, Sequence[MeasuredBoard]],
    named: Sequence[tuple[str, str, str]],
    *,
    draws: int,
    seed: int,
) -> Iterator[tuple[str, Sequence[Comparison]]]:
    everybody = sorted({board.character for board in boards})
    for who in everybody if len(everybody) > 1 else ():
        units = [_unit(board, arm) for arm, those in arms.items() for board in those if board.character == who]
        yield who, compare_all(units, named, draws=draws, seed=seed)


def _curve(boards: Sequence[MeasuredBoard], draws: int, seed: int) -> Iterator[CurvePoint]:
    scales = sorted({board.lora_scale for board in boards if board.lora_scale is not None})
    units = {scale: [_unit(board, board.mode) for board in boards if board.lora_scale == scale] for scale in scales}
    for metric in CURVE_METRICS:
        for point in gain_curve(units, REFERENCE, SIMPLE, metric, draws=draws, seed=seed):
            there = units[point.setting]
            yield CurvePoint(metric, _mean(there, SIMPLE, metric), _mean(there, REFERENCE, metric), point)


def _mean(units: Sequence[Unit], arm: str, metric: str) -> float | None:
    return mean_of(unit.values[metric] for unit in units if unit.arm == arm)
