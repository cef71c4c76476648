"""Which checkpoint is the best, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steps.backends.protocols import Face
from steps.evaluating import Evaluator, without
from steps.studio.lora.scores import CheckpointScore, SampleScore, best_of


def score(step: int, likeness: list[float | None], loss: float | None = None) -> CheckpointScore:
    samples = tuple(SampleScore(f"{number}.png", "p", 0.5, one) for number, one in enumerate(likeness))
    return CheckpointScore(f"checkpoint-{step}", step, loss, samples)


def test_the_most_alike_is_the_best_and_a_missing_face_counts_nothing() -> None:
    chosen = best_of([score(50, [0.9, None]), score(100, [0.5, 0.5]), score(150, [0.5, 0.5])])
    assert chosen.checkpoint == "checkpoint-100"
    assert "0.500, a face in 2 of 2 samples" in chosen.reason
    assert score(50, [0.9, None]).likeness == 0.45


def test_without_any_face_the_validation_loss_decides() -> None:
    chosen = best_of([score(50, [None], 0.3), score(100, [None], 0.2), score(150, [None], 0.25)])
    assert chosen.checkpoint == "checkpoint-100"
    assert "no face was found in any sample or reference, so that the validation loss decided: 0.2000" in chosen.reason


def test_a_face_beats_none() -> None:
    assert best_of([score(50, [None], 0.1), score(100, [-0.1], 0.2)]).checkpoint == "checkpoint-100"


def test_with_nothing_to_go_by_it_is_the_last() -> None:
    chosen = best_of([score(50, []), score(100, [])])
    assert chosen.checkpoint == "checkpoint-100"
    assert "nothing is held out" in chosen.reason


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a portrait of ohwx person, waving", "a portrait of a person, waving"),
        ("OHWX  Person riding, ohwx person's horse", "A person riding, the person's horse"),
        ("ohwx persona riding", "ohwx persona riding"),
        ("somebody riding", "somebody riding"),
    ],
)
def test_clip_is_not_asked_for_a_name_that_it_cant_know(prompt: str, expected: str) -> None:
    assert without(prompt, "ohwx person") == expected
    assert without(prompt, None) == prompt


class Eyes:
    """Finds as many faces as an image is pixels wide, each of its own colour."""

    identity = "eyes"

    def find(self, image: Image.Image) -> list[Face]:
        unit = np.eye(3, dtype=np.float32)
        return [Face((0, 0, 1, 1), 1.0, unit[shade]) for shade in range(image.width - 1)]

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        return image

    def prepare(self) -> None:
        """Nothing."""


class Words:
    """Sees an image as its width and a text as its length."""

    identity, prefix, threshold, limit = "words", "A drawing of", 0.7, 77

    def __init__(self) -> None:
        self.asked: list[str] = []

    def images(self, images: Sequence[Image.Image]) -> Any:
        return np.asarray([[1.0, 0.0] for _ in images], dtype=np.float32)

    def texts(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return np.asarray([[0.3, 0.9] if "waving" in text else [-0.5, 0.8] for text in texts], dtype=np.float32)

    def tokens(self, text: str) -> int:
        return len(text)

    def prepare(self) -> None:
        """Nothing."""


def test_pictures_are_held_against_their_prompts_and_the_largest_face_of_each_reference() -> None:
    clip = Words()
    references = [Image.new("RGB", (wide, 1)) for wide in (1, 3)]
    evaluator = Evaluator(clip, Eyes(), references, "ohwx")
    assert len(evaluator.references) == 1
    drawn = [Image.new("RGB", (wide, 1)) for wide in (3, 1)]
    found = evaluator.score(drawn, ["ohwx waving", "ohwx"], ["1.png", "2.png"])
    assert [round(one.clip, 6) for one in found] == [0.75, 0.0]
    assert [one.likeness for one in found] == [1.0, None]
    assert clip.asked == ["A drawing of a person waving", "A drawing of a person"]
    assert evaluator.score([], [], []) == []
