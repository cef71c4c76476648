"""A training from its first step, or from its last checkpoint, to its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from runner.errors import ItemError
from runner.failpoints import failpoint
from runner.step import StepContext
from steps.studio.frames.peak import PeakMemory
from steps.studio.lora.buckets import Order, Size
from steps.studio.lora.checkpoints import MOMENTS, Checkpoint, Checkpoints, Progress, name_of
from steps.studio.lora.encoding import Encoded, Words
from steps.studio.lora.metrics import NAME, Metrics, Row
from steps.studio.lora.objective import Drawn, Lots, Objective, Scaling, batches
from steps.studio.lora.packing import packed, unpacked
from steps.studio.lora.pupil import Pupil
from steps.studio.lora.reading import UNET_PREFIX, WEIGHTS
from steps.studio.memory import free_memory, is_out_of_memory

ITEM = "lora"


@dataclass(frozen=True)
class Material:
    """All that is learned from, encoded.

    Attributes:
        train: Examples to learn from.
        holdout: Examples to measure with; may be none.
        nothing: What stands for no caption.
    """

    train: Sequence[Encoded]
    holdout: Sequence[Encoded]
    nothing: Words

    @property
    def shapes(self) -> list[Size]:
        """Of the latents."""
        return [Size(example.mean.shape[2], example.mean.shape[1]) for example in self.train]


@dataclass(frozen=True)
class Surroundings:
    """What a training needs beside what it learns.

    Attributes:
        folder: Of the artifact.
        context: The step's.
        weights: The bytes of the LoRA's file, from its state and the step.
        judged: Looks at a checkpoint that was just written, unless that was done before; returns the name of the best so far.
    """

    folder: Path
    context: StepContext
    weights: Callable[[dict[str, Tensor], int], bytes]
    judged: Callable[[Checkpoint], str]


@dataclass
class Course:
    """One training.

    Attributes:
        step: Steps done.
        steps: In all.
        micro: Images at once; halved where memory runs out.
        said: What a person should know of what happened.
        seconds: Spent, sessions before this one counted.
        peak_bytes: The most memory that was held, sessions before this one counted.
    """

    pupil: Pupil
    material: Material
    around: Surroundings
    steps: int
    step: int = 0
    micro: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings, seed, pipeline = self.pupil.settings, self.around.context.seed, self.pupil.pipeline
        self.micro = settings.batch
        self.objective = Objective(pipeline.scheduler.config, settings.min_snr_gamma)
        levels = self.objective.scheduler.config.num_train_timesteps
        self._lots = Lots(seed, settings, Scaling.of(pipeline.vae), levels)
        self._order = Order(self.material.shapes, settings.effective_batch, seed)
        self._checkpoints = Checkpoints(self.around.folder, settings.keep_checkpoints, self.around.context.log)
        self._metrics = Metrics(self.around.folder / NAME)
        held_out = self.material.holdout[: settings.validation_images]
        self._validation = (held_out, self._lots.of_validation(held_out))
        self._last: Checkpoint | None = None
        self._memory = PeakMemory(str(self.pupil.device))

    @property
    def memory_of(self) -> str:
        """Whose memory `peak_bytes` is: "device" or "process"."""
        return self._memory.of

    def run(self) -> None:
        """Train to the end.

        Raises:
            ItemError: The loss or a gradient is no number, or there is not enough memory for one image.
            Interrupted: The run stops; what was done is in a checkpoint.
        """
        self._resume()
        began = time.perf_counter() - self.seconds
        while self.step < self.steps:
            self.seconds = time.perf_counter() - began
            self._give_way()
            self._advance()
            failpoint("train.stepped")
            if self._is_due(self.pupil.settings.checkpoint_every):
                self.seconds = time.perf_counter() - began
                self._keep(self._write(interim=False))
        self.seconds = time.perf_counter() - began

    def _resume(self) -> None:
        self._last, broken = self._checkpoints.newest()
        for sentence in broken:
            self._say(sentence)
        if self._last is None:
            self._metrics.begin(0)
            return
        progress = self._last.progress
        state = unpacked(self._last.path / WEIGHTS)
        self.pupil.load_lora({name.removeprefix(UNET_PREFIX): value for name, value in state.items()})
        self.pupil.load_moments(unpacked(self._last.path / MOMENTS))
        self.pupil.schedule.load_state_dict(dict(progress.schedule))
        for group, rate in zip(self.pupil.optimizer.param_groups, progress.schedule["_last_lr"], strict=True):
            group["lr"] = rate
        if progress.gradient_checkpointing:
            self.pupil.checkpoint_gradients()
        self.step, self.micro, self.seconds = progress.step, progress.micro_batch, progress.seconds
        self.peak_bytes = progress.peak_bytes
        self.said = [*progress.said, *self.said]
        self._metrics.begin(self.step)
        self.around.context.log.info("goes on from %s", self._last.name)
        self._keep(self._last)

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.steps

    def _give_way(self) -> None:
        """Where the run stops, keep what was done first."""
        stop = self.around.context.stop
        if stop.requested and self.step and (self._last is None or self._last.progress.step < self.step):
            self._write(interim=True)
        stop.check()

    def _advance(self) -> None:
        began = time.perf_counter()
        examples = [self.material.train[number] for number in self._order.at(self.step)]
        rate = self.pupil.rate
        loss, norm = torch.stack(self._gradients(examples, self._lots.of_step(self.step, examples))).tolist()
        self._check_number(loss, norm)
        self.pupil.advance()
        self.step += 1
        speed = len(examples) / (time.perf_counter() - began)
        self.peak_bytes = max(self.peak_bytes, self._memory.read())
        self._metrics.append(
            Row(
                self.step, loss, self._validation_loss(), rate, norm, round(speed, 3), round(self.peak_bytes / 2**20, 1)
            )
        )
        self.around.context.progress(ITEM, self.step, self.steps, f"loss {loss:.4f}")

    def _gradients(self, examples: Sequence[Encoded], drawn: Sequence[Drawn]) -> list[Tensor]:
        """Loss and gradient norm of a step, its images taken in as many parts as memory asks for."""
        while True:
            try:
                return self._in_parts(examples, drawn)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of `except`, for the error holds on to the memory.
            self._take_less_memory()

    def _in_parts(self, examples: Sequence[Encoded], drawn: Sequence[Drawn]) -> list[Tensor]:
        total: Tensor | None = None
        with self.pupil.computing():
            for batch in batches(examples, drawn, self.material.nothing, self.micro):
                losses, _ = self.objective(self.pupil.unet, batch)
                loss = losses.sum() / len(examples)
                self.pupil.backward(loss)
                total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return [total, self.pupil.gradient_norm().to(total.dtype)]

    def _take_less_memory(self) -> None:
        self.pupil.forget_gradients()
        free_memory()
        where = f"out of memory at step {self.step + 1}"
        if self.micro > 1:
            self.micro //= 2
            whole = self.pupil.settings.effective_batch
            self._say(f"{where}: {self.micro} images at once from here on; the effective batch stays {whole}")
        elif not self.pupil.checkpoints_gradients:
            self.pupil.checkpoint_gradients()
            self._say(f"{where} with one image: gradient checkpointing is on from here on, which is slower")
        else:
            raise ItemError(f"{where} with one image at once and gradient checkpointing: lower resolution or rank")

    def _check_number(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        kept = f"{self._last.name} is kept" if self._last else "there is no checkpoint yet"
        raise ItemError(
            f"step {self.step + 1}: the loss is {loss:g} and the gradient {norm:g}, from which nothing can be learned; {kept}. "
            "Lower learning_rate, or raise warmup_steps"
        )

    @torch.no_grad()
    def _validation_loss(self) -> float | None:
        examples, drawn = self._validation
        settings = self.pupil.settings
        if not examples or not (self._is_due(settings.validate_every) or self._is_due(settings.checkpoint_every)):
            return None
        with self.pupil.computing():
            parts = batches(examples, drawn, self.material.nothing, self.micro)
            losses = torch.cat([self.objective(self.pupil.unet, batch)[1] for batch in parts])
        return float(losses.mean())

    def _write(self, *, interim: bool) -> Checkpoint:
        progress = Progress(
            step=self.step,
            schedule=self.pupil.schedule.state_dict(),
            micro_batch=self.micro,
            gradient_checkpointing=self.pupil.checkpoints_gradients,
            seconds=round(self.seconds, 3),
            peak_bytes=self.peak_bytes,
            interim=interim,
            said=tuple(self.said),
        )
        weights = self.around.weights(self.pupil.lora(), self.step)
        name = name_of(self.step, self.steps)
        self._last = self._checkpoints.write(name, progress, weights, packed(self.pupil.moments()))
        return self._last

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Judge a checkpoint, and delete those that are no longer needed."""
        if checkpoint.progress.interim:
            return
        best = self.around.judged(checkpoint)
        failpoint("train.judged")
        self._checkpoints.rotate(best)

    def _say(self, sentence: str) -> None:
        self.said.append(sentence)
        self.around.context.log.warning("%s", sentence)
