"""Carry out a balance plan: make and verify the images that come, move those that go to the trash, and write the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.files import under
from runner.params import at_least, between, param
from runner.report_parts import counted, write_part
from runner.step import Item, Outcome, Results, StepContext
from steps import judging, rating
from steps.backends.protocols import ImageMaker, Vision
from steps.balanced import BalanceReport, Executed, at_target, executed, short_of, spared
from steps.carrying import Carrier
from steps.library import addresses, layout, legacy, pictures, training
from steps.library.actors import Actor, Library, library_need
from steps.library.balances import Coming, Leaving, PlannedBalance, read_balance_plan
from steps.library.history import LEFT, History
from steps.library.journal import DONE, ActionRecord, Arrival, Rewrite, rewrite_of
from steps.library.mirror import Storage
from steps.library.pictures import Picture
from steps.library.plans import PlannedFile
from steps.library.training import TrainingImage
from steps.making import Maker, NonePassed, Order

EXECUTED = "executed.json"


@dataclass(frozen=True)
class ExecuteTrainingParams:
    """Which plan, and what a new image must be."""

    plan: str = param(help="balance_plan.json of a plan_training step")
    attempts: int = param(3, help="images made until one is of its class and good enough", check=at_least(1))
    accept_quality: int = param(
        5, help="least quality of a new image, 1 to 10; never less than the plan's min_quality", check=between(1, 10)
    )
    classes: list[str] = param(list(rating.DEFAULT_CLASSES), help="classes that the vision backend tells apart")
    prompt: str = param(rating.PROMPT, help="what the vision backend is asked about a new image")
    asks: int = param(2, help="questions until an answer makes sense", check=at_least(1))
    force: bool = param(False, help="also when more than half of the library's files go")
    gate: bool = param(False, help="exit 4 when an actor is out of balance, or would stay so without execute=true")


class ExecuteTraining:
    """Carry out a balance plan, or preview it: without execute=true nothing is changed."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: ExecuteTrainingParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(
        self, params: ExecuteTrainingParams, context: StepContext, vision: Vision, image: ImageMaker, storage: Storage
    ) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._storage = storage
        self._library = Library(context.data)
        self._history = History(context.ledger, context.data)
        self._carrier = Carrier(context, storage)
        self._maker = Maker(image, self._carrier.replacement, self._carrier.journal, context.operations)
        self._chosen: dict[str, PlannedBalance] = {}
        self._report = BalanceReport(context, self._chosen)
        self._unbalanced = 0

    def items(self) -> Sequence[Item[PlannedBalance]]:
        """One item an actor.

        Raises:
            UserError: The plan is not a plan, of another library, used before, wants a class that nobody looks for, or takes more than
                half of the library without force.
        """
        plan = read_balance_plan(Path(self._params.plan))
        self._carrier.check_library(self._params.plan, plan.library_id, plan.library_path)
        wanted = {new.kind for action in plan.actions for new in action.comes}
        if unknown := sorted(wanted - set(self._params.classes)):
            raise UserError(f"{self._context.label}.classes: {', '.join(unknown)}: the plan wants images of it: add it")
        self._carrier.take_library()
        self._plan_id = plan.id
        actions = {action.actor_name: action for action in plan.actions}
        ids = {name: action.id_in(plan.id) for name, action in actions.items()}
        self._chosen |= {name: actions[name] for name in self._carrier.unused(self._params.plan, plan.id, ids)}
        self._check_share()
        return [Item(name, action, (plan.id, action)) for name, action in self._chosen.items()]

    def _check_share(self) -> None:
        """Images that only the mirror has count like files; it is listed where some of them go."""
        going, in_mirror = set(), False
        for name, action in self._chosen.items():
            going |= {layout.training_folder(self._context.data, name) / image.file for image in action.goes}
            in_mirror = in_mirror or any(image.sha256 is None for image in action.goes)
        stored = self._storage.inventory(PurePosixPath("actors")) if in_mirror else ()
        beside = [self._context.data / item.key for item in stored if item.key.parent.name == "training_data"]
        self._carrier.check_share(self._params.plan, going, force=self._params.force, beside=beside)

    def process(self, action: PlannedBalance) -> Executed:
        """Carry out, or preview, one actor's balance; goes on where an earlier try was cut off."""
        record = self._record(action)
        if not self._context.execute:
            self._check(action, record)
            return executed(action, record, done=False)
        record = self._carrier.carry_out(
            record, check=lambda now: self._check(action, now), make=lambda now: self._made(action, now)
        )
        done = executed(action, record, done=True)
        self._history.keep(action.actor_name, self._context.run, LEFT, done.left)
        self._report.draw_composite(action)
        if done.short:
            # Said the same whenever it is said: what was wrong with each image is in the log.
            missing = ", ".join(f"{count} of class {kind}" for kind, count in done.short.items())
            raise ItemError(
                f"{len(done.placed)} of {counted(len(action.comes), 'new image')} placed; missing: {missing}: none passed in "
                f"{counted(self._params.attempts, 'attempt')} each: make a new plan"
            )
        return done

    def finish(self, results: Results[Executed]) -> None:
        """Write executed.json and the report's part."""
        outcomes = list(results)
        became = {outcome.key: self._became(outcome) for outcome in outcomes}
        done = [one for one in became.values() if one is not None and one.done]
        document = {
            "dry_run": not self._context.execute,
            "plan_id": self._plan_id,
            "summary": {
                "actors": len(done),
                "deleted": sum(len(one.deleted) for one in done),
                "generated": sum(len(one.placed) for one in done),
                "errors": sum(outcome.result is None for outcome in outcomes),
            },
            "results": [_row(outcome, became[outcome.key]) for outcome in outcomes],
        }
        files.write_json(self._context.out / EXECUTED, document)
        self._unbalanced = sum(not self._is_balanced(outcome.result) for outcome in outcomes)
        write_part(self._context.out, self._report.part(outcomes, became, self._carrier.warnings))

    def _is_balanced(self, result: Executed | None) -> bool:
        return result is not None and result.done and at_target(self._chosen[result.actor_name], result)

    def gate(self) -> str | None:
        """What a run with gate=true exits 4 for."""
        if not self._params.gate or not self._unbalanced:
            return None
        return f"{counted(self._unbalanced, 'actor')} out of balance"

    def close(self) -> None:
        """Let go of the library."""
        self._carrier.let_go()

    def _record(self, action: PlannedBalance) -> ActionRecord:
        folder = addresses.folder_of(action.actor_name)
        try:
            under(self._context.data, str(folder), f"{action.actor_name}: training_data")
        except UserError as error:
            raise ItemError(str(error)) from error
        return ActionRecord(
            id=action.id_in(self._plan_id),
            plan=self._plan_id,
            run=self._context.run,
            library=str(self._context.data.resolve()),
            actor_name=action.actor_name,
            action="balance",
            files=tuple(_planned_files(action.actor_name, action.goes)),
            keys=tuple(key for image in action.goes for key in image.keys),
            arrivals=tuple(Arrival(str(folder / new.file), slot) for slot, new in enumerate(action.comes)),
            judged=action.base,
        )

    def _check(self, action: PlannedBalance, record: ActionRecord) -> None:
        """All that the plan saw must still be so.

        Raises:
            ItemError: Something changed since.
        """
        actor = self._actor(action)
        self._carrier.replacement.check_unchanged(record)
        manifest = training.manifest_path(self._context.data, actor.name)
        if self._context.hashes.of(manifest) != action.manifest_sha256:
            raise ItemError(f"{manifest} has changed since the plan was made: make a new plan")
        there = {path.name for path in training.images_on_disk(self._context.data, actor)}
        seen = {*action.stays, *(image.file for image in action.goes if image.sha256 is not None)}
        if unnamed := sorted(there - seen):
            raise ItemError(
                f"{', '.join(unnamed[:3])}: the plan names them neither under stays nor under delete: put them under stays to keep "
                "them, or make a new plan"
            )
        if gone := sorted(seen - there):
            raise ItemError(f"{', '.join(gone[:3])} went since the plan was made: make a new plan")
        if action.base is not None:
            self._reference(action.base)
        # What could not be written again is found out before anything is made.
        legacy.current(self._context.data, actor, self._context.hashes).text()

    def _reference(self, base: tuple[str, str]) -> Picture:
        """The base image as the plan saw it."""
        try:
            path = under(self._context.data, base[0], "base_image")
        except UserError as error:
            raise ItemError(str(error)) from error
        if self._context.hashes.of(path) != base[1]:
            raise ItemError(f"{base[0]} has changed since the plan was made: make a new plan")
        return pictures.load(path)

    def _made(self, action: PlannedBalance, record: ActionRecord) -> ActionRecord:
        """The record with all images that pass, and with what goes and the manifest as these make it.

        Raises:
            NonePassed: Not one did.
        """
        faults: list[ItemError] = []
        for arrival in record.arrivals:
            if arrival.passed and self._carrier.replacement.waits(record, arrival):
                continue
            try:
                record = self._maker.make(record, arrival, self._order(action, record, action.comes[arrival.slot]))
            except ItemError as error:
                # What was made and paid for, this one's tries too, is not lost by it: the journal has the newest record.
                record = error.record if isinstance(error, NonePassed) else self._journalled(record)
                faults.append(error)
                self._context.log.warning("%s: %s: %s", self._context.label, arrival.path, error)
        arrivals = tuple(arrival for arrival in record.arrivals if arrival.made is not None and arrival.passed)
        if faults and not arrivals:
            other = next((fault for fault in faults if not isinstance(fault, NonePassed)), None)
            raise other or NonePassed(self._params.attempts, "; ".join(_reasons(faults)), record)
        stays = spared(action, short_of(action, arrivals))
        goes = [image for image in action.goes if image.number not in stays]
        return replace(
            record,
            arrivals=arrivals,
            files=tuple(_planned_files(action.actor_name, goes)),
            keys=tuple(key for image in goes for key in image.keys),
            rewrite=self._rewrite(action, goes, arrivals),
        )

    def _journalled(self, record: ActionRecord) -> ActionRecord:
        known = self._carrier.journal.read(record.id)
        return record if known is None else known[1]

    def _order(self, action: PlannedBalance, record: ActionRecord, new: Coming) -> Order:
        actor = self._actor(action)
        assert action.base is not None
        others = {one.made.sha256: one.path for one in record.arrivals if one.made is not None and one.passed}
        for file in action.stays:
            path = layout.training_folder(self._context.data, actor.name) / file
            if (sha256 := self._context.hashes.of(path)) is not None:
                others[sha256] = file
        return Order(
            make=new.make,
            look=self._look_for(new.kind, max(self._params.accept_quality, action.min_quality), others),
            attempts=self._params.attempts,
            facts={**judging.facts_of(actor), "class": new.kind},
            reference=self._reference(action.base),
        )

    def _look_for(self, kind: str, least: int, others: Mapping[str, str]) -> Callable[[Picture], str | None]:
        """The look that every training image gets, at this one alone."""
        params = self._params

        def look(picture: Picture) -> str | None:
            if picture.sha256 in others:
                return f"is byte for byte the same as {others[picture.sha256]}"
            seen = rating.rate_one(self._vision, picture, params.classes, params.prompt, params.asks)
            if seen.kind != kind:
                return f"looks {seen.kind}, not {kind}"
            if seen.quality < least:
                return f"quality {seen.quality}, below {least}"
            return None

        return look

    def _rewrite(self, action: PlannedBalance, goes: Sequence[Leaving], arrivals: Sequence[Arrival]) -> Rewrite | None:
        """The manifest without what goes and with what comes."""
        root, actor = self._context.data, self._actor(action)
        manifest = legacy.current(root, actor, self._context.hashes)
        new = [self._entry_of(action.comes[arrival.slot], arrival) for arrival in arrivals]
        after = manifest.changed(without=[image.file for image in goes], plus=new).text()
        return rewrite_of(root, training.manifest_path(root, actor.name), after)

    def _entry_of(self, new: Coming, arrival: Arrival) -> TrainingImage:
        made = arrival.made
        assert made is not None
        return TrainingImage(
            file=new.file,
            sha256=made.sha256,
            prompt=made.prompt,
            kind=new.kind,
            seed=made.seed,
            model=made.model,
            usd=made.usd,
            made_at=made.made_at,
            url=self._storage.url(PurePosixPath(arrival.path)),
            source="made",
        )

    def _actor(self, action: PlannedBalance) -> Actor:
        actor = self._library.by_name(action.actor_name)
        if actor is not None:
            return actor
        raise ItemError(f"{action.actor_name} is not in actorsData.json any more: make a new plan")

    def _became(self, outcome: Outcome[Executed]) -> Executed | None:
        """What became of an actor, also of one that came short of its target and so counts as failed."""
        if outcome.result is not None:
            return outcome.result
        action = self._chosen[outcome.key]
        known = self._carrier.journal.read(action.id_in(self._plan_id))
        if known is None or known[0] != DONE:
            return None
        return executed(action, known[1], done=True)


def _reasons(faults: Sequence[ItemError]) -> Iterator[str]:
    yield from (fault.reasons if isinstance(fault, NonePassed) else str(fault) for fault in faults)


def _planned_files(name: str, goes: Sequence[Leaving]) -> Iterator[PlannedFile]:
    folder = addresses.folder_of(name)
    for image in goes:
        if image.sha256 is not None and image.size is not None:
            yield PlannedFile(str(folder / image.file), image.sha256, image.size)


def _row(outcome: Outcome[Executed], became: Executed | None) -> dict[str, Any]:
    about = {"actor_name": outcome.key} if became is None else asdict(became)
    return {**about, "success": outcome.result is not None, "error": outcome.error}
