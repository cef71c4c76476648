"""The procedural world: one cartoon person in a scene, in three styles; the same arguments give the same pixels.

It draws the sample library and what the embedded models learn from. A character says who, a scene where, a shot how.
"""

from __future__ import annotations

import random
from dataclasses import replace

from PIL import Image, ImageChops, ImageFilter

from steps.studio.canvas import Painter, oval
from steps.studio.framing import (
    FACINGS,
    GESTURES,
    HOOF,
    SEAT,
    SHOTS,
    SOLE,
    Frame,
    Rig,
    Shot,
    frame_of,
    keypoints,
    rig_of,
)
from steps.studio.garments import paint_arms, paint_legs, paint_torso
from steps.studio.hair import paint_beard, paint_hair, paint_hair_behind, paint_moustache
from steps.studio.hats import paint_hat, paint_wrap_behind
from steps.studio.heads import paint_face, paint_marks, paint_mouth, paint_neck
from steps.studio.horse import paint_horse
from steps.studio.painters import STYLES, ComicPainter, InkPainter, PhotoPainter
from steps.studio.people import Character, random_character, seeded
from steps.studio.scenery import PLACES, Scene, paint_scene

__all__ = [
    "FACINGS",
    "GESTURES",
    "PLACES",
    "SHOTS",
    "STYLES",
    "Character",
    "Scene",
    "Shot",
    "draw",
    "draw_scene",
    "keypoints",
    "random_character",
    "random_scene",
    "random_shot",
]

_PAINTERS: dict[str, type[ComicPainter]] = {
    "photorealistic": PhotoPainter,
    "bw_stylized": InkPainter,
    "color_stylized": ComicPainter,
}


def draw(
    character: Character,
    scene: Scene,
    shot: Shot,
    *,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    style: str = "color_stylized",
) -> Image.Image:
    """Draw a picture (RGB, `size` pixels wide and high).

    Args:
        character: Who.
        scene: Where.
        shot: How.
        size: 32 to 2048 pixels each way, any aspect.
        seed: Grain, hatching and other accidents; neither who nor where.
        style: One of STYLES.
    """
    painter = _set(scene, size, seed, style)
    painter.frame = frame_of(character, shot, size)
    painter.frame = replace(
        painter.frame,
        scale=painter.frame.scale * painter.over,
        x=painter.frame.x * painter.over,
        y=painter.frame.y * painter.over,
    )
    _ground_shadow(painter, shot)
    _figure(painter, character, shot)
    if scene.place == "night" and style != "bw_stylized":
        _moonlight(painter)
    return painter.finish(size)


def draw_scene(
    scene: Scene, *, size: tuple[int, int] = (64, 64), seed: int = 0, style: str = "color_stylized"
) -> Image.Image:
    """Draw a place with nobody in it; see `draw`."""
    return _set(scene, size, seed, style).finish(size)


def random_scene(rng: random.Random) -> Scene:
    """Any place."""
    return Scene(rng.choice(PLACES), rng.randrange(2**31))


def random_shot(rng: random.Random) -> Shot:
    """Any shot."""
    return Shot(rng.choice(SHOTS), rng.choice(GESTURES), rng.choice(FACINGS), rng.uniform(-1, 1), rng.uniform(-1, 1))


def _set(scene: Scene, size: tuple[int, int], seed: int, style: str) -> ComicPainter:
    """A painter whose canvas shows the scene."""
    painting = _PAINTERS.get(style)
    if painting is None:
        raise ValueError(f"style {style!r} is not one of {', '.join(STYLES)}")
    over = 4 if max(size) <= 320 else 3 if max(size) <= 800 else 2
    painter = painting(size, over, seeded(f"picture {seed}"))
    if style != "photorealistic":
        _paint_place(painter, scene)
        return painter
    # Out of focus: a small copy is enough, and much faster.
    share = 0.5 if max(painter.size) <= 640 else 0.25
    small = painting((round(painter.size[0] * share), round(painter.size[1] * share)), 1, painter.rng)
    _paint_place(small, scene)
    defocus = small.size[1] * (0.008 if scene.place != "studio" else 0.02)
    soft = small.image.filter(ImageFilter.GaussianBlur(defocus))
    painter.image.paste(soft.resize(painter.size, Image.Resampling.BICUBIC))
    return painter


def _paint_place(painter: ComicPainter, scene: Scene) -> None:
    painter.frame = Frame(float(painter.size[1]), 0.0, 0.0)
    figures, painter.line_share = painter.line_share, 0.005
    paint_scene(painter, scene)
    painter.line_share = figures
    # What the scene covered is not the figure, on which alone shadows fall.
    painter.cover.paste(0, (0, 0, *painter.size))


def _ground_shadow(painter: Painter, shot: Shot) -> None:
    depth, reach = {"sitting": (SEAT - 0.12, 1.45), "riding": (HOOF, 1.9)}.get(shot.gesture, (SOLE - 0.06, 0.95))
    for share, strength in ((1.0, 0.35), (0.6, 0.3)):
        x, y = painter.frame.place(oval((0.0, depth), 1e-6, 1e-6))[0]
        flat = replace(painter.frame, x=float(x), y=float(y), stretch=1.0)
        painter.frame, kept = flat, painter.frame
        painter.glow((0.0, 0.0), (reach * share * 1.2, 0.22 * share), (24, 20, 28), strength)
        painter.frame = kept


def _figure(painter: Painter, who: Character, shot: Shot) -> None:
    rig = rig_of(who, shot)
    if shot.gesture == "riding":
        paint_horse(painter, who, rig)
    paint_hair_behind(painter, who, rig)
    paint_legs(painter, who, rig, shot)
    paint_neck(painter, who, rig)
    paint_torso(painter, who, rig, shot)
    paint_arms(painter, who, rig)
    paint_wrap_behind(painter, who, rig)
    _head(painter, who, rig)


def _head(painter: Painter, who: Character, rig: Rig) -> None:
    paint_face(painter, who, rig)
    paint_beard(painter, who, rig)
    paint_mouth(painter, who, rig)
    paint_moustache(painter, who, rig)
    paint_hair(painter, who, rig)
    paint_marks(painter, who, rig)
    paint_hat(painter, who, rig)


def _moonlight(painter: ComicPainter) -> None:
    tint = Image.new(painter.mode, painter.size, (164, 174, 216))
    painter.image = ImageChops.multiply(
        painter.image, Image.composite(tint, Image.new(painter.mode, painter.size, "white"), painter.cover)
    )
