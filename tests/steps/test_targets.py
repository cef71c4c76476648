"""Targets by recipe, group and actor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from steps.library.actors import Library
from steps.targets import Targets, Wanted
from tests.library import make_library

WEIGHTS = {"photorealistic": 65, "bw_stylized": 20, "color_stylized": 15}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    root = make_library(tmp_path / "data", training=0)
    (root / "groups.yaml").write_text("villains: [1, 2]\n")
    return Library(root)


def _targets(library: Library, **changed: Any) -> Targets:
    per = changed.pop("per", [])
    wanted = {"total": 20, "targets": WEIGHTS, "tolerance": 10.0, "min_quality": 1, **changed}
    return Targets(Wanted(**wanted), per, library, "steps.plan")


def test_everybody_has_the_recipes_target(library: Library) -> None:
    assert _targets(library).of(0).counts == {"photorealistic": 13, "bw_stylized": 4, "color_stylized": 3}


def test_a_group_and_an_actor_have_their_own_and_keep_what_is_not_named(library: Library) -> None:
    per = [{"actors": "@villains", "total": 30, "tolerance": 0}, {"actors": [2], "targets": {"ink": 1}}]
    targets = _targets(library, per=per)
    assert sum(targets.of(0).counts.values()) == 20
    assert (targets.of(1).total, targets.of(1).tolerance) == (30, 0)
    assert (targets.of(2).counts, targets.of(2).tolerance) == ({"ink": 30}, 0)
    assert targets.classes() == {*WEIGHTS, "ink"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"targets": {}}, "steps.plan.targets"),
        ({"targets": {"a": 0}}, "one of them more than 0"),
        ({"targets": {"a": -1, "b": 3}}, "0 or more"),
        ({"targets": {"a": float("nan")}}, "0 or more"),
        ({"targets": {"a": True}}, "weights are numbers"),
        ({"targets": {1: 2}}, "a weight for each class"),
        ({"total": 0}, "steps.plan.total = 0"),
        ({"tolerance": 101}, "steps.plan.tolerance = 101"),
        ({"per": [{"total": 3}]}, "steps.plan.per[0]: give actors"),
        ({"per": ["@villains"]}, "steps.plan.per[0]: give actors"),
        ({"per": [{"actors": 0, "totl": 3}]}, "not 'totl'"),
        ({"per": [{"actors": 0, "total": "3"}]}, "steps.plan.per[0].total = '3'"),
        ({"per": [{"actors": 0, "total": 2.5}]}, "a whole number"),
        ({"per": [{"actors": "@heroes", "total": 3}]}, "'@heroes'"),
        ({"per": [{"actors": 77, "total": 3}]}, "77 names nobody"),
    ],
)
def test_what_can_not_be_is_refused(library: Library, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        _targets(library, **changed)
