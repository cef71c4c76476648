"""What a storyboard is made from: story, reference and models, put together and drawn into an artifact."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner import files
from runner.artifacts import Artifact
from runner.errors import ItemError, MisconfiguredRun
from runner.step import StepContext
from steps.backends.protocols import Clip, Diffusion, Faces, Language
from steps.library import pictures
from steps.library.stories import Story
from steps.storyboard_params import FRAME_1, TRAINING, StoryboardParams, Take
from steps.storyboard_stories import Stories
from steps.studio.frames import setups
from steps.studio.frames.attempts import Attempts
from steps.studio.frames.effects import check_effects, effects
from steps.studio.frames.gate import Gate
from steps.studio.frames.memory import Memory, NotEnoughMemory
from steps.studio.frames.peak import PeakMemory
from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.references import Reference, reference_in, training_images
from steps.studio.frames.result import Frame, Storyboard, kept_frames, token_count, write
from steps.studio.frames.setups import ADAPTER, BASELINE, REFERENCE, WITH_LORA, WITH_REFERENCE, Sampling, Scales, Setup
from steps.studio.frames.telling import Board, Studio, Teller
from steps.studio.lora.reading import PEFT_CONFIG

VERSION = 2
LOCK_SECONDS = 0.1
_STORYBOARD: TypeAdapter[Storyboard] = TypeAdapter(Storyboard)


@dataclass(frozen=True)
class Models:
    """The backends of a storyboard."""

    diffusion: Diffusion
    clip: Clip
    faces: Faces
    language: Language


@dataclass(frozen=True)
class Job:
    """A storyboard with all that it is drawn from.

    Attributes:
        take: What was asked for.
        story: What is told.
        board: What is drawn.
        candidates: Images in which a face for the reference is looked for, with a name for people.
    """

    take: Take
    story: Story
    board: Board
    candidates: Sequence[tuple[str, Path]]


class Production:
    """Makes storyboards, one after the other, with models that are loaded once."""

    def __init__(self, params: StoryboardParams, context: StepContext, models: Models, lora: Path | None) -> None:
        """`lora`: the LoRA's file, which has been looked at."""
        self._params = params
        self._context = context
        self._models = models
        self._lora = lora
        self._stories = Stories(params, context, models.language)
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
        told = self._stories.of(take.told)
        with self._torch_alone():
            # It counts tokens, for which models are loaded: once, not in each thread.
            board = self._board(take, told.story)
        job = Job(take, told.story, board, self._candidates(take.mode))
        with self._context.artifacts.making("storyboard", VERSION, self._depends_on(job)) as artifact:
            done = self._found(artifact)
            if done is None or self._is_due(done):
                with self._torch_alone():
                    done = self._drawn(job, artifact, done)
        return replace(done, key=take.key, story=take.name, language_usd=told.usd)

    def _found(self, artifact: Artifact) -> Storyboard | None:
        about = artifact.about()
        return None if about is None else replace(_STORYBOARD.validate_python(about), folder=str(artifact.path))

    def _is_due(self, known: Storyboard) -> bool:
        """Whether one that is there is drawn again: a later run may have more memory."""
        return known.run != self._context.run and (self._context.fresh or known.short_of_memory)

    def _drawn(self, job: Job, artifact: Artifact, known: Storyboard | None) -> Storyboard:
        """Draw it, beside what is there, which stays the answer where memory is as short as it was."""
        if known is None or self._context.fresh:
            return self._draw(job, artifact if known is None else artifact.anew())
        try:
            return self._draw(job, artifact.anew(), weaker=False)
        except (NotEnoughMemory, ItemError) as error:
            self._context.log.info("%s: %s, as before: what was drawn then is kept", job.take.key, error)
            return known

    def _board(self, take: Take, story: Story) -> Board:
        params, diffusion = self._params, self._models.diffusion
        sampling = Sampling(
            steps=params.steps or diffusion.steps,
            guidance=diffusion.guidance if params.guidance is None else params.guidance,
            width=params.width or diffusion.side,
            height=params.height or diffusion.side,
            negative=params.negative,
        )
        # What a mode has not shall not make it another storyboard.
        control = params.control_scale if take.mode == REFERENCE else 0.0
        scales = Scales(take.lora_scale or 0.0, take.adapter_scale or 0.0, control)
        lora = self._lora if take.mode in WITH_LORA else None
        panels = self._stories.panels(story, self._gate())
        return Board(take.mode, take.seed, panels, lora, sampling, scales, params.retries)

    def _depends_on(self, job: Job) -> tuple[Any, ...]:
        models, board = self._models, job.board
        candidates = [path for _, path in job.candidates]
        identities = (models.diffusion.identity, models.clip.identity, models.faces.identity)
        reference = self._params.reference if board.mode in WITH_REFERENCE else None
        settings = (self._gate().threshold, self._params.face_score, self._params.batch, reference)
        # PEFT keeps rank and alpha beside the weights.
        beside = () if board.lora is None else (board.lora.with_name(PEFT_CONFIG),)
        return board, job.story.title, candidates, identities, settings, beside

    def _candidates(self, mode: str) -> list[tuple[str, Path]]:
        """Where a face for the reference is looked for; nowhere where it is frame 1's."""
        wanted = self._params.reference or (FRAME_1 if mode == REFERENCE else TRAINING)
        if mode not in WITH_REFERENCE or wanted == FRAME_1:
            return []
        if wanted != TRAINING:
            return [(wanted, Path(wanted))]
        return training_images(Path(self._params.training) if self._params.training else self._context.data)

    def _draw(self, job: Job, artifact: Artifact, *, weaker: bool = True) -> Storyboard:
        take, board, loaded = job.take, job.board, self._pipelines.seconds
        peak = PeakMemory(self._models.diffusion.device)
        attempts = self._attempts(artifact, peak)
        given = self._given(take.mode, job.candidates, attempts)
        studio = Studio(self._models.diffusion, self._pipelines, self._memory, self._gate(), self._models.faces)
        total = len(board.panels)

        def watch(done: int, extra: str) -> None:
            self._context.progress(take.key, done, total, extra)
            self._context.stop.check()

        watch(0, "loading")
        told = self._check(board, given, attempts)
        reference = Teller(studio, board, attempts, watch, weaker=weaker).tell(given)
        attempts.seconds["load"] += self._pipelines.seconds - loaded
        done = self._storyboard(job, artifact, attempts, reference, peak)
        write(artifact.path, done.frames, attempts, reference, self._about(done, job, reference, told))
        artifact.finish(asdict(done))
        self._context.progress(take.key, total, total, "")
        return done

    def _attempts(self, artifact: Artifact, peak: PeakMemory) -> Attempts:
        """Those that a try which was cut off has left; with fresh=true only this run's own."""
        files.sweep_temporaries(artifact.path)
        left = Attempts(artifact.path, self._context.run, peak.read)
        if self._context.fresh and left.run != self._context.run:
            artifact.clear()
            return Attempts(artifact.path, self._context.run, peak.read)
        return left

    def _storyboard(
        self, job: Job, artifact: Artifact, attempts: Attempts, reference: Reference | None, peak: PeakMemory
    ) -> Storyboard:
        take, board = job.take, job.board
        frames = self._frames(job, attempts)
        return Storyboard(
            key=take.key,
            folder=str(artifact.path),
            artifact=artifact.key,
            story=take.name,
            title=job.story.title,
            mode=take.mode,
            drawn_as=attempts.fallback or take.mode,
            seed=take.seed,
            frames=frames,
            notes=(*attempts.notes, *_remarks(frames, self._gate(), reference, job.story)),
            seconds={name: round(attempts.seconds[name], 3) for name in ("load", "sample", "score", "retry")},
            lora_scale=take.lora_scale,
            adapter_scale=take.adapter_scale,
            retries=board.retries,
            threshold=self._gate().threshold,
            face_score=self._params.face_score,
            sampling=board.sampling,
            lora=None if board.lora is None else self._context.hashes.of(board.lora),
            reference=None if reference is None else reference.source,
            run=self._context.run,
            drawn_at=datetime.now(UTC).isoformat(timespec="seconds"),
            short_of_memory=attempts.short,
            peak_memory_bytes=attempts.peak,
            memory_of=peak.of,
        )

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

    def _frames(self, job: Job, attempts: Attempts) -> tuple[Frame, ...]:
        board, gate = job.board, self._gate()
        pipeline = self._pipelines.any(setups.setups_of(board.mode, board.lora, given=False)[0])
        prompts = [token_count(pipeline, panel.prompt) for panel in board.panels]
        return kept_frames(board, attempts, gate, self._stories.scored(job.story, gate), prompts)

    def _about(
        self, done: Storyboard, job: Job, reference: Reference | None, told: Mapping[str, float]
    ) -> dict[str, Any]:
        """What metadata.json says beside the frames."""
        models, board = self._models, job.board
        return {
            "story": asdict(job.story),
            "mode": done.mode,
            "drawn_as": done.drawn_as,
            "seed": done.seed,
            "models": {
                "diffusion": models.diffusion.identity,
                "clip": models.clip.identity,
                "faces": models.faces.identity,
            },
            "lora": None if board.lora is None else {"file": str(board.lora), "sha256": done.lora},
            "reference": None if reference is None else {"source": reference.source, **asdict(reference.seen)},
            "settings": {**asdict(board.sampling), "scales": asdict(board.scales), "retries": board.retries},
            "gate": {
                "threshold": done.threshold,
                "face_score": done.face_score,
                "prefix": models.clip.prefix,
                "encoder": models.clip.identity,
            },
            "effects": {part: round(share, 6) for part, share in told.items()},
            "notes": list(done.notes),
            "seconds": dict(done.seconds),
            "peak_memory_bytes": done.peak_memory_bytes,
            "memory_of": done.memory_of,
            "drawn_at": done.drawn_at,
        }

    def _gate(self) -> Gate:
        return Gate(self._models.clip, self._params.threshold, self._params.face_score)

    @contextmanager
    def _torch_alone(self) -> Iterator[None]:
        """One storyboard at a time; who waits still hears that the run stops."""
        while not self._torch.acquire(timeout=LOCK_SECONDS):
            self._context.stop.check()
        try:
            yield
        finally:
            self._torch.release()


def _remarks(frames: Sequence[Frame], gate: Gate, reference: Reference | None, story: Story) -> Iterator[str]:
    """What a person should know of the result."""
    if story.notes:
        yield story.notes
    face = frames[0].kept.face
    if face is None:
        yield "no face was found in frame 1, which is to show it"
    elif not gate.shows_face(face):
        yield f"the face in frame 1 is not clear: the detector is {face:.2f} sure of it, and {gate.face_score:g} is asked for"
    if reference is not None:
        yield f"the reference is the face in {reference.source}"
        yield from reference.remarks
    if long := [frame.frame for frame in frames if frame.prompt_cut]:
        yield f"the prompts of frames {long} are too long for the image model, which read their beginning: shorten the scenes"
    if long := [frame.frame for frame in frames if frame.cut]:
        yield f"the texts of frames {long} are too long for CLIP, which read their beginning: shorten the scenes"
