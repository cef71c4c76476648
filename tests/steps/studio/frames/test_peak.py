"""The most memory: of the process, or of a GPU from the beginning of a storyboard on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from steps.studio.frames.peak import DEVICE, PROCESS, PeakMemory

torch = pytest.importorskip("torch", reason="the models' packages are not installed")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_gpu_it_is_the_process(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    peak = PeakMemory(device)
    before = peak.read()
    held = bytearray(b"x" * (before + 64 * 2**20 - _held()))
    assert peak.of == PROCESS
    assert peak.read() >= before + 32 * 2**20
    assert len(held) > 0


def _held() -> int:
    """What this process holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("begun", [True, False])
def test_a_gpus_count_begins_anew_once_there_is_one(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: begun)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 7)
    peak = PeakMemory("cuda")
    assert (peak.of, peak.read(), reset) == (DEVICE, 7, ["cuda"] * begun)
