"""A LoRA on frozen linear layers as one function: PEFT's sums without its steps in between, which cost small models most of their time.

Layers that read the same input (queries, keys and values of an attention) are one product, so that it is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional

Projection = Callable[..., Tensor]
# What an attention may have beside its four layers; one that has any of them stays diffusers'.
_EXTRAS = ("group_norm", "spatial_norm", "norm_cross", "norm_q", "norm_k", "added_kv_proj_dim")


def fuse_layers(unet: Any, adapter: str) -> int:
    """Let every linear layer with this adapter compute in one go; others stay PEFT's. Returns how many.

    For training alone: merging, disabling, scaling and moving adapters have no effect on such a layer.
    """
    found = [module for module in unet.modules() if _is_plain(module, adapter)]
    for module in found:
        module.forward = _together([module], adapter)
    for module in unet.modules():
        if isinstance(module, Attention) and _can_be_fused(module, adapter):
            module.set_processor(FusedAttention(module, adapter))
        if isinstance(module, GEGLU) and _is_frozen(module.proj) and module.proj.weight.device.type == "cpu":
            module.forward = _gated(module.proj)
    return len(found)


class FusedAttention:
    """Attention whose layers that read the same input are one product. A mask is left to the processor before it."""

    def __init__(self, attention: Any, adapter: str) -> None:
        self._before = attention.processor
        # As `use_plain_attention` chose.
        self._is_spelt_out = isinstance(self._before, AttnProcessor)
        layers = [attention.to_q, attention.to_k, attention.to_v]
        self._looks_elsewhere = attention.is_cross_attention
        groups = [layers[:1], layers[1:]] if self._looks_elsewhere else [layers]
        self._projections = [_together(group, adapter) for group in groups]

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """As diffusers' processors: (N, L, D), and (N, M, E) or None for itself."""
        if attention_mask is not None or (encoder_hidden_states is None) == self._looks_elsewhere:
            kept: Tensor = self._before(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return kept
        given = (hidden_states, encoder_hidden_states)
        parts = [part(inputs) for part, inputs in zip(self._projections, given, strict=False)]
        query, key, value = (head for part in parts for head in _heads(part, attn.to_q.out_features, attn.heads))
        attend = _spelt_out if self._is_spelt_out else functional.scaled_dot_product_attention
        seen = attend(query, key, value, scale=attn.scale).transpose(1, 2).flatten(2)
        outputs: Tensor = attn.to_out[1](attn.to_out[0](seen))
        return outputs


def _heads(projected: Tensor, width: int, heads: int) -> Sequence[Tensor]:
    """Projections side by side (N, L, P x D), each as (N, H, L, D / H)."""
    number, length, _ = projected.shape
    return projected.view(number, length, -1, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)


def _spelt_out(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """softmax(scale Q K') V by plain products, (N, H, L, D) each."""
    count, heads, length, _ = query.shape
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    nothing = query.new_empty(1).expand(len(query), length, key.shape[1])
    scores = torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1), value).unflatten(0, (count, heads))


def _can_be_fused(attention: Any, adapter: str) -> bool:
    """Whether it is plain attention. In float32 it stays as it is, for there one large product takes longer than three."""
    layers = (attention.to_q, attention.to_k, attention.to_v)
    return (
        type(attention.processor) in (AttnProcessor, AttnProcessor2_0)
        and all(_is_plain(layer, adapter) for layer in layers)
        and len({(layer.out_features, layer.scaling[adapter], layer.get_base_layer().bias) for layer in layers}) == 1
        and attention.to_q.weight.dtype != torch.float32
        and not any(getattr(attention, name, None) for name in _EXTRAS)
        and not (attention.residual_connection or attention.upcast_attention or attention.upcast_softmax)
        and attention.rescale_output_factor == 1
    )


def _is_plain(module: Any, adapter: str) -> bool:
    """Whether it is W x + b + scale B A x and nothing else, W and b frozen."""
    if not isinstance(module, Linear):
        return False
    base, extra = module.get_base_layer(), getattr(module, "lora_variant", {})
    return (
        _is_frozen(base)
        and list(module.lora_A) == [adapter]
        and isinstance(module.lora_dropout[adapter], nn.Identity)
        and adapter not in extra
        and module.lora_B[adapter].bias is None
    )


def _is_frozen(layer: Any) -> bool:
    return type(layer) is nn.Linear and not layer.weight.requires_grad


def _gated(layer: nn.Linear) -> Projection:
    """What GEGLU makes of its frozen layer."""
    weights, biases = layer.weight.data.chunk(2), layer.bias.data.chunk(2)

    def forward(inputs: Tensor) -> Tensor:
        found: Tensor = _Gated.apply(inputs, *weights, *biases)
        return found

    return forward


def _together(modules: Sequence[Any], adapter: str) -> Projection:
    """What plain layers of one input make of it, side by side; several have no bias."""
    bases = [module.get_base_layer() for module in modules]
    weight, bias = bases[0].weight, bases[0].bias
    if len(bases) > 1:
        weight = torch.cat([base.weight.data for base in bases])
        # Not a second time in memory.
        for base, part in zip(bases, weight.split([base.out_features for base in bases]), strict=True):
            base.weight.data = part
    learned = [module.lora_A[adapter].weight for module in modules] + [
        module.lora_B[adapter].weight for module in modules
    ]
    scale = float(modules[0].scaling[adapter])

    def forward(inputs: Tensor, *_: Any, **__: Any) -> Tensor:
        found: Tensor = _LoraLinear.apply(inputs, weight, bias, scale, *learned)
        return found

    return forward


class _LoraLinear(torch.autograd.Function):
    """Inputs (..., I), W (O, I), b (O,) or None, scale, each A (R, I), each B (O', R) in float32: outputs (..., O) in W's precision."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        inputs, weight, bias, scale, *learned = given
        kind, downs, ups = weight.dtype, learned[: len(learned) // 2], learned[len(learned) // 2 :]
        flat = inputs.reshape(-1, inputs.shape[-1]).to(kind)
        down = (downs[0] if len(downs) == 1 else torch.cat(downs)).to(kind)
        # Each layer's columns meet its own rows alone.
        up = (ups[0] if len(ups) == 1 else torch.block_diag(*ups)).to(kind)
        inner = flat @ down.T
        outputs: Tensor = flat @ weight.T if bias is None else torch.addmm(bias, flat, weight.T)
        outputs.addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, inner, weight, down, up)
        ctx.scale, ctx.shape, ctx.kind, ctx.parts = scale, inputs.shape, inputs.dtype, [part.shape for part in ups]
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
        return of_inputs, None, None, None, *of_down.split([rank for _, rank in ctx.parts]), *_blocks(of_up, ctx.parts)


def _blocks(whole: Tensor, shapes: Sequence[Sequence[int]]) -> Sequence[Tensor]:
    """The blocks on a matrix's diagonal."""
    rows, columns = zip(*shapes, strict=True)
    return [part[:, sum(columns[:place]) : sum(columns[: place + 1])] for place, part in enumerate(whole.split(rows))]


class _Gated(torch.autograd.Function):
    """(V x + a) gelu(W x + b) of inputs (..., I), V and W (O, I), a and b (O,): (..., O).

    Each half in memory of its own, for a CPU takes twice as long over every second half of rows.
    """

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        inputs, weight, gate_weight, bias, gate_bias = given
        flat = inputs.reshape(-1, inputs.shape[-1])
        value, gate = torch.addmm(bias, flat, weight.T), torch.addmm(gate_bias, flat, gate_weight.T)
        opened = functional.gelu(gate)
        ctx.save_for_backward(value, gate, opened, weight, gate_weight)
        ctx.shape = inputs.shape
        return (value * opened).view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        value, gate, opened, weight, gate_weight = ctx.saved_tensors
        grad = grads[0].reshape(value.shape)
        of_gate = torch.ops.aten.gelu_backward(value * grad, gate)
        of_inputs = ((opened * grad) @ weight).addmm_(of_gate, gate_weight)
        return of_inputs.view(ctx.shape), None, None, None, None
