from __future__ import annotations

from tests.fakes.fixtures import openai_server, replicate_server, runpod_server

__all__ = ["openai_server", "replicate_server", "runpod_server"]
