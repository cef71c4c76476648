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
        peak_memory_bytes: The most that was held.
        memory_of: Of what: "device" or "process".
        lora_bytes: Of the LoRA's file as diffusers loads it.
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
    peak_memory_bytes: int
    memory_of: str
    lora_bytes: int
    images: tuple[int, int]
    warnings: tuple[str, ...]
    digests: Mapping[str, str]

    def usd(self, per_hour: float | None) -> float | None:
        """What it cost in US dollars on a machine of this price an hour; None where nobody said one."""
        return None if per_hour is None else round(per_hour * self.seconds / 3600, 4)
