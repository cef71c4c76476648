"""SDXL with IP-Adapter and OpenPose's ControlNet, from a folder or the Hugging Face cache, through diffusers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from runner.calls import Calls
from runner.doctor import Need
from runner.errors import UserError
from runner.params import at_least, one_of, param
from steps.backends import hub
from steps.backends.hub import Source
from steps.studio.framing import Shot

_COMMIT_HELP = "its commit on the hub, 40 digits; of no meaning for a folder"
_CONFIGS = ("model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json")
_TOKENIZERS = tuple(
    f"{part}/{name}"
    for part in ("tokenizer", "tokenizer_2")
    for name in ("merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json")
)
_TEXT = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class SdxlSettings:
    """Which weights, how precise, and where."""

    base: str = param("stabilityai/stable-diffusion-xl-base-1.0", help="the model: a folder or an id on the hub")
    base_revision: str | None = param("462165984030d82259a11f4367a4eed129e94a7b", help=_COMMIT_HELP)
    variant: str | None = param("fp16", help="of the base's files; a folder without it is loaded as it is")
    vae: str | None = param("madebyollin/sdxl-vae-fp16-fix", help="a VAE that can do with fp16; null takes the base's")
    vae_revision: str | None = param("207b116dae70ace3637169f1ddd2434b91b3a8cd", help=_COMMIT_HELP)
    adapter: str = param("h94/IP-Adapter", help="the IP-Adapter: a folder or an id on the hub")
    adapter_revision: str | None = param("018e402774aeeddd60609b4ecdb7e298259dc729", help=_COMMIT_HELP)
    adapter_weights: str = param(
        "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", help="the adapter's file below that"
    )
    image_encoder: str = param("models/image_encoder", help="the folder of the adapter's image encoder below that")
    controlnet: str = param("xinsir/controlnet-openpose-sdxl-1.0", help="for poses: a folder or an id on the hub")
    controlnet_revision: str | None = param("23f966cd5cfdd3f7729c903e243d87152162d2b7", help=_COMMIT_HELP)
    steps: int = param(30, help="sampling steps", check=at_least(1))
    guidance: float = param(5.0, help="guidance scale", check=at_least(0))
    side: int = param(1024, help="pixels of a square image's side", check=at_least(8))
    dtype: str = param(
        "fp16", help="precision on a GPU; a CPU computes in float32", check=one_of("fp16", "bf16", "fp32")
    )
    device: str | None = param(
        None,
        help="cuda or cpu; null is the GPU where there is one",
        check=lambda value: None if value is None else one_of("cuda", "cpu")(value),
    )
    offload: bool = param(False, help="models wait in main memory for their turn: less GPU memory, slower")
    compile: bool = param(False, help="compile the UNet: minutes at first, then faster, for long runs of one size")
    download: bool = param(False, help="fetch what is missing from the hub", operational=True)
    gpu_usd_per_hour: float | None = param(
        None, help="US dollars that an hour of this machine costs", check=at_least(0), operational=True
    )


class SdxlDiffusion:
    """The model family that the recipes were written for, and any that loads through the same classes."""

    def __init__(self, settings: SdxlSettings, calls: Calls) -> None:
        self._settings = settings
        self._hashes = calls.hashes
        self.side = settings.side
        self.steps = settings.steps
        self.guidance = settings.guidance
        self.gpu_usd_per_hour = settings.gpu_usd_per_hour

    @classmethod
    def needs(cls, settings: SdxlSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        for source in _sources(settings).values():
            fault = source.fault()
            yield Need(source.place, fault is None, fault or "")

    @cached_property
    def identity(self) -> str:
        """Every part with its revision, and all settings that change an image."""
        set_ = self._settings
        parts = " ".join(f"{name}={source.identity(self._hashes)}" for name, source in self._sources.items())
        return (
            f"sdxl {parts} {Path(set_.adapter_weights).name} {self._precision} steps={set_.steps} guidance={set_.guidance:g} "
            f"side={set_.side} compile={set_.compile}"
        )

    @cached_property
    def device(self) -> str:
        """Where it computes."""
        import torch

        there = torch.cuda.is_available()
        if self._settings.device == "cuda" and not there:
            raise UserError(
                "diffusion.device = 'cuda', and no GPU is there: choose diffusion.device=cpu, or diffusion=embedded"
            )
        return self._settings.device or ("cuda" if there else "cpu")

    def prepare(self) -> None:
        """Raise UserError with the commands that fetch what is missing."""
        if not self._settings.download:
            hub.check(self._sources.values())

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        """See `Diffusion.load`."""
        from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline

        from steps.studio.models.weights import quiet

        quiet()
        base = self._folder("base")
        options: dict[str, Any] = {**self._options(), "variant": self._variant(base), "add_watermarker": False}
        if self._settings.vae is not None:
            options["vae"] = self._vae()
        if pose:
            pipeline = StableDiffusionXLControlNetPipeline.from_pretrained(
                base, controlnet=self._controlnet(), **options
            )
        else:
            pipeline = StableDiffusionXLPipeline.from_pretrained(base, **options)
        pipeline.set_progress_bar_config(disable=True)
        if adapter:
            self._add_adapter(pipeline)
        return self._placed(pipeline)

    def pose(self, shot: Shot, side: int) -> Image.Image:
        """See `Diffusion.pose`: as OpenPose draws it."""
        from steps.studio.frames.openpose import pose_picture

        return pose_picture(shot, side)

    def _placed(self, pipeline: Any) -> Any:
        """On its device, with what costs nothing and saves memory or time there."""
        if self.device == "cuda":
            import torch

            pipeline.unet.to(memory_format=torch.channels_last)
            # One image after the other: a batch would need as many times the memory for no gain.
            pipeline.vae.enable_slicing()
        if self._settings.compile:
            pipeline.unet.compile()
        if self._settings.offload and self.device == "cuda":
            pipeline.enable_model_cpu_offload()
            return pipeline
        return pipeline.to(self.device)

    def _add_adapter(self, pipeline: Any) -> None:
        """The image encoder first: left to itself, `load_ip_adapter` looks for it at no certain revision."""
        from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

        folder, set_ = self._folder("adapter"), self._settings
        encoder = folder / set_.image_encoder
        model = CLIPVisionModelWithProjection.from_pretrained(encoder, **self._options())
        size = {"shortest_edge": model.config.image_size}
        crop = {"height": model.config.image_size, "width": model.config.image_size}
        seeing = (
            CLIPImageProcessorPil.from_pretrained(encoder)
            if (encoder / "preprocessor_config.json").is_file()
            else CLIPImageProcessorPil(size=size, crop_size=crop)
        )
        pipeline.register_modules(image_encoder=model, feature_extractor=seeing)
        weights = Path(set_.adapter_weights)
        pipeline.load_ip_adapter(
            str(folder),
            subfolder="" if weights.parent == Path() else weights.parent.as_posix(),
            weight_name=weights.name,
            image_encoder_folder=None,
            local_files_only=True,
        )

    def _variant(self, base: Path) -> str | None:
        """The variant, unless the model has none: a folder that somebody saved seldom does."""
        wanted = self._settings.variant
        return wanted if wanted and any((base / "unet").glob(f"*.{wanted}*.safetensors")) else None

    def _vae(self) -> Any:
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(self._folder("vae"), **self._options())

    def _controlnet(self) -> Any:
        from diffusers import ControlNetModel

        return ControlNetModel.from_pretrained(self._folder("controlnet"), **self._options())

    def _options(self) -> dict[str, Any]:
        import torch

        precise = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[self._precision]
        return {"dtype": precise, "local_files_only": True, "use_safetensors": True}

    def _folder(self, part: str) -> Path:
        return self._sources[part].folder(download=self._settings.download)

    @property
    def _precision(self) -> str:
        return "fp32" if self.device == "cpu" else self._settings.dtype

    @cached_property
    def _sources(self) -> dict[str, Source]:
        return _sources(self._settings)


def _sources(set_: SdxlSettings) -> dict[str, Source]:
    """The parts by name."""
    tag = f".{set_.variant}" if set_.variant else ""
    models = ("unet",) if set_.vae is not None else ("unet", "vae")
    weights = [f"{part}/diffusion_pytorch_model{tag}.safetensors" for part in models]
    texts = [name for part in _TEXT for name in (f"{part}/config.json", f"{part}/model{tag}.safetensors")]
    model = ("config.json", "diffusion_pytorch_model.safetensors")
    encoder = tuple(f"{set_.image_encoder}/{name}" for name in ("config.json", "model.safetensors"))
    found = {
        "base": Source(set_.base, set_.base_revision, (*_CONFIGS, *_TOKENIZERS, *weights, *texts), _CONFIGS),
        "adapter": Source(
            set_.adapter, set_.adapter_revision, (set_.adapter_weights, *encoder), (set_.adapter_weights, *encoder)
        ),
        "controlnet": Source(set_.controlnet, set_.controlnet_revision, model, model),
    }
    if set_.vae is not None:
        found["vae"] = Source(set_.vae, set_.vae_revision, model, model[:1])
    return found
