"""Compare each actor's manifest of training images, their folder and the mirror. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.params import at_least, param
from runner.report_parts import Badge, Entry, ReportPart, counted, write_part
from runner.run import now
from runner.step import Item, Outcome, Results, StepContext
from steps.library import addresses, differences, layout, legacy, pictures, training
from steps.library.actors import Actor, Library, library_need
from steps.library.addresses import Claim
from steps.library.differences import (
    FOUND,
    MANIFEST,
    MENDS,
    STRANGER,
    VERSION,
    WORDS,
    Comparison,
    Difference,
    Folder,
    OnDisk,
)
from steps.library.mirror import Storage, StoredObject
from steps.library.plans import library_id, plan_id_of
from steps.library.training import TrainingManifest

AGREE = Badge("agree", "all agree", "✓", "good")
MENDABLE = Badge("mendable", "differs, can be mended", "≠", "change")
DIFFERENT = Badge("different", "differs, for a person", "!", "warning")
FAILED = Badge("failed", "failed", "!", "error")
MD5_DIGITS = 32
NOTES_SHOWN = 20


@dataclass(frozen=True)
class AuditParams:
    """Whose training images to compare, and how closely."""

    actors: Any = param(None, help="ids, names, ranges (0-49), groups (@villains) or a list of them; null is everybody")
    sample: int | None = param(None, help="so many actors drawn by seed; null takes all", check=at_least(1))
    contents: bool = param(
        True,
        help="compare files by content: reads each once; false goes by names and sizes, and reads what can be mended",
    )
    decode: bool = param(False, help="also open every image, and list those that are broken; about 10 ms each")
    gate: bool = param(True, help="exit 4 when anything differs")


@dataclass(frozen=True)
class Audited:
    """What one actor's audit found.

    Attributes:
        images: Training images on the disk.
        entries: In the manifest.
        objects: Training images in the mirror.
        manifest_sha256: Of the manifest's file; None where there is none.
        notes: What is no difference, but worth knowing.
    """

    actor_id: int
    actor_name: str
    images: int
    entries: int
    objects: int
    manifest_sha256: str | None
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


class Audit:
    """Compare manifests, folders and mirror."""

    version: ClassVar[int] = 1
    # It is about the present.
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: AuditParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(self, params: AuditParams, context: StepContext, storage: Storage) -> None:
        self._params = params
        self._context = context
        self._library = Library(context.data)
        # A storage that has no addresses mirrors nothing.
        self._storage = storage if storage.url(PurePosixPath(layout.ACTORS)) is not None else None
        self._objects: dict[str, dict[PurePosixPath, StoredObject]] = {}
        self._sizes: Mapping[str, int] = {}
        self._claims: Mapping[PurePosixPath, Collection[Claim]] = {}
        self._left = ""

    def items(self) -> Sequence[Item[Actor]]:
        """One item an actor. The mirror is listed once, and every manifest's addresses are read.

        Raises:
            UserError: A selection that names nobody, or the mirror can't be listed.
        """
        chosen = self._library.select(self._params.actors, sample=self._params.sample, seed=self._context.seed)
        if self._storage is not None:
            self._objects, self._sizes = _listed(self._storage)
            self._claims = addresses.claimed_by(self._storage, self._context.data, self._library.actors())
        return [Item(actor.name, actor, (actor,)) for actor in chosen]

    def process(self, actor: Actor) -> Audited:
        """Compare one actor's.

        Raises:
            ItemError: The folder can't be read, or the mirror.
        """
        root = self._context.data
        paths = training.images_on_disk(root, actor, odd=True)
        objects = self._objects.get(actor.name, {})
        manifest, found = self._manifest(actor, paths)
        disk = self._on_disk(paths, manifest, objects)
        oddities = {} if manifest is None else self._oddities(actor, manifest, disk)
        if manifest is not None:
            folder = Folder(disk, oddities)
            found += self._compared(manifest, folder, objects, mendable=not found)
        return Audited(
            actor.id,
            actor.name,
            len(disk),
            0 if manifest is None else len(manifest.images),
            sum(training.is_image(key.name) for key in objects),
            self._context.hashes.of(training.manifest_path(root, actor.name)),
            tuple(found),
            (
                *self._notes(manifest, disk),
                *(f"{file} is {what}, and is left alone" for file, what in oddities.items()),
            ),
        )

    def finish(self, results: Results[Audited]) -> None:
        """Write results.json and the report's part."""
        outcomes = list(results)
        rows = [_row(outcome) for outcome in outcomes]
        strangers = self._strangers()
        rows += [_stranger_row(name, difference) for name, difference in strangers.items()]
        found = [Difference(**entry) for row in rows for entry in row["differences"]]
        counts = Counter(one.kind for one in found)
        mendable = sum(one.mendable for one in found)
        notes = self._library_notes(outcomes)
        document = {
            "plan_id": plan_id_of(self._context.out / FOUND),
            "version": VERSION,
            "library": {"id": library_id(self._context.data), "path": str(self._context.data.resolve())},
            "generated_at": now(),
            "mirror": None if self._storage is None else self._storage.address(PurePosixPath("actors")),
            "total_actors": len(outcomes),
            "objects": sum(training.is_image(key.name) for listed in self._objects.values() for key in listed),
            "total_differences": len(found),
            "mendable": mendable,
            "summary": {kind: counts[kind] for kind in WORDS},
            "notes": notes,
            "results": rows,
        }
        files.write_json(self._context.out / FOUND, document)
        self._left = _left(len(found), mendable, sum(outcome.result is None for outcome in outcomes))
        write_part(self._context.out, self._report(outcomes, strangers, counts, notes))

    def gate(self) -> str | None:
        """What a run with gate=true exits 4 for; one that mends is told of by what mends."""
        return self._left or None if self._params.gate and not self._context.execute else None

    def _manifest(self, actor: Actor, paths: Sequence[Path]) -> tuple[TrainingManifest | None, list[Difference]]:
        """The manifest to compare with, and what is wrong with the one on the disk."""
        root = self._context.data
        path = training.manifest_path(root, actor.name).name
        try:
            manifest = training.read_manifest(root, actor)
        except ItemError as error:
            return None, [Difference(MANIFEST, path, f"is broken: {error}", file=path)]
        if manifest is not None:
            return manifest, []
        migration = legacy.migrated(root, actor, self._context.hashes)
        if migration.is_empty and not paths:
            return migration.manifest, []
        says = "is not written yet: callsheet run migrate_manifests execute=true"
        return migration.manifest, [Difference(MANIFEST, path, says, file=path)]

    def _compared(
        self,
        manifest: TrainingManifest,
        folder: Folder,
        objects: Mapping[PurePosixPath, StoredObject],
        *,
        mendable: bool,
    ) -> list[Difference]:
        found = Comparison(manifest, folder, self._storage, objects, self._claims, self._same).differences()
        return [one if mendable else Difference(one.kind, one.target, one.says, file=one.file) for one in found]

    def _on_disk(
        self, paths: Sequence[Path], manifest: TrainingManifest | None, objects: Mapping[PurePosixPath, StoredObject]
    ) -> dict[str, OnDisk]:
        """The training images by name, with their hashes: of all, or with contents=false of those that can be mended."""
        if self._params.contents or manifest is None:
            read = {path.name for path in paths}
        elif self._storage is None:
            read = {path.name for path in paths} - {image.file for image in manifest.images}
        else:
            folder = addresses.folder_of(manifest.actor_name)
            keys = addresses.keys_of(self._storage, manifest)
            there = {file for file, key in keys.items() if key in objects or not key.is_relative_to(folder)}
            read = {path.name for path in paths} - there
        found = {}
        for path in paths:
            sha256 = self._context.hashes.of(path) if path.name in read else None
            readable = sha256 is not None if path.name in read else os.access(path, os.R_OK)
            found[path.name] = OnDisk(path, sha256, readable)
        return found

    def _oddities(self, actor: Actor, manifest: TrainingManifest, disk: Mapping[str, OnDisk]) -> dict[str, str]:
        """What stands under the name of an image or an entry and is no training image, each with what it is."""
        folder = layout.training_folder(self._context.data, actor.name)
        entered = {image.file for image in manifest.images}
        try:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise ItemError(f"{folder} can't be read: {error.strerror}") from error
        odd = (name for name in names if name not in disk and (training.is_image(name) or name in entered))
        return {name: _what(folder / name) for name in odd}

    def _same(self, there: OnDisk, stored: StoredObject) -> bool:
        """Whether a file is what an object holds: by size; by the ETag, where that is an MD5 and fits; else by the object's bytes."""
        try:
            size = there.path.stat().st_size
            if size != stored.size or not self._params.contents:
                return size == stored.size
            if stored.etag is not None and len(stored.etag) == MD5_DIGITS and _md5(there.path) == stored.etag:
                return True
        except OSError as error:
            raise ItemError(f"{there.path} can't be read: {error.strerror}") from error
        assert self._storage is not None
        assert there.sha256 is not None
        return self._storage.holding(stored.key, there.sha256) is not None

    def _notes(self, manifest: TrainingManifest | None, disk: Mapping[str, OnDisk]) -> list[str]:
        notes = []
        if manifest is not None and self._storage is not None:
            elsewhere = [image for image in manifest.images if image.url and self._storage.path_of(image.url) is None]
            if elsewhere:
                notes.append(f"{counted(len(elsewhere), 'URL')} outside of this mirror, kept and never touched")
        if self._params.decode:
            for file, there in disk.items():
                try:
                    pictures.load(there.path)
                except ItemError as error:
                    notes.append(f"{file} is broken: {error}")
        return notes

    def _strangers(self) -> dict[str, Difference]:
        """Folders of the mirror that no actor has."""
        if self._storage is None or self._params.actors is not None or self._params.sample is not None:
            return {}
        found = {}
        for name, count in sorted(self._sizes.items()):
            if self._library.by_name(name) is None:
                address = self._storage.address(PurePosixPath("actors", name))
                says = f"has {counted(count, 'object')}, and actorsData.json no such actor"
                found[name] = Difference(STRANGER, address, says)
        return found

    def _library_notes(self, outcomes: Sequence[Outcome[Audited]]) -> list[str]:
        notes = [f"{outcome.key}: {note}" for outcome in outcomes if outcome.result for note in outcome.result.notes]
        if self._storage is None:
            notes.insert(
                0, "nothing mirrors the library (storage=local): manifests and disk are compared, and no bucket"
            )
        return notes

    def _report(
        self,
        outcomes: Sequence[Outcome[Audited]],
        strangers: Mapping[str, Difference],
        counts: Mapping[str, int],
        notes: Sequence[str],
    ) -> ReportPart:
        agree = sum(outcome.result is not None and not outcome.result.differences for outcome in outcomes)
        total = sum(counts.values())
        sides = "manifest and disk" if self._storage is None else "manifest, disk and mirror"
        headline = f"{sides} agree for {agree} of {counted(len(outcomes), 'actor')}; {counted(total, 'difference')}."
        entries = [_entry(outcome) for outcome in outcomes if outcome.result is None or outcome.result.differences]
        entries += [Entry(name, name, badge=DIFFERENT, notes=[_line(one)]) for name, one in strangers.items()]
        return ReportPart(
            headline=headline[0].upper() + headline[1:],
            counts=[(WORDS[kind], counts[kind]) for kind in WORDS if counts[kind]],
            entries=entries,
            warnings=notes[:NOTES_SHOWN],
        )


def _listed(storage: Storage) -> tuple[dict[str, dict[PurePosixPath, StoredObject]], Mapping[str, int]]:
    """The objects in each actor's training_data, and how many objects each folder of actors/ has in all."""
    sizes: Counter[str] = Counter()
    found: defaultdict[str, dict[PurePosixPath, StoredObject]] = defaultdict(dict)
    try:
        for item in storage.inventory(PurePosixPath("actors")):
            parts = item.key.parts
            sizes[parts[1]] += 1
            if len(parts) > 3 and parts[2] == "training_data":
                found[parts[1]][item.key] = item
    except ItemError as error:
        raise UserError(f"the library's mirror can't be listed: {error}") from error
    return dict(found), sizes


def _left(found: int, mendable: int, failed: int) -> str:
    """What a gate says of differences, and of actors that were not compared."""
    uncompared = f"{counted(failed, 'actor')} could not be compared" if failed else ""
    differing = f"{counted(found, 'difference')}, {mendable} of them can be mended" if found else ""
    how = ": execute=true, or callsheet audit --fix" if found else ""
    return "; ".join(filter(None, [uncompared, differing])) + how


def _what(path: Path) -> str:
    """What something is that is no training image, for people."""
    if path.is_symlink():
        return "a link"
    if path.is_dir():
        return "a folder"
    return "no training image by its name" if path.is_file() else "no plain file"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _row(outcome: Outcome[Audited]) -> dict[str, Any]:
    result = outcome.result
    if result is None:
        about: dict[str, Any] = {"manifest_sha256": None, "differences": [], "notes": []}
        return {"actor_name": outcome.key, "success": False, "error": outcome.error, **about}
    return {
        "actor_id": result.actor_id,
        "actor_name": result.actor_name,
        "success": True,
        "error": None,
        "images": result.images,
        "entries": result.entries,
        "objects": result.objects,
        "manifest_sha256": result.manifest_sha256,
        "differences": [differences.row_of(one) for one in result.differences],
        "notes": list(result.notes),
    }


def _stranger_row(name: str, difference: Difference) -> dict[str, Any]:
    found = [differences.row_of(difference)]
    return {"actor_name": name, "success": True, "error": None, "manifest_sha256": None, "differences": found}


def _entry(outcome: Outcome[Audited]) -> Entry:
    result = outcome.result
    if result is None:
        return Entry(outcome.key, outcome.key, badge=FAILED, notes=[f"Not compared: {outcome.error}"])
    badge = MENDABLE if all(one.mendable for one in result.differences) else DIFFERENT
    notes = [_line(one) for one in result.differences]
    if len(notes) > NOTES_SHOWN:
        notes = [*notes[:NOTES_SHOWN], f"and {len(notes) - NOTES_SHOWN} more, all of them in {FOUND}"]
    facts = [("On disk", str(result.images)), ("In the manifest", str(result.entries)), ("In the mirror", str(result.objects))]  # fmt: skip
    return Entry(outcome.key, outcome.key, badge=badge, notes=notes, facts=facts)


def _line(difference: Difference) -> str:
    mends = f" ({MENDS[difference.kind]} by execute=true)" if difference.mendable else ""
    return f"{difference.target}: {difference.says}{mends}"
