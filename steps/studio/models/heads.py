"""Where a head is, and cut-outs of it: the square that holds head, hair and hat, which is what "face" means to these models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from steps.studio.models import domain
from steps.studio.models.domain import Picture
from steps.studio.world import keypoints

# In heads (crown to chin is 1): the square's side, and how far below the crown its middle lies.
SIDE, MIDDLE = 1.9, 0.4


def head_box(split: str, index: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the head in a picture (ear to ear, crown to chin), in pixels."""
    return head_in(domain.picture(split, index))


def head_in(shown: Picture) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the head in a picture, in pixels."""
    spots = keypoints(shown.who, shown.shot, (domain.SIZE, domain.SIZE))
    return *spots["head_top_left"], *spots["head_bottom_right"]


def square_of(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The square (left, top, right, bottom) for a head's box; it may leave the picture."""
    left, top, right, bottom = box
    tall = bottom - top
    x, y, half = (left + right) / 2, top + MIDDLE * tall, SIDE * tall / 2
    return x - half, y - half, x + half, y + half


def squares(split: str, indices: Sequence[int]) -> Tensor:
    """The squares of some pictures (N, 4), in pixels."""
    return torch.tensor([square_of(head_box(split, index)) for index in indices])


def cut_out(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The boxes (N, 4: left, top, right, bottom in pixels) of images (N, C, H, W), each `size` pixels each way.

    What lies outside an image repeats its border.
    """
    height, width = images.shape[-2:]
    steps = (torch.arange(size) + 0.5) / size
    x = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    grid = torch.stack(
        [
            (2 * x / width - 1)[:, None, :].expand(-1, size, -1),
            (2 * y / height - 1)[:, :, None].expand(-1, -1, size),
        ],
        dim=-1,
    )
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def moved(boxes: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Boxes moved and scaled at random by up to `share` of their side."""
    chance = torch.rand(len(boxes), 3, generator=generator) * 2 - 1
    side = boxes[:, 2:3] - boxes[:, :1]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 + chance[:, :2] * share * side
    half = side / 2 * (1 + chance[:, 2:] * share)
    return torch.cat([middle - half, middle + half], dim=1)


def degraded(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image as it is or, for half of them, blurred by going through fewer pixels and noisy: as models draw."""
    size = images.shape[-1]
    small = int(size * float(torch.rand(1, generator=generator) * 0.5 + 0.4))
    blurred = functional.interpolate(images, size=small, mode="bilinear", antialias=True, align_corners=False)
    blurred = functional.interpolate(blurred, size=size, mode="bilinear", align_corners=False)
    blurred = blurred + 0.06 * torch.randn(images.shape, generator=generator)
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, blurred, images)
