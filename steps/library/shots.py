"""How a character is taken: the words that stories, poses and drawings share."""

from __future__ import annotations

from dataclasses import dataclass

SHOTS = ("portrait", "half", "full")
GESTURES = ("standing", "waving", "akimbo", "sitting", "riding")
FACINGS = ("left", "front", "right")
_TURN = {"left": -1.0, "front": 0.0, "right": 1.0}


@dataclass(frozen=True)
class Shot:
    """How the character is taken.

    Attributes:
        kind: One of SHOTS.
        gesture: One of GESTURES.
        facing: One of FACINGS: where the face turns, and where a horse goes.
        x: -1 (left) to 1 (right): where in the free width the figure stands.
        sway: -1 to 1: how the hands and feet differ from the plain pose.
    """

    kind: str = "full"
    gesture: str = "standing"
    facing: str = "front"
    x: float = 0.0
    sway: float = 0.0

    @property
    def turn(self) -> float:
        """-1 for left, 0 for front, 1 for right."""
        return _TURN[self.facing]
