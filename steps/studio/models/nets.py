"""Small convolutional networks: what finds faces, tells them apart and reads pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel by itself, so that what is elsewhere in the image changes nothing here."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        normed: Tensor = self.norm(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        change: Tensor = self.second(functional.gelu(self.first(self.norm(images))))
        return images + change


class Pyramid(nn.Module):
    """Features at one level after the other, each half as large: `strides` halve, `channels` are the levels' widths."""

    def __init__(self, channels: Sequence[int], stem: int = 2) -> None:
        """`stem`: how many times smaller the first level is than the image."""
        super().__init__()
        levels = [nn.Sequential(nn.Conv2d(3, channels[0], stem + 1, stem, padding=stem // 2), Block(channels[0]))]
        for before, after in pairwise(channels):
            levels.append(nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 3, 2, padding=1), Block(after)))
        self.levels = nn.ModuleList(levels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The levels' features, largest first."""
        found: list[Tensor] = []
        for level in self.levels:
            images = level(images)
            found.append(images)
        return found


class Glances(nn.Module):
    """For each question a weighted mean over the picture, with weights of its own: features (N, C, H, W) -> (N, Q, C)."""

    def __init__(self, channels: int, questions: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.where = nn.Conv2d(channels, questions, 1)

    def forward(self, features: Tensor) -> Tensor:
        """What each question looks at."""
        normed = self.norm(features)
        weights = self.where(normed).flatten(2).softmax(dim=-1)
        return torch.einsum("nqp,ncp->nqc", weights, normed.flatten(2))
