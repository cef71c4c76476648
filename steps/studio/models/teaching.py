"""Whether the models can be taught somebody new: a short LoRA and the IP-Adapter, on a character that training never had."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from steps.studio.models import domain, layout, weights
from steps.studio.models.captions import staged_caption
from steps.studio.models.diffusion import Noising, time_ids
from steps.studio.models.domain import Picture
from steps.studio.models.drawing_lots import generator_at, some_of
from steps.studio.models.heads import cut_out, head_in, square_of
from steps.studio.models.measure import Bar, Measured, best_face, drawn, generate
from steps.studio.models.tensors import to_pixels, to_tensor
from steps.studio.people import Character, seeded

NAME = "ohwx person"
RANK, RATE, BATCH, LESSONS, EXAMPLES = 8, 2e-3, 8, 150, 20


def teaching(measured: Measured) -> Iterator[Bar]:
    """How alike generated pictures of a stranger are to true ones: by name alone, with a LoRA, and with the IP-Adapter."""
    face = weights.load_faces(measured.folder, layout.FACE_PACKS[1])
    who = domain.person("stranger", 0)
    shown = _pictures_of(who, EXAMPLES, "lesson")
    tested = [staged_caption(one, NAME) for one in _pictures_of(who, max(4, measured.count // 12), "test")]
    truth = [embedding for embedding in (best_face(face, image) for image in drawn(shown)) if embedding is not None]
    pipeline = weights.load_pipeline(measured.folder)
    arms = {"name alone": generate(pipeline, tested)}
    with TemporaryDirectory() as folder:
        teach(pipeline, shown, Path(folder), lessons=LESSONS if measured.count >= 100 else 2)
        pupil = weights.load_pipeline(measured.folder)
        pupil.load_lora_weights(folder)
        arms["LoRA"] = generate(pupil, tested)
    told = weights.load_pipeline(measured.folder, adapter=True)
    told.set_ip_adapter_scale(1.0)
    arms["IP-Adapter"] = generate(told, tested, reference=_head_of(shown[0]))
    for name, pixels in arms.items():
        measured.show(f"stranger_{name.replace(' ', '_')}", pixels)
        yield Bar(f"likeness of a stranger to the truth, {name}", _likeness(face, pixels, truth))
    measured.show("stranger_truth", drawn(shown))


def teach(pipeline: StableDiffusionXLPipeline, shown: Sequence[Picture], folder: Path, *, lessons: int) -> None:
    """Train a LoRA on the attention of the pipeline's UNet and save it to `folder` in diffusers' layout."""
    torch.manual_seed(0)
    unet = pipeline.unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    learned = [value for value in unet.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=RATE)
    with torch.no_grad():
        latents = pipeline.vae.encode(to_tensor(drawn(shown))).latent_dist.mean * pipeline.vae.config.scaling_factor
    noising, rng = Noising(pipeline.scheduler), random.Random(0)  # noqa: S311
    for lesson in range(lessons):
        generator = generator_at(0, lesson)
        chosen = some_of(len(shown), BATCH, generator)
        words, pooled = _encoded(pipeline, [staged_caption(shown[index], NAME, rng) for index in chosen])
        noisy, target, times, shares = noising(latents[chosen], generator)
        with sdpa_kernel(SDPBackend.MATH):
            given = {"time_ids": time_ids(BATCH), "text_embeds": pooled}
            found = unet(noisy, times, words, added_cond_kwargs=given).sample
        loss = (shares * (found - target).pow(2).mean(dim=(1, 2, 3))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))


def _encoded(pipeline: Any, prompts: list[str]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        words, _, pooled, _ = pipeline.encode_prompt(prompts, do_classifier_free_guidance=False)
    return words, pooled


def _pictures_of(who: Character, count: int, purpose: str) -> list[Picture]:
    pictures = []
    for number in range(count):
        rng = seeded(f"teaching {purpose} {number}")
        pictures.append(Picture(who, domain.random_scene(rng), domain.random_shot(rng)))
    return pictures


def _head_of(shown: Picture) -> Image.Image:
    """The cut-out that the adapter is given as reference."""
    box = torch.tensor([square_of(head_in(shown))])
    return Image.fromarray(to_pixels(cut_out(to_tensor(drawn([shown])), box, domain.SIZE))[0])


def _likeness(face: Any, pixels: Any, truth: Sequence[Any]) -> float:
    """The mean cosine of the faces found to those of true pictures; a picture without a face counts 0."""
    if not truth:
        return 0.0
    found = [best_face(face, image) for image in pixels]
    return float(np.mean([0.0 if one is None else np.mean([one @ other for other in truth]) for one in found]))
