"""A run's log on a disk that is full."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from runner.logs import logging_to
from runner.progress import Reporter


def test_a_log_that_cannot_be_written_is_said_once_and_keeps_nothing_up(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    said = io.StringIO()
    with logging_to(Path("/dev/full"), Reporter(stream=said)):
        for number in range(3):
            logging.getLogger("callsheet").info("line %s", number)
    assert said.getvalue().count("/dev/full: No space left on device: lines of the log are missing") == 1
    assert "Traceback" not in capsys.readouterr().err
