"""The gate: how well an image fits its text, by CLIP (Hessel et al. 2021, CLIPScore, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from steps.studio.protocols import Clip

WEIGHT = 2.5
"""CLIPScore = 2.5 x max(cosine, 0)."""


@dataclass(frozen=True)
class Scored:
    """A text as it is scored.

    Attributes:
        text: With the encoder's prefix.
        tokens: How many it has, start and end counted.
        cut: Whether the encoder reads only its beginning (the end token is kept).
    """

    text: str
    tokens: int
    cut: bool


class Gate:
    """Scores images against texts.

    Attributes:
        threshold: The CLIPScore from which on an image passes.
        face_score: How sure the detector must be of the face in frame 1, 0 to 1.
    """

    def __init__(self, encoder: Clip, threshold: float | None = None, face_score: float = 0.0) -> None:
        """`threshold`: None takes the encoder's own."""
        self._encoder = encoder
        self.face_score = face_score
        self.threshold = encoder.threshold if threshold is None else threshold

    def scored(self, text: str) -> Scored:
        """The text with the prefix, counted."""
        prefix = self._encoder.prefix
        whole = f"{prefix} {text}" if prefix else text
        tokens = self._encoder.tokens(whole)
        return Scored(whole, tokens, tokens > self._encoder.limit)

    def cosines(self, images: Sequence[Image.Image], texts: Sequence[str]) -> Any:
        """The cosine of each image with each text (images, texts), float32; texts as `scored` gives them."""
        return self._encoder.images(images) @ self._encoder.texts(texts).T

    def passes(self, cosine: float) -> bool:
        """Whether the score of a cosine reaches the threshold."""
        return score_of(cosine) >= self.threshold

    def shows_face(self, score: float | None) -> bool:
        """Whether a face is there, and as clear as frame 1's must be: smeared images fit their texts nearly as well as good ones."""
        return score is not None and score >= self.face_score


def score_of(cosine: float) -> float:
    """CLIPScore."""
    return WEIGHT * max(cosine, 0.0)


def null_percentiles(cosines: Any, own: Sequence[int]) -> list[float | None]:
    """Where each image's cosine with its own text stands among its cosines with the other texts of the story, 0 to 100; ties count half.

    Args:
        cosines: (N, T) of N images with T texts.
        own: For each image the number of its text.

    Returns:
        One each; None where all texts are alike.
    """
    texts = np.asarray(cosines)
    found: list[float | None] = []
    for row, number in zip(texts, own, strict=True):
        others = np.delete(row, number)
        below = (others < row[number]).sum() + 0.5 * (others == row[number]).sum()
        found.append(round(100 * float(below) / len(others), 2) if len(others) else None)
    return found
