"""Backends that ship with Callsheet: no key, no GPU, no network. They judge and draw from pixels and words alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from runner.calls import Calls, Reply
from runner.errors import ItemError
from runner.params import at_least, param
from steps.backends.protocols import Answer, ImageRequest, MadeImage, Question
from steps.library.pictures import encode_jpeg

# The modules that a verdict comes from.
JUDGE = ("clarity.py", "likeness.py", "described.py", "colours.py")


@dataclass(frozen=True)
class EmbeddedVisionSettings:
    """How the embedded judge works."""

    delay_s: float = param(
        0.0, help="seconds added to each call, to try out stopping and resuming", check=at_least(0), operational=True
    )


class EmbeddedVision:
    """Judges clarity by the width of edges, and likeness by figure and colours. It can't tell age, sex or who somebody is."""

    def __init__(self, settings: EmbeddedVisionSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls

    @cached_property
    def identity(self) -> str:
        """Names the judge by a digest of its code: a better one asks again, and nobody has to remember to raise a number."""
        digest = hashlib.sha256()
        for name in JUDGE:
            digest.update(resources.files("steps.studio").joinpath(name).read_bytes())
        return f"embedded vision {digest.hexdigest()[:12]}"

    def ask(self, question: Question) -> Answer:
        """Judge a base image. Only the pixels and the stated facts are looked at."""
        return self._calls.make(lambda: Reply(self._answer(question)))

    def estimate(self, question: Question) -> float | None:  # noqa: ARG002 - the protocol's
        """Free."""
        return 0.0

    def _answer(self, question: Question) -> Answer:
        if question.name != "base_image":
            raise ItemError(
                f"vision=embedded can't answer questions of the kind '{question.name}': choose another vision backend"
            )
        self._pause()
        return Answer(data=_judge(question), model=self.identity)

    def _pause(self) -> None:
        if self._settings.delay_s:
            self._calls.stop.sleep(self._settings.delay_s)


@dataclass(frozen=True)
class EmbeddedImageSettings:
    """Nothing to set."""


class EmbeddedImage:
    """Draws an illustrated full-body portrait from description and outfit; the same seed gives the same bytes."""

    identity = "embedded image 1"

    def __init__(self, settings: EmbeddedImageSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls

    def make(self, request: ImageRequest) -> MadeImage:
        """Draw."""
        return self._calls.make(lambda: Reply(self._draw(request)))

    def estimate(self, request: ImageRequest) -> float | None:  # noqa: ARG002 - the protocol's
        """Free."""
        return 0.0

    def _draw(self, request: ImageRequest) -> MadeImage:
        from steps.studio.portrait import studio_portrait

        facts = request.facts
        size = (request.width, request.height)
        image = studio_portrait(facts.get("description", request.prompt), facts.get("outfit", ""), size, request.seed)
        self._calls.stop.check()
        return MadeImage(data=encode_jpeg(image), model=self.identity)


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
