"""Imported by a zygote: its jobs find scripted models where the embedded ones are, so that drawing takes no time and killing all of it.

Frames 2 and 3 fail the gate at first, and frame 4 always.
"""

from __future__ import annotations

from typing import Any

from steps.backends import embedded_models
from tests.frames import FACE, SMALL, ScriptedClip, ScriptedFaces, ScriptedModel

POOR = 0.1
MODEL = ScriptedModel()
CLIP = ScriptedClip({(2, 0): POOR, (3, 0): POOR, (3, 1): POOR, **{(4, attempt): POOR for attempt in range(3)}})
FACES = ScriptedFaces({(1, 0): (), (1, 1): (FACE, SMALL)})
PARTS: dict[type, tuple[Any, tuple[str, ...]]] = {
    embedded_models.EmbeddedDiffusion: (MODEL, ("identity", "side", "prepare", "load", "pose")),
    embedded_models.EmbeddedClip: (
        CLIP,
        ("identity", "prefix", "threshold", "limit", "prepare", "images", "texts", "tokens"),
    ),
    embedded_models.EmbeddedFaces: (FACES, ("identity", "prepare", "find", "reference")),
}

for _kind, (_scripted, _names) in PARTS.items():
    for _name in _names:
        setattr(_kind, _name, getattr(_scripted, _name))
