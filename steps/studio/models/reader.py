"""The reader: names every attribute of a picture and finds the joints, to judge with what the other models draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.studio.models import domain, labels
from steps.studio.models.clip import naming_loss
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.heads import cut_out, degraded, moved
from steps.studio.models.nets import ChannelNorm, Glances, Pyramid
from steps.studio.models.poses import JOINTS, joints_of
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.tensors import to_tensor
from steps.studio.models.training import Losses, Schedule

SCHEDULE = Schedule(steps=9_000, rate=1.5e-3, warm_up=100, averaging=0.998, weight_decay=0.02)
BATCH = 48


class Reading(NamedTuple):
    """What the reader says of N pictures.

    Attributes:
        told: Logits of all attributes' values side by side (N, V), in the order of `labels.VALUES`.
        joints: x and y of JOINTS in pixels (N, J, 2).
    """

    told: Tensor
    joints: Tensor


class Reader(nn.Module):
    """Pictures (N, 3, 64, 64) in [-1, 1] to a `Reading`."""

    def __init__(self, channels: Sequence[int] = (24, 48, 80)) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, stem=2)
        self.glances = Glances(channels[-1], len(labels.VALUES))
        self.answers = nn.ModuleList(nn.Linear(channels[-1], size) for size in labels.sizes())
        self.wide = nn.Conv2d(channels[-1], channels[1], 1)
        self.joints = nn.Sequential(
            ChannelNorm(channels[1]),
            nn.Conv2d(channels[1], 48, 5, padding=2),
            nn.GELU(),
            nn.Conv2d(48, len(JOINTS), 3, padding=1),
        )

    def forward(self, images: Tensor) -> Reading:
        """What the pictures show."""
        features = self.pyramid(images)
        seen = self.glances(features[-1])
        told = torch.cat([answer(seen[:, number]) for number, answer in enumerate(self.answers)], dim=1)
        grown = functional.interpolate(self.wide(features[-1]), scale_factor=2.0, mode="nearest") + features[1]
        return Reading(told, _middles(self.joints(grown), images.shape[-1]))


class ReaderLosses:
    """Every attribute, and every joint that the picture holds."""

    def __init__(self, model: Reader, renders: Renders, remade: Renders | None = None) -> None:
        """`remade`: the same pictures out of the autoencoder, which half of a batch is taken from."""
        self._model = model
        self._sources = [renders, remade or renders]

    def __call__(self, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002 - the loop's
        """The losses of one batch."""
        indices = some_of(len(self._sources[1]), BATCH, generator)
        half = BATCH // 2
        images = torch.cat([to_tensor(self._sources[0][indices[:half]]), to_tensor(self._sources[1][indices[half:]])])
        whole = torch.tensor([[0.0, 0.0, domain.SIZE, domain.SIZE]]).expand(BATCH, -1)
        windows = moved(whole, 0.04, generator)
        images = degraded(cut_out(images, windows, domain.SIZE), generator)
        wanted = _in_windows(joints_in(indices), windows)
        device = device_of(self._model)
        with half_precision(device):
            reading = self._model(images.to(device))
        named = naming_loss(reading.told.float(), indices, BATCH)
        placed = joint_errors(reading.joints, wanted.to(device)).mean()
        return {"loss": named + 0.05 * placed, "named": named, "pixels": placed.detach()}


def joints_in(indices: Sequence[int], split: str = "train") -> Tensor:
    """Where the joints of pictures are (N, J, 2), in pixels."""
    shown = [domain.picture(split, index) for index in indices]
    spots = [joints_of(one.who, one.shot) for one in shown]
    return torch.tensor([[found[name] for name in JOINTS] for found in spots])


def joint_errors(found: Tensor, wanted: Tensor) -> Tensor:
    """Distances in pixels (M,) of all joints that lie in the picture."""
    held = ((wanted >= 0) & (wanted < domain.SIZE)).all(dim=-1)
    return (found - wanted).pow(2).sum(dim=-1).add(1e-6).sqrt()[held]


def told_values(told: Tensor) -> list[dict[str, str]]:
    """Attribute -> the likeliest value, of each picture, from logits (N, V)."""
    parts = told.split(list(labels.sizes()), dim=1)
    best = [part.argmax(dim=1).tolist() for part in parts]
    return [
        {name: values[number] for (name, values), number in zip(labels.VALUES.items(), numbers, strict=True)}
        for numbers in zip(*best, strict=True)
    ]


def _middles(maps: Tensor, size: int) -> Tensor:
    """The mean place of each map (N, J, h, w) under its softmax, (N, J, 2), in pixels of an image `size` wide and high."""
    rows, columns = maps.shape[-2:]
    weights = maps.float().flatten(2).softmax(dim=-1).unflatten(2, (rows, columns))
    x = (weights.sum(dim=-2) * (torch.arange(columns, device=maps.device) + 0.5)).sum(dim=-1) * size / columns
    y = (weights.sum(dim=-1) * (torch.arange(rows, device=maps.device) + 0.5)).sum(dim=-1) * size / rows
    return torch.stack([x, y], dim=-1)


def _in_windows(joints: Tensor, windows: Tensor) -> Tensor:
    """Joints of a picture as they lie in a window cut out of it and scaled back to the picture's size."""
    scale = domain.SIZE / (windows[:, 2:] - windows[:, :2])
    return (joints - windows[:, None, :2]) * scale[:, None]
