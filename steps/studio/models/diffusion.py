"""The tiny SDXL: UNet, two text encoders and the IP-Adapter, built, and trained together."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    IPAdapterAttnProcessor,
    IPAdapterAttnProcessor2_0,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from steps.studio.models import clip, domain
from steps.studio.models.captions import any_caption, full_caption
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.encoded import REFERENCES
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.tokens import LENGTH, new_tokenizer, tokens_of
from steps.studio.models.training import Losses, Schedule

SCHEDULE = Schedule(steps=16_000, rate=1e-3, warm_up=300, averaging=0.9985, weight_decay=0.01)
BATCH = 32
WIDTHS = (64, 96)
"""Of the two text encoders."""
POOLED = 96
TIME = 16
IP_TOKENS = 4
_ADAPTED = (IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0)
_UNCONDITIONAL = 0.1
_WITH_REFERENCE = 0.5
_FULL_CAPTION = 0.25


def new_unet(channels: Sequence[int] = (128, 128), latent_channels: int = 16) -> UNet2DConditionModel:
    """An untrained UNet for latents of 8 x 8, conditioned like SDXL's."""
    levels = len(channels)
    return UNet2DConditionModel(
        sample_size=domain.SIZE // 8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        # The level below it looks at the text; a middle that does too would not fit into what may be shipped.
        mid_block_type="UNetMidBlock2D",
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        attention_head_dim=tuple(width // 32 for width in channels),
        cross_attention_dim=sum(WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME,
        projection_class_embeddings_input_dim=POOLED + 6 * TIME,
        norm_num_groups=16,
        use_linear_projection=True,
    )


def new_text_encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Two untrained text encoders; the pipelines read each one's last layer but one."""
    first, second = (_text_config(width) for width in WIDTHS)
    build: Any = {"attn_implementation": "eager"}
    return CLIPTextModel._from_config(first, **build), CLIPTextModelWithProjection._from_config(second, **build)  # noqa: SLF001


def new_scheduler() -> DDIMScheduler:
    """The noise schedule: SDXL's, ending in pure noise (Lin et al. 2023), with velocity prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def add_adapter(unet: UNet2DConditionModel) -> None:
    """Give the UNet a fresh IP-Adapter as `load_ip_adapter` does, its layers trainable; keys and values begin small."""
    width = unet.config.cross_attention_dim
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    state["image_proj"] = {
        "proj.weight": torch.randn(IP_TOKENS * width, clip.WIDTH) * clip.WIDTH**-0.5,
        "proj.bias": torch.zeros(IP_TOKENS * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    for number, hidden in attended(unet).items():
        state["ip_adapter"][f"{number}.to_k_ip.weight"] = torch.randn(hidden, width) * width**-0.5
        state["ip_adapter"][f"{number}.to_v_ip.weight"] = torch.randn(hidden, width) * 0.1 * width**-0.5
    unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)  # noqa: SLF001 - what load_ip_adapter calls
    unet.encoder_hid_proj.requires_grad_(True)
    for processor in unet.attn_processors.values():
        if isinstance(processor, _ADAPTED):
            processor.requires_grad_(True)


def attended(unet: UNet2DConditionModel) -> dict[int, int]:
    """The number in an adapter's file -> hidden size, of each attention that looks at text."""
    widths: dict[int, int] = {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            widths[number] = unet.get_submodule(name.removesuffix(".processor")).to_q.in_features
    return widths


def use_plain_attention(unet: UNet2DConditionModel) -> None:
    """Compute attention as plain products: the same numbers, and on a CPU an eighth of a training step less."""
    for name, processor in unet.attn_processors.items():
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            # It holds weights, so that it stays and computes the way of the older class.
            processor.__class__ = IPAdapterAttnProcessor
        elif isinstance(processor, AttnProcessor2_0):
            unet.get_submodule(name.removesuffix(".processor")).set_processor(AttnProcessor())


def set_adapter_scale(unet: UNet2DConditionModel, scale: float) -> None:
    """0 switches the adapter off, as if it had not been loaded."""
    for processor in unet.attn_processors.values():
        if isinstance(processor, _ADAPTED):
            processor.scale = [scale]


class DiffusionInTraining(nn.Module):
    """All that learns together."""

    def __init__(self, unet: UNet2DConditionModel | None = None) -> None:
        super().__init__()
        self.unet = unet or new_unet()
        add_adapter(self.unet)
        self.first, self.second = new_text_encoders()
        # SDXL reads the last layer but one: of the first encoder the last is never looked at.
        self.first.encoder.layers[-1].requires_grad_(False)
        self.first.final_layer_norm.requires_grad_(False)

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt embeddings (N, L, 160) and pooled ones (N, 96) of token numbers (N, L), as the SDXL pipelines make them."""
        one = self.first(tokens, output_hidden_states=True)
        other = self.second(tokens, output_hidden_states=True)
        return torch.cat([one.hidden_states[-2], other.hidden_states[-2]], dim=-1), other.text_embeds


class DiffusionLosses:
    """Noise taken out of latents, told by captions and, in half of the steps, by another picture of the same person."""

    def __init__(self, model: DiffusionInTraining, latents: Renders, references: Renders) -> None:
        self._model = model
        self._latents = latents
        self._references = references
        self._noising = Noising(new_scheduler())

    def __call__(self, step: int, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        indices = some_of(len(self._latents), BATCH, generator)
        rng = random.Random(step)  # noqa: S311
        dropped = torch.rand(BATCH, generator=generator) < _UNCONDITIONAL
        tokens = caption_tokens(indices, dropped.tolist(), rng)
        latents = torch.from_numpy(self._latents[indices]).float()
        noisy, target, times, weights = self._noising(latents, generator)
        device = device_of(self._model)
        given: dict[str, Any] = {
            "time_ids": time_ids(BATCH).to(device),
            "image_embeds": [self._reference(indices, dropped, generator).to(device)],
        }
        with_reference = rng.random() < _WITH_REFERENCE
        set_adapter_scale(self._model.unet, 1.0 if with_reference else 0.0)
        noisy, target, times, weights = (part.to(device) for part in (noisy, target, times, weights))
        with half_precision(device):
            words, given["text_embeds"] = self._model.text(tokens.to(device))
            found = self._model.unet(noisy, times, words, added_cond_kwargs=given).sample
        losses = (found.float() - target).pow(2).mean(dim=(1, 2, 3))
        told = {f"{'reference' if with_reference else 'text'} x2": losses.detach().mean()}
        return {"loss": (weights * losses).mean(), "plain": losses.detach().mean()} | told

    def _reference(self, indices: Sequence[int], dropped: Tensor, generator: torch.Generator) -> Tensor:
        """Embeddings (N, 1, D) of other pictures of the same people, noisy; zero where the text is dropped too."""
        shift = torch.randint(1, domain.RENDERS, (len(indices),), generator=generator).tolist()
        others = [
            index - index % domain.RENDERS + (index + by) % domain.RENDERS
            for index, by in zip(indices, shift, strict=True)
        ]
        ways = torch.multinomial(torch.tensor([0.4, 0.4, 0.2]), len(indices), replacement=True, generator=generator)
        assert len(REFERENCES) == 3
        rows = torch.from_numpy(self._references[others]).float()[torch.arange(len(indices)), ways]
        rows = rows + 0.1 * rows.std() * torch.randn(rows.shape, generator=generator)
        return torch.where(dropped[:, None], 0.0, rows)[:, None]


class Noising:
    """Draws times and noise; what the model should answer is the velocity (Salimans and Ho 2022)."""

    def __init__(self, scheduler: DDIMScheduler, limit: float = 5.0) -> None:
        """`limit`: signal-to-noise ratios above it count as that one (min-SNR, Hang et al. 2023); low ones count in full."""
        self._scheduler = scheduler
        alphas = scheduler.alphas_cumprod
        ratio = alphas / (1 - alphas)
        self._weights = ((limit + 1) / (ratio + 1)).clamp(max=1.0)

    def __call__(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noisy latents, velocities, times (N,) and weights (N,)."""
        noise = torch.randn(latents.shape, generator=generator)
        times = torch.randint(len(self._weights), (len(latents),), generator=generator)
        noisy = self._scheduler.add_noise(latents, noise, times)
        return noisy, self._scheduler.get_velocity(latents, noise, times), times, self._weights[times]


def caption_tokens(indices: Sequence[int], dropped: Sequence[bool], rng: random.Random) -> Tensor:
    """Tokens (N, 77) of a caption for each training picture, empty where dropped."""
    texts = []
    for index, empty in zip(indices, dropped, strict=True):
        shown = domain.picture("train", index)
        text = full_caption(shown) if rng.random() < _FULL_CAPTION else any_caption(shown, rng)
        texts.append("" if empty else text)
    return tokens_of(texts)


def time_ids(count: int) -> Tensor:
    """SDXL's size conditions (N, 6): original size, crop, target size. One size is all there is."""
    return torch.tensor([[domain.SIZE, domain.SIZE, 0, 0, domain.SIZE, domain.SIZE]]).expand(count, -1).float()


def _text_config(width: int) -> CLIPTextConfig:
    tokenizer = new_tokenizer()
    options: Mapping[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=3,
        num_attention_heads=width // 32,
        max_position_embeddings=LENGTH,
        projection_dim=POOLED,
        **options,
    )
