"""Train a LoRA of one character on captioned images. Nothing in the library is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from pydantic import TypeAdapter

from runner import files
from runner.artifacts import Artifact, link
from runner.doctor import Need
from runner.errors import MisconfiguredRun, UserError
from runner.params import a_path, at_least, one_of, param
from runner.report_parts import Badge, Entry, ReportPart, Shown, counted, write_part
from runner.step import Item, Results, StepContext
from steps.backends.protocols import Clip, Diffusion, Faces
from steps.evaluating import Evaluator
from steps.library import captions, pictures
from steps.library.captions import HOLDOUT, Captioned
from steps.studio.lora.dataset import Dataset, Example, Rules, read_dataset
from steps.studio.lora.scores import CheckpointScore, Chosen, SampleScore
from steps.studio.lora.settings import LoraSettings
from steps.studio.lora.trained import BEST, CURVE, Trained

RESULTS, LORA = "results.json", "lora"
STOP, LEAVE_OUT = "stop", "leave_out"
MOST_REFERENCES = 16
_BEST = Badge("best", "best", "★", "good")
# Of one tone, so that cards stay in the order in which they are named.
_OTHER = Badge("checkpoint", "checkpoint", "·", "good")


@dataclass(frozen=True)
class TrainParams(LoraSettings):
    """What is learned from, and how."""

    images: str | None = param(None, help="folder of images; null is DATA/images", check=a_path)
    captions: str | None = param(None, help="folder of their captions; null is DATA/captions", check=a_path)
    split: str | None = param(None, help="which images are held out; null is DATA/split.json", check=a_path)
    trigger: str | None = param(None, help="words that name the character in the captions")
    name: str | None = param(None, help="the LoRA's name; null is the trigger, or 'lora'")
    min_images: int = param(5, help="images to train on, at least", check=at_least(1))
    faults: str = param(
        STOP,
        help="what a fault in the data does: stop (all are named, nothing is trained) or leave_out (long captions are cut)",
        check=one_of(STOP, LEAVE_OUT),
    )
    prompts: list[str] = param([], help="drawn at each checkpoint; captions of held-out images fill up to `samples`")


class Train:
    """Train a LoRA of one character, draw from its checkpoints, and keep the best in the layouts that people load."""

    version: ClassVar[int] = 2
    # The artifact is what is remembered.
    reuses_answers: ClassVar[bool] = False

    @classmethod
    def needs(cls, params: TrainParams, data: Path) -> Iterable[Need]:
        """For `callsheet doctor`: enough images, and a caption for each."""
        folder = params.images or str(data / captions.IMAGES)
        try:
            pairs = captions.pairs(Path(folder), Path(params.captions or data / captions.CAPTIONS))
            split = captions.read_split(Path(params.split or data / captions.SPLIT))
        except UserError as error:
            yield Need(f"training images {folder}", met=False, advice=str(error))
            return
        bare = [pair.id for pair in pairs if not pair.caption.is_file()]
        usable = sum(split.get(pair.id) != HOLDOUT for pair in pairs if pair.id not in bare)
        enough = usable >= params.min_images
        advice = f"min_images asks for {params.min_images}: add some with: callsheet run caption raw=FOLDER"
        yield Need(
            f"{counted(usable, 'captioned image')} to train on in {folder}", met=enough, advice="" if enough else advice
        )
        if bare and params.faults == STOP:
            advice = f"{bare[0]} has none: write it, run: callsheet run caption, or give steps.train.faults=leave_out"
            yield Need(f"captions of {counted(len(bare), 'more image')} in {folder}", met=False, advice=advice)

    def __init__(
        self, params: TrainParams, context: StepContext, diffusion: Diffusion, clip: Clip, face: Faces
    ) -> None:
        self._params = params
        self._context = context
        self._diffusion = diffusion
        self._clip = clip
        self._face = face
        self._images = Path(params.images) if params.images else context.data / captions.IMAGES
        self._captions = Path(params.captions) if params.captions else context.data / captions.CAPTIONS
        self._split = Path(params.split) if params.split else context.data / captions.SPLIT

    def items(self) -> Sequence[Item[list[Captioned]]]:
        """The one LoRA.

        Raises:
            UserError: There are no images, or a model is missing; with the command that makes it.
        """
        for backend in (self._diffusion, self._clip, self._face):
            backend.prepare()
        pairs = captions.pairs(self._images, self._captions)
        return [Item(LORA, pairs, self._depends_on(pairs))]

    def process(self, pairs: list[Captioned]) -> Trained:
        """Train, or find that it was done before."""
        with self._context.artifacts.making("train", self.version, self._depends_on(pairs)) as artifact:
            about = artifact.about()
            if about is None:
                about = TypeAdapter(Trained).dump_python(self._train(artifact, pairs), mode="json")
                artifact.finish(about)
            link(artifact, self._context.out / LORA)
        return TypeAdapter(Trained).validate_python(about)

    def finish(self, results: Results[Trained]) -> None:
        """Write results.json and the report's part."""
        for outcome in results:
            if outcome.result is None:
                write_part(self._context.out, ReportPart(headline=f"No LoRA: {outcome.error}"))
                continue
            files.write_json(self._context.out / RESULTS, self._document(outcome.result))
            write_part(self._context.out, self._report(outcome.result))

    @property
    def _title(self) -> str:
        return self._params.name or self._params.trigger or LORA

    @property
    def _side(self) -> int:
        return self._params.resolution or self._diffusion.side

    def _depends_on(self, pairs: Sequence[Captioned]) -> tuple[Any, ...]:
        """All that the artifact hangs on: contents, never where they lie."""
        places = ("images", "captions", "split")
        settings = {
            field.name: getattr(self._params, field.name) for field in fields(self._params) if field.name not in places
        }
        backends = (self._diffusion.identity, self._clip.identity, self._face.identity)
        return (
            settings,
            self._context.seed,
            *backends,
            self._split,
            [(pair.id, pair.image, pair.caption) for pair in pairs],
        )

    def _train(self, artifact: Artifact, pairs: Sequence[Captioned]) -> Trained:
        from steps.studio.lora.lesson import Lesson, Model, Wish

        pipeline = self._diffusion.load()
        dataset = self._dataset(pipeline, pairs)
        wish = Wish(self._params, self._title, self._params.trigger, self._side, self._prompts(dataset))
        evaluator = Evaluator(self._clip, self._face, _references(dataset), self._params.trigger)
        lesson = Lesson(wish, Model.of(self._diffusion), dataset, artifact, self._context)
        return lesson.carry_out(pipeline, evaluator.score)

    def _prompts(self, dataset: Dataset) -> list[str]:
        """What is drawn at each checkpoint."""
        asked = list(self._params.prompts)
        shown = [example.caption for example in dataset.holdout or dataset.train]
        return asked + shown[: max(0, self._params.samples - len(asked))]

    def _dataset(self, pipeline: Any, pairs: Sequence[Captioned]) -> Dataset:
        """The examples.

        Raises:
            MisconfiguredRun: Something is wrong with them; all of it is said.
        """
        from steps.studio.lora.buckets import buckets
        from steps.studio.lora.encoding import count_tokens

        params = self._params
        sizes = buckets(self._side, min(params.bucket_step, self._side))
        rules = Rules(sizes, params.trigger, pipeline.tokenizer.model_max_length, count_tokens(pipeline))
        found = read_dataset(pairs, captions.read_split(self._split), rules)
        faults = list(found.faults)
        if params.faults == LEAVE_OUT:
            found.warnings += faults
            faults = []
        if len(found.train) < params.min_images:
            few = f"{counted(len(found.train), 'usable image')} to train on: {self._context.label}.min_images asks for {params.min_images}"
            faults.append(few)
        if faults:
            more = (
                f"; steps.{self._context.label}.faults=leave_out trains without them" if params.faults == STOP else ""
            )
            raise MisconfiguredRun("\n".join([f"{counted(len(faults), 'fault')} in the training set{more}:", *faults]))
        if not found.holdout:
            found.warnings.append(
                f"{self._split}: nothing is held out, so that samples are held against images that were trained on"
            )
        for sentence in found.warnings:
            self._context.log.warning("%s", sentence)
        return found

    def _document(self, trained: Trained) -> dict[str, Any]:
        best = next(score for score in trained.checkpoints if score.checkpoint == trained.best.checkpoint)
        return {
            "lora": f"{LORA}/{BEST}",
            "best": {
                **asdict(trained.best),
                "likeness": best.likeness,
                "clip": best.clip,
                "validation_loss": best.validation_loss,
            },
            "checkpoints": [
                {**asdict(score), "likeness": score.likeness, "clip": score.clip, "faces_found": score.faces}
                for score in trained.checkpoints
            ],
            "steps": trained.steps,
            "seconds": trained.seconds,
            "seconds_a_step": trained.step_seconds,
            "usd": self._usd(trained),
            "gpu_usd_per_hour": self._diffusion.gpu_usd_per_hour,
            "peak_memory_bytes": trained.peak_memory_bytes,
            "memory_of": trained.memory_of,
            "lora_bytes": trained.lora_bytes,
            "images": {"trained_on": trained.images[0], "held_out": trained.images[1]},
            "settings": asdict(self._params),
            "backends": {
                "diffusion": self._diffusion.identity,
                "clip": self._clip.identity,
                "face": self._face.identity,
            },
            "warnings": list(trained.warnings),
            "artifact": trained.key,
            "digests": dict(trained.digests),
        }

    def _report(self, trained: Trained) -> ReportPart:
        best, usd = trained.best, self._usd(trained)
        cost = "" if usd is None else f", ${usd:.2f}"
        return ReportPart(
            headline=f"{self._title}: {trained.steps} steps on {counted(trained.images[0], 'image')} in {trained.seconds:.0f} s{cost}. "
            f"The best is {best.checkpoint}: {best.reason}.",
            counts=[
                ("images trained on", trained.images[0]),
                ("images held out", trained.images[1]),
                ("steps", trained.steps),
                ("checkpoints", len(trained.checkpoints)),
            ],
            entries=[self._summary(trained), *(self._entry(score, best) for score in reversed(trained.checkpoints))],
            warnings=trained.warnings,
        )

    def _usd(self, trained: Trained) -> float | None:
        """By what an hour costs now, also where the LoRA was trained before anybody said it."""
        return trained.usd(self._diffusion.gpu_usd_per_hour)

    def _summary(self, trained: Trained) -> Entry:
        params, usd = self._params, self._usd(trained)
        shown = Shown(
            f"{self._context.label}/{LORA}/{CURVE}", "loss", "The loss over the steps, with the best checkpoint marked"
        )
        return Entry(
            key=self._title,
            title=self._title,
            subtitle=f"LoRA of rank {params.rank} on {self._diffusion.identity}",
            badge=Badge("trained", "trained", "✓", "good"),
            pictures=[shown],
            notes=[f"Load {LORA}/{BEST} with diffusers; peft/ and kohya/ in it are for other tools."],
            facts=[
                ("Best", trained.best.checkpoint),
                ("Time", f"{trained.seconds:.0f} s, {trained.step_seconds:.3g} s a step"),
                *([] if usd is None else [("Cost", f"${usd:.2f}")]),
                ("LoRA", f"{trained.lora_bytes / 1e6:.1f} MB"),
                ("Peak memory", f"{trained.peak_memory_bytes / 1e9:.1f} GB of the {trained.memory_of}"),
                ("Images", f"{trained.images[0]}, and {trained.images[1]} held out"),
                ("Batch", f"{params.batch} x {params.accumulation}"),
                ("Learning rate", f"{params.learning_rate:g}, {params.schedule}"),
            ],
        )

    def _entry(self, score: CheckpointScore, best: Chosen) -> Entry:
        likeness = "no face found" if score.likeness is None else f"{score.likeness:.3f}"
        facts = [("Likeness", likeness), ("Faces", f"{score.faces} of {len(score.samples)}")] if score.samples else []
        facts += [] if score.clip is None else [("CLIPScore", f"{score.clip:.3f}")]
        facts += [] if score.validation_loss is None else [("Validation loss", f"{score.validation_loss:.4f}")]
        return Entry(
            key=f"{self._title} {score.checkpoint}",
            title=score.checkpoint,
            subtitle=f"after step {score.step}",
            badge=_BEST if score.checkpoint == best.checkpoint else _OTHER,
            pictures=[self._shown(sample) for sample in score.samples],
            notes=[f"Chosen: {best.reason}."] if score.checkpoint == best.checkpoint else [],
            facts=facts,
        )

    def _shown(self, sample: SampleScore) -> Shown:
        face = "no face" if sample.likeness is None else f"likeness {sample.likeness:.2f}"
        return Shown(f"{self._context.label}/{LORA}/{sample.file}", f"{face}, CLIP {sample.clip:.2f}", sample.prompt)


def _references(dataset: Dataset) -> list[Image.Image]:
    """What samples should look like: held-out images, or some of those that were trained on."""
    examples: Sequence[Example] = dataset.holdout or dataset.train
    return [pictures.load(example.image).image for example in examples[:MOST_REFERENCES]]
