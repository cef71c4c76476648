"""One training loop for all stages: what is drawn at random comes from (seed, step), so that a stage resumes as if unbroken.

A checkpoint is one safetensors file, written whole every CHECKPOINT_SECONDS: weights, their moving average and the optimizer's moments.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from runner import files
from runner.errors import ItemError
from steps.studio.models.drawing_lots import generator_at

CHECKPOINT_SECONDS = 110.0
LOG_STEPS = 50

Losses = Mapping[str, Tensor]
"""What a batch costs, by name: "loss" is what is trained, the rest is told."""
LossOf = Callable[[int, torch.Generator], Losses]
"""The losses of a step, drawn with that step's own generator."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    Attributes:
        steps: Optimizer steps in all.
        rate: The learning rate after the warm-up; constant, then linear to 0 over the last `decay` of the steps.
        warm_up: Steps.
        decay: Share of the steps.
        averaging: The moving average's factor a step; its first steps are shorter-lived.
        weight_decay: AdamW's.
        clip: The gradient's norm is cut to this.
    """

    steps: int
    rate: float
    warm_up: int = 200
    decay: float = 0.4
    averaging: float = 0.998
    weight_decay: float = 0.0
    clip: float = 1.0

    def rate_at(self, step: int) -> float:
        """The learning rate of step `step` (from 0)."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / self.warm_up, left)

    def averaging_at(self, step: int) -> float:
        """The moving average's factor at a step."""
        return min(self.averaging, (step + 1) / (step + 10))


@dataclass
class Trained:
    """A module in training.

    Attributes:
        module: What learns; only parameters that require a gradient are trained and saved.
        average: Their moving average by name: what is exported.
        optimizer: AdamW.
        step: Steps done.
    """

    module: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {name: value for name, value in self.module.named_parameters() if value.requires_grad}

    def use_average(self) -> None:
        """Put the moving average in the module's place."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(self.average[name])


def train(
    module: nn.Module,
    loss_of: LossOf,
    schedule: Schedule,
    path: Path,
    *,
    seed: int = 0,
) -> Generator[tuple[int, dict[str, float]]]:
    """Train to the schedule's end; goes on from the checkpoint at `path` if there is one, and leaves the last one there.

    Closing it saves what has been learned by then.

    Args:
        module: All that learns, in train mode.
        loss_of: What to minimise.
        schedule: How long and how fast.
        path: The checkpoint.
        seed: With the step it draws everything.

    Yields:
        Every LOG_STEPS steps the step and mean losses, with "seconds" a step and "norm", the gradient's.

    Raises:
        ItemError: A loss was not a number; the checkpoint stays the last good one.
    """
    state = resume(module, schedule, path)
    saved = time.monotonic()
    told: list[dict[str, float]] = []
    began = saved
    while state.step < schedule.steps:
        told.append(_one_step(state, loss_of, schedule, seed))
        now = time.monotonic()
        if now - saved > CHECKPOINT_SECONDS:
            save_checkpoint(state, path)
            saved = now
        if state.step % LOG_STEPS == 0 or state.step == schedule.steps:
            try:
                yield state.step, _means(told) | {"seconds": (now - began) / len(told)}
            except GeneratorExit:
                save_checkpoint(state, path)
                raise
            told, began = [], time.monotonic()
    save_checkpoint(state, path)


def resume(module: nn.Module, schedule: Schedule, path: Path) -> Trained:
    """The module with the checkpoint's weights, or as it is where there is none."""
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=schedule.rate, betas=(0.9, 0.99), weight_decay=schedule.weight_decay, fused=True
    )
    state = Trained(module, {name: value.detach().clone() for name, value in parameters.items()}, optimizer)
    if path.is_file():
        _restore(state, path)
    return state


def save_checkpoint(state: Trained, path: Path) -> None:
    """Write the state, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.parameters.items():
        tensors[f"weight.{name}"] = value.detach().contiguous()
        tensors[f"average.{name}"] = state.average[name].contiguous()
        # A part that no batch has used yet has no moments.
        for moment, tensor in state.optimizer.state.get(value, {}).items():
            tensors[f"{moment}.{name}"] = tensor.contiguous()
    files.write_bytes(path, save(tensors, {"step": str(state.step)}))


def averages(path: Path) -> dict[str, Tensor]:
    """The moving average in a checkpoint, by parameter name."""
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if name.startswith("average.")]  # noqa: SIM118 - no mapping
        return {name.removeprefix("average."): file.get_tensor(name) for name in names}


def steps_done(path: Path) -> int:
    """The steps of a checkpoint; 0 where there is none."""
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def _restore(state: Trained, path: Path) -> None:
    with safe_open(path, "pt") as file, torch.no_grad():
        state.step = int(file.metadata()["step"])
        saved = set(file.keys())
        for name, value in state.parameters.items():
            value.copy_(file.get_tensor(f"weight.{name}"))
            state.average[name].copy_(file.get_tensor(f"average.{name}"))
            if f"step.{name}" not in saved:
                continue
            # Moments take their parameter's memory layout, which is not saved.
            state.optimizer.state[value] = {
                "step": file.get_tensor(f"step.{name}"),
                **{
                    moment: torch.empty_like(value).copy_(file.get_tensor(f"{moment}.{name}"))
                    for moment in ("exp_avg", "exp_avg_sq")
                },
            }


def _means(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for losses in told for name in losses)
    values = {name: [losses[name] for losses in told if name in losses] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}


def _one_step(state: Trained, loss_of: LossOf, schedule: Schedule, seed: int) -> dict[str, float]:
    for group in state.optimizer.param_groups:
        group["lr"] = schedule.rate_at(state.step)
    losses = loss_of(state.step, generator_at(seed, state.step))
    state.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    parameters = state.parameters
    norm = nn.utils.clip_grad_norm_(parameters.values(), schedule.clip)
    if not torch.isfinite(norm):
        raise ItemError(f"step {state.step}: the gradient is not a number: lower the learning rate ({schedule.rate:g})")
    state.optimizer.step()
    average = get_ema_multi_avg_fn(schedule.averaging_at(state.step))
    average([state.average[name] for name in parameters], list(parameters.values()), state.step)
    state.step += 1
    return {name: float(value.detach()) for name, value in losses.items()} | {"norm": float(norm)}
