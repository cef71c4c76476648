"""A horse in profile, under its rider; it goes where the rider faces."""

from __future__ import annotations

from steps.studio.canvas import Painter, dimmed, limb, oval, smooth, thread
from steps.studio.colours import RGB
from steps.studio.framing import HOOF, Points, Rig, Spot
from steps.studio.people import Character, seeded

_COATS: tuple[RGB, ...] = ((128, 82, 50), (86, 56, 40), (190, 164, 130), (58, 48, 46), (206, 200, 192))


def paint_horse(painter: Painter, who: Character, rig: Rig) -> None:
    """Legs, body, neck, head, mane, tail and saddle cloth."""
    way = -1.0 if rig.turn < 0 else 1.0
    coat = seeded(f"horse {who.face_seed}").choice(_COATS)
    dark = dimmed(coat, 0.55)

    def at(*spots: Spot) -> Points:
        return smooth([(way * x, y) for x, y in spots])

    def tube(widths: tuple[float, ...], *spots: Spot) -> Points:
        return limb([(way * x, y) for x, y in spots], widths)

    painter.fill(tube((0.1, 0.17, 0.14, 0.03), (-1.22, 3.0), (-1.55, 3.3), (-1.62, 4.0), (-1.5, 4.7)), dark, soft=0.6)
    for x, lean, far in ((-0.7, -0.12, True), (0.92, 0.14, True), (-1.0, -0.06, False), (0.7, 0.04, False)):
        _leg(painter, (way * x, way * lean), dimmed(coat, 0.72) if far else coat)
    painter.fill(
        at((0.75, 3.3), (0.95, 2.9), (1.25, 2.35), (1.5, 1.95), (1.72, 2.0), (1.7, 2.4), (1.5, 2.95), (1.3, 3.5)),
        coat,
        soft=0.7,
    )
    painter.fill(
        at(
            (-1.3, 3.1),
            (-1.1, 2.86),
            (-0.5, 2.86),
            (0.0, 2.92),
            (0.6, 2.84),
            (1.2, 3.0),
            (1.34, 3.4),
            (1.1, 3.84),
            (0.3, 3.96),
            (-0.6, 3.9),
            (-1.2, 3.84),
            (-1.38, 3.5),
        ),
        coat,
        soft=0.8,
    )
    painter.fill(
        at(
            (1.46, 1.98),
            (1.66, 1.86),
            (1.86, 1.98),
            (2.2, 2.5),
            (2.24, 2.68),
            (2.08, 2.76),
            (1.9, 2.62),
            (1.66, 2.4),
            (1.52, 2.24),
        ),
        coat,
        soft=0.7,
    )
    painter.fill(at((1.52, 1.98), (1.5, 1.72), (1.66, 1.9)), coat, soft=0.4)
    painter.fill(
        at((1.5, 1.84), (1.42, 2.0), (1.1, 2.6), (0.86, 3.06), (0.74, 2.9), (1.0, 2.4), (1.3, 1.9)), dark, soft=0.5
    )
    painter.fill(oval((way * 1.78, 2.14), 0.045, 0.05), (22, 16, 16), line=0)
    painter.fill(oval((way * 2.16, 2.6), 0.025, 0.03), dimmed(coat, 0.35), line=0)
    painter.fill(at((-0.5, 2.84), (0.5, 2.84), (0.56, 3.5), (0.0, 3.62), (-0.56, 3.5)), who.trim_rgb, soft=0.5)
    painter.stroke(thread([(way * x, y) for x, y in ((2.1, 2.68), (1.4, 2.75), (0.34, 2.5))]), (60, 40, 34), 0.028)
    painter.stroke(thread([(way * x, y) for x, y in ((1.62, 2.34), (1.86, 2.2), (2.02, 2.24))]), (60, 40, 34), 0.028)


def _leg(painter: Painter, foot: Spot, coat: RGB) -> None:
    x, lean = foot
    painter.fill(limb([(x, 3.5), (x + lean * 0.4, 4.5), (x + lean, 5.5)], (0.26, 0.13, 0.1)), coat, soft=0.7)
    end = x + lean
    painter.fill(
        smooth([(end - 0.11, 5.46), (end + 0.11, 5.46), (end + 0.16, HOOF), (end - 0.16, HOOF)]), (44, 36, 34), soft=0.5
    )
