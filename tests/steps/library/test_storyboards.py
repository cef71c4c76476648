"""Storyboards found again on disk: strangers' files, and what of a run is its comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
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


def spoil(run: Path, key: str, value: object) -> None:
    """Give the first storyboard, or its first frame where that has such a key, another value."""
    source = run / "results.json"
    document = json.loads(source.read_text("utf-8"))
    about, row = document["storyboards"][0], document["results"][0]
    (row if key in (*row, "null_percentile") else about)[key] = value
    source.write_text(json.dumps(document), "utf-8")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("drawn_at", 5),
        ("drawn_at", "yesterday"),
        ("drawn_at", "2026-11-21T10:00:00\n"),
        ("seconds", {"load": -1e308, "sample": -1e308}),
        ("seconds", {"sample": -1}),
        ("seconds", {"sample": 1e308}),
        ("seconds", 3),
        ("lora", ["x"]),
        ("lora", "../../etc/passwd"),
        ("attempts", 10**30),
        ("attempts", 0),
        ("score", 1e308),
        ("first_score", -11),
        ("null_percentile", 101),
        ("lora_scale", -0.5),
        ("adapter_scale", 1e9),
        ("peak_memory_bytes", 1e16),
        ("usd", -1),
        ("retries", "many"),
        ("threshold", [0.7]),
        ("face_score", "sure"),
        ("sampling", {"steps": [30]}),
        ("sampling", {"guidance": 1e308}),
        ("sampling", "euler"),
        ("seed", 2**70),
        ("character", ["fox"]),
        ("text", 7),
    ],
)
def test_a_value_that_no_storyboard_can_have_is_told_with_file_and_key(tmp_path: Path, key: str, value: object) -> None:
    run = draw_run(tmp_path / "run", arms=["simple"], frames=1, size=(8, 8))
    spoil(run, key, value)
    with pytest.raises(UserError) as caught:
        read_storyboards([run])
    assert str(caught.value).startswith(f"{run / 'results.json'}, /")
    assert f"/0/{key}" in str(caught.value)


def test_what_the_step_writes_is_read(tmp_path: Path) -> None:
    about: dict[str, Any] = {
        "drawn_at": "2026-11-21T10:00:00+00:00",
        "seconds": {"load": 0.0, "sample": 3.5},
        "lora": "ab" * 32,
        "usd": None,
        "peak_memory_bytes": 9e9,
        "sampling": {"steps": 30, "guidance": 7.5, "width": 64, "height": 64, "negative": ""},
        "retries": 2,
        "threshold": 0.7,
        "face_score": 0.7,
    }
    board = read_storyboards([draw_run(tmp_path / "run", arms=["simple"], frames=1, size=(8, 8), **about)])[0]
    assert (board.drawn_at, board.lora, board.seconds) == (about["drawn_at"], about["lora"], about["seconds"])
    assert board.settings["face_score"] == 0.7
