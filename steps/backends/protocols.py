"""What a step may ask of the outside: look, make images, write, draw. One vendor a file implements one of these; a step never sees which.

Every backend is built as `Backend(settings, calls)`: its own settings dataclass and the run's `runner.calls.Calls`, through
which each request goes, so that retries, limits and the budget have one home.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from steps.library.pictures import Picture
from steps.studio.protocols import Clip as Clip
from steps.studio.protocols import Diffusion as Diffusion
from steps.studio.protocols import Face as Face
from steps.studio.protocols import Faces as Faces


@dataclass(frozen=True)
class Question:
    """One question about one or more images, as a plain value so that a batch backend can post thousands of them.

    Attributes:
        text: The whole prompt. Fixed text stands first and what varies last, for the vendors' prompt caching.
        images: Decoded images, upright RGB. They carry no path: nothing may be concluded from a name.
        schema: JSON Schema of the answer, strict (every property required, no others).
        name: A short name of the schema, [a-z_]+.
        facts: The data that the text was made from (for example description and outfit), for backends that read no prose.
        tokens: What the answer may need; a backend whose own limit is lower allows so many.
        long_side: Pixels; images up to this are sent as large as they are, also where the backend would send them smaller.
    """

    text: str
    images: tuple[Picture, ...]
    schema: Mapping[str, Any]
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0
    long_side: int = 0


@dataclass(frozen=True)
class Answer:
    """An answer that has been checked against the question's schema."""

    data: Mapping[str, Any]
    model: str
    usd: float = 0.0


class Vision(Protocol):
    """Looks at images and answers in JSON."""

    @property
    def identity(self) -> str:
        """Names the model and every setting that may change an answer; part of each item's fingerprint."""
        ...

    def ask(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            Transient: The call may work later.
            Refused: The model declined; the text is the reason.
            BadAnswer: Not JSON, cut off, or not of the schema.
            ProviderStopped: No further call can work.
        """
        ...

    def estimate(self, question: Question) -> float | None:
        """The most that `ask` may cost in US dollars; None when no price is known."""
        ...


@dataclass(frozen=True)
class ImageRequest:
    """One image to be made.

    Attributes:
        key: Names this one image for good (action, attempt). A remote job's id is kept under it, so that a resumed run
            polls the job that it has already paid for.
        prompt: What to draw.
        width: Pixels.
        height: Pixels.
        steps: Sampling steps.
        seed: 0 to 2**31 - 1, already drawn.
        reference: An image to stay true to, if any.
        facts: The data that the prompt was made from, for backends that read no prose.
    """

    key: str
    prompt: str
    width: int
    height: int
    steps: int
    seed: int
    reference: Picture | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeImage:
    """The encoded image (PNG, JPEG or WebP) as the backend made it."""

    data: bytes
    model: str
    usd: float = 0.0


class ImageMaker(Protocol):
    """Makes images."""

    @property
    def identity(self) -> str:
        """Names the model and every setting that may change an image."""
        ...

    def make(self, request: ImageRequest) -> MadeImage:
        """Make one image; raises as `Vision.ask` does."""
        ...

    def estimate(self, request: ImageRequest) -> float | None:
        """The most that `make` may cost in US dollars; None when no price is known."""
        ...


class Language(Protocol):
    """Writes: answers a question that has no images in JSON, under the rules of `Vision`."""

    @property
    def identity(self) -> str:
        """Names the model and every setting that may change an answer."""
        ...

    def ask(self, question: Question) -> Answer:
        """Answer one question; raises as `Vision.ask`."""
        ...

    def estimate(self, question: Question) -> float | None:
        """The most that `ask` may cost in US dollars; None when no price is known."""
        ...
