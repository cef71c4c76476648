"""Loading the embedded models: through the classes that load real ones, from the folder that ships or any like it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.studio.models import layout

MAKE = "callsheet run embedded_models"


def shipped() -> Path:
    """The folder of the weights that ship with Callsheet."""
    return Path(str(resources.files("steps.studio"))) / "weights"


def checked(folder: Path) -> Path:
    """The folder, once every file of its manifest is there and is the one that was written.

    Raises:
        UserError: Something is missing or other than the manifest says.
    """
    if not (folder / layout.MANIFEST).is_file():
        raise UserError(f"{folder}: no embedded models there: make them with: {MAKE}")
    for entry in files.read_json(folder / layout.MANIFEST)["files"]:
        path = files.under(folder, entry["path"], f"{folder / layout.MANIFEST}, files")
        if not path.is_file():
            raise UserError(f"{path} is missing: install Callsheet again, or make it with: {MAKE}")
        if files.sha256_of(path) != entry["sha256"]:
            raise UserError(
                f"{path} is not the file that the manifest lists: install Callsheet again, or make it with: {MAKE}"
            )
    return folder


def quiet() -> None:
    """No progress bars and no false alarms while models load."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def load_pipeline(folder: Path, *, pose: bool = False, adapter: bool = False) -> Any:
    """`StableDiffusionXLPipeline` in float32 on the CPU; with `pose` its ControlNet form, with `adapter` the IP-Adapter loaded."""
    import torch
    from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline

    quiet()
    options: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "add_watermarker": False}
    if pose:
        controlnet = ControlNetModel.from_pretrained(
            folder / layout.CONTROLNET, dtype=torch.float32, local_files_only=True
        )
        pipeline = StableDiffusionXLControlNetPipeline.from_pretrained(
            folder / layout.SDXL, controlnet=controlnet, **options
        )
    else:
        pipeline = StableDiffusionXLPipeline.from_pretrained(folder / layout.SDXL, **options)
    pipeline.set_progress_bar_config(disable=True)
    if adapter:
        load_adapter(pipeline, folder)
    return pipeline


def load_adapter(pipeline: Any, folder: Path) -> None:
    """`load_ip_adapter` of the folder's own adapter and image encoder."""
    pipeline.load_ip_adapter(
        str(folder), subfolder="", weight_name=layout.ADAPTER, image_encoder_folder=layout.CLIP, local_files_only=True
    )


def load_clip(folder: Path) -> tuple[Any, Any, Any]:
    """`CLIPModel`, its tokenizer and its image processor."""
    import torch
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    quiet()
    place = folder / layout.CLIP
    model = CLIPModel.from_pretrained(place, dtype=torch.float32, local_files_only=True).eval()
    return (
        model,
        CLIPTokenizer.from_pretrained(place, local_files_only=True),
        CLIPImageProcessorPil.from_pretrained(place),
    )


def load_faces(folder: Path, pack: str = layout.FACE_PACKS[0]) -> Any:
    """`FaceAnalysis` with the detector and one embedder, ready for images of about 64 pixels (BGR arrays).

    Raises:
        UserError: The pack is not there; insightface would try to download it.
    """
    if not any((folder / layout.FACES / "models" / pack).glob("*.onnx")):
        raise UserError(f"{folder / layout.FACES / 'models' / pack}: no face models there: make them with: {MAKE}")
    from insightface.app import FaceAnalysis

    found = FaceAnalysis(
        name=pack,
        root=str(folder / layout.FACES),
        allowed_modules=["detection", "recognition"],
        providers=["CPUExecutionProvider"],
    )
    found.prepare(ctx_id=-1, det_size=(128, 128))
    return found


def load_reader(folder: Path) -> Any:
    """The reader (`steps.studio.models.reader.Reader`) in float32."""
    from safetensors.torch import load_file

    from steps.studio.models.reader import Reader

    model = Reader()
    model.load_state_dict({name: value.float() for name, value in load_file(folder / layout.READER).items()})
    return model.requires_grad_(False).eval()
