"""Carry out an action plan: make and verify new base images, then move what they replace to the trash."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.files import under
from runner.params import at_least, one_of, param
from runner.report_parts import Badge, Entry, ReportPart, Shown, counted, write_part
from runner.step import Item, Outcome, Results, StepContext
from steps import judging
from steps.backends.protocols import ImageMaker, Vision
from steps.carrying import Carrier
from steps.library import layout, made
from steps.library.actors import Actor, Library, library_need
from steps.library.journal import ActionRecord, Arrival
from steps.library.made import MadeRecord
from steps.library.mirror import Storage
from steps.library.pictures import Picture
from steps.library.plans import PlannedAction, read_plan
from steps.library.thumbnails import thumbnail
from steps.making import Maker, Order

EXECUTED = "executed.json"


@dataclass(frozen=True)
class ExecuteParams:
    """Which plan, and which part of it."""

    plan: str = param(help="action_plan.json of a plan step")
    actions: list[str] | None = param(
        None, help="only actions of these types; null is all", check=one_of(*judging.CHANGES)
    )
    attempts: int = param(3, help="images made until one passes; if none does, the old one stays", check=at_least(1))
    force: bool = param(False, help="also when more than half of the library's files go")
    prompt: str = param(judging.PROMPT, help="what the vision backend is asked about a new image")


@dataclass(frozen=True)
class Executed:
    """What became of one action, or what would."""

    actor_id: int
    actor_name: str
    action: str
    reason: str
    done: bool
    trashed: int
    target: str
    judged: str | None = None
    image: MadeRecord | None = None
    images_made: int = 0
    id: str = ""
    objects: int = 0


class Execute:
    """Carry out an action plan, or preview it: without execute=true nothing is changed."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: ExecuteParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(
        self, params: ExecuteParams, context: StepContext, vision: Vision, image: ImageMaker, storage: Storage
    ) -> None:
        self._params = params
        self._context = context
        self._library = Library(context.data)
        self._carrier = Carrier(context, storage)
        self._vision = vision
        self._maker = Maker(image, self._carrier.replacement, self._carrier.journal, context.operations)

    def items(self) -> Sequence[Item[PlannedAction]]:
        """One item an action.

        Raises:
            UserError: The plan is not a plan, of another library, used before, or takes more than half of the library without force.
        """
        plan = read_plan(Path(self._params.plan))
        self._carrier.check_library(self._params.plan, plan.library_id, plan.library_path)
        self._carrier.take_library()
        self._plan_id = plan.id
        wanted = self._params.actions
        chosen = {row.actor_name: row for row in plan.actions if wanted is None or row.action in wanted}
        ids = {name: action.id_in(plan.id) for name, action in chosen.items()}
        left = [chosen[name] for name in self._carrier.unused(self._params.plan, plan.id, ids)]
        going = {self._context.data / file.path for action in left for file in action.files}
        self._carrier.check_share(self._params.plan, going, force=self._params.force)
        return [Item(action.actor_name, action, (plan.id, action)) for action in left]

    def process(self, action: PlannedAction) -> Executed:
        """Carry out, or preview, one action; goes on where an earlier try was cut off."""
        record = self._record(action)
        if not self._context.execute:
            self._check(action, record)
            return _executed(action, record, done=False)
        done = self._carrier.carry_out(
            record, check=lambda now: self._check(action, now), make=lambda now: self._made(action, now)
        )
        return _executed(action, done, done=True)

    def _made(self, action: PlannedAction, record: ActionRecord) -> ActionRecord:
        """The record with a verified image."""
        actor = self._actor(action)
        order = Order(action.make, self._look_for(actor), self._params.attempts, judging.facts_of(actor))
        return self._maker.make(record, record.arrivals[0], order)

    def _look_for(self, actor: Actor) -> Callable[[Picture], str | None]:
        def look(picture: Picture) -> str | None:
            assessment = judging.assess(self._vision, actor, picture, self._params.prompt)
            return None if assessment.good else assessment.reason

        return look

    def _check(self, action: PlannedAction, record: ActionRecord) -> None:
        """All that the plan saw must still be so.

        Raises:
            ItemError: Something changed since.
        """
        self._carrier.replacement.check_unchanged(record)
        found = self._library.base_image(self._actor(action), self._context.hashes)
        where = None if found is None else found.relative_to(self._context.data).as_posix()
        if where != (action.judged[0] if action.judged else None):
            was = action.judged[0] if action.judged else "none"
            raise ItemError(
                f"the base image was {was} when the plan was made, and is {where or 'none'} now: make a new plan"
            )
        if action.judged and found is not None and files.sha256_of(found) != action.judged[1]:
            raise ItemError(f"{where} has changed since the plan was made: make a new plan")

    def finish(self, results: Results[Executed]) -> None:
        """Write executed.json and the report's part."""
        outcomes = list(results)
        rows = [_row(outcome) for outcome in outcomes]
        done = Counter(
            outcome.result.action for outcome in outcomes if outcome.result is not None and outcome.result.done
        )
        document = {
            "dry_run": not self._context.execute,
            "plan_id": self._plan_id,
            "summary": {
                **{action: done[action] for action in judging.CHANGES},
                "errors": sum(outcome.result is None for outcome in outcomes),
            },
            "results": rows,
        }
        files.write_json(self._context.out / EXECUTED, document)
        write_part(self._context.out, self._report(outcomes))

    def close(self) -> None:
        """Let go of the library."""
        self._carrier.let_go()

    def _record(self, action: PlannedAction) -> ActionRecord:
        target = layout.base_image(self._context.data, action.actor_name).relative_to(self._context.data).as_posix()
        for path in [target, *(file.path for file in action.files)]:
            try:
                under(self._context.data, path, f"{self._params.plan}, {action.actor_name}")
            except UserError as error:
                raise ItemError(str(error)) from error
        return ActionRecord(
            id=action.id_in(self._plan_id),
            plan=self._plan_id,
            run=self._context.run,
            library=str(self._context.data.resolve()),
            actor_name=action.actor_name,
            action=action.action,
            files=action.files,
            keys=action.keys,
            arrivals=(Arrival(target),),
            judged=action.judged,
            former=made.read(self._context.data, action.actor_name),
        )

    def _actor(self, action: PlannedAction) -> Actor:
        actor = self._library.by_name(action.actor_name)
        if actor is not None:
            return actor
        raise ItemError(f"{action.actor_name} is not in actorsData.json any more: make a new plan")

    def _report(self, outcomes: Sequence[Outcome[Executed]]) -> ReportPart:
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        failed = len(outcomes) - len(results)
        files_gone = sum(result.trashed for result in results)
        if self._context.execute:
            headline = f"{len(results)} of {len(outcomes)} actions carried out, {counted(files_gone, 'file')} in the trash, {failed} failed."
            if results:
                headline += f" Take it back: callsheet undo {os.path.relpath(self._context.run)}"
        else:
            headline = f"Preview: {len(results)} actions could be carried out, {failed} could not. Nothing was changed; execute=true acts."
        counts = Counter(result.action for result in results)
        acted = "done" if self._context.execute else "to do"
        return ReportPart(
            headline=headline,
            counts=[
                (f"files {'moved' if self._context.execute else 'that would go'} to the trash", files_gone),
                *(
                    (f"{judging.BADGES[action].word}, {acted}", counts[action])
                    for action in judging.CHANGES
                    if counts[action]
                ),
            ],
            entries=[self._entry(outcome) for outcome in outcomes],
            warnings=self._carrier.warnings,
        )

    def _entry(self, outcome: Outcome[Executed]) -> Entry:
        result = outcome.result
        if result is None:
            return Entry(
                outcome.key, outcome.key, badge=judging.BADGES[judging.ERROR], notes=[f"Not done: {outcome.error}"]
            )
        pictures = self._before(result)
        if not result.done or result.image is None:
            note = f"Would make a new image and move {_counted(result)} to the trash"
            return Entry(
                outcome.key,
                outcome.key,
                badge=judging.BADGES[result.action],
                pictures=pictures,
                notes=[result.reason, note],
            )
        pictures += self._shown(
            self._context.data / result.target, result.actor_name, "after", f"New base image of {result.actor_name}"
        )
        note = f"New image made with seed {result.image.seed} and verified; {_counted(result)} moved to the trash"
        facts = [("Made by", result.image.model), ("Images made", str(result.images_made))]
        return Entry(
            outcome.key, outcome.key, badge=_done_badge(result.action), pictures=pictures, notes=[note], facts=facts
        )

    def _before(self, result: Executed) -> list[Shown]:
        """The image that was judged, unless a step of this run has shown it: where it was, or in the trash."""
        if result.judged is None or list(self._context.out.parent.glob(f"*/pictures/{result.actor_name}.jpg")):
            return []
        places = (self._carrier.replacement.in_trash(result.id, result.judged), self._context.data / result.judged)
        path = next((place for place in places if place.is_file()), places[1])
        return self._shown(
            path, f"{result.actor_name}.before", "before", f"Base image of {result.actor_name} as it was"
        )

    def _shown(self, path: Path, name: str, caption: str, alt: str) -> list[Shown]:
        with contextlib.suppress(OSError):
            if (file := thumbnail(path, self._context.out / "pictures", name)) is not None:
                return [Shown(f"{self._context.label}/pictures/{file}", caption, alt)]
        return []


def _executed(action: PlannedAction, record: ActionRecord, *, done: bool) -> Executed:
    arrival = record.arrivals[0]
    return Executed(
        actor_id=action.actor_id,
        actor_name=action.actor_name,
        action=action.action,
        reason=action.reason,
        done=done,
        trashed=len(record.files),
        target=arrival.path,
        judged=action.judged[0] if action.judged else None,
        image=arrival.made,
        images_made=arrival.attempts + 1 if done else 0,
        id=record.id,
        objects=len(record.keys),
    )


def _row(outcome: Outcome[Executed]) -> dict[str, object]:
    if outcome.result is None:
        return {"actor_name": outcome.key, "success": False, "error": outcome.error}
    return {**asdict(outcome.result), "success": True}


def _done_badge(action: str) -> Badge:
    badge = judging.BADGES[action]
    return Badge(badge.kind, f"{badge.word}, done", badge.symbol, badge.tone)


def _counted(result: Executed) -> str:
    files_gone = counted(result.trashed, "file")
    return f"{files_gone} and {counted(result.objects, 'object')} of the mirror" if result.objects else files_gone
