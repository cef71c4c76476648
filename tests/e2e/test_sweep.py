"""Multirun with the basic and the joblib launcher: one sweep, continued where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import GOOD, Stage

WORDS = ("run", "-m", "validate_base_images", "steps.validate.votes=1,2")
LAUNCHERS = [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")]


def jobs(stage: Stage) -> list[Path]:
    return sorted((stage.root / "outputs/validate_base_images/latest/jobs").resolve().iterdir())


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "joblib"])
def test_a_sweep_is_one_run_with_a_folder_a_job(stage: Stage, launcher: tuple[str, ...]) -> None:
    told = stage.run(*WORDS, *launcher)
    assert told.code == 0
    assert [path.name for path in jobs(stage)] == ["0", "1"]
    for number, path in enumerate(jobs(stage)):
        assert json.loads((path / "run.json").read_text())["overrides"] == [f"steps.validate.votes={number + 1}"]
        assert f"votes: {number + 1}" in (path / "recipe.yaml").read_text()
        assert len(json.loads((path / "validate/results.json").read_text())["results"]) == 3
    about = json.loads((jobs(stage)[0].parent.parent / "sweep.json").read_text())
    assert about["state"] == "done"
    assert [job["exit"] for job in about["jobs"]] == [0, 0]
    assert (jobs(stage)[0].parent.parent / "report.html").is_file()


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "joblib"])
def test_a_sweep_that_the_budget_stopped_goes_on_and_shares_the_budget(stage: Stage, launcher: tuple[str, ...]) -> None:
    told = stage.run(*WORDS, "workers=1", "budget.calls=2", *launcher)
    assert told.code == 3
    assert "Go on with: callsheet run validate_base_images -m steps.validate.votes=1,2" in told.text
    first = jobs(stage)[0].parent
    told = stage.run(*WORDS, "workers=1", "budget.calls=99", *launcher)
    assert told.code == 0
    # The same sweep: its jobs together have asked what an unbroken one asks, and no more than two questions twice.
    assert jobs(stage)[0].parent == first
    states = [json.loads((path / "run.json").read_text())["state"] for path in jobs(stage)]
    assert states == ["done", "done"]


def test_finished_jobs_are_not_run_again(stage: Stage) -> None:
    stage.run(*WORDS)
    sweep = jobs(stage)[0].parent.parent
    before = [(path / "run.json").stat().st_mtime_ns for path in jobs(stage)]
    about = json.loads((sweep / "sweep.json").read_text())
    (sweep / "sweep.json").write_text(json.dumps(about | {"state": "interrupted"}))
    assert stage.run(*WORDS).code == 0
    assert [(path / "run.json").stat().st_mtime_ns for path in jobs(stage)] == before


def test_a_finished_sweep_given_again_is_a_new_one_that_remembers(stage: Stage) -> None:
    stage.run(*WORDS)
    first = jobs(stage)[0].parent
    assert "3 remembered" in stage.run(*WORDS).text
    assert jobs(stage)[0].parent != first


def sweep_json(stage: Stage) -> dict[str, Any]:
    about: dict[str, Any] = stage.latest("validate_base_images", "sweep.json")
    return about


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "joblib"])
def test_a_job_that_ends_before_it_is_a_run_is_not_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, launcher: tuple[str, ...]
) -> None:
    monkeypatch.setattr("runner.cli.sweep.CHECKED_JOBS", 1)
    told = stage.run("run", "-m", "validate_base_images", "steps.validate.votes=1,0", *launcher)
    assert told.code == 2
    about = sweep_json(stage)
    assert about["state"] == "interrupted"
    assert [(job["state"], job["exit"]) for job in about["jobs"]] == [("done", 0), ("refused", 2)]
    assert about["jobs"][1]["overrides"] == ["steps.validate.votes=0"]


def test_a_job_that_left_nothing_is_missed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed as it began."""
    monkeypatch.setattr("runner.cli.sweep._hydra", lambda *_words: None)
    assert stage.run(*WORDS).code == 1
    assert sweep_json(stage)["expected"] == 2
    assert sweep_json(stage)["state"] == "interrupted"


def test_a_job_that_was_killed_and_undone_counts_as_over(stage: Stage) -> None:
    stage.run(*WORDS)
    sweep = jobs(stage)[0].parent.parent
    (sweep / "sweep.json").write_text(json.dumps(sweep_json(stage) | {"state": "interrupted"}))
    run = jobs(stage)[0] / "run.json"
    run.write_text(json.dumps(json.loads(run.read_text()) | {"state": "undone", "exit": None}))
    assert stage.run(*WORDS).code == 0
    assert jobs(stage)[0].parent.parent == sweep
    assert sweep_json(stage)["state"] == "done"


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=["basic", "joblib"])
def test_a_jobs_cost_is_its_own_and_the_sweeps_is_that_of_all(stage: Stage, launcher: tuple[str, ...]) -> None:
    stage.run(*WORDS, *launcher)
    calls = [json.loads((path / "run.json").read_text())["cost"]["calls"] for path in jobs(stage)]
    assert calls[0] > 0
    assert calls[1] > calls[0]
    assert sweep_json(stage)["cost"]["calls"] == sum(calls)
    assert not (jobs(stage)[0].parent.parent / "multirun.yaml").exists()


def test_a_mistake_in_the_second_job_is_found_before_the_first_runs(stage: Stage) -> None:
    told = stage.run("run", "-m", "validate_base_images", "steps.validate.votes=1,0")
    assert told.code == 2
    assert "steps.validate.votes = 0 is not allowed" in told.text
    assert not (stage.root / "outputs").exists()


def test_a_recipe_may_carry_its_own_sweep(stage: Stage) -> None:
    recipe = """# Sweep.
defaults: [base, steps@steps.validate: validate, _self_]
hydra:
  sweeper:
    params:
      steps.validate.votes: 1,2,3
"""
    stage.write("swept.yaml", recipe)
    assert stage.run("run", "-m", "swept.yaml", "seed=4").code == 0
    found = sorted((stage.root / "outputs/swept/latest/jobs").iterdir())
    assert [json.loads((path / "run.json").read_text())["overrides"] for path in found] == [
        ["steps.validate.votes=1", "seed=4"],
        ["steps.validate.votes=2", "seed=4"],
        ["steps.validate.votes=3", "seed=4"],
    ]


def test_a_job_tells_of_its_failures_and_logs_them(stage: Stage) -> None:
    (stage.data / f"actors/{GOOD}/base_image/{GOOD}_base.jpg").write_bytes(b"8BPS not ours")
    told = stage.run(*WORDS)
    assert told.code == 1
    assert f"[job 1] validate: {GOOD} failed:" in told.text
    assert f"{GOOD} failed:" in (jobs(stage)[0] / "log.txt").read_text()
