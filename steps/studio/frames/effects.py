"""Whether each part of a pipeline does anything: adapters are known to get lost in silence when others join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from runner.errors import MisconfiguredRun
from steps.library.shots import Shot
from steps.studio.frames.pipelines import first_step
from steps.studio.frames.setups import Order, Sampling, Scales, Setup, posed
from steps.studio.protocols import Diffusion

_FIELDS = {"LoRA": "lora", "IP-Adapter": "adapter", "ControlNet": "control"}
_ROUNDING = 1e-5
_OFF = Scales(0.0, 0.0, 0.0)


def effects(pipeline: Any, setup: Setup, model: Diffusion, prompt: str, sampling: Sampling) -> Mapping[str, float]:
    """How much each part changes the first sampling step at scale 1 against scale 0: the largest difference, as a share of the largest value.

    Args:
        pipeline: With the setup's parts.
        setup: Which these are.
        model: Draws the pose.
        prompt: Any.
        sampling: The size and guidance of the run.
    """
    pose = posed(model, Shot(gesture="waving"), sampling.width, sampling.height)
    order = Order(prompt, 0, _some_picture(), pose)
    plain = first_step(pipeline, setup, order, sampling, _OFF)
    found = {}
    for part in setup.parts:
        alone = first_step(pipeline, setup, order, sampling, replace(_OFF, **{_FIELDS[part]: 1.0}))
        found[part] = float((alone - plain).abs().max() / plain.abs().max().clamp(min=1e-12))
    return found


def check_effects(found: Mapping[str, float], scales: Scales, names: Mapping[str, str]) -> None:
    """Stop a run whose pictures would not be what they are said to be.

    Args:
        found: What `effects` gives.
        scales: The run's; a part at scale 0 is off on purpose.
        names: Part -> what it was loaded from, for the message.

    Raises:
        MisconfiguredRun: A part is without effect.
    """
    idle = [part for part, share in found.items() if not share > _ROUNDING and scales.of(part) != 0]
    if idle:
        told = " and ".join(f"the {part} ({names.get(part, 'unnamed')})" for part in idle)
        raise MisconfiguredRun(
            f"{told} changes nothing: images at its scale 1 and 0 are the same. Give one that was trained, and for this model."
        )


def _some_picture() -> Image.Image:
    """Of nothing: any content will do to see that content goes in."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC)
