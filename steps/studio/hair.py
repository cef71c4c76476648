"""Hair and beards. What hangs behind the head is painted before it, the rest after it and clear of the face."""

from __future__ import annotations

import math

import numpy as np

from steps.studio.canvas import Painter, dimmed, limb, mirrored, mixed, oval, smooth, thread
from steps.studio.colours import RGB
from steps.studio.framing import Points, Rig, Spot
from steps.studio.people import Character

COVERING = ("headscarf", "hood")
_GOATEE: tuple[Spot, ...] = ((0.0, 0.875), (0.085, 0.88), (0.125, 0.95), (0.08, 1.05), (0.0, 1.1))
_LOOSE = ("bob", "long", "curly")


def paint_hair_behind(painter: Painter, who: Character, rig: Rig) -> None:
    """What is seen of the hair behind neck and shoulders."""
    if who.hat in COVERING or who.hair_style in ("bald", "buzzed", "short"):
        return
    dark, width = dimmed(who.hair_rgb, 0.8), rig.face.width
    if who.hair_style in _LOOSE:
        end, flare = {"bob": (1.08, 0.13), "long": (1.85, 0.19), "curly": (1.12, 0.24)}[who.hair_style]
        half = [
            (0.0, -0.04),
            (width * 0.8, 0.02),
            (width + 0.1, 0.35),
            (width + flare, 0.8),
            (width + flare * 0.9, end - 0.08),
            (width * 0.8, end),
            (0.0, end),
        ]
        painter.fill(_halo(who, width) if who.hair_style == "curly" else mirrored(half), dark, soft=0.5)
    elif who.hair_style == "bun" and who.hat == "none":
        painter.fill(oval((0.0, -0.1), 0.19, 0.17), who.hair_rgb, soft=0.8)
        painter.stroke(thread([(-0.12, -0.12), (0.0, -0.2), (0.12, -0.1)]), dimmed(who.hair_rgb, 0.7), 0.014)
    elif who.hair_style == "ponytail":
        side = -1.0 if rig.turn > 0 else 1.0
        tail = [
            (side * width * 0.7, 0.2),
            (side * (width + 0.2), 0.45),
            (side * (width + 0.24), 0.95),
            (side * (width + 0.1), 1.5),
        ]
        painter.fill(limb(tail, (0.1, 0.13, 0.12, 0.03)), dark, soft=0.7)


def paint_hair(painter: Painter, who: Character, rig: Rig) -> None:
    """The hair on and before the head."""
    if who.hair_style == "bald" or who.hat in COVERING:
        return
    colour = mixed(who.skin_rgb, who.hair_rgb, 0.62) if who.hair_style == "buzzed" else who.hair_rgb
    if who.hair_style == "curly":
        _curls(painter, rig, colour)
    else:
        painter.fill(_cap(who, rig), colour, soft=0.6)
        if who.hair_style != "buzzed":
            _strands(painter, who, rig, colour)
    if who.hair_style == "long":
        _locks(painter, rig, colour)
    elif who.hair_style == "braids":
        _braids(painter, who, rig, colour)


def _cap(who: Character, rig: Rig) -> Points:
    width, style, part = rig.face.width, who.hair_style, rig.face.parting
    grow = {"buzzed": 0.012, "short": 0.07, "bob": 0.07, "long": 0.065}.get(style, 0.05)
    end = {"buzzed": 0.44, "short": 0.5, "bob": 1.0, "long": 0.95, "braids": 0.88, "bun": 0.48, "ponytail": 0.48}[style]
    tip = width + (0.045 if end > 0.6 else 0.015)
    outer = [
        (tip, end),
        (width + grow * 0.7 + 0.01, 0.36),
        (width * 0.9, 0.16 - grow * 0.8),
        (width * 0.58, 0.035 - grow * 1.2),
        (width * 0.25, -grow * 1.3),
        (0.0, -grow * 1.35),
    ]
    inside = width * 0.9 if end > 0.6 else width * 0.985
    lower = [(inside, end), (inside, min(end, 0.46)), (width * 0.87, 0.33)]
    left_outer, left_lower = _flipped(outer), _flipped(lower)
    return smooth(
        [
            outer[0],
            *outer,
            *left_outer[::-1][1:],
            left_outer[0],
            *left_lower,
            *_hairline(style, width, part),
            *lower[::-1],
        ]
    )


def _hairline(style: str, width: float, part: float) -> list[Spot]:
    """From left to right over the forehead."""
    fringe = style == "bob" or (style == "long" and part > 0.3)
    if fringe:
        return [(-width * 0.6, 0.385), (-width * 0.2, 0.4), (width * 0.2, 0.395), (width * 0.6, 0.385)]
    if style in ("long", "braids", "bun", "ponytail"):
        return [(-width * 0.62, 0.28), (-width * 0.2, 0.21), (0.0, 0.185), (width * 0.2, 0.21), (width * 0.62, 0.28)]
    at = part * width * 0.5
    return [
        (-width * 0.62, 0.25 + 0.03 * part),
        (at - 0.05, 0.215),
        (at + 0.02, 0.19),
        (at + 0.1, 0.225),
        (width * 0.64, 0.25 - 0.03 * part),
    ]


def _flipped(spots: list[Spot]) -> list[Spot]:
    return [(-x, y) for x, y in spots]


def _strands(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width, part = rig.face.width, rig.face.parting * 0.5 if who.hair_style == "short" else 0.0
    root = (part * width, -0.05)
    for index, share in enumerate((-0.9, -0.62, -0.32, 0.32, 0.62, 0.9)):
        end = (share * (width + 0.02), 0.12 + 0.3 * abs(share) - 0.06)
        middle = ((root[0] + end[0]) / 2 + 0.05 * share, min(root[1], end[1]) + 0.045)
        tint = dimmed(colour, 0.72) if index % 2 else mixed(colour, (255, 236, 200), 0.22)
        painter.stroke(thread([root, middle, end]), tint, 0.012)


def _halo(who: Character, width: float) -> Points:
    """Curls behind the head: full for a woman, cropped for a man."""
    if who.sex == "female":
        return _bumpy((0.0, 0.46), width + 0.25, 0.66, 17)
    return _bumpy((0.0, 0.26), width + 0.13, 0.4, 14)


def _curls(painter: Painter, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    rows = ((0.5, 0.02, 0.94, 15), (0.28, 0.0, 0.7, 11), (0.2, 0.04, 0.44, 7))
    painter.fill(_bumpy((0.0, 0.1), width * 0.94, 0.17, 12), colour, line=0)
    for tall, y, across, count in rows:
        for index, angle in enumerate(np.linspace(math.pi, 2 * math.pi, count)):
            centre = (
                math.cos(angle) * (width + 0.06) * across,
                0.3 * across + y - tall * 0.2 + math.sin(angle) * tall * 0.52,
            )
            size = 0.084 + 0.014 * (index % 3)
            painter.fill(oval(centre, size, size * 0.94), colour, soft=0.75, line=0.45)


def _bumpy(centre: Spot, across: float, down: float, count: int) -> Points:
    """An oval of `count` round bumps with sharp valleys between them."""
    turns = np.linspace(0, 2 * np.pi, count * 4, endpoint=False)
    radius = 0.95 + 0.09 * np.abs(np.sin(turns * count / 2))
    return smooth(
        np.column_stack([centre[0] + across * radius * np.cos(turns), centre[1] + down * radius * np.sin(turns)])
    )


def _locks(painter: Painter, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    for sign in (-1.0, 1.0):
        lock = [
            (sign * (width + 0.03), 0.66),
            (sign * (width + 0.1), 1.05),
            (sign * (width + 0.12), 1.5),
            (sign * (width + 0.03), 2.0),
        ]
        painter.fill(limb(lock, (0.05, 0.12, 0.13, 0.03)), colour, soft=0.7)
        painter.stroke(thread([(x + sign * 0.02, y + 0.06) for x, y in lock]), dimmed(colour, 0.72), 0.012)
        painter.stroke(
            thread([(x - sign * 0.03, y + 0.04) for x, y in lock]), mixed(colour, (255, 236, 200), 0.2), 0.012
        )


def _braids(painter: Painter, who: Character, rig: Rig, colour: RGB) -> None:
    width = rig.face.width
    for sign in (-1.0, 1.0):
        for index in range(9):
            share = index / 8
            centre = (sign * (width + 0.05 + 0.07 * math.sin(share * 2.2)), 0.88 + 1.08 * share)
            size = 0.088 * (1 - 0.35 * share)
            painter.fill(
                oval(centre, size, size * 1.05), colour if index % 2 else dimmed(colour, 0.86), soft=0.7, line=0.7
            )
        end = (sign * (width + 0.105), 2.04)
        painter.fill(oval(end, 0.06, 0.04), who.trim_rgb, soft=0.4)
        painter.fill(limb([end, (end[0], 2.12), (end[0], 2.2)], (0.03, 0.055, 0.02)), colour, line=0.7)


def paint_beard(painter: Painter, who: Character, rig: Rig) -> None:
    """Beard or goatee; painted before the mouth, which it must not cover."""
    face, middle = rig.face, rig.turn * 0.085
    colour = dimmed(who.hair_rgb, 0.94)
    if who.facial_hair == "goatee":
        shape = mirrored([(middle + x, y) for x, y in _GOATEE], middle)
        painter.fill(shape, colour, soft=0.5)
    elif who.facial_hair in ("beard", "long beard"):
        painter.fill(_full_beard(who, rig), colour, soft=0.6)
        _beard_strands(painter, who, colour)
        skin = mixed(who.skin_rgb, colour, 0.25)
        painter.fill(oval((middle * 1.15, 0.825 + face.mouth_curve), face.mouth_width * 0.95, 0.042), skin, line=0)


def _full_beard(who: Character, rig: Rig) -> Points:
    width, jaw = rig.face.width, rig.face.width * rig.face.jaw * 1.12
    top = rig.face.mouth_width
    half = [
        (0.0, 0.75),
        (top + 0.03, 0.76),
        (width * 0.74, 0.735),
        (width * 0.92, 0.56),
        (width * 1.0, 0.47),
        (width * 1.03, 0.68),
        (jaw * 1.1, 0.9),
    ]
    if who.facial_hair == "long beard":
        half += [(jaw * 0.95, 1.15), (jaw * 0.66, 1.5), (0.09, 1.8), (0.0, 1.83)]
    else:
        half += [(jaw * 0.72, 1.07), (0.0, 1.12)]
    return mirrored(half)


def _beard_strands(painter: Painter, who: Character, colour: RGB) -> None:
    end = 1.66 if who.facial_hair == "long beard" else 1.04
    for index, x in enumerate((-0.2, -0.12, -0.04, 0.04, 0.12, 0.2)):
        start = 0.92 - 0.05 * abs(x) / 0.2
        tint = dimmed(colour, 0.7) if index % 2 else mixed(colour, (255, 240, 215), 0.2)
        painter.stroke(thread([(x, start), (x * 1.05, (start + end) / 2), (x * 0.6, end - abs(x))]), tint, 0.012)


def paint_moustache(painter: Painter, who: Character, rig: Rig) -> None:
    """The moustache, alone or above a beard; painted after the mouth, below the nose."""
    if who.facial_hair == "none":
        return
    middle, span = rig.turn * 0.098, rig.face.mouth_width
    tip = (span + 0.075, 0.845) if who.facial_hair == "moustache" else (span + 0.04, 0.83)
    half = [(0.0, 0.752), (0.06, 0.745), (span * 0.8, 0.772), tip, tip, (span * 0.7, 0.812), (0.05, 0.798), (0.0, 0.79)]
    half = [(middle + x, y) for x, y in half]
    painter.fill(mirrored(half, middle), dimmed(who.hair_rgb, 0.9), soft=0.4, line=0.7)
