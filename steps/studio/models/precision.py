"""Where a module computes, and in how many bits while it learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


@contextmanager
def half_precision(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 where that is safe; a CPU's own fast attention has a slow way back, so that the plain one is taken."""
    with torch.autocast(device.type, torch.bfloat16):
        if device.type != "cpu":
            yield
            return
        with sdpa_kernel(SDPBackend.MATH):
            yield
