"""What tests with real models share: the embedded models, and a LoRA for them that is made once a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frames import shipped_weights, write_lora


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    folder = shipped_weights()
    import torch

    torch.set_num_threads(1)
    return folder


@pytest.fixture(scope="session")
def lora(weights_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file."""
    return write_lora(tmp_path_factory.mktemp("lora")) / "pytorch_lora_weights.safetensors"
