"""Writing finished models as files that the real classes load: fp16 safetensors, ONNX, and a manifest of all of it."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionXLPipeline, UNet2DConditionModel
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, CLIPModel

from runner import files
from runner.errors import UserError
from steps.studio.models import diffusion, domain, faces
from steps.studio.models.layout import (
    ADAPTER,
    CLIP,
    CONTROLNET,
    FACE_PACKS,
    FACES,
    LARGEST_FILE,
    LARGEST_TOTAL,
    MANIFEST,
    READER,
    SDXL,
)
from steps.studio.models.reader import Reader
from steps.studio.models.tokens import new_tokenizer, save_tokenizer
from steps.studio.models.weights import quiet

FORMAT = 1
LICENCE = "Apache-2.0"
_SHARD = "9MB"
_SOURCES = ("steps.studio", "steps.studio.models")
_LICENCE_TEXT = f"""These weights were trained from nothing on pictures that Callsheet draws itself; no photograph and no person's likeness went in.
They are licensed as Callsheet is: {LICENCE}, commercial use included.
SPDX-License-Identifier: {LICENCE}
"""


@dataclass(frozen=True)
class Parts:
    """Everything that is shipped, as it was trained (float32)."""

    vae: AutoencoderKL
    diffusion: diffusion.DiffusionInTraining
    controlnet: ControlNetModel
    clip: CLIPModel
    detector: nn.Module
    embedder: nn.Module
    second_embedder: nn.Module
    reader: Reader


def write_weights(parts: Parts, folder: Path, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Write all parts and the manifest below `folder`; returns the manifest.

    Args:
        parts: The models.
        folder: Made if missing; files of the same names are replaced.
        trained: What the manifest says of the training (seed, steps, figures).

    Raises:
        UserError: A file or all files together are larger than may be shipped.
    """
    quiet()
    _write_sdxl(parts, folder / SDXL)
    _half(parts.controlnet).save_pretrained(folder / CONTROLNET, safe_serialization=True)
    files.write_bytes(folder / ADAPTER, save(adapter_state(parts.diffusion.unet)))
    _write_clip(parts.clip, folder / CLIP)
    for pack, embedder in zip(FACE_PACKS, (parts.embedder, parts.second_embedder), strict=True):
        write_face_pack(parts.detector, embedder, folder / FACES / "models" / pack)
    weights = {name: value.half().contiguous() for name, value in parts.reader.state_dict().items()}
    files.write_bytes(folder / READER, save(weights))
    files.write_text(folder / "LICENSE", _LICENCE_TEXT)
    document = _manifest(folder, parts, trained)
    files.write_json(folder / MANIFEST, document)
    return document


def write_face_pack(detector: nn.Module, embedder: nn.Module, folder: Path) -> None:
    """A folder that `FaceAnalysis` loads: detector, embedder, and the licence that it asks for."""
    side = faces.DETECTED
    axes = {"input.1": {2: "height", 3: "width"}}
    files.write_bytes(folder / "detector.onnx", _onnx(detector, torch.zeros(1, 3, side, side), "input.1", axes))
    crop = torch.zeros(1, 3, faces.CROP, faces.CROP)
    files.write_bytes(folder / "embedder.onnx", _onnx(embedder, crop, "input.1", {"input.1": {0: "faces"}}))
    files.write_text(folder / "MODEL.LICENSE", _LICENCE_TEXT)


def recipe_digest() -> str:
    """The SHA-256 of the code that draws, trains and exports: other code, other weights."""
    digest = hashlib.sha256()
    for package in _SOURCES:
        for source in sorted(resources.files(package).iterdir(), key=lambda found: found.name):
            if source.name.endswith(".py"):
                digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def plain_unet(trained: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet without its adapter."""
    unet = diffusion.new_unet(trained.config.block_out_channels, trained.config.in_channels)
    names = unet.state_dict().keys()
    unet.load_state_dict({name: value for name, value in trained.state_dict().items() if name in names})
    return unet


def adapter_state(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The adapter's weights under the names of the published IP-Adapters."""
    projection = unet.encoder_hid_proj.image_projection_layers[0]
    state = {
        "image_proj.proj.weight": projection.image_embeds.weight,
        "image_proj.proj.bias": projection.image_embeds.bias,
        "image_proj.norm.weight": projection.norm.weight,
        "image_proj.norm.bias": projection.norm.bias,
    }
    processors = list(unet.attn_processors.values())
    for number in diffusion.attended(unet):
        state[f"ip_adapter.{number}.to_k_ip.weight"] = processors[number].to_k_ip[0].weight
        state[f"ip_adapter.{number}.to_v_ip.weight"] = processors[number].to_v_ip[0].weight
    return {name: value.detach().half().contiguous() for name, value in state.items()}


def _write_sdxl(parts: Parts, folder: Path) -> None:
    pipeline = StableDiffusionXLPipeline(
        vae=_half(parts.vae),
        text_encoder=_half(parts.diffusion.first),
        text_encoder_2=_half(parts.diffusion.second),
        tokenizer=new_tokenizer(),
        tokenizer_2=new_tokenizer(),
        unet=_half(plain_unet(parts.diffusion.unet)),
        scheduler=diffusion.new_scheduler(),
        # Nothing said was learned as an empty prompt, not as zeros.
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=_SHARD)
    for name in ("tokenizer", "tokenizer_2"):
        save_tokenizer(folder / name)


def _write_clip(clip: CLIPModel, folder: Path) -> None:
    _half(clip).save_pretrained(folder)
    save_tokenizer(folder)
    side = {"height": domain.SIZE, "width": domain.SIZE}
    half = [0.5, 0.5, 0.5]
    CLIPImageProcessorPil(
        size={"shortest_edge": domain.SIZE}, crop_size=side, image_mean=half, image_std=half
    ).save_pretrained(folder)


def _half(module: Any) -> Any:
    """A copy in float16."""
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False).to(torch.float16)


def _onnx(module: nn.Module, example: Tensor, name: str, axes: Mapping[str, Mapping[int, str]]) -> bytes:
    """The module as ONNX: it computes in float32, its weights lie in float16."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs a package of its own.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (example,), buffer, input_names=[name], dynamic_axes=axes, opset_version=17, dynamo=False
        )
    model = onnx.load_from_string(buffer.getvalue())
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            continue
        casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def _manifest(folder: Path, parts: Parts, trained: Mapping[str, Any]) -> dict[str, Any]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    listed = [
        {"path": str(path.relative_to(folder)), "sha256": files.sha256_of(path), "bytes": path.stat().st_size}
        for path in paths
    ]
    _check_sizes(listed)
    models = {name: getattr(parts, name) for name in parts.__dataclass_fields__}
    return {
        "format": FORMAT,
        "licence": LICENCE,
        "recipe": {"name": "embedded_models", "digest": recipe_digest()},
        "trained": dict(trained),
        "models": [
            {
                "name": name,
                "class": type(model).__name__,
                "parameters": sum(value.numel() for value in model.parameters()),
            }
            for name, model in models.items()
        ],
        "files": listed,
    }


def _check_sizes(listed: list[dict[str, Any]]) -> None:
    for entry in listed:
        if entry["bytes"] >= LARGEST_FILE:
            raise UserError(
                f"{entry['path']}: {entry['bytes']:,} bytes: a file of the weights must be under {LARGEST_FILE:,}"
            )
    total = sum(entry["bytes"] for entry in listed)
    if total > LARGEST_TOTAL:
        raise UserError(f"the weights have {total:,} bytes: together they may have {LARGEST_TOTAL:,}")
