"""What people compare: storyboards of one story, character and seed, drawn by each arm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.errors import UserError
from runner.report_parts import counted
from steps.library.storyboards import DrawnStoryboard, main_strengths

Place = tuple[str, str, int]
"""Character, story, seed."""


@dataclass(frozen=True)
class Unit:
    """One story of one character with one seed.

    Attributes:
        place: Character, story, seed.
        boards: What each arm drew, all of as many frames.
        texts: What each frame shows, alike for all arms.
    """

    place: Place
    boards: Mapping[str, DrawnStoryboard]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """What a study is made of.

    Attributes:
        arms: By name, sorted.
        units: Each with every arm.
        left_out: Sentences about what is not shown, and why.
    """

    arms: tuple[str, ...]
    units: tuple[Unit, ...]
    left_out: tuple[str, ...]


def select(boards: Sequence[DrawnStoryboard], arms: Sequence[str] = (), stories: Sequence[str] = ()) -> Selection:
    """Group storyboards; only what every arm drew can be compared.

    Args:
        boards: From any number of runs.
        arms: Which to show; by default all modes, each with the strengths that most of its storyboards have.
        stories: Which to show; all by default.

    Raises:
        UserError: A name that no storyboard has, or nothing is left.
    """
    named, beside = _by_arm(boards)
    _check_names("--arms", arms, {arm for arm, _ in named})
    _check_names("--stories", stories, {board.story for _, board in named})
    arms = arms or sorted({arm for arm, _ in named} - beside)
    wanted = [(arm, board) for arm, board in named if arm in arms and (not stories or board.story in stories)]
    chosen = tuple(sorted({arm for arm, _ in wanted}))
    places: dict[Place, dict[str, DrawnStoryboard]] = defaultdict(dict)
    left_out = [f"{arm}, a strength beside the comparison: --arms names it" for arm in sorted(beside - set(arms))]
    for arm, board in wanted:
        if board.drawn_as == board.mode:
            places[board.character, board.story, board.seed][arm] = board
        else:
            left_out.append(f"{board.folder} was asked for as {board.mode} and drawn as {board.drawn_as}")
    units = []
    for place, by_arm in sorted(places.items()):
        if fault := _fault_of(by_arm, chosen):
            left_out.append(f"{spoken(place)}: {fault}")
        else:
            ordered = {arm: by_arm[arm] for arm in chosen}
            units.append(Unit(place, ordered, tuple(frame.text for frame in ordered[chosen[0]].frames)))
    if not units:
        raise UserError(
            f"no story was drawn by every one of {', '.join(chosen)}, so that nothing can be compared: {left_out[0]}; "
            f"choose arms that drew the same stories with the same seeds: --arms ARM ..."
        )
    return Selection(chosen, tuple(units), tuple(left_out))


def spoken(place: Place) -> str:
    """A place in words."""
    character, story, seed = place
    return f"{story}, seed {seed}" + (f", of '{character}'" if character else "")


def _by_arm(boards: Sequence[DrawnStoryboard]) -> tuple[list[tuple[str, DrawnStoryboard]], set[str]]:
    """Each with its arm, and the arms that are a curve over strengths beside the comparison.

    The arm is the mode; what lies beside the comparison is named with its strengths, and so is all of a mode that is compared at several.
    """
    kept, left_out = main_strengths(boards)
    strengths = {(board.mode, board.lora_scale, board.adapter_scale) for board in kept}
    several = Counter(mode for mode, *_ in strengths)
    named = [(board.mode if several[board.mode] == 1 else _with_strengths(board), board) for board in kept]
    beside = [(_with_strengths(board), board) for board in left_out]
    return [*named, *beside], {arm for arm, _ in beside}


def _with_strengths(board: DrawnStoryboard) -> str:
    strengths = (("lora", board.lora_scale), ("adapter", board.adapter_scale))
    return ", ".join([board.mode, *(f"{name} {scale:g}" for name, scale in strengths if scale is not None)])


def _check_names(option: str, given: Sequence[str], known: set[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise UserError(f"{option} {unknown[0]}: no storyboard has that: choose from {', '.join(sorted(known))}")


def _fault_of(by_arm: Mapping[str, DrawnStoryboard], arms: Sequence[str]) -> str | None:
    if missing := [arm for arm in arms if arm not in by_arm]:
        return f"not drawn by {', '.join(missing)}"
    lengths = {arm: len(by_arm[arm].frames) for arm in arms}
    if len(set(lengths.values())) > 1:
        return "not as many frames in each arm: " + ", ".join(
            f"{arm} has {counted(length, 'frame')}" for arm, length in lengths.items()
        )
    return None
