"""A storyboard as diffusers' documentation would have it: one frame after the other through plain calls, nothing shared between frames.

Put together from the examples of "Load LoRAs for inference", "IP-Adapter" and "ControlNet": the baseline that `tests.bench.storyboard`
is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from steps.studio.models import layout, weights


class PlainStoryboard:
    """Pipelines that are loaded once, called once a frame."""

    def __init__(self, folder: Path, lora: Path) -> None:
        self._text = weights.load_pipeline(folder)
        self._text.load_lora_weights(lora)
        self._guided = weights.load_pipeline(folder, pose=True, adapter=True)
        self._guided.load_lora_weights(lora)
        self._guided.set_ip_adapter_scale(0.6)
        self._clip, self._tokenizer, self._processor = weights.load_clip(folder)
        self._faces = weights.load_faces(folder, layout.FACE_PACKS[0])

    def simple(self, prompts: Sequence[str], steps: int) -> list[Image.Image]:
        """Every frame by the LoRA."""
        images = []
        for number, prompt in enumerate(prompts):
            image = self._text(prompt, num_inference_steps=steps, guidance_scale=3.0, generator=_noise(number)).images[
                0
            ]
            self._score(image, prompt)
            images.append(image)
        return images

    def reference(self, prompts: Sequence[str], poses: Sequence[Image.Image], steps: int) -> list[Image.Image]:
        """The first frame by the LoRA, the others with a cut-out of it and a pose."""
        images = self.simple(prompts[:1], steps)
        self._find(images[0])
        face = images[0].crop((16, 8, 48, 40)).resize((64, 64))
        for number, (prompt, pose) in enumerate(zip(prompts[1:], poses[1:], strict=True), 1):
            image = self._guided(
                prompt,
                image=pose,
                ip_adapter_image=face,
                controlnet_conditioning_scale=0.7,
                num_inference_steps=steps,
                guidance_scale=3.0,
                generator=_noise(number),
            ).images[0]
            self._score(image, prompt)
            images.append(image)
        return images

    def _score(self, image: Image.Image, prompt: str) -> float:
        """CLIPScore of one image, as in the documentation of `CLIPModel`."""
        import torch

        inputs = self._tokenizer([prompt], padding=True, truncation=True, return_tensors="pt")
        pixels = self._processor(images=[image], return_tensors="pt")
        with torch.no_grad():
            found = self._clip(**inputs, **pixels)
        return float(2.5 * max((found.image_embeds @ found.text_embeds.T).item(), 0.0))

    def _find(self, image: Image.Image) -> Any:
        import numpy as np

        return self._faces.get(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))


def _noise(seed: int) -> Any:
    import torch

    return torch.Generator().manual_seed(seed)
