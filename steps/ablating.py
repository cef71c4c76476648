"""Arms held against each other: from measured storyboards to estimates, comparisons, a curve and what deviates from the plan."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any

from runner.report_parts import counted
from steps.library.preregistrations import METRICS, Contrast, Preregistration
from steps.library.storyboards import DrawnStoryboard
from steps.measures.faces import StoryboardLikeness
from steps.measures.statistics import Comparison, Estimate, GainPoint, Unit, compare_all, estimate, gain_curve

HEADLINE = "headline"
"""Likeness as a share of the way from strangers to true images: (likeness - floor) / (ceiling - floor)."""
FURTHER = (
    HEADLINE,
    "likeness_with_missing",
    "consistency_with_missing",
    "frame1_with_missing",
    "first_likeness",
    "first_clip",
    "null_percentile",
    "passed",
    "attempts",
    "seconds_a_frame",
)
"""Also told of each arm, beside METRICS."""
CURVE_METRICS = ("consistency", "likeness", "clip")


@dataclass(frozen=True)
class MeasuredFrame:
    """One frame, measured.

    Attributes:
        frame: From 1.
        file: The image.
        faces: How many were found.
        likeness: Mean cosine with the held-out references; None without a face.
        frame1: Cosine with frame 1's face; None for frame 1 and without a face.
        copy_paste: How much nearer to the conditioning image than to the truth; None without either.
        first_likeness: Likeness of the first attempt.
        clip: CLIPScore.
        first_clip: That of the first attempt.
        null_percentile: 0 to 100.
        passed: Whether the gate was reached.
        attempts: How many were drawn.
    """

    frame: int
    file: str
    faces: int
    likeness: float | None
    frame1: float | None
    copy_paste: float | None
    first_likeness: float | None
    clip: float
    first_clip: float
    null_percentile: float | None
    passed: bool
    attempts: int


@dataclass(frozen=True)
class MeasuredBoard:
    """One storyboard, measured.

    Attributes:
        key: Its name in its run.
        folder: Where it lies.
        character: Who is drawn.
        story: The story's name.
        mode: What was asked for.
        drawn_as: What was drawn.
        seed: Its seed.
        lora_scale: How strongly the LoRA told; None without one.
        adapter_scale: How strongly the reference told; None without one.
        frames: In order.
        metrics: By the names of METRICS and FURTHER.
        seconds: What its frames took, without loading models.
        usd: What it cost; None where nobody knows.
        peak_memory_bytes: None where nobody knows.
        drawn_at: ISO time; None where it was not noted.
        settings: What must be alike in all arms.
    """

    key: str
    folder: str
    character: str
    story: str
    mode: str
    drawn_as: str
    seed: int
    lora_scale: float | None
    adapter_scale: float | None
    frames: tuple[MeasuredFrame, ...]
    metrics: Mapping[str, float | None]
    seconds: float
    usd: float | None
    peak_memory_bytes: float | None
    drawn_at: str | None
    settings: Mapping[str, Any]


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
        curve: Over the LoRA's strength; empty where none was drawn.
        deviations: Where what was drawn is not what was planned, a sentence each.
        exploratory: Whether nothing was fixed beforehand.
    """

    arms: Mapping[str, Mapping[str, Estimate]]
    comparisons: Sequence[Comparison]
    primary: Comparison | None
    curve: Sequence[CurvePoint] = ()
    deviations: Sequence[str] = ()
    exploratory: bool = True
    boards: Mapping[str, int] = field(default_factory=dict)


def measured(
    board: DrawnStoryboard, character: str, kept: StoryboardLikeness, first: StoryboardLikeness
) -> MeasuredBoard:
    """A storyboard with what was measured of it.

    Args:
        board: As it was drawn.
        character: Who is drawn.
        kept: Of the frames that were kept.
        first: Of the first attempts, when nothing had been chosen yet.
    """
    frames = tuple(
        MeasuredFrame(
            frame=frame.frame,
            file=str(frame.file),
            faces=of_kept.faces,
            likeness=of_kept.likeness,
            frame1=of_kept.frame1,
            copy_paste=of_kept.copy_paste,
            first_likeness=of_first.likeness,
            clip=frame.clip,
            first_clip=frame.first_clip,
            null_percentile=frame.null_percentile,
            passed=frame.passed,
            attempts=frame.attempts,
        )
        for frame, of_kept, of_first in zip(board.frames, kept.frames, first.frames, strict=True)
    )
    # Loading models is once a run, and says nothing of a frame.
    seconds = sum(value for name, value in board.seconds.items() if name != "load")
    told = vars(board) | {"character": character, "folder": str(board.folder), "frames": frames, "seconds": seconds}
    metrics = {
        **kept.values(),
        "clip": fmean(frame.clip for frame in frames),
        "first_likeness": first.likeness,
        "first_clip": fmean(frame.first_clip for frame in frames),
        "null_percentile": mean_of(frame.null_percentile for frame in frames),
        "passed": fmean(frame.passed for frame in frames),
        "attempts": fmean(frame.attempts for frame in frames),
        "seconds_a_frame": seconds / len(frames),
    }
    fields = {field.name for field in dataclasses.fields(MeasuredBoard)} - {"metrics"}
    return MeasuredBoard(**{name: told[name] for name in fields}, metrics=metrics)


def located(found: MeasuredBoard, board: DrawnStoryboard) -> MeasuredBoard:
    """With the files where they are now: what is remembered was measured where an earlier run had them."""
    frames = tuple(
        dataclasses.replace(frame, file=str(drawn.file))
        for frame, drawn in zip(found.frames, board.frames, strict=True)
    )
    return dataclasses.replace(found, key=board.key, folder=str(board.folder), frames=frames)


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


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
    compared = compare_all(units, [(each.a, each.b, each.metric) for each in asked], draws=draws, seed=seed)
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
        curve=list(_curve(strength, draws, seed)),
        deviations=list(deviations(arms, plan)),
        exploratory=plan is None,
        boards={arm: len(those) for arm, those in arms.items()},
    )


def deviations(arms: Mapping[str, Sequence[MeasuredBoard]], plan: Preregistration | None) -> Iterator[str]:
    """Where what was drawn is not what was planned, or arms are not alike."""
    everything = [board for those in arms.values() for board in those]
    yield from _unlike(arms)
    if fell := [board.key for board in everything if board.drawn_as != board.mode]:
        yield (
            f"{counted(len(fell), 'storyboard')} drawn in another mode than asked for, for want of memory or of a face ({_few(fell)}): "
            f"counted for the mode that was asked for"
        )
    yield from _incomplete(arms)
    if plan is None:
        return
    if missing := list(_missing(everything, plan)):
        yield f"{len(missing)} of {counted(plan.boards, 'planned storyboard')} missing ({_few(missing)})"
    if extra := [board.key for board in everything if not _planned(board, plan)]:
        yield f"{counted(len(extra), 'storyboard')} not planned ({_few(extra)}), and counted"
    retries = {int(board.settings["retries"]) for board in everything if board.settings.get("retries") is not None}
    if plan.retries is not None and retries - {plan.retries}:
        yield f"retries = {', '.join(map(str, sorted(retries)))} where {plan.retries} was planned"
    if early := [board.key for board in everything if _before(board.drawn_at, plan.written_at)]:
        yield f"{counted(len(early), 'storyboard')} drawn before the plan was written ({_few(early)})"


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


def _curve(boards: Sequence[MeasuredBoard], draws: int, seed: int) -> Iterator[CurvePoint]:
    scales = sorted({board.lora_scale for board in boards if board.lora_scale is not None})
    units = {scale: [_unit(board, board.mode) for board in boards if board.lora_scale == scale] for scale in scales}
    for metric in CURVE_METRICS:
        for point in gain_curve(units, REFERENCE, SIMPLE, metric, draws=draws, seed=seed):
            there = units[point.setting]
            yield CurvePoint(metric, _mean(there, SIMPLE, metric), _mean(there, REFERENCE, metric), point)


def _mean(units: Sequence[Unit], arm: str, metric: str) -> float | None:
    return mean_of(unit.values[metric] for unit in units if unit.arm == arm)


def _unlike(arms: Mapping[str, Sequence[MeasuredBoard]]) -> Iterator[str]:
    """A setting that is not the same everywhere makes arms differ in more than their mode."""
    for name in ("retries", "threshold", "sampling"):
        found = {str(board.settings[name]) for those in arms.values() for board in those if name in board.settings}
        if len(found) > 1:
            yield f"{name} is not alike in all storyboards ({'; '.join(sorted(found))}): arms differ in more than their mode"


def _incomplete(arms: Mapping[str, Sequence[MeasuredBoard]]) -> Iterator[str]:
    """Cells that only some arms have are left out of comparisons."""
    cells = Counter((board.character, board.story, board.seed) for those in arms.values() for board in those)
    if alone := [cell for cell, count in cells.items() if count < len(arms)]:
        yield (
            f"{len(alone)} of {len(cells)} combinations of character, story and seed were not drawn in every arm: "
            f"comparisons leave them out where a partner is missing"
        )


def _missing(boards: Sequence[MeasuredBoard], plan: Preregistration) -> Iterator[str]:
    there = {(board.mode, board.character, board.story, board.seed) for board in boards}
    for mode in plan.arms:
        for character in plan.characters:
            for story in plan.stories:
                yield from (
                    f"{story}, {mode}, {seed}, {character}"
                    for seed in plan.seeds
                    if (mode, character, story, seed) not in there
                )


def _planned(board: MeasuredBoard, plan: Preregistration) -> bool:
    return (
        board.mode in plan.arms
        and board.character in plan.characters
        and board.story in plan.stories
        and board.seed in plan.seeds
    )


def _before(moment: str | None, other: str) -> bool:
    """Of two ISO times; one that is none tells nothing."""
    try:
        return moment is not None and datetime.fromisoformat(moment) < datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
