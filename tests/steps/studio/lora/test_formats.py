"""A LoRA in three layouts, each of which does what was trained, and no other."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ItemError
from steps.studio.lora.reading import WEIGHTS, check_safetensors, read_lora
from steps.studio.lora.settings import LoraSettings

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
formats = pytest.importorskip("steps.studio.lora.formats")


def about(**settings: Any) -> Any:
    given = LoraSettings(**{"rank": 4, "alpha": 2.0, **settings})
    facts = {"ss_seed": "0", "ss_num_train_images": "6"}
    return formats.About("Aldar / Köse", "ohwx", given, "a small model", (32, 32), "v_prediction", 64, 7, facts)


def state_of(fresh: Any, settings: LoraSettings, strength: float = 0.3) -> dict[str, Any]:
    """A LoRA that does something, on a copy of the UNet."""
    from peft.utils import get_peft_model_state_dict

    from steps.studio.lora.pupil import lora_config

    unet = copy.deepcopy(fresh.unet)
    unet.add_adapter(lora_config(settings))
    generator = torch.Generator().manual_seed(1)
    state = get_peft_model_state_dict(unet)
    return {name: strength * torch.randn(value.shape, generator=generator) for name, value in state.items()}


@pytest.mark.parametrize("alpha", [2.0, 4.0, 12.0, None])
def test_each_layout_does_what_was_trained(fresh: Any, tmp_path: Path, alpha: float | None) -> None:
    told = about(alpha=alpha)
    state = state_of(fresh, told.settings)
    formats.write_layouts(state, told, tmp_path)
    formats.prove(fresh, state, told, tmp_path)
    assert not getattr(fresh.unet, "peft_config", {})


@pytest.mark.parametrize("place", [WEIGHTS, "kohya/Aldar___Köse.safetensors", "peft"])
def test_each_layout_is_read_safely_and_does_the_same(fresh: Any, tmp_path: Path, place: str) -> None:
    told = about(alpha=1.0)
    state = state_of(fresh, told.settings)
    formats.write_layouts(state, told, tmp_path)
    question = formats._Question(fresh.unet)
    with formats._trained(fresh, state, told):
        wanted = question.answer()
    fresh.load_lora_weights(dict(read_lora(tmp_path / place).state))
    assert torch.allclose(question.answer(), wanted, atol=1e-5)


def lose_alpha(folder: Path, state: dict[str, Any], told: Any) -> None:
    wrong = formats.About(**{**vars(told), "settings": LoraSettings(rank=4)})
    formats.write_layouts(state, wrong, folder)


def lose_a_layer(folder: Path, state: dict[str, Any], told: Any) -> None:
    kept = {name: value for name, value in state.items() if "mid" not in name and "up_blocks.1" not in name}
    formats.write_layouts(kept, told, folder)


def change_a_layer(folder: Path, state: dict[str, Any], told: Any) -> None:
    first = next(iter(state))
    formats.write_layouts({**state, first: state[first] * 1.5}, told, folder)


@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters:RuntimeWarning")
@pytest.mark.parametrize("spoil", [lose_alpha, lose_a_layer, change_a_layer])
def test_a_layout_that_does_something_else_is_found(fresh: Any, tmp_path: Path, spoil: Any) -> None:
    told = about(alpha=2.0)
    state = state_of(fresh, told.settings)
    spoil(tmp_path, state, told)
    with pytest.raises(ItemError, match="layout is not what was trained: the UNet's answers differ by"):
        formats.prove(fresh, state, told, tmp_path)


def test_a_lora_that_does_nothing_is_found(fresh: Any, tmp_path: Path) -> None:
    told = about()
    state = state_of(fresh, told.settings, strength=0.0)
    formats.write_layouts(state, told, tmp_path)
    with pytest.raises(ItemError, match="the LoRA changes nothing"):
        formats.prove(fresh, state, told, tmp_path)


def test_files_say_what_they_are(fresh: Any, tmp_path: Path) -> None:
    told = about()
    formats.write_layouts(state_of(fresh, told.settings), told, tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        said = check_safetensors(path).metadata
        assert said["modelspec.sai_model_spec"] == "1.0.0"
        assert said["modelspec.architecture"] == "callsheet-embedded-xl/lora"
        assert said["modelspec.prediction_type"] == "v"
        assert said["modelspec.resolution"] == "64x64"
        assert (said["ss_network_dim"], said["ss_network_alpha"], said["ss_steps"]) == ("4", "2.0", "7")
        assert said["ss_num_train_images"] == "6"
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 2.0, "LORA")
    alphas = [name for name in check_safetensors(formats.kohya_file(tmp_path, told.title)).tensors if "alpha" in name]
    assert alphas
    assert all(name.startswith("lora_unet_") for name in alphas)


def test_a_lora_of_sdxl_says_so() -> None:
    told = formats.About(**{**vars(about()), "channels": (320, 640, 1280), "prediction": "epsilon"})
    said = formats.metadata({"a": torch.ones(2)}, told)
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert said["modelspec.prediction_type"] == "epsilon"
    assert said["ss_base_model_version"] == "sdxl_base_v1-0"


PROGRAM = """
import hashlib, torch
from steps.studio.lora.formats import About, diffusers_bytes
from steps.studio.lora.settings import LoraSettings
told = About("a", "b", LoraSettings(), "c", (32, 32), "epsilon", 64, 7, {"ss_x": "1"})
print(hashlib.sha256(diffusers_bytes({"x.lora_A.weight": torch.ones(8, 2)}, told)).hexdigest())
"""


def test_the_same_lora_is_the_same_bytes_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
