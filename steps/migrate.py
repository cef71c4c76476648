"""Write training_data/manifest.json from what older tools left: prompt_metadata.json, response.json and the images themselves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.fingerprint import digest_of
from runner.params import at_least, param
from runner.report_parts import Badge, Entry, ReportPart, counted, write_part
from runner.step import Item, Outcome, Results, StepContext
from steps.carrying import Carrier
from steps.library import legacy, training
from steps.library.actors import Actor, Library, library_need
from steps.library.journal import ActionRecord, rewrite_of
from steps.library.legacy import Migration
from steps.library.mirror import Storage

RESULTS = "results.json"
WRITTEN, TO_WRITE, THERE, NOTHING = "written", "to_write", "there", "nothing"
BADGES = {
    WRITTEN: Badge(WRITTEN, "manifest written", "✓", "good"),
    TO_WRITE: Badge(TO_WRITE, "manifest to be written", "+", "change"),
    THERE: Badge(THERE, "has a manifest", "=", "neutral"),
    NOTHING: Badge(NOTHING, "no training data", "·", "neutral"),
}
FAILED = Badge("failed", "failed", "!", "error")
NOTES_SHOWN = 12


@dataclass(frozen=True)
class MigrateParams:
    """Whose legacy files to read."""

    actors: Any = param(None, help="ids, names, ranges (0-49), groups (@villains) or a list of them; null is everybody")
    sample: int | None = param(None, help="so many actors drawn by seed; null takes all", check=at_least(1))


@dataclass(frozen=True)
class Unplaced:
    """A file that no entry speaks of, or the other way round."""

    file: str
    why: str


@dataclass(frozen=True)
class Left:
    """A piece of a legacy file that is kept under `unmapped`: file and JSON pointer, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Migrated:
    """What became of one actor's manifest, or what would.

    Attributes:
        state: `WRITTEN`, `TO_WRITE`, `THERE` (it has one) or `NOTHING` (no images and no legacy files).
        sources: The legacy files that were read.
        images: Entries of the manifest, by what they are from.
        prompts: Entries that have a prompt.
        urls: Entries that have an address.
        unplaced: What could not be brought together.
        unmapped: What was not understood, and is kept.
    """

    actor_id: int
    actor_name: str
    state: str
    sources: tuple[str, ...] = ()
    images: dict[str, int] | None = None
    prompts: int = 0
    urls: int = 0
    unplaced: tuple[Unplaced, ...] = ()
    unmapped: tuple[Left, ...] = ()


class Migrate:
    """Write manifests of training images from legacy files, or preview them: without execute=true nothing is changed."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: MigrateParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(self, params: MigrateParams, context: StepContext, storage: Storage) -> None:
        self._params = params
        self._context = context
        self._library = Library(context.data)
        self._carrier = Carrier(context, storage)

    def items(self) -> Sequence[Item[Actor]]:
        """One item an actor.

        Raises:
            UserError: A selection that names nobody, or another run has the library.
        """
        chosen = self._library.select(self._params.actors, sample=self._params.sample, seed=self._context.seed)
        self._carrier.take_library()
        return [Item(actor.name, actor, (actor,)) for actor in chosen]

    def process(self, actor: Actor) -> Migrated:
        """Write, or preview, one manifest. One that is there stays as it is.

        Raises:
            ItemError: The manifest that is there is broken, or the folder can't be read or written.
        """
        root = self._context.data
        action = digest_of(["migrate", self._context.run, self._context.label, actor.name])[:24]
        known = self._carrier.journal.read(action)
        if known is None and training.read_manifest(root, actor) is not None:
            return Migrated(actor.id, actor.name, THERE)
        migration = legacy.migrated(root, actor, self._context.hashes)
        if known is None and migration.is_empty:
            return Migrated(actor.id, actor.name, NOTHING)
        record = self._record(action, actor, migration) if known is None else known[1]
        check = self._carrier.replacement.check_unchanged
        if not self._context.execute:
            check(record)
            return _migrated(actor, migration, TO_WRITE)
        self._carrier.carry_out(record, check=check, make=lambda now: now)
        return _migrated(actor, migration, WRITTEN)

    def finish(self, results: Results[Migrated]) -> None:
        """Write results.json and the report's part."""
        outcomes = list(results)
        found = [outcome.result for outcome in outcomes if outcome.result is not None]
        states = Counter(one.state for one in found)
        counts = {
            "manifests": states[WRITTEN] + states[TO_WRITE],
            "had_one": states[THERE],
            "no_training_data": states[NOTHING],
            "errors": len(outcomes) - len(found),
            "images": sum(sum((one.images or {}).values()) for one in found),
            "prompts": sum(one.prompts for one in found),
            "urls": sum(one.urls for one in found),
            "unplaced": sum(len(one.unplaced) for one in found),
            "unmapped": sum(len(one.unmapped) for one in found),
        }
        document = {
            "dry_run": not self._context.execute,
            "total_actors": len(outcomes),
            "summary": counts,
            "results": [_row(outcome) for outcome in outcomes],
        }
        files.write_json(self._context.out / RESULTS, document)
        write_part(self._context.out, self._report(outcomes, counts))

    def close(self) -> None:
        """Let go of the library."""
        self._carrier.let_go()

    def _record(self, action: str, actor: Actor, migration: Migration) -> ActionRecord:
        root = self._context.data
        return ActionRecord(
            id=action,
            plan=digest_of(["migrate", self._context.run, self._context.label])[:32],
            run=self._context.run,
            library=str(root.resolve()),
            actor_name=actor.name,
            action="migrate",
            rewrite=rewrite_of(root, training.manifest_path(root, actor.name), migration.manifest.text()),
        )

    def _report(self, outcomes: Sequence[Outcome[Migrated]], counts: dict[str, int]) -> ReportPart:
        written = counted(counts["manifests"], "manifest")
        about = (
            f"with {counted(counts['images'], 'image')}; {counts['had_one']} actors had one, {counts['errors']} failed"
        )
        if not self._context.execute:
            headline = f"Preview: {written} could be written {about}. Nothing was changed; execute=true acts."
        else:
            headline = f"{written} written {about}."
            if counts["manifests"]:
                headline += f" Take it back: callsheet undo {os.path.relpath(self._context.run)}"
        return ReportPart(
            headline=headline,
            counts=[
                ("manifests written" if self._context.execute else "manifests that would be written", counts["manifests"]),
                ("entries with a prompt", counts["prompts"]),
                ("entries with an address", counts["urls"]),
                ("files that only one side knows of", counts["unplaced"]),
                ("pieces not understood, kept under unmapped", counts["unmapped"]),
            ],
            entries=[_entry(outcome) for outcome in outcomes if outcome.result is None or outcome.result.state != NOTHING],
            warnings=self._carrier.warnings,
        )  # fmt: skip


def _migrated(actor: Actor, migration: Migration, state: str) -> Migrated:
    images = migration.manifest.images
    return Migrated(
        actor.id,
        actor.name,
        state,
        migration.sources,
        dict(Counter(str(image.source) for image in images)),
        sum(image.prompt is not None for image in images),
        sum(image.url is not None for image in images),
        tuple(Unplaced(one.file, one.why) for one in migration.unplaced),
        tuple(Left(f"{one.source}, {one.pointer or '/'}", one.why) for one in migration.manifest.unmapped),
    )


def _row(outcome: Outcome[Migrated]) -> dict[str, Any]:
    if outcome.result is None:
        return {"actor_name": outcome.key, "success": False, "error": outcome.error}
    return {**asdict(outcome.result), "success": True, "error": None}


def _entry(outcome: Outcome[Migrated]) -> Entry:
    result = outcome.result
    if result is None:
        return Entry(outcome.key, outcome.key, badge=FAILED, notes=[f"Not migrated: {outcome.error}"])
    notes = [f"{one.file}: {one.why}" for one in result.unplaced]
    notes += [f"{one.where}: {one.why}" for one in result.unmapped]
    if len(notes) > NOTES_SHOWN:
        notes = [*notes[:NOTES_SHOWN], f"and {len(notes) - NOTES_SHOWN} more, all of them in {RESULTS}"]
    facts = [(f"Entries from {source}", str(count)) for source, count in (result.images or {}).items()]
    return Entry(outcome.key, outcome.key, badge=BADGES[result.state], notes=notes, facts=facts)
