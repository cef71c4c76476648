"""The ablation as a sweep: its LoRAs are trained once, and what comes out equals the run with lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.frames import shipped_weights, write_story

# Next to nothing of everything: two frames, four sampling steps, a LoRA of two training steps.
SMALL = (
    "story=[a.yaml,b.yaml]", "seeds=1", "retries=0", "strengths=[0.5]", "strength_story=[a.yaml]", "steps.ablate.draws=300",
    "steps.first_stories.steps=4", "steps.second_stories.steps=4", "steps.strength.steps=2", "quiet=true",
    *(f"steps.{label}.{name}" for label in ("first_lora", "second_lora") for name in ("max_steps=2", "samples=0", "checkpoint_every=2")),
    "steps.preregister.primary=[simple,baseline,likeness]", "steps.preregister.comparisons=[]",
)  # fmt: skip
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture
def told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shipped_weights()
    for name in ("a", "b"):
        write_story(stage.root / f"{name}.yaml", 2)
    return stage


def compared(stage: Stage, run: str) -> dict[str, Any]:
    """What `callsheet run ablate` finds of a run or sweep."""
    held_out = [
        f"{what}={{{', '.join(f'{name}: {_drawn(stage, run, name)}/{what}' for name in ('first', 'second'))}}}"
        for what in ("references", "impostors")
    ]
    words = (f"storyboards={run}/jobs/*/*_stories", f"preregistration={run}", *held_out)
    done = stage.run("run", "ablate", *words, "steps.ablate.draws=300", "quiet=true")
    assert done.code == 0, done.text
    found: dict[str, Any] = stage.latest("ablate", "ablate/results.json")
    return found


def _drawn(stage: Stage, run: str, name: str) -> Path:
    """Where a run, or any job of a sweep, drew a character: all draw the same."""
    return next(path.parent for path in sorted((stage.root / run).glob(f"**/{name}/references")))


def trained(stage: Stage) -> list[Path]:
    return sorted((stage.root / "outputs/artifacts/train").iterdir())


def test_a_sweep_over_modes_and_seeds_equals_one_run_and_trains_each_lora_once(told: Stage) -> None:
    done = told.run("run", "-m", "ablation", *SMALL, "mode=baseline,simple", *JOBLIB)
    assert done.code == 0, done.text
    sweep = str((told.root / "outputs/ablation/latest").resolve().relative_to(told.root))
    loras = trained(told)
    assert len(loras) == 2
    swept = compared(told, sweep)
    done = told.run("run", "ablation", *SMALL, "mode=[baseline,simple]")
    assert done.code == 0, done.text
    assert trained(told) == loras
    one = told.latest("ablation", "ablate/results.json")
    for name in ("arms", "comparisons", "primary"):
        assert _rounded(swept[name]) == _rounded(one[name])
    assert one["arms"]["simple"]["clip"]["n"] == 4
    assert swept["preregistration"]["arms"] == one["preregistration"]["arms"] == ["baseline", "simple"]
    assert not [sentence for sentence in swept["deviations"] if "plan" in sentence]
    assert swept["fixed_first"]
    assert not [note for found in (swept, one) for note in found["notes"] if "its own word" in note]
    # The run found what the sweep had drawn before it wrote its own plan, and says so.
    assert any(sentence.startswith("8 storyboards drawn before the plan was written") for sentence in one["deviations"])
    assert not one["fixed_first"]


def _rounded(value: Any) -> Any:
    """Without what a clock tells."""
    text = json.dumps(value, sort_keys=True)
    return {name: found for name, found in _walk(json.loads(text)) if "seconds" not in name}


def _walk(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{name}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{name}.{index}")
    else:
        yield name, value
