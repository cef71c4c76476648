"""What a storyboard is made from: its parameters, story, reference and models, put together and drawn into an artifact."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner import files
from runner.artifacts import Artifact
from runner.errors import ItemError, MisconfiguredRun
from runner.params import a_path, at_least, between, one_of, param
from runner.step import StepContext
from steps import storytelling
from steps.backends.protocols import Clip, Diffusion, Faces, Language
from steps.library import pictures
from steps.library.shots import FACINGS, SHOTS, Shot
from steps.library.stories import (
    GESTURES,
    MOST_SCENES,
    Scene,
    Story,
    is_story_file,
    one_line,
    prompt_of,
    read_story,
    scored_text,
    unnamed,
)
from steps.studio.frames import setups
from steps.studio.frames.attempts import Attempts
from steps.studio.frames.effects import check_effects, effects
from steps.studio.frames.gate import Gate
from steps.studio.frames.memory import Memory, NotEnoughMemory
from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.references import Reference, reference_in, training_images
from steps.studio.frames.result import Frame, Storyboard, kept_frames, token_count, write
from steps.studio.frames.setups import ADAPTER, BASELINE, REFERENCE, WITH_LORA, WITH_REFERENCE, Sampling, Scales, Setup
from steps.studio.frames.telling import Board, Panel, Studio, Teller
from steps.studio.lora.reading import PEFT_CONFIG

VERSION = 1
FRAME_1, TRAINING = "frame_1", "training"
PROMPT = "prompt"
"""The name of a story that is a prompt."""
LOCK_SECONDS = 0.1
_STORY: TypeAdapter[Story] = TypeAdapter(Story)
_STORYBOARD: TypeAdapter[Storyboard] = TypeAdapter(Storyboard)


def _texts(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = value is None or (listed and all(isinstance(text, str) and text.strip() for text in listed))
    return None if good else "give a story, or a list of them: names, YAML files, or tales in prose"


def _modes(value: Any) -> str | None:
    return "give at least one mode" if value == [] else one_of(*setups.MODES)(value)


def _numbers(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = value is None or (listed and all(type(number) is int and 0 <= number < 2**31 for number in listed))
    return None if good else "give a number from 0 to 2147483647, or a list of them"


def _pixels(value: int | None) -> str | None:
    return None if value is None or (value >= 8 and value % 8 == 0) else "give a multiple of 8"


@dataclass(frozen=True)
class StoryboardParams:
    """Which stories, drawn how, and what passes."""

    story: Any = param(
        None,
        help="the name of a shipped story, the path of a YAML file, or a tale in prose; or a list of these",
        check=_texts,
    )
    prompt: str | None = param(
        None, help="instead of a story, one frame from this prompt; {who} in it becomes the trigger"
    )
    shot: str = param("half", help="of a prompt's frame, for its pose", check=one_of(*SHOTS))
    gesture: str = param("standing", help="of a prompt's frame, for its pose", check=one_of(*GESTURES))
    facing: str = param("front", help="of a prompt's frame, for its pose", check=one_of(*FACINGS))
    mode: Any = param(
        setups.SIMPLE,
        help="baseline: no LoRA; simple: LoRA; adapter: IP-Adapter, no LoRA; reference: LoRA, from frame 2 on with frame 1's face "
        "and a pose; or a list of these",
        check=_modes,
    )
    seed: Any = param(None, help="all noise comes from it; null is the recipe's; or a list", check=_numbers)
    lora: str | None = param(
        None, help="folder or .safetensors file of the LoRA; modes without one need none", check=a_path
    )
    trigger: str = param(
        "Aldar Kose", help="what prompts call the character: the LoRA's trigger word, perhaps with a noun"
    )
    hero: str | None = param(None, help="what a tale in prose calls its hero; null is the trigger")
    reference: str | None = param(
        None,
        help="the face that the adapter is given: an image, 'training' (the first training image with a face) or 'frame_1'; null is "
        "frame_1 in mode reference, and in mode adapter training, or frame_1 where no training image is",
        check=a_path,
    )
    least: int = param(storytelling.LEAST, help="scenes of a tale, at least", check=between(1, MOST_SCENES))
    most: int = param(storytelling.MOST, help="scenes of a tale, at most", check=between(1, MOST_SCENES))
    count: int | None = param(
        None, help="scenes of a tale, exactly; null lets the model choose", check=between(1, MOST_SCENES)
    )
    steps: int | None = param(None, help="sampling steps; null is the model's", check=at_least(1))
    guidance: float | None = param(None, help="guidance scale; null is the model's", check=at_least(0))
    width: int | None = param(None, help="pixels; null is the model's", check=_pixels)
    height: int | None = param(None, help="pixels; null is the model's", check=_pixels)
    negative: str = param("", help="what is not wanted, in words")
    lora_scale: float = param(1.0, help="how strongly the LoRA tells; 0 is off", check=between(0, 2))
    adapter_scale: float = param(0.6, help="how strongly the reference tells; 0 is off", check=between(0, 2))
    control_scale: float = param(0.7, help="how strongly the pose tells; 0 is off", check=between(0, 2))
    threshold: float | None = param(
        None,
        help="CLIPScore, 2.5 x cosine, from which on a frame passes; null is the CLIP backend's",
        check=at_least(0),
    )
    retries: int = param(2, help="attempts beyond the first at a frame that does not pass", check=between(0, 20))
    batch: int = param(10, help="frames at once; fewer where memory does not suffice", check=at_least(1))


@dataclass(frozen=True)
class Models:
    """The backends of a storyboard."""

    diffusion: Diffusion
    clip: Clip
    faces: Faces
    language: Language


@dataclass(frozen=True)
class Take:
    """One storyboard to be made.

    Attributes:
        name: The story's name in this run.
        told: What was given: a name, a path, or a tale; None for the prompt.
        mode: One of `setups.MODES`.
        seed: All noise comes from it.
    """

    name: str
    told: str | None
    mode: str
    seed: int

    @property
    def key(self) -> str:
        """Its name among the run's storyboards."""
        return f"{self.name}-{self.mode}-{self.seed}"


class Production:
    """Makes storyboards, one after the other, with models that are loaded once."""

    def __init__(self, params: StoryboardParams, context: StepContext, models: Models, lora: Path | None) -> None:
        """`lora`: the LoRA's file, which has been looked at."""
        self._params = params
        self._context = context
        self._models = models
        self._lora = lora
        self._pipelines = Pipelines(models.diffusion)
        self._memory = Memory(self._pipelines, params.batch)
        self._effects: dict[Setup, Mapping[str, float]] = {}
        # The executor has many threads; torch and the device's memory are one.
        self._torch = threading.Lock()

    def make(self, take: Take) -> Storyboard:
        """The storyboard, from its artifact where that is complete.

        Raises:
            MisconfiguredRun: A LoRA, reference or adapter that can't be used.
            ItemError: The story can't be had, or not even one image fits into memory.
        """
        story = self.story_of(take.told)
        with self._torch_alone():
            # It counts tokens, for which models are loaded: once, not in each thread.
            board = self._board(take, story)
        candidates = self._candidates(take.mode)
        depends_on = self._depends_on(story, board, [path for _, path in candidates])
        with self._context.artifacts.making("storyboard", VERSION, depends_on) as artifact:
            if (about := artifact.about()) is not None:
                known = _STORYBOARD.validate_python(about)
                return replace(known, key=take.key, story=take.name, folder=str(artifact.path))
            files.sweep_temporaries(artifact.path)
            with self._torch_alone():
                return self._draw(take, story, board, candidates, artifact)

    def story_of(self, told: str | None) -> Story:
        """The story; a tale is broken down once for all modes, seeds and runs."""
        if told is None:
            return self._one_frame()
        if is_story_file(told):
            return read_story(told.strip())
        params, language = self._params, self._models.language
        who, bounds = params.hero or params.trigger, (params.least, params.most, params.count)
        asked = (told, who, bounds, language.identity, storytelling.PROMPT)
        with self._context.artifacts.making("story", VERSION, asked) as artifact:
            about = artifact.about()
            if about is None:
                files.sweep_temporaries(artifact.path)
                least, most, count = bounds
                about = asdict(storytelling.break_down(language, told, who=who, least=least, most=most, count=count))
                artifact.finish(about)
            return _STORY.validate_python(about)

    def _one_frame(self) -> Story:
        params = self._params
        prompt = one_line(params.prompt or "")
        scene = Scene(unnamed(prompt, params.trigger), Shot(params.shot, params.gesture, params.facing))
        return Story(PROMPT, prompt, (scene,), source=PROMPT)

    def _board(self, take: Take, story: Story) -> Board:
        params, diffusion, gate = self._params, self._models.diffusion, self._gate()
        panels = tuple(
            Panel(number, prompt_of(scene, params.trigger), gate.scored(self._text_of(scene, story)).text, scene.shot)
            for number, scene in enumerate(story.scenes, 1)
        )
        sampling = Sampling(
            steps=params.steps or diffusion.steps,
            guidance=diffusion.guidance if params.guidance is None else params.guidance,
            width=params.width or diffusion.side,
            height=params.height or diffusion.side,
            negative=params.negative,
        )
        scales = Scales(params.lora_scale, params.adapter_scale, params.control_scale)
        lora = self._lora if take.mode in WITH_LORA else None
        return Board(take.mode, take.seed, panels, lora, sampling, scales, params.retries)

    def _text_of(self, scene: Scene, story: Story) -> str:
        """What a frame is held against: the scene without the trigger, also where it is spelled out."""
        return scored_text(replace(scene, text=unnamed(scene.text, self._params.trigger)), story.noun)

    def _depends_on(self, story: Story, board: Board, candidates: Sequence[Path]) -> tuple[Any, ...]:
        models = self._models
        identities = (models.diffusion.identity, models.clip.identity, models.faces.identity)
        settings = (self._gate().threshold, self._params.batch, self._params.reference)
        # PEFT keeps rank and alpha beside the weights.
        beside = () if board.lora is None else (board.lora.with_name(PEFT_CONFIG),)
        return board, story.title, candidates, identities, settings, beside

    def _candidates(self, mode: str) -> list[tuple[str, Path]]:
        """Images in which a face for the reference is looked for, with a name for people; none where it is frame 1's."""
        wanted = self._params.reference or (FRAME_1 if mode == REFERENCE else TRAINING)
        if mode not in WITH_REFERENCE or wanted == FRAME_1:
            return []
        if wanted != TRAINING:
            return [(wanted, Path(wanted))]
        return training_images(self._context.data)

    def _draw(
        self, take: Take, story: Story, board: Board, candidates: Sequence[tuple[str, Path]], artifact: Artifact
    ) -> Storyboard:
        attempts, loaded = Attempts(artifact.path), self._pipelines.seconds
        given = self._given(take.mode, candidates, attempts)
        studio = Studio(self._models.diffusion, self._pipelines, self._memory, self._gate(), self._models.faces)
        total = len(board.panels)

        def watch(done: int, extra: str) -> None:
            self._context.progress(take.key, done, total, extra)
            self._context.stop.check()

        watch(0, "loading")
        told = self._check(board, given, attempts)
        reference = Teller(studio, board, attempts, watch).tell(given)
        attempts.seconds["load"] += self._pipelines.seconds - loaded
        frames = self._frames(board, story, attempts)
        notes = (*attempts.notes, *_remarks(frames, reference, story))
        done = Storyboard(
            key=take.key,
            folder=str(artifact.path),
            artifact=artifact.key,
            story=take.name,
            title=story.title,
            mode=take.mode,
            drawn_as=attempts.fallback or take.mode,
            seed=take.seed,
            frames=frames,
            notes=notes,
            seconds={name: round(attempts.seconds[name], 3) for name in ("load", "sample", "score", "retry")},
            usd=self._usd(attempts),
        )
        write(artifact.path, frames, attempts, reference, self._about(done, story, board, reference, told))
        artifact.finish(asdict(done))
        self._context.progress(take.key, total, total, "")
        return done

    def _given(self, mode: str, candidates: Sequence[tuple[str, Path]], attempts: Attempts) -> Reference | None:
        """The reference that is there before the first frame, if one is to be.

        Raises:
            MisconfiguredRun: One was asked for, and no face is in it.
        """
        asked = self._params.reference
        for name, path in candidates:
            try:
                found = reference_in(self._models.faces, pictures.load(path).image, name)
            except (ItemError, OSError) as error:
                if asked not in (None, TRAINING):
                    raise MisconfiguredRun(f"{path}, the reference: {error}") from error
                continue
            if found is not None:
                return found
        if mode in WITH_REFERENCE and asked not in (None, FRAME_1):
            raise MisconfiguredRun(
                f"reference = {asked!r}: no face was found there: give an image that shows one, or reference=frame_1"
            )
        if mode == ADAPTER:
            attempts.note(f"no face was given: the reference is that of frame 1, which was drawn in mode '{BASELINE}'")
        return None

    def _check(self, board: Board, given: Reference | None, attempts: Attempts) -> Mapping[str, float]:
        """Make sure, once for each setup, that every part of it does something."""
        diffusion = self._models.diffusion
        found: dict[str, float] = {}
        for setup in setups.setups_of(board.mode, board.lora, given=given is not None):
            if setup.parts and setup not in self._effects and not attempts.fallback:
                self._effects[setup] = self._measured(setup, board, attempts)
                names = dict.fromkeys(setup.parts, diffusion.identity) | {"LoRA": str(board.lora)}
                check_effects(self._effects[setup], board.scales, names)
            found.update(self._effects.get(setup, {}))
        return found

    def _measured(self, setup: Setup, board: Board, attempts: Attempts) -> Mapping[str, float]:
        def measure(_batch: Sequence[None]) -> Mapping[str, float]:
            pipeline = self._pipelines.get(setup)
            return effects(pipeline, setup, self._models.diffusion, board.panels[0].prompt, board.sampling)

        try:
            return next(found for _, found in self._memory.batches(setup, [None], measure, attempts.note))
        except NotEnoughMemory:
            # Drawing will come to the same end, and knows what is left to do.
            return {}

    def _frames(self, board: Board, story: Story, attempts: Attempts) -> tuple[Frame, ...]:
        pipeline = self._pipelines.any(setups.setups_of(board.mode, board.lora, given=False)[0])
        scored = [self._gate().scored(self._text_of(scene, story)) for scene in story.scenes]
        prompts = [token_count(pipeline, panel.prompt) for panel in board.panels]
        return kept_frames(board, attempts, self._gate(), scored, prompts)

    def _about(
        self,
        done: Storyboard,
        story: Story,
        board: Board,
        reference: Reference | None,
        told: Mapping[str, float],
    ) -> dict[str, Any]:
        """What metadata.json says beside the frames."""
        models, gate = self._models, self._gate()
        return {
            "story": asdict(story),
            "mode": done.mode,
            "drawn_as": done.drawn_as,
            "seed": done.seed,
            "models": {
                "diffusion": models.diffusion.identity,
                "clip": models.clip.identity,
                "faces": models.faces.identity,
            },
            "lora": None
            if board.lora is None
            else {"file": str(board.lora), "sha256": self._context.hashes.of(board.lora)},
            "reference": None if reference is None else {"source": reference.source, **asdict(reference.seen)},
            "settings": {**asdict(board.sampling), "scales": asdict(board.scales), "retries": board.retries},
            "gate": {"threshold": gate.threshold, "prefix": models.clip.prefix, "encoder": models.clip.identity},
            "effects": {part: round(share, 6) for part, share in told.items()},
            "notes": list(done.notes),
            "seconds": dict(done.seconds),
            "usd": done.usd,
        }

    def _gate(self) -> Gate:
        return Gate(self._models.clip, self._params.threshold)

    def _usd(self, attempts: Attempts) -> float:
        return round(sum(attempts.seconds.values()) / 3600 * (self._models.diffusion.gpu_usd_per_hour or 0.0), 6)

    @contextmanager
    def _torch_alone(self) -> Iterator[None]:
        """One storyboard at a time; who waits still hears that the run stops."""
        while not self._torch.acquire(timeout=LOCK_SECONDS):
            self._context.stop.check()
        try:
            yield
        finally:
            self._torch.release()


def _remarks(frames: Sequence[Frame], reference: Reference | None, story: Story) -> Iterator[str]:
    """What a person should know of the result."""
    if story.notes:
        yield story.notes
    if frames[0].kept.face is None:
        yield "no face was found in frame 1, which is to show it"
    if reference is not None:
        yield f"the reference is the face in {reference.source}"
        yield from reference.remarks
    if long := [frame.frame for frame in frames if frame.prompt_cut]:
        yield f"the prompts of frames {long} are too long for the image model, which read their beginning: shorten the scenes"
    if long := [frame.frame for frame in frames if frame.cut]:
        yield f"the texts of frames {long} are too long for CLIP, which read their beginning: shorten the scenes"
