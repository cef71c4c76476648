"""Where an actor's manifest, folder and mirror differ, and which of it can be mended without losing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from runner.errors import UserError
from runner.files import plain_name, read_json
from steps.library import addresses, layout, training
from steps.library.addresses import Claim
from steps.library.documents import check
from steps.library.mirror import Storage, StoredObject
from steps.library.plans import KEYS_SCHEMA, LIBRARY_SCHEMA, SHA256, WHOLE, PlannedKey, check_keys
from steps.library.training import TrainingImage, TrainingManifest

FOUND = "results.json"
VERSION = 1

# Mended by --fix, each with what that does.
UNLISTED, GONE, NOWHERE, ORPHAN, UNSTORED, UNADDRESSED = (
    "unlisted", "gone_from_disk", "nowhere", "orphan", "not_in_mirror", "no_address",
)  # fmt: skip
MENDS: Mapping[str, str] = {
    UNLISTED: "the manifest gets an entry",
    GONE: "the file is fetched",
    NOWHERE: "the entry is dropped",
    ORPHAN: "the object goes to the mirror's trash",
    UNSTORED: "the file is put into the mirror",
    UNADDRESSED: "the entry gets the object's address",
}
# For a person: nobody else knows which side is right.
OTHERS_CONTENT, CHANGED, MANIFEST, ELSEWHERE, SHARED, NAME, NO_IMAGE, UNREADABLE, STALE, NESTED, STRANGER = (
    "differs_from_mirror", "differs_from_manifest", "manifest", "elsewhere", "shared", "name", "no_image", "unreadable",
    "stale", "in_subfolder", "nobodys",
)  # fmt: skip
KINDS = (
    *MENDS, OTHERS_CONTENT, CHANGED, MANIFEST, ELSEWHERE, SHARED, NAME, NO_IMAGE, UNREADABLE, STALE, NESTED, STRANGER,
)  # fmt: skip
WORDS: Mapping[str, str] = {
    UNLISTED: "files that no manifest lists",
    GONE: "entries whose file only the mirror has",
    NOWHERE: "entries whose file is nowhere",
    ORPHAN: "objects of no entry",
    UNSTORED: "files that the mirror lacks",
    UNADDRESSED: "entries without their object's address",
    OTHERS_CONTENT: "files that differ from their object",
    CHANGED: "files that differ from their entry's hash",
    MANIFEST: "manifests that are broken or not written yet",
    ELSEWHERE: "addresses that lead elsewhere",
    SHARED: "entries that share their object with another",
    NAME: "names that no manifest can hold",
    NO_IMAGE: "links and other things that are no training image",
    UNREADABLE: "files that can't be read",
    STALE: "objects at the key of an entry that leads elsewhere",
    NESTED: "objects in sub-folders of training_data",
    STRANGER: "folders of objects that are nobody's",
}

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["plan_id", "version", "library", "generated_at", "objects", "results"],
    "properties": {
        "plan_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "maxLength": 32},
        "version": {"const": VERSION},
        "library": LIBRARY_SCHEMA,
        "objects": WHOLE,
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["actor_name", "manifest_sha256", "differences"],
                "properties": {
                    "actor_name": {"type": "string"},
                    "manifest_sha256": {"anyOf": [{"type": "null"}, SHA256]},
                    "differences": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["kind", "target", "says", "mendable", "file", "key", "sha256"],
                            "properties": {
                                "kind": {"enum": list(KINDS)},
                                "target": {"type": "string"},
                                "says": {"type": "string"},
                                "mendable": {"type": "boolean"},
                                "file": {"type": ["string", "null"]},
                                "key": {"anyOf": [{"type": "null"}, KEYS_SCHEMA["items"]]},
                                "sha256": {"anyOf": [{"type": "null"}, SHA256]},
                            },
                        },
                    },
                },
            },
        },
    },
}


@dataclass(frozen=True)
class Difference:
    """One thing that two of manifest, folder and mirror see differently.

    Attributes:
        kind: One of `KINDS`.
        target: The file's name, or the object's address.
        says: What differs, for people.
        mendable: Whether --fix mends it.
        file: The file in training_data that it is about; None for an object that belongs to none.
        key: The object that it is about; for one that is to be put into the mirror only its key counts.
        sha256: Of the file on the disk.
    """

    kind: str
    target: str
    says: str
    mendable: bool = False
    file: str | None = None
    key: PlannedKey | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class OnDisk:
    """A training image on the disk; `sha256` is None where it was not read or can't be."""

    path: Path
    sha256: str | None
    is_readable: bool = True


class Folder(NamedTuple):
    """An actor's training_data on the disk.

    Attributes:
        images: The training images, by name.
        oddities: What stands under the name of an image or of an entry and is no training image: by name, what it is, for people.
    """

    images: Mapping[str, OnDisk]
    oddities: Mapping[str, str] = {}


@dataclass(frozen=True)
class Findings:
    """What an audit found for one actor, as read from its file."""

    actor_name: str
    manifest_sha256: str | None
    differences: tuple[Difference, ...]

    def id_in(self, audit_id: str) -> str:
        """Names the action that mends them; 24 hexadecimal digits, so that it can name a folder."""
        return hashlib.sha256(f"{audit_id}/{self.actor_name}/mend".encode()).hexdigest()[:24]

    def of(self, kind: str) -> Iterator[Difference]:
        """Those of a kind that are to be mended."""
        return (one for one in self.differences if one.kind == kind and one.mendable)


@dataclass(frozen=True)
class Audit:
    """An audit as read from its file.

    Attributes:
        objects: Training images in the mirror, in all.
    """

    id: str
    library_id: str
    library_path: str
    objects: int
    findings: tuple[Findings, ...]


class Comparison:
    """Compares what an actor's manifest says with what folder and mirror hold.

    Args:
        manifest: The manifest, or what migration would write.
        folder: What is on the disk.
        storage: The mirror; None where nothing mirrors the library.
        objects: The mirror's objects below the actor's training_data, by key.
        claims: The entries that lead to an object, by its key; of all actors.
        same: Whether a file on the disk is what an object holds.
    """

    def __init__(
        self,
        manifest: TrainingManifest,
        folder: Folder,
        storage: Storage | None,
        objects: Mapping[PurePosixPath, StoredObject],
        claims: Mapping[PurePosixPath, Collection[Claim]],
        same: Callable[[OnDisk, StoredObject], bool],
    ) -> None:
        self._manifest = manifest
        self._disk, self._oddities = folder
        self._storage = storage
        self._objects = objects
        self._claims = claims
        self._same = same
        self._folder = addresses.folder_of(manifest.actor_name)
        self._entries = {image.file: image for image in manifest.images}
        self._keys = {} if storage is None else addresses.keys_of(storage, manifest)
        self._own = {} if storage is None else addresses.claimed(storage, [manifest])

    def differences(self) -> Iterator[Difference]:
        """All, by file, then the objects that are left."""
        for file in sorted({*self._entries, *self._disk, *self._oddities}, key=training.order_of):
            entry, there = self._entries.get(file), self._disk.get(file)
            if file in self._oddities:
                # What neither manifest nor mirror knows differs from nothing: a link or folder of a person's.
                if entry is not None or self._folder / file in self._objects:
                    yield self._odd(file)
            elif there is not None and not there.is_readable:
                yield Difference(UNREADABLE, file, "can't be read: change its permissions", file=file)
            elif entry is not None:
                yield from self._of_entry(entry, there)
            elif there is not None:
                yield from self._of_unlisted(file, there)
        yield from self._unowned()

    def _odd(self, file: str) -> Difference:
        listed = "the manifest lists it" if file in self._entries else "the mirror has an image of its name"
        return Difference(NO_IMAGE, file, f"is {self._oddities[file]}, and {listed}: move one of them away", file=file)

    def _of_entry(self, entry: TrainingImage, there: OnDisk | None) -> Iterator[Difference]:
        if self._is_changed(entry, there):
            yield Difference(CHANGED, entry.file, "is not what it was when its entry was written", file=entry.file)
        if self._storage is None:
            yield from self._unmirrored(entry, there)
            return
        key = self._keys[entry.file]
        if others := self._others(key, entry.file):
            yield self._shared(entry, there, key, others)
        elif key.is_relative_to(self._folder):
            yield from self._of_object(entry, there, key, self._objects.get(key))
        else:
            yield from self._of_distant(entry, there, key)

    def _is_changed(self, entry: TrainingImage, there: OnDisk | None) -> bool:
        known = None if there is None else there.sha256
        return known is not None and entry.sha256 is not None and known != entry.sha256

    def _others(self, key: PurePosixPath, file: str | None) -> list[Claim]:
        """The entries, but one of this actor, that lead to an object."""
        name = self._manifest.actor_name
        of_others = {claim for claim in self._claims.get(key, ()) if claim.actor_name != name}
        return sorted((of_others | self._own.get(key, set())) - {Claim(name, str(file))})

    def _shared(
        self, entry: TrainingImage, there: OnDisk | None, key: PurePosixPath, others: Sequence[Claim]
    ) -> Difference:
        assert self._storage is not None
        names = ", ".join(f"{claim.file} of {claim.actor_name}" for claim in others)
        says = f"leads to {self._storage.address(key)}, and so does {names}: mend the url of all but one"
        missing = "" if there is not None else "; and there is no such file"
        return Difference(SHARED, entry.file, says + missing, file=entry.file)

    def _unmirrored(self, entry: TrainingImage, there: OnDisk | None) -> Iterator[Difference]:
        if there is not None:
            return
        if entry.url is None:
            # Its object would be an orphan to a later audit, and perhaps it is the only copy.
            says = "is not on the disk; nobody looked in a bucket, so its entry stays: give storage=s3 and its bucket"
            yield Difference(NOWHERE, entry.file, says, file=entry.file)
        else:
            says = "is not on the disk; its address may have it: give storage=s3 and its bucket"
            yield Difference(GONE, entry.file, says, file=entry.file)

    def _of_object(
        self, entry: TrainingImage, there: OnDisk | None, key: PurePosixPath, stored: StoredObject | None
    ) -> Iterator[Difference]:
        """An entry whose object is, or would be, in the actor's own folder."""
        if stored is None:
            yield self._nowhere(entry) if there is None else self._unstored(entry.file, there, key)
            return
        if there is None:
            yield self._gone(entry.file, stored)
            return
        if self._is_changed(entry, there):
            return
        if not self._same(there, stored):
            yield self._others_content(entry.file, stored)
        elif entry.url is None:
            yield self._difference(UNADDRESSED, entry.file, "its entry does not say where the mirror has it", stored)

    def _of_distant(self, entry: TrainingImage, there: OnDisk | None, key: PurePosixPath) -> Iterator[Difference]:
        """An entry whose address leads to another place of this mirror, where nothing is put or deleted."""
        assert self._storage is not None
        stored = self._storage.find(key)
        where = self._storage.address(key)
        if stored is None:
            says = f"its address leads to {where}, where nothing stands: mend the entry's url"
        elif key.parts[:1] == ("actors",):
            says = f"its address leads to {where}, into another folder of the library: mend the entry's url"
        elif there is None:
            yield self._gone(entry.file, stored)
            return
        else:
            if not self._is_changed(entry, there) and not self._same(there, stored):
                yield self._others_content(entry.file, stored)
            return
        missing = "" if there is not None else "; and there is no such file"
        yield Difference(ELSEWHERE, entry.file, says + missing, file=entry.file)

    def _of_unlisted(self, file: str, there: OnDisk) -> Iterator[Difference]:
        if fault := self._name_fault(file):
            yield Difference(NAME, file, fault)
            return
        says = "is in training_data, and the manifest does not list it"
        yield self._difference(UNLISTED, file, says, sha256=there.sha256)
        if self._storage is None:
            return
        key = self._folder / file
        stored = self._objects.get(key)
        if stored is None:
            yield self._unstored(file, there, key)
        elif not self._same(there, stored):
            yield self._others_content(file, stored)

    def _name_fault(self, file: str) -> str | None:
        """Why a manifest can't hold a file's name beside those that it has, or None."""
        try:
            folded = layout.folded(plain_name(file, file))
        except UserError as error:
            return f"can't be entered: {error}"
        for other in (*self._entries, *sorted(self._disk)):
            if other != file and layout.folded(other) == folded and (other in self._entries or other < file):
                return f"can't be entered: {other} differs from it by case alone: rename one of them"
        return None

    def _unowned(self) -> Iterator[Difference]:
        """Objects that no entry leads to, and that are no unlisted file's."""
        if self._storage is None:
            return
        for key, stored in sorted(self._objects.items()):
            if not training.is_image(key.name) or self._others(key, None):
                continue
            address = self._storage.address(key)
            if key.parent != self._folder:
                yield Difference(NESTED, address, "is in a sub-folder of training_data, and no entry leads to it")
            elif key.name in self._entries:
                where = self._storage.address(self._keys[key.name])
                says = f"no entry leads to it: that of {key.name} leads to {where}"
                yield Difference(STALE, address, says, file=key.name)
            elif key.name not in self._disk and key.name not in self._oddities:
                planned = PlannedKey(str(key), stored.size, stored.etag)
                says = "is the image of no entry, and no file is called so"
                yield Difference(ORPHAN, address, says, mendable=True, key=planned)

    def _nowhere(self, entry: TrainingImage) -> Difference:
        assert self._storage is not None
        says = "is neither on the disk nor in the mirror"
        alike = next((name for name in self._disk if layout.folded(name) == layout.folded(entry.file)), None)
        if alike is not None:
            return Difference(NAME, entry.file, f"{says}; {alike} differs from it by case alone", file=entry.file)
        if entry.url is not None and self._storage.path_of(entry.url) is None:
            says = f"{says}; its address, outside of this mirror, may have it: fetch it, or remove the entry"
            return Difference(NOWHERE, entry.file, says, file=entry.file)
        return self._difference(NOWHERE, entry.file, says)

    def _unstored(self, file: str, there: OnDisk, key: PurePosixPath) -> Difference:
        assert self._storage is not None
        entry = self._entries.get(file)
        return Difference(
            UNSTORED,
            file,
            f"is not in the mirror at {self._storage.address(key)}",
            mendable=there.sha256 is not None and not (entry is not None and self._is_changed(entry, there)),
            file=file,
            key=PlannedKey(str(key), 0),
            sha256=there.sha256,
        )

    def _gone(self, file: str, stored: StoredObject) -> Difference:
        assert self._storage is not None
        says = f"is not on the disk, and {self._storage.address(stored.key)} has it"
        clash = self._name_fault(file) is not None or any(
            layout.folded(file) == layout.folded(name) for name in self._disk
        )
        if clash or not training.is_image(file):
            return Difference(GONE, file, f"{says}; a file of its name can't be put there", file=file)
        return self._difference(GONE, file, says, stored)

    def _others_content(self, file: str, stored: StoredObject) -> Difference:
        assert self._storage is not None
        says = f"is not what {self._storage.address(stored.key)} holds: move the wrong one away"
        return Difference(OTHERS_CONTENT, file, says, file=file)

    def _difference(
        self, kind: str, file: str, says: str, stored: StoredObject | None = None, sha256: str | None = None
    ) -> Difference:
        key = None if stored is None else PlannedKey(str(stored.key), stored.size, stored.etag)
        return Difference(kind, file, says, mendable=True, file=file, key=key, sha256=sha256)


def mended(
    manifest: TrainingManifest, findings: Findings, storage: Storage, fetched: Mapping[str, str]
) -> TrainingManifest:
    """The manifest as it is once its differences are mended.

    Args:
        manifest: As it is.
        findings: What is to be mended.
        storage: Says addresses.
        fetched: The hash of each file that came from the mirror.
    """
    images = {image.file: image for image in manifest.images}
    for one in findings.of(NOWHERE):
        images.pop(str(one.file), None)
    for one in findings.of(UNLISTED):
        file = str(one.file)
        images[file] = TrainingImage(file, sha256=one.sha256, source="disk")
    addressed = {str(one.file): one.key for kind in (UNADDRESSED, UNSTORED, GONE) for one in findings.of(kind)}
    for one in findings.of(UNLISTED):
        addressed.setdefault(
            str(one.file), PlannedKey(str(addresses.folder_of(manifest.actor_name) / str(one.file)), 0)
        )
    for file, key in addressed.items():
        if key is not None and file in images and images[file].url is None:
            images[file] = replace(images[file], url=storage.url(PurePosixPath(key.key)))
    for file, sha256 in fetched.items():
        if images[file].sha256 is None:
            images[file] = replace(images[file], sha256=sha256)
    return replace(manifest, images=tuple(images.values()))


def row_of(difference: Difference) -> dict[str, Any]:
    """As in the file."""
    return asdict(difference)


def read_audit(path: Path) -> Audit:
    """Read an audit that a person may have edited.

    Raises:
        UserError: Not an audit, or one with names or keys that lead elsewhere; with the JSON pointer.
    """
    document = read_json(path)
    check(document, SCHEMA, str(path))
    findings = []
    seen: dict[str, int] = {}
    for index, row in enumerate(document["results"]):
        where = f"{path}, /results/{index}"
        name = plain_name(row["actor_name"], f"{where}/actor_name")
        if (first := seen.setdefault(layout.folded(name), index)) != index:
            raise UserError(f"{where}: {name!r} stands at /results/{first} already: once an actor")
        findings.append(Findings(name, row["manifest_sha256"], tuple(_differences(row, name, where))))
    library = document["library"]
    return Audit(document["plan_id"], library["id"], library["path"], document["objects"], tuple(findings))


def _differences(row: Mapping[str, Any], name: str, where: str) -> Iterator[Difference]:
    orphans = []
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(row["differences"]):
        here = f"{where}/differences/{index}"
        kind, key = entry["kind"], entry["key"]
        if entry["mendable"]:
            _check_mendable(entry, name, here)
            if (at := (kind, entry["target"])) in seen:
                raise UserError(f"{here}: {entry['target']!r} stands there twice")
            seen.add(at)
            orphans += [key] if kind == ORPHAN else []
        planned = None if key is None else PlannedKey(key["key"], key["size"], key["etag"])
        yield Difference(**{**{field: entry[field] for field in FIELDS}, "key": planned})
    check_keys(orphans, f"actors/{name}/training_data/", where)


def _check_mendable(entry: Mapping[str, Any], name: str, where: str) -> None:
    """Raise UserError where a difference can't be mended as it says."""
    kind, file, key = entry["kind"], entry["file"], entry["key"]
    if kind not in MENDS:
        raise UserError(f"{where}: differences of kind {kind!r} are not mended")
    if kind != ORPHAN and not training.is_image(plain_name(file, f"{where}/file")) and kind != NOWHERE:
        raise UserError(f"{where}/file: {file!r} is no training image by its name")
    if kind in (ORPHAN, GONE, UNSTORED, UNADDRESSED) and key is None:
        raise UserError(f"{where}/key: null, but kind {kind!r} is about an object")
    if kind in (UNLISTED, UNSTORED) and entry["sha256"] is None:
        raise UserError(f"{where}/sha256: null, but kind {kind!r} is about a file")
    if kind in (UNSTORED, UNADDRESSED):
        check_keys([key], f"actors/{name}/training_data/", where)


FIELDS = ("kind", "target", "says", "mendable", "file", "sha256")
