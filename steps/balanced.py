"""What became of actors' training images, and how the report tells it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import files
from runner.errors import ItemError
from runner.report_parts import COMES, Badge, Entry, ReportPart, Shown, counted
from runner.step import Outcome, StepContext
from steps.balancing import Target
from steps.distributions import bars, off, trend_of
from steps.library import composites, layout, pictures, training
from steps.library.balances import Leaving, PlannedBalance
from steps.library.composites import Cell
from steps.library.history import History
from steps.library.journal import ActionRecord, Arrival
from steps.library.thumbnails import thumbnail

TO_BALANCE = Badge("out_of_balance", "out of balance", "⇄", "change")
BALANCED = Badge("was_balanced", "balanced now", "✓", "good")
SHORT = Badge("short", "not at its target", "!", "error")


@dataclass(frozen=True)
class Placed:
    """A new image in its place."""

    file: str
    kind: str
    sha256: str
    seed: int
    model: str
    attempts: int


@dataclass(frozen=True)
class Executed:
    """What became of one actor's training images, or what would.

    Attributes:
        deleted: Images that went, from disk or mirror.
        objects: Objects of the mirror that went.
        placed: Images that came.
        short: Images that were to come and did not pass, by class.
        left: Usable images by class, as they are afterwards.
    """

    actor_id: int
    actor_name: str
    id: str
    done: bool
    deleted: tuple[str, ...]
    objects: int
    placed: tuple[Placed, ...]
    short: Mapping[str, int]
    left: Mapping[str, int]


def executed(action: PlannedBalance, record: ActionRecord, *, done: bool) -> Executed:
    """What an action does, or has done.

    Args:
        action: As it was planned.
        record: As the journal has it.
        done: Whether it was carried out.
    """
    short = short_of(action, record.arrivals) if done else {}
    stays = spared(action, short)
    gone = [image for image in action.goes if image.number not in stays]
    placed = tuple(_placed(action, record)) if done else ()
    return Executed(
        actor_id=action.actor_id,
        actor_name=action.actor_name,
        id=record.id,
        done=done,
        deleted=tuple(image.file for image in gone),
        objects=len(record.keys),
        placed=placed,
        short=short,
        left=_left(action, gone, stays, placed) if done else dict(action.before),
    )


def short_of(action: PlannedBalance, arrivals: Sequence[Arrival]) -> dict[str, int]:
    """Images that were to come and are not among the arrivals, by class."""
    slots = {arrival.slot for arrival in arrivals}
    return dict(Counter(new.kind for slot, new in enumerate(action.comes) if slot not in slots))


def spared(action: PlannedBalance, short: Mapping[str, int]) -> set[int]:
    """Images that stay because what was to replace them did not pass: poor ones of their class are better than none."""
    numbers: set[int] = set()
    for kind, count in short.items():
        poor = [image for image in action.goes if image.condemned and image.kind == kind and image.quality > 0]
        best = sorted(poor, key=lambda image: -image.quality)[:count]
        numbers |= {image.number for image in best}
    return numbers


def at_target(action: PlannedBalance, done: Executed) -> bool:
    """Whether an actor is balanced now."""
    return Target(action.target, action.tolerance).met_by(done.left)


class BalanceReport:
    """Tells what became of the actors of a plan.

    Args:
        context: The step's.
        actions: What was planned, by actor.
    """

    def __init__(self, context: StepContext, actions: Mapping[str, PlannedBalance]) -> None:
        self._context = context
        self._actions = actions
        self._history = History(context.ledger, context.data)

    def draw_composite(self, action: PlannedBalance) -> None:
        """Lay out what is there now, to be seen beside what was. The library is as it should be, also where this can't be done."""
        folder = layout.training_folder(self._context.data, action.actor_name)
        # Of what was to go, what is still there was spared for want of new ones.
        files_now = [*action.stays, *(image.file for image in action.goes), *(new.file for new in action.comes)]
        try:
            paths = [folder / file for file in sorted(files_now, key=training.order_of) if (folder / file).is_file()]
            for index, sheet in enumerate(composites.sheets(_cells(paths)), start=1):
                files.write_bytes(self._context.out / _composite(action.actor_id, index), sheet)
        except (ItemError, OSError) as error:
            self._context.log.warning("%s: its composite can't be drawn: %s", action.actor_name, error)

    def part(
        self, outcomes: Sequence[Outcome[Executed]], became: Mapping[str, Executed | None], warnings: Sequence[str]
    ) -> ReportPart:
        """The report's part.

        Args:
            outcomes: How each actor ended.
            became: What became of each, by name; also of those that came short of their target and so count as failed.
            warnings: What else a person should know.
        """
        results = [one for one in became.values() if one is not None]
        gone, came = sum(len(one.deleted) for one in results), sum(len(one.placed) for one in results)
        failed = sum(outcome.result is None for outcome in outcomes)
        acted = self._context.execute
        if not outcomes:
            headline = "Nothing to do."
        elif acted:
            moved = f"{counted(gone, 'image')} in the trash, {came} made, {failed} failed"
            balanced = sum(at_target(self._actions[one.actor_name], one) for one in results)
            headline = f"{balanced} of {counted(len(outcomes), 'actor')} balanced: {moved}."
            if results:
                headline += f" Take it back: callsheet undo {os.path.relpath(self._context.run)}"
        else:
            headline = f"Preview: {counted(len(results), 'actor')} could be balanced, {failed} could not. Nothing was changed; execute=true acts."
        return ReportPart(
            headline=headline,
            counts=[
                (f"images {'moved' if acted else 'that would go'} to the trash", gone),
                ("images made" if acted else "images that would be made", came if acted else self._wanted(results)),
            ],
            entries=[self._entry(outcome, became[outcome.key]) for outcome in outcomes],
            warnings=warnings,
        )

    def _wanted(self, results: Sequence[Executed]) -> int:
        return sum(len(self._actions[one.actor_name].comes) for one in results)

    def _entry(self, outcome: Outcome[Executed], became: Executed | None) -> Entry:
        notes = [] if outcome.error is None else [f"Not done: {outcome.error}"]
        if became is None:
            return Entry(outcome.key, outcome.key, badge=SHORT, notes=notes)
        action = self._actions[outcome.key]
        if not became.done:
            comes = counted(len(action.comes), "new one")
            notes.append(f"Would move {counted(len(action.goes), 'image')} to the trash and make {comes}")
            return Entry(outcome.key, outcome.key, badge=TO_BALANCE, notes=notes)
        placed = counted(len(became.placed), "new one")
        notes.append(f"{counted(len(became.deleted), 'image')} moved to the trash, {placed} made and verified")
        target = Target(action.target, action.tolerance)
        return Entry(
            outcome.key,
            outcome.key,
            badge=BALANCED if at_target(action, became) else SHORT,
            notes=notes,
            pictures=[*self._composite_shown(became), *self._new_shown(became)],
            bars=bars(target, action.before, became.left),
            trend=trend_of(self._history.of(outcome.key)),
            rank=target.distance(became.left),
            rank_text=off(target, became.left),
        )

    def _composite_shown(self, done: Executed) -> Iterator[Shown]:
        sheet = 1
        while (self._context.out / (file := _composite(done.actor_id, sheet))).is_file():
            yield Shown(
                f"{self._context.label}/{file}", "as left", f"Training images of {done.actor_name} as they are now"
            )
            sheet += 1

    def _new_shown(self, done: Executed) -> Iterator[Shown]:
        for new in done.placed:
            path = layout.training_folder(self._context.data, done.actor_name) / new.file
            if (file := thumbnail(path, self._context.out / "pictures", Path(new.file).stem)) is not None:
                yield Shown(
                    f"{self._context.label}/pictures/{file}",
                    str(training.number_of(new.file)),
                    f"New training image {new.file} of {done.actor_name}, {new.kind}",
                    mark=COMES,
                    reason=f"{new.kind}, made by {new.model} with seed {new.seed}",
                )


def _placed(action: PlannedBalance, record: ActionRecord) -> Iterator[Placed]:
    for arrival in record.arrivals:
        new, made = action.comes[arrival.slot], arrival.made
        if made is not None and arrival.passed:
            yield Placed(new.file, new.kind, made.sha256, made.seed, made.model, arrival.attempts + 1)


def _left(
    action: PlannedBalance, gone: Sequence[Leaving], stays: Collection[int], placed: Sequence[Placed]
) -> dict[str, int]:
    """Usable images by class, as they are afterwards: counted from what was done, for a person may have cut the plan down."""
    left = Counter(action.before)
    # Condemned ones were not counted as usable; those that had to stay are used after all.
    left.subtract(image.kind for image in gone if not image.condemned and image.kind)
    left.update(image.kind for image in action.goes if image.number in stays and image.kind)
    left.update(new.kind for new in placed)
    return {kind: count for kind, count in left.items() if count > 0}


def _cells(paths: Sequence[Path]) -> Iterator[Cell]:
    for number, path in enumerate(paths, start=1):
        try:
            yield Cell(str(number), pictures.shrink(pictures.read(path), path.name, composites.THUMBNAIL).image)
        except ItemError:
            yield Cell(f"{number} broken", None)


def _composite(actor_id: int, sheet: int) -> str:
    return f"{actor_id:04d}_composite{'' if sheet == 1 else f'_{sheet}'}.jpg"
