"""Turn evaluations of training images into a balance plan: which go, and what comes instead. Nothing is changed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from runner import files
from runner.errors import ItemError, UserError
from runner.params import at_least, between, param
from runner.report_parts import GOES, Badge, Entry, ReportPart, Shown, counted, write_part
from runner.run import now
from runner.step import Item, Outcome, Results, StepContext
from steps import rating
from steps.backends.protocols import ImageMaker, ImageRequest, Vision
from steps.balancing import Balance, OutOfReach, balance
from steps.distributions import bars, evaluation_document, off, trend_of
from steps.library import addresses, layout, legacy, training
from steps.library.actors import Actor, Library
from steps.library.balances import PLAN, VERSION, Coming, PlannedBalance
from steps.library.evaluations import Evaluation, read_evaluations
from steps.library.history import History
from steps.library.journal import Journal
from steps.library.mirror import Storage
from steps.library.pictures import BrokenPicture, Picture, load
from steps.library.plans import Making, library_id, plan_id_of
from steps.library.prompts import PromptBook
from steps.library.thumbnails import thumbnail
from steps.stock import Stock
from steps.targets import Targets, Wanted, overriding, weights

BALANCED = Badge("balanced", "balanced", "✓", "good")
UNBALANCED = Badge("out_of_balance", "out of balance", "⇄", "change")
IMPOSSIBLE = Badge("cannot_be_balanced", "can't be balanced", "!", "error")
WEIGHTS: Mapping[str, float] = {"photorealistic": 65, "bw_stylized": 20, "color_stylized": 15}


@dataclass(frozen=True)
class PlanTrainingParams:
    """From which evaluations, to which target, and what the new images are to be."""

    evaluations: str = param(help="results.json of a validate_training step")
    total: int = param(20, help="images of each actor", check=at_least(1))
    # No default in the recipe: Hydra would merge what a person gives into it, and a class that is left out would stay.
    targets: dict[str, float] | None = param(
        None,
        help="weight of each class, made whole numbers by largest remainder; null is photorealistic 65, bw_stylized 20, color_stylized 15",
        check=weights,
    )
    tolerance: float = param(
        10.0, help="percentage points that a class's share may differ while the total is right", check=between(0, 100)
    )
    min_quality: int = param(
        1, help="images below it go in any case, 1 to 10; broken files and exact copies have 0", check=between(0, 10)
    )
    per: list[Any] = param(
        [],
        help="other targets: a list of {actors: [...], total, targets, tolerance, min_quality}; the last that names an actor counts",
        check=overriding,
    )
    prompts: str | None = param(None, help="YAML file of prompts by class; null is the one that comes with the recipes")
    width: int = param(1280, help="pixels", check=between(64, 4096))
    height: int = param(720, help="pixels", check=between(64, 4096))
    steps: int = param(25, help="sampling steps", check=between(1, 200))
    seed: int = param(-1, help="of prompts and new images; -1 draws them from the run's seed", check=at_least(-1))
    gate: bool = param(False, help="exit 4 when an actor is out of balance")


@dataclass(frozen=True)
class Planned:
    """What is planned for one actor; nothing where it is balanced."""

    plan: PlannedBalance
    notes: tuple[str, ...] = ()


class PlanTraining:
    """Turn evaluations into a balance plan with everything that will go and come. Nothing is changed."""

    version: ClassVar[int] = 1
    # What goes is read from the disk of now; an answer of another run would be a stale inventory.
    reuses_answers: ClassVar[bool] = False

    def __init__(
        self, params: PlanTrainingParams, context: StepContext, vision: Vision, image: ImageMaker, storage: Storage
    ) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._image = image
        self._storage = storage
        self._library = Library(context.data)
        self._journal = Journal(context.ledger)
        self._history = History(context.ledger, context.data)
        self._checked, evaluations = read_evaluations(Path(params.evaluations))
        self._unseen = [row for row in evaluations if row.error is not None]
        self._rows = [row for row in evaluations if row.error is None]
        self._book = PromptBook.read(params.prompts)
        chosen = WEIGHTS if params.targets is None else params.targets
        wanted = Wanted(params.total, chosen, params.tolerance, params.min_quality)
        self._targets = Targets(wanted, params.per, self._library, context.label)
        self._stock = Stock(self._library, storage, context.hashes)
        self._out_of_balance = 0

    def items(self) -> Sequence[Item[Evaluation]]:
        """One item for each actor that was evaluated.

        Raises:
            UserError: A target's class has no prompts, and images are to be made.
        """
        unknown = sorted(self._targets.classes() - set(self._book.classes))
        if unknown and self._context.execute:
            raise UserError(
                f"{self._context.label}.targets: {', '.join(unknown)}: no prompts for this class in {self._book.path}: add them there"
            )
        self._stock.take()
        return [Item(row.actor_name, row, (row,)) for row in self._rows]

    def process(self, row: Evaluation) -> Planned:
        """Plan for one actor."""
        actor = self._actor(row.actor_name)
        self._check_there(actor, row)
        base = self._base(actor)
        done = self._balance(row, actor)
        return self._planned(actor, row, done, base)

    def finish(self, results: Results[Planned]) -> None:
        """Write balance_plan.json, an evaluation for each actor and the report's part."""
        outcomes = list(results)
        actions = [outcome.result.plan for outcome in outcomes if outcome.result is not None and _acts(outcome.result)]
        estimate = self._estimate(actions)
        document = {
            "plan_id": plan_id_of(self._context.out / PLAN),
            "version": VERSION,
            "library": {"id": library_id(self._context.data), "path": str(self._context.data.resolve())},
            "generated_at": now(),
            "total_actors_checked": self._checked,
            "actions_needed": len(actions),
            "summary": {
                "delete": sum(len(action.goes) for action in actions),
                "generate": sum(len(action.comes) for action in actions),
            },
            "estimate": estimate,
            "actions": [action.row() for action in actions],
        }
        files.write_json(self._context.out / PLAN, document)
        for row, outcome in zip(self._rows, outcomes, strict=True):
            self._write_evaluation(row, outcome)
        self._out_of_balance = len(actions) + sum(outcome.result is None for outcome in outcomes)
        write_part(self._context.out, self._report(outcomes, actions, estimate))

    def gate(self) -> str | None:
        """What a run with gate=true exits 4 for."""
        if not self._params.gate or not self._out_of_balance:
            return None
        return f"{self._out_of_balance} of {counted(len(self._rows), 'actor')} out of balance"

    def _actor(self, name: str) -> Actor:
        actor = self._library.by_name(name)
        if actor is not None:
            return actor
        raise ItemError(f"{name} is not in actorsData.json any more: evaluate again")

    def _check_there(self, actor: Actor, row: Evaluation) -> None:
        """What is on the disk must be what was looked at, all of it."""
        for file, why in row.unreadable:
            if training.is_image(file):
                raise ItemError(
                    f"{file} could not be looked at, so nobody knows what it is: {why}: mend it or move it away"
                )
        looked_at = {image.file: image.sha256 for image in row.images if image.on_disk}
        there = {
            path.name: self._context.hashes.of(path) for path in training.images_on_disk(self._context.data, actor)
        }
        changed = {file for file in {*looked_at, *there} if looked_at.get(file) != there.get(file)}
        if changed:
            raise ItemError(
                f"{', '.join(sorted(changed)[:3])} changed, came or went since the images were looked at: evaluate again"
            )

    def _base(self, actor: Actor) -> Path | None:
        return self._library.base_image(actor, self._context.hashes)

    def _balance(self, row: Evaluation, actor: Actor) -> Balance:
        try:
            return balance(self._stock.rated(row), self._targets.of(actor.id))
        except OutOfReach as error:
            raise ItemError(
                f"the target can't be reached: {error}: give this actor another base image or target"
            ) from error

    def _planned(self, actor: Actor, row: Evaluation, done: Balance, base: Path | None) -> Planned:
        root = self._context.data
        manifest = legacy.current(root, actor, self._context.hashes)
        objects = addresses.of_actor(self._storage, actor.name)
        goes, notes = self._stock.going(row, done, manifest, objects)
        gone = {image.file for image in goes}
        folder = layout.training_folder(root, actor.name)
        # Also what is no plain file: nothing can come where a link or a folder stands.
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        names |= {*(image.file for image in row.images), *(image.file for image in manifest.images)}
        taken = [image.prompt for image in manifest.images if image.prompt and image.file not in gone]
        comes, more = self._coming(actor, done.comes, names | {key.name for key in objects}, taken)
        plan = PlannedBalance(
            actor.id,
            actor.name,
            done.before,
            {kind: count for kind, count in self._targets.of(actor.id).counts.items() if count},
            done.after,
            self._targets.of(actor.id).tolerance,
            self._targets.of(actor.id).min_quality,
            self._reference(base) if comes else None,
            self._context.hashes.of(training.manifest_path(root, actor.name)),
            tuple(image.file for image in row.images if image.on_disk and image.file not in gone),
            goes,
            comes,
        )
        return Planned(plan, (*notes, *more))

    def _coming(
        self, actor: Actor, wanted: Mapping[str, int], names: set[str], taken: Sequence[str]
    ) -> tuple[tuple[Coming, ...], list[str]]:
        """The images that come, numbered on from the highest number anywhere."""
        params, number = self._params, training.highest_number(names)
        comes, notes = [], []
        subject = self._book.subject(self._context.data, actor) if wanted else ""
        failures = self._journal.failures_of(str(self._context.data.resolve()), actor.name) if wanted else 0
        for kind, count in wanted.items():
            draw = f"{self._context.seed if params.seed == -1 else params.seed}/{actor.name}/{kind}/{failures}"
            chosen = self._book.choose(kind, count, seed=draw, subject=subject, taken=taken)
            if again := sum(prompt in taken for prompt in chosen) + len(chosen) - len(set(chosen)):
                notes.append(f"{counted(again, 'prompt')} of class {kind} used again: there are not enough")
            for prompt in chosen:
                number += 1
                seed = random.Random(f"{draw}/{number}").randrange(2**31)  # noqa: S311 - to be repeatable
                make = Making(prompt, params.width, params.height, params.steps, seed)
                comes.append(Coming(f"{actor.name}_{number}.jpg", kind, make))
        return tuple(comes), notes

    def _reference(self, base: Path | None) -> tuple[str, str]:
        """The base image that new images stay true to, with its hash."""
        if base is None:
            raise ItemError(
                "images are missing, and there is no base image to make them from: repair base images first"
            )
        try:
            load(base)
        except BrokenPicture as error:
            raise ItemError(
                f"images are missing, and the base image can't be used: {error}: repair base images first"
            ) from error
        return base.relative_to(self._context.data).as_posix(), str(self._context.hashes.of(base))

    def _write_evaluation(self, row: Evaluation, outcome: Outcome[Planned]) -> None:
        """One actor's evaluation with its action plan, in the documents' form."""
        plan = None if outcome.result is None else outcome.result.plan
        document = evaluation_document(row, plan, outcome.error, self._targets.of(row.actor_id))
        files.write_json(self._context.out / f"{row.actor_id:04d}_evaluation.json", document)

    def _estimate(self, actions: Sequence[PlannedBalance]) -> dict[str, Any]:
        """The most that the first making of each image and the look at it may cost; null when a price is unknown."""
        makes = [new.make for action in actions for new in action.comes]
        costs = [cost for make in makes for cost in self._costs(make)]
        known = [cost for cost in costs if cost is not None]
        return {
            "images": len(makes),
            "usd": round(sum(known), 4) if len(known) == len(costs) else None,
            "image_backend": self._image.identity,
            "vision_backend": self._vision.identity,
        }

    def _costs(self, make: Making) -> tuple[float | None, float | None]:
        blank = Picture(b"", (make.width, make.height), sha256="")
        request = ImageRequest("estimate", make.prompt, make.width, make.height, make.steps, make.seed, blank)
        return self._image.estimate(request), self._vision.estimate(rating.question_about(blank))

    def _report(
        self,
        outcomes: Sequence[Outcome[Planned]],
        actions: Sequence[PlannedBalance],
        estimate: Mapping[str, Any],
    ) -> ReportPart:
        going, coming = (sum(len(getattr(action, part)) for action in actions) for part in ("goes", "comes"))
        failed = [f"{outcome.key}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
        unseen = [f"{row.actor_name}: was not evaluated: {row.error}" for row in self._unseen]
        balanced = len(self._rows) - len(actions) - len(failed)
        cost = "unknown" if estimate["usd"] is None else f"${estimate['usd']:.2f}"
        headline = f"{balanced} of {counted(len(self._rows), 'actor')} balanced"
        if actions:
            headline += f"; for {len(actions)}: {counted(going, 'image')} to go, {counted(coming, 'image')} to be made, estimated cost {cost}"
        return ReportPart(
            headline=f"{headline}.",
            counts=[
                ("actors balanced", balanced),
                ("actors out of balance", len(actions)),
                *([("actors that can't be balanced", len(failed))] if failed else []),
                ("images that go", going),
                ("images that come", coming),
            ],
            entries=[self._entry(row, outcome) for row, outcome in zip(self._rows, outcomes, strict=True)],
            warnings=[*failed, *unseen],
            ranking_title="Actors by distance from their target",
        )

    def _entry(self, row: Evaluation, outcome: Outcome[Planned]) -> Entry:
        target = self._targets.of(row.actor_id)
        trend = self._history.of(row.actor_name)
        if outcome.result is None:
            before = row.counts()
            return Entry(
                outcome.key,
                outcome.key,
                badge=IMPOSSIBLE,
                notes=[f"Not planned: {outcome.error}"],
                bars=bars(target, before, before),
                trend=trend_of(trend),
                rank=target.distance(before),
                rank_text=f"{off(target, before)}; {outcome.error}",
            )
        plan = outcome.result.plan
        acts = _acts(outcome.result)
        notes = (
            [f"{counted(len(plan.goes), 'image')} to go, {counted(len(plan.comes), 'image')} to be made"]
            if acts
            else []
        )
        return Entry(
            outcome.key,
            outcome.key,
            badge=UNBALANCED if acts else BALANCED,
            pictures=list(self._going_shown(plan)),
            notes=[*notes, *outcome.result.notes],
            facts=[("Comes", f"{new.kind}: {new.make.prompt}") for new in plan.comes],
            bars=bars(target, plan.before, plan.after),
            trend=trend_of(trend),
            rank=target.distance(plan.before) + sum(image.condemned for image in plan.goes),
            rank_text=off(target, plan.before),
        )

    def _going_shown(self, plan: PlannedBalance) -> Iterator[Shown]:
        """The images that go, struck out; of what can't be shown (broken, or in the mirror alone) the words."""
        folder = layout.training_folder(self._context.data, plan.actor_name)
        for image in plan.goes:
            name = f"{plan.actor_name}.{image.number}"
            file = thumbnail(folder / image.file, self._context.out / "pictures", name)
            yield Shown(
                "" if file is None else f"{self._context.label}/pictures/{file}",
                str(image.number),
                f"Training image {image.number} of {plan.actor_name}, {image.file}, {image.kind or 'of no class'}",
                mark=GOES,
                reason=image.why,
            )


def _acts(planned: Planned | None) -> bool:
    return planned is not None and bool(planned.plan.goes or planned.plan.comes)
