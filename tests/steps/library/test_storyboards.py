"""Storyboards found again on disk: strangers' files, and what of a run is its comparison."""

from __future__ import annotations

from pathlib import Path

from steps.library.storyboards import main_strengths, read_storyboards
from tests.steps.study.boards import draw_run


def test_a_curve_over_strengths_is_told_from_the_comparison_that_it_lies_beside(tmp_path: Path) -> None:
    draw_run(tmp_path / "run" / "first_stories", arms=["baseline"], frames=1, size=(8, 8))
    draw_run(tmp_path / "run" / "simple", arms=["simple"], frames=1, size=(8, 8), lora_scale=1.0)
    draw_run(tmp_path / "run" / "strength", arms=["simple"], seeds=[1], frames=1, size=(8, 8), lora_scale=0.5)
    found = main_strengths(read_storyboards([tmp_path / "run"]))
    assert {(board.mode, board.lora_scale) for board in found.kept} == {("baseline", None), ("simple", 1.0)}
    assert [(board.story, board.lora_scale) for board in found.left_out] == [("dry_well", 0.5), ("lost_foal", 0.5)]


def test_of_strengths_with_as_many_storyboards_none_is_left_out(tmp_path: Path) -> None:
    for name, scale in (("weak", 0.5), ("strong", 1.0)):
        draw_run(tmp_path / name, arms=["simple"], frames=1, size=(8, 8), lora_scale=scale)
    found = main_strengths(read_storyboards([tmp_path / "weak", tmp_path / "strong"]))
    assert len(found.kept) == 8
    assert found.left_out == []
