"""Caption a folder of images: each is looked at once, and copied with its caption into the training set. Only ever adds."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import DiskFailed, ItemError, UserError
from runner.params import a_path, at_least, between, one_of, param
from runner.report_parts import write_part
from runner.step import Item, Outcome, Results, StepContext
from steps import captioning
from steps.backends.protocols import Vision
from steps.caption_report import contact_sheets, report
from steps.caption_results import CAPTIONED, FAILED, KEPT, REFUSED, Row, Summary, document, read_truth, refusals
from steps.captioning import PARTS, Wording
from steps.library import caption_exports, captions, pictures, raw_images
from steps.library.captions import Captioned, TrainingSet
from steps.library.raw_images import NEAR, Found, RawImage, Twin

RESULTS = "results.json"
REFUSALS = "refused.txt"
ASKED = "asked.jsonl"
IMAGEFOLDER, KOHYA = "imagefolder", "kohya"
_BUSY_PAUSE_SECONDS = 0.5


def _a_pattern(value: Any) -> str | None:
    try:
        re.compile(value)
    except re.error as error:
        return f"give a regular expression ({error})"
    return None


def _parts(value: Any) -> str | None:
    return one_of(*PARTS)(value) if value else f"give some of {', '.join(PARTS)}"


def _a_name(value: Any) -> str | None:
    return None if len(value) <= 80 and (not value or (value.isprintable() and value.strip())) else "give a short name"


@dataclass(frozen=True)
class CaptionParams:
    """Which images, how they are asked about, and what comes of them."""

    raw: str = param("raw_images", help="folder of images as they come in, sub-folders too", check=a_path)
    images: str | None = param(None, help="where images go; null is DATA/images", check=a_path)
    captions: str | None = param(None, help="where captions go; null is DATA/captions", check=a_path)
    split: str | None = param(None, help="file that says what is held out; null is DATA/split.json", check=a_path)
    prompt: str = param(
        captioning.PROMPT, help="what is asked; {trigger}, {describe} and {sentences} are filled in by the next three"
    )
    trigger: str = param(
        "", help="the character's name in captions, put in where it lacks; empty for none", check=_a_name
    )
    describe: list[str] = param(list(PARTS), help="what a caption tells of", check=_parts)
    sentences: str = param("two or three", help="how many sentences, in words")
    framing: str = param(captioning.FRAMING, help="put before the prompt when a refused image is asked about again")
    refusal: str = param(
        captioning.REFUSAL, help="regular expression that finds refusals given in words", check=_a_pattern
    )
    holdout: float = param(0.1, help="share of images that training does not see", check=between(0, 0.5))
    near: int = param(
        4,
        help="bits of 64 in which perceptual hashes of near duplicates differ; 0 looks for none",
        check=between(0, 32),
    )
    drop_near: bool = param(False, help="near duplicates are left out, not only named")
    imagefolder: bool = param(True, help="write the set in Hugging Face's imagefolder layout too")
    kohya: bool = param(True, help="write the set in kohya's layout too")
    truth: str | None = param(
        None,
        help="a truth.json of `callsheet sample --cast character`, to count how many captions agree with it",
        check=a_path,
    )
    repeats: int = param(10, help="repeats in kohya's folder name", check=at_least(1))


@dataclass(frozen=True)
class Written:
    """A caption as it was given, or as it was found on disk."""

    text: str
    kept: bool = False
    model: str = ""
    usd: float = 0.0
    seconds: float | None = None
    framed: bool = False
    shortened: bool = False


class Caption:
    """Ask about each new image of a folder, and add it with its caption to the training set."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    @classmethod
    def needs(cls, params: CaptionParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        found = Path(params.raw).is_dir()
        yield Need(
            f"raw images {params.raw}", met=found, advice="" if found else "give raw=FOLDER, the images as they come in"
        )

    def __init__(self, params: CaptionParams, context: StepContext, vision: Vision) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._raw = Path(params.raw)
        self._set = TrainingSet(
            Path(params.images or context.data / captions.IMAGES),
            Path(params.captions or context.data / captions.CAPTIONS),
        )
        self._split = Path(params.split or context.data / captions.SPLIT)
        self._wording = Wording(
            prompt=params.prompt,
            framing=params.framing,
            describe=tuple(part for part in PARTS if part in params.describe),
            sentences=params.sentences,
            trigger=params.trigger,
            refusal=params.refusal,
        )
        self._found = Found([], [])
        self._twins: list[Twin] = []
        self._texts: dict[str, str] = {}
        self._faults: list[str] = []
        self._asked: dict[str, Written] = {}
        self._truth: Mapping[str, str] = {}
        self._held = contextlib.ExitStack()
        self._holding_out = threading.Lock()
        self._planned: Mapping[str, str] | None = None

    def items(self) -> Sequence[Item[RawImage]]:
        """One item an image that stands for itself, named by its content; and one each that can't be opened.

        Raises:
            UserError: No such folder, nothing in it, or it lies where the training set does.
        """
        self._check_folders()
        captions.read_split(self._split)
        self._truth = read_truth(self._params.truth)
        self._found = raw_images.look_through(self._raw, self._context.stop.check)
        self._hold()
        self._asked = self._asked_before()
        good = [image for image in self._found.images if image.problem is None]
        settled = {image.id for image in good if self._set.caption_of(image.id).exists()}
        drop = self._params.drop_near
        self._twins = raw_images.twins(good, self._params.near, settled, drop=drop)
        left_out = {twin.image.id for twin in self._twins if twin.kind != NEAR or drop} - settled
        coming = {image.id for image in good} - left_out
        self._planned = self._parts_of({*coming, *(one.id for one in self._set.captioned())})
        return [self._item(image, image.id in settled) for image in self._found.images if image.id not in left_out]

    def process(self, image: RawImage) -> Written:
        """Ask about one image and add it, or take the caption that it has."""
        if image.problem is not None:
            raise ItemError(image.problem)
        where = self._set.caption_of(image.id)
        if where.exists():
            self._hold_out()
            self._add(image, None)
            if image.id in self._asked:
                # Perhaps the run was cut off before it could say so.
                self._record(image)
            return Written(captions.read_caption(where), kept=True)
        picture = _loaded(image)
        written = self._asked.get(image.id) or self._ask(image, picture)
        # A disk that fails for one file fails for the next: each would be paid for, and lost.
        with _stopping_where_the_disk_fails():
            self._hold_out()
            # The caption last: what has one is complete.
            self._set.add_image(image.id, picture)
            self._set.add_caption(image.id, written.text)
            self._record(image)
        return written

    def _ask(self, image: RawImage, picture: pictures.Picture) -> Written:
        """Ask, and keep the answer at once: it is paid for, and a run that goes on has no need to ask again."""
        try:
            said = captioning.caption(self._vision, picture, self._wording)
        except ItemError as error:
            error.args = (f"{image.name}: {error}",)
            raise
        with _stopping_where_the_disk_fails():
            files.append_line(self._context.out / ASKED, json.dumps({"id": image.id, **asdict(said)}))
        return Written(**asdict(said))

    def finish(self, results: Results[Written]) -> None:
        """Make sure that every answer is in the set, then write the split, the exports, results.json and the report's part."""
        outcomes = {outcome.key: outcome for outcome in results}
        if any(outcome.result is not None for outcome in outcomes.values()):
            self._hold_out()
        for image in self._found.images:
            if image.id in outcomes and (written := outcomes[image.id].result) is not None:
                self._add(image, written.text)
        whole = self._whole()
        parts = self._assign(whole)
        self._export(whole, parts)
        self._asked = self._asked_before()
        rows = [self._row(image, outcomes[image.id]) for image in self._found.images if image.id in outcomes]
        files.write_text(self._context.out / REFUSALS, refusals(rows))
        summary = self._summary(rows, whole, parts)
        files.write_json(self._context.out / RESULTS, document(summary))
        sheets = contact_sheets(rows, self._context.out)
        write_part(self._context.out, report(summary, self._context.out, sheets))
        self.close()

    def close(self) -> None:
        """Let others caption into the same set."""
        self._held.close()

    def _hold(self) -> None:
        """Wait until nobody else adds to the set, and take away what a killed write has left in it."""
        while True:
            try:
                self._held.enter_context(self._set.locked("busy", self._split))
                break
            except UserError:
                self._context.log.info("%s: another run adds captions to this set: waiting", self._context.label)
                self._context.stop.sleep(_BUSY_PAUSE_SECONDS)
        for folder in (self._set.images, self._set.captions, self._split.parent):
            files.sweep_temporaries(folder, deep=False)

    def _check_folders(self) -> None:
        raw = self._raw.resolve()
        for folder in (self._set.images, self._set.captions):
            other = folder.resolve()
            if raw == other or raw in other.parents or other in raw.parents:
                raise UserError(
                    f"{self._context.label}.raw = {self._raw}: it holds {folder} or lies in it, so that captioned images would come in "
                    "again: give a folder of its own"
                )

    def _item(self, image: RawImage, settled: bool) -> Item[RawImage]:
        if image.problem is not None:
            # Not by its content: it may be a pipe, or a link to what is none of ours.
            return Item(image.id, image, (image.problem,))
        if settled:
            return Item(image.id, image, ("kept", self._set.caption_of(image.id)))
        return Item(image.id, image, (image.sha256, self._wording, self._vision.identity))

    def _add(self, image: RawImage, text: str | None) -> None:
        """Put an image and its caption into the set where they are missing."""
        if self._set.image_of(image.id) is None:
            self._set.add_image(image.id, _loaded(image))
        if text is not None:
            self._set.add_caption(image.id, text)

    def _whole(self) -> list[Captioned]:
        """All images whose captions can be read; which can't is said."""
        readable = []
        for one in self._set.captioned():
            try:
                self._texts[one.id] = captions.read_caption(one.caption)
                readable.append(one)
            except UserError as error:
                self._faults.append(str(error))
        return readable

    def _record(self, image: RawImage) -> None:
        self._context.operations.record("caption", f"{captions.CAPTIONS}/{image.id}.txt", source=image.name)

    def _asked_before(self) -> dict[str, Written]:
        """What this run has asked so far, in all its sessions."""
        found: dict[str, Written] = {}
        path = self._context.out / ASKED
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
            except ValueError:
                # Cut off by a crash.
                continue
            id_ = row.pop("id")
            found[id_] = Written(**row)
        return found

    def _parts_of(self, ids: Iterable[str]) -> dict[str, str]:
        """TRAIN or HOLDOUT of each image; what the split says already stays."""
        alike = {twin.image.id: twin.of.id for twin in self._twins}
        return captions.split_of(ids, captions.read_split(self._split), self._params.holdout, alike)

    def _hold_out(self) -> None:
        """Say what is held out of all that is to come, before the first of it is there: a run that stops at any moment leaves a whole split."""
        with self._holding_out:
            if self._planned is not None:
                self._write_split(self._planned)
                self._planned = None

    def _write_split(self, parts: Mapping[str, str]) -> None:
        before = captions.read_split(self._split)
        if {**before, **parts} != before:
            captions.write_split(self._split, {**before, **parts})

    def _assign(self, whole: Sequence[Captioned]) -> Mapping[str, str]:
        """Say it of what others have put there too, and hold one out if all that were to be were refused; returns the parts of what is there."""
        parts = self._parts_of(one.id for one in whole)
        if parts:
            self._write_split(parts)
        return parts

    def _export(self, whole: Sequence[Captioned], parts: Mapping[str, str]) -> None:
        params, out = self._params, self._context.out
        if params.imagefolder:
            caption_exports.imagefolder(out / IMAGEFOLDER, whole, parts)
        if params.kohya:
            caption_exports.kohya(out / KOHYA, whole, parts, repeats=params.repeats, trigger=params.trigger)

    def _row(self, image: RawImage, outcome: Outcome[Written]) -> Row:
        names, paths = (image.name, *image.copies), (image.path, *image.others)
        if outcome.result is None:
            status = REFUSED if outcome.refused else FAILED
            return Row(image.id, paths, names, status, error=outcome.error, usd=outcome.usd)
        here = image.id in self._asked
        saved = self._asked.get(image.id, outcome.result)
        usd = max(outcome.usd, saved.usd if here else 0.0)
        return Row(
            *(image.id, paths, names, KEPT if saved.kept else CAPTIONED),
            # Edited by a person since, it is what the file says.
            text=self._texts.get(image.id, outcome.result.text),
            image=self._set.image_of(image.id),
            usd=usd,
            usd_when_asked=None if saved.kept else max(usd, saved.usd),
            seconds=saved.seconds,
            model=saved.model,
            framed=saved.framed,
            shortened=saved.shortened,
            from_cache=not (here or saved.kept),
        )

    def _summary(self, rows: Sequence[Row], whole: Sequence[Captioned], parts: Mapping[str, str]) -> Summary:
        return Summary(
            label=self._context.label,
            raw=self._raw,
            training_set=self._set,
            split=self._split,
            vision=self._vision.identity,
            trigger=self._params.trigger,
            rows=rows,
            twins=self._twins,
            dropped=self._params.drop_near,
            others=self._found.others,
            texts={one.id: self._texts[one.id] for one in whole},
            parts=parts,
            faults=self._faults,
            truth=self._truth,
            describe=self._wording.describe,
        )


@contextlib.contextmanager
def _stopping_where_the_disk_fails() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFailed.at(error) from error


def _loaded(image: RawImage) -> pictures.Picture:
    """The image, if it is still what it was when it got its id."""
    picture = pictures.decode(pictures.read(image.path), image.name)
    if picture.sha256 != image.sha256:
        raise ItemError(f"{image.name} has changed while the run worked: run it again")
    return picture
