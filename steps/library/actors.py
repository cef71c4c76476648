"""The cast: who is in actorsData.json, and which of them a recipe means."""

from __future__ import annotations

import itertools
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.files import is_file, plain_name, under, whole_text
from runner.fingerprint import FileHashes
from runner.strangers import read_yaml
from steps.library import layout, made
from steps.library.documents import ACTOR_MANIFEST_SCHEMA, ACTORS_SCHEMA, read_checked

RANGE = re.compile(r"(\d{1,9})\s*-\s*(\d{1,9})")


@dataclass(frozen=True)
class Actor:
    """One actor as actorsData.json has them."""

    id: int
    name: str
    description: str = ""
    outfit: str = ""


def library_need(root: Path) -> Need:
    """For `callsheet doctor`: who is in the cast."""
    found = is_file(root / layout.ACTORS)
    advice = "" if found else "give data=FOLDER, or draw a library with `callsheet sample DIR`"
    return Need(f"library {root} ({layout.ACTORS})", met=found, advice=advice)


class Library:
    """A data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._actors: list[Actor] | None = None
        self._by_name: dict[str, Actor] | None = None
        self._groups: dict[str, set[int]] = {}

    def actors(self) -> Sequence[Actor]:
        """All actors, in the file's order.

        Raises:
            UserError: actorsData.json is missing, broken, or names two actors alike.
        """
        if self._actors is None:
            if not is_file(self.root / layout.ACTORS):
                raise UserError(
                    f"{self.root / layout.ACTORS}: no such file: give data=FOLDER, or draw a library with `callsheet sample DIR`"
                )
            self._actors = list(_read_actors(self.root / layout.ACTORS))
        return self._actors

    def by_name(self, name: str) -> Actor | None:
        """The actor of a name, if there is one."""
        if self._by_name is None:
            self._by_name = {actor.name: actor for actor in self.actors()}
        return self._by_name.get(name)

    def select(self, selection: Any, *, sample: int | None = None, seed: int = 0) -> list[Actor]:
        """The actors that a recipe means.

        Args:
            selection: None or "all"; an id (7), a padded id ("0007"), a name, a range ("0-49"), a group ("@villains"), or a list of these.
            sample: So many of them, drawn by `seed`; all when there are fewer.
            seed: For the draw.

        Raises:
            UserError: It names nobody, or a group that does not exist.
        """
        actors = self.actors()
        if selection is None or selection == "all":
            chosen = list(actors)
        else:
            wanted = set().union(*(self._meant(word, ()) for word in _listed(selection)))
            if not wanted:
                raise UserError(
                    f"actors: {selection!r} is an empty list and means nobody: leave it out to mean everybody"
                )
            chosen = [actor for actor in actors if actor.id in wanted]
        if sample is not None and sample < len(chosen):
            drawn = set(random.Random(f"sample/{seed}").sample(sorted(actor.id for actor in chosen), sample))  # noqa: S311 - to be repeatable
            chosen = [actor for actor in chosen if actor.id in drawn]
        return chosen

    def base_image(self, actor: Actor, hashes: FileHashes) -> Path | None:
        """An actor's base image: one that we made, else the first that the actor's manifest names, else the six places in order.

        Raises:
            ItemError: The manifest is broken or names a path outside of the library; a link leads out of it.
        """
        ours = layout.base_image(self.root, actor.name)
        record = made.read(self.root, actor.name)
        if record is not None and hashes.of(ours) == record.sha256:
            return ours
        try:
            for path in itertools.chain(
                self._named_by_manifest(actor), layout.base_image_places(self.root, actor.name)
            ):
                if self._there(path):
                    return under(self.root, path.relative_to(self.root).as_posix(), f"{actor.name}: base image")
        except UserError as error:
            raise ItemError(str(error)) from error
        except OSError as error:
            raise ItemError(f"{actor.name}: its base image can't be looked for: {error.strerror}") from error
        return None

    def training_files(self, actor: Actor) -> list[Path]:
        """Every file in an actor's training_data folder: images, manifest, legacy files. Links are listed, not followed.

        Raises:
            ItemError: The folder is a link that leads out of the library.
        """
        folder = layout.training_folder(self.root, actor.name)
        if not folder.is_dir():
            return []
        try:
            under(self.root, folder.relative_to(self.root).as_posix(), f"{actor.name}: training_data")
        except UserError as error:
            raise ItemError(str(error)) from error
        found = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
        for path in found:
            if whole_text(path.name) != path.name:
                raise ItemError(f"{str(path)!a}: a name that is not UTF-8 can't be written into a plan: rename it")
        return found

    def _there(self, path: Path) -> bool:
        """True for a file. What stands in its place without being one is told, for a new image could not take that place either."""
        if path.is_file():
            return True
        if os.path.lexists(path):
            raise ItemError(f"{path}: is no plain file (a folder, a pipe, or a link to nothing): move it away")
        return False

    def _named_by_manifest(self, actor: Actor) -> Iterator[Path]:
        path = layout.actor_manifest(self.root, actor.id)
        if not path.is_file():
            return
        manifest = read_checked(path, ACTOR_MANIFEST_SCHEMA)
        for index, entry in enumerate(manifest.get("base_images") or []):
            for key in ("moved_to", "relative_path"):
                if value := entry.get(key):
                    yield self._inside(str(value), f"{path}, /base_images/{index}/{key}")

    def _inside(self, text: str, where: str) -> Path:
        """A manifest's path in any of the forms that occur: below data, below its parent (data/...), or absolute."""
        root = self.root.resolve()
        if text.startswith("/") and "\0" not in text and ".." not in text and Path(text).is_relative_to(root):
            text = Path(text).relative_to(root).as_posix()
        first, _, rest = text.partition("/")
        if first in ("data", self.root.name) and rest and not (self.root / first).exists():
            text = rest
        return under(self.root, text, where)

    def _meant(self, word: Any, around: tuple[str, ...]) -> set[int]:
        """The ids that a word means, within the groups `around` it."""
        if isinstance(word, bool) or not isinstance(word, (int, str)):
            raise UserError(
                f"actors: {word!r} names nobody: give ids, names, ranges like 0-49, or groups like @villains"
            )
        text = str(word).strip()
        if text.startswith("@"):
            return self._group(text[1:], around)
        if by_name := {actor.id for actor in self.actors() if actor.name == text}:
            return by_name
        if found := RANGE.fullmatch(text):
            low, high = int(found[1]), int(found[2])
            chosen = {actor.id for actor in self.actors() if low <= actor.id <= high}
        elif text.isascii() and text.isdigit():
            chosen = {actor.id for actor in self.actors() if actor.id == int(text)}
        else:
            chosen = set()
        if not chosen:
            raise UserError(
                f"actors: {word!r} names nobody of the {len(self.actors())} in {self.root / layout.ACTORS}: "
                "give ids, names, ranges like 0-49, or groups like @villains"
            )
        return chosen

    def _group(self, name: str, around: tuple[str, ...]) -> set[int]:
        """A group's ids; each group is walked once, however many others name it."""
        path = self.root / layout.GROUPS
        if name in around:
            raise UserError(f"{path}: the groups around '@{name}' contain each other")
        if name not in self._groups:
            members = self._members(path, name)
            self._groups[name] = set().union(*(self._meant(word, (*around, name)) for word in members))
        return self._groups[name]

    def _members(self, path: Path, name: str) -> list[Any]:
        groups = read_yaml(path) if path.is_file() else {}
        if not isinstance(groups, Mapping):
            raise UserError(f"{path}: must be a mapping from a group's name to its actors")
        if name not in groups:
            raise UserError(
                f"actors: group '@{name}' is not in {path}: groups are {', '.join(map(str, groups)) or 'none'}"
            )
        entry = groups[name]
        members = entry.get("actors") if isinstance(entry, Mapping) else entry
        if not isinstance(members, list):
            raise UserError(f"{path}, {name}: must be a list of actors, or a mapping with a list 'actors'")
        return members


def _listed(selection: Any) -> Iterable[Any]:
    return list(selection) if isinstance(selection, (list, tuple)) else [selection]


def _read_actors(path: Path) -> Iterator[Actor]:
    seen: dict[tuple[str, int | str], int] = {}
    for index, entry in enumerate(read_checked(path, ACTORS_SCHEMA)):
        name = plain_name(entry["name"], f"{path}, /{index}/name")
        actor = Actor(int(entry["id"]), name, *(whole_text(entry.get(key) or "") for key in ("description", "outfit")))
        for what, value in (("id", actor.id), ("name", layout.folded(name))):
            first = seen.setdefault((what, value), index)
            if first != index:
                raise UserError(
                    f"{path}, /{index}/{what}: {entry[what]!r} stands at /{first} already: {what}s must differ"
                )
        yield actor
