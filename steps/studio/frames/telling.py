"""One storyboard, drawn: the first frame, then all others in batches, each again until it passes the gate."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from runner.errors import ItemError
from steps.library.shots import Shot
from steps.studio.frames.attempts import FOLDER, Attempt, Attempts, png
from steps.studio.frames.gate import Gate, score_of
from steps.studio.frames.memory import Memory, NotEnoughMemory
from steps.studio.frames.pipelines import Pipelines, drawn
from steps.studio.frames.references import Reference, look, reference_in
from steps.studio.frames.setups import (
    WITHOUT_REFERENCE,
    Order,
    Sampling,
    Scales,
    Setup,
    posed,
    seed_of,
    setups_of,
)
from steps.studio.protocols import Diffusion, Faces


@dataclass(frozen=True)
class Panel:
    """One frame of a storyboard.

    Attributes:
        frame: From 1.
        prompt: What the model is told.
        text: What the image is held against: the scene without the trigger word, with the encoder's prefix.
        shot: How the character is taken.
    """

    frame: int
    prompt: str
    text: str
    shot: Shot


@dataclass(frozen=True)
class Board:
    """What is to be drawn.

    Attributes:
        mode: One of `setups.MODES`.
        seed: All seeds come from it.
        panels: The frames.
        lora: The LoRA's file, for the modes that have one.
        sampling: How each image is sampled.
        scales: How strongly the parts tell.
        retries: Attempts at a frame that did not pass, beyond the first.
    """

    mode: str
    seed: int
    panels: Sequence[Panel]
    lora: Path | None
    sampling: Sampling
    scales: Scales
    retries: int


@dataclass(frozen=True)
class Studio:
    """What draws and judges, shared by all storyboards of a run."""

    model: Diffusion
    pipelines: Pipelines
    memory: Memory
    gate: Gate
    faces: Faces


class Teller:
    """Draws one storyboard into its folder of attempts.

    Args:
        studio: What draws.
        board: What is drawn.
        attempts: Where images are kept; what is there is not drawn again.
        watch: Called between batches and sampling steps with how many frames are settled and what is done; raises when the run stops.
        weaker: Whether frames that don't fit into memory may be drawn in a weaker mode.
    """

    def __init__(
        self,
        studio: Studio,
        board: Board,
        attempts: Attempts,
        watch: Callable[[int, str], None] = lambda *_: None,
        *,
        weaker: bool = True,
    ) -> None:
        self._studio = studio
        self._board = board
        self._attempts = attempts
        self._watch = watch
        self._weaker = weaker

    def tell(self, given: Reference | None = None) -> Reference | None:
        """Draw every frame; returns the reference that was used.

        Args:
            given: A reference that is there already; None takes the face of the first frame, for the modes with a reference.

        Raises:
            ItemError: Memory does not suffice for one plain image.
            NotEnoughMemory: It does not suffice for the mode, and no weaker one may be drawn.
        """
        panels, board = self._board.panels, self._board
        first, rest = setups_of(board.mode, board.lora, given=given is not None)
        if first == rest or (len(panels) == 1 and given is not None):
            self._settle(panels, rest, given)
            return given if rest.adapter else None
        self._settle(panels[:1], first, None)
        if len(panels) == 1:
            self._attempts.note(
                f"mode '{board.mode}' tells from frame 2 on: give a reference to have it in a single frame"
            )
            return None
        reference = given or self._of_first_frame()
        if reference is None:
            rest = self._without_reference(f"no face was found in any attempt at frame {panels[0].frame}")
        self._settle(panels[1:], rest, reference)
        return reference

    @property
    def mode(self) -> str:
        """What is drawn now: the board's mode, or what is left of it."""
        return self._attempts.fallback or self._board.mode

    def _settle(self, panels: Sequence[Panel], setup: Setup, reference: Reference | None) -> None:
        if setup.adapter and self._attempts.fallback:
            setup = self._plain()
        try:
            self._rounds(panels, setup, reference)
        except NotEnoughMemory as error:
            if not setup.adapter:
                raise ItemError(f"{error}, in mode '{self.mode}': give a smaller width and height") from error
            if not self._weaker:
                raise
            self._rounds(panels, self._without_reference(str(error), short=True), None)

    def _rounds(self, panels: Sequence[Panel], setup: Setup, reference: Reference | None) -> None:
        """Draw each panel until an attempt passes, or as often as allowed."""
        for attempt in range(self._board.retries + 1):
            left = [panel for panel in panels if not any(each.passed for each in self._before(panel, attempt))]
            todo = [panel for panel in left if len(self._attempts.of(panel.frame)) <= attempt]
            told = {panel.frame: self._order(panel, attempt, setup, reference) for panel in todo}
            draw = partial(self._draw, told=told, setup=setup)
            batches = self._studio.memory.batches(setup, todo, draw, self._attempts.note)
            self._watch(self._settled(), f"attempt {attempt + 1} at {len(todo)} frames" if todo else "")
            for batch, (images, seconds) in batches:
                self._keep(batch, attempt, images, seconds)
                self._watch(self._settled(), f"attempt {attempt + 1}")

    def _before(self, panel: Panel, attempt: int) -> list[Attempt]:
        return [each for each in self._attempts.of(panel.frame) if each.attempt < attempt]

    def _order(self, panel: Panel, attempt: int, setup: Setup, reference: Reference | None) -> Order:
        size = self._board.sampling
        return Order(
            panel.prompt,
            seed_of(self._board.seed, panel.frame, attempt),
            reference.image if setup.adapter and reference is not None else None,
            posed(self._studio.model, panel.shot, size.width, size.height) if setup.pose else None,
        )

    def _draw(
        self, batch: Sequence[Panel], *, told: Mapping[int, Order], setup: Setup
    ) -> tuple[list[Image.Image], float]:
        pipeline = self._studio.pipelines.get(setup)
        began = time.monotonic()
        orders = [told[panel.frame] for panel in batch]
        done = self._settled()

        def between() -> None:
            self._watch(done, f"drawing {len(orders)}")

        images = drawn(pipeline, setup, orders, self._board.sampling, self._board.scales, between)
        return images, time.monotonic() - began

    def _keep(self, batch: Sequence[Panel], attempt: int, images: Sequence[Image.Image], sampled: float) -> None:
        began = time.monotonic()
        cosines = self._studio.gate.cosines(images, [panel.text for panel in batch]).diagonal()
        kept = [
            self._judged(panel, attempt, image, float(cosine))
            for panel, image, cosine in zip(batch, images, cosines, strict=True)
        ]
        scored = time.monotonic() - began
        spent = {"retry": sampled + scored} if attempt else {"sample": sampled, "score": scored}
        self._attempts.add(kept, spent)

    def _judged(self, panel: Panel, attempt: int, image: Image.Image, cosine: float) -> tuple[Attempt, bytes]:
        seen, data = look(self._studio.faces, image), png(image)
        passed = self._studio.gate.passes(cosine) and (panel.frame > 1 or self._studio.gate.shows_face(seen.score))
        made = Attempt(
            frame=panel.frame,
            attempt=attempt,
            mode=self.mode,
            seed=seed_of(self._board.seed, panel.frame, attempt),
            file=f"{FOLDER}/frame_{panel.frame}_attempt_{attempt}.png",
            sha256=hashlib.sha256(data).hexdigest(),
            cosine=round(cosine, 6),
            score=round(score_of(cosine), 6),
            passed=passed,
            faces=seen.count,
            face=seen.score,
            at_border=seen.at_border,
        )
        return made, data

    def _of_first_frame(self) -> Reference | None:
        """The face in the best attempt at the first frame: one that shows a face is best before all others."""
        best = self._attempts.best(self._board.panels[0].frame)
        return reference_in(self._studio.faces, self._attempts.image(best), f"frame {best.frame}")

    def _without_reference(self, why: str, *, short: bool = False) -> Setup:
        """Go on in the mode that is left, and say so."""
        weaker = WITHOUT_REFERENCE[self._board.mode]
        self._attempts.note(
            f"{why}: the frames that were left are drawn in mode '{weaker}'", fallback=weaker, short=short
        )
        return self._plain()

    def _plain(self) -> Setup:
        return setups_of(WITHOUT_REFERENCE[self._board.mode], self._board.lora, given=False)[1]

    def _settled(self) -> int:
        """How many frames need no further attempt."""
        tries = [self._attempts.of(panel.frame) for panel in self._board.panels]
        return sum(len(made) > self._board.retries or any(each.passed for each in made) for made in tries)
