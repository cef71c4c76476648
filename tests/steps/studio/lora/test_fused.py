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


def learning(pipeline: Any, kind: Any) -> Any:
    """A UNet with a LoRA on its attention, and its optimizer."""
    from peft import LoraConfig

    unet = pipeline.unet.requires_grad_(False).to(kind)
    torch.manual_seed(1)
    unet.add_adapter(LoraConfig(r=3, lora_alpha=5.0, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    learned = [value for value in unet.parameters() if value.requires_grad]
    for value in learned:
        value.data = value.data.float()
    return unet, torch.optim.AdamW(learned, lr=1e-2)


def losses(unet: Any, optimizer: Any, steps: int = 8) -> list[float]:
    """Of steps on the same noise."""
    config, kind = unet.config, unet.conv_in.weight.dtype
    draw = torch.Generator().manual_seed(2)
    side, pooled = config.sample_size, config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    noisy, target = torch.randn((2, 2, config.in_channels, side, side), generator=draw).to(kind)
    words = torch.randn((2, 77, config.cross_attention_dim), generator=draw).to(kind)
    given = {"text_embeds": torch.zeros(2, pooled, dtype=kind), "time_ids": torch.ones(2, 6)}
    found = []
    for _ in range(steps):
        said = unet(noisy, torch.tensor([10, 700]), words, added_cond_kwargs=given, return_dict=False)[0]
        loss = (said - target).float().pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize(("kind", "tolerance"), [("float64", 1e-5), ("float32", 1e-4), ("bfloat16", 0.02)])
@pytest.mark.parametrize("spelt_out", [False, True])
def test_a_whole_model_learns_as_pefts_does(kind: str, tolerance: float, spelt_out: bool) -> None:
    from steps.studio.models.diffusion import use_plain_attention
    from tests.tiny_models import fresh_pipeline

    torch.set_num_threads(1)
    expected = losses(*learning(fresh_pipeline(), torch.float64))
    unet, optimizer = learning(fresh_pipeline(), getattr(torch, kind))
    if spelt_out:
        use_plain_attention(unet)
    assert fused.fuse_layers(unet, "default") == sum(1 for _ in optimizer.param_groups[0]["params"]) // 2
    stacked = [isinstance(one, fused.FusedAttention) for one in unet.attn_processors.values()]
    assert stacked
    assert all(stacked) == any(stacked) == (kind != "float32")
    assert losses(unet, optimizer) == pytest.approx(expected, rel=tolerance)
    assert expected[-1] < 0.95 * expected[0]


def test_a_mask_is_left_to_the_processor_before_it() -> None:
    from tests.tiny_models import fresh_pipeline

    unet, _ = learning(fresh_pipeline(), torch.float64)
    fused.fuse_layers(unet, "default")
    name = next(name for name in unet.attn_processors if "attn2" in name)
    attention = unet.get_submodule(name.removesuffix(".processor"))
    hidden = torch.randn(2, 5, attention.to_q.in_features, dtype=torch.float64)
    words = torch.randn(2, 7, attention.to_k.in_features, dtype=torch.float64)
    mask = torch.zeros(2, 1, 7, dtype=torch.float64)
    mask[..., 3:] = -1e9
    masked = attention(hidden, encoder_hidden_states=words, attention_mask=mask)
    assert torch.allclose(masked, attention(hidden, encoder_hidden_states=words[:, :3]), atol=1e-6)
    assert not torch.allclose(masked, attention(hidden, encoder_hidden_states=words), atol=1e-3)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_what_is_more_than_a_plain_lora_stays_pefts(options: dict[str, Any]) -> None:
    assert fused.fuse_layers(adapted(**options), "default") == 0


def test_a_layer_that_learns_itself_stays_pefts() -> None:
    model = adapted()
    for name, value in model.named_parameters():
        if name == "0.base_layer.weight":
            value.requires_grad_(True)
    assert fused.fuse_layers(model, "default") == 1
