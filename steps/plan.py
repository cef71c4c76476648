"""Turn assessments into an action plan. Nothing is changed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from runner import files
from runner.errors import ItemError, UserError
from runner.files import plain_name, under
from runner.params import at_least, between, param
from runner.report_parts import Entry, ReportPart, counted, write_part
from runner.run import now
from runner.step import Item, Results, StepContext
from steps import judging
from steps.backends.protocols import ImageMaker, ImageRequest, Vision
from steps.library import layout
from steps.library.actors import Actor, Library
from steps.library.documents import read_checked
from steps.library.journal import Journal
from steps.library.mirror import Storage
from steps.library.pictures import Picture
from steps.library.plans import PLAN, VERSION, Making, PlannedAction, PlannedFile, PlannedKey, library_id, plan_id_of

PROMPT = """Professional full-body studio portrait of one person, standing, facing the camera, the whole figure from head to shoes in the frame,
plain seamless backdrop, soft even light, sharp focus. {description} Wearing: {outfit}"""

RESULTS_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["total_processed", "results"],
    "properties": {
        "total_processed": {"type": "integer", "minimum": 0},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["actor_id", "actor_name", "action", "reason", "success"],
                "properties": {
                    "actor_id": {"type": "integer"},
                    "actor_name": {"type": "string"},
                    "action": {"enum": sorted(judging.BADGES)},
                    "reason": {"type": "string"},
                    "success": {"type": "boolean"},
                    "image": {"type": ["string", "null"]},
                    "image_sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
                },
            },
        },
    },
}


@dataclass(frozen=True)
class PlanParams:
    """From which assessments, and what the new images are to be."""

    assessments: str = param(help="results.json of a validate step")
    width: int = param(1024, help="pixels", check=between(64, 4096))
    height: int = param(1536, help="pixels", check=between(64, 4096))
    steps: int = param(25, help="sampling steps", check=between(1, 200))
    seed: int = param(
        -1, help="of the new images; -1 draws one for each and writes it into the plan", check=at_least(-1)
    )
    prompt: str = param(PROMPT, help="what is drawn; {description} and {outfit} are filled in")


class Plan:
    """Turn assessments into an action plan with everything that will go and come. Nothing is changed."""

    version: ClassVar[int] = 1
    # What goes is read from the disk of now; an answer of another run would be a stale inventory.
    reuses_answers: ClassVar[bool] = False

    def __init__(
        self, params: PlanParams, context: StepContext, vision: Vision, image: ImageMaker, storage: Storage
    ) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._image = image
        self._storage = storage
        self._library = Library(context.data)
        self._journal = Journal(context.ledger)
        self._document = read_checked(Path(params.assessments), RESULTS_SCHEMA)

    def items(self) -> Sequence[Item[Mapping[str, Any]]]:
        """One item for each actor that needs a new image. Failed assessments are never among them."""
        rows = [row for row in self._document["results"] if row["action"] in judging.CHANGES and row["success"]]
        for index, row in enumerate(self._document["results"]):
            plain_name(row["actor_name"], f"{self._params.assessments}, /results/{index}/actor_name")
        return [Item(row["actor_name"], row, (row,)) for row in rows]

    def process(self, row: Mapping[str, Any]) -> PlannedAction:
        """Take stock of what one action will remove and make."""
        actor = self._actor(row["actor_name"])
        judged = self._judged(row)
        going = [self._planned(path) for path in self._going(actor, judged)]
        return PlannedAction(
            actor.id,
            actor.name,
            row["action"],
            row["reason"],
            judged,
            tuple(going),
            tuple(self._keys(actor, judged)),
            self._making(actor, judged),
        )

    def finish(self, results: Results[PlannedAction]) -> None:
        """Write action_plan.json and the report's part."""
        actions = [outcome.result for outcome in results if outcome.result is not None]
        failures = [f"{outcome.key}: {outcome.error}" for outcome in results if outcome.error is not None]
        summary = Counter(action.action for action in actions)
        estimate = self._estimate(actions)
        document = {
            "plan_id": plan_id_of(self._context.out / PLAN),
            "version": VERSION,
            "library": {"id": library_id(self._context.data), "path": str(self._context.data.resolve())},
            "generated_at": now(),
            "total_actors_checked": self._document["total_processed"],
            "actions_needed": len(actions),
            "summary": {action: summary.get(action, 0) for action in judging.CHANGES},
            "estimate": estimate,
            "actions": [action.row() for action in actions],
        }
        files.write_json(self._context.out / PLAN, document)
        write_part(self._context.out, self._report(actions, failures, estimate))

    def _actor(self, name: str) -> Actor:
        actor = self._library.by_name(name)
        if actor is not None:
            return actor
        raise ItemError(f"{name} is not in actorsData.json any more: validate again")

    def _judged(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """The image that was judged, which must still be there, unchanged."""
        image, sha256 = row.get("image"), row.get("image_sha256")
        if image is None or sha256 is None:
            return None
        try:
            path = under(self._context.data, image, f"{self._params.assessments}, {row['actor_name']}, image")
        except UserError as error:
            raise ItemError(str(error)) from error
        if self._context.hashes.of(path) != sha256:
            raise ItemError(f"{image} has changed since it was judged: validate again")
        return image, sha256

    def _going(self, actor: Actor, judged: tuple[str, str] | None) -> list[Path]:
        """The judged image, whatever stands where the new one goes, and all training data.

        A judged poster frame stays: it is not ours to remove, and a base image of ours comes before it.
        """
        going = []
        target = layout.base_image(self._context.data, actor.name)
        if judged is not None and (path := self._context.data / judged[0]).parent == target.parent:
            going.append(path)
        if target.exists() and target not in going:
            going.append(target)
        return [*going, *self._library.training_files(actor)]

    def _keys(self, actor: Actor, judged: tuple[str, str] | None) -> Iterator[PlannedKey]:
        """The same of the mirror: what stands at the keys of those images, whether the file is there or not, and all training data."""
        target = PurePosixPath(layout.base_image(self._context.data, actor.name).relative_to(self._context.data))
        going = {target}
        if judged is not None and PurePosixPath(judged[0]).parent == target.parent:
            going.add(PurePosixPath(judged[0]))
        training = PurePosixPath("actors", actor.name, "training_data")
        for item in self._storage.inventory(training.parent):
            if item.key in going or item.key.is_relative_to(training):
                yield PlannedKey(str(item.key), item.size, item.etag)

    def _planned(self, path: Path) -> PlannedFile:
        if path.is_symlink():
            raise ItemError(
                f"{path}: is a symbolic link, which is neither followed nor removed: replace it by the file itself"
            )
        sha256 = self._context.hashes.of(path)
        if sha256 is None:
            raise ItemError(f"{path}: went away while the plan was made")
        return PlannedFile(path.relative_to(self._context.data).as_posix(), sha256, path.stat().st_size)

    def _making(self, actor: Actor, judged: tuple[str, str] | None) -> Making:
        params = self._params
        seed = params.seed
        if seed == -1:
            # Another bad image, or a plan before this one whose images all failed, gets another seed; the same situation the same one.
            failures = self._journal.failures_of(str(self._context.data.resolve()), actor.name)
            seed = random.Random(f"{self._context.seed}/{actor.name}/{judged}/{failures}").randrange(2**31)  # noqa: S311 - to be repeatable
        return Making(judging.filled(params.prompt, actor), params.width, params.height, params.steps, seed)

    def _estimate(self, actions: Sequence[PlannedAction]) -> dict[str, Any]:
        """The most that the first image of each action and the look at it may cost; null when a price is unknown."""
        costs = [cost for action in actions for cost in self._costs(action)]
        known = [cost for cost in costs if cost is not None]
        return {
            "images": len(actions),
            "usd": round(sum(known), 4) if len(known) == len(costs) else None,
            "image_backend": self._image.identity,
            "vision_backend": self._vision.identity,
        }

    def _costs(self, action: PlannedAction) -> tuple[float | None, float | None]:
        make = action.make
        request = ImageRequest("estimate", make.prompt, make.width, make.height, make.steps, make.seed)
        blank = Picture(b"", (make.width, make.height), sha256="")
        question = judging.question(self._actor(action.actor_name), blank, judging.PROMPT)
        return self._image.estimate(request), self._vision.estimate(question)

    def _report(
        self, actions: Sequence[PlannedAction], failures: Sequence[str], estimate: Mapping[str, Any]
    ) -> ReportPart:
        gone = sum(len(action.files) for action in actions)
        objects = sum(len(action.keys) for action in actions)
        cost = "unknown" if estimate["usd"] is None else f"${estimate['usd']:.2f}"
        going = f"{counted(gone, 'file')}{_and_objects(objects)} to the trash"
        headline = f"{counted(len(actions), 'action')} planned: {going}, {counted(len(actions), 'image')} to be made"
        return ReportPart(
            headline=f"{headline}, estimated cost {cost}.",
            counts=[
                ("files that go", gone),
                *([("objects in the mirror that go", objects)] if objects else []),
                ("images that come", len(actions)),
            ],
            entries=[_entry(action) for action in actions],
            warnings=failures,
        )


def _entry(action: PlannedAction) -> Entry:
    kinds = Counter(PurePosixPath(file.path).parent.name for file in action.files)
    going = ", ".join(f"{count} from {folder}" for folder, count in kinds.items())
    note = f"{counted(len(action.files), 'file')} to the trash ({going})" if action.files else "No file goes"
    if action.keys:
        note += f"; {counted(len(action.keys), 'object')} of the mirror to its trash"
    return Entry(key=action.actor_name, title=action.actor_name, notes=[note], facts=[("Seed", str(action.make.seed))])


def _and_objects(count: int) -> str:
    return f" and {counted(count, 'object')} of the mirror" if count else ""
