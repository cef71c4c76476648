"""A ledger and a small library for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.ledger import Ledger
from tests.library import make_library
from tests.steps.owner import Owner


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_library(tmp_path / "data")


@pytest.fixture
def owner(ledger: Ledger, library: Path) -> Owner:
    return Owner(ledger, library)
