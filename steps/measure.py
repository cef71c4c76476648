"""Measure how alike the faces of frames are: to frame 1, to one another, and to true images of the character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import UserError
from runner.params import a_path, at_least, param
from runner.report_parts import write_part
from runner.step import Item, Results, StepContext
from steps.backends.protocols import Faces
from steps.measure_report import Account, MeasuredSet, SeenFrame, document, report, table
from steps.measuring import ImageSet, Measurer, image_sets, network, numbering

RESULTS, FRAMES = "results.json", "frames.csv"
METADATA = "metadata.json"
"""Beside the frames of a storyboard."""


@dataclass(frozen=True)
class MeasureParams:
    """Which images are measured, and by what."""

    frames: str = param(
        help="folder of images in the order of their names, the first being frame 1; or a folder of such folders",
        check=a_path,
    )
    references: str = param(
        help="folder of true images of the character that no model was trained on or given", check=a_path
    )
    impostors: str | None = param(None, help="folder of images of other people, for the floor", check=a_path)
    conditioning: str | None = param(
        None, help="the image that the model was given, for the copy-paste score", check=a_path
    )
    conditioned_from: int = param(
        1, help="the first frame that was given it; 2 where it is frame 1's own face", check=at_least(1)
    )


class Measure:
    """Measure each set of frames."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    @classmethod
    def needs(cls, params: MeasureParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        folders = {"frames": params.frames, "references": params.references, "impostors": params.impostors}
        for name, folder in folders.items():
            if folder is not None:
                found = Path(folder).is_dir()
                yield Need(f"{name} {folder}", found, "" if found else f"give {name}=FOLDER, with images")
        if params.conditioning is not None:
            found = files.is_file(Path(params.conditioning))
            yield Need(
                f"conditioning {params.conditioning}", found, "" if found else "give conditioning=IMAGE, or null"
            )

    def __init__(self, params: MeasureParams, context: StepContext, recogniser: Faces) -> None:
        self._params = params
        self._context = context
        self._recogniser = recogniser
        self._conditioning = Path(params.conditioning) if params.conditioning else None
        self._measurer: Measurer | None = None
        self._sets: dict[str, ImageSet] = {}
        self._notes: list[str] = []

    def items(self) -> Sequence[Item[ImageSet]]:
        """One item a set of frames.

        Raises:
            UserError: A folder is not there or holds no image, or the recogniser's models are missing.
        """
        self._recogniser.prepare()
        if self._conditioning is not None and not files.is_file(self._conditioning):
            raise UserError(
                f"{self._context.label}.conditioning = '{self._conditioning}': no such file: give the image that the model was given, or null"
            )
        given = self._params.impostors
        measurer = self._measurer = Measurer(
            self._recogniser, Path(self._params.references), Path(given) if given else None
        )
        sets, empty = image_sets(Path(self._params.frames))
        self._sets = {each.name: each for each in sets}
        self._notes = [f"{name} holds no image: it is left out" for name in empty]
        self._notes += [note for each in sets if (note := _left_out(each))]
        self._notes += [f"{each.name}: {note}" for each in sets if (note := numbering(each.images))]
        self._notes += [note for each in sets if (note := self._flattered(each))]
        return [Item(each.name, each, (*self._of_files(each), *measurer.depends_on)) for each in sets]

    def _flattered(self, frames: ImageSet) -> str:
        """A sentence where the same network that measures chose or conditioned a storyboard's images, or nothing."""
        chose, measures = _chose(frames), self._recogniser.identity
        if chose is None or network(chose) != network(measures):
            return ""
        return (
            f"{frames.name}: its frames were chosen by {chose}, which measures them too, and would flatter them: measure with another "
            "one (recogniser=opencv, or another recogniser.pack)"
        )

    def _of_files(self, frames: ImageSet) -> tuple[object, ...]:
        """What is told of a set beside references: its images by content, in their order and by their names."""
        return (
            [path.name for path in frames.images],
            list(frames.images),
            self._conditioning,
            self._params.conditioned_from,
        )

    def process(self, frames: ImageSet) -> MeasuredSet:
        """Measure one set.

        Raises:
            ItemError: An image that can't be opened.
            MisconfiguredRun: No reference shows a face.
        """
        assert self._measurer is not None
        found = self._measurer.measure(frames.images, self._conditioning, self._params.conditioned_from)
        return MeasuredSet(
            numbers=found.numbers,
            seen=tuple(SeenFrame(each.name, each.score, each.at_border) for each in found.portraits),
            similarities=found.similarities,
            scale=self._measurer.scale,
            missing=found.missing,
            notes=found.notes,
            about_references=tuple(self._measurer.notes),
        )

    def finish(self, results: Results[MeasuredSet]) -> None:
        """Write results.json, frames.csv, the pictures and the report's part."""
        account = Account(
            sets={outcome.key: outcome.result for outcome in results if outcome.result is not None},
            failed={outcome.key: str(outcome.error) for outcome in results if outcome.result is None},
            images={name: each.images for name, each in self._sets.items()},
            recogniser=self._recogniser.identity,
            asked={name: getattr(self._params, name) for name in ("frames", "references", "impostors", "conditioning")},
            notes=self._notes,
            seed=self._context.seed,
        )
        out = self._context.out
        files.write_json(out / RESULTS, document(account))
        files.write_text(out / FRAMES, table(account))
        write_part(out, report(account, out, self._context.label))


def _chose(frames: ImageSet) -> str | None:
    """What chose the images by their faces, where a storyboard's metadata.json says it."""
    try:
        found = files.read_json(frames.images[0].parent / METADATA)
    except UserError:
        return None
    models = found.get("models") if isinstance(found, dict) else None
    name = models.get("faces") if isinstance(models, dict) else None
    return name if isinstance(name, str) else None


def _left_out(frames: ImageSet) -> str:
    """A sentence for what lies beside the images, or nothing."""
    if not frames.others:
        return ""
    some = ", ".join(frames.others[:5])
    more = f" and {len(frames.others) - 5} more" if len(frames.others) > 5 else ""
    return f"{frames.name}: no frames, so left out: {some}{more}"
