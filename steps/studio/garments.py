"""Bodies in clothes: legs, torso, arms and hands, one cut a garment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.studio.canvas import Painter, dimmed, limb, mirrored, mixed, oval, points, smooth, thread
from steps.studio.colours import RGB
from steps.studio.framing import Points, Rig, Shot, Spot, hand_spot
from steps.studio.people import Character

_WHITE: RGB = (236, 234, 228)
_BRASS: RGB = (206, 168, 84)
_LEATHER: RGB = (66, 46, 38)


@dataclass(frozen=True)
class Cut:
    """How a garment is cut: neckline depth, hem, how far the hem flares, half widths of the sleeve at the wrist."""

    neck: float
    hem: float
    flare: float
    sleeve: float
    long_sleeve: bool = True


CUTS = {
    "robe": Cut(neck=1.46, hem=5.25, flare=0.26, sleeve=0.19),
    "suit": Cut(neck=1.95, hem=3.05, flare=0.06, sleeve=0.115),
    "dress": Cut(neck=1.4, hem=4.55, flare=0.42, sleeve=0.1),
    "casual": Cut(neck=1.33, hem=2.92, flare=0.03, sleeve=0.16, long_sleeve=False),
    "coat": Cut(neck=1.62, hem=4.35, flare=0.16, sleeve=0.14),
    "uniform": Cut(neck=1.28, hem=3.1, flare=0.07, sleeve=0.115),
    "armour": Cut(neck=1.3, hem=3.25, flare=0.14, sleeve=0.13),
}
_LONG = 3.5


def leg_colour(who: Character) -> RGB:
    """What the legs wear: the suit's cloth, tights of skin under a dress, else trousers of the second colour."""
    if who.outfit in ("suit", "uniform"):
        return dimmed(who.cloth_rgb, 0.92)
    if who.outfit == "dress":
        return who.skin_rgb
    if who.outfit in ("coat", "robe", "armour"):
        return dimmed(mixed(who.trim_rgb, (60, 52, 56), 0.45), 0.9)
    return who.trim_rgb


def paint_legs(painter: Painter, who: Character, rig: Rig, shot: Shot) -> None:
    """Legs and shoes."""
    long = CUTS[who.outfit].hem > _LONG
    if shot.gesture == "sitting":
        _crossed_legs(painter, who, rig, long)
        return
    cloth = who.cloth_rgb if long and shot.gesture == "riding" else leg_colour(who)
    sides: tuple[str, ...] = ("left", "right")
    if shot.gesture == "riding":
        sides = ("left",) if shot.turn < 0 else ("right",)
    for side in sides:
        hip, knee, ankle = rig.leg(side)
        _shoe(painter, who, ankle, shot)
        bare = who.outfit == "dress" and shot.gesture != "riding"
        widths = (0.25, 0.165, 0.085) if bare else (0.27, 0.205, 0.165)
        # Under a long garment only the shins show: thighs would stick out at its waist.
        hidden = long and shot.gesture != "riding"
        painter.fill(limb([knee, ankle] if hidden else [hip, knee, ankle], widths[hidden:]), cloth, soft=0.75)
        if not bare:
            painter.stroke(
                thread([(knee[0] - 0.1, knee[1] - 0.03), (knee[0], knee[1] + 0.03), (knee[0] + 0.09, knee[1])]),
                dimmed(cloth, 0.7),
                0.014,
            )
        if who.outfit == "uniform":
            out = 0.13 if side == "right" else -0.13
            painter.stroke(thread([(x + out, y) for x, y in (hip, knee, ankle)]), who.trim_rgb, 0.035)


def _shoe(painter: Painter, who: Character, ankle: Spot, shot: Shot) -> None:
    x, y = ankle
    sign = 1.0 if x >= 0 else -1.0
    toe = sign * 0.06
    colour = dimmed(who.trim_rgb, 0.8) if who.outfit == "dress" else _LEATHER
    if shot.gesture == "riding":
        toe = 0.2 if shot.turn >= 0 else -0.2
    if who.outfit in ("robe", "armour", "uniform", "coat") or shot.gesture == "riding":
        painter.fill(limb([(x, y - 0.55), (x, y + 0.06)], (0.19, 0.15)), colour, soft=0.6)
    sole = [
        (x - 0.14, y - 0.02),
        (x + 0.14, y - 0.02),
        (x + 0.19 + toe, y + 0.17),
        (x + 0.14 + toe, y + 0.25),
        (x - 0.14 + toe, y + 0.25),
        (x - 0.19 + toe, y + 0.17),
    ]
    painter.fill(smooth(sole), colour, soft=0.6)
    painter.stroke(
        thread([(x - 0.16 + toe, y + 0.215), (x + toe, y + 0.235), (x + 0.16 + toe, y + 0.215)]),
        dimmed(colour, 0.5),
        0.022,
    )


def _crossed_legs(painter: Painter, who: Character, rig: Rig, long: bool) -> None:
    cloth = who.cloth_rgb if long else leg_colour(who)
    for side in ("left", "right"):
        x, y = rig.joints[f"{side}_ankle"]
        painter.fill(oval((x * 2.4, y + 0.06), 0.2, 0.11), _LEATHER, soft=0.6)
    if long:
        lap = mirrored([(0.0, 2.5), (0.5, 2.55), (1.05, 2.84), (1.26, 3.12), (1.02, 3.3), (0.5, 3.32), (0.0, 3.36)])
        painter.fill(lap, cloth, soft=0.7)
        painter.pattern(lap, who.pattern, who.trim_rgb)
        return
    for side in ("left", "right"):
        painter.fill(limb(rig.leg(side), (0.26, 0.22, 0.15)), cloth, soft=0.75)


def torso(who: Character, rig: Rig, shot: Shot) -> Points:
    """The garment from the neckline to its hem."""
    cut = CUTS[who.outfit]
    seated = shot.gesture in ("sitting", "riding")
    hem = min(cut.hem, 2.98) if seated else cut.hem
    flare = cut.flare * (0.4 if seated else 1.0)
    shoulder, waist = rig.shoulder, rig.waist + (0.05 if who.outfit in ("robe", "coat") else 0.0)
    half: list[Spot] = [
        (0.0, cut.neck),
        (0.17, 1.19),
        (0.19, 1.15),
        (0.36, 1.24),
        (shoulder - 0.1, 1.33),
        (shoulder, 1.5),
        (shoulder - 0.1, 1.86),
        (waist, 2.38),
        (rig.hip + 0.06, 2.86),
    ]
    if hem > _LONG:
        bottom = rig.hip + 0.06 + flare
        half += [
            (rig.hip + 0.06 + flare * 0.55, (2.86 + hem) / 2),
            (bottom, hem - 0.12),
            (bottom - 0.05, hem),
            (0.0, hem + 0.09),
        ]
    else:
        half += [(rig.hip + 0.06 + flare, hem - 0.06), (rig.hip + 0.01 + flare, hem), (0.0, hem + 0.05)]
    return mirrored(half)


def paint_torso(painter: Painter, who: Character, rig: Rig, shot: Shot) -> None:
    """The garment's body with its pattern and what is particular to its kind."""
    shape = torso(who, rig, shot)
    if who.outfit == "suit":
        painter.fill(mirrored([(0.0, 1.32), (0.2, 1.12), (0.3, 1.5), (0.2, 2.2), (0.0, 2.3)]), _WHITE, soft=0.3)
        _tie(painter, who)
    painter.fill(shape, who.cloth_rgb, soft=0.7)
    painter.pattern(shape, who.pattern, who.trim_rgb)
    _folds(painter, who, rig, shot)
    _DETAILS[who.outfit](painter, who, rig)


def _folds(painter: Painter, who: Character, rig: Rig, shot: Shot) -> None:
    crease = dimmed(who.cloth_rgb, 0.7)
    waist = rig.waist
    for sign in (-1.0, 1.0):
        painter.stroke(
            thread([(sign * (waist - 0.03), 2.3), (sign * (waist - 0.14), 2.38), (sign * (waist - 0.24), 2.36)]),
            crease,
            0.014,
        )
    hem = CUTS[who.outfit].hem
    if hem > _LONG and shot.gesture not in ("sitting", "riding"):
        for x in (-0.62, -0.28, 0.3, 0.66):
            low = x * (rig.hip + CUTS[who.outfit].flare)
            painter.stroke(thread([(x * rig.hip * 0.8, 2.9), (x * rig.hip, 3.6), (low, hem - 0.06)]), crease, 0.016)


def _tie(painter: Painter, who: Character) -> None:
    tie = who.trim_rgb
    painter.fill(
        smooth([(-0.06, 1.36), (0.06, 1.36), (0.04, 1.46), (0.085, 1.9), (0.0, 2.1), (-0.085, 1.9), (-0.04, 1.46)]),
        tie,
        soft=0.5,
    )


def _robe(painter: Painter, who: Character, rig: Rig) -> None:
    trim = who.trim_rgb
    for path in ([(-0.2, 1.17), (-0.1, 1.5), (0.12, 2.0), (0.2, 2.4)], [(0.2, 1.17), (0.12, 1.45), (0.02, 1.68)]):
        painter.fill(limb(path, (0.065,) * len(path)), trim, soft=0.4)
    sash = mirrored(
        [(0.0, 2.34), (rig.waist + 0.05, 2.29), (rig.waist + 0.06, 2.4), (rig.waist + 0.05, 2.52), (0.0, 2.57)]
    )
    painter.fill(sash, trim, soft=0.6)
    painter.fill(
        smooth([(0.14, 2.4), (0.3, 2.4), (0.3, 2.55), (0.34, 3.0), (0.17, 3.02), (0.16, 2.56)]),
        dimmed(trim, 0.9),
        soft=0.5,
    )


def _suit(painter: Painter, who: Character, _rig: Rig) -> None:
    dark = dimmed(who.cloth_rgb, 0.82)
    for sign in (-1.0, 1.0):
        lapel = [
            (sign * 0.18, 1.16),
            (sign * 0.33, 1.36),
            (sign * 0.36, 1.56),
            (sign * 0.24, 1.58),
            (sign * 0.03, 1.98),
            (sign * 0.01, 1.96),
        ]
        painter.fill(smooth(lapel), dark, soft=0.3)
        painter.stroke(points([(sign * 0.24, 2.6), (sign * 0.42, 2.58)]), dimmed(who.cloth_rgb, 0.6), 0.022)
    painter.stroke(thread([(0.0, 2.0), (0.02, 2.5), (0.06, 3.05)]), dimmed(who.cloth_rgb, 0.55), 0.018)
    _buttons(painter, (0.05,), (2.16, 2.42), dimmed(who.cloth_rgb, 0.45))
    painter.fill(smooth([(-0.42, 1.72), (-0.26, 1.72), (-0.27, 1.78), (-0.41, 1.78)]), _WHITE, line=0.5)


def _dress(painter: Painter, who: Character, rig: Rig) -> None:
    belt = mirrored([(0.0, 2.28), (rig.waist + 0.015, 2.25), (rig.waist + 0.02, 2.43), (0.0, 2.47)])
    painter.fill(belt, who.trim_rgb, soft=0.5)
    neck = [(-0.19, 1.17), (-0.12, 1.34), (0.0, 1.4), (0.12, 1.34), (0.19, 1.17)]
    painter.stroke(thread(neck), who.trim_rgb, 0.05)


def _casual(painter: Painter, who: Character, rig: Rig) -> None:
    dark = dimmed(who.cloth_rgb, 0.68)
    painter.stroke(thread([(-0.19, 1.17), (-0.11, 1.29), (0.0, 1.335), (0.11, 1.29), (0.19, 1.17)]), dark, 0.04)
    wide = rig.hip + 0.05
    painter.stroke(thread([(-wide, 2.84), (0.0, 2.9), (wide, 2.84)]), dark, 0.016)


def _coat(painter: Painter, who: Character, _rig: Rig) -> None:
    dark = dimmed(who.cloth_rgb, 0.8)
    painter.stroke(thread([(0.0, 1.62), (0.03, 2.6), (0.05, 4.3)]), dimmed(who.cloth_rgb, 0.55), 0.018)
    for sign in (-1.0, 1.0):
        collar = [
            (sign * 0.13, 1.1),
            (sign * 0.36, 1.2),
            (sign * 0.46, 1.5),
            (sign * 0.3, 1.62),
            (sign * 0.02, 1.66),
            (sign * 0.1, 1.4),
        ]
        painter.fill(smooth(collar), dark, soft=0.5)
        painter.stroke(
            thread([(sign * 0.3, 2.72), (sign * 0.4, 2.7), (sign * 0.48, 2.6)]), dimmed(who.cloth_rgb, 0.55), 0.024
        )
    painter.fill(limb([(-0.15, 1.24), (0.0, 1.36), (0.15, 1.24)], (0.07, 0.085, 0.07)), who.trim_rgb, soft=0.5)
    _buttons(painter, (-0.16, 0.2), (1.86, 2.2, 2.54), dimmed(who.trim_rgb, 0.75))


def _uniform(painter: Painter, who: Character, rig: Rig) -> None:
    trim = who.trim_rgb
    painter.fill(mirrored([(0.0, 1.16), (0.17, 1.08), (0.2, 1.2), (0.1, 1.28), (0.0, 1.3)]), trim, soft=0.4)
    painter.stroke(thread([(0.0, 1.3), (0.01, 2.2), (0.02, 3.08)]), dimmed(who.cloth_rgb, 0.58), 0.016)
    painter.fill(
        mirrored([(0.0, 2.33), (rig.waist + 0.02, 2.3), (rig.waist + 0.03, 2.46), (0.0, 2.5)]), _LEATHER, soft=0.5
    )
    painter.fill(smooth([(-0.09, 2.32), (0.09, 2.32), (0.09, 2.51), (-0.09, 2.51)]), _BRASS, soft=0.5)
    _buttons(painter, (0.0,), (1.48, 1.76, 2.04, 2.72), _BRASS)
    for sign in (-1.0, 1.0):
        painter.fill(limb([(sign * 0.34, 1.27), (sign * (rig.shoulder - 0.02), 1.38)], (0.06, 0.075)), trim, soft=0.5)
        pocket = smooth(
            [(sign * 0.2, 1.66), (sign * 0.44, 1.66), (sign * 0.44, 1.74), (sign * 0.32, 1.79), (sign * 0.2, 1.74)]
        )
        painter.fill(pocket, dimmed(who.cloth_rgb, 0.86), line=0.6)


def _armour(painter: Painter, who: Character, rig: Rig) -> None:
    metal, dark = mixed(who.cloth_rgb, (255, 255, 255), 0.16), dimmed(who.cloth_rgb, 0.62)
    for row in range(5):
        y, wide = 1.62 + row * 0.18, rig.waist + 0.13 - 0.03 * row
        painter.stroke(thread([(-wide, y - 0.05), (0.0, y), (wide, y - 0.05)]), dark, 0.02)
    painter.fill(oval((0.0, 1.86), 0.19, 0.19), mixed(who.trim_rgb, _BRASS, 0.25), soft=0.8)
    painter.fill(oval((0.0, 1.86), 0.09, 0.09), metal, soft=0.8)
    painter.fill(mirrored([(0.0, 2.36), (rig.waist, 2.32), (rig.waist + 0.02, 2.5), (0.0, 2.55)]), _LEATHER, soft=0.5)
    for x in np.linspace(-0.8, 0.8, 5):
        painter.stroke(points([(x * rig.hip, 2.58), (x * (rig.hip + 0.12), 3.2)]), dark, 0.018)
    for sign in (-1.0, 1.0):
        painter.fill(limb([(sign * 0.2, 1.2), (sign * 0.34, 1.26)], (0.07, 0.07)), who.trim_rgb, soft=0.4, line=0.7)


def _buttons(painter: Painter, columns: tuple[float, ...], rows: tuple[float, ...], colour: RGB) -> None:
    for x in columns:
        for y in rows:
            painter.fill(oval((x, y), 0.034, 0.034), colour, soft=0.4, line=0.6)


def paint_arms(painter: Painter, who: Character, rig: Rig, sides: tuple[str, ...] = ("left", "right")) -> None:
    """Arms, sleeves and hands."""
    for side in sides:
        arm = rig.arm(side)
        cut, sleeve = CUTS[who.outfit], who.cloth_rgb
        if who.outfit == "armour":
            sleeve = dimmed(who.trim_rgb, 0.92)
        _hand(painter, who, rig, side)
        if not cut.long_sleeve:
            bare = (_between(arm[0], arm[1], 0.6), arm[1], arm[2])
            painter.fill(limb(bare, (0.11, 0.105, 0.08)), who.skin_rgb, soft=0.75)
            shape = limb([arm[0], _between(arm[0], arm[1], 0.5), _between(arm[0], arm[1], 0.86)], (0.15, 0.175, 0.165))
        else:
            shape = limb(arm, (0.145, 0.155, cut.sleeve))
        painter.shadow(shape, (0.045, 0.04), 0.6)
        painter.fill(shape, sleeve, soft=0.75)
        if who.outfit != "armour":
            painter.pattern(shape, who.pattern, who.trim_rgb)
        _cuff(painter, who, rig, side)


def _cuff(painter: Painter, who: Character, rig: Rig, side: str) -> None:
    shoulder, elbow, wrist = rig.arm(side)
    cuff = CUTS[who.outfit].sleeve + 0.012
    if who.outfit in ("robe", "uniform", "dress"):
        painter.fill(
            limb([_between(wrist, elbow, 0.14), _between(wrist, elbow, -0.02)], (cuff, cuff)), who.trim_rgb, soft=0.5
        )
    elif who.outfit == "suit":
        painter.fill(limb([wrist, _between(wrist, elbow, -0.06)], (0.1, 0.1)), _WHITE, soft=0.3)
    elif who.outfit == "armour":
        sign = 1.0 if shoulder[0] > 0 else -1.0
        plate = oval((shoulder[0] + sign * 0.04, shoulder[1] + 0.02), 0.23, 0.2)
        painter.fill(plate, who.cloth_rgb, soft=0.9)
        painter.stroke(plate[3:10], dimmed(who.cloth_rgb, 0.6), 0.018)
        painter.fill(
            limb([_between(wrist, elbow, 0.6), _between(wrist, elbow, 0.02)], (0.16, 0.13)), who.cloth_rgb, soft=0.8
        )


def _between(one: Spot, other: Spot, share: float) -> Spot:
    return one[0] + (other[0] - one[0]) * share, one[1] + (other[1] - one[1]) * share


def _hand(painter: Painter, who: Character, rig: Rig, side: str) -> None:
    wrist = rig.joints[f"{side}_wrist"]
    middle = points([hand_spot(rig, side)])[0]
    along = middle - wrist
    along = along / max(float(np.hypot(*along)), 1e-6)
    # The thumb is on the inner side: towards the body, or towards the head in a wave.
    inner = points([(-along[1], along[0])])[0]
    inward = -1.0 if middle[0] > 0 else 1.0
    inner = inner if inner[0] * inward > 0 else -inner
    at = points([wrist])[0]

    def spot(far: float, aside: float) -> Spot:
        x, y = at + along * far + inner * aside
        return float(x), float(y)

    palm = [
        spot(-0.05, 0.07),
        spot(0.1, 0.095),
        spot(0.25, 0.07),
        spot(0.31, 0.0),
        spot(0.26, -0.075),
        spot(0.1, -0.095),
        spot(-0.05, -0.07),
    ]
    painter.fill(
        limb([spot(0.04, 0.05), spot(0.13, 0.12), spot(0.2, 0.13)], (0.045, 0.045, 0.03)), who.skin_rgb, soft=0.5
    )
    painter.fill(smooth(palm), who.skin_rgb, soft=0.6)
    for aside in (-0.035, 0.0, 0.035):
        painter.stroke(
            points([spot(0.17, aside), spot(0.285 - abs(aside), aside * 1.05)]), dimmed(who.skin_rgb, 0.66), 0.011
        )


_DETAILS = {
    "robe": _robe,
    "suit": _suit,
    "dress": _dress,
    "casual": _casual,
    "coat": _coat,
    "uniform": _uniform,
    "armour": _armour,
}
