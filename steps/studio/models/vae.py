"""The autoencoder: 64 pixels to 8 x 8 latents of 16 channels and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from steps.studio.models import domain
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.heads import head_box
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.tensors import to_tensor
from steps.studio.models.training import Losses, Schedule

SCHEDULE = Schedule(steps=10_000, rate=2e-3, warm_up=100, averaging=0.999)
BATCH = 8
FACE_WEIGHT = 2.0


def new_vae(channels: Sequence[int] = (24, 48, 96, 96), latent_channels: int = 16) -> AutoencoderKL:
    """An untrained autoencoder (8 times smaller each way, with four levels)."""
    levels = len(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=domain.SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


class VaeLosses:
    """What the autoencoder is trained on: weighted L1, squares, edges, and a weak pull of the latents to a normal distribution."""

    def __init__(self, vae: AutoencoderKL, renders: Renders) -> None:
        self._vae = vae
        self._renders = renders

    def __call__(self, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002 - the loop's
        """The losses of one batch."""
        indices = some_of(len(self._renders), BATCH, generator)
        device = device_of(self._vae)
        images = to_tensor(self._renders[indices]).to(device)
        with half_precision(device):
            code = self._vae.encode(images).latent_dist
            noise = torch.randn(code.mean.shape, generator=generator).to(device)
            remade = self._vae.decode(code.mean + code.std * noise).sample
        return _losses(remade.float(), images, face_weights(indices).to(device), code.mean.float(), code.logvar.float())


def face_weights(indices: Sequence[int], split: str = "train") -> Tensor:
    """Weights (N, 1, 64, 64): 1, and 1 + FACE_WEIGHT where a head is."""
    weights = torch.ones(len(indices), 1, domain.SIZE, domain.SIZE)
    for weight, index in zip(weights, indices, strict=True):
        left, top, right, bottom = head_box(split, index)
        weight[0, max(0, int(top)) : int(bottom) + 2, max(0, int(left)) : int(right) + 2] += FACE_WEIGHT
    return weights


def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> None:
    """Make latents like these (N, C, h, w) come out with mean 0 and deviation 1 in each channel, and go in so.

    Both 1 x 1 convolutions take it up, so that `scaling_factor` is 1 and nobody has to know.
    """
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    with torch.no_grad():
        into.weight[:channels] /= deviation[:, None, None, None]
        into.bias[:channels] = (into.bias[:channels] - mean) / deviation
        into.bias[channels:] -= 2 * deviation.log()
        out.bias += (out.weight[:, :, 0, 0] * mean).sum(dim=1)
        out.weight *= deviation[:, None, None]
    vae.register_to_config(scaling_factor=1.0)


def decibels(remade: Tensor, images: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each image (N,), of values in [-1, 1]."""
    squares = (remade.clamp(-1, 1) - images).pow(2).mean(dim=(1, 2, 3)) / 4
    return -10 * torch.log10(squares)


def _losses(remade: Tensor, images: Tensor, weights: Tensor, mean: Tensor, logvar: Tensor) -> Losses:
    error = remade - images
    plain = (weights * error.abs()).mean() + 0.5 * (weights * error.pow(2)).mean()
    edges = functional.l1_loss(remade.diff(dim=-1), images.diff(dim=-1))
    edges = edges + functional.l1_loss(remade.diff(dim=-2), images.diff(dim=-2))
    prior = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
    return {
        "loss": plain + 0.3 * edges + 3e-4 * prior,
        "dB": decibels(remade.detach(), images).mean(),
        "prior": prior.detach(),
    }
