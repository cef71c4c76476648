"""Workflows as ComfyUI exports them: where values go, and what is named when they have no place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import MisconfiguredRun
from steps.backends.comfyui import Slot, Workflow

VALUES = {"prompt": "山田", "seed": 7, "steps": 9, "width": 64, "height": 96, "guidance": 2.0, "batch_size": 1}


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def ksampler(**changes: Any) -> dict[str, dict[str, Any]]:
    """A small workflow."""
    nodes = {
        "1": node("CheckpointLoaderSimple", ckpt_name="x.safetensors"),
        "2": node("CLIPTextEncode", text="", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="ugly", clip=["1", 1]),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=4),
        "6": node("KSampler", seed=1, steps=20, positive=["2", 0], negative=["3", 0], latent_image=["5", 0]),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0]),
    }
    return nodes | changes


# As ComfyUI's own template for FLUX has it: sampler, guider, noise and sigmas apart, seed and prompt in nodes of their own.
CUSTOM = {
    "1": node("UNETLoader", unet_name="flux1-dev.safetensors"),
    "2": node("CLIPTextEncodeFlux", clip_l="", t5xxl=["11", 0], guidance=3.5),
    "3": node("BasicGuider", model=["1", 0], conditioning=["2", 0]),
    "4": node("RandomNoise", noise_seed=["12", 0]),
    "5": node("BasicScheduler", scheduler="simple", steps=20, denoise=1.0, model=["1", 0]),
    "6": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
    "7": node(
        "SamplerCustomAdvanced",
        noise=["4", 0],
        guider=["3", 0],
        sampler=["9", 0],
        sigmas=["5", 0],
        latent_image=["6", 0],
    ),
    "8": node("SaveImage", images=["10", 0]),
    "9": node("KSamplerSelect", sampler_name="euler"),
    "10": node("VAEDecode", samples=["7", 0]),
    "11": node("PrimitiveString", value=""),
    "12": node("PrimitiveInt", value=0),
}


def read(folder: Path, nodes: Any) -> Workflow:
    path = folder / "workflow.json"
    path.write_text(nodes if isinstance(nodes, str) else json.dumps(nodes))
    return Workflow.read(str(path))


def test_values_go_where_the_sampler_has_them_from(tmp_path: Path) -> None:
    filled = read(tmp_path, ksampler()).filled(VALUES)
    assert filled["2"]["inputs"]["text"] == "山田"
    assert filled["3"]["inputs"]["text"] == "ugly"
    assert filled["5"]["inputs"] == {"width": 64, "height": 96, "batch_size": 1}
    assert (filled["6"]["inputs"]["seed"], filled["6"]["inputs"]["steps"]) == (7, 9)


def test_a_sampler_in_parts_is_understood(tmp_path: Path) -> None:
    filled = read(tmp_path, CUSTOM).filled(VALUES)
    assert (filled["2"]["inputs"]["clip_l"], filled["11"]["inputs"]["value"]) == ("山田", "山田")
    assert filled["2"]["inputs"]["t5xxl"] == ["11", 0]
    assert (filled["12"]["inputs"]["value"], filled["5"]["inputs"]["steps"]) == (7, 9)
    assert (filled["6"]["inputs"]["width"], filled["2"]["inputs"]["guidance"]) == (64, 2.0)


def test_a_second_pass_is_left_alone(tmp_path: Path) -> None:
    second = {
        "20": node("LatentUpscale", samples=["6", 0], width=2048, height=2048),
        "21": node("KSampler", seed=5, steps=3, positive=["2", 0], negative=["3", 0], latent_image=["20", 0]),
    }
    filled = read(tmp_path, ksampler(**second)).filled(VALUES)
    assert filled["6"]["inputs"]["seed"] == 7
    assert (filled["21"]["inputs"]["seed"], filled["20"]["inputs"]["width"]) == (5, 2048)


def test_a_latent_from_an_image_has_its_size(tmp_path: Path) -> None:
    image = {"20": node("LoadImage", image="a.png"), "5": node("VAEEncode", pixels=["20", 0], vae=["1", 2])}
    slots = read(tmp_path, ksampler(**image)).slots
    assert (slots.width, slots.height, slots.image) == ((), (), (Slot("20", "image"),))


def test_the_file_itself_is_not_changed_by_filling(tmp_path: Path) -> None:
    workflow = read(tmp_path, ksampler())
    workflow.filled(VALUES)
    assert workflow.filled({})["2"]["inputs"]["text"] == ""


def test_the_digest_is_of_the_workflow_and_not_of_its_layout(tmp_path: Path) -> None:
    one = read(tmp_path, ksampler()).digest
    assert read(tmp_path, json.dumps(ksampler(), indent=8, sort_keys=True)).digest == one
    assert read(tmp_path, ksampler(**{"1": node("CheckpointLoaderSimple", ckpt_name="y")})).digest != one


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "a workflow is an object of nodes"),
        ({}, "a workflow is an object of nodes"),
        ({"nodes": [], "links": []}, r"what ComfyUI saves for itself: export it for the API"),
        ({"1": {"type": "KSampler"}}, "node 1 has no class_type and inputs"),
        (ksampler(**{"7": node("VAEDecode", samples=["66", 0])}), r"node 7 \(VAEDecode\): samples comes from node 66"),
        (ksampler(**{"8": node("PreviewImage", images=["7", 0])}), "no SaveImage node"),
        (ksampler(**{"6": node("Sampler")}), "there must be one sampler that begins .* there are: none"),
        (
            ksampler(**{"9": node("KSampler", seed=1, steps=1, positive=["2", 0], latent_image=["5", 0])}),
            r"there are: node 6 \(KSampler\), node 9 \(KSampler\)",
        ),
        (
            ksampler(**{"5": node("MyLatent")}),
            r"node 5 \(MyLatent\) gives node 6 \(KSampler\) its latent_image, and has no",
        ),
        (
            ksampler(**{"2": node("Zeroed", conditioning=["3", 0]), "3": node("Empty")}),
            r"no place for the prompt: .* on the way node 6 \(KSampler\) > node 2 \(Zeroed\) > node 3 \(Empty\)",
        ),
        (ksampler(**{"2": node("Loop", conditioning=["2", 0])}), "no place for the prompt"),
        (
            ksampler(**{"2": node("CLIPTextEncode", text=["9", 0]), "9": node("Wildcards", pattern="x")}),
            r"text of node 2 \(CLIPTextEncode\) comes from node 9 \(Wildcards\), which has none of",
        ),
        (
            ksampler(**{"2": node("CLIPTextEncode", text=["9", 0]), "9": node("Same", text=["9", 0])}),
            r"text of node 9 \(Same\) comes from node 9",
        ),
        (
            ksampler(**{"6": node("KSampler", steps=1, positive=["2", 0], latent_image=["5", 0])}),
            "no place for the seed: none of seed, noise_seed",
        ),
        (
            ksampler(**{"20": node("LoadImage", image="a"), "21": node("LoadImage", image="b")}),
            r"node 20 \(LoadImage\) and node 21 \(LoadImage\) load images",
        ),
    ],
)
def test_a_workflow_that_can_not_be_filled_is_refused(tmp_path: Path, nodes: Any, message: str) -> None:
    with pytest.raises(MisconfiguredRun, match=message) as caught:
        read(tmp_path, nodes)
    assert "workflow.json" in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredRun, match="can't be read"):
        Workflow.read(str(tmp_path / "none.json"))
    with pytest.raises(MisconfiguredRun, match="can't be read"):
        Workflow.read(str(tmp_path))
    with pytest.raises(MisconfiguredRun, match="are no workflow"):
        read(tmp_path, " " * 1_000_001)
