"""Models of the SDXL family as small as can be, with weights that nobody trained: enough for all that is no question of quality."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from steps.backends.protocols import Face
from steps.studio.framing import Shot


@cache
def tiny_pipeline() -> Any:
    """`StableDiffusionXLPipeline` of 64 pixels; whoever changes it takes `fresh_pipeline`."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    from steps.studio.models import diffusion, vae
    from steps.studio.models.tokens import new_tokenizer
    from steps.studio.models.weights import quiet

    quiet()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, second = diffusion.new_text_encoders()
    parts = {
        "vae": vae.new_vae(),
        "text_encoder": first,
        "text_encoder_2": second,
        "tokenizer": new_tokenizer(),
        "tokenizer_2": new_tokenizer(),
        "unet": diffusion.new_unet((32, 32)),
        "scheduler": diffusion.new_scheduler(),
    }
    return _assembled(StableDiffusionXLPipeline, parts)


def fresh_pipeline() -> Any:
    """A copy that shares nothing."""
    from torch import nn

    pipeline = tiny_pipeline()
    parts = pipeline.components
    copied = {name: copy.deepcopy(part) for name, part in parts.items() if isinstance(part, nn.Module)}
    return _assembled(type(pipeline), {**parts, "scheduler": copy.deepcopy(parts["scheduler"]), **copied})


class TinyDiffusion:
    """A backend that loads them."""

    identity, side, steps, guidance, device = "tiny diffusion", 64, 2, 3.0, "cpu"

    def __init__(self, gpu_usd_per_hour: float | None = None) -> None:
        self.gpu_usd_per_hour = gpu_usd_per_hour

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        assert not pose
        assert not adapter
        return fresh_pipeline()

    def pose(self, shot: Shot, side: int) -> Image.Image:
        raise NotImplementedError

    def prepare(self) -> None:
        """Nothing is missing."""


class BrightFaces:
    """Takes every picture for a face, and its mean colour for whose it is."""

    identity = "bright faces"

    def find(self, image: Image.Image) -> list[Face]:
        colour = np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) + 1
        return [Face((0.0, 0.0, float(image.width), float(image.height)), 1.0, colour / np.linalg.norm(colour))]

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        return image

    def prepare(self) -> None:
        """Nothing is missing."""


class LetterClip:
    """Embeds texts by their letters and images by their colours."""

    identity, prefix, threshold, limit = "letter clip", "", 0.7, 77

    def images(self, images: Sequence[Image.Image]) -> Any:
        return _unit([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) + 1 for image in images])

    def texts(self, texts: Sequence[str]) -> Any:
        return _unit([[text.count(letter) + 1.0 for letter in "aei"] for text in texts])

    def tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def prepare(self) -> None:
        """Nothing is missing."""


def _assembled(kind: Any, parts: dict[str, Any]) -> Any:
    made = kind(**parts, force_zeros_for_empty_prompt=False, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made


def _unit(rows: Sequence[Any]) -> Any:
    vectors = np.asarray(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
