"""Storyboards without models: a scripted diffusion model, CLIP and faces, which tell an image's seed by its colour; and small real LoRAs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from steps.backends.protocols import Answer, Face, Question
from steps.library.shots import Shot
from steps.studio.frames.setups import seed_of
from steps.studio.models import layout, weights

Spot = tuple[int, int]
"""Frame and attempt."""
FACE = Face((4.0, 4.0, 12.0, 12.0), 0.9, np.ones(4, np.float32) / 2)
SMALL = Face((0.0, 0.0, 3.0, 3.0), 0.99, np.ones(4, np.float32) / 2)
LEAVING = Face((-3.0, 2.0, 8.0, 13.0), 0.8, np.ones(4, np.float32) / 2)


def coloured(seed: int, side: int = 16) -> Image.Image:
    """An image that tells its seed's last 24 bits."""
    return Image.new("RGB", (side, side), (seed & 255, seed >> 8 & 255, seed >> 16 & 255))


def told_by(image: Image.Image, frames: int = 20, attempts: int = 6, seed: int = 0) -> Spot | None:
    """Which frame and attempt an image is; None for one that is not of this seed."""
    red, green, blue = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    wanted = red | green << 8 | blue << 16
    spots = ((frame, attempt) for frame in range(1, frames + 1) for attempt in range(attempts))
    return next((spot for spot in spots if seed_of(seed, *spot) & 0xFFFFFF == wanted), None)


class ScriptedPipeline:
    """What is called like a diffusers pipeline, and says how it was called."""

    _execution_device = "cpu"

    def __init__(self, model: ScriptedModel, parts: tuple[str, ...]) -> None:
        self._model = model
        self.parts = parts
        self.scales: dict[str, float] = {}

    def __call__(self, **options: Any) -> Any:
        import torch

        prompts = options["prompt"]
        if (error := self._model.fails(self, len(prompts))) is not None:
            raise error
        self._model.calls.append({"parts": self.parts, **options})
        if options.get("output_type") == "latent":
            worth = sum(self.scales.values()) + options.get("controlnet_conditioning_scale", 0.0)
            return _Made([torch.ones(1, 2, 2) + worth * self._model.effect])
        return _Made([coloured(generator.initial_seed()) for generator in options["generator"]])

    def load_lora_weights(self, state: Any, adapter_name: str) -> None:
        self.parts = (*self.parts, adapter_name)
        layers = [SimpleNamespace(lora_A={adapter_name}) for name in state if "lora_A" in name]
        self.unet = SimpleNamespace(modules=lambda: layers)

    def get_list_adapters(self) -> dict[str, list[str]]:
        return {"unet": list(self.parts)}

    def set_adapters(self, names: list[str], scales: list[float]) -> None:
        self.scales |= dict(zip(names, scales, strict=True))

    def set_ip_adapter_scale(self, scale: float) -> None:
        self.scales["adapter"] = scale

    def prepare_ip_adapter_image_embeds(self, images: list[Image.Image], *_rest: Any) -> list[Any]:
        import torch

        red = images[0].convert("RGB").getpixel((0, 0))[0]  # type: ignore[index]
        return [torch.tensor([[[0.0]], [[float(red)]]])]

    def enable_model_cpu_offload(self) -> None:
        self._model.offloaded = True

    @staticmethod
    def tokenizer(text: str, **_options: Any) -> dict[str, list[int]]:
        return {"input_ids": [0] * (len(text.split()) + 2)}


ScriptedPipeline.tokenizer.model_max_length = 77  # type: ignore[attr-defined]


@dataclass
class _Made:
    images: list[Any]


@dataclass
class ScriptedModel:
    """A diffusion backend.

    Attributes:
        room: Images that fit into memory at once, by whether the pipeline has an adapter.
        effect: How much each part changes an image.
    """

    room: Callable[[bool], int] = lambda _adapter: 100
    effect: float = 0.5
    device: str = "cpu"
    gpu_usd_per_hour: float | None = None
    identity: str = "scripted diffusion"
    side: int = 16
    steps: int = 2
    guidance: float = 3.0
    offloaded: bool = False
    loaded: list[tuple[str, ...]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        parts = (*(("pose",) if pose else ()), *(("adapter",) if adapter else ()))
        self.loaded.append(parts)
        return ScriptedPipeline(self, parts)

    def fails(self, pipeline: ScriptedPipeline, images: int) -> Exception | None:
        import torch

        short = images > self.room("adapter" in pipeline.parts)
        return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB") if short else None

    def pose(self, shot: Shot, side: int) -> Image.Image:
        return Image.new("RGB", (side, side), "white" if shot.gesture == "riding" else "gray")

    def prepare(self) -> None:
        """All is there."""

    @property
    def drawn(self) -> list[list[int]]:
        """The seeds of each batch of images."""
        return [[one.initial_seed() for one in call["generator"]] for call in self.calls if "output_type" not in call]


@dataclass
class ScriptedClip:
    """A CLIP backend that knows how each attempt at a frame scores: `script`, else `otherwise`, as a cosine."""

    script: Mapping[Spot, float] = field(default_factory=dict)
    otherwise: float = 0.4
    identity: str = "scripted clip"
    prefix: str = "A photo depicts"
    threshold: float = 0.7
    limit: int = 77
    asked: list[str] = field(default_factory=list)

    def images(self, images: Sequence[Image.Image]) -> Any:
        found = [self.script.get(told_by(image) or (0, 0), self.otherwise) for image in images]
        return np.array([[cosine, (1 - cosine**2) ** 0.5] for cosine in found], np.float32)

    def texts(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return np.array([[1.0, 0.0]] * len(texts), np.float32)

    def tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def prepare(self) -> None:
        """All is there."""


@dataclass
class ScriptedFaces:
    """A face backend that knows who each attempt at a frame shows: `script`, else one face."""

    script: Mapping[Spot, Sequence[Face]] = field(default_factory=dict)
    elsewhere: Sequence[Face] = (FACE,)
    identity: str = "scripted faces"

    def find(self, image: Image.Image) -> list[Face]:
        spot = told_by(image)
        return list(self.elsewhere if spot is None else self.script.get(spot, (FACE,)))

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        return image.crop((0, 0, 8, 8))

    def prepare(self) -> None:
        """All is there."""


@dataclass
class ScriptedLanguage:
    """A language backend that knows one tale."""

    scenes: int = 6
    identity: str = "scripted language"
    asked: list[Question] = field(default_factory=list)

    def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        words = {"gesture": "standing", "facing": "front", "side": "middle"}
        rows = [
            {"text": f"{{who}} in scene {number}", "shot": "portrait" if number == 1 else "full", **words}
            for number in range(1, self.scenes + 1)
        ]
        return Answer({"title": "A told tale", "scenes": rows, "notes": ""}, self.identity)

    def estimate(self, question: Question) -> float | None:
        return 0.0


def write_story(path: Path, scenes: int = 3) -> Path:
    """A story file: a portrait, then a waving and a riding full figure in turn."""
    rows = [
        'title: "A story"',
        "scenes:",
        '  - {text: "a portrait of {who}, facing front, at the market", shot: portrait}',
    ]
    for number in range(2, scenes + 1):
        gesture = ("waving", "riding")[number % 2]
        rows.append(
            f'  - {{text: "a wide shot of {{who}}, {gesture}, in place {number}", shot: full, gesture: {gesture}}}'
        )
    path.write_text("\n".join(rows) + "\n")
    return path


def shipped_weights() -> Path:
    """The folder of the embedded models; skips the test where it or torch is missing."""
    pytest.importorskip("torch", reason="the models' packages are not installed")
    folder = weights.shipped()
    if not (folder / layout.MANIFEST).is_file():
        pytest.skip("the embedded models are not there")
    return folder


def write_lora(
    folder: Path, *, strength: float = 0.3, rank: int = 2, targets: Sequence[str] = ("to_k", "to_v")
) -> Path:
    """A LoRA of the embedded UNet with random weights in diffusers' layout; `strength` 0 has no effect. Returns its folder."""
    import torch
    from diffusers import StableDiffusionXLPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(0)
    unet = weights.load_pipeline(shipped_weights()).unet
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    state = get_peft_model_state_dict(unet)
    for name, value in state.items():
        if "lora_B" in name:
            value.copy_(torch.randn_like(value) * strength)
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=state)
    return folder


def write_scripted_lora(folder: Path, trigger: str | None = None) -> Path:
    """A file that is a LoRA by its names, with its trigger word in its metadata; what loads it is scripted."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    layer = "unet.mid.to_k"
    tensors = {
        f"{layer}.lora_A.weight": np.ones((2, 4), np.float32),
        f"{layer}.lora_B.weight": np.ones((4, 2), np.float32),
    }
    metadata = {} if trigger is None else {"modelspec.trigger_phrase": trigger}
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata)
    return folder
