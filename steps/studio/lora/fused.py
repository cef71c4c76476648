"""A LoRA on a frozen linear layer as one function: PEFT's sums without its steps in between, which cost small models most of their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn


def fuse_layers(unet: Any, adapter: str) -> int:
    """Let every linear layer with this adapter compute in one go; others stay PEFT's. Returns how many.

    For training alone: merging, disabling and scaling adapters have no effect on such a layer.
    """
    found = [module for module in unet.modules() if isinstance(module, Linear) and _is_plain(module, adapter)]
    for module in found:
        module.forward = _forward(module, adapter)
    return len(found)


def _is_plain(module: Any, adapter: str) -> bool:
    """Whether it is W x + b + scale B A x and nothing else, W and b frozen."""
    base, extra = module.get_base_layer(), getattr(module, "lora_variant", {})
    return (
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and list(module.lora_A) == [adapter]
        and isinstance(module.lora_dropout[adapter], nn.Identity)
        and adapter not in extra
        and module.lora_B[adapter].bias is None
    )


def _forward(module: Any, adapter: str) -> Callable[..., Tensor]:
    base, down, up = module.get_base_layer(), module.lora_A[adapter], module.lora_B[adapter]
    scale = float(module.scaling[adapter])

    def forward(inputs: Tensor, *_: Any, **__: Any) -> Tensor:
        found: Tensor = _LoraLinear.apply(inputs, base.weight, base.bias, down.weight, up.weight, scale)
        return found

    return forward


class _LoraLinear(torch.autograd.Function):
    """Inputs (..., I), W (O, I), b (O,) or None, A (R, I) and B (O, R) in float32, scale: outputs (..., O) in W's precision."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        inputs, weight, bias, down, up, scale = given
        kind = weight.dtype
        flat = inputs.reshape(-1, inputs.shape[-1]).to(kind)
        down, up = down.to(kind), up.to(kind)
        inner = flat @ down.T
        outputs: Tensor = flat @ weight.T if bias is None else torch.addmm(bias, flat, weight.T)
        outputs.addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, inner, weight, down, up)
        ctx.scale, ctx.shape, ctx.kind = scale, inputs.shape, inputs.dtype
        return outputs.view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        flat, inner, weight, down, up = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1]).to(weight.dtype)
        inward = grad @ up
        of_down = (inward.T @ flat).float().mul_(ctx.scale)
        of_up = (inner.T @ grad).T.float().mul_(ctx.scale)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = (grad @ weight).addmm_(inward, down, alpha=ctx.scale).view(ctx.shape).to(ctx.kind)
        return of_inputs, None, None, of_down, of_up, None
