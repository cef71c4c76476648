"""Recipes: composed by Hydra, typed, checked whole, and digested by what matters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.recipe import Recipe, all_recipes, compose, fill_references, locate, resolve
from steps.validate import ValidateParams

RECIPE = """
defaults:
  - base
  - steps@steps.look: validate
  - steps@steps.look_twice: validate
  - steps@steps.plan: plan
  - _self_
actors: null
steps:
  look:
    actors: ${actors}
  look_twice:
    votes: 2
  plan:
    assessments: ${step:look}/results.json
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def load(path: Path, *overrides: str) -> Recipe:
    return resolve(path, compose(path, overrides))


def test_steps_keep_their_order_and_one_step_may_stand_twice(path: Path) -> None:
    recipe = load(path)
    assert [(step.label, step.name) for step in recipe.steps] == [
        ("look", "validate"),
        ("look_twice", "validate"),
        ("plan", "plan"),
    ]
    assert recipe.steps[1].params == ValidateParams(votes=2)


def test_an_override_changes_one_and_a_tilde_drops_one(path: Path) -> None:
    recipe = load(path, "steps.look_twice.votes=5", "~steps.plan", "actors=[0-49,77]")
    assert [step.label for step in recipe.steps] == ["look", "look_twice"]
    assert recipe.steps[0].params.actors == ["0-49", 77]
    assert recipe.steps[1].params.votes == 5


def test_only_the_backends_of_the_steps_used_are_built(path: Path) -> None:
    assert set(load(path).backends) == {"vision", "image", "storage"}
    assert set(load(path, "~steps.plan").backends) == {"vision"}


def test_references_become_folders(path: Path) -> None:
    params = load(path).steps[2].params
    assert params.assessments == "step://look/results.json"
    assert fill_references(params, {"look": Path("/runs/1/look")}).assessments == "/runs/1/look/results.json"


def test_all_faults_are_told_at_once_with_key_value_and_what_is_allowed(path: Path) -> None:
    path.write_text(
        RECIPE.replace("votes: 2", "votes: 0").replace("${step:look}", "${step:later}") + "seed: -1\nnobody: 1\n"
    )
    with pytest.raises(UserError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("mine.yaml: nobody is not a setting and nothing refers to ${nobody}")
    assert (
        "mine.yaml: steps.look_twice.votes = 0 is not allowed: give 1 or more (how many assessments must agree before a rejection counts)"
        in lines
    )
    assert (
        "mine.yaml: steps.plan.assessments: ${step:later} is no step before this one: choose from look, look_twice"
        in lines
    )
    assert "mine.yaml: seed = -1 is not allowed: give 0 or more (everything drawn at random comes from it)" in lines
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["steps.look.votes=many"], ["steps.look.votes", "many", "Integer"]),
        (["steps.look.vote=1"], ["steps.look.vote", "mine.yaml"]),
        (["workers=many"], ["workers", "many"]),
        (["profile=clowd"], ["profile", "clowd", "embedded"]),
        (["actors=a,b"], ["actors=[a,b]", "-m"]),
        (["steps.plan.assessments=${step:plan}/x"], ["steps.plan.assessments", "no step before this one"]),
    ],
)
def test_a_wrong_override_names_key_and_way_out(path: Path, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(path, *overrides)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "override",
    ["workers=99", "budget.usd=1", "outputs=elsewhere", "retry.attempts=9", "quiet=true", "ledger=x", "grace_s=1"],
)
def test_what_changes_no_result_enters_no_digest(path: Path, override: str) -> None:
    assert load(path).digest == load(path, override).digest


@pytest.mark.parametrize(
    "override", ["seed=1", "execute=true", "data=elsewhere", "steps.look.votes=3", "fresh=true", "~steps.plan"]
)
def test_what_may_change_a_result_does(path: Path, override: str) -> None:
    assert load(path).digest != load(path, override).digest


def test_a_recipe_is_found_by_name_here_first_then_among_ours(path: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    assert locate("demo").parent.name == "recipes"
    mine = tmp_path / "recipes" / "demo.yaml"
    mine.write_text(RECIPE)
    assert locate("demo") == mine
    assert locate("mine.yaml") == path
    with pytest.raises(UserError, match=r"'nope' is not found: give a path, or one of: .*validate_base_images"):
        locate("nope")


@pytest.mark.parametrize("path", sorted(path.resolve() for path in all_recipes()), ids=lambda path: path.stem)
def test_every_recipe_of_ours_introduces_itself_and_composes(path: Path) -> None:
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(header) >= 3
    assert header[0].endswith(".")
    assert any(f"callsheet run {path.stem}" in line for line in header)
    asked_for = re.findall(r"^(\w+): \?\?\?", path.read_text(), re.MULTILINE)
    assert load(path, *(f"{name}=x" for name in asked_for)).steps


def test_the_same_words_in_another_folder_are_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two projects that share one outputs folder have a library each."""
    path = tmp_path / "mine.yaml"
    path.write_text("defaults: [base, steps@steps.look: validate, _self_]\n")
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        digests += [resolve(path, compose(path, words)).digest for words in ([], [f"data={tmp_path / name / 'data'}"])]
    assert digests[0] == digests[1] != digests[2] == digests[3]


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("vision.limits.requests_per_minute=5", True),
        ("vision.timeout_s=5", True),
        ("vision.prices=mine.yaml", True),
        ("vision.model=gpt-6-luna", False),
        ("vision.base_url=http://localhost:11434/v1", False),
    ],
)
def test_how_fast_a_backend_is_asked_enters_no_digest(path: Path, override: str, same: bool) -> None:
    assert (load(path, "vision=openai").digest == load(path, "vision=openai", override).digest) is same
