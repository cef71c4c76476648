"""Carry out an action plan: make and verify new base images, then move what they replace to the trash."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.errors import DiskFailed, ItemError, Refused, UserError
from runner.failpoints import failpoint
from runner.files import under
from runner.params import at_least, one_of, param
from runner.report_parts import Badge, Entry, ReportPart, Shown, write_part
from runner.run import now
from runner.step import Item, Outcome, Results, StepContext
from steps import judging
from steps.backends.protocols import ImageMaker, ImageRequest, Vision
from steps.library import layout, pictures
from steps.library.actors import Actor, Library
from steps.library.made import MadeRecord
from steps.library.mirror import Storage
from steps.library.plans import ActionPlan, PlannedAction, library_id, read_plan
from steps.library.thumbnails import thumbnail
from steps.library.transaction import (
    DONE,
    FAILED,
    INTENT,
    MADE,
    UNDONE,
    ActionRecord,
    Journal,
    Replacement,
    sweep_own,
    with_attempt,
    with_image,
)

EXECUTED = "executed.json"
# More of the library than this goes only with force=true.
LARGEST_SHARE = 0.5


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
    """What became of one action."""

    actor_id: int
    actor_name: str
    action: str
    reason: str
    done: bool
    trashed: int
    target: str
    image: MadeRecord | None = None
    attempts: int = 0


class Execute:
    """Carry out an action plan, or preview it: without execute=true nothing is changed."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    def __init__(
        self, params: ExecuteParams, context: StepContext, vision: Vision, image: ImageMaker, storage: Storage
    ) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._image = image
        self._library = Library(context.data)
        self._journal = Journal(context.ledger)
        self._replacement = Replacement(context.data, self._journal, context.operations, storage)
        self._held = ExitStack()

    def items(self) -> Sequence[Item[PlannedAction]]:
        """One item an action.

        Raises:
            UserError: The plan is not a plan, of another library, used before, or takes more than half of the library without force.
        """
        plan = read_plan(Path(self._params.plan))
        if plan.library_id != library_id(self._context.data):
            raise UserError(
                f"{self._params.plan} was made for the library {plan.library_path}, not {self._context.data.resolve()}: make a new plan"
            )
        chosen = [
            action for action in plan.actions if self._params.actions is None or action.action in self._params.actions
        ]
        self._plan_id = plan.id
        if self._context.execute:
            own = self._context.data / layout.OWN
            self._held.enter_context(
                files.locked(own / "lock", f"another run changes {self._context.data} at this moment: wait for it")
            )
            sweep_own(self._context.data)
            self._claim(plan, chosen)
            self._check_share(chosen)
        return [Item(action.actor_name, action, (plan.id, action)) for action in chosen]

    def process(self, action: PlannedAction) -> Executed:
        """Carry out, or preview, one action; goes on where an earlier try was cut off."""
        try:
            return self._carry_out(action)
        except (FileExistsError, FileNotFoundError, ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # Perhaps half done: the run must not count it as failed and be over with it, but take it up again.
            raise DiskFailed.at(error) from error

    def _carry_out(self, action: PlannedAction) -> Executed:
        record = self._record(action)
        if not self._context.execute:
            self._actor(action)
            self._replacement.check_unchanged(record)
            return _executed(action, record, done=False)
        known = self._journal.read(record.id)
        state = INTENT
        if known is None:
            self._replacement.check_unchanged(record)
            self._journal.begin(record)
            failpoint("execute.intent")
        else:
            state, record = self._adopted(*known)
        if state in (DONE, UNDONE):
            return _executed(action, record, done=state == DONE)
        if state == FAILED:
            raise ItemError(f"{action.actor_name}: no image passed in an earlier try of this plan: make a new plan")
        if state == INTENT or (state == MADE and not self._still_staged(record)):
            record = self._make(action, record)
            state = MADE
        if state == MADE:
            self._replacement.check_unchanged(record)
        self._replacement.finish(record)
        return _executed(action, record, done=True)

    def finish(self, results: Results[Executed]) -> None:
        """Write executed.json and the report's part."""
        outcomes = list(results)
        rows = [_row(outcome) for outcome in outcomes]
        files.write_json(
            self._context.out / EXECUTED,
            {"dry_run": not self._context.execute, "plan_id": self._plan_id, "results": rows},
        )
        write_part(self._context.out, self._report(outcomes))

    def close(self) -> None:
        """Let go of the library."""
        self._held.close()

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
            target=target,
            files=action.files,
            keys=action.keys,
        )

    def _check_share(self, chosen: Sequence[PlannedAction]) -> None:
        going = sum(len(action.files) for action in chosen)
        there = {path for path in (self._context.data / "actors").rglob("*") if path.is_file()}
        # Those that an earlier try has moved already count as there, or what was a small share would grow as it is carried out.
        there |= {self._context.data / file.path for action in chosen for file in action.files}
        if going > LARGEST_SHARE * len(there) and not self._params.force:
            raise UserError(
                f"{going} of the library's {len(there)} files would go to the trash, more than half: "
                f"look at {self._params.plan}, then give force=true if you mean it"
            )

    def _claim(self, plan: ActionPlan, chosen: Sequence[PlannedAction]) -> None:
        """A plan is used once: an empty one as a whole, otherwise each of its actions, so that types can be carried out one after the other."""
        earlier = self._journal.claim_plan(plan.id, self._context.run)
        used = self._journal.runs_of_plan(plan.id)
        others = {
            used[key]
            for key in (action.id_in(plan.id) for action in chosen)
            if key in used and used[key] != self._context.run
        }
        if others or (earlier is not None and not chosen):
            raise UserError(
                f"{self._params.plan} was carried out before, by {min(others) if others else earlier}: make a new plan"
            )

    def _adopted(self, state: str, record: ActionRecord) -> tuple[str, ActionRecord]:
        """What another run began and could not do (no image came, none passed) this one may try again."""
        if record.run == self._context.run:
            return state, record
        record = replace(record, run=self._context.run, attempts=0)
        self._journal.note(record, INTENT)
        return INTENT, record

    def _still_staged(self, record: ActionRecord) -> bool:
        path = self._replacement.staged(record.id)
        return record.image is not None and path.is_file() and files.sha256_of(path) == record.image.sha256

    def _make(self, action: PlannedAction, record: ActionRecord) -> ActionRecord:
        """Make images until one passes the same look that condemned the old one.

        Raises:
            ItemError: None passed; the old image stays.
        """
        actor = self._actor(action)
        reasons: list[str] = []
        while record.attempts < self._params.attempts:
            seed = _seed_of(action, record.attempts)
            try:
                image = self._attempt(actor, action, record, seed)
            except _NotGood as error:
                reasons.append(str(error))
                record = with_attempt(record)
                self._journal.note(record, INTENT)
                continue
            record = with_image(record, image)
            self._journal.note(record, MADE)
            failpoint("execute.made")
            return record
        files.remove(self._replacement.staged(record.id))
        self._journal.note(record, FAILED)
        raise ItemError(
            f"none of {self._params.attempts} new images passed, the old one stays: {'; '.join(reasons) or 'tried before'}"
        )

    def _attempt(self, actor: Actor, action: PlannedAction, record: ActionRecord, seed: int) -> MadeRecord:
        make = action.make
        request = ImageRequest(
            key=f"{record.id}/{record.attempts}",
            prompt=make.prompt,
            width=make.width,
            height=make.height,
            steps=make.steps,
            seed=seed,
            facts=judging.facts_of(actor),
        )
        try:
            made_image = self._image.make(request)
        except Refused as error:
            raise _NotGood(f"seed {seed} was refused: {error}") from error
        data = _as_jpeg(made_image.data, actor.name)
        staged = self._replacement.staged(record.id)
        files.write_bytes(staged, data)
        failpoint("execute.staged")
        picture = pictures.load(staged)
        assessment = judging.assess(self._vision, actor, picture, self._params.prompt)
        if not assessment.good:
            raise _NotGood(f"seed {seed}: {assessment.reason}")
        self._context.operations.record("make", record.target, action=record.id, seed=seed, model=made_image.model)
        return MadeRecord(picture.sha256, made_image.model, make.prompt, seed, record.id, now())

    def _actor(self, action: PlannedAction) -> Actor:
        actor = self._library.by_name(action.actor_name)
        if actor is not None:
            return actor
        raise ItemError(f"{action.actor_name} is not in actorsData.json any more: make a new plan")

    def _report(self, outcomes: Sequence[Outcome[Executed]]) -> ReportPart:
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        failed = [outcome for outcome in outcomes if outcome.result is None]
        done = [result for result in results if result.done]
        trashed = sum(result.trashed for result in done)
        if self._context.execute:
            headline = f"{len(done)} of {len(outcomes)} actions carried out, {trashed} files in the trash, {len(failed)} failed."
            if done:
                headline += f" Take it back: callsheet undo {'/'.join(Path(self._context.run).parts[-2:])}"
        else:
            headline = f"Preview: {len(results)} actions could be carried out, {len(failed)} could not. Nothing was changed; execute=true acts."
        counts = Counter(result.action for result in done)
        return ReportPart(
            headline=headline,
            counts=[("files moved to the trash", trashed)]
            + [
                (judging.BADGES[action].word + ", done", counts[action]) for action in judging.CHANGES if counts[action]
            ],
            entries=[self._entry(outcome) for outcome in outcomes],
        )

    def _entry(self, outcome: Outcome[Executed]) -> Entry:
        result = outcome.result
        if result is None:
            return Entry(
                outcome.key, outcome.key, badge=judging.BADGES[judging.ERROR], notes=[f"Not done: {outcome.error}"]
            )
        if not result.done or result.image is None:
            return Entry(
                outcome.key, outcome.key, notes=[f"Would make a new image and move {result.trashed} files to the trash"]
            )
        shown = []
        with contextlib.suppress(OSError):
            if name := thumbnail(self._context.data / result.target, self._context.out / "pictures", result.actor_name):
                shown.append(
                    Shown(f"{self._context.label}/pictures/{name}", "after", f"New base image of {result.actor_name}")
                )
        note = f"New image made with seed {result.image.seed} and verified; {result.trashed} files moved to the trash"
        facts = [("Made by", result.image.model), ("Attempts", str(result.attempts + 1))]
        return Entry(
            outcome.key, outcome.key, badge=_done_badge(result.action), pictures=shown, notes=[note], facts=facts
        )


class _NotGood(Exception):
    """One attempt that did not pass."""


def _as_jpeg(data: bytes, name: str) -> bytes:
    """The image as it will be stored; what a backend sent as JPEG stays byte for byte."""
    try:
        picture = pictures.decode(data, f"the new image of {name}")
    except ItemError as error:
        raise _NotGood(f"what came back is no image: {error}") from error
    return data if data.startswith(b"\xff\xd8\xff") else pictures.encode_jpeg(picture.image)


def _seed_of(action: PlannedAction, attempt: int) -> int:
    """The plan's seed first, then others that follow from it."""
    return action.make.seed if attempt == 0 else random.Random(f"{action.make.seed}/{attempt}").randrange(2**31)  # noqa: S311 - to be repeatable


def _executed(action: PlannedAction, record: ActionRecord, *, done: bool) -> Executed:
    return Executed(
        actor_id=action.actor_id,
        actor_name=action.actor_name,
        action=action.action,
        reason=action.reason,
        done=done,
        trashed=len(record.files),
        target=record.target,
        image=record.image,
        attempts=record.attempts,
    )


def _row(outcome: Outcome[Executed]) -> dict[str, object]:
    if outcome.result is None:
        return {"actor_name": outcome.key, "success": False, "error": outcome.error}
    return {**asdict(outcome.result), "success": True}


def _done_badge(action: str) -> Badge:
    badge = judging.BADGES[action]
    return Badge(badge.kind, f"{badge.word}, done", badge.symbol, badge.tone)
