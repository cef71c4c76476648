"""Where it happens: seven places, painted in a space that is 1 high and as wide as the picture is."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from steps.studio.canvas import Painter, dimmed, mixed, oval, points, smooth, thread
from steps.studio.colours import RGB
from steps.studio.framing import Spot
from steps.studio.people import seeded

PLACES = ("steppe", "market", "night", "desert", "snow", "yurt", "studio")
_BACKDROPS: tuple[RGB, ...] = (
    (204, 206, 208),
    (216, 206, 192),
    (190, 202, 212),
    (206, 212, 196),
    (212, 198, 204),
    (186, 190, 198),
)
_FRUIT: tuple[RGB, ...] = ((206, 58, 48), (236, 150, 44), (120, 160, 60), (150, 60, 110))


@dataclass(frozen=True)
class Scene:
    """A place; `layout` draws its hills, stalls and tints, so that two pictures can show the same spot."""

    place: str = "studio"
    layout: int = 0


def paint_scene(painter: Painter, scene: Scene) -> None:
    """Fill the whole canvas with the place."""
    rng = seeded(f"{scene.place} {scene.layout}")
    _PAINTINGS[scene.place](painter, painter.size[0] / painter.size[1], rng)


def _sky(painter: Painter, top: RGB, bottom: RGB) -> None:
    """A vertical gradient over the whole canvas."""
    shades = np.linspace(top, bottom, 256)[:, None, :]
    column = Image.fromarray(shades.round().astype(np.uint8))
    if painter.mode == "L":
        # Engraved, a sky is lighter than it is: a figure before it must stand out.
        column = column.convert("L").point([min(255, round(120 + value * 0.6)) for value in range(256)])
    painter.image.paste(column.resize(painter.size, Image.Resampling.BILINEAR))


def _ground(painter: Painter, wide: float, y: float, colour: RGB) -> None:
    painter.fill(points([(-0.1, y), (wide + 0.1, y), (wide + 0.1, 1.1), (-0.1, 1.1)]), colour, soft=0.0, line=0.6)


def _ridge(painter: Painter, rng: random.Random, wide: float, heights: tuple[float, float], colour: RGB) -> None:
    """A chain of hills with its feet below the picture; heights are the y of valleys and of tops."""
    valley, top = heights
    count = max(4, round(wide * 5))
    spots: list[Spot] = [(-0.2, 1.2), (-0.2, 1.2)]
    for index in range(count + 1):
        y = rng.uniform(top, (top + valley) / 2) if index % 2 else rng.uniform((top + valley) / 2, valley)
        spots.append(((index / count) * (wide + 0.4) - 0.2, y))
    painter.fill(smooth([*spots, (wide + 0.2, 1.2), (wide + 0.2, 1.2)]), colour, soft=0.0, line=0.6)


def _cloud(painter: Painter, at: Spot, size: float, colour: RGB) -> None:
    x, y = at
    puff = [(-1.0, 0.1), (-0.7, -0.2), (-0.3, -0.3), (0.1, -0.46), (0.5, -0.24), (0.9, -0.12), (1.1, 0.1), (0.0, 0.16)]
    painter.fill(smooth([(x + a * size, y + b * size) for a, b in puff]), colour, line=0)


def _yurt_tent(painter: Painter, at: Spot, size: float, glow: bool) -> None:
    x, y = at
    felt: RGB = (232, 224, 206) if not glow else (120, 112, 118)
    painter.fill(
        smooth(
            [
                (x - size, y - size * 0.5),
                (x - size, y - size * 0.5),
                (x - size * 0.3, y - size),
                (x + size * 0.3, y - size),
                (x + size, y - size * 0.5),
                (x + size, y - size * 0.5),
            ]
        ),
        felt,
        line=0.6,
    )
    painter.fill(
        points([(x - size, y - size * 0.5), (x + size, y - size * 0.5), (x + size * 0.96, y), (x - size * 0.96, y)]),
        dimmed(felt, 0.9),
        line=0.6,
    )
    painter.fill(
        points(
            [
                (x - size * 0.97, y - size * 0.46),
                (x + size * 0.97, y - size * 0.46),
                (x + size * 0.97, y - size * 0.34),
                (x - size * 0.97, y - size * 0.34),
            ]
        ),
        (176, 58, 48),
        line=0,
    )
    door: RGB = (255, 206, 110) if glow else (150, 70, 50)
    painter.fill(
        points(
            [
                (x - size * 0.2, y - size * 0.4),
                (x + size * 0.2, y - size * 0.4),
                (x + size * 0.2, y),
                (x - size * 0.2, y),
            ]
        ),
        door,
        line=0.5,
    )


def _steppe(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (112, 178, 226), (232, 240, 236))
    sun = (rng.choice((0.16, 0.84)) * wide, rng.uniform(0.1, 0.2))
    painter.glow(sun, (0.2, 0.2), (255, 244, 190), 0.7)
    painter.fill(oval(sun, 0.055, 0.055), (255, 236, 150), line=0)
    for _ in range(3):
        _cloud(painter, (rng.uniform(0, wide), rng.uniform(0.08, 0.34)), rng.uniform(0.06, 0.12), (250, 250, 248))
    _ridge(painter, rng, wide, (0.6, 0.38), (146, 166, 190))
    _ridge(painter, rng, wide, (0.63, 0.5), (120, 152, 138))
    _ridge(painter, rng, wide, (0.68, 0.62), (132, 172, 86))
    _yurt_tent(painter, (rng.choice((0.13, 0.87)) * wide, 0.7), 0.075, glow=False)
    _ridge(painter, rng, wide, (0.8, 0.74), (112, 158, 72))
    for _ in range(round(26 * wide)):
        x, y = rng.uniform(0, wide), rng.uniform(0.8, 1.0)
        painter.stroke(points([(x, y), (x + rng.uniform(-0.01, 0.01), y - 0.025)]), (84, 128, 56), 0.005)
    for _ in range(round(10 * wide)):
        painter.fill(
            oval((rng.uniform(0, wide), rng.uniform(0.8, 1.0)), 0.007, 0.007),
            rng.choice(((214, 66, 56), (244, 206, 80))),
            line=0,
        )


def _market(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (240, 214, 166), (228, 190, 142))
    for index in range(max(2, round(wide * 3))):
        x = (index + 0.5) / max(2, round(wide * 3)) * wide
        arch = [
            (x - 0.1, 0.7),
            (x - 0.1, 0.7),
            (x - 0.1, 0.4),
            (x, 0.28),
            (x + 0.1, 0.4),
            (x + 0.1, 0.7),
            (x + 0.1, 0.7),
        ]
        painter.fill(smooth(arch), (188, 136, 98), line=0.6)
    cloth: RGB = rng.choice(((200, 54, 50), (44, 120, 128), (60, 92, 160)))
    count = max(6, round(wide * 10))
    for index in range(count):
        left, right = index / count * wide, (index + 1) / count * wide
        colour = cloth if index % 2 else (246, 238, 224)
        painter.fill(
            points([(left, 0.0), (right, 0.0), (right, 0.15), ((left + right) / 2, 0.19), (left, 0.15)]),
            colour,
            line=0.5,
        )
    painter.stroke(thread([(0.0, 0.22), (wide * 0.5, 0.3), (wide, 0.22)]), (96, 66, 50), 0.006)
    for index in range(9):
        share = (index + 0.5) / 9
        y = 0.22 + 0.32 * share * (1 - share) + 0.02
        painter.fill(
            oval((share * wide, y), 0.017, 0.02), rng.choice(((255, 206, 96), (232, 96, 70), (96, 160, 150))), line=0.5
        )
    _ground(painter, wide, 0.78, (190, 150, 110))
    for left in (0.0, 0.66):
        _stall(painter, rng, (left * wide, 0.72), 0.34 * wide)


def _stall(painter: Painter, rng: random.Random, at: Spot, width: float) -> None:
    x, y = at
    count = max(3, round(width / 0.06))
    for row in range(2):
        for index in range(count - row):
            centre = (x + (index + 0.5 + row / 2) / count * width, y - 0.022 - row * 0.042)
            painter.fill(oval(centre, 0.03, 0.028), rng.choice(_FRUIT), soft=0.5, line=0.5)
    painter.fill(points([(x, y), (x + width, y), (x + width, y + 0.16), (x, y + 0.16)]), (134, 90, 58), line=0.6)
    painter.stroke(points([(x, y + 0.08), (x + width, y + 0.08)]), (96, 62, 42), 0.006)


def _night(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (14, 18, 52), (66, 66, 118))
    for _ in range(round(50 * wide)):
        size = rng.choice((0.0022, 0.003, 0.005))
        painter.fill(oval((rng.uniform(0, wide), rng.uniform(0, 0.55)), size, size), (250, 246, 222), line=0)
    moon = (rng.choice((0.18, 0.82)) * wide, rng.uniform(0.12, 0.22))
    painter.glow(moon, (0.22, 0.22), (180, 190, 240), 0.55)
    painter.fill(oval(moon, 0.07, 0.07), (250, 244, 214), line=0)
    painter.fill(oval((moon[0] + 0.02, moon[1] - 0.014), 0.014, 0.014), (226, 218, 190), line=0)
    _ridge(painter, rng, wide, (0.62, 0.44), (44, 50, 92))
    _ridge(painter, rng, wide, (0.7, 0.62), (34, 44, 70))
    tent = (rng.choice((0.14, 0.86)) * wide, 0.74)
    _yurt_tent(painter, tent, 0.085, glow=True)
    painter.glow(tent, (0.16, 0.1), (255, 190, 90), 0.5)
    _ridge(painter, rng, wide, (0.84, 0.78), (28, 40, 50))


def _desert(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (250, 214, 150), (254, 238, 204))
    sun = (rng.choice((0.18, 0.82)) * wide, rng.uniform(0.12, 0.22))
    painter.glow(sun, (0.26, 0.26), (255, 250, 226), 0.8)
    painter.fill(oval(sun, 0.065, 0.065), (255, 250, 222), line=0)
    tones: tuple[RGB, ...] = ((232, 190, 126), (222, 172, 104), (208, 152, 86))
    for index, colour in enumerate(tones):
        y = 0.56 + index * 0.12
        _ridge(painter, rng, wide, (y + 0.08, y - 0.02), colour)
        crest = rng.uniform(0.2, 0.8) * wide
        face = [
            (crest, y + 0.02),
            (crest, y + 0.02),
            (crest + 0.1, y + 0.1),
            (crest + 0.4, y + 0.16),
            (crest + 0.1, y + 0.18),
            (crest - 0.04, y + 0.12),
        ]
        painter.fill(smooth(face), dimmed(colour, 0.88), line=0)
    for _ in range(round(9 * wide)):
        x, y = rng.uniform(0, wide), rng.uniform(0.86, 0.99)
        painter.stroke(thread([(x, y), (x + 0.05, y - 0.008), (x + 0.1, y)]), (182, 128, 70), 0.005)


def _snow(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (164, 192, 220), (226, 234, 242))
    _ridge(painter, rng, wide, (0.6, 0.28), (176, 194, 216))
    _ridge(painter, rng, wide, (0.66, 0.54), (208, 220, 234))
    for _ in range(max(4, round(7 * wide))):
        _fir(painter, (rng.uniform(0, wide), rng.uniform(0.66, 0.74)), rng.uniform(0.12, 0.2))
    _ridge(painter, rng, wide, (0.78, 0.72), (242, 246, 250))
    painter.fill(
        smooth([(0.1 * wide, 0.86), (0.5 * wide, 0.83), (0.9 * wide, 0.9), (0.5 * wide, 0.92)]), (222, 232, 244), line=0
    )
    for _ in range(round(46 * wide)):
        size = rng.choice((0.004, 0.006, 0.009))
        painter.fill(oval((rng.uniform(0, wide), rng.uniform(0, 1)), size, size), (255, 255, 255), line=0)


def _fir(painter: Painter, foot: Spot, size: float) -> None:
    x, y = foot
    for share in (0.0, 0.28, 0.54):
        low, half = y - size * share, size * 0.3 * (1 - share * 0.9)
        painter.fill(points([(x, low - size * 0.5), (x + half, low), (x - half, low)]), (66, 104, 96), line=0.5)
        painter.fill(
            points([(x, low - size * 0.5), (x + half * 0.4, low - size * 0.3), (x - half * 0.4, low - size * 0.3)]),
            (236, 242, 248),
            line=0,
        )


def _yurt(painter: Painter, wide: float, rng: random.Random) -> None:
    _sky(painter, (150, 92, 62), (196, 134, 92))
    wood: RGB = (112, 62, 42)
    step = 0.115
    for index in range(round((wide + 0.8) / step)):
        x = index * step - 0.7
        painter.stroke(points([(x, 0.16), (x + 0.6, 0.76)]), wood, 0.011)
        painter.stroke(points([(x + 0.6, 0.16), (x, 0.76)]), mixed(wood, (160, 96, 64), 0.4), 0.011)
    band: RGB = rng.choice(((170, 40, 44), (36, 96, 120), (150, 60, 32)))
    for y, tall in ((0.0, 0.13), (0.7, 0.08)):
        painter.fill(points([(-0.1, y), (wide + 0.1, y), (wide + 0.1, y + tall), (-0.1, y + tall)]), band, line=0.6)
        _motifs(painter, wide, y + tall / 2, tall * 0.32)
    _ground(painter, wide, 0.78, (142, 34, 42))
    for y in (0.83, 0.94):
        painter.stroke(points([(0.0, y), (wide, y)]), (236, 190, 96), 0.008)
    _motifs(painter, wide, 0.885, 0.034)


def _motifs(painter: Painter, wide: float, y: float, size: float) -> None:
    count = max(3, round(wide / (size * 3.4)))
    for index in range(count):
        x = (index + 0.5) / count * wide
        painter.fill(
            points([(x, y - size), (x + size * 1.2, y), (x, y + size), (x - size * 1.2, y)]), (240, 206, 130), line=0
        )
        painter.fill(
            points([(x, y - size / 2), (x + size * 0.6, y), (x, y + size / 2), (x - size * 0.6, y)]),
            (44, 70, 96),
            line=0,
        )


def _studio(painter: Painter, wide: float, rng: random.Random) -> None:
    tint = _BACKDROPS[rng.randrange(len(_BACKDROPS))]
    _sky(painter, dimmed(tint, 0.94), tint)
    painter.glow(
        (wide * rng.uniform(0.4, 0.6), 0.36), (max(0.5, wide * 0.6), 0.52), mixed(tint, (255, 255, 255), 0.7), 0.8
    )
    floor = mixed(dimmed(tint, 0.9), (180, 160, 140), 0.2)
    painter.fill(
        smooth([(-0.4, 1.2), (-0.4, 0.9), (wide / 2, 0.865), (wide + 0.4, 0.9), (wide + 0.4, 1.2)]), floor, line=0
    )
    painter.glow((wide / 2, 0.95), (wide * 0.5, 0.09), mixed(floor, (255, 255, 255), 0.5), 0.5)


_PAINTINGS = {
    "steppe": _steppe,
    "market": _market,
    "night": _night,
    "desert": _desert,
    "snow": _snow,
    "yurt": _yurt,
    "studio": _studio,
}
