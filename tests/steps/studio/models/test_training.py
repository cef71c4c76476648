"""The loop: it resumes as if unbroken, and stops at nonsense with the last good checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.errors import ItemError

torch = pytest.importorskip("torch", reason="the models' packages are not installed")


def run(path: Path, *, until: int | None = None, spoiled: int | None = None) -> Any:
    from steps.studio.models import training

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    if path.exists():
        # What was there before resuming must not matter.
        torch.nn.init.zeros_(module[0].weight)

    def losses(step: int, generator: Any) -> Any:
        if step == until:
            raise KeyboardInterrupt
        data = torch.randn(16, 4, generator=generator)
        loss = (module(data) - data.sum(dim=1, keepdim=True)).pow(2).mean()
        return {"loss": loss * float("nan") if step == spoiled else loss}

    schedule = training.Schedule(steps=20, rate=1e-2, warm_up=5)
    for _ in training.train(module, losses, schedule, path):
        pass
    return module.state_dict(), training.averages(path)


@pytest.mark.parametrize("cut", [1, 7, 19])
def test_broken_off_and_resumed_is_unbroken_bit_for_bit(
    tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steps.studio.models import training

    whole = run(tmp_path / "whole")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", until=cut)
    assert training.steps_done(tmp_path / "cut") == cut
    pieced = run(tmp_path / "cut")
    for one, other in zip(whole, pieced, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steps.studio.models import training

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(ItemError, match="step 9: the gradient is not a number: lower the learning rate"):
        run(tmp_path / "spoiled", spoiled=9)
    assert training.steps_done(tmp_path / "spoiled") == 9
    assert all(value.isfinite().all() for value in training.averages(tmp_path / "spoiled").values())


def test_closing_the_loop_keeps_what_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from steps.studio.models import training

    monkeypatch.setattr(training, "LOG_STEPS", 6)
    module = torch.nn.Linear(2, 1)
    schedule = training.Schedule(steps=20, rate=1e-2)
    loop = training.train(module, lambda *_: {"loss": module(torch.ones(1, 2)).sum()}, schedule, tmp_path / "closed")
    assert next(loop)[0] == 6
    loop.close()
    assert training.steps_done(tmp_path / "closed") == 6


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    from steps.studio.models.training import Schedule

    schedule = Schedule(steps=1000, rate=1.0, warm_up=100, decay=0.4)
    assert schedule.rate_at(0) == pytest.approx(0.01)
    assert schedule.rate_at(99) == schedule.rate_at(500) == 1.0
    assert schedule.rate_at(800) == pytest.approx(0.5)
    assert schedule.rate_at(999) == pytest.approx(0.0025)
