"""Pictures as tensors and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (N, H, W, 3) as (N, 3, H, W), float in [-1, 1], channels last in memory."""
    return torch.tensor(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, 3, H, W), about [-1, 1], as pixels (N, H, W, 3)."""
    shades = images.detach().float().add(1.0).mul(127.5).round().clamp(0, 255)
    return shades.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def sheet(pixels: NDArray[np.uint8], columns: int, zoom: int = 2) -> Image.Image:
    """Pictures in rows, `zoom` times as large, to be looked at."""
    rows = [np.concatenate(list(pixels[start : start + columns]), axis=1) for start in range(0, len(pixels), columns)]
    rows[-1] = np.pad(rows[-1], ((0, 0), (0, rows[0].shape[1] - rows[-1].shape[1]), (0, 0)), constant_values=255)
    image = Image.fromarray(np.concatenate(rows))
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
