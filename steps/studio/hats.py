"""Hats, scarves and hoods. Each sits on the skull of `heads.skull`, whatever the face's width."""

from __future__ import annotations

import math

import numpy as np

from steps.studio.canvas import Painter, dimmed, mirrored, mixed, oval, smooth, thread
from steps.studio.colours import COLOURS, RGB
from steps.studio.framing import Points, Rig
from steps.studio.people import Character


def paint_wrap_behind(painter: Painter, who: Character, rig: Rig) -> None:
    """The part of a scarf or hood that lies behind the face and over neck and shoulders."""
    width, colour = rig.face.width, COLOURS[who.hat_colour]
    if who.hat == "headscarf":
        drape = mirrored(
            [(0.0, 0.3), (width + 0.1, 0.35), (width + 0.13, 0.8), (0.42, 1.16), (0.56, 1.42), (0.3, 1.66), (0.0, 1.74)]
        )
    elif who.hat == "hood":
        drape = mirrored(
            [(0.0, 0.3), (width + 0.16, 0.35), (width + 0.2, 0.85), (0.62, 1.25), (0.7, 1.42), (0.3, 1.62), (0.0, 1.72)]
        )
    else:
        return
    painter.fill(drape, dimmed(colour, 0.9), soft=0.7)
    painter.stroke(thread([(-0.3, 1.06), (-0.1, 1.3), (0.05, 1.55)]), dimmed(colour, 0.66), 0.016)
    painter.stroke(thread([(0.32, 1.04), (0.2, 1.25), (0.06, 1.42)]), dimmed(colour, 0.66), 0.016)


def paint_hat(painter: Painter, who: Character, rig: Rig) -> None:
    """The hat, on the head."""
    painting = _PAINTINGS.get(who.hat)
    if painting is None:
        return
    if who.hat not in ("headscarf", "hood"):
        painter.shadow(oval((0.0, 0.16), rig.face.width + 0.02, 0.13), (0.02, 0.05), 0.75)
    painting(painter, who, rig, COLOURS[who.hat_colour])


def _trim(who: Character) -> RGB:
    """The trimming: the outfit's second colour, or a dark or light one where that would not show."""
    hat, trim = COLOURS[who.hat_colour], who.trim_rgb
    if sum(abs(a - b) for a, b in zip(hat, trim, strict=True)) > 150:
        return trim
    return COLOURS["maroon"] if sum(hat) > 330 else COLOURS["beige"]


def _cap(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width, shift = rig.face.width, rig.turn * 0.14
    painter.fill(
        mirrored(
            [
                (0.0, -0.13),
                (width * 0.66, -0.09),
                (width + 0.04, 0.08),
                (width + 0.06, 0.26),
                (width * 0.5, 0.27),
                (0.0, 0.265),
            ]
        ),
        colour,
        soft=0.7,
    )
    for x in (-0.45, 0.45):
        painter.stroke(thread([(0.0, -0.12), (width * x, 0.02), (width * x * 1.2, 0.24)]), dimmed(colour, 0.72), 0.012)
    half = [
        (0.0, 0.225),
        (width * 0.8, 0.24),
        (width + 0.03, 0.27),
        (width * 0.8, 0.36),
        (width * 0.4, 0.395),
        (0.0, 0.4),
    ]
    painter.fill(mirrored([(x + shift, y) for x, y in half], shift), dimmed(colour, 0.74), soft=0.6)
    painter.fill(oval((shift * 0.7, 0.1), 0.062, 0.062), _trim(who), soft=0.4)


def _kalpak(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width, trim = rig.face.width, _trim(who)
    painter.fill(
        mirrored([(0.0, -0.6), (0.1, -0.585), (0.2, -0.42), (width * 0.86, -0.1), (width + 0.05, 0.16), (0.0, 0.2)]),
        colour,
        soft=0.75,
    )
    painter.stroke(thread([(0.0, -0.58), (0.01, -0.3), (0.0, 0.02)]), trim, 0.022)
    for sign in (-1.0, 1.0):
        painter.stroke(
            thread(
                [
                    (sign * 0.03, -0.06),
                    (sign * 0.12, -0.13),
                    (sign * 0.17, -0.22),
                    (sign * 0.1, -0.24),
                    (sign * 0.09, -0.17),
                ]
            ),
            trim,
            0.02,
        )
    brim = mirrored(
        [
            (0.0, 0.05),
            (width * 0.6, 0.035),
            (width + 0.1, -0.03),
            (width + 0.13, 0.06),
            (width + 0.06, 0.23),
            (width * 0.5, 0.27),
            (0.0, 0.28),
        ]
    )
    painter.fill(brim, mixed(trim, (36, 30, 36), 0.45), soft=0.6)
    painter.fill(oval((0.0, -0.615), 0.036, 0.045), trim, soft=0.4)


def _fur_hat(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    painter.fill(
        mirrored([(0.0, -0.3), (width * 0.7, -0.24), (width + 0.04, 0.0), (width + 0.04, 0.12), (0.0, 0.14)]),
        _trim(who),
        soft=0.75,
    )
    painter.fill(_fluffy(width + 0.15, 0.19, 0.1), colour, soft=0.8)
    for index in range(12):
        angle = index * 2.399963
        x, y = (width + 0.06) * ((index + 0.5) / 6 - 1), 0.1 + 0.07 * math.sin(angle)
        tint = dimmed(colour, 0.72) if index % 2 else mixed(colour, (255, 250, 240), 0.3)
        painter.stroke(thread([(x, y), (x + 0.012, y + 0.03), (x + 0.03, y + 0.055)]), tint, 0.014)


def _fluffy(across: float, down: float, y: float) -> Points:
    turns = np.linspace(0, 2 * np.pi, 44, endpoint=False)
    radius = 1 + 0.045 * np.where(np.arange(44) % 2, 1, -1)
    # A squared ellipse: fur stands up thickly at the corners too.
    x = np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** 0.62
    tall = np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** 0.72
    return smooth(np.column_stack([across * radius * x, y + down * radius * tall]))


def _turban(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    half = [(0.0, -0.36), (width * 0.5, -0.33), (width + 0.04, -0.14), (width + 0.11, 0.06), (width + 0.07, 0.24)]
    painter.fill(mirrored([*half, (width * 0.5, 0.25), (0.0, 0.19)]), colour, soft=0.8)
    dark = dimmed(colour, 0.68)
    for lift in (0.0, 0.12, 0.24):
        left = -width - 0.08 + lift * 0.35
        painter.stroke(
            thread([(left, 0.12 - lift), (-0.1, 0.14 - lift), (width * 0.7, -0.04 - lift * 0.8)]), dark, 0.016
        )
    painter.stroke(thread([(width + 0.07, 0.15), (0.14, 0.16), (-0.02, 0.1)]), dark, 0.016)
    painter.fill(smooth([(0.0, -0.04), (0.045, 0.04), (0.0, 0.12), (-0.045, 0.04)]), _trim(who), soft=0.5)


def _skullcap(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width, trim = rig.face.width, _trim(who)
    painter.fill(
        mirrored(
            [
                (0.0, -0.115),
                (width * 0.62, -0.1),
                (width * 0.9, 0.0),
                (width + 0.035, 0.2),
                (width * 0.5, 0.18),
                (0.0, 0.17),
            ]
        ),
        colour,
        soft=0.6,
    )
    band = [(-width - 0.025, 0.145), (-width * 0.5, 0.125), (0.0, 0.115), (width * 0.5, 0.125), (width + 0.025, 0.145)]
    painter.stroke(thread(band), trim, 0.034)
    for x in (-0.55, 0.0, 0.55):
        painter.stroke(thread([(x * width - 0.06, 0.05), (x * width, -0.03), (x * width + 0.06, 0.05)]), trim, 0.02)


def _headscarf(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    shape = _surround(width, (0.1, 0.13), top=-0.1, brow=0.24)
    painter.fill(shape, colour, soft=0.6)
    painter.pattern(shape, who.pattern if who.pattern == "dots" else "plain", _trim(who))
    painter.stroke(
        thread([(-width * 0.86, 0.3), (-width * 0.4, 0.17), (0.0, 0.14), (width * 0.4, 0.17), (width * 0.86, 0.3)]),
        _trim(who),
        0.022,
    )


def _hood(painter: Painter, _who: Character, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    painter.fill(_surround(width, (0.16, 0.2), top=-0.16, brow=0.16), colour, soft=0.7)
    painter.stroke(
        thread(
            [
                (-width * 1.02, 0.7),
                (-width * 1.02, 0.4),
                (-width * 0.62, 0.15),
                (0.0, 0.06),
                (width * 0.62, 0.15),
                (width * 1.02, 0.4),
                (width * 1.02, 0.7),
            ]
        ),
        dimmed(colour, 0.6),
        0.022,
    )


def _surround(width: float, out: tuple[float, float], top: float, brow: float) -> Points:
    """A closed band round the face, open at the chin."""
    outer = [
        (0.0, top),
        (width * 0.75, top + 0.06),
        (width + out[0], 0.3),
        (width + out[1], 0.68),
        (width * 0.86, 1.02),
    ]
    inner = [(width * 0.6, 1.0), (width * 0.93, 0.72), (width * 0.94, 0.48), (width * 0.72, brow + 0.06), (0.0, brow)]
    right = [outer[0], *outer[1:-1], outer[-1], inner[0], inner[0], *inner[1:]]
    left = [(-x, y) for x, y in right[::-1] if x != 0.0]
    return smooth([*right, *left])


_PAINTINGS = {
    "cap": _cap,
    "kalpak": _kalpak,
    "fur hat": _fur_hat,
    "turban": _turban,
    "skullcap": _skullcap,
    "headscarf": _headscarf,
    "hood": _hood,
}
