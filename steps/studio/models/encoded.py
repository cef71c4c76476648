"""What the frozen models make of the training pictures, once: latents, and the embeddings that a reference image gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPModel

from steps.studio.models import domain
from steps.studio.models.drawing_lots import generator_at
from steps.studio.models.heads import cut_out, degraded, moved, squares
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders, Rows, make_chunks
from steps.studio.models.tensors import to_pixels, to_tensor

REFERENCES = ("head", "degraded head", "whole")
"""How a picture may serve as a reference image, in the order of `encode_references`' rows."""


def encode_latents(vae: AutoencoderKL, renders: Renders, folder: Path, split: str) -> Iterator[int]:
    """Latents of all pictures, (N, C, 8, 8) float16, in folder/split: the distribution's mean, scaled as the pipelines scale it."""

    def encoded(indices: range) -> Rows:
        device = device_of(vae)
        with torch.no_grad(), half_precision(device):
            means = [vae.encode(to_tensor(renders[part]).to(device)).latent_dist.mean.cpu() for part in _parts(indices)]
        return (torch.cat(means).float() * vae.config.scaling_factor).numpy().astype(np.float16)

    yield from make_chunks(folder / split, len(renders), encoded)


def remake(vae: AutoencoderKL, renders: Renders, folder: Path, split: str, count: int) -> Iterator[int]:
    """The first `count` pictures as the autoencoder gives them back, (N, 64, 64, 3) uint8, in folder/split."""

    def remade(indices: range) -> Rows:
        return np.concatenate([to_pixels(through(vae, to_tensor(renders[part]))) for part in _parts(indices)])

    yield from make_chunks(folder / split, count, remade)


def through(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Images (N, 3, 64, 64) encoded and decoded again, without a gradient."""
    device = device_of(vae)
    with torch.no_grad(), half_precision(device):
        found: Tensor = vae.decode(vae.encode(images.to(device)).latent_dist.mean).sample
    return found.float().cpu()


def encode_references(clip: CLIPModel, renders: Renders, folder: Path, split: str) -> Iterator[int]:
    """CLIP's image embeddings of all pictures in each way of REFERENCES, (N, 3, D) float16, in folder/split."""

    def encoded(indices: range) -> Rows:
        return np.concatenate([_references(clip, renders, split, part) for part in _parts(indices)])

    yield from make_chunks(folder / split, len(renders), encoded)


def embed_images(clip: CLIPModel, images: Tensor) -> Tensor:
    """CLIP's projected, unnormalised embeddings (N, D) of images (N, 3, 64, 64) in [-1, 1], without a gradient."""
    device = device_of(clip)
    with torch.no_grad(), half_precision(device):
        found: Tensor = clip.get_image_features(pixel_values=images.to(device)).pooler_output
    return found.float().cpu()


def _references(clip: CLIPModel, renders: Renders, split: str, indices: Sequence[int]) -> Rows:
    generator = generator_at(7, indices[0])
    images = to_tensor(renders[indices])
    heads = cut_out(images, moved(squares(split, indices), 0.08, generator), domain.SIZE)
    ways = (heads, degraded(heads, generator), images)
    return np.stack([embed_images(clip, way).numpy().astype(np.float16) for way in ways], axis=1)


def _parts(indices: Sequence[int], size: int = 64) -> Iterator[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))
