"""Pipelines with a LoRA, an IP-Adapter and a ControlNet, each loaded once, and batches in which every frame has its own reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from runner.errors import MisconfiguredRun
from steps.studio.frames.setups import Order, Sampling, Scales, Setup
from steps.studio.lora.reading import read_lora
from steps.studio.protocols import Diffusion

LORA = "character"
"""The LoRA's name within a pipeline."""


class PerFrameReferences:
    """Put before a pipeline's class: references that are embedded already, one a frame, pass through.

    The public arguments can't say that: several images for one adapter are mixed into one reference of all frames.
    """

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image: Any,
        ip_adapter_image_embeds: Any,
        device: Any,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
    ) -> Any:
        """Embeddings (2B, 1, ...) for each adapter, the negative ones first; (B, 1, ...) without guidance."""
        rows = num_images_per_prompt * (2 if do_classifier_free_guidance else 1)
        if ip_adapter_image_embeds is not None and all(len(each) == rows for each in ip_adapter_image_embeds):
            return [each.to(device=device) for each in ip_adapter_image_embeds]
        above: Any = super()
        return above.prepare_ip_adapter_image_embeds(
            ip_adapter_image,
            ip_adapter_image_embeds,
            device,
            num_images_per_prompt,
            do_classifier_free_guidance,
        )


class Pipelines:
    """The pipelines of one run by what they have, loaded when first asked for and kept.

    Attributes:
        seconds: Spent on loading so far.
    """

    def __init__(self, model: Diffusion) -> None:
        self._model = model
        self._loaded: dict[Setup, Any] = {}
        self._offloaded = False
        self.seconds = 0.0

    def get(self, setup: Setup) -> Any:
        """The pipeline for a setup.

        Raises:
            MisconfiguredRun: The LoRA is not one for this model.
        """
        if setup not in self._loaded:
            began = time.monotonic()
            self._loaded[setup] = self._load(setup)
            self.seconds += time.monotonic() - began
        return self._loaded[setup]

    def any(self, setup: Setup) -> Any:
        """One that is loaded, for what all have alike; that for the setup where there is none."""
        return next(iter(self._loaded.values()), None) or self.get(setup)

    def keep_only(self, setup: Setup) -> bool:
        """Let go of all pipelines but one; False where there was no other."""
        others = [other for other in self._loaded if other != setup]
        for other in others:
            del self._loaded[other]
        return bool(others)

    def offload(self) -> bool:
        """Keep models in main memory from now on and bring each to the device for its turn; False where that brings nothing."""
        if self._offloaded or self._model.device != "cuda":
            return False
        self._offloaded = True
        for pipeline in self._loaded.values():
            pipeline.enable_model_cpu_offload()
        return True

    def _load(self, setup: Setup) -> Any:
        pipeline = self._model.load(pose=setup.pose, adapter=setup.adapter)
        if setup.adapter:
            pipeline.__class__ = _per_frame(type(pipeline))
        if setup.lora is not None:
            add_lora(pipeline, setup.lora, self._model.identity)
        if self._offloaded:
            pipeline.enable_model_cpu_offload()
        return pipeline


# The first matrix of each pair, as diffusers and PEFT, kohya, and older diffusers name it.
_DOWN = (".lora_A.weight", ".lora_down.weight", ".lora.down.weight")
_PARTS = ("unet", "text_encoder", "text_encoder_2")


def add_lora(pipeline: Any, path: Path, model: str) -> None:
    """Load a LoRA's file into a pipeline.

    Raises:
        MisconfiguredRun: It is for another architecture.
        UserError: It is no LoRA, or not a file that can be opened.
    """
    lora = read_lora(path)
    try:
        pipeline.load_lora_weights(dict(lora.state), adapter_name=LORA)
        fits = LORA in {name for names in pipeline.get_list_adapters().values() for name in names}
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise MisconfiguredRun(
            f"{path}: no LoRA for {model}: train one for this model, or choose the model that it is for ({said})"
        ) from error
    held, told = _layers(pipeline) if fits else 0, sum(name.endswith(_DOWN) for name in lora.state)
    if held < told or not held:
        raise MisconfiguredRun(
            f"{path}: {held} of its {told} layers have a place in {model}: train one for this model, or choose the model that it is for"
        )


def _layers(pipeline: Any) -> int:
    """How many layers the LoRA has changed: what has no place is left out in silence."""
    parts = [part for name in _PARTS if (part := getattr(pipeline, name, None)) is not None]
    return sum(LORA in getattr(module, "lora_A", {}) for part in parts for module in part.modules())


def set_scales(pipeline: Any, setup: Setup, scales: Scales) -> None:
    """Give LoRA and adapter their scales; the ControlNet's goes with each call."""
    if setup.lora is not None:
        pipeline.set_adapters([LORA], [scales.lora])
    if setup.adapter:
        pipeline.set_ip_adapter_scale(scales.adapter)


def drawn(
    pipeline: Any,
    setup: Setup,
    orders: Sequence[Order],
    sampling: Sampling,
    scales: Scales,
    between: Callable[[], None] = lambda: None,
) -> list[Image.Image]:
    """Draw some images in one batch, each with its own noise, so that it is the same image as if drawn alone.

    Args:
        pipeline: With the setup's parts.
        setup: Which these are.
        orders: What to draw.
        sampling: How.
        scales: Of the parts.
        between: Called after each sampling step; what it raises ends the batch.
    """

    def after_step(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        between()
        return values

    set_scales(pipeline, setup, scales)
    options = _options(pipeline, setup, orders, sampling, scales)
    images: list[Image.Image] = pipeline(**options, callback_on_step_end=after_step).images
    return images


def first_step(pipeline: Any, setup: Setup, order: Order, sampling: Sampling, scales: Scales) -> Any:
    """The latents (C, H, W) of an image after a single sampling step: enough to see what has an effect."""
    set_scales(pipeline, setup, scales)
    options = _options(pipeline, setup, [order], sampling, scales)
    options |= {"num_inference_steps": 1, "output_type": "latent"}
    return pipeline(**options).images[0].float().cpu()


def reference_embeddings(pipeline: Any, images: Sequence[Image.Image], guidance: float) -> Any:
    """What the adapter sees in each image: (2B, 1, ...), the negative ones first; (B, 1, ...) without guidance."""
    import torch

    guided = guidance > 1
    known: dict[int, Any] = {}
    with torch.no_grad():
        for image in images:
            if id(image) not in known:
                given = ([image], None, pipeline._execution_device, 1, guided)  # noqa: SLF001 - as the call itself asks it
                [known[id(image)]] = pipeline.prepare_ip_adapter_image_embeds(*given)
    rows = [known[id(image)] for image in images]
    if not guided:
        return torch.cat(rows)
    return torch.cat([row[:1] for row in rows] + [row[1:] for row in rows])


def _options(
    pipeline: Any, setup: Setup, orders: Sequence[Order], sampling: Sampling, scales: Scales
) -> dict[str, Any]:
    import torch

    options: dict[str, Any] = {
        "prompt": [order.prompt for order in orders],
        "negative_prompt": [sampling.negative] * len(orders),
        "num_inference_steps": sampling.steps,
        "guidance_scale": sampling.guidance,
        "width": sampling.width,
        "height": sampling.height,
        # One each, and on the CPU: the same noise on every device and in every batch.
        "generator": [torch.Generator("cpu").manual_seed(order.seed) for order in orders],
    }
    if setup.adapter:
        images = [_given(order.reference, "reference") for order in orders]
        options["ip_adapter_image_embeds"] = [reference_embeddings(pipeline, images, sampling.guidance)]
    if setup.pose:
        options["image"] = [_given(order.pose, "pose") for order in orders]
        options["controlnet_conditioning_scale"] = scales.control
    return options


def _given(image: Image.Image | None, what: str) -> Image.Image:
    if image is None:
        raise ValueError(f"an order without a {what} for a setup that needs one")
    return image


def _per_frame(kind: type) -> type:
    return type(f"{kind.__name__}PerFrame", (PerFrameReferences, kind), {})
