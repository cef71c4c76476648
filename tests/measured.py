"""Measured storyboards for tests, made from figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from steps.ablating import FURTHER
from steps.library.preregistrations import METRICS, Contrast, Preregistration
from steps.measured_boards import MeasuredBoard, MeasuredFrame

SCALES = {"baseline": (None, None), "simple": (1.0, None), "adapter": (None, 0.6), "reference": (1.0, 0.6)}
STORIES = tuple(f"story_{number:02d}" for number in range(8))


def board(mode: str = "simple", story: str = "story_00", seed: int = 0, **changes: Any) -> MeasuredBoard:
    """One storyboard; what is given of METRICS and FURTHER counts, the rest is 0.5."""
    metrics = {name: changes.pop(name, 0.5) for name in (*METRICS, *FURTHER)}
    lora, adapter = SCALES[mode]
    given: dict[str, Any] = {
        "key": f"{story}-{mode}-{seed}",
        "folder": "",
        "character": "fox",
        "drawn_as": mode,
        "lora_scale": lora,
        "adapter_scale": adapter,
        "frames": tuple(frame(number, metrics) for number in (1, 2, 3)),
        "seconds": 3.0,
        "usd": None,
        "peak_memory_bytes": 1e9,
        "drawn_at": "2026-11-21T11:00:00+00:00",
        "settings": {"retries": 2, "threshold": 0.9, "sampling": {"guidance": 3.0}},
        "pixels": f"{story} {mode} {seed}",
        **changes,
    }
    return MeasuredBoard(mode=mode, story=story, seed=seed, metrics=metrics, **given)


def frame(number: int, metrics: dict[str, Any]) -> MeasuredFrame:
    """A frame of a storyboard with these metrics."""
    likeness = metrics["likeness"]
    return MeasuredFrame(
        frame=number,
        file=f"frame_{number}.png",
        faces=0 if likeness is None else 1,
        likeness=likeness,
        frame1=None if number == 1 else metrics["frame1"],
        copy_paste=None,
        first_likeness=likeness,
        clip=metrics["clip"] or 0.0,
        first_clip=metrics["clip"] or 0.0,
        null_percentile=50.0,
        passed=True,
        attempts=1,
    )


def study_of(
    modes: Iterable[str], stories: Iterable[str] = STORIES, seeds: Iterable[int] = (0, 1), **gains: float
) -> list[MeasuredBoard]:
    """Storyboards in which each mode has its own likeness and consistency (`simple=0.2` adds 0.2), a little other in each story."""
    found = []
    for number, story in enumerate(stories):
        for seed in seeds:
            for mode in modes:
                value = 0.3 + 0.01 * number + 0.003 * seed + gains.get(mode, 0.0) * (1 + 0.02 * number)
                found.append(board(mode, story, seed, likeness=value, consistency=value, clip=1.1))
    return found


def plan(*comparisons: tuple[str, str, str], **changes: Any) -> Preregistration:
    """A preregistration of the storyboards of `study_of`."""
    asked = tuple(Contrast(*each) for each in comparisons)
    given: dict[str, Any] = {
        "arms": tuple(dict.fromkeys(arm for each in asked for arm in (each.b, each.a))),
        "stories": STORIES,
        "seeds": (0, 1),
        "characters": {"fox": "fox"},
        "retries": 2,
        "written_at": "2026-11-21T10:00:00+00:00",
        **changes,
    }
    return Preregistration(primary=asked[0], comparisons=asked, **given)
