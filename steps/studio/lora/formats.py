"""A LoRA in the layouts that people load: diffusers', PEFT's and kohya's, each with metadata, and the proof that each does the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner import files
from runner.errors import ItemError
from steps.studio.lora.packing import packed
from steps.studio.lora.reading import CONFIG, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS, UNET_PREFIX, WEIGHTS
from steps.studio.lora.settings import LoraSettings

DIFFUSERS, PEFT, KOHYA = "diffusers", "peft", "kohya"
SDXL_CHANNELS = (320, 640, 1280)
# Of float32, where the same sum is taken in another order.
_NOISE = 1e-5

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class About:
    """What a LoRA's files say of it.

    Attributes:
        title: Its name.
        trigger: Words that call the character; may be None.
        settings: What it was trained with.
        base: The model's `identity`.
        channels: The UNet's; those of SDXL make it a LoRA of SDXL.
        prediction: "epsilon" or "v_prediction".
        side: Resolution in pixels.
        steps: That this state has seen.
        facts: More for `ss_` keys: images, seed.
    """

    title: str
    trigger: str | None
    settings: LoraSettings
    base: str
    channels: tuple[int, ...]
    prediction: str
    side: int
    steps: int
    facts: Mapping[str, str] = field(default_factory=dict)


def diffusers_bytes(state: State, about: About) -> bytes:
    """The file that `load_lora_weights` takes: names begin with "unet.", rank and alpha are in the metadata."""
    config: dict[str, Any] = {
        "unet.r": about.settings.rank,
        "unet.lora_alpha": about.settings.alpha or about.settings.rank,
    }
    config |= {"unet.target_modules": sorted(about.settings.target_modules)}
    named = {f"{UNET_PREFIX}{name}": value for name, value in state.items()}
    told = metadata(state, about) | {"format": "pt", CONFIG: json.dumps(config, sort_keys=True)}
    return packed(named, told)


def write_layouts(state: State, about: About, folder: Path) -> None:
    """Write all three below a folder: diffusers' at its top, the others in folders of their own."""
    files.write_bytes(folder / WEIGHTS, diffusers_bytes(state, about))
    files.write_json(folder / PEFT / PEFT_CONFIG, _peft_config(about))
    named = {f"{PEFT_PREFIX}{name}": value for name, value in state.items()}
    files.write_bytes(folder / PEFT / PEFT_WEIGHTS, packed(named, metadata(state, about) | {"format": "pt"}))
    told = metadata(state, about) | {"modelspec.implementation": "https://github.com/kohya-ss/sd-scripts"}
    files.write_bytes(kohya_file(folder, about.title), packed(_kohya(state, about), told))


def kohya_file(folder: Path, title: str) -> Path:
    """Where kohya's layout is: people put such files into one folder, so that it has a name of its own."""
    safe = "".join(letter if letter.isalnum() else "_" for letter in title).strip("_") or "lora"
    return folder / KOHYA / f"{safe[:80]}.safetensors"


def metadata(state: State, about: About) -> dict[str, str]:
    """ModelSpec's keys (Stability-AI/ModelSpec 1.0.0) and kohya's. No date, so that the same training gives the same bytes."""
    settings, is_sdxl = about.settings, about.channels == SDXL_CHANNELS
    spec = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora" if is_sdxl else "callsheet-embedded-xl/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": about.title,
        "modelspec.description": f"A LoRA of {about.base}, made by Callsheet",
        "modelspec.resolution": f"{about.side}x{about.side}",
        "modelspec.prediction_type": "epsilon" if about.prediction == "epsilon" else "v",
        "modelspec.hash_sha256": f"0x{_digest(state)}",
        "modelspec.usage_hint": f"Put '{about.trigger}' into the prompt" if about.trigger else "",
        "modelspec.trigger_phrase": about.trigger or "",
    }
    kohya: dict[str, Any] = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": settings.alpha or settings.rank,
        "ss_base_model_version": "sdxl_base_v1-0" if is_sdxl else "callsheet_embedded_xl",
        "ss_sd_model_name": about.base,
        "ss_v2": False,
        "ss_output_name": about.title,
        "ss_learning_rate": settings.learning_rate,
        "ss_lr_scheduler": settings.schedule,
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_optimizer": "torch.optim.AdamW",
        "ss_max_grad_norm": settings.max_grad_norm,
        "ss_steps": about.steps,
        "ss_batch_size_per_device": settings.batch,
        "ss_gradient_accumulation_steps": settings.accumulation,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_resolution": f"({about.side}, {about.side})",
        "ss_min_snr_gamma": settings.min_snr_gamma,
        "ss_noise_offset": settings.noise_offset or None,
        "ss_caption_dropout_rate": settings.caption_dropout,
    }
    return {name: text for name, text in spec.items() if text} | {
        name: str(value) for name, value in {**kohya, **about.facts}.items()
    }


def prove(pipeline: Any, state: State, about: About, folder: Path) -> None:
    """Load each layout into a fresh pipeline, the way people do, and hold the UNet's answers against those of the trained state.

    Args:
        pipeline: A fresh one, in whatever precision; its UNet is brought to float32.
        state: What was trained.
        about: What it was written with.
        folder: Where `write_layouts` wrote.

    Raises:
        ItemError: A layout does something else, or the LoRA does nothing.
    """
    pipeline.unet.to(torch.float32).eval()
    question = _Question(pipeline.unet)
    plain = question.answer()
    with _trained(pipeline, state, about):
        wanted = question.answer()
    effect = _far(wanted, plain)
    if not effect:
        raise ItemError(
            "the LoRA changes nothing: the UNet answers the same with and without it. Train longer, or with a higher rate"
        )
    # Far less than a lost alpha or a lost layer would make.
    allowed = max(_NOISE, 0.01 * effect)
    for layout, answer in _answers(pipeline, question, about, folder):
        if (apart := _far(answer, wanted)) > allowed:
            raise ItemError(
                f"{folder}: the LoRA in {layout}'s layout is not what was trained: the UNet's answers differ by {apart:.2g}"
            )
    if _far(question.answer(), plain) > _NOISE:
        raise ItemError(f"{folder}: unloading the LoRA leaves something behind in the UNet")


class _Question:
    """A fixed input to the UNet: noise, half-way through, and words."""

    def __init__(self, unet: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        config = unet.config
        side = min(config.sample_size, 64)
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        self._unet = unet
        self._latents = torch.randn((1, config.in_channels, side, side), generator=generator).to(unet.device)
        self._words = torch.randn((1, 77, config.cross_attention_dim), generator=generator).to(unet.device)
        self._given = {
            "text_embeds": torch.randn((1, pooled), generator=generator).to(unet.device),
            "time_ids": torch.tensor([[side * 8.0, side * 8, 0, 0, side * 8, side * 8]]).to(unet.device),
        }

    @torch.no_grad()
    def answer(self) -> Tensor:
        """What the UNet says, as it is now."""
        said = self._unet(self._latents, 500, self._words, added_cond_kwargs=self._given, return_dict=False)[0]
        found: Tensor = said.float().cpu()
        return found


def _answers(pipeline: Any, question: _Question, about: About, folder: Path) -> Iterator[tuple[str, Tensor]]:
    for layout, place in ((DIFFUSERS, folder / WEIGHTS), (KOHYA, kohya_file(folder, about.title))):
        pipeline.load_lora_weights(place.parent, weight_name=place.name, local_files_only=True)
        yield layout, question.answer()
        pipeline.unload_lora_weights()
    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(pipeline.unet, folder / PEFT, local_files_only=True)
    yield PEFT, question.answer()
    wrapped.unload()


class _trained:  # noqa: N801 - a context manager that reads as one
    """The UNet with the trained state, put in by PEFT itself, from no file."""

    def __init__(self, pipeline: Any, state: State, about: About) -> None:
        self._pipeline, self._state, self._settings = pipeline, state, about.settings

    def __enter__(self) -> None:
        from peft.utils import set_peft_model_state_dict

        from steps.studio.lora.pupil import lora_config

        self._pipeline.unet.add_adapter(lora_config(self._settings), adapter_name="trained")
        set_peft_model_state_dict(self._pipeline.unet, dict(self._state), adapter_name="trained")

    def __exit__(self, *_exception: object) -> None:
        self._pipeline.unload_lora_weights()


def _peft_config(about: About) -> dict[str, Any]:
    """adapter_config.json, from PEFT itself; sets in order."""
    from steps.studio.lora.pupil import lora_config

    config = lora_config(about.settings)
    config.inference_mode = True
    config.base_model_name_or_path = about.base
    return {
        name: sorted(value) if isinstance(value, set) else _plain(value) for name, value in config.to_dict().items()
    }


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def _kohya(state: State, about: About) -> dict[str, Tensor]:
    """Kohya's names, each module with its alpha: diffusers' own conversion takes the rank for it."""
    from diffusers.utils import convert_state_dict_to_kohya

    found = convert_state_dict_to_kohya({f"{UNET_PREFIX}{name}": value for name, value in state.items()})
    alpha = torch.tensor(float(about.settings.alpha or about.settings.rank))
    return {name: alpha.clone() if name.endswith(".alpha") else value for name, value in sorted(found.items())}


def _digest(state: State) -> str:
    """Of the tensors alone, in the order of their names."""
    digest = hashlib.sha256()
    for _, value in sorted(state.items()):
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _far(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
