"""What tests of the local models share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained() -> Path:
    """The folder of the trained weights that ship; the test is left out where they, or the packages that load them, are not there."""
    torch = pytest.importorskip("torch", reason="the models' packages are not installed")
    from runner.files import read_json
    from steps.studio.models import layout, weights

    manifest = weights.shipped() / layout.MANIFEST
    if not manifest.is_file() or "interim" in read_json(manifest)["trained"]:
        pytest.skip("no trained weights here: make them with: callsheet run embedded_models")
    torch.set_num_threads(1)
    return weights.shipped()
