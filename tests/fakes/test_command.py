from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.sending import BEARER, ask, chat_body

ROOT = Path(__file__).parents[2]


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.fakes", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("by", ["stdin", "SIGTERM"])
def test_servers_in_a_process_of_their_own(tmp_path: Path, by: str) -> None:
    ports = tmp_path / "ports.json"
    with started("--ports-file", str(ports), "--only", "openai,runpod", "--bench") as process:
        assert process.stdout is not None
        lines = dict(process.stdout.readline().split() for _ in range(2))
        assert set(lines) == {"openai", "runpod"}
        answer = ask("POST", f"{lines['openai']}/chat/completions", headers=BEARER, json=chat_body())
        assert answer.json()["object"] == "chat.completion"
        if by == "SIGTERM":
            os.kill(process.pid, signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert json.loads(ports.read_text()) == lines
    assert [path.name for path in tmp_path.iterdir()] == ["ports.json"]


def test_an_unknown_server_is_refused() -> None:
    with started("--only", "openai,gemini") as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "gemini: choose from openai, replicate, runpod" in err
