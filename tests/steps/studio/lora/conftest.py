"""A model of the SDXL family, as small as can be, with untrained weights: enough for all that is no question of quality."""

from __future__ import annotations

import copy
from typing import Any

import pytest


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """`StableDiffusionXLPipeline` whose weights nobody trained; tests leave it as it was."""
    torch = pytest.importorskip("torch", reason="the models' packages are not installed")
    from diffusers import StableDiffusionXLPipeline

    from steps.studio.models import diffusion, vae
    from steps.studio.models.tokens import new_tokenizer
    from steps.studio.models.weights import quiet

    quiet()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    first, second = diffusion.new_text_encoders()
    made = StableDiffusionXLPipeline(
        vae=vae.new_vae(),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=new_tokenizer(),
        tokenizer_2=new_tokenizer(),
        unet=diffusion.new_unet((32, 32)),
        scheduler=diffusion.new_scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def fresh(pipeline: Any) -> Any:
    """The same with a UNet of its own, for tests that change it."""
    parts = {**pipeline.components, "unet": copy.deepcopy(pipeline.unet)}
    made = type(pipeline)(**parts, force_zeros_for_empty_prompt=False, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made
