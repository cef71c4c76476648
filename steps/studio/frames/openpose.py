"""The figure's joints as OpenPose draws them, in COCO's order: what ControlNets for poses were trained on (Cao et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PIL import Image, ImageDraw

from steps.library.shots import Shot
from steps.studio.framing import keypoints
from steps.studio.people import Character

Spot = tuple[float, float]
_SIDES = ("right", "left")
JOINTS = (
    "nose",
    "neck",
    *(f"{side}_{joint}" for side in _SIDES for joint in ("shoulder", "elbow", "wrist")),
    *(f"{side}_{joint}" for side in _SIDES for joint in ("hip", "knee", "ankle")),
    *(f"{side}_{part}" for part in ("eye", "ear") for side in _SIDES),
)
"""COCO's eighteen; left and right are the person's own."""
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85)),
    *((0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255)),
    *((255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of joints by their numbers; the limb has the colour of its own number."""
_LIMB_SHADE = 0.6
_OVER = 2
# Four pixels at the 512 that the drawing code was written for.
_WIDTH = 4 / 512


def pose_picture(shot: Shot, side: int) -> Image.Image:
    """Limbs and joints of anybody in this shot on black (RGB, `side` pixels each way)."""
    spots = coco_joints(shot, side)
    large = side * _OVER
    picture = Image.new("RGB", (large, large))
    pen, width = ImageDraw.Draw(picture), max(2.0, _WIDTH * large)
    for number, (one, other) in enumerate(LIMBS):
        if one in spots and other in spots:
            dark = [round(value * _LIMB_SHADE) for value in COLOURS[number]]
            _limb(pen, spots[one], spots[other], width, (dark[0], dark[1], dark[2]))
    for number, (x, y) in spots.items():
        middle = (x * _OVER, y * _OVER)
        pen.ellipse((middle[0] - width, middle[1] - width, middle[0] + width, middle[1] + width), fill=COLOURS[number])
    return picture.reduce(_OVER)


def coco_joints(shot: Shot, side: int) -> dict[int, Spot]:
    """Number -> pixels of the joints that are in the picture."""
    found = keypoints(Character(), shot, (side, side))
    spots: dict[str, Spot] = {"nose": found["nose"], "neck": found["neck"]}
    # The drawing's left is the viewer's, which of somebody who faces the viewer is the right.
    for own, seen in (("right", "left"), ("left", "right")):
        for joint, name in (("shoulder",) * 2, ("elbow",) * 2, ("wrist", "hand"), ("hip",) * 2, ("knee",) * 2):
            spots[f"{own}_{joint}"] = found[f"{seen}_{name}"]
        spots[f"{own}_ankle"] = found[f"{seen}_foot"]
        spots[f"{own}_eye"] = found[f"{seen}_eye"]
    spots |= _ears(found, shot)
    numbered = {number: spots[name] for number, name in enumerate(JOINTS) if name in spots}
    return {number: spot for number, spot in numbered.items() if all(0 <= value < side for value in spot)}


def _ears(found: Mapping[str, Spot], shot: Shot) -> dict[str, Spot]:
    """At the head's sides, as high as the eyes; a head that turns away hides one."""
    height = (found["left_eye"][1] + found["right_eye"][1]) / 2
    ears = {
        "right_ear": (found["head_top_left"][0], height),
        "left_ear": (found["head_bottom_right"][0], height),
    }
    hidden = {"left": "right_ear", "right": "left_ear"}.get(shot.facing)
    return {name: spot for name, spot in ears.items() if name != hidden}


def _limb(pen: ImageDraw.ImageDraw, one: Spot, other: Spot, width: float, colour: tuple[int, int, int]) -> None:
    """An ellipse from joint to joint, as OpenPose draws it."""
    (x, y), (u, v) = ((value * _OVER for value in spot) for spot in (one, other))
    half, angle = math.dist((x, y), (u, v)) / 2, math.atan2(v - y, u - x)
    points = []
    for turn in range(0, 360, 12):
        along, across = half * math.cos(math.radians(turn)), width * math.sin(math.radians(turn))
        points.append(
            (
                (x + u) / 2 + along * math.cos(angle) - across * math.sin(angle),
                (y + v) / 2 + along * math.sin(angle) + across * math.cos(angle),
            )
        )
    pen.polygon(points, fill=colour)
