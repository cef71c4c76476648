"""The servers as fixtures, a fresh one for each test; import them in a conftest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer


@pytest.fixture
def openai_server() -> Iterator[OpenAIServer]:
    """OpenAI on loopback. A test asserts that its `violations` is empty, where it sends what is right."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def replicate_server() -> Iterator[ReplicateServer]:
    """Replicate on loopback."""
    with ReplicateServer() as server:
        yield server


@pytest.fixture
def runpod_server() -> Iterator[RunPodServer]:
    """RunPod on loopback."""
    with RunPodServer() as server:
        yield server
