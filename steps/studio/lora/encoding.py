"""What the frozen parts of a model make of images and captions, computed once and kept on disk by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from runner import files
from runner.errors import UserError
from steps.library import pictures
from steps.studio.lora.buckets import Fitted, fitted
from steps.studio.lora.dataset import Example
from steps.studio.lora.packing import packed, unpacked
from steps.studio.lora.reading import check_safetensors
from steps.studio.lora.settings import ORIGINAL

SUFFIX = ".safetensors"
Tensors = Mapping[str, Tensor]


class Words(NamedTuple):
    """A caption as the UNet reads it: per token (L, D) and pooled (P,), float32 on the CPU."""

    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Encoded:
    """An example as the UNet sees it, float32 on the CPU.

    Attributes:
        id: The example's.
        mean: Of the latents' distribution (C, h, w), unscaled.
        deviation: Its standard deviation (C, h, w).
        words: The caption.
        sizes: SDXL's size conditions (6,): original height and width, crop's top and left, target height and width.
    """

    id: str
    mean: Tensor
    deviation: Tensor
    words: Words
    sizes: Tensor


class Cache:
    """Tensors in a folder by a digest of what they were made from. Several processes may fill it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, parts: Sequence[Any], make: Callable[[], Tensors]) -> Tensors:
        """What is kept for plain values, made if it is not there or can't be read."""
        name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        path = self._folder / name[:2] / f"{name}{SUFFIX}"
        kept = _kept(path)
        if kept is None:
            files.write_bytes(path, packed(make()))
            # As it will be read: in memory, the first run would otherwise differ from the next.
            kept = unpacked(path)
        return kept


class Encoder:
    """Encodes images with a pipeline's VAE and captions with its text encoders.

    Args:
        pipeline: Of the SDXL family; its VAE computes in float32, for in float16 SDXL's overflows.
        cache: Where results are kept.
        size_conditions: `LoraSettings.size_conditions`.
    """

    def __init__(self, pipeline: Any, cache: Cache, size_conditions: str) -> None:
        self._pipeline = pipeline
        self._cache = cache
        self._size_conditions = size_conditions
        # Where a pipeline is, it finds out by a walk through all its modules.
        self._device = pipeline.device
        self._vae = digest_of(pipeline.vae)
        self._text = "".join(digest_of(encoder) for encoder in (pipeline.text_encoder, pipeline.text_encoder_2))

    def encode(self, example: Example) -> Encoded:
        """An example.

        Raises:
            ItemError: The image changed since it was looked at.
        """
        kept = self._cache.get(["latents", self._vae, example.sha256, example.bucket], lambda: self._latents(example))
        words = self.words(example.caption)
        sizes = torch.tensor(self._sizes(example, kept["crop"].tolist()), dtype=torch.float32)
        return Encoded(example.id, kept["mean"], kept["deviation"], words, sizes)

    def words(self, text: str) -> Words:
        """A caption; the tokenizers cut what is too long and keep its end token."""
        tokens = [_tokens(self._pipeline, which, text) for which in ("tokenizer", "tokenizer_2")]
        kept = self._cache.get(["text", self._text, tokens], lambda: self._read(text))
        return Words(kept["tokens"], kept["pooled"])

    def nothing(self) -> Words:
        """What stands for no caption when the pipeline draws: zeros, or the empty text."""
        words = self.words("")
        if not self._pipeline.config.get("force_zeros_for_empty_prompt", True):
            return words
        return Words(torch.zeros_like(words.tokens), torch.zeros_like(words.pooled))

    @torch.no_grad()
    def _latents(self, example: Example) -> Tensors:
        fit = fitted(pictures.load(example.image).image, example.bucket)
        vae = self._pipeline.vae
        found = vae.float().encode(pixels_of(fit.image).to(vae.device)).latent_dist
        return {"mean": found.mean[0].float(), "deviation": found.std[0].float(), "crop": _crop(fit)}

    @torch.no_grad()
    def _read(self, text: str) -> Tensors:
        tokens, _, pooled, _ = self._pipeline.encode_prompt(
            text, device=self._device, do_classifier_free_guidance=False
        )
        return {"tokens": tokens[0].float(), "pooled": pooled[0].float()}

    def _sizes(self, example: Example, crop: list[int]) -> list[int]:
        target = [example.bucket.height, example.bucket.width]
        if self._size_conditions == ORIGINAL:
            return [example.size.height, example.size.width, *crop, *target]
        return [*target, 0, 0, *target]


def digest_of(module: Any) -> str:
    """Of a model's configuration and weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def pixels_of(image: Any) -> Tensor:
    """An RGB image as (1, 3, H, W), float32 in [-1, 1]."""
    shades = torch.from_numpy(np.asarray(image, dtype=np.uint8).copy()).permute(2, 0, 1)[None]
    return shades.float().div_(127.5).sub_(1.0)


def count_tokens(pipeline: Any) -> list[Callable[[str], int]]:
    """For each of a pipeline's tokenizers, how many tokens a text has, start and end counted."""

    def counter(tokenizer: Any) -> Callable[[str], int]:
        # What is longer than the model reads is what is asked for, and no reason for a warning.
        return lambda text: len(tokenizer(text, truncation=False, verbose=False).input_ids)

    return [counter(tokenizer) for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2)]


def _tokens(pipeline: Any, which: str, text: str) -> list[int]:
    tokenizer = getattr(pipeline, which)
    return list(tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids)


def _crop(fit: Fitted) -> Tensor:
    return torch.tensor([fit.top, fit.left])


def _kept(path: Path) -> Tensors | None:
    """The tensors, if their file is there and whole."""
    if not path.is_file():
        return None
    try:
        check_safetensors(path)
    except UserError:
        return None
    return unpacked(path)
