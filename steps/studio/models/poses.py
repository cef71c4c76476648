"""Poses: a character's joints in pixels, and the picture of limbs that the ControlNet is told by."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw

from steps.studio.models import domain
from steps.studio.people import Character
from steps.studio.world import Shot, keypoints

Joints = Mapping[str, tuple[float, float]]

JOINTS = (
    "neck",
    *(
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in ("shoulder", "elbow", "hand", "hip", "knee", "foot")
    ),
)
"""The joints' names, in order; left and right are the viewer's."""

_OVER = 4
_LIMBS: tuple[tuple[str, str, tuple[int, int, int]], ...] = (
    ("head", "neck", (255, 255, 255)),
    ("neck", "left_shoulder", (255, 96, 0)),
    ("neck", "right_shoulder", (255, 200, 0)),
    ("left_shoulder", "left_elbow", (170, 255, 0)),
    ("left_elbow", "left_hand", (60, 255, 60)),
    ("right_shoulder", "right_elbow", (0, 255, 150)),
    ("right_elbow", "right_hand", (0, 230, 255)),
    ("neck", "left_hip", (0, 130, 255)),
    ("neck", "right_hip", (40, 40, 255)),
    ("left_hip", "left_knee", (130, 0, 255)),
    ("left_knee", "left_foot", (210, 0, 255)),
    ("right_hip", "right_knee", (255, 0, 190)),
    ("right_knee", "right_foot", (255, 0, 90)),
)


def joints_of(who: Character, shot: Shot, size: int = domain.SIZE) -> dict[str, tuple[float, float]]:
    """Where the joints and the middle of the head are, in pixels; some may lie outside the picture."""
    spots = keypoints(who, shot, (size, size))
    (left, top), (right, bottom) = spots["head_top_left"], spots["head_bottom_right"]
    return {name: spots[name] for name in JOINTS} | {"head": ((left + right) / 2, (top + bottom) / 2)}


def pose_picture(joints: Joints, size: int = domain.SIZE) -> Image.Image:
    """Limbs as coloured lines on black (RGB, `size` pixels each way), as the ControlNet was trained on.

    Args:
        joints: Pixels by name: JOINTS and "head"; limbs with a missing end are left out.
        size: The picture's side, in the pixels of `joints`.
    """
    picture = Image.new("RGB", (size * _OVER, size * _OVER))
    pen = ImageDraw.Draw(picture)
    width = max(2, round(size / 24 * _OVER))
    for one, other, colour in _LIMBS:
        if one in joints and other in joints:
            line = [(x * _OVER, y * _OVER) for x, y in (joints[one], joints[other])]
            pen.line(line, fill=colour, width=width)
    for name in ("head", "left_hand", "right_hand"):
        if name in joints:
            x, y = (value * _OVER for value in joints[name])
            pen.ellipse((x - width, y - width, x + width, y + width), fill=(255, 255, 255))
    return picture.reduce(_OVER)


def library_pose(shot: Shot) -> Image.Image:
    """The pose of a shot, whoever it is: a ready map for stories."""
    return pose_picture(joints_of(Character(), shot))
