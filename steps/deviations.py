"""Where what was drawn is not what was planned, or arms differ in more than their mode: told beside every result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.report_parts import counted
from steps.library.preregistrations import Preregistration
from steps.measured_boards import MeasuredBoard


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
    yield from _same_pictures(arms)
    if plan is not None:
        yield from _off_plan(everything, plan)


def _off_plan(everything: Sequence[MeasuredBoard], plan: Preregistration) -> Iterator[str]:
    if missing := list(_missing(everything, plan)):
        yield f"{len(missing)} of {counted(plan.boards, 'planned storyboard')} missing ({_few(missing)})"
    modes = {board.mode for board in everything}
    if unasked := [str(each) for each in plan.comparisons if not {each.a, each.b} <= modes]:
        yield f"{counted(len(unasked), 'planned comparison')} can't be made, for an arm is missing ({_few(unasked)})"
    if extra := [board.key for board in everything if not _planned(board, plan)]:
        yield f"{counted(len(extra), 'storyboard')} not planned ({_few(extra)}), and counted"
    yield from _other_settings(everything, plan)
    if early := [board.key for board in everything if board.drawn_at and not drawn_after(board, plan)]:
        yield f"{counted(len(early), 'storyboard')} drawn before the plan was written ({_few(early)})"
    if undated := [board.key for board in everything if not board.drawn_at]:
        yield f"{counted(len(undated), 'storyboard')} of unknown time, perhaps older than the plan ({_few(undated)})"


def _other_settings(everything: Sequence[MeasuredBoard], plan: Preregistration) -> Iterator[str]:
    planned = {**plan.settings, "retries": plan.retries}
    for name, wanted in planned.items():
        found = {_number(value) for board in everything if (value := _setting(board, name)) is not None}
        if wanted is not None and found - {_number(wanted)}:
            yield f"{name} = {', '.join(sorted(found))} where {_number(wanted)} was planned"


def _setting(board: MeasuredBoard, name: str) -> Any:
    """How a storyboard was drawn, by the name that recipes give it; None where it has no such setting."""
    if name in ("lora_scale", "adapter_scale"):
        return getattr(board, name)
    return board.settings.get(name, (board.settings.get("sampling") or {}).get(name))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _unlike(arms: Mapping[str, Sequence[MeasuredBoard]]) -> Iterator[str]:
    """A setting that is not the same everywhere makes arms differ in more than their mode."""
    for name in ("retries", "threshold", "face_score", "sampling"):
        found = {str(board.settings[name]) for those in arms.values() for board in those if name in board.settings}
        if len(found) > 1:
            yield f"{name} is not alike in all storyboards ({'; '.join(sorted(found))}): arms differ in more than their mode"


def _incomplete(arms: Mapping[str, Sequence[MeasuredBoard]]) -> Iterator[str]:
    """Cells that only some arms have are left out of comparisons."""
    cells = Counter((board.character, board.story, board.seed) for those in arms.values() for board in those)
    lengths: defaultdict[tuple[str, str, int], set[int]] = defaultdict(set)
    for board in (board for those in arms.values() for board in those):
        lengths[board.character, board.story, board.seed].add(len(board.frames))
    if uneven := [f"{story}, seed {seed}, {who}" for (who, story, seed), found in lengths.items() if len(found) > 1]:
        yield (
            f"{len(uneven)} of {len(cells)} combinations of character, story and seed have more frames in one arm than in another "
            f"({_few(uneven)}): their means are of different scenes"
        )
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


def _same_pictures(arms: Mapping[str, Sequence[MeasuredBoard]]) -> Iterator[str]:
    """A way of drawing that knows no character draws every one alike."""
    for arm, boards in arms.items():
        distinct = len({board.pixels for board in boards if board.pixels})
        if distinct and distinct < len(boards):
            yield f"arm {arm}: of {len(boards)} storyboards {distinct} are distinct, the others show the same pictures as one of these"


def drawn_after(board: MeasuredBoard, plan: Preregistration) -> bool:
    """Whether it is known to be younger than the plan."""
    try:
        return board.drawn_at is not None and datetime.fromisoformat(board.drawn_at) >= plan.moment
    except (ValueError, TypeError):
        return False


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
