"""The servers as fixtures, a fresh one for each test; import them in a conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.openai import OpenAIServer


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """OpenAI on loopback."""
    with OpenAIServer() as server:
        yield server
