"""Mend what an audit found and can be mended safely: files, objects and manifest of an actor in one action, through the trash."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from runner import files
from runner.errors import ItemError, UserError
from runner.failpoints import failpoint
from runner.files import under
from runner.params import param
from runner.report_parts import Badge, Entry, ReportPart, counted, write_part
from runner.run import now
from runner.step import Item, Outcome, Results, StepContext
from steps.carrying import LARGEST_SHARE, Carrier
from steps.library import addresses, differences, layout, training
from steps.library.actors import Actor, Library
from steps.library.differences import GONE, MENDS, NOWHERE, ORPHAN, UNLISTED, UNSTORED, WORDS, Difference, Findings
from steps.library.journal import STAGED, ActionRecord, Arrival, Upload, rewrite_of
from steps.library.made import MadeRecord
from steps.library.mirror import Storage, StoredObject
from steps.library.training import TrainingManifest

MENDED = "mended.json"
DONE = Badge("mended", "mended", "✓", "good")
TO_DO = Badge("mendable", "differs, can be mended", "≠", "change")
LEFT = Badge("different", "differs, for a person", "!", "warning")
FAILED = Badge("failed", "failed", "!", "error")


@dataclass(frozen=True)
class MendParams:
    """Which audit's differences."""

    audit: str = param(help="results.json of an audit step")
    force: bool = param(False, help="also when more than half of the mirror's training images go")
    gate: bool = param(True, help="exit 4 when a difference is left")


@dataclass(frozen=True)
class Mended:
    """What became of one actor's differences, or what would.

    Attributes:
        mended: Their targets, by kind.
        left: Targets of those that stay as they are.
    """

    actor_name: str
    id: str
    done: bool
    mended: dict[str, list[str]]
    left: tuple[str, ...]


class Mend:
    """Mend an audit's differences, or preview that: without execute=true nothing is changed."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: MendParams, context: StepContext, storage: Storage) -> None:
        self._params = params
        self._context = context
        self._storage = storage
        self._library = Library(context.data)
        self._carrier = Carrier(context, storage)
        self._untouched = 0
        self._left = 0

    def items(self) -> Sequence[Item[Findings]]:
        """One item an actor with a difference that can be mended.

        Raises:
            UserError: Not an audit, or of another library, mended before, or most of the mirror would go.
        """
        audit = differences.read_audit(Path(self._params.audit))
        self._carrier.check_library(self._params.audit, audit.library_id, audit.library_path)
        self._carrier.take_library()
        self._audit_id = audit.id
        chosen = {one.actor_name: one for one in audit.findings if any(found.mendable for found in one.differences)}
        self._untouched = sum(len(one.differences) for one in audit.findings if one.actor_name not in chosen)
        self._check_share(sum(len(list(one.of(ORPHAN))) for one in chosen.values()), audit.objects)
        ids = {name: one.id_in(audit.id) for name, one in chosen.items()}
        left = self._carrier.unused(self._params.audit, audit.id, ids)
        return [Item(name, chosen[name], (audit.id, chosen[name])) for name in left]

    def process(self, findings: Findings) -> Mended:
        """Mend, or preview, one actor's differences; goes on where an earlier try was cut off."""
        known = self._carrier.journal.read(findings.id_in(self._audit_id))
        record = self._record(findings) if known is None else known[1]
        if not self._context.execute:
            self._check(findings, record)
            return self._mended(findings, record, done=False)
        done = self._carrier.carry_out(
            record, check=lambda now: self._check(findings, now), make=lambda now: self._made(findings, now)
        )
        return self._mended(findings, done, done=True)

    def finish(self, results: Results[Mended]) -> None:
        """Write mended.json and the report's part."""
        outcomes = list(results)
        found = [outcome.result for outcome in outcomes if outcome.result is not None]
        counts = Counter({kind: sum(len(one.mended.get(kind, ())) for one in found) for kind in MENDS})
        failed = sum(outcome.result is None for outcome in outcomes)
        self._left = self._untouched + failed + sum(len(one.left) for one in found)
        document = {
            "dry_run": not self._context.execute,
            "plan_id": self._audit_id,
            "summary": {**counts, "left": self._left, "errors": failed},
            "results": [_row(outcome) for outcome in outcomes],
        }
        files.write_json(self._context.out / MENDED, document)
        write_part(self._context.out, self._report(outcomes, counts))

    def gate(self) -> str | None:
        """What a run with gate=true exits 4 for."""
        if not self._params.gate or not self._context.execute or not self._left:
            return None
        return f"{counted(self._left, 'difference')} left, for a person to mend"

    def close(self) -> None:
        """Let go of the library."""
        self._carrier.let_go()

    def _check_share(self, going: int, there: int) -> None:
        if going > LARGEST_SHARE * there and not self._params.force:
            message = (
                f"{going} of the mirror's {there} training images would go to its trash, more than half: is data={self._context.data} "
                f"the library that it mirrors? Look at {self._params.audit}, then give force=true if you mean it"
            )
            if self._context.execute:
                raise UserError(message)
            self._carrier.warn(f"execute=true would be refused: {message}")

    def _record(self, findings: Findings) -> ActionRecord:
        name = findings.actor_name
        folder = addresses.folder_of(name)
        try:
            under(self._context.data, str(folder), f"{name}: training_data")
        except UserError as error:
            raise ItemError(str(error)) from error
        return ActionRecord(
            id=findings.id_in(self._audit_id),
            plan=self._audit_id,
            run=self._context.run,
            library=str(self._context.data.resolve()),
            actor_name=name,
            action="mend",
            keys=tuple(one.key for one in findings.of(ORPHAN) if one.key is not None),
            arrivals=tuple(
                Arrival(str(folder / str(one.file)), slot, upload=False) for slot, one in enumerate(findings.of(GONE))
            ),
            uploads=tuple(
                Upload(str(folder / str(one.file)), one.key.key, one.sha256)
                for one in findings.of(UNSTORED)
                if one.key is not None and one.sha256 is not None
            ),
        )

    def _check(self, findings: Findings, record: ActionRecord) -> None:
        """All that the audit saw must still be so.

        Raises:
            ItemError: Something changed since.
        """
        self._carrier.replacement.check_unchanged(record)
        actor = self._actor(findings)
        manifest = training.manifest_path(self._context.data, actor.name)
        if self._context.hashes.of(manifest) != findings.manifest_sha256:
            raise ItemError(f"{manifest} has changed since the audit: audit again")
        folder = layout.training_folder(self._context.data, actor.name)
        for one in findings.of(UNLISTED):
            if self._context.hashes.of(folder / str(one.file)) != one.sha256:
                raise ItemError(f"{folder / str(one.file)} has changed since the audit: audit again")
        for one in findings.of(NOWHERE):
            if self._storage.url(PurePosixPath(layout.ACTORS)) is None:
                raise ItemError(
                    f"{one.file}: nothing mirrors the library (storage=local), so its entry stays: audit and mend with storage=s3"
                )
            if os.path.lexists(folder / str(one.file)):
                raise ItemError(f"{folder / str(one.file)} has appeared since the audit: audit again")

    def _made(self, findings: Findings, record: ActionRecord) -> ActionRecord:
        """The record with the files that come from the mirror, and the manifest as it will be."""
        wanted = list(findings.of(GONE))
        for arrival in record.arrivals:
            if not (arrival.passed and self._carrier.replacement.waits(record, arrival)):
                record = self._fetched(record, arrival, wanted[arrival.slot])
        actor = self._actor(findings)
        manifest = self._manifest(actor)
        hashes = {
            Path(arrival.path).name: arrival.made.sha256 for arrival in record.arrivals if arrival.made is not None
        }
        for file, sha256 in hashes.items():
            entry = manifest.entry(file)
            if entry is not None and entry.sha256 not in (None, sha256):
                raise ItemError(
                    f"{file} in the mirror is not what it was when its entry was written: nothing was changed"
                )
        after = differences.mended(manifest, findings, self._storage, hashes)
        if after == manifest:
            return record
        root = self._context.data
        return replace(record, rewrite=rewrite_of(root, training.manifest_path(root, actor.name), after.text()))

    def _manifest(self, actor: Actor) -> TrainingManifest:
        found = training.read_manifest(self._context.data, actor)
        return TrainingManifest(actor.id, actor.name) if found is None else found

    def _fetched(self, record: ActionRecord, arrival: Arrival, one: Difference) -> ActionRecord:
        assert one.key is not None
        stored = StoredObject(PurePosixPath(one.key.key), one.key.size, one.key.etag)
        data = self._storage.get(stored)
        files.write_bytes(self._carrier.replacement.staged(record.id, arrival), data)
        made = MadeRecord(hashlib.sha256(data).hexdigest(), "the mirror", "", 0, record.id, now())
        # Before it counts as fetched, so that it is never untold.
        self._context.operations.record(
            "fetch", self._storage.address(stored.key), action=record.id, sha256=made.sha256
        )
        record = record.with_arrival(replace(arrival, made=made, passed=True))
        self._carrier.journal.note(record, STAGED)
        failpoint("execute.staged")
        return record

    def _actor(self, findings: Findings) -> Actor:
        actor = self._library.by_name(findings.actor_name)
        if actor is not None:
            return actor
        raise ItemError(f"{findings.actor_name} is not in actorsData.json any more: audit again")

    def _mended(self, findings: Findings, record: ActionRecord, *, done: bool) -> Mended:
        mended = {kind: [one.target for one in findings.of(kind)] for kind in MENDS}
        return Mended(
            findings.actor_name,
            record.id,
            done,
            {kind: targets for kind, targets in mended.items() if targets},
            tuple(one.target for one in findings.differences if not one.mendable),
        )

    def _report(self, outcomes: Sequence[Outcome[Mended]], counts: Counter[str]) -> ReportPart:
        total, acted = counts.total(), self._context.execute
        if acted:
            headline = f"{counted(total, 'difference')} mended, {self._left} left."
            if total:
                headline += f" Take it back: callsheet undo {os.path.relpath(self._context.run)}"
        else:
            headline = f"Preview: {counted(total, 'difference')} could be mended, {self._left} could not. Nothing was changed; execute=true acts."
        return ReportPart(
            headline=headline,
            counts=[(f"{WORDS[kind]}, {'mended' if acted else 'to mend'}", counts[kind]) for kind in MENDS if counts[kind]],
            entries=[_entry(outcome) for outcome in outcomes],
            warnings=self._carrier.warnings,
        )  # fmt: skip


def _row(outcome: Outcome[Mended]) -> dict[str, Any]:
    if outcome.result is None:
        return {"actor_name": outcome.key, "success": False, "error": outcome.error, "done": False, "mended": {}}
    return {**asdict(outcome.result), "success": True, "error": None}


def _entry(outcome: Outcome[Mended]) -> Entry:
    result = outcome.result
    if result is None:
        return Entry(outcome.key, outcome.key, badge=FAILED, notes=[f"Not mended: {outcome.error}"])
    badge = LEFT if result.left else DONE if result.done else TO_DO
    return Entry(outcome.key, outcome.key, badge=badge, notes=list(_sentences(result)))


def _sentences(result: Mended) -> Iterator[str]:
    for kind, targets in result.mended.items():
        yield f"{'Mended' if result.done else 'To mend'}, {MENDS[kind]}: {', '.join(targets)}"
    if result.left:
        yield f"Left as it is: {', '.join(result.left)}"
