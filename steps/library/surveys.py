"""Which training images an actor has: on the disk, and in the mirror where the disk lacks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from runner.errors import ItemError, UserError
from runner.fingerprint import FileHashes
from steps.library import addresses, legacy, training
from steps.library.actors import Actor, Library
from steps.library.mirror import Storage, StoredObject
from steps.library.training import TrainingManifest

# From so many actors on, one listing of the whole mirror is quicker than one of each actor's folder.
_MANY = 20

# What a fault calls a base image that has no path.
BASE = "the base image"

Objects = Mapping[PurePosixPath, StoredObject]


@dataclass(frozen=True)
class FoundImage:
    """One training image.

    Attributes:
        file: Its name.
        path: Where it is on the disk; None for one that only the mirror has.
        stored: What the mirror has of it, if anything.
        made_at: When it was made, seconds since 1970: as the manifest says, else the file's time; None where nobody knows.
    """

    file: str
    path: Path | None
    stored: StoredObject | None
    made_at: float | None

    @property
    def content(self) -> tuple[str, Path | str | None, int | None, str | None]:
        """What a fingerprint needs to know of it: the file, or which object."""
        if self.path is not None or self.stored is None:
            return self.file, self.path, None, None
        return self.file, str(self.stored.key), self.stored.size, self.stored.etag


@dataclass(frozen=True)
class Survey:
    """What an actor has, before anybody looked at a pixel.

    Attributes:
        actor: Whose.
        base: The base image, or None.
        images: By number, then by name.
        faults: What could not be understood (a broken manifest) or found (the base image of one who has training images), with why.
        problem: Why nothing could be found out; None where it could.
    """

    actor: Actor
    base: Path | None
    images: tuple[FoundImage, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    problem: str | None = None


class Surveyor:
    """Looks for training images of some actors."""

    def __init__(self, library: Library, storage: Storage, hashes: FileHashes) -> None:
        self._library = library
        self._storage = storage
        self._hashes = hashes
        self._listed: dict[str, dict[PurePosixPath, StoredObject]] | None = None

    def prepare(self, actors: Sequence[Actor]) -> None:
        """List the mirror at once for many actors.

        Raises:
            UserError: It can't be listed.
        """
        if len(actors) < _MANY:
            return
        self._listed = {}
        try:
            for item in self._storage.inventory(PurePosixPath("actors")):
                parts = item.key.parts
                if len(parts) == 4 and parts[2] == "training_data":
                    self._listed.setdefault(parts[1], {})[item.key] = item
        except ItemError as error:
            raise UserError(f"the library's mirror can't be listed: {error}") from error

    def has_images(self, actor: Actor) -> bool:
        """Whether an actor has an image, on the disk or in the mirror. What goes wrong is `of`'s to tell."""
        try:
            if training.images_on_disk(self._library.root, actor):
                return True
        except ItemError:
            return True
        survey = self.of(actor)
        return bool(survey.images) or survey.problem is not None

    def of(self, actor: Actor) -> Survey:
        """Everything about one actor."""
        base, no_base = self._base(actor)
        try:
            objects = self._objects(actor)
            on_disk = {path.name: path for path in training.images_on_disk(self._library.root, actor)}
            manifest, faults = self._manifest(actor)
            images = self._images(actor, on_disk, objects, manifest)
        except (ItemError, OSError) as error:
            return Survey(actor, base, problem=str(error))
        if no_base is not None and not images:
            return Survey(actor, None, faults=faults, problem=no_base)
        return Survey(actor, base, images, faults if no_base is None else (*faults, (BASE, no_base)))

    def _base(self, actor: Actor) -> tuple[Path | None, str | None]:
        """The base image, or why it can't be looked for."""
        try:
            return self._library.base_image(actor, self._hashes), None
        except ItemError as error:
            return None, str(error)

    def _images(
        self, actor: Actor, on_disk: Mapping[str, Path], objects: Objects, manifest: TrainingManifest
    ) -> tuple[FoundImage, ...]:
        stored = {}
        # An object that is neither on the disk nor in the manifest is nobody's: an audit tells of it.
        for name in {*on_disk, *(image.file for image in manifest.images if training.is_image(image.file))}:
            # Its own URL wins, and may lead elsewhere in the mirror; only there a look-up of its own is needed.
            key = addresses.key_of(self._storage, manifest, name)
            inside = key.parent == addresses.folder_of(actor.name)
            if (there := objects.get(key) if inside else self._storage.find(key)) is not None:
                stored[name] = there
        names = sorted({*on_disk, *stored}, key=training.order_of)
        return tuple(
            FoundImage(name, on_disk.get(name), stored.get(name), _made_at(manifest, name, on_disk.get(name)))
            for name in names
        )

    def _manifest(self, actor: Actor) -> tuple[TrainingManifest, tuple[tuple[str, str], ...]]:
        """An actor's manifest. A broken one takes nothing from the images: it is told, and stands for none."""
        try:
            return legacy.current(self._library.root, actor, self._hashes), ()
        except ItemError as error:
            name = training.manifest_path(self._library.root, actor.name).name
            return TrainingManifest(actor.id, actor.name), ((name, str(error)),)

    def _objects(self, actor: Actor) -> Objects:
        if self._listed is not None:
            return self._listed.get(actor.name, {})
        return addresses.of_actor(self._storage, actor.name)


def _made_at(manifest: TrainingManifest, name: str, path: Path | None) -> float | None:
    entry = manifest.entry(name)
    if entry is not None and entry.made_at:
        try:
            told = datetime.fromisoformat(entry.made_at)
            return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            pass
    return None if path is None else path.stat().st_mtime
