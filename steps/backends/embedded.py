"""Backends that ship with Callsheet: no key, no GPU, no network. They judge and draw from pixels and words alone.

Captions, tiny pictures and images of 64 x 64 pixels are the embedded models' (embedded_world.py), which an answer's `model` says.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from PIL import Image

from runner.calls import Calls, Reply
from runner.errors import ItemError
from runner.params import a_path, at_least, param
from steps.backends import embedded_world
from steps.backends.embedded_weights import FOLDER_HELP
from steps.backends.embedded_world import SIDE, World
from steps.backends.protocols import Answer, ImageRequest, MadeImage, Question
from steps.library.pictures import encode_jpeg

# The modules that a verdict comes from.
JUDGE = ("clarity.py", "likeness.py", "described.py", "colours.py", "styles.py")
CAPTION, BASE_IMAGE, TRAINING_IMAGES = "caption", "base_image", "training_images"
# Edges of a drawing of 64 pixels are as wide, of its side, as those of a large picture that is out of focus.
_TINY_IS_BLURRED = 0.8


@dataclass(frozen=True)
class EmbeddedVisionSettings:
    """How the embedded judge works."""

    delay_s: float = param(
        0.0, help="seconds added to each call, to try out stopping and resuming", check=at_least(0), operational=True
    )
    folder: str | None = param(None, help=FOLDER_HELP, check=a_path)


class EmbeddedVision:
    """Judges clarity by the width of edges, likeness by figure and colours, styles by how brightness changes; captions with models.

    It can't tell age, sex or who somebody is. Captions, and likeness in pictures of at most 96 pixels, come from the embedded models, which
    know their own drawn world and say so of other pictures.
    """

    def __init__(self, settings: EmbeddedVisionSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._world = World(settings.folder)

    @cached_property
    def identity(self) -> str:
        """Names the judge by a digest of its code and the models by one of their weights: better ones ask again, and no number is raised."""
        return f"{self._judge}, {self._world.model}" if self._world.digest else self._judge

    @cached_property
    def _judge(self) -> str:
        digest = hashlib.sha256()
        for name in JUDGE:
            digest.update(resources.files("steps.studio").joinpath(name).read_bytes())
        return f"embedded vision {digest.hexdigest()[:12]}"

    def ask(self, question: Question) -> Answer:
        """Judge a base image, or training images on sheets. Only the pixels and the stated facts are looked at."""
        return self._calls.make(lambda: Reply(self._answer(question)))

    def estimate(self, question: Question) -> float | None:  # noqa: ARG002 - the protocol's
        """Free."""
        return 0.0

    def _answer(self, question: Question) -> Answer:
        if question.name != CAPTION and question.name not in ANSWERS:
            raise ItemError(
                f"vision=embedded can't answer questions of the kind '{question.name}': choose another vision backend"
            )
        self._pause()
        if question.name == CAPTION:
            return Answer(data=_caption(self._world, question), model=self._world.model)
        if question.name == BASE_IMAGE and (tiny := _judge_tiny(self._world, question)) is not None:
            return Answer(data=tiny, model=self._world.model)
        return Answer(data=ANSWERS[question.name](question), model=self._judge)

    def _pause(self) -> None:
        if self._settings.delay_s:
            self._calls.stop.sleep(self._settings.delay_s)


@dataclass(frozen=True)
class EmbeddedImageSettings:
    """Which models draw tiny images."""

    folder: str | None = param(None, help=FOLDER_HELP, check=a_path)


class EmbeddedImage:
    """Draws from description and outfit, the same bytes for the same seed: a full-body portrait, or a training image of a class.

    One training image in twenty is of another class or poor, so that looking at new images is of use here too. References are not
    looked at: the words give a person the same face each time. Images of 64 x 64 pixels are drawn by the embedded diffusion model, from
    the prompt.
    """

    renderer = "embedded image 2"

    def __init__(self, settings: EmbeddedImageSettings, calls: Calls) -> None:
        self._calls = calls
        self._world = World(settings.folder)

    @cached_property
    def identity(self) -> str:
        """The renderer, and the models by a digest of their weights."""
        return f"{self.renderer}, {self._world.model}" if self._world.digest else self.renderer

    def make(self, request: ImageRequest) -> MadeImage:
        """Draw."""
        return self._calls.make(lambda: Reply(self._draw(request)))

    def estimate(self, request: ImageRequest) -> float | None:  # noqa: ARG002 - the protocol's
        """Free."""
        return 0.0

    def _draw(self, request: ImageRequest) -> MadeImage:
        if (request.width, request.height) == (SIDE, SIDE):
            image, model = self._world.draw(request.prompt, request.seed), self._world.model
        else:
            image, model = _rendered(request), self.renderer
        self._calls.stop.check()
        return MadeImage(data=encode_jpeg(image), model=model)


def _rendered(request: ImageRequest) -> Image.Image:
    return _portrait(request) if "class" not in request.facts else _training_image(request)


def _portrait(request: ImageRequest) -> Image.Image:
    from steps.studio.portrait import studio_portrait

    return studio_portrait(*_texts(request), (request.width, request.height), request.seed)


def _training_image(request: ImageRequest) -> Image.Image:
    from steps.studio.training_picture import CLASSES, figure_of, ordered_picture

    kind, size = request.facts["class"], (request.width, request.height)
    if kind not in CLASSES:
        raise ItemError(
            f"image=embedded can't draw class '{kind}', only {', '.join(CLASSES)}: choose another image backend"
        )
    return ordered_picture(figure_of(*_texts(request)), kind, prompt=request.prompt, size=size, seed=request.seed)


def _texts(request: ImageRequest) -> tuple[str, str]:
    """Description and outfit; of a bare prompt all is description."""
    return request.facts.get("description", request.prompt), request.facts.get("outfit", "")


def _caption(world: World, question: Question) -> dict[str, Any]:
    describe = question.facts.get("describe", "").split(", ")
    picture = question.images[0].image
    return {"caption": embedded_world.caption(world, picture, question.facts.get("trigger", ""), describe)}


def _judge_tiny(world: World, question: Question) -> dict[str, Any] | None:
    """What the models make of a picture as small as theirs; None where it isn't one, or there are none."""
    from steps.studio.clarity import measure

    image = question.images[0].image
    if max(image.size) > embedded_world.MOST or not world.is_there:
        return None
    found = embedded_world.match(world, image, question.facts.get("description", ""), question.facts.get("outfit", ""))
    if found is None:
        return None
    score = measure(image).score
    clear = score is not None and score < _TINY_IS_BLURRED
    return {
        "is_clear": clear,
        "is_match": found.is_match,
        "clarity_reason": "The edges are as sharp as in drawings of this size."
        if clear
        else "The picture is blurred or empty.",
        "match_reason": found.reason,
        "confidence": found.confidence if clear else "medium",
    }


def _judge(question: Question) -> dict[str, Any]:
    from steps.studio.clarity import measure
    from steps.studio.likeness import compare

    image = question.images[0].image
    clarity = measure(image)
    likeness = compare(image, question.facts.get("description", ""), question.facts.get("outfit", ""))
    # A rejection is as sure as what rejects; an acceptance as sure as the less sure of the two.
    order = ("low", "medium", "high")
    if not clarity.is_clear:
        confidence = clarity.confidence
    elif not likeness.is_match:
        confidence = likeness.confidence
    else:
        confidence = min(clarity.confidence, likeness.confidence, key=order.index)
    return {
        "is_clear": clarity.is_clear,
        "is_match": likeness.is_match,
        "clarity_reason": clarity.reason,
        "match_reason": likeness.reason,
        "confidence": confidence,
    }


def _sort(question: Question) -> dict[str, Any]:
    """Class and quality of the numbers that are asked for; a number that is on no sheet gets none."""
    from steps.library.composites import PER_SHEET, cells, places
    from steps.studio.styles import CLASSES, look

    classes = question.facts.get("classes", ", ".join(CLASSES)).split(", ")
    if unknown := [kind for kind in classes if kind not in CLASSES]:
        raise ItemError(
            f"vision=embedded can't tell the class {unknown[0]!r}: it knows {', '.join(CLASSES)}; choose another vision backend"
        )
    numbers = {int(number) for number in question.facts["numbers"].split(", ")}
    rows = []
    for index, sheet in enumerate(question.images):
        pixels, first = sheet.image, index * PER_SHEET + 1
        for number, cell in enumerate(cells(pixels, places(pixels)), first):
            if number in numbers:
                seen = look(cell, classes)
                rows.append({"number": number, "class": seen.kind, "quality": seen.quality})
    counted = Counter(row["class"] for row in rows)
    said = ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "nothing"
    return {"images": rows, "analysis": f"Told from chroma, slopes and outlines of the thumbnails: {said}."}


ANSWERS: Mapping[str, Callable[[Question], dict[str, Any]]] = {BASE_IMAGE: _judge, TRAINING_IMAGES: _sort}
