"""Heads: the face and what is on it. Everything hangs on `framing.face_spots`."""

from __future__ import annotations

import math

import numpy as np

from steps.studio.canvas import Painter, dimmed, mirrored, mixed, oval, points, smooth, thread
from steps.studio.colours import RGB
from steps.studio.framing import Points, Rig, Spot, face_spots
from steps.studio.people import Character

_DARK: RGB = (40, 26, 28)


def skull(rig: Rig, grow: float = 0.0) -> Points:
    """The head's outline, from the crown over ears and jaw to the chin."""
    face = rig.face
    width = face.width + grow
    jaw = width * face.jaw * 1.12
    half = [
        (0.0, 0.0 - grow),
        (width * 0.62, 0.055 - grow),
        (width * 0.96, 0.26),
        (width, 0.48),
        (width * 0.955, 0.66),
        (jaw, 0.84),
        (width * face.chin * 1.25, 0.965 + grow * 0.6),
        (0.0, 1.0 + grow),
    ]
    return mirrored(half)


def paint_neck(painter: Painter, who: Character, rig: Rig) -> None:
    """The neck, with the chin's shadow on it."""
    width = 0.185 if who.sex == "male" else 0.155
    shape = smooth(
        [
            (-width, 0.7),
            (width, 0.7),
            (width, 1.15),
            (width * 1.5, 1.34),
            (0, 1.5),
            (-width * 1.5, 1.34),
            (-width, 1.15),
        ]
    )
    painter.fill(shape, who.skin_rgb, soft=0.7)
    painter.shadow(skull(rig), (0.03, 0.1), 0.75)


def paint_face(painter: Painter, who: Character, rig: Rig) -> None:
    """Ears, face and features, without mouth, hair and hat."""
    _ears(painter, who, rig)
    painter.fill(skull(rig), who.skin_rgb, soft=0.62)
    spots = face_spots(rig)
    _bloom(painter, who, spots)
    _nose(painter, who, rig, spots)
    for side, sign in (("left", -1.0), ("right", 1.0)):
        _eye(painter, who, rig, (spots[f"{side}_eye"], sign))
        _brow(painter, who, rig, (spots[f"{side}_eye"], sign))
    _age(painter, who, rig, spots)


def _ears(painter: Painter, who: Character, rig: Rig) -> None:
    for sign in (-1.0, 1.0):
        # The ear on the side that the face turns to goes behind the cheek.
        out = rig.face.width + 0.025 - 0.05 * max(0.0, sign * rig.turn)
        centre = (sign * out, 0.57)
        painter.fill(oval(centre, 0.062, 0.115), dimmed(who.skin_rgb, 0.94), soft=0.6)
        painter.stroke(
            thread([(centre[0] + 0.02 * sign, 0.51), (centre[0] - 0.01 * sign, 0.57), (centre[0], 0.62)]),
            dimmed(who.skin_rgb, 0.62),
            0.014,
        )


def _bloom(painter: Painter, who: Character, spots: dict[str, Spot]) -> None:
    blood = mixed(who.skin_rgb, (206, 70, 62), 0.5)
    strength = 0.42 if who.sex == "female" or who.age_group in ("child", "teen") else 0.26
    for side, out in (("left", -0.05), ("right", 0.05)):
        x = spots[f"{side}_eye"][0] + out
        painter.glow((x, 0.7), (0.14, 0.1), blood, strength)
        painter.glow((x - out * 0.6, 0.5), (0.15, 0.1), dimmed(who.skin_rgb, 0.6), 0.3)
    nose = spots["nose"]
    painter.glow((nose[0] - 0.02, nose[1] - 0.03), (0.07, 0.07), mixed(who.skin_rgb, (255, 240, 225), 0.5), 0.5)
    painter.glow((nose[0], 0.23), (0.26, 0.16), mixed(who.skin_rgb, (255, 240, 225), 0.4), 0.3)


def paint_mouth(painter: Painter, who: Character, rig: Rig) -> None:
    """The mouth, which lies over a beard."""
    spots = face_spots(rig)
    left, right = spots["left_mouth"], spots["right_mouth"]
    middle, curve, lips = (left[0] + right[0]) / 2, rig.face.mouth_curve, rig.face.lips
    y, low = left[1], left[1] + curve
    tint = (186, 58, 66) if who.sex == "female" else (160, 82, 74)
    rosy = mixed(who.skin_rgb, tint, 0.62 if who.sex == "female" else 0.42)
    half = rig.face.mouth_width
    upper = smooth(
        [
            left,
            left,
            (middle - half * 0.3, low - lips * 0.95),
            (middle, low - lips * 0.6),
            (middle + half * 0.3, low - lips * 0.95),
            right,
            right,
            (middle, low + 0.008),
        ]
    )
    lower = smooth(
        [
            left,
            left,
            (middle, low),
            right,
            right,
            (middle + half * 0.45, low + lips * 1.2),
            (middle, low + lips * 1.6),
            (middle - half * 0.45, low + lips * 1.2),
        ]
    )
    painter.fill(lower, rosy, soft=0.4, line=0)
    painter.fill(upper, dimmed(rosy, 0.84), line=0)
    painter.stroke(
        thread([left, (middle - half * 0.4, low - 0.002), (middle, low), (middle + half * 0.4, low - 0.002), right]),
        mixed(dimmed(rosy, 0.45), _DARK, 0.4),
        0.016,
    )
    painter.glow((middle, y + curve + lips * 1.6 + 0.035), (0.1, 0.035), dimmed(who.skin_rgb, 0.6), 0.5)


def _nose(painter: Painter, who: Character, rig: Rig, spots: dict[str, Spot]) -> None:
    x, y = spots["nose"]
    wide, shade = rig.face.nose_width, dimmed(who.skin_rgb, 0.66)
    side = 1.0 if rig.turn >= 0 else -1.0
    painter.glow((x + side * 0.045, y - 0.07), (0.045, 0.15), shade, 0.5)
    painter.glow((x, y + 0.04), (wide * 1.3, 0.045), shade, 0.75)
    ridge = [
        (x + side * 0.03 - rig.turn * 0.03, 0.56),
        (x + side * 0.036, y - 0.06),
        (x + side * wide, y + 0.0),
        (x + side * wide * 0.72, y + 0.032),
    ]
    painter.stroke(thread(ridge), dimmed(who.skin_rgb, 0.58), 0.015)
    painter.stroke(
        thread(
            [
                (x - wide * 0.8, y + 0.015),
                (x - wide * 0.5, y + 0.034),
                (x, y + 0.04),
                (x + wide * 0.5, y + 0.034),
                (x + wide * 0.8, y + 0.015),
            ]
        ),
        dimmed(who.skin_rgb, 0.5),
        0.016,
    )


def _eye(painter: Painter, who: Character, rig: Rig, eye: tuple[Spot, float]) -> None:
    (x, y), sign = eye
    face = rig.face
    wide = face.eye_size * (1 - 0.12 * max(0.0, sign * rig.turn))
    tall, tilt = wide * face.eye_open, face.eye_tilt
    outer, inner = (x + sign * wide, y - tilt), (x - sign * wide, y + 0.008)
    lid = thread(
        [inner, (x - sign * wide * 0.35, y - tall * 0.85), (x + sign * wide * 0.4, y - tall * 0.9 - tilt / 2), outer]
    )
    white = np.vstack(
        [lid, thread([outer, (x + sign * wide * 0.3, y + tall * 0.62), (x - sign * wide * 0.4, y + tall * 0.6), inner])]
    )
    painter.fill(white, (246, 242, 236), soft=0.3, line=0)
    iris = min(tall * 0.8, wide * 0.55)
    look = x + rig.turn * wide * 0.3
    painter.fill(oval((look, y - tall * 0.12), iris, iris), who.eye_rgb, line=0)
    painter.fill(oval((look, y - tall * 0.12), iris * 0.52, iris * 0.52), (16, 12, 14), line=0)
    painter.fill(
        oval((look - iris * 0.32, y - tall * 0.12 - iris * 0.36), iris * 0.26, iris * 0.26), (255, 255, 255), line=0
    )
    painter.stroke(lid, _DARK, 0.026 if who.sex == "female" else 0.02)
    if who.sex == "female":
        painter.stroke(points([outer, (outer[0] + sign * 0.025, outer[1] - 0.022)]), _DARK, 0.018)


def _brow(painter: Painter, who: Character, rig: Rig, eye: tuple[Spot, float]) -> None:
    (x, y), sign = eye
    thick = {"thin": 0.011, "straight": 0.017, "arched": 0.015, "thick": 0.027}[who.brows]
    arch = 0.034 if who.brows == "arched" else 0.014
    wide, base, tilt = rig.face.eye_size * 1.25, y - rig.face.eye_size * rig.face.eye_open - 0.062, rig.face.brow_tilt
    inner, outer = (x - sign * wide * 0.85, base + tilt), (x + sign * wide, base - tilt * 0.4 + 0.012)
    peak = (x + sign * wide * 0.3, base - arch - thick)
    colour = dimmed(who.hair_rgb, 0.78)
    if who.hair_colour in ("blonde", "white", "grey"):
        colour = dimmed(who.hair_rgb, 0.68)
    painter.fill(
        smooth([inner, peak, outer, outer, (peak[0], peak[1] + thick * 2), (inner[0], inner[1] + thick * 1.7)]),
        colour,
        line=0,
    )


def _age(painter: Painter, who: Character, _rig: Rig, spots: dict[str, Spot]) -> None:
    if who.age_group not in ("middle-aged", "elderly"):
        return
    old = who.age_group == "elderly"
    crease = dimmed(who.skin_rgb, 0.7 if old else 0.8)
    for side, sign in (("left", -1.0), ("right", 1.0)):
        x, y = spots[f"{side}_mouth"]
        nose = spots["nose"]
        painter.stroke(
            thread(
                [(nose[0] + sign * 0.085, nose[1] + 0.01), (x + sign * 0.03, y - 0.06), (x + sign * 0.035, y + 0.015)]
            ),
            crease,
            0.012,
        )
        if old:
            eye = spots[f"{side}_eye"]
            painter.stroke(
                thread(
                    [
                        (eye[0] - sign * 0.05, eye[1] + 0.085),
                        (eye[0] + sign * 0.03, eye[1] + 0.1),
                        (eye[0] + sign * 0.08, eye[1] + 0.075),
                    ]
                ),
                crease,
                0.011,
            )
    if old:
        for y in (0.27, 0.325):
            painter.stroke(thread([(-0.16, y), (0.0, y - 0.012), (0.16, y)]), crease, 0.011)


def paint_marks(painter: Painter, who: Character, rig: Rig) -> None:
    """Scar, freckles, mole, glasses or eyepatch."""
    painting = _MARKS.get(who.mark)
    if painting is not None:
        painting(painter, who, rig, face_spots(rig))


def _scar(painter: Painter, who: Character, _rig: Rig, spots: dict[str, Spot]) -> None:
    x = spots["right_eye"][0] + 0.03
    colour = mixed(who.skin_rgb, (150, 40, 50), 0.6)
    painter.stroke(thread([(x - 0.03, 0.6), (x + 0.01, 0.68), (x - 0.01, 0.78)]), colour, 0.026)
    for y in (0.64, 0.7, 0.75):
        painter.stroke(points([(x - 0.035, y), (x + 0.035, y - 0.012)]), colour, 0.014)


def _freckles(painter: Painter, who: Character, _rig: Rig, spots: dict[str, Spot]) -> None:
    tint = mixed(who.skin_rgb, (140, 70, 36), 0.55)
    middle = spots["nose"][0] * 0.8
    for index in range(14):
        turn = index * 2.399963  # the golden angle: evenly strewn, never in rows
        across = (0.06 + 0.2 * ((index * 0.618) % 1.0)) * (-1 if index % 2 else 1)
        painter.fill(oval((middle + across, 0.655 + 0.045 * math.sin(turn)), 0.011, 0.011), tint, line=0)


def _mole(painter: Painter, who: Character, _rig: Rig, spots: dict[str, Spot]) -> None:
    x, y = spots["left_mouth"]
    painter.fill(oval((x - 0.045, y - 0.06), 0.02, 0.02), mixed(who.skin_rgb, (40, 20, 20), 0.82), line=0)


def _glasses(painter: Painter, _who: Character, rig: Rig, spots: dict[str, Spot]) -> None:
    rim, colour = 0.125, (44, 40, 46)
    for side, sign in (("left", -1.0), ("right", 1.0)):
        x, y = spots[f"{side}_eye"]
        ring = oval((x, y + 0.01), rim, rim * 0.86)
        painter.stroke(np.vstack([ring, ring[:2]]), colour, 0.026)
        painter.stroke(points([(x + sign * rim, y - 0.01), (sign * (rig.face.width + 0.02), y - 0.03)]), colour, 0.024)
        painter.glow((x - 0.04, y - 0.03), (0.06, 0.05), (255, 255, 255), 0.35)
    left, right = spots["left_eye"], spots["right_eye"]
    painter.stroke(
        thread([(left[0] + rim, left[1]), ((left[0] + right[0]) / 2, left[1] - 0.03), (right[0] - rim, right[1])]),
        colour,
        0.024,
    )


def _eyepatch(painter: Painter, _who: Character, rig: Rig, spots: dict[str, Spot]) -> None:
    (x, y), edge = spots["right_eye"], rig.face.width
    painter.stroke(thread([(-edge * 0.98, 0.42), (-0.1, 0.33), (x, y - 0.1)]), (28, 24, 28), 0.028)
    painter.stroke(points([(x + 0.08, y - 0.06), (edge * 0.99, 0.38)]), (28, 24, 28), 0.028)
    painter.fill(
        smooth([(x - 0.11, y - 0.09), (x + 0.11, y - 0.09), (x + 0.1, y + 0.05), (x, y + 0.12), (x - 0.1, y + 0.05)]),
        (34, 30, 34),
        soft=0.4,
    )


_MARKS = {"scar": _scar, "freckles": _freckles, "mole": _mole, "glasses": _glasses, "eyepatch": _eyepatch}
