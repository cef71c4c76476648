"""A model as small as can be."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny_models


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """An untrained `StableDiffusionXLPipeline`; tests leave it as it was."""
    pytest.importorskip("diffusers", reason="the models' packages are not installed")
    return tiny_models.tiny_pipeline()


@pytest.fixture
def fresh() -> Any:
    """The same for tests that change it."""
    pytest.importorskip("diffusers", reason="the models' packages are not installed")
    return tiny_models.fresh_pipeline()
