"""What a frame is drawn with, as plain values; imports nothing heavy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from steps.library.shots import Shot
from steps.studio.protocols import Diffusion

BASELINE, SIMPLE, ADAPTER, REFERENCE = "baseline", "simple", "adapter", "reference"
MODES = (BASELINE, SIMPLE, ADAPTER, REFERENCE)
WITH_LORA, WITH_REFERENCE = (SIMPLE, REFERENCE), (ADAPTER, REFERENCE)
WITHOUT_REFERENCE = {ADAPTER: BASELINE, REFERENCE: SIMPLE}
"""The mode that is left of another when its reference can't be had or doesn't fit into memory."""


@dataclass(frozen=True)
class Setup:
    """The parts of a pipeline.

    Attributes:
        lora: The file of a LoRA in diffusers' layout; None for none.
        adapter: Whether a reference image goes in through the IP-Adapter.
        pose: Whether limbs are drawn by the ControlNet's picture.
    """

    lora: Path | None = None
    adapter: bool = False
    pose: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of what is added to the plain model."""
        there = {"LoRA": self.lora is not None, "IP-Adapter": self.adapter, "ControlNet": self.pose}
        return tuple(name for name, has in there.items() if has)


@dataclass(frozen=True)
class Scales:
    """How strongly each part tells; 0 is as without it."""

    lora: float = 1.0
    adapter: float = 0.6
    control: float = 0.7

    def of(self, part: str) -> float:
        """The scale of a part by its name in `Setup.parts`."""
        return {"LoRA": self.lora, "IP-Adapter": self.adapter, "ControlNet": self.control}[part]


@dataclass(frozen=True)
class Sampling:
    """How an image is sampled.

    Attributes:
        steps: Sampling steps.
        guidance: Guidance scale; 1 and less asks the model once a step instead of twice.
        width: Pixels.
        height: Pixels.
        negative: What is not wanted, in words.
    """

    steps: int
    guidance: float
    width: int
    height: int
    negative: str = ""


@dataclass(frozen=True)
class Order:
    """One image to draw.

    Attributes:
        prompt: What it shows.
        seed: Of its noise.
        reference: The face, for a setup with an adapter.
        pose: The picture of limbs, for a setup with a pose.
    """

    prompt: str
    seed: int
    reference: Image.Image | None = field(default=None, repr=False)
    pose: Image.Image | None = field(default=None, repr=False)


def setups_of(mode: str, lora: Path | None, *, given: bool) -> tuple[Setup, Setup]:
    """What the first frame and the others are drawn with.

    Args:
        mode: One of MODES.
        lora: The LoRA's file; modes without one ignore it.
        given: Whether the reference is there before the first frame is.
    """
    lora = lora if mode in WITH_LORA else None
    if mode == REFERENCE:
        return Setup(lora), Setup(lora, adapter=True, pose=True)
    if mode == ADAPTER:
        return Setup(adapter=given), Setup(adapter=True)
    return Setup(lora), Setup(lora)


def seed_of(seed: int, frame: int, attempt: int) -> int:
    """The seed of one attempt at one frame, 0 to 2**31 - 1: the same in every mode and story, so that modes compare pair by pair."""
    digest = hashlib.sha256(f"frame {seed} {frame} {attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def posed(model: Diffusion, shot: Shot, width: int, height: int) -> Image.Image:
    """The ControlNet's picture for a frame of any shape: its square stands in the middle, at the bottom, on black."""
    side = min(width, height)
    square = model.pose(shot, side)
    if width == height:
        return square
    picture = Image.new("RGB", (width, height))
    picture.paste(square, ((width - side) // 2, height - side))
    return picture
