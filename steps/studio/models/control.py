"""The ControlNet: the pose of a figure, added to the UNet."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from steps.studio.models import clip, domain
from steps.studio.models.diffusion import (
    DiffusionInTraining,
    Noising,
    caption_tokens,
    new_scheduler,
    set_adapter_scale,
    time_ids,
)
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.poses import joints_of, pose_picture
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.training import Losses, Schedule

SCHEDULE = Schedule(steps=2_000, rate=1.5e-3, warm_up=200, averaging=0.998, weight_decay=0.01)
BATCH = 32
_UNCONDITIONAL = 0.1


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet without cross-attention, for a pose needs no words; it begins with the UNet's weights where they fit."""
    levels = len(unet.config.block_out_channels)
    controlnet = ControlNetModel(
        in_channels=unet.config.in_channels,
        down_block_types=("DownBlock2D",) * levels,
        mid_block_type="UNetMidBlock2D",
        block_out_channels=tuple(unet.config.block_out_channels),
        layers_per_block=unet.config.layers_per_block,
        attention_head_dim=tuple(unet.config.attention_head_dim),
        cross_attention_dim=unet.config.cross_attention_dim,
        addition_embed_type="text_time",
        addition_time_embed_dim=unet.config.addition_time_embed_dim,
        projection_class_embeddings_input_dim=unet.config.projection_class_embeddings_input_dim,
        norm_num_groups=unet.config.norm_num_groups,
        use_linear_projection=True,
        conditioning_embedding_out_channels=(16, 32, 48, 64),
    )
    controlnet.to(device_of(unet))
    theirs, ours = unet.state_dict(), controlnet.state_dict()
    fitting = {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape}
    controlnet.load_state_dict(fitting, strict=False)
    return controlnet


class ControlLosses:
    """Noise taken out of latents by a frozen model that the ControlNet tells the pose."""

    def __init__(self, controlnet: ControlNetModel, model: DiffusionInTraining, latents: Renders) -> None:
        self._controlnet = controlnet
        self._model = model.requires_grad_(False)
        self._latents = latents
        self._noising = Noising(new_scheduler())
        set_adapter_scale(model.unet, 0.0)

    def __call__(self, step: int, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        indices = some_of(len(self._latents), BATCH, generator)
        dropped = (torch.rand(BATCH, generator=generator) < _UNCONDITIONAL).tolist()
        tokens = caption_tokens(indices, dropped, random.Random(step))  # noqa: S311
        latents = torch.from_numpy(self._latents[indices]).float()
        noisy, target, times, weights = self._noising(latents, generator)
        device = device_of(self._controlnet)
        noisy, target, times, weights = (part.to(device) for part in (noisy, target, times, weights))
        with half_precision(device):
            with torch.no_grad():
                words, pooled = self._model.text(tokens.to(device))
            given: dict[str, Any] = {"time_ids": time_ids(BATCH).to(device), "text_embeds": pooled}
            down, middle = self._controlnet(
                noisy,
                times,
                words,
                controlnet_cond=pose_maps(indices).to(device),
                added_cond_kwargs=given,
                return_dict=False,
            )
            given["image_embeds"] = [torch.zeros(BATCH, 1, clip.WIDTH, device=device)]
            found = self._model.unet(
                noisy,
                times,
                words,
                added_cond_kwargs=given,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        losses = (found.float() - target).pow(2).mean(dim=(1, 2, 3))
        return {"loss": (weights * losses).mean(), "plain": losses.detach().mean()}


def pose_maps(indices: list[int], split: str = "train") -> Tensor:
    """Pose pictures (N, 3, 64, 64) in [0, 1] of drawn pictures."""
    shown = [domain.picture(split, index) for index in indices]
    maps = [np.asarray(pose_picture(joints_of(one.who, one.shot))) for one in shown]
    return torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).float() / 255


def frozen(module: nn.Module) -> nn.Module:
    """The module, ready to be used and not to learn."""
    return module.requires_grad_(False).eval()
