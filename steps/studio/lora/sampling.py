"""Pictures drawn while a LoRA learns: the same noise each time, captions as they were encoded before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from steps.studio.lora.encoding import Words
from steps.studio.lora.objective import Scaling, stream
from steps.studio.lora.pupil import Pupil

# A GPU that trains a large model has room for one; small models are quicker together.
_AT_ONCE_ON_CPU = 8


class Sampler:
    """Draws the same prompts again and again.

    Args:
        pupil: Whose LoRA is on.
        prompts: What to draw.
        nothing: What stands for no caption.
        seed: Of the noise.
    """

    def __init__(self, pupil: Pupil, prompts: Sequence[Words], nothing: Words, seed: int) -> None:
        self._pupil = pupil
        self._prompts = prompts
        self._nothing = nothing
        self._seed = seed
        self._scaling = Scaling.of(pupil.pipeline.vae)

    def draw(self, *, side: int, steps: int, guidance: float) -> list[Image.Image]:
        """A picture of each prompt.

        Args:
            side: Pixels.
            steps: Of sampling.
            guidance: Scale.
        """
        unet = self._pupil.unet
        unet.eval()
        at_once = _AT_ONCE_ON_CPU if unet.device.type == "cpu" else 1
        options = {"height": side, "width": side, "num_inference_steps": steps, "guidance_scale": guidance}
        try:
            starts = range(0, len(self._prompts), at_once)
            return [image for start in starts for image in self._part(start, start + at_once, options)]
        finally:
            unet.train()

    def _part(self, start: int, end: int, options: dict[str, Any]) -> list[Image.Image]:
        words = self._prompts[start:end]
        nothing = [self._nothing] * len(words)
        with self._pupil.accelerator.autocast():
            latents = self._pupil.pipeline(
                prompt_embeds=self._put([one.tokens for one in words]),
                pooled_prompt_embeds=self._put([one.pooled for one in words]),
                negative_prompt_embeds=self._put([one.tokens for one in nothing]),
                negative_pooled_prompt_embeds=self._put([one.pooled for one in nothing]),
                generator=[stream(self._seed, "sample", start + number) for number in range(len(words))],
                output_type="latent",
                **options,
            ).images
        return self._decoded(latents)

    @torch.no_grad()
    def _decoded(self, latents: torch.Tensor) -> list[Image.Image]:
        """Pixels, by the VAE in float32 whatever the UNet computes in."""
        pipeline = self._pupil.pipeline
        images: list[Image.Image] = []
        for one in latents.float():
            drawn = pipeline.vae.decode(self._scaling.undone(one)[None]).sample
            images += pipeline.image_processor.postprocess(drawn, output_type="pil")
        return images

    def _put(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        weight = self._pupil.unet.conv_in.weight
        return torch.stack(list(values)).to(weight.device, weight.dtype)
