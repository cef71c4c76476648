"""The recipe from nothing to measured weights, at so little effort that it takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steps.studio.models import layout
from steps.train_embedded import STAGES

ROOT = Path(__file__).parents[4]
torch = pytest.importorskip("torch", reason="the models' packages are not installed")


def test_the_step_names_the_stages_that_there_are() -> None:
    from steps.studio.models import stages

    assert tuple(stages.STAGES) == STAGES


@pytest.mark.timeout(900)
def test_the_recipe_trains_exports_measures_and_goes_on(tmp_path: Path) -> None:
    words = ["run", "embedded_models", "effort=0.0002", "pictures=16", f"outputs={tmp_path}"]

    def callsheet() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runner", *words], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False, capture_output=True, text=True,
        )  # fmt: skip

    done = callsheet()
    # Untrained, they miss their bars, which is what a gate is for.
    assert done.returncode == 4, done.stderr
    export = tmp_path / "embedded_models" / "latest" / "export"
    figures = json.loads((export / "figures.json").read_text())
    names = [figure["name"] for figure in figures["figures"]]
    assert any("retrieval@1 of 16" in name for name in names)
    assert any("ControlNet" in name for name in names)
    assert not all(figure["passed"] for figure in figures["figures"])
    assert (export / "weights" / layout.MANIFEST).is_file()
    assert len(list((export / "sheets").glob("*.png"))) >= 5
    finished = tmp_path / "embedded_models" / "training" / "finished"
    before = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    (finished / "control.safetensors").unlink()
    # Only what is missing is made again.
    assert callsheet().returncode == 4
    after = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"control.safetensors"}
