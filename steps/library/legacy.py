"""Training images as older tools left them: prompt_metadata.json and response.json, understood as a manifest of ours.

Both come in several shapes, which are told apart by what is in them and not by the file's name: entries that name their file, in a list or
by name, and predictions of Replicate, in the order of the images' numbers. Nothing of them is lost: what belongs to an image stands with
it, and the rest under `unmapped`. The legacy files themselves are never touched.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from runner.errors import UserError
from runner.files import plain_name, read_json, whole_text
from runner.fingerprint import FileHashes
from steps.library import layout, training
from steps.library.actors import Actor
from steps.library.training import TrainingImage, TrainingManifest, Unmapped

SOURCES = ("prompt_metadata.json", "response.json")
# Real ones have some hundred kilobytes at most. What is over these limits is left in its file, and said.
LARGEST_BYTES = 16 * 2**20
DEEPEST = 60
LONGEST_TEXT = 100_000
BEGINNING = 1_000

# The names that occur for each thing; the first that holds a usable value counts.
FILES = ("filename", "file", "file_name", "image", "path", "name")
PROMPTS = ("prompt", "input/prompt", "text")
URLS = ("s3_url", "url", "s3_uri", "image_url", "output")
SEEDS = ("seed", "input/seed")
MODELS = ("model",)
CLASSES = ("class",)
COSTS = ("usd", "cost")
TIMES = ("made_at", "completed_at", "created_at", "generated_at", "timestamp")
LISTS = ("images", "predictions", "results")
# Statuses of a prediction that no image came of.
FRUITLESS = ("failed", "canceled", "cancelled", "aborted", "starting", "processing")
OURS = {("class" if entry.name == "kind" else entry.name) for entry in fields(TrainingImage) if entry.name != "extra"}


class Unplaced(NamedTuple):
    """A file that only one side knows of: no entry speaks of it, or it is not on the disk."""

    file: str
    why: str


@dataclass(frozen=True)
class Migration:
    """What an actor's legacy files and images make.

    Attributes:
        manifest: With an entry for each image on the disk and for each that a legacy file names.
        unplaced: What could not be brought together.
        sources: The legacy files that were read.
    """

    manifest: TrainingManifest
    unplaced: tuple[Unplaced, ...]
    sources: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write a manifest about."""
        return not self.manifest.images and not self.sources


def current(root: Path, actor: Actor, hashes: FileHashes) -> TrainingManifest:
    """An actor's manifest; where there is none, what migration would write.

    Raises:
        ItemError: The manifest is broken, or the folder can't be read.
    """
    manifest = training.read_manifest(root, actor)
    return migrated(root, actor, hashes).manifest if manifest is None else manifest


def migrated(root: Path, actor: Actor, hashes: FileHashes) -> Migration:
    """The manifest that an actor's images and legacy files make; nothing is written.

    Raises:
        ItemError: The folder is a link that leads out of the library, or can't be read.
    """
    there = {path.name: path for path in training.images_on_disk(root, actor, odd=True)}
    migrating = _Migrating(list(there))
    folder = layout.training_folder(root, actor.name)
    sources = tuple(name for name in SOURCES if (folder / name).is_file())
    documents = [(name, document) for name in sources if (document := migrating.parsed(folder / name)) is not None]
    # Entries that name their files first, so that predictions, which don't, know which files there are.
    for name, document in sorted(documents, key=lambda one: _holds_predictions(one[1])):
        migrating.read(name, document)
    images = tuple(
        TrainingImage(
            **row.known,
            file=row.file,
            sha256=hashes.of(there[row.file]) if row.file in there else None,
            source=row.source,
            extra=row.extra,
        )
        for row in migrating.rows()
    )
    manifest = TrainingManifest(actor.id, actor.name, images, tuple(migrating.unmapped))
    return Migration(manifest, tuple(migrating.unplaced()), sources)


@dataclass
class _Row:
    """An image in the making."""

    file: str
    source: str
    known: dict[str, Any]
    extra: dict[str, Any]


class _Piece(NamedTuple):
    """A part of a legacy file."""

    source: str
    pointer: str
    value: Any

    def at(self, key: str | int, value: Any) -> _Piece:
        """A part of it."""
        return _Piece(self.source, f"{self.pointer}/{str(key).replace('~', '~0').replace('/', '~1')}", value)


class _Migrating:
    """One actor's rows, as legacy files are read one after the other; what an earlier one says counts."""

    def __init__(self, there: Sequence[str]) -> None:
        self.unmapped: list[Unmapped] = []
        self._there: dict[str, str] = {}
        self._refused: list[Unplaced] = []
        self._rows: dict[str, _Row] = {}
        for name in there:
            self._enter_file(name)

    def parsed(self, path: Path) -> Any:
        """A legacy file's content; None for one that is not usable, which is noted."""
        fault = None
        if path.is_symlink():
            fault, text = "is a link, which is not followed", ""
        elif path.stat().st_size > LARGEST_BYTES:
            fault, text = f"over {LARGEST_BYTES // 2**20} MiB: its beginning is kept here", _beginning(path)
        if fault is None:
            try:
                document = read_json(path)
            except UserError as error:
                fault, text = str(error).removeprefix(str(path)).lstrip(": "), _beginning(path)
            else:
                if _is_shallow(document):
                    return document
                fault, text = f"nested deeper than {DEEPEST}: its beginning is kept here", _beginning(path)
        self.unmapped.append(Unmapped(path.name, "", fault, text))
        return None

    def read(self, source: str, document: Any) -> None:
        """Take over all that a legacy file says."""
        whole = _Piece(source, "", _plain(document, source))
        predictions: list[_Piece] = []
        for piece, name in _entries(whole):
            if name is None and _is_prediction(piece.value):
                predictions.append(piece)
            else:
                self._entry(piece, name)
        self._predictions(predictions)

    def rows(self) -> list[_Row]:
        """One for each image that is on the disk or named, by number."""
        rows = [self._rows.get(key) or _Row(name, "disk", {}, {}) for key, name in self._there.items()]
        rows += [row for key, row in self._rows.items() if key not in self._there]
        return sorted(rows, key=lambda row: training.order_of(row.file))

    def unplaced(self) -> Iterator[Unplaced]:
        """Files that only one side knows of, by number."""
        yield from self._refused
        for row in self.rows():
            if row.source == "disk":
                yield Unplaced(row.file, "no legacy file speaks of it")
            elif layout.folded(row.file) not in self._there:
                yield Unplaced(row.file, f"{row.source} names it, and it is not on the disk")

    def _enter_file(self, name: str) -> None:
        try:
            key = layout.folded(plain_name(name, "its name"))
        except UserError as error:
            self._refused.append(Unplaced(whole_text(name), f"is not entered: {whole_text(str(error))}"))
            return
        if key in self._there:
            self._refused.append(Unplaced(name, f"is not entered: {self._there[key]} differs from it by case alone"))
        else:
            self._there[key] = name

    def _entry(self, piece: _Piece, name: str | None) -> None:
        """Take over an entry that names its file, in itself or as the key that it stands under."""
        entry = piece.value
        if isinstance(entry, str):
            is_name = name is None and training.is_image(entry)
            entry = {"url" if "://" in entry else "file" if is_name else "prompt": entry}
        if entry is None and name is not None:
            entry = {}
        if not isinstance(entry, dict):
            self._leave(piece, "is no entry of an image")
            return
        rest = dict(entry)
        said = name if name is not None else _name_in(rest)
        file = _file_named(said)
        if file is None:
            self._leave(piece, "names no image of training_data")
            return
        before = self._rows.get(layout.folded(file))
        if before is not None and before.source == piece.source:
            self._leave(piece, f"{before.file} has an entry before")
            return
        row = self._row(file, piece.source)
        if name is not None:
            if rest.get("filename") == name:
                del rest["filename"]
            self._keep_name(row, piece, rest, name)
        elif not _an_address(said):
            at = next(key for key in FILES if rest.get(key) == said)
            rest = {key: value for key, value in rest.items() if key not in FILES or value != said}
            self._keep_name(row, piece.at(at, said), rest, str(said))
        _fill_address(row, rest)
        self._take_over(row, piece, rest)

    def _keep_name(self, row: _Row, piece: _Piece, rest: dict[str, Any], said: str) -> None:
        """Keep what a file is called where that is not its name: an address as its url if none is known, else beside the entry."""
        if said == row.file:
            return
        if _an_address(said) and not _has_address(row, rest):
            row.known["url"] = said
        elif "legacy_name" not in rest and "legacy_name" not in row.extra:
            rest["legacy_name"] = said
        elif said not in (rest.get("legacy_name"), row.extra.get("legacy_name")):
            self._leave(_Piece(piece.source, piece.pointer, said), f"{row.file}: has another legacy_name")

    def _predictions(self, pieces: Sequence[_Piece]) -> None:
        """Give predictions, in their order, to the images, by number. Those that no image came of take no number."""
        fruitful = []
        for piece in pieces:
            if _is_fruitless(piece.value):
                self._leave(piece, f"no image came of it: its status is {piece.value.get('status')}")
            else:
                fruitful.append(piece)
        outputs = [_output(piece.value, index) for piece in fruitful for index in range(_outputs(piece.value))]
        targets = iter(self._targets(outputs))
        for piece in fruitful:
            self._prediction(piece, list(itertools.islice(targets, _outputs(piece.value))))

    def _targets(self, urls: Sequence[str | None]) -> list[str | None]:
        """The image of each output: the one of its address's name; else, where there are as many, in their order; else by number."""
        known = {**{key: row.file for key, row in self._rows.items()}, **self._there}
        named = [known.get(layout.folded(_last_part(url))) if url else None for url in urls]
        taken: set[str] = set()
        for at, file in enumerate(named):
            if file in taken:
                named[at] = None
            elif file is not None:
                taken.add(file)
        left = sorted({*known.values()} - taken, key=training.order_of)
        unknown = [at for at, file in enumerate(named) if file is None]
        if len(left) == len(unknown):
            by_place: Mapping[int, str] = dict(zip(unknown, left, strict=True))
        else:
            # Some are gone, or came later. Of two with one number nobody knows which it was.
            often = Counter(map(training.number_of, left))
            by_place = {
                number - 1: file for file in left if (number := training.number_of(file)) and often[number] == 1
            }
        return [file if file is not None else by_place.get(at) for at, file in enumerate(named)]

    def _prediction(self, piece: _Piece, targets: Sequence[str | None]) -> None:
        """Give a prediction to its images: each has its address, prompt and the like, and the first all the rest."""
        placed = [(index, file) for index, file in enumerate(targets) if file is not None]
        if not placed:
            self._leave(piece, "which image came of it can't be told")
            return
        shared = {key: value for key, value in piece.value.items() if key != "output"}
        for position, (index, file) in enumerate(placed):
            row = self._row(file, piece.source)
            url = _output(piece.value, index)
            rest = {} if url is None else {"output": url}
            if position == 0:
                self._take_over(row, piece, {**shared, **rest})
            else:
                self._take_over(row, piece, rest)
                _fill(row, dict(shared))
        given = {index for index, _ in placed}
        output = piece.value.get("output")
        for index, value in enumerate(output if isinstance(output, list) else ()):
            if index not in given or not isinstance(value, str):
                self._leave(piece.at("output", None).at(index, value), "which image it is can't be told")
        if output is not None and not isinstance(output, (list, str)):
            self._leave(piece.at("output", output), "is no address")

    def _row(self, file: str, source: str) -> _Row:
        key = layout.folded(file)
        return self._rows.setdefault(key, _Row(self._there.get(key, file), source, {}, {}))

    def _take_over(self, row: _Row, piece: _Piece, rest: dict[str, Any]) -> None:
        """Give a row what an entry says and the row does not know yet; the rest stands beside it, or under `unmapped`."""
        _fill(row, rest)
        for key, value in rest.items():
            if key in OURS and value in (None, ""):
                continue
            if key in OURS or key in row.extra:
                self._leave(piece.at(key, value), f"{row.file}: is not usable, or was said before")
            else:
                row.extra[key] = value

    def _leave(self, piece: _Piece, why: str) -> None:
        self.unmapped.append(Unmapped(piece.source, piece.pointer, why, piece.value))


def _entries(whole: _Piece) -> Iterator[tuple[_Piece, str | None]]:
    """The parts of a document that may be about an image, each with the name that it stands under; any other part too."""
    document = whole.value
    if isinstance(document, list):
        yield from ((whole.at(index, value), None) for index, value in enumerate(document))
    elif not isinstance(document, dict) or _is_prediction(document):
        yield whole, None
    else:
        for key, value in document.items():
            piece = whole.at(key, value)
            if key in LISTS and isinstance(value, list):
                yield from ((piece.at(index, entry), None) for index, entry in enumerate(value))
            elif key in LISTS and isinstance(value, dict):
                yield from ((piece.at(name, entry), name) for name, entry in value.items())
            elif training.is_image(key):
                yield piece, key
            elif value is not None:
                yield piece, ""


def _is_prediction(value: Any) -> bool:
    """Whether a part is one of Replicate's predictions, which name no file."""
    if not isinstance(value, dict) or any(isinstance(value.get(name), str) for name in FILES[:4]):
        return False
    return isinstance(value.get("input"), dict) or "output" in value


def _holds_predictions(document: Any) -> bool:
    return any(name is None and _is_prediction(piece.value) for piece, name in _entries(_Piece("", "", document)))


def _is_fruitless(prediction: Mapping[str, Any]) -> bool:
    status = prediction.get("status")
    return isinstance(status, str) and status.casefold() in FRUITLESS and not _addresses(prediction)


def _outputs(prediction: Mapping[str, Any]) -> int:
    """How many images came of a prediction; one whose output has expired had at least one."""
    return max(1, len(_addresses(prediction)))


def _addresses(prediction: Mapping[str, Any]) -> list[Any]:
    output = prediction.get("output")
    if isinstance(output, list):
        return output
    return [output] if isinstance(output, str) else []


def _output(prediction: Mapping[str, Any], index: int) -> str | None:
    found = _addresses(prediction)
    return found[index] if index < len(found) and isinstance(found[index], str) else None


def _last_part(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        return ""


def _file_named(said: Any) -> str | None:
    """The file of training_data that a name or path means; None where it leads elsewhere or is no image."""
    if not isinstance(said, str) or ".." in (parts := said.replace("\\", "/").split("/")):
        return None
    try:
        name = plain_name(_last_part(said) if "://" in said else parts[-1], "file")
    except UserError:
        return None
    return name if training.is_image(name) else None


def _name_in(entry: Mapping[str, Any]) -> str | None:
    """What an entry calls its file; where it does not say, the address that it gives."""
    said = [entry[name] for name in FILES if isinstance(entry.get(name), str)]
    said += [entry[name] for name in URLS[:-1] if _an_address(entry.get(name)) and _file_named(_last_part(entry[name]))]
    return next((name for name in said if _file_named(name) is not None), None)


def _has_address(row: _Row, rest: Mapping[str, Any]) -> bool:
    """Whether a row has its address, or an entry gives it under a name for addresses."""
    return "url" in row.known or any(_an_address(rest.get(name)) for name in URLS)


def _fill_address(row: _Row, rest: dict[str, Any]) -> None:
    """Where no other address is known, take the one that an entry gives instead of the file's name."""
    if _has_address(row, rest):
        return
    for key in FILES:
        named = _file_named(rest[key]) if _an_address(rest.get(key)) else None
        if named is not None and layout.folded(named) == layout.folded(row.file):
            row.known["url"] = rest.pop(key)
            return


def _fill(row: _Row, rest: dict[str, Any]) -> None:
    """Move what a row does not know yet out of an entry."""
    for field, names, usable in FIELDS:
        if field not in row.known and (value := _take(rest, names, usable)) is not None:
            row.known[field] = value


def _take(rest: dict[str, Any], names: Sequence[str], usable: Callable[[Any], bool]) -> Any:
    """Take the first usable value of some names out of an entry; None where there is none."""
    for name in names:
        outer, _, inner = name.partition("/")
        holder = rest.get(outer) if inner else rest
        if not isinstance(holder, dict) or (key := inner or outer) not in holder or not usable(holder[key]):
            continue
        value = holder[key]
        kept = {other: there for other, there in holder.items() if other != key}
        if inner:
            rest[outer] = kept
        else:
            del rest[key]
        return value
    return None


def _a_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def _an_address(value: Any) -> bool:
    return _a_text(value) and "://" in value


def _a_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _a_cost(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


FIELDS: Sequence[tuple[str, Sequence[str], Callable[[Any], bool]]] = (
    ("prompt", PROMPTS, _a_text),
    ("url", URLS, _an_address),
    ("seed", SEEDS, _a_seed),
    ("model", MODELS, _a_text),
    ("kind", CLASSES, _a_text),
    ("usd", COSTS, _a_cost),
    ("made_at", TIMES, _a_text),
)


def _is_shallow(document: Any) -> bool:
    """Whether a document is nested no deeper than what we can write again."""
    level = [document]
    for _ in range(DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return True
    return False


def _plain(value: Any, source: str) -> Any:
    """A value that any JSON file can hold: texts whole and not endless, numbers finite."""
    if isinstance(value, dict):
        return {_text(key, source): _plain(inner, source) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, source) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _text(value, source) if isinstance(value, str) else value


def _text(text: str, source: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:BEGINNING]} ... ({len(text)} characters; all of them are in {source})"
    return whole_text(text)


def _beginning(path: Path) -> str:
    """A file's first characters, as far as they are text."""
    try:
        with path.open("rb") as file:
            return file.read(BEGINNING).decode("utf-8", "replace")
    except OSError:
        return ""
