"""Where things are: the shot, the figure's skeleton in heads, and the frame that puts heads on pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steps.library.shots import FACINGS as FACINGS
from steps.library.shots import GESTURES as GESTURES
from steps.library.shots import SHOTS as SHOTS
from steps.library.shots import Shot as Shot
from steps.studio.people import Character, Face, face_of, seeded

Points = NDArray[np.float64]
Spot = tuple[float, float]

_STATURE = {"child": 0.74, "teen": 0.97, "young": 1.0, "middle-aged": 1.0, "elderly": 0.95}
_HEADROOM = {"kalpak": 0.66, "fur hat": 0.34, "turban": 0.38, "hood": 0.16, "headscarf": 0.12, "cap": 0.14}
SOLE = 5.95
SEAT = 3.5
HOOF = 5.75


@dataclass(frozen=True)
class Frame:
    """Puts figure space (heads) on pixels; `stretch` makes what is below the chin longer or shorter."""

    scale: float
    x: float
    y: float
    stretch: float = 1.0

    def place(self, points: Points) -> Points:
        """Points in heads (N, 2) as pixels (N, 2)."""
        placed = points * self.scale
        if self.stretch != 1.0:
            below = np.maximum(points[:, 1] - 1.0, 0.0)
            placed[:, 1] += below * (self.stretch - 1.0) * self.scale
        placed[:, 0] += self.x
        placed[:, 1] += self.y
        return placed


@dataclass(frozen=True)
class Rig:
    """The skeleton of one character in one shot, in heads; `left` and `right` are the viewer's."""

    face: Face
    shoulder: float
    waist: float
    hip: float
    turn: float
    joints: Mapping[str, Spot]

    def arm(self, side: str) -> tuple[Spot, Spot, Spot]:
        """Shoulder, elbow, wrist."""
        return self.joints[f"{side}_shoulder"], self.joints[f"{side}_elbow"], self.joints[f"{side}_wrist"]

    def leg(self, side: str) -> tuple[Spot, Spot, Spot]:
        """Hip, knee, ankle."""
        return self.joints[f"{side}_hip"], self.joints[f"{side}_knee"], self.joints[f"{side}_ankle"]


def rig_of(character: Character, shot: Shot) -> Rig:
    """The skeleton that `draw` clothes."""
    man = character.sex == "male"
    build = seeded(f"build {character.face_seed}").uniform(-0.04, 0.05)
    child = -0.1 if character.age_group == "child" else 0.0
    shoulder = (0.74 if man else 0.62) + build + child
    hip = (0.44 if man else 0.47) + build + child / 2
    joints: dict[str, Spot] = {}
    for side, sign in (("left", -1.0), ("right", 1.0)):
        joints |= _arm(side, sign, shoulder, hip, shot)
        joints |= _leg(side, sign, hip, shot)
    waist = (0.54 if man else 0.43) + build + child / 2
    return Rig(face_of(character), shoulder, waist, hip, shot.turn, joints)


def _arm(side: str, sign: float, shoulder: float, hip: float, shot: Shot) -> dict[str, Spot]:
    sway = shot.sway * sign
    elbow, wrist = (shoulder + 0.1 + 0.03 * sway, 2.12), (shoulder + 0.08 + 0.08 * sway, 2.82 - 0.04 * abs(sway))
    waving_side = -1.0 if shot.turn < 0 else 1.0
    if shot.gesture == "waving" and sign == waving_side:
        elbow, wrist = (shoulder + 0.42, 1.62), (shoulder + 0.5 + 0.06 * sway, 0.86)
    elif shot.gesture == "akimbo":
        elbow, wrist = (shoulder + 0.38, 2.1), (hip + 0.1, 2.56)
    elif shot.gesture == "sitting":
        elbow, wrist = (shoulder + 0.2, 2.16), (0.74 + 0.05 * sway, 2.86)
    elif shot.gesture == "riding":
        elbow, wrist = (shoulder + 0.12, 2.1), (0.3, 2.42)
    return {
        f"{side}_shoulder": (sign * (shoulder - 0.13), 1.48),
        f"{side}_elbow": (sign * elbow[0], elbow[1]),
        f"{side}_wrist": (sign * wrist[0], wrist[1]),
    }


def _leg(side: str, sign: float, hip: float, shot: Shot) -> dict[str, Spot]:
    spread = 0.04 * shot.sway * sign
    knee, ankle = (hip * 0.62 + spread / 2, 4.3), (hip * 0.64 + 0.03 + spread, 5.66)
    if shot.gesture == "sitting":
        knee, ankle = (1.02, 3.02), (-0.12, 3.28)
    elif shot.gesture == "riding":
        ahead = (-1.0 if shot.turn < 0 else 1.0) * sign
        knee, ankle = (0.5 * ahead, 3.32), (0.36 * ahead, 4.12)
    return {
        f"{side}_hip": (sign * hip * 0.55, 2.78),
        f"{side}_knee": (sign * knee[0], knee[1]),
        f"{side}_ankle": (sign * ankle[0], ankle[1]),
    }


def frame_of(character: Character, shot: Shot, size: tuple[int, int]) -> Frame:
    """The frame in which the shot's part of the figure fits, hat and hands included."""
    width, height = size
    stretch = _STATURE[character.age_group]
    top = -_HEADROOM.get(character.hat, 0.3 if character.hair_style in ("bun", "curly") else 0.1) - 0.12
    bottom, reach = _extent(shot)
    bottom = 1 + (bottom - 1) * stretch
    scale = min(height / (bottom - top), width / (2 * reach))
    slack = max(0.0, width / 2 - reach * scale)
    spare = height - (bottom - top) * scale
    # A whole figure stands near the lower edge; a portrait has its spare room shared above and below.
    rise = spare * (0.5 if shot.kind == "full" else 0.38)
    return Frame(scale, width / 2 + shot.x * slack, rise - top * scale, stretch)


def _extent(shot: Shot) -> tuple[float, float]:
    """How far down (in heads from the crown) and to either side a shot must show."""
    if shot.kind == "portrait":
        return 1.75, 0.92
    if shot.kind == "half":
        return 3.0, 1.68 if shot.gesture in ("waving", "riding") else 1.28
    if shot.gesture == "riding":
        return HOOF + 0.2, 2.5
    if shot.gesture == "sitting":
        return SEAT + 0.35, 1.5
    return SOLE + 0.2, 1.7 if shot.gesture == "waving" else 1.5


def keypoints(character: Character, shot: Shot, size: tuple[int, int]) -> dict[str, Spot]:
    """Named points in pixels, where `draw` puts them; `left` and `right` are the viewer's.

    Returns:
        left_eye, right_eye, nose, left_mouth, right_mouth, neck, {left,right}_{shoulder,elbow,hand,hip,knee,foot}, and
        head_top_left and head_bottom_right, the corners of the head's box (crown to chin, ear to ear, no hat). Points
        outside the frame are given as they are.
    """
    rig, frame = rig_of(character, shot), frame_of(character, shot, size)
    spots = face_spots(rig) | _body_spots(rig)
    placed = frame.place(np.array(list(spots.values()), dtype=np.float64))
    return {name: (float(x), float(y)) for name, (x, y) in zip(spots, placed, strict=True)}


def face_spots(rig: Rig) -> dict[str, Spot]:
    """The face's key points, in heads; the drawn features hang on these."""
    face, shift = rig.face, rig.turn * 0.085
    near = 0.02 * rig.turn
    return {
        "left_eye": (shift - face.eye_gap + max(near, 0) * 0.5, 0.53),
        "right_eye": (shift + face.eye_gap + min(near, 0) * 0.5, 0.53),
        "nose": (shift * 1.5, face.nose_length),
        "left_mouth": (shift * 1.15 - face.mouth_width, 0.815),
        "right_mouth": (shift * 1.15 + face.mouth_width, 0.815),
        "head_top_left": (-face.width - 0.04, 0.0),
        "head_bottom_right": (face.width + 0.04, 1.0),
    }


def _body_spots(rig: Rig) -> dict[str, Spot]:
    spots: dict[str, Spot] = {"neck": (0.0, 1.16)}
    for side in ("left", "right"):
        for joint in ("shoulder", "elbow", "hip", "knee"):
            spots[f"{side}_{joint}"] = rig.joints[f"{side}_{joint}"]
        spots[f"{side}_hand"] = hand_spot(rig, side)
        x, y = rig.joints[f"{side}_ankle"]
        spots[f"{side}_foot"] = (x, y + 0.14)
    return spots


def hand_spot(rig: Rig, side: str) -> Spot:
    """The middle of a hand: a little beyond the wrist, in the forearm's direction."""
    _, elbow, wrist = rig.arm(side)
    along = np.subtract(wrist, elbow)
    along = along / max(float(np.hypot(*along)), 1e-6) * 0.13
    return wrist[0] + float(along[0]), wrist[1] + float(along[1])
