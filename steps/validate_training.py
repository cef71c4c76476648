"""Look at each actor's training images: what kind each is, how good, broken or there twice. Nothing is changed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from runner import files
from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.params import at_least, param
from runner.report_parts import Badge, Entry, ReportPart, Shown, counted, write_part
from runner.step import Item, Listed, Outcome, Results, StepContext
from steps import rating
from steps.backends.protocols import Vision
from steps.library import composites, pictures
from steps.library.actors import Actor, Library, library_need
from steps.library.composites import Cell
from steps.library.history import FOUND, History
from steps.library.mirror import Storage
from steps.library.pictures import BrokenPicture, NoPicture, UnreadablePicture
from steps.library.seen import BROKEN, DUPLICATE, Seen, SeenImage, Sheet, Unreadable, image_rows
from steps.library.surveys import FoundImage, Survey, Surveyor
from steps.rating import Asking, Rating

RESULTS = "results.json"
NO_IMAGES = "has no training images"
SEEN = Badge("seen", "looked at", "✓", "good")
POOR = Badge("broken_or_double", "broken or double", "≡", "warning")
EMPTY = Badge("empty", "no images yet", "+", "change")
FAILED = Badge("failed", "failed", "!", "error")


@dataclass(frozen=True)
class ValidateTrainingParams:
    """Whose training images to look at, and what to ask about them."""

    actors: Any = param(None, help="ids, names, ranges (0-49), groups (@villains) or a list of them; null is everybody")
    sample: int | None = param(None, help="so many actors drawn by seed; null looks at all", check=at_least(1))
    protect: list[int] = param([], help="ids of actors that are never proposed for change, nor looked at")
    include_empty: bool = param(False, help="also actors with a whole base image and no training images")
    classes: list[str] = param(
        list(rating.DEFAULT_CLASSES),
        help="kinds of images to tell apart",
        check=lambda value: None if value and len(set(value)) == len(value) and all(value) else "give different names",
    )
    prompt: str = param(rating.PROMPT, help="what the vision backend is asked; {classes} and {numbers} are filled in")
    asks: int = param(rating.ASKS, help="questions in all until an answer rates every image once", check=at_least(1))
    truth: str | None = param(None, help="a truth.json of `callsheet sample`, to count how many classes agree with it")


# The known class of each file of an actor, or BROKEN or DUPLICATE.
Truth = Mapping[str, str]


class _Bytes(NamedTuple):
    """A training image's bytes, and where they are from."""

    data: bytes
    where: str


@dataclass
class _Tally:
    """What is counted over all actors."""

    classes: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    duplicates: int = 0
    unreadable: int = 0
    with_images: int = 0
    empty: int = 0
    errors: int = 0
    judged: int = 0
    agree: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, actor: str, seen: Seen, truth: Truth) -> None:
        """Count one actor."""
        self.classes.update(seen.counts())
        self.broken += len(seen.having(BROKEN))
        self.duplicates += len(seen.having(DUPLICATE))
        self.unreadable += len(seen.unreadable)
        self.with_images += bool(seen.images)
        self.empty += not seen.images
        for image, expected in _compared(seen, truth):
            self.judged += 1
            self.agree += _found(image) == expected
            if _found(image) != expected:
                self.differences.append(f"{actor}: {image.file}: expected {expected}, found {_found(image)}")


class ValidateTraining:
    """Look at each actor's training images, all on one sheet."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    @classmethod
    def needs(cls, params: ValidateTrainingParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(self, params: ValidateTrainingParams, context: StepContext, vision: Vision, storage: Storage) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._storage = storage
        self._asking = Asking(tuple(params.classes), params.prompt, params.asks)
        self._library = Library(context.data)
        self._surveyor = Surveyor(self._library, storage, context.hashes)
        # What an answer does not depend on (times, keys) is as it is now, also where the answer is remembered.
        self._surveys: dict[str, Survey] = {}
        self._left_out: dict[str, str] = {}

    def items(self) -> Listed[Actor, Survey]:
        """One item for each actor that has training images, or may get some.

        Raises:
            UserError: A selection that names nobody, or an id to protect that nobody has.
        """
        params, label = self._params, self._context.label
        if unknown := sorted(set(params.protect) - {actor.id for actor in self._library.actors()}):
            raise UserError(
                f"{label}.protect: {unknown} are ids of nobody, so that somebody may not be protected who should be"
            )
        chosen = self._library.select(params.actors, sample=params.sample, seed=self._context.seed)
        self._surveyor.prepare(chosen)
        self._surveys, self._left_out = {}, {}
        return Listed([actor for actor in chosen if self._takes(actor)], self._item)

    def process(self, survey: Survey) -> Seen:
        """Look at one actor's images."""
        if survey.problem is not None:
            raise ItemError(survey.problem)
        if not survey.images:
            return Seen(left_out=self._base_fault(survey))
        seen: list[SeenImage] = []
        unreadable = [Unreadable(file, why) for file, why in survey.faults]
        jpegs = list(composites.sheets(self._cells(survey, seen, unreadable)))
        rated, analysis = self._rated(seen, jpegs)
        return Seen(rated, tuple(unreadable), analysis, self._keep(survey.actor, jpegs), str(self._context.out))

    def finish(self, results: Results[Seen]) -> None:
        """Write results.json, the composites of remembered answers, the history and the report's part."""
        truth = _read_truth(self._params.truth)
        history = History(self._context.ledger, self._context.data)
        rows, entries, tally = [], [], _Tally()
        for outcome in results:
            seen = outcome.result
            if seen is not None and seen.left_out is not None:
                self._left_out[outcome.key] = seen.left_out
                continue
            composite = [] if seen is None else self._restored(self._surveys[outcome.key], seen)
            rows.append(self._row(outcome, composite))
            entries.append(self._entry(outcome, composite, truth.get(outcome.key, {})))
            if seen is None:
                tally.errors += 1
                continue
            tally.add(outcome.key, seen, truth.get(outcome.key, {}))
            history.keep(outcome.key, self._context.run, FOUND, seen.counts())
        files.write_json(self._context.out / RESULTS, self._document(rows, tally))
        write_part(self._context.out, self._report(entries, tally))

    def _takes(self, actor: Actor) -> bool:
        """Whether an actor is looked at; why not is kept."""
        if actor.id in self._params.protect:
            self._left_out[actor.name] = f"protected by {self._context.label}.protect: not looked at"
        elif not self._surveyor.has_images(actor):
            if self._params.include_empty:
                return True
            self._left_out[actor.name] = NO_IMAGES
        return actor.name not in self._left_out

    def _item(self, actor: Actor) -> Item[Survey]:
        survey = self._surveys[actor.name] = self._surveyor.of(actor)
        contents = tuple(image.content for image in survey.images)
        base = None if survey.images else survey.base
        return Item(
            actor.name,
            survey,
            (actor.id, contents, base, survey.faults, survey.problem, self._asking, self._vision.identity),
        )

    def _base_fault(self, survey: Survey) -> str | None:
        """Why an actor without training images can't get any; None where it can."""
        if survey.base is None:
            return "has neither training images nor a base image"
        try:
            pictures.load(survey.base)
        except (BrokenPicture, UnreadablePicture) as error:
            return f"has no training images, and its base image can't be used: {error}"
        return None

    def _cells(self, survey: Survey, seen: list[SeenImage], unreadable: list[Unreadable]) -> Iterator[Cell]:
        """One thumbnail after the other; what is found out on the way goes into the lists."""
        firsts: dict[str, int] = {}
        for image in survey.images:
            self._context.stop.check()
            number = len(seen) + 1
            try:
                data, where = self._read(image)
                small = self._shrunk(data, image.file)
            except UnreadablePicture as error:
                unreadable.append(Unreadable(image.file, str(error)))
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            first = firsts.setdefault(sha256, number)
            one = SeenImage(number, image.file, sha256, len(data), where)
            if isinstance(small, (BrokenPicture, NoPicture)):
                seen.append(replace(one, problem=BROKEN, notes=(str(small),)))
                yield Cell(f"{number} broken", None)
            elif first != number:
                seen.append(replace(one, problem=DUPLICATE, notes=(f"the same file as number {first}",)))
                yield Cell(f"{number} = {first}", small.image)
            else:
                seen.append(replace(one, notes=small.notes))
                yield Cell(str(number), small.image)

    def _read(self, image: FoundImage) -> _Bytes:
        """An image's bytes. What only the mirror has is looked at and never written, least of all into the library."""
        if image.path is not None:
            return _Bytes(pictures.read(image.path), "disk")
        assert image.stored is not None
        return _Bytes(self._storage.get(image.stored), "mirror")

    def _shrunk(self, data: bytes, name: str) -> pictures.Small | BrokenPicture | NoPicture:
        """The thumbnail. A base image in a format that we don't know may be a good one; among training images no trainer could read it."""
        try:
            return pictures.shrink(data, name, composites.THUMBNAIL)
        except (BrokenPicture, NoPicture) as error:
            return error

    def _rated(self, seen: Sequence[SeenImage], jpegs: Sequence[bytes]) -> tuple[tuple[SeenImage, ...], str]:
        """The images with class and quality. Nobody is asked about what is broken or there twice."""
        numbers = [image.number for image in seen if image.problem is None]
        if not numbers:
            return tuple(seen), ""
        rated = rating.rate(self._vision, rating.as_pictures(jpegs), numbers, self._asking)
        found = {one.number: one for one in rated.ratings}
        kinds = {image.sha256: found[image.number].kind for image in seen if image.number in found}
        return tuple(_with(image, found.get(image.number), kinds.get(image.sha256)) for image in seen), rated.analysis

    def _keep(self, actor: Actor, jpegs: Sequence[bytes]) -> tuple[Sheet, ...]:
        sheets = []
        for index, data in enumerate(jpegs, 1):
            name = f"{actor.id:04d}_composite{'' if index == 1 else f'_{index}'}.jpg"
            files.write_bytes(self._context.out / name, data)
            sheets.append(Sheet(name, hashlib.sha256(data).hexdigest()))
        return tuple(sheets)

    def _restored(self, survey: Survey, seen: Seen) -> list[str]:
        """The composites' names. Those of a remembered answer are fetched from the run that drew them, or drawn again."""
        out, there = self._context.out, Path(seen.drawn_in)
        for sheet in seen.sheets:
            if _holds(out / sheet.file, sheet):
                continue
            if _holds(there / sheet.file, sheet):
                files.write_bytes(out / sheet.file, (there / sheet.file).read_bytes())
                continue
            try:
                return [
                    new.file for new in self._keep(survey.actor, list(composites.sheets(self._cells(survey, [], []))))
                ]
            except (ItemError, OSError) as error:
                self._context.log.warning("%s: its composite can't be drawn again: %s", survey.actor.name, error)
                return []
        return [sheet.file for sheet in seen.sheets]

    def _row(self, outcome: Outcome[Seen], composite: Sequence[str]) -> dict[str, Any]:
        survey, seen = self._surveys[outcome.key], outcome.result or Seen()
        base = survey.base
        return {
            "actor_id": survey.actor.id,
            "actor_name": survey.actor.name,
            "success": outcome.result is not None,
            "error": outcome.error,
            "base_image": None if base is None else base.relative_to(self._library.root).as_posix(),
            "composites": list(composite),
            "analysis": seen.analysis,
            "images": image_rows(seen, survey),
            "unreadable": [{"file": one.file, "why": one.why} for one in seen.unreadable],
        }

    def _document(self, rows: list[dict[str, Any]], tally: _Tally) -> dict[str, Any]:
        return {
            "dry_run": not self._context.execute,
            "total_processed": len(rows),
            "vision": self._vision.identity,
            "classes": list(self._asking.classes),
            "library": {"path": str(self._library.root), "actors": len(self._library.actors())},
            "summary": {
                **{kind: tally.classes[kind] for kind in self._asking.classes},
                "broken": tally.broken,
                "duplicates": tally.duplicates,
                "unreadable": tally.unreadable,
                "actors_with_images": tally.with_images,
                "actors_empty": tally.empty,
                "errors": tally.errors,
            },
            "left_out": [{"actor_name": name, "why": why} for name, why in self._left_out.items()],
            "results": rows,
        }

    def _report(self, entries: Sequence[Entry], tally: _Tally) -> ReportPart:
        images = tally.classes.total() + tally.broken
        actors = counted(tally.with_images, "actor")
        agreement = f" {tally.agree} of {tally.judged} agree with the known truth." if tally.judged else ""
        empty = f" {counted(tally.empty, 'actor')} without any." if tally.empty else ""
        others = [
            ("broken", tally.broken),
            ("there twice", tally.duplicates),
            ("unreadable", tally.unreadable),
            ("actors without images", tally.empty),
            ("failed", tally.errors),
            ("agree with the truth", tally.agree),
        ]
        return ReportPart(
            headline=f"{counted(images, 'training image')} of {actors} looked at.{empty}{agreement}",
            counts=[
                *((kind, tally.classes[kind]) for kind in self._asking.classes),
                *((name, count) for name, count in others if count),
            ],
            entries=entries,
            warnings=[*self._passed_over(), *tally.differences],
        )

    def _passed_over(self) -> Iterator[str]:
        """Who was left out: each by name where a person may have to do something, the others counted."""
        without = [name for name, why in self._left_out.items() if why == NO_IMAGES]
        if without:
            yield f"{counted(len(without), 'actor')} without training images left out: include_empty=true takes them in"
        yield from (f"{name}: {why}" for name, why in self._left_out.items() if why != NO_IMAGES)

    def _entry(self, outcome: Outcome[Seen], composite: Sequence[str], truth: Truth) -> Entry:
        actor, seen = self._surveys[outcome.key].actor, outcome.result
        if seen is None:
            return Entry(key=actor.name, title=actor.name, badge=FAILED, notes=[outcome.error or ""])
        badge = EMPTY if not seen.images else POOR if any(image.problem for image in seen.images) else SEEN
        notes = [
            seen.analysis,
            *(f"{image.file}: {note}" for image in seen.images if image.problem for note in image.notes),
        ]
        right = [image for image, expected in _compared(seen, truth) if _found(image) == expected]
        return Entry(
            key=actor.name,
            title=actor.name,
            subtitle=" · ".join(filter(None, (actor.description, actor.outfit))),
            badge=badge,
            pictures=[
                Shown(
                    f"{self._context.label}/{name}",
                    "as found",
                    f"{counted(len(seen.images), 'training image')} of {actor.name}, numbered",
                )
                for name in composite
            ],
            notes=[*filter(None, notes), *(f"{one.file} is left alone: {one.why}" for one in seen.unreadable)],
            facts=[("Known truth", f"{len(right)} of {len(truth)}")] if truth else [],
        )


def _with(image: SeenImage, found: Rating | None, kind: str | None) -> SeenImage:
    """An image with what was answered; a copy has its original's class."""
    if found is not None:
        return replace(image, kind=found.kind, quality=found.quality)
    return replace(image, kind=kind) if image.problem == DUPLICATE else image


def _holds(path: Path, sheet: Sheet) -> bool:
    try:
        return files.sha256_of(path) == sheet.sha256
    except OSError:
        return False


def _found(image: SeenImage) -> str:
    return image.problem or str(image.kind)


def _compared(seen: Seen, truth: Truth) -> Iterator[tuple[SeenImage, str]]:
    """The images whose truth is known, with it."""
    return ((image, truth[image.file]) for image in seen.images if image.file in truth)


def _read_truth(path: str | None) -> Mapping[str, Truth]:
    if path is None:
        return {}
    document = files.read_json(Path(path))
    try:
        return {
            str(name): dict(_known(entry["training"]))
            for name, entry in document["actors"].items()
            if "training" in entry
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no truth.json of `callsheet sample`: needs /actors/NAME/training/images/FILE with class and faults"
        ) from error


def _known(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Files with their class or problem; those that are neither pictures nor broken ones are left out."""
    for file, one in training["images"].items():
        faults = " ".join(one["faults"])
        if not faults:
            yield str(file), str(one["class"])
        elif "copy" in faults:
            yield str(file), DUPLICATE
        elif any(fault in ("cut off", "empty", "corrupt") for fault in one["faults"]):
            yield str(file), BROKEN
