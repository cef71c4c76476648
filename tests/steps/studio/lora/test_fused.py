"""The fused layers compute what PEFT's do, forwards and backwards."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
fused = pytest.importorskip("steps.studio.lora.fused")


def adapted(**options: Any) -> Any:
    """Two linear layers, with and without bias, that PEFT has given a LoRA whose second matrix is not 0."""
    from peft import LoraConfig, inject_adapter_in_model
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.SiLU(), nn.Linear(10, 4, bias=False)).requires_grad_(False)
    given = {"r": 3, "lora_alpha": 5.0, "target_modules": ["0", "2"], **options}
    inject_adapter_in_model(LoraConfig(**given), model)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value)
    return model


def answers(model: Any, inputs: Any) -> list[Any]:
    """Outputs, and the gradients of the inputs and of all that learns."""
    inputs = inputs.clone().requires_grad_()
    outputs = model(inputs)
    outputs.float().pow(2).sum().backward()
    return [outputs, inputs.grad, *(value.grad for value in model.parameters() if value.requires_grad)]


@pytest.mark.parametrize(("kind", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.06)])
def test_it_is_what_peft_computes(kind: str, tolerance: float) -> None:
    kept, inputs = adapted(), torch.randn(2, 7, 6)
    expected = answers(kept, inputs)
    model = copy.deepcopy(adapted())
    for value in model.parameters():
        if not value.requires_grad:
            value.data = value.data.to(getattr(torch, kind))
    assert fused.fuse_layers(model, "default") == 2
    found = answers(model, inputs.to(getattr(torch, kind)))
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).detach().abs().max() / other.detach().abs().max()) < tolerance
    # The LoRA's own gradients are always exact.
    assert {value.dtype for value in found[2:]} == {torch.float32}


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_is_more_than_a_plain_lora_stays_pefts(options: dict[str, Any]) -> None:
    assert fused.fuse_layers(adapted(**options), "default") == 0


def test_a_layer_that_learns_itself_stays_pefts() -> None:
    model = adapted()
    for name, value in model.named_parameters():
        if name == "0.base_layer.weight":
            value.requires_grad_(True)
    assert fused.fuse_layers(model, "default") == 1
