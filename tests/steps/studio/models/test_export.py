"""The weights load through the classes that load real models, and each of them has an effect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import UserError
from steps.studio.models import layout, weights

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
PROMPT = "a portrait of a man with tan skin, wearing a red robe and a blue kalpak, in the desert"


def pixels(pipeline: Any, **options: Any) -> Any:
    image = pipeline(
        PROMPT,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
        **options,
    ).images[0]
    assert image.shape == (64, 64, 3)
    return image


def a_picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def test_the_weights_fit_and_the_manifest_lists_every_file(exported: Path) -> None:
    manifest = json.loads((exported / layout.MANIFEST).read_text())
    there = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {entry["path"] for entry in manifest["files"]} == there - {layout.MANIFEST}
    assert sum(entry["bytes"] for entry in manifest["files"]) <= layout.LARGEST_TOTAL
    assert all(entry["bytes"] < layout.LARGEST_FILE for entry in manifest["files"])
    assert manifest["licence"] == "Apache-2.0"
    assert len(manifest["recipe"]["digest"]) == 64
    assert {model["name"] for model in manifest["models"]} >= {"vae", "clip", "controlnet", "embedder"}
    assert weights.checked(exported) == exported


def test_a_changed_or_missing_file_is_named(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(exported, folder)
    reader = folder / layout.READER
    data = bytearray(reader.read_bytes())
    data[-1] ^= 1
    reader.write_bytes(data)
    with pytest.raises(UserError, match=r"reader.safetensors is not the file"):
        weights.checked(folder)
    reader.unlink()
    with pytest.raises(UserError, match=r"reader.safetensors is missing"):
        weights.checked(folder)
    with pytest.raises(UserError, match=r"callsheet run embedded_models"):
        weights.checked(tmp_path / "nothing")


def test_the_pipeline_draws_and_its_adapter_and_controlnet_have_an_effect(exported: Path) -> None:
    plain = pixels(weights.load_pipeline(exported))
    assert np.array_equal(plain, pixels(weights.load_pipeline(exported)))
    adapted = weights.load_pipeline(exported, adapter=True)
    adapted.set_ip_adapter_scale(0.0)
    assert np.array_equal(plain, pixels(adapted, ip_adapter_image=a_picture()))
    adapted.set_ip_adapter_scale(1.0)
    one, other = (pixels(adapted, ip_adapter_image=a_picture(seed)) for seed in (1, 2))
    assert not np.array_equal(one, plain)
    assert not np.array_equal(one, other)
    posed = weights.load_pipeline(exported, pose=True)
    assert np.abs(plain - pixels(posed, image=a_picture(), controlnet_conditioning_scale=0.0)).max() < 1e-4
    assert not np.array_equal(pixels(posed, image=a_picture(1)), pixels(posed, image=a_picture(2)))


def test_a_lora_loads_and_leaves_again(exported: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = weights.load_pipeline(exported)
    plain = pixels(pipeline)
    teacher = weights.load_pipeline(exported)
    teacher.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_k", "to_v"], init_lora_weights=False))
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(teacher.unet))
    pipeline.load_lora_weights(str(tmp_path))
    assert not np.array_equal(plain, pixels(pipeline))
    pipeline.unload_lora_weights()
    assert np.array_equal(plain, pixels(pipeline))


def test_the_shipped_unet_computes_what_the_trained_one_does(exported: Path, parts: Any) -> None:
    from steps.studio.models.diffusion import set_adapter_scale, time_ids
    from steps.studio.models.tokens import tokens_of

    pipeline = weights.load_pipeline(exported, adapter=True)
    noise, times = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 20])
    reference = torch.randn(2, 1, 128, generator=torch.Generator().manual_seed(1))
    set_adapter_scale(parts.diffusion.unet, 1.0)
    with torch.no_grad():
        words, pooled = parts.diffusion.text(tokens_of([PROMPT, "a woman"]))
        given = {"time_ids": time_ids(2), "text_embeds": pooled, "image_embeds": [reference]}
        trained = parts.diffusion.unet(noise, times, words, added_cond_kwargs=given).sample
        theirs, _, theirs_pooled, _ = pipeline.encode_prompt([PROMPT, "a woman"], do_classifier_free_guidance=False)
        given["text_embeds"] = theirs_pooled
        shipped = pipeline.unet(noise, times, theirs, added_cond_kwargs=given).sample
    # Half precision is all that may differ.
    assert (words - theirs).abs().max() < 0.02
    assert (trained - shipped).abs().max() < 0.02 * trained.abs().max()


def test_clip_tells_of_pictures_and_words(exported: Path, parts: Any) -> None:
    from steps.studio.models.tensors import to_tensor
    from steps.studio.models.tokens import tokens_of

    model, tokenizer, processor = weights.load_clip(exported)
    image = a_picture()
    seen = processor(images=[image], return_tensors="pt").pixel_values
    # What training fed it, to a thousandth.
    assert (seen - to_tensor(np.asarray(image)[None])).abs().max() < 1e-3
    words = tokenizer([PROMPT], padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(words, tokens_of([PROMPT]))
    with torch.no_grad():
        found = model.get_image_features(pixel_values=seen).pooler_output
        trained = parts.clip.get_image_features(pixel_values=seen).pooler_output
    assert (found - trained).abs().max() < 0.02 * trained.abs().max()


@pytest.mark.parametrize("pack", layout.FACE_PACKS)
def test_face_analysis_loads_both_packs(exported: Path, parts: Any, pack: str) -> None:
    app = weights.load_faces(exported, pack)
    assert set(app.models) == {"detection", "recognition"}
    crop = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    found = app.models["recognition"].get_feat(crop)
    embedder = parts.embedder if pack == layout.FACE_PACKS[0] else parts.second_embedder
    with torch.no_grad():
        images = torch.from_numpy(crop[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        wanted = embedder(images).numpy()
    assert found.shape == (1, 512)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    with pytest.raises(UserError, match="no face models there"):
        weights.load_faces(exported, "absent")


def test_the_reader_comes_back(exported: Path, parts: Any) -> None:
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        told, wanted = weights.load_reader(exported)(images).told, parts.reader(images).told
    assert (told - wanted).abs().max() < 0.02
