"""What the UNet is asked and how far off its answer is, all chance drawn from (seed, step)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steps.studio.lora.encoding import Encoded, Words
from steps.studio.lora.settings import LoraSettings

V_PREDICTION, EPSILON = "v_prediction", "epsilon"


class Drawn(NamedTuple):
    """What chance decides for one image.

    Attributes:
        latents: Drawn from the distribution that the VAE gave, scaled (C, h, w).
        noise: As large.
        time: Noise level, 0 to 999.
        dropped: Whether the caption is left out.
    """

    latents: Tensor
    noise: Tensor
    time: int
    dropped: bool


class Batch(NamedTuple):
    """Images of one size, on the CPU: (N, C, h, w) twice, (N,), (N, L, D), (N, P), (N, 6)."""

    latents: Tensor
    noise: Tensor
    times: Tensor
    tokens: Tensor
    pooled: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class Scaling:
    """From the VAE's latents to the UNet's: (latents - mean) x factor, as the pipelines undo it."""

    factor: float
    mean: Tensor | float = 0.0
    deviation: Tensor | float = 1.0

    @classmethod
    def of(cls, vae: Any) -> Scaling:
        """From the VAE's configuration."""
        config = vae.config
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            return cls(float(config.scaling_factor))
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (config.latents_mean, config.latents_std))
        return cls(float(config.scaling_factor), mean, deviation)

    def __call__(self, latents: Tensor) -> Tensor:
        """The scaled latents (C, h, w)."""
        return (latents - self.mean) * self.factor / self.deviation

    def undone(self, scaled: Tensor) -> Tensor:
        """The VAE's latents again."""
        mean, deviation = (
            value.to(scaled.device) if isinstance(value, Tensor) else value for value in (self.mean, self.deviation)
        )
        return scaled * deviation / self.factor + mean


class Lots:
    """Draws what chance decides. The same (seed, step) gives the same, on whatever device the model is."""

    def __init__(self, seed: int, settings: LoraSettings, scaling: Scaling, levels: int) -> None:
        """`levels`: how many noise levels there are."""
        self._seed = seed
        self._settings = settings
        self._scaling = scaling
        self._levels = levels

    def of_step(self, step: int, examples: Sequence[Encoded]) -> list[Drawn]:
        """For the images of a step, counted from 0."""
        generator = stream(self._seed, "step", step)
        return [self._draw(example, generator, dropout=self._settings.caption_dropout) for example in examples]

    def of_validation(self, examples: Sequence[Encoded]) -> list[Drawn]:
        """The same noise each time, the levels spread evenly."""
        generator = stream(self._seed, "validation", 0)
        found = [self._draw(example, generator, dropout=0.0) for example in examples]
        spread = [int((place + 0.5) * self._levels / len(found)) for place in range(len(found))]
        return [drawn._replace(time=time) for drawn, time in zip(found, spread, strict=True)]

    def _draw(self, example: Encoded, generator: torch.Generator, dropout: float) -> Drawn:
        shape = example.mean.shape
        latents = example.mean + example.deviation * torch.randn(shape, generator=generator)
        noise = torch.randn(shape, generator=generator)
        shift = torch.randn((shape[0], 1, 1), generator=generator)
        time = int(torch.randint(self._levels, (1,), generator=generator))
        dropped = float(torch.rand(1, generator=generator)) < dropout
        noise = noise + self._settings.noise_offset * shift
        return Drawn(self._scaling(latents), noise, time, dropped)


def batches(examples: Sequence[Encoded], drawn: Sequence[Drawn], nothing: Words, most: int) -> list[Batch]:
    """The images in batches of one size each, of at most so many, in the order in which their sizes first occur."""
    sizes: dict[torch.Size, list[int]] = {}
    for number, example in enumerate(examples):
        sizes.setdefault(example.mean.shape, []).append(number)
    parts = [numbers[start : start + most] for numbers in sizes.values() for start in range(0, len(numbers), most)]
    return [
        _batch([examples[number] for number in part], [drawn[number] for number in part], nothing) for part in parts
    ]


class Objective:
    """The loss of a batch: mean squared error against the noise or the velocity, whichever the model was trained to say.

    Args:
        config: The pipeline's scheduler's; its noise levels and `prediction_type` count.
        gamma: `LoraSettings.min_snr_gamma`.
    """

    def __init__(self, config: Any, gamma: float | None) -> None:
        from diffusers import DDPMScheduler

        self.scheduler: Any = DDPMScheduler.from_config(config)
        self.prediction: str = self.scheduler.config.prediction_type
        if self.prediction not in (V_PREDICTION, EPSILON):
            raise ValueError(f"a model that predicts '{self.prediction}' can't be trained here")
        self._weights = _weights(self.scheduler.alphas_cumprod, gamma, self.prediction)

    def __call__(self, unet: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Each image's loss (N,), weighed by its noise level and plain."""
        # Of one weight: diffusers walks through all modules to say where a model is.
        device, kind = unet.conv_in.weight.device, unet.conv_in.weight.dtype
        latents, noise = batch.latents.to(device), batch.noise.to(device)
        times = batch.times.to(device)
        noisy = self.scheduler.add_noise(latents, noise, times)
        target = noise if self.prediction == EPSILON else self.scheduler.get_velocity(latents, noise, times)
        given = {"text_embeds": batch.pooled.to(device, kind), "time_ids": batch.sizes.to(device)}
        said = unet(noisy.to(kind), times, batch.tokens.to(device, kind), added_cond_kwargs=given, return_dict=False)[0]
        plain = (said.float() - target).pow(2).mean(dim=(1, 2, 3))
        return plain * self._weights.to(device)[times], plain.detach()


def stream(seed: int, what: str, number: int) -> torch.Generator:
    """A generator of its own for each use of chance."""
    digest = hashlib.sha256(f"{seed} {what} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _weights(alphas: Tensor, gamma: float | None, prediction: str) -> Tensor:
    """The weight of each noise level: min(SNR, gamma), over SNR for noise and over SNR + 1 for velocity (Hang et al. 2023)."""
    if gamma is None:
        return torch.ones_like(alphas)
    ratio = alphas / (1 - alphas)
    capped = ratio.clamp(max=gamma)
    if prediction == V_PREDICTION:
        return capped / (ratio + 1)
    # Pure noise has a ratio of 0, and its weight is that of all levels below gamma.
    return torch.where(ratio > 0, capped / ratio.clamp(min=1e-12), 1.0)


def _batch(examples: Sequence[Encoded], drawn: Sequence[Drawn], nothing: Words) -> Batch:
    words = [nothing if one.dropped else example.words for example, one in zip(examples, drawn, strict=True)]
    return Batch(
        latents=torch.stack([one.latents for one in drawn]),
        noise=torch.stack([one.noise for one in drawn]),
        times=torch.tensor([one.time for one in drawn]),
        tokens=torch.stack([one.tokens for one in words]),
        pooled=torch.stack([one.pooled for one in words]),
        sizes=torch.stack([example.sizes for example in examples]),
    )
