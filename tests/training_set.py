"""A small training set on disk: renders of somebody whom the embedded models have never seen, captioned by a trigger."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.library import captions
from steps.library.captions import HOLDOUT, TRAIN
from steps.studio.models import domain, layout, weights
from steps.studio.models.captions import staged_caption
from steps.studio.models.domain import Picture
from steps.studio.people import seeded

TRIGGER = "ohwx person"
needs_weights = pytest.mark.skipif(
    not (weights.shipped() / layout.MANIFEST).is_file(), reason="the embedded models' weights are not there"
)


def draw_set(data: Path, *, train: int = 6, holdout: int = 2, size: tuple[int, int] = (64, 64)) -> Path:
    """Draw images, captions and split below `data`."""
    who, parts = domain.person("stranger", 0), {}
    for number in range(train + holdout):
        rng = seeded(f"training set {number}")
        shown = Picture(who, domain.random_scene(rng), domain.random_shot(rng))
        name = f"{number:03d}"
        parts[name] = TRAIN if number < train else HOLDOUT
        _put(data / captions.IMAGES / f"{name}.png", shown, size)
        path = data / captions.CAPTIONS / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(staged_caption(shown, TRIGGER, rng) + "\n")
    captions.write_split(data / captions.SPLIT, parts)
    return data


def _put(path: Path, shown: Picture, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = shown.draw(max(size))
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    image.crop((left, top, left + size[0], top + size[1])).save(path)
