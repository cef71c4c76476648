"""Faces in drawn frames, and the reference that image adapters are conditioned with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from steps.library import captions
from steps.studio.protocols import Face, Faces

LOOKED_THROUGH = 12
"""Training images among which a face is looked for."""


@dataclass(frozen=True)
class Seen:
    """The faces of an image.

    Attributes:
        count: How many there are; the largest one counts.
        score: How sure the detector is of the largest, 0 to 1; None where there is none.
        at_border: Whether the largest leaves the image.
    """

    count: int
    score: float | None = None
    at_border: bool = False


@dataclass(frozen=True)
class Reference:
    """What the adapter is given.

    Attributes:
        image: The square around the face.
        source: Where it is from, for people ("frame 1", "training image 0012").
        seen: The faces of the image that it was cut from.
    """

    image: Image.Image
    source: str
    seen: Seen

    @property
    def remarks(self) -> list[str]:
        """What a person should know of it, a sentence each."""
        said = []
        if self.seen.count > 1:
            said.append(f"{self.source} shows {self.seen.count} faces: the largest is the reference")
        if self.seen.at_border:
            said.append(f"the face in {self.source} leaves the image: its border is repeated beyond it")
        return said


def look(faces: Faces, image: Image.Image) -> Seen:
    """Who is in an image."""
    return _seen(image, faces.find(image))


def reference_in(faces: Faces, image: Image.Image, source: str) -> Reference | None:
    """The largest face of an image as reference; None where there is no face."""
    found = faces.find(image)
    return Reference(faces.reference(image, found[0]), source, _seen(image, found)) if found else None


def training_images(data: Path) -> list[tuple[str, Path]]:
    """The first images that a LoRA may be taught with, with a name for people; none where there is no such folder.

    What is held out is for measuring: a reference taken from it would make the figures lie.
    """
    return [(f"training image {image.name}", image) for image in captions.taught(data)[:LOOKED_THROUGH]]


def _seen(image: Image.Image, found: list[Face]) -> Seen:
    if not found:
        return Seen(0)
    left, top, right, bottom = found[0].box
    outside = left < 0 or top < 0 or right > image.width or bottom > image.height
    return Seen(len(found), round(float(found[0].score), 4), outside)
