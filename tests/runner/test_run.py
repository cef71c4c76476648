"""Runs: found again by their command, locked, described, and pointed at (design: runs, items, files)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.recipe import Recipe, compose, resolve
from runner.run import find_run, give_latest_back, jobs_of, ledger_of, opened, point_latest, read_about

RECIPE = """
defaults:
  - base
  - steps@steps.look: validate
  - _self_
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return resolve(path, compose(path, []))


def test_an_unfinished_run_is_opened_again_and_a_finished_one_is_not(recipe: Recipe) -> None:
    with opened(recipe, "callsheet run mine.yaml") as first:
        assert not first.resumed
    with opened(recipe, "callsheet run mine.yaml") as second:
        assert second.resumed
        assert second.path == first.path
        assert len(second.about["sessions"]) == 2
        second.save(state="done")
    with opened(recipe, "callsheet run mine.yaml") as third:
        assert not third.resumed
        assert third.path != first.path


def test_one_run_is_worked_on_by_one_process(recipe: Recipe) -> None:
    with opened(recipe, "x"), pytest.raises(UserError, match="in progress in another process"), opened(recipe, "x"):
        pass


def test_latest_points_at_the_newest_run(recipe: Recipe) -> None:
    for _ in range(2):
        with opened(recipe, "x") as run:
            point_latest(run.path)
            assert Path("outputs/mine/latest").resolve() == run.path.resolve()
            assert Path("outputs/latest").resolve() == run.path.resolve()
            run.save(state="done")


def test_latest_goes_back_to_where_it_led_unless_another_run_has_taken_it(recipe: Recipe) -> None:
    latest = Path("outputs/mine/latest")
    with opened(recipe, "x") as first:
        assert set(point_latest(first.path).values()) == {None}
        first.save(state="done")
    with opened(recipe, "x") as second:
        before = point_latest(second.path)
        give_latest_back(second.path, before)
        assert latest.resolve() == first.path.resolve() == Path("outputs/latest").resolve()
        point_latest(second.path)
        second.save(state="done")
    with opened(recipe, "x") as third:
        point_latest(third.path)
        give_latest_back(second.path, before)
        assert latest.resolve() == third.path.resolve()
        # Nothing leads to what is gone.
        give_latest_back(third.path, {latest: "nowhere"})
        assert latest.resolve() == third.path.resolve()


def test_a_folder_that_a_kill_left_without_description_is_passed_over(recipe: Recipe) -> None:
    with opened(recipe, "x") as run:
        pass
    (run.path / "run.json").unlink()
    with opened(recipe, "x") as again:
        assert not again.resumed


def test_a_run_says_what_reproduces_it(recipe: Recipe) -> None:
    with opened(recipe, "callsheet run mine.yaml", ["seed=0"]) as run:
        about = json.loads((run.path / "run.json").read_text())
    assert about["overrides"] == ["seed=0"]
    assert about["packages"]["hydra-core"].startswith("1.3")
    assert about["machine"]["python"].startswith("3.")
    assert about["seeds"] == {"seed": 0}
    assert about["digest"] == recipe.digest
    assert run.path.name.endswith(recipe.digest[:8])
    assert "votes: 1" in (run.path / "recipe.yaml").read_text()


@pytest.mark.parametrize("name", ["mine", "latest", "mine/latest", "outputs/mine/latest"])
def test_a_run_is_named_in_short(recipe: Recipe, name: str) -> None:
    with opened(recipe, "x") as run:
        point_latest(run.path)
    assert find_run(Path("outputs"), name) == run.path.resolve()


def test_a_run_that_is_not_there_is_said(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="callsheet status"):
        find_run(Path("outputs"), "nothing")


def test_a_run_keeps_its_name_in_the_ledger_when_its_folder_is_renamed(recipe: Recipe, tmp_path: Path) -> None:
    with opened(recipe, "x") as run:
        assert run.id == str(run.path.absolute())
        assert run.about["ledger"] == str(tmp_path / "outputs/ledger.sqlite")
        first = run.id
    (tmp_path / "outputs/mine").rename(tmp_path / "outputs/elsewhere")
    moved = tmp_path / "outputs/elsewhere" / Path(first).name
    with opened(recipe, "x", folder=moved) as again:
        assert again.id == first


def test_the_ledger_of_a_run_is_the_one_that_it_used_while_that_is_there(recipe: Recipe, tmp_path: Path) -> None:
    with opened(recipe, "x") as run:
        pass
    about = read_about(run.path)
    assert about is not None
    assert ledger_of(about, Path("other")) == Path("other/ledger.sqlite")
    (tmp_path / "outputs/ledger.sqlite").touch()
    assert ledger_of(about, Path("other")) == tmp_path / "outputs/ledger.sqlite"


def test_the_jobs_of_a_sweep_are_those_that_began_by_number(tmp_path: Path) -> None:
    assert jobs_of(tmp_path) == [tmp_path]
    for name in ("10", "9", "x"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        (tmp_path / "jobs" / name / "run.json").write_text("{}")
    (tmp_path / "jobs/11").mkdir()
    (tmp_path / "sweep.json").write_text("{}")
    assert [job.name for job in jobs_of(tmp_path)] == ["9", "10"]
