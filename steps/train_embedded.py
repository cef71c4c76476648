"""Train the embedded models: one stage a step, each of which goes on from its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from runner.params import a_path, at_least, one_of, param
from runner.report_parts import ReportPart, write_part
from runner.step import Item, Results, StepContext

STAGES = (
    "draw", "vae", "clip", "encode", "embedder", "second_embedder", "detector", "reader", "diffusion", "control",
)  # fmt: skip
"""In order; the same as `steps.studio.models.stages.STAGES`, which is heavy to import."""


@dataclass(frozen=True)
class TrainEmbeddedParams:
    """What is trained, and where its checkpoints are."""

    stage: str = param(help="what to make", check=one_of(*STAGES))
    folder: str = param(help="folder that keeps pictures, checkpoints and finished parts of all stages", check=a_path)
    seed: int = param(0, help="draws weights, batches and noise", check=at_least(0))
    effort: float = param(
        1.0, help="share of the steps and pictures: 1 is the real thing, 0.001 a trial", check=at_least(1e-6)
    )
    threads: int = param(1, help="processor threads", check=at_least(1), operational=True)
    device: str = param("cpu", help="where models learn", check=one_of("cpu", "cuda"), operational=True)


class TrainEmbedded:
    """Carry out one stage of the training, or what is left of it."""

    version: ClassVar[int] = 1
    # What is left to do is for the folder's checkpoints to say.
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: TrainEmbeddedParams, context: StepContext) -> None:
        self._params = params
        self._context = context

    def items(self) -> Sequence[Item[str]]:
        """The stage."""
        return [Item(self._params.stage, self._params.stage, (self._params.seed, self._params.effort))]

    def process(self, stage: str) -> str:
        """Train; returns the stage's name."""
        import torch

        from steps.studio.models.stages import Work, carry_out

        torch.set_num_threads(self._params.threads)
        work = Work(
            folder=Path(self._params.folder),
            seed=self._params.seed,
            effort=self._params.effort,
            device=self._params.device,
            threads=self._params.threads,
            stop=self._context.stop,
            log=self._context.log,
        )
        carry_out(stage, work)
        return stage

    def finish(self, results: Results[str]) -> None:
        """Say whether it is done."""
        done = [outcome.key for outcome in results if outcome.error is None]
        headline = f"{done[0]}: done." if done else f"{self._params.stage}: not done."
        write_part(self._context.out, ReportPart(headline=headline))
