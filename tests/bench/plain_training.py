"""A LoRA trained by the loop that diffusers documents (examples/text_to_image/train_text_to_image_lora_sdxl.py), written plainly.

Every step opens its images, runs the VAE and both text encoders, and uses whatever attention torch chooses. Nothing is cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from peft import LoraConfig
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from steps.studio.lora.dataset import Example
from steps.studio.lora.settings import LoraSettings


class Images(Dataset[dict[str, Any]]):
    """Images and tokens, prepared each time that they are asked for."""

    def __init__(self, examples: Sequence[Example], pipeline: Any, side: int) -> None:
        self._examples, self._side = examples, side
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._examples[index]
        with Image.open(example.image) as opened:
            image = opened.convert("RGB")
        original = (image.height, image.width)
        image = image.resize((self._side, self._side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1.0
        tokens = [_tokens(tokenizer, example.caption) for tokenizer in self._tokenizers]
        sizes = torch.tensor([*original, 0, 0, self._side, self._side])
        return {"pixels": pixels, "first": tokens[0], "second": tokens[1], "sizes": sizes}


def train(pipeline: Any, examples: Sequence[Example], settings: LoraSettings, side: int, steps: int) -> float:
    """Train so many steps; the last loss."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    unet = pipeline.unet
    for module in (unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
        module.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            init_lora_weights="gaussian",
            target_modules=settings.target_modules,
        )
    )
    learned = [value for value in unet.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = get_scheduler("constant", optimizer)
    noise_schedule: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
    loader = DataLoader(Images(examples, pipeline, side), batch_size=settings.batch, shuffle=True, drop_last=True)
    unet, optimizer, loader, schedule = accelerator.prepare(unet, optimizer, loader, schedule)
    unet.train()
    done, last = 0, 0.0
    while done < steps:
        for batch in loader:
            with accelerator.accumulate(unet):
                loss = _loss(pipeline, unet, noise_schedule, batch)
                last = float(accelerator.gather(loss.detach().repeat(settings.batch)).mean())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(learned, settings.max_grad_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            done += 1
            if done == steps:
                break
    return last


def _loss(pipeline: Any, unet: Any, schedule: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        latents = pipeline.vae.encode(batch["pixels"]).latent_dist.sample() * pipeline.vae.config.scaling_factor
        words, pooled = _encode(pipeline, batch)
    noise = torch.randn_like(latents)
    times = torch.randint(0, schedule.config.num_train_timesteps, (len(latents),))
    noisy = schedule.add_noise(latents, noise, times)
    given = {"time_ids": batch["sizes"].float(), "text_embeds": pooled}
    found = unet(noisy, times, words, added_cond_kwargs=given, return_dict=False)[0]
    return functional.mse_loss(found.float(), schedule.get_velocity(latents, noise, times).float())


def _encode(pipeline: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    one = pipeline.text_encoder(batch["first"], output_hidden_states=True)
    other = pipeline.text_encoder_2(batch["second"], output_hidden_states=True)
    return torch.cat([one.hidden_states[-2], other.hidden_states[-2]], dim=-1), other[0]


def _tokens(tokenizer: Any, text: str) -> Tensor:
    found: Tensor = tokenizer(
        text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids[0]
    return found
