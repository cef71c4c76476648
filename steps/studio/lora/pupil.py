"""The model that learns: a UNet whose own weights are frozen, with a LoRA in float32, under accelerate."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.optimization import get_scheduler
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from runner.errors import UserError
from steps.studio.lora.fused import fuse_layers
from steps.studio.lora.settings import AUTO, BFLOAT16, FLOAT32, LoraSettings
from steps.studio.models.diffusion import use_plain_attention

ADAPTER = "default"
# AdamW's two moments and its count of steps.
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Pupil:
    """A pipeline's UNet with a fresh LoRA, its optimizer and the schedule of its learning rate.

    Args:
        pipeline: Of the SDXL family, on its device; its UNet is changed.
        settings: Of the LoRA.
        steps: In all, for the schedule.
        seed: Of the LoRA's first weights.

    Raises:
        UserError: `target_modules` names no layer.
    """

    def __init__(self, pipeline: Any, settings: LoraSettings, steps: int, seed: int) -> None:
        self.pipeline = pipeline
        self.unet = pipeline.unet
        # Kept, for diffusers walks through all modules to say it.
        self.device: torch.device = self.unet.device
        self.settings = settings
        self.config = lora_config(settings)
        # A process may train again, with another precision.
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - what accelerate's own tests call
        on_cpu = self.device.type == "cpu"
        kind = precision(settings.precision, on_cpu=on_cpu)
        # A CPU computes in bfloat16 outright: casting back and forth would cost it more than it gains.
        mixed = "bf16" if kind == torch.bfloat16 and not on_cpu else "no"
        self.accelerator = Accelerator(mixed_precision=mixed, cpu=on_cpu)
        self._freeze(kind)
        self._add_adapter(seed)
        self.learned = {name: value for name, value in self.unet.named_parameters() if value.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.learned.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.schedule = get_scheduler(settings.schedule, self.optimizer, None, settings.warmup_steps, steps)
        if settings.gradient_checkpointing:
            self.checkpoint_gradients()

    @property
    def checkpoints_gradients(self) -> bool:
        """Whether parts of the UNet are computed twice instead of kept."""
        return bool(self.unet.is_gradient_checkpointing)

    def checkpoint_gradients(self) -> None:
        """Compute parts of the UNet twice instead of keeping them."""
        self.unet.enable_gradient_checkpointing()

    def computing(self) -> contextlib.AbstractContextManager[None]:
        """The precision that it learns with."""
        found: contextlib.AbstractContextManager[None] = self.accelerator.autocast()
        return found

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        self.accelerator.backward(loss)

    def gradient_norm(self) -> Tensor:
        """The length of all gradients; longer ones are shortened to `max_grad_norm`."""
        norm: Tensor = self.accelerator.clip_grad_norm_(list(self.learned.values()), self.settings.max_grad_norm)
        return norm

    def advance(self) -> None:
        """One step of the optimizer and of the schedule."""
        self.optimizer.step()
        self.schedule.step()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Drop what `backward` has added up."""
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def lora(self) -> dict[str, Tensor]:
        """The LoRA as PEFT names it ("down_blocks....to_k.lora_A.weight"), float32 copies on the CPU."""
        state = get_peft_model_state_dict(self.unet, adapter_name=ADAPTER)
        return {name: value.detach().float().cpu().clone() for name, value in sorted(state.items())}

    def load_lora(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `lora` gave."""
        set_peft_model_state_dict(self.unet, dict(state), adapter_name=ADAPTER)

    def moments(self) -> dict[str, Tensor]:
        """The optimizer's state, by the parameters' names."""
        state = self.optimizer.state
        return {
            f"{moment}.{name}": state[value][moment].detach().cpu()
            for name, value in self.learned.items()
            for moment in _MOMENTS
            # A layer that took no part has no state.
            if value in state
        }

    def load_moments(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `moments` gave."""
        for name, value in self.learned.items():
            if f"step.{name}" in state:
                self.optimizer.state[value] = {
                    moment: state[f"{moment}.{name}"].to(value.device).clone() for moment in _MOMENTS
                }

    def _freeze(self, kind: torch.dtype) -> None:
        self.pipeline.vae.requires_grad_(False)
        self.unet.requires_grad_(False)
        self.unet.to(dtype=kind)
        self.unet.train()
        if self.device.type == "cpu" and kind == torch.bfloat16:
            # A CPU's own attention has a slow way back in bfloat16, though not in float32.
            use_plain_attention(self.unet)

    def _add_adapter(self, seed: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            try:
                self.unet.add_adapter(self.config, adapter_name=ADAPTER)
            except ValueError as error:
                raise UserError(f"target_modules = {self.settings.target_modules}: {error}") from error
        for value in self.unet.parameters():
            if value.requires_grad:
                value.data = value.data.float()
        fuse_layers(self.unet, ADAPTER)


def lora_config(settings: LoraSettings) -> LoraConfig:
    """The LoRA as PEFT describes it."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or settings.rank,
        target_modules=list(settings.target_modules),
        init_lora_weights=True,
    )


def precision(wanted: str, *, on_cpu: bool) -> torch.dtype:
    """What the frozen weights are kept and computed in."""
    if wanted == AUTO:
        # A CPU without instructions of its own for it is many times slower in bfloat16.
        wanted = BFLOAT16 if not on_cpu or torch.cpu.get_capabilities().get("amx_bf16") else FLOAT32
    return torch.bfloat16 if wanted == BFLOAT16 else torch.float32
