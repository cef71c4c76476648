"""How good a checkpoint is, and which is the best."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from runner.report_parts import counted


@dataclass(frozen=True)
class SampleScore:
    """One picture.

    Attributes:
        file: Below the artifact.
        prompt: What it was drawn from.
        clip: CLIPScore, 2.5 x max(cosine, 0), of the prompt without the trigger (Hessel et al. 2021).
        likeness: The best cosine of its faces to one of the references; None where it has no face, or there is no reference.
    """

    file: str
    prompt: str
    clip: float
    likeness: float | None


@dataclass(frozen=True)
class CheckpointScore:
    """A checkpoint by its samples and its validation loss (None without held-out images)."""

    checkpoint: str
    step: int
    validation_loss: float | None
    samples: tuple[SampleScore, ...]

    @property
    def likeness(self) -> float | None:
        """The mean over all samples, one without a face counted 0; None where no sample has one."""
        found = [sample.likeness for sample in self.samples]
        if all(likeness is None for likeness in found):
            return None
        return statistics.fmean(likeness or 0.0 for likeness in found)

    @property
    def clip(self) -> float | None:
        """The mean over all samples."""
        return statistics.fmean(sample.clip for sample in self.samples) if self.samples else None

    @property
    def faces(self) -> int:
        """Samples in which a face was found."""
        return sum(sample.likeness is not None for sample in self.samples)


@dataclass(frozen=True)
class Chosen:
    """The best checkpoint, and why it is that."""

    checkpoint: str
    step: int
    reason: str


def best_of(scores: Sequence[CheckpointScore]) -> Chosen:
    """The best checkpoint by likeness; by validation loss where no face was found anywhere; else the last. Of equals the earlier."""
    alike = [score for score in scores if score.likeness is not None]
    if alike:
        best = max(alike, key=lambda score: (score.likeness or 0.0, -score.step))
        found = f"a face in {best.faces} of {counted(len(best.samples), 'sample')}"
        return Chosen(
            best.checkpoint, best.step, f"its samples are most like the references: {best.likeness:.3f}, {found}"
        )
    measured = [score for score in scores if score.validation_loss is not None]
    if measured:
        best = min(measured, key=lambda score: (score.validation_loss or 0.0, score.step))
        why = "no face was found in any sample or reference, so that the validation loss decided"
        return Chosen(best.checkpoint, best.step, f"{why}: {best.validation_loss:.4f}")
    best = max(scores, key=lambda score: score.step)
    return Chosen(
        best.checkpoint,
        best.step,
        "it is the last: no face was found in any sample or reference, and nothing is held out",
    )
