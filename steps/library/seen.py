"""What was seen of an actor's training images, and how results.json tells it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from steps.library.surveys import Survey

BROKEN, DUPLICATE = "broken", "duplicate"


@dataclass(frozen=True)
class SeenImage:
    """One training image as it was seen.

    Attributes:
        number: From 1, in the order of the numbers in the names; it stands above the image on the sheet.
        file: Its name.
        sha256: Of the file's bytes.
        size: Bytes.
        where: "disk" or "mirror".
        kind: Its class; a duplicate has that of its original, a broken one None.
        quality: 1 to 10; 0 for duplicates and broken ones.
        problem: BROKEN, DUPLICATE or None.
        notes: What was odd about the file, or what is wrong with it.
    """

    number: int
    file: str
    sha256: str
    size: int
    where: str
    kind: str | None = None
    quality: int = 0
    problem: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """A composite: its file in the step's folder, with its hash."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image that is opened, or a manifest that is broken; it is left alone."""

    file: str
    why: str


@dataclass(frozen=True)
class Seen:
    """What was seen of one actor.

    Attributes:
        images: All that can be opened, and those that are broken.
        unreadable: What is left alone.
        analysis: What the vision backend said of the whole.
        sheets: The composites.
        drawn_in: The folder that they were drawn in, perhaps of an earlier run.
        left_out: Why the actor is left out, if so.
    """

    images: tuple[SeenImage, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    analysis: str = ""
    sheets: tuple[Sheet, ...] = ()
    drawn_in: str = ""
    left_out: str | None = None

    def counts(self) -> dict[str, int]:
        """Images by class, copies with their originals, broken ones not."""
        return dict(Counter(image.kind for image in self.images if image.kind is not None))

    def having(self, problem: str) -> list[SeenImage]:
        """Those with a problem."""
        return [image for image in self.images if image.problem == problem]


def image_rows(seen: Seen, survey: Survey) -> list[dict[str, Any]]:
    """The images as results.json has them. Keys and times are those of now: an answer may be older."""
    known = {image.file: image for image in survey.images}
    rows = []
    for image in seen.images:
        found = known.get(image.file)
        rows.append(
            {
                "number": image.number,
                "file": image.file,
                "sha256": image.sha256,
                "size": image.size,
                "where": image.where,
                "key": str(found.stored.key) if found is not None and found.stored is not None else None,
                "class": image.kind,
                "quality": image.quality,
                "problem": image.problem,
                "notes": list(image.notes),
                "made_at": found.made_at if found is not None else None,
            }
        )
    return rows
