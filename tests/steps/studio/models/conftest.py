"""What the tests of the models share: models with random weights, small enough to be made in seconds, written once a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def parts() -> Any:
    """All models, untrained."""
    torch = pytest.importorskip("torch", reason="the models' packages are not installed")
    pytest.importorskip("diffusers")
    from steps.studio.models import clip, control, diffusion, faces, reader, vae
    from steps.studio.models.export import Parts
    from steps.studio.models.weights import quiet

    quiet()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = diffusion.DiffusionInTraining()
    controlnet = control.new_controlnet(model.unet)
    for name, value in controlnet.named_parameters():
        # A fresh ControlNet adds nothing, whatever its picture.
        if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(value, std=0.1)
    return Parts(
        vae=vae.new_vae(),
        diffusion=model,
        controlnet=controlnet,
        clip=clip.new_clip(),
        detector=faces.Detector(),
        embedder=faces.ConvolutionalEmbedder(),
        second_embedder=faces.AttentiveEmbedder(),
        reader=reader.Reader(),
    )


@pytest.fixture(scope="session")
def exported(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of their weights."""
    from steps.studio.models.export import write_weights

    folder = tmp_path_factory.mktemp("weights")
    write_weights(parts, folder, {"seed": 0})
    return folder
