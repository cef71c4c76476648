"""Draw stories frame by frame: each story in each mode with each seed is a storyboard, held against its texts and drawn again where it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.artifacts import Artifact, link
from runner.doctor import Need
from runner.errors import UserError
from runner.report_parts import ReportPart, counted, write_part
from runner.step import Item, Results, StepContext
from steps.backends.protocols import Clip, Diffusion, Faces, Language
from steps.library.stories import is_story_file, read_story
from steps.storyboard_params import FRAME_1, TRAINING, StoryboardParams, Take, listed, takes
from steps.storyboard_results import character_of, document, failed_in
from steps.storyboard_stories import name_of
from steps.storyboarding import Models, Production
from steps.studio.frames.cards import entry, failed_entry
from steps.studio.frames.references import training_images
from steps.studio.frames.result import Storyboard
from steps.studio.frames.setups import WITH_LORA, WITH_REFERENCE
from steps.studio.lora.reading import check_safetensors, lora_file

RESULTS = "results.json"
TRIGGER = "modelspec.trigger_phrase"
"""The key of a LoRA's metadata under which its trigger word stands."""


class DrawStoryboards:
    """Draw each story in each mode with each seed."""

    version: ClassVar[int] = 1
    # Each storyboard is an artifact, which is looked up by itself.
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: StoryboardParams, data: Path) -> Iterable[Need]:
        """For `callsheet doctor`."""
        for told in listed(params.story):
            if told is not None and is_story_file(told):
                yield _need(f"story {told}", partial(read_story, told.strip()))
        modes = listed(params.mode)
        if any(mode in WITH_LORA for mode in modes):
            yield _need(f"LoRA {params.lora or ''}".strip(), partial(_lora, params, modes, "lora"))
        if params.reference is not None and any(mode in WITH_REFERENCE for mode in modes):
            yield _need(f"reference {params.reference}", partial(_check_reference, params, data, "reference"))

    def __init__(
        self,
        params: StoryboardParams,
        context: StepContext,
        diffusion: Diffusion,
        clip: Clip,
        face: Faces,
        language: Language,
    ) -> None:
        self._params = params
        self._context = context
        self._models = Models(diffusion, clip, face, language)
        self._production: Production | None = None
        self._warnings: list[str] = []

    def items(self) -> list[Item[Take]]:
        """One item for each combination; what can be told to fail is told before the first is drawn.

        Raises:
            UserError: A story, LoRA or model that is not there or can't be used.
        """
        told = self._told()
        lora = self._lora_of(listed(self._params.mode))
        for model in (self._models.diffusion, self._models.clip, self._models.faces):
            model.prepare()
        if any(text is not None and not is_story_file(text) for text in told):
            getattr(self._models.language, "prepare", lambda: None)()
        named = [(name_of(text), text) for text in told]
        self._check_names([name for name, _ in named])
        _check_reference(self._params, self._context.data, f"{self._context.label}.reference")
        self._production = Production(self._params, self._context, self._models, lora)
        return [Item(take.key, take, (take,)) for take in takes(self._params, named, self._context.seed)]

    def _check_names(self, names: Sequence[str]) -> None:
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UserError(
                f"{self._context.label}.story: two stories are named '{twice[0]}': rename a file, or draw them in two runs"
            )

    def process(self, take: Take) -> Storyboard:
        """Draw one, or find it."""
        assert self._production is not None
        return self._production.make(take)

    def finish(self, results: Results[Storyboard]) -> None:
        """Link to each storyboard; write results.json and the report's part."""
        done = [outcome.result for outcome in results if outcome.result is not None]
        for board in done:
            link(Artifact(Path(board.folder), board.artifact), self._context.out / board.key)
        found = document(done, results, self._models, character_of(self._params))
        files.write_json(self._context.out / RESULTS, found)
        write_part(self._context.out, self._report(done, results))

    def _told(self) -> list[str | None]:
        """What was given as stories; None stands for the prompt."""
        label, params = self._context.label, self._params
        if (params.story is None) == (params.prompt is None):
            raise UserError(f"{label}: give either {label}.story or {label}.prompt")
        if params.prompt is not None and not params.prompt.strip():
            raise UserError(f"{label}.prompt is empty: say what the frame shows")
        return listed(params.story)

    def _lora_of(self, modes: Sequence[str]) -> Path | None:
        """The LoRA's file; another name than it was taught is said."""
        if not any(mode in WITH_LORA for mode in modes):
            return None
        label, trigger = self._context.label, self._params.trigger
        file, taught = _lora(self._params, modes, f"{label}.lora")
        if taught.lower() not in trigger.lower():
            self._warnings.append(
                f"{file} was trained on {taught[:80]!r}, and {label}.trigger is {trigger!r}: what it learned may not come when it is called"
            )
            self._context.log.warning("%s", self._warnings[-1])
        return file

    def _report(self, done: Sequence[Storyboard], results: Results[Storyboard]) -> ReportPart:
        frames = [frame for board in done for frame in board.frames]
        passed, tries = sum(frame.kept.passed for frame in frames), sum(len(frame.attempts) for frame in frames)
        failed, per_hour = list(failed_in(results)), self._models.diffusion.gpu_usd_per_hour
        other = [f"{board.key}: drawn in mode '{board.drawn_as}'" for board in done if board.drawn_as != board.mode]
        cards = [entry(board, f"{self._context.label}/{board.key}", board.usd(per_hour)) for board in done]
        return ReportPart(
            headline=f"{counted(len(done), 'storyboard')} with {counted(len(frames), 'frame')} drawn, {passed} pass the gate.",
            counts=[("pass", passed), ("below the threshold", len(frames) - passed), ("images drawn", tries)]
            + ([("storyboards not drawn", len(failed))] if failed else []),
            entries=[*cards, *(failed_entry(outcome.key, str(outcome.error)) for outcome in failed)],
            warnings=[*self._warnings, *other],
        )


def _lora(params: StoryboardParams, modes: Sequence[str], key: str) -> tuple[Path, str]:
    """The LoRA's file, its header held against it, and the name that it was taught; raises UserError where it can't be used."""
    if params.lora is None:
        wanted = next(mode for mode in modes if mode in WITH_LORA)
        raise UserError(
            f"{key} = null is not allowed with mode={wanted}: give a LoRA's folder or .safetensors file (train one with: "
            f"callsheet run train_lora), or choose mode=baseline"
        )
    file = lora_file(Path(params.lora))
    return file, check_safetensors(file).metadata.get(TRIGGER, "")


def _check_reference(params: StoryboardParams, data: Path, key: str) -> None:
    """Raise UserError where no image is that a face could be in."""
    given = params.reference
    if given == TRAINING and not training_images(data):
        raise UserError(f"{key} = '{TRAINING}': {data} has no training images: make them with: callsheet run caption")
    if given not in (None, FRAME_1, TRAINING) and not Path(given or "").is_file():
        raise UserError(f"{key} = '{given}': no such file: give an image with a face, '{TRAINING}' or '{FRAME_1}'")


def _need(what: str, look: Callable[[], object]) -> Need:
    """Met unless looking at it raises UserError, which says what to do."""
    try:
        look()
    except UserError as error:
        return Need(what, met=False, advice=str(error))
    return Need(what, met=True)
