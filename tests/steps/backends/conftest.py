"""Local servers of the vendors, a ledger, and keys that are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.ledger import Ledger
from tests.fakes.fixtures import openai_server, replicate_server, runpod_server

__all__ = ["openai_server", "replicate_server", "runpod_server"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger
