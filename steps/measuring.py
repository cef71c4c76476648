"""Folders of images and the faces in them, made into what `steps.measures.faces` counts with."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from runner import files
from runner.errors import ItemError, MisconfiguredRun, UserError
from runner.report_parts import counted
from steps.backends.protocols import Face, Faces
from steps.library import pictures
from steps.library.raw_images import SUFFIXES, shown
from steps.measures.faces import LEAST_RANGE, LEAST_TRUTH, Character, FrameFaces, Scale, StoryboardLikeness, unit

_FRAME = re.compile(r"frame_\d+", re.IGNORECASE)
_OF_STORYBOARDS = frozenset({"attempts", "contact_sheet.png", "manifest.json", "metadata.json", "reference.png"})
"""What lies beside the frames of a storyboard, and is expected there."""
_DIGITS = re.compile(r"(\d+)")
_BEYOND = 0.1
"""Share of a face's box beyond the image from which on the face is said to be cut by the border."""
_SLIVER = 50
"""An image so many times as long as wide holds no face; fitted into a detector's square it would have no pixel left."""
_NAMED = 5
"""Names or sentences that a sentence lists; of more it says how many."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one folder that belong together.

    Attributes:
        name: The folder's, for people.
        images: In natural order: frame_2 before frame_10.
        others: Names of what else lies there, but for what a storyboard has beside its frames.
    """

    name: str
    images: tuple[Path, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Portrait:
    """Who is in one image.

    Attributes:
        name: The file's name, for people.
        sha256: Of the file.
        faces: How many there are; the largest counts.
        score: How sure the detector is of the largest, 0 to 1; None without a face.
        at_border: Whether a tenth or more of the largest one's box lies beyond the image.
        embedding: Of the largest (D,); None without a face.
    """

    name: str
    sha256: str
    faces: int
    score: float | None
    at_border: bool
    embedding: Any | None = field(repr=False)


@dataclass(frozen=True)
class Measured:
    """A set of frames, measured.

    Attributes:
        numbers: Of each frame and of the set.
        portraits: Who is in each frame.
        similarities: Cosine of each frame with each; None where one has no face.
        missing: What can't be told and why, a sentence each.
        notes: What a person should know of the numbers, a sentence each.
    """

    numbers: StoryboardLikeness
    portraits: tuple[Portrait, ...]
    similarities: tuple[tuple[float | None, ...], ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


class _Known(NamedTuple):
    """What is known of the character: its face, its references' names by content, and what is to be said of them."""

    character: Character
    references: Mapping[str, str]
    notes: list[str]


class Measurer:
    """Measures frames by true images of the character, and by images of other people if there are any."""

    def __init__(self, recogniser: Faces, references: Path, impostors: Path | None = None) -> None:
        """Nothing is looked at before it is asked for.

        Raises:
            UserError: A folder is not there, or holds no image.
        """
        self._recogniser = recogniser
        self._references = images_of(references)
        self._impostors = None if impostors is None else images_of(impostors)
        self._lock = threading.Lock()

    @property
    def depends_on(self) -> tuple[Any, ...]:
        """What every result depends on beside the frames, for `runner.step.Item`."""
        impostors = None if self._impostors is None else list(self._impostors.images)
        return self._recogniser.identity, list(self._references.images), impostors

    @property
    def reference_images(self) -> tuple[Path, ...]:
        """The true images, those without a face among them."""
        return self._references.images

    @property
    def scale(self) -> Scale:
        """What cosines mean; raises as `measure`."""
        return self._known.character.scale

    @property
    def notes(self) -> list[str]:
        """What a person should know of the references and impostors, a sentence each; raises as `measure`."""
        return self._known.notes

    def storyboard(
        self, images: Sequence[Path], conditioning: Path | None = None, conditioned_from: int = 1
    ) -> StoryboardLikeness:
        """The numbers of a storyboard; see `measure`."""
        return self.measure(images, conditioning, conditioned_from).numbers

    def measure(self, images: Sequence[Path], conditioning: Path | None = None, conditioned_from: int = 1) -> Measured:
        """Measure frames, the first of them being frame 1.

        Args:
            images: The frames in order.
            conditioning: The image that the model was given, if any.
            conditioned_from: The first frame that was given it: 2 where it is frame 1's own face.

        Raises:
            ItemError: An image that can't be opened, by its name.
            MisconfiguredRun: No reference shows a face.
        """
        given = None if conditioning is None else look(self._recogniser, conditioning)
        character = self._known.character
        portraits = tuple(look(self._recogniser, path) for path in images)
        frames = [FrameFaces(number, each.faces, each.embedding) for number, each in enumerate(portraits, 1)]
        numbers = character.measure(frames, None if given is None else given.embedding, conditioned_from)
        return Measured(
            numbers=numbers,
            portraits=portraits,
            similarities=_similarities(portraits),
            missing=tuple(_missing(numbers, character, given)),
            notes=tuple(self._remarks(portraits, given)),
        )

    @property
    def _known(self) -> _Known:
        # Threads that come first would each look through the folders.
        with self._lock:
            return self._found

    @cached_property
    def _found(self) -> _Known:
        true, notes = _gallery(self._recogniser, self._references, "reference")
        if not true:
            some = "; ".join(notes[:_NAMED]) + (f"; and {len(notes) - _NAMED} more" if len(notes) > _NAMED else "")
            raise MisconfiguredRun(
                f"{self._references.images[0].parent}: no reference shows a face ({some}): give images of the character with the face "
                "clearly seen, or another recogniser"
            )
        others: list[Portrait] = []
        if self._impostors is not None:
            others, more = _gallery(self._recogniser, self._impostors, "impostor", {each.sha256 for each in true})
            notes += more
        strange = [each.embedding for each in others] or None
        character = Character([each.embedding for each in true], strange)
        return _Known(character, {each.sha256: each.name for each in true}, notes)

    def _remarks(self, portraits: Sequence[Portrait], given: Portrait | None) -> Iterator[str]:
        true = self._known.references
        for each in portraits:
            if each.sha256 in true:
                yield f"{each.name} is the reference {true[each.sha256]}: its likeness is high by construction"
        for one, other in pairwise(sorted(portraits, key=lambda each: each.sha256)):
            if one.sha256 == other.sha256:
                yield f"{one.name} and {other.name} are the same image: their similarity is 1 by construction"
        if given is not None and given.sha256 in true:
            yield f"the conditioning image is the reference {true[given.sha256]}: leave it out of the references"
        if given is not None and given.faces > 1:
            yield f"the conditioning image {given.name} shows {given.faces} faces: the largest counts"


def network(identity: str) -> list[str]:
    """A recogniser's name and weights, without its settings: with another threshold it is the same one."""
    return [word for word in identity.split() if "=" not in word]


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts names as people do: frame_2 before frame_10."""
    parts = _DIGITS.split(name)
    return tuple(int(part) if index % 2 else part.casefold() for index, part in enumerate(parts)), name


def image_sets(folder: Path) -> tuple[list[ImageSet], list[str]]:
    """The sets of frames in a folder: its own images, or those of each folder in it.

    Returns:
        The sets in natural order, and the names of folders that hold no image.

    Raises:
        UserError: There is no such folder, or no image in it.
    """
    own = _listed(folder)
    if own.images:
        return [own], []
    below = sorted((each for each in folder.iterdir() if _is_open_folder(each)), key=lambda each: natural(each.name))
    found = [_listed(each) for each in below]
    sets = [each for each in found if each.images]
    if not sets:
        raise UserError(f"{folder}: no image there: it takes {', '.join(SUFFIXES)}, or folders with such images")
    return sets, [each.name for each in found if not each.images]


def images_of(folder: Path) -> ImageSet:
    """The images of a folder; raises as `image_sets`."""
    found = _listed(folder)
    if not found.images:
        raise UserError(f"{folder}: no image there: it takes {', '.join(SUFFIXES)}")
    return found


def numbering(images: Sequence[Path]) -> str:
    """A sentence where files called frame_1, frame_2 ... don't have each number once, or nothing: the first is taken as frame 1."""
    numbers = [int(_DIGITS.findall(each.stem)[0]) for each in images if _FRAME.fullmatch(each.stem)]
    first = min(numbers, default=1)
    whole = first <= 1 and numbers == list(range(first, first + len(numbers)))
    if whole:
        return ""
    return f"its files do not have each number from frame_1 on once: {shown(images[0].name)} is taken as frame 1, the next as frame 2"


def look(recogniser: Faces, path: Path) -> Portrait:
    """Find the faces of an image.

    Raises:
        ItemError: It can't be opened; with its name.
    """
    try:
        picture = pictures.load(path)
    except OSError as error:
        raise ItemError(f"{shown(path.name)} can't be read: {error.strerror}") from error
    image = picture.image
    found = recogniser.find(image) if max(image.size) <= _SLIVER * min(image.size) else []
    best = found[0] if found else None
    return Portrait(
        name=shown(path.name),
        sha256=picture.sha256,
        faces=len(found),
        score=None if best is None else round(float(best.score), 4),
        at_border=best is not None and _at_border(best, image.size),
        embedding=None if best is None else best.embedding,
    )


def _listed(folder: Path) -> ImageSet:
    """A folder's own images; where some are called frame_1, frame_2 ... only those, as a storyboard's contact sheet is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give one with images")
    inside = sorted(
        (each for each in folder.iterdir() if not each.name.startswith(".")), key=lambda each: natural(each.name)
    )
    images = [each for each in inside if each.suffix.lower() in SUFFIXES and files.is_file(each)]
    frames = [each for each in images if _FRAME.fullmatch(each.stem)]
    kept = frames or images
    expected = _OF_STORYBOARDS if frames else ()
    others = tuple(shown(each.name) for each in inside if each not in kept and each.name not in expected)
    return ImageSet(shown(folder.name or folder.resolve().name), tuple(kept), others)


def _is_open_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _gallery(
    recogniser: Faces, images: ImageSet, what: str, known: Collection[str] = ()
) -> tuple[list[Portrait], list[str]]:
    """Who is in a folder's images, each content once, and what is to be said of them; `known` contents are references already."""
    found: dict[str, Portrait] = {}
    notes = []
    for path in images.images:
        try:
            seen = look(recogniser, path)
        except ItemError as error:
            notes.append(f"{what}: {error}: it is left out")
            continue
        if seen.sha256 in known:
            notes.append(f"{what} {seen.name} is among the references too: it is left out")
        elif seen.sha256 in found:
            notes.append(f"{what} {seen.name} is the same image as {found[seen.sha256].name}: it counts once")
        elif not seen.faces:
            notes.append(f"{what} {seen.name} shows no face: it is left out")
        else:
            found[seen.sha256] = seen
            if seen.faces > 1:
                notes.append(f"{what} {seen.name} shows {seen.faces} faces: the largest counts")
    return list(found.values()), notes


def _similarities(portraits: Sequence[Portrait]) -> tuple[tuple[float | None, ...], ...]:
    faces = [None if each.embedding is None else unit(each.embedding) for each in portraits]
    return tuple(
        tuple(None if one is None or other is None else round(float(one @ other), 6) for other in faces)
        for one in faces
    )


def _missing(numbers: StoryboardLikeness, character: Character, given: Portrait | None) -> Iterator[str]:
    """What can't be told, and why."""
    if gone := [each.frame for each in numbers.frames if not each.faces]:
        yield f"no face is found in {frames_named(gone)}: means are told without them, and with them as 0"
    if numbers.frame1 is None:
        why = "frame 1 shows no face" if not numbers.frames[0].faces else "no later frame shows a face"
        yield f"similarity to frame 1 can't be told: {why}"
    if numbers.consistency is None:
        yield "consistency can't be told: fewer than two of the frames from 2 on show a face"
    if numbers.copy_paste is None:
        yield f"the copy-paste score can't be told: {_why_no_copy_paste(numbers, character, given)}"
    if numbers.headline is None:
        yield f"likeness on the character's scale can't be told: {_why_no_headline(numbers, character.scale)}"


def _why_no_copy_paste(numbers: StoryboardLikeness, character: Character, given: Portrait | None) -> str:
    if given is None:
        return "no conditioning image is given"
    if given.embedding is None:
        return f"the conditioning image {given.name} shows no face"
    if numbers.likeness is None:
        return "no frame shows a face"
    to_truth = character.likeness(unit(given.embedding))
    return f"the conditioning image {given.name} is no likeness of the references (cosine {to_truth:.2f}, {LEAST_TRUTH} or less)"


def _why_no_headline(numbers: StoryboardLikeness, scale: Scale) -> str:
    if numbers.likeness is None:
        return "no frame shows a face"
    lacking = []
    if scale.ceiling is None:
        lacking.append("only one reference shows a face, and the ceiling needs two")
    if scale.floor is None:
        lacking.append("no face of other people is given, and the floor needs some: impostors=FOLDER")
    too_near = f"ceiling and floor are no more than {LEAST_RANGE} apart: this recogniser does not tell the character from others"
    return "; ".join(lacking) or too_near


def frames_named(numbers: Sequence[int]) -> str:
    """Frames as a person would say them: "frame 3", "frames 3, 4", "12 frames"."""
    if len(numbers) > _NAMED:
        return counted(len(numbers), "frame")
    return f"frame{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def _at_border(face: Face, size: tuple[int, int]) -> bool:
    """Whether more of the face's box than detectors are used to lies beyond the image."""
    left, top, right, bottom = face.box
    width = min(right, size[0]) - max(left, 0.0)
    height = min(bottom, size[1]) - max(top, 0.0)
    whole = (right - left) * (bottom - top)
    return whole > 0 and max(0.0, width) * max(0.0, height) < (1 - _BEYOND) * whole
