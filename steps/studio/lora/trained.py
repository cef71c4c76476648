"""What a training leaves behind: its outcome as a record, and the names of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steps.studio.lora.scores import CheckpointScore, Chosen

BEST, SAMPLES, CURVE = "best", "samples", "loss.svg"
"""Folders and a file of an artifact, beside its checkpoints and training_metrics.csv."""


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes:
        key: The artifact's.
        best: The checkpoint that was chosen.
        checkpoints: The scores of all that were drawn from, in order.
        steps: Of the optimizer.
        seconds: Spent, all sessions.
        step_seconds: Of the median step.
        usd: What that cost; None where nobody said what an hour costs.
        images: Trained on and held out.
        warnings: What a person should know.
        digests: SHA-256 of the LoRA's files below the artifact.
    """

    key: str
    best: Chosen
    checkpoints: tuple[CheckpointScore, ...]
    steps: int
    seconds: float
    step_seconds: float
    usd: float | None
    images: tuple[int, int]
    warnings: tuple[str, ...]
    digests: Mapping[str, str]
