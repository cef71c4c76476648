"""The embedded image backend's picture: a full-body studio portrait of what a description says."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from steps.studio.people import seeded
from steps.studio.wording import read
from steps.studio.world import Scene, Shot, draw


def studio_portrait(description: str, outfit: str, size: tuple[int, int], seed: int) -> Image.Image:
    """A person as told, standing before a plain backdrop and facing front (RGB, `size` pixels wide and high).

    The same arguments give the same pixels. Another seed changes pose, backdrop and the face's proportions, and nothing
    that the texts say.
    """
    rng = seeded(f"portrait {seed}")
    character = replace(read(description, outfit), face_seed=rng.randrange(2**31))
    shot = Shot("full", rng.choice(("standing", "standing", "akimbo")), "front", sway=rng.uniform(-1, 1))
    scene = Scene("studio", rng.randrange(2**31))
    return draw(character, scene, shot, size=size, seed=rng.randrange(2**31), style="photorealistic")
