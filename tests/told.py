"""Folders as the step `storyboard` leaves them, with frames that are renders: the truth about their faces is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner import files
from steps.studio.models import domain
from steps.studio.world import Shot
from tests.measured import SCALES

MODELS: Mapping[str, str] = {
    "diffusion": "embedded diffusion 12ab",
    "clip": "embedded clip 12ab",
    "faces": "embedded faces choose 12ab",
    "language": "embedded language 12ab",
}
HERO = 0
"""Who is to be drawn, of the embedded world's strangers."""


def portrait(path: Path, person: int, number: int) -> None:
    """One render of a stranger with the face well seen; another number is another picture."""
    rng = random.Random(f"{person} {number}")
    shot = Shot("portrait", "standing", "front", rng.uniform(-0.3, 0.3), 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    domain.Picture(domain.person("stranger", person), domain.random_scene(rng), shot).draw().save(path)


def portraits(folder: Path, *people: int, start: int = 1000) -> Path:
    """A render of each, in one folder."""
    for number, person in enumerate(people):
        portrait(folder / f"image_{number}.png", person, start + number)
    return folder


def tell(
    folder: Path,
    who: Mapping[str, Sequence[int]],
    stories: Sequence[str],
    seeds: Sequence[int] = (0,),
    **changes: Any,
) -> Path:
    """Write a step's folder.

    Args:
        folder: New.
        who: By mode, who is seen in each frame.
        stories: Their names.
        seeds: Of each story.
        changes: Of every storyboard's entry in results.json.
    """
    boards, rows = [], []
    for story in stories:
        for mode, people in who.items():
            for seed in seeds:
                key = f"{story}-{mode}-{seed}"
                lora, adapter = SCALES[mode]
                entry = {"storyboard": key, "character": "hero", "story": story, "mode": mode, "drawn_as": mode}
                scales = {"seed": seed, "lora_scale": lora, "adapter_scale": adapter}
                told = {"seconds": {"load": 9.0, "sample": 3.0}, "usd": 0.0, "retries": 2, "threshold": 0.9}
                boards.append(entry | scales | told | changes)
                rows += [_row(folder, key, person, number) for number, person in enumerate(people, 1)]
    files.write_json(folder / "results.json", {"models": MODELS, "storyboards": boards, "results": rows})
    return folder


def _row(folder: Path, key: str, person: int, number: int) -> dict[str, Any]:
    file = f"{key}/frame_{number}.png"
    portrait(folder / file, person, hash_of(key) + number)
    about = {"storyboard": key, "frame": number, "file": file, "first_file": file}
    return about | {"score": 1.2, "first_score": 1.1, "null_percentile": 80.0, "passed": True, "attempts": 2}


def hash_of(key: str) -> int:
    """Another number for another key."""
    return sum(ord(letter) * place for place, letter in enumerate(key, 1)) * 10
