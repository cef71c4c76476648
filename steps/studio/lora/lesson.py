"""The whole of a training: images encoded, steps taken, checkpoints judged, the best written and proved."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from runner import files
from runner.artifacts import Artifact
from runner.errors import UserError
from runner.failpoints import failpoint
from runner.step import StepContext
from steps.studio.lora import formats
from steps.studio.lora.buckets import Order
from steps.studio.lora.chart import loss_curve
from steps.studio.lora.checkpoints import Checkpoint, Checkpoints
from steps.studio.lora.course import Course, Material, Surroundings
from steps.studio.lora.dataset import Dataset
from steps.studio.lora.encoding import Cache, Encoder, Words
from steps.studio.lora.formats import About
from steps.studio.lora.metrics import NAME, Metrics
from steps.studio.lora.packing import unpacked
from steps.studio.lora.pupil import Pupil
from steps.studio.lora.reading import UNET_PREFIX, WEIGHTS
from steps.studio.lora.sampling import Sampler
from steps.studio.lora.scores import CheckpointScore, SampleScore, best_of
from steps.studio.lora.settings import LoraSettings
from steps.studio.lora.trained import BEST, CURVE, SAMPLES, Trained
from steps.studio.memory import free_memory

SCORES = "scores.json"
Score = Callable[[Sequence[Image.Image], Sequence[str], Sequence[str]], list[SampleScore]]
"""Scores of pictures, from them, their prompts and their files."""


@dataclass(frozen=True)
class Model:
    """The model that learns, as its backend offers it."""

    load: Callable[[], Any]
    identity: str
    steps: int
    guidance: float

    @classmethod
    def of(cls, diffusion: Any) -> Model:
        """From a backend (`steps.backends.protocols.Diffusion`)."""
        return cls(diffusion.load, diffusion.identity, diffusion.steps, diffusion.guidance)


@dataclass(frozen=True)
class Wish:
    """What is wanted.

    Attributes:
        settings: Of the LoRA.
        title: Its name.
        trigger: Words that name the character.
        side: Resolution in pixels.
        prompts: What is drawn at each checkpoint.
    """

    settings: LoraSettings
    title: str
    trigger: str | None
    side: int
    prompts: Sequence[str]


class Spent(NamedTuple):
    """What the learning took.

    Attributes:
        seconds: Of all sessions.
        peak_bytes: The most memory that was held.
        memory_of: Of what: "device" or "process".
        said: What a person should know of it.
    """

    seconds: float
    peak_bytes: int
    memory_of: str
    said: tuple[str, ...]


class Lesson:
    """One LoRA, from a data set to its files.

    Args:
        wish: What is wanted.
        model: The model that learns.
        dataset: Without faults.
        artifact: Where everything goes.
        context: The step's.
    """

    def __init__(self, wish: Wish, model: Model, dataset: Dataset, artifact: Artifact, context: StepContext) -> None:
        self._wish = wish
        self._model = model
        self._dataset = dataset
        self._artifact = artifact
        self._context = context
        self._folder = artifact.path
        self._metrics = Metrics(artifact.path / NAME)

    def carry_out(self, pipeline: Any, score: Score) -> Trained:
        """Train to the end, from wherever an earlier try was cut off.

        Args:
            pipeline: Fresh, on its device; it can't be used for anything else afterwards.
            score: Of what is drawn.

        Raises:
            ItemError: What was trained is no number, or is not what was written.
            Interrupted: The run stops; what was done is kept.
        """
        about = self._about(pipeline)
        spent = self._learn(pipeline, about, score)
        # A GPU may have no room for two models.
        pipeline.register_modules(unet=None, vae=None)
        free_memory()
        return self._finish(about, spent)

    def _learn(self, pipeline: Any, about: Callable[[int], About], score: Score) -> Spent:
        """Train to the end."""
        material, prompts = self._encode(pipeline)
        # They are done with, and large.
        pipeline.register_modules(text_encoder=None, text_encoder_2=None)
        settings, seed = self._wish.settings, self._context.seed
        steps = settings.steps(Order(material.shapes, settings.effective_batch, seed).epoch_steps)
        pupil = Pupil(pipeline, settings, steps, seed)
        sampler = Sampler(pupil, prompts, material.nothing, seed)
        around = Surroundings(
            folder=self._folder,
            context=self._context,
            weights=lambda state, step: formats.diffusers_bytes(state, about(step)),
            judged=lambda checkpoint: self._judge(checkpoint, sampler, score),
        )
        course = Course(pupil, material, around, steps)
        course.run()
        # Without the course, which holds the model.
        return Spent(course.seconds, course.peak_bytes, course.memory_of, (*self._dataset.warnings, *course.said))

    def _encode(self, pipeline: Any) -> tuple[Material, list[Words]]:
        cache = Cache(self._context.artifacts.shared("encoded", 1, ["by content"]))
        encoder = Encoder(pipeline, cache, self._wish.settings.size_conditions)
        examples = [*self._dataset.train, *self._dataset.holdout]
        encoded = []
        for number, example in enumerate(examples, start=1):
            self._context.stop.check()
            encoded.append(encoder.encode(example))
            self._context.progress("images", number, len(examples), "encoded")
        cut = len(self._dataset.train)
        prompts = [encoder.words(prompt) for prompt in self._wish.prompts]
        return Material(encoded[:cut], encoded[cut:], encoder.nothing()), prompts

    def _about(self, pipeline: Any) -> Callable[[int], About]:
        """What the LoRA's files say, after so many steps."""
        wish, channels = self._wish, tuple(pipeline.unet.config.block_out_channels)
        prediction = pipeline.scheduler.config.prediction_type
        facts = {"ss_num_train_images": str(len(self._dataset.train)), "ss_seed": str(self._context.seed)}
        common = (wish.title, wish.trigger, wish.settings, self._model.identity, channels, prediction, wish.side)
        return lambda step: About(*common, steps=step, facts=facts)

    def _judge(self, checkpoint: Checkpoint, sampler: Sampler, score: Score) -> str:
        """Draw from the checkpoint that the pupil stands at, unless that was done; the name of the best so far."""
        step, place = checkpoint.progress.step, self._folder / SAMPLES / checkpoint.name
        if _read_score(place) is None:
            found = self._drawn(checkpoint.name, step, sampler, score)
            files.write_json(place / SCORES, _SCORE.dump_python(found, mode="json"))
        return best_of([known for known in self._scores() if known.step <= step]).checkpoint

    def _drawn(self, name: str, step: int, sampler: Sampler, score: Score) -> CheckpointScore:
        wish, model = self._wish, self._model
        images = sampler.draw(side=wish.side, steps=model.steps, guidance=model.guidance) if wish.prompts else []
        drawn = [f"{SAMPLES}/{name}/{number}.png" for number in range(1, len(images) + 1)]
        for image, file in zip(images, drawn, strict=True):
            files.write_bytes(self._folder / file, _png(image))
        losses = {row.step: row.validation_loss for row in self._metrics.rows()}
        return CheckpointScore(name, step, losses.get(step), tuple(score(images, wish.prompts, drawn)))

    def _scores(self) -> list[CheckpointScore]:
        """Of all checkpoints that were judged, those that are gone as well, the earliest first."""
        read = map(_read_score, (self._folder / SAMPLES).glob("*"))
        return sorted((found for found in read if found is not None), key=lambda found: found.step)

    def _finish(self, about: Callable[[int], About], spent: Spent) -> Trained:
        scores, warnings = self._scores(), list(spent.said)
        checkpoints = Checkpoints(self._folder, self._wish.settings.keep_checkpoints, self._context.log)
        whole = {one.name: one for one in checkpoints.whole() if not one.progress.interim}
        best, wanted = best_of([score for score in scores if score.checkpoint in whole]), best_of(scores)
        if best != wanted:
            warnings.append(f"{wanted.checkpoint} was better, but is broken on disk; {best.checkpoint} is taken")
        self._context.progress("checks", 0, 1, "each layout is loaded into a fresh model")
        self._write_best(whole[best.checkpoint], about(best.step))
        rows = self._metrics.rows()
        files.write_text(self._folder / CURVE, loss_curve(rows, best.step))
        batch = self._wish.settings.effective_batch
        return Trained(
            key=self._artifact.key,
            best=best,
            checkpoints=tuple(scores),
            steps=rows[-1].step,
            seconds=round(spent.seconds, 2),
            step_seconds=round(statistics.median(batch / row.images_per_second for row in rows), 4),
            peak_memory_bytes=spent.peak_bytes,
            memory_of=spent.memory_of,
            lora_bytes=(self._folder / BEST / WEIGHTS).stat().st_size,
            images=(len(self._dataset.train), len(self._dataset.holdout)),
            warnings=tuple(warnings),
            digests=_digests(self._folder, (self._folder / BEST).rglob("*")),
        )

    def _write_best(self, checkpoint: Checkpoint, about: About) -> None:
        """Write all layouts, and load each of them into a fresh model."""
        named = unpacked(checkpoint.path / WEIGHTS)
        state: dict[str, Tensor] = {name.removeprefix(UNET_PREFIX): value for name, value in named.items()}
        folder = self._folder / BEST
        files.remove_tree(folder)
        formats.write_layouts(state, about, folder)
        failpoint("train.written")
        self._context.stop.check()
        formats.prove(self._model.load(), state, about, folder)


def _read_score(place: Path) -> CheckpointScore | None:
    """What a checkpoint's samples were found to be; None where they were not looked at to the end."""
    try:
        return _SCORE.validate_python(files.read_json(place / SCORES))
    except (UserError, ValidationError):
        return None


def _digests(root: Path, found: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): files.sha256_of(path) for path in sorted(found) if path.is_file()}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


_SCORE = TypeAdapter(CheckpointScore)
