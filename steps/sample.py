"""Draw a sample library: a cast with everything that goes wrong in a real one, and the truth kept apart from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from runner import files
from runner.params import at_least, between, one_of, param
from runner.report_parts import ReportPart, counted, write_part
from runner.step import Item, Results, StepContext
from steps.library import layout
from steps.studio import character_library, sample_library, training_library
from steps.studio.character_library import RawPicture
from steps.studio.sample_library import SampleActor
from steps.studio.training_files import TrainingActor

DATA, BUCKET, TRUTH = "data", "bucket", "truth.json"
BASE_IMAGES, TRAINING, CHARACTER = "base_images", "training", "character"
# Files are waited for longer than drawn.
_THREADS = 4

AnyActor = SampleActor | TrainingActor | RawPicture


@dataclass(frozen=True)
class SampleParams:
    """Which cast is drawn, and how."""

    seed: int = param(0, help="faces, poses and scenes", check=at_least(0))
    cast: str = param(
        BASE_IMAGES,
        help="base_images: 16 actors with faults in their base images; training: 36 with faults in their training images, and a bucket; "
        "character: raw images of one with 2 copies, references and impostors",
        check=one_of(BASE_IMAGES, TRAINING, CHARACTER),
    )
    who: int = param(
        character_library.STRANGER,
        help="with cast=character: which of the people whom the embedded models have never seen the like of, by number",
        check=at_least(0),
    )
    images: int = param(
        character_library.COUNT,
        help="with cast=character: how many raw images, copies not counted",
        check=between(character_library.FEWEST, 1000),
    )


class Cast(Protocol):
    """A cast that can be drawn into a folder."""

    noun: str
    """What is drawn: actors, images."""

    @property
    def actors(self) -> Sequence[AnyActor]:
        """Who or what is in it."""
        ...

    @property
    def about(self) -> str:
        """What else a report says of it, a sentence; "" for nothing."""
        ...

    def draw(self, actor: AnyActor, folder: Path) -> str:
        """Write all of one actor; returns what is wrong, "" where nothing is."""
        ...

    def finish(self, folder: Path) -> None:
        """Write what is about the cast as a whole, and the truth."""
        ...


class Sample:
    """Draw a sample library into the run's own folder, so that a demo can change it freely."""

    version: ClassVar[int] = 1
    # Its files are this run's own; those of another run have been changed by what came after.
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: SampleParams, context: StepContext) -> None:
        self._cast = cast_of(params)
        self._context = context

    def items(self) -> Sequence[Item[AnyActor]]:
        """One item an actor."""
        return [Item(actor.name, actor, (actor,)) for actor in self._cast.actors]

    def process(self, actor: AnyActor) -> str:
        """Draw one actor's files; returns what is wrong with them, "" where nothing is."""
        return self._cast.draw(actor, self._context.out)

    def finish(self, results: Results[str]) -> None:
        """Write actorsData.json, the groups and the truth."""
        self._cast.finish(self._context.out)
        kinds = Counter(outcome.result for outcome in results)
        drawn = f"{counted(kinds.total(), self._cast.noun)} drawn, {kinds.total() - kinds['']} with something wrong."
        write_part(self._context.out, ReportPart(headline=f"{drawn} {self._cast.about}".rstrip()))


class _BaseImageCast:
    """Everything that goes wrong with base images."""

    noun, about = "actor", ""

    def __init__(self, params: SampleParams) -> None:
        self.actors: tuple[SampleActor, ...] = sample_library.cast(params.seed)

    def draw(self, actor: Any, folder: Path) -> str:
        sample_library.draw_actor(actor, folder / DATA)
        return "" if actor.expected == "skip" else str(actor.expected)

    def finish(self, folder: Path) -> None:
        write_documents(self.actors, folder)


class _TrainingCast:
    """Everything that goes wrong with training images, their metadata and their mirror."""

    noun, about = "actor", ""

    def __init__(self, params: SampleParams) -> None:
        self.actors: tuple[TrainingActor, ...] = training_library.cast(params.seed)

    def draw(self, actor: Any, folder: Path) -> str:
        training_library.draw_actor(actor, folder / DATA, folder / BUCKET)
        outcome = training_library.outcome(actor)
        return "" if outcome == "balanced" else outcome

    def finish(self, folder: Path) -> None:
        document = training_library.actors_document(self.actors)
        _write(folder, document, training_library.truth_document(self.actors), training_library.GROUPS)


class _Character:
    """One character's raw images, and what a likeness to that character is measured against."""

    noun = "image"

    def __init__(self, params: SampleParams) -> None:
        self._who = params.who
        raw = character_library.pictures(params.seed, params.images, params.who)
        references = character_library.references(params.seed, params.who)
        impostors = character_library.impostors(params.seed, params.who)
        self.actors: tuple[RawPicture, ...] = (*raw, *references, *impostors)
        self.about = (
            f"{len(raw)} raw images of stranger {params.who}, {len(references)} references that show the same one elsewhere, "
            f"and {len(impostors)} impostors, each another stranger."
        )

    def draw(self, actor: Any, folder: Path) -> str:
        character_library.draw(actor, folder)
        return str(actor.flaw)

    def finish(self, folder: Path) -> None:
        character_library.write_truth(self.actors, folder, self._who)


_CASTS: Mapping[str, type[Cast]] = {BASE_IMAGES: _BaseImageCast, TRAINING: _TrainingCast, CHARACTER: _Character}


def cast_of(params: SampleParams) -> Cast:
    """The cast that the parameters name."""
    build: Callable[[SampleParams], Cast] = _CASTS[params.cast]
    return build(params)


def draw_library(folder: Path, params: SampleParams) -> Iterator[AnyActor]:
    """Draw the whole sample into `folder`, its truth.json last; yields each actor when it is drawn.

    Casts of actors lie in folder/data; that of training images has its mirror in folder/bucket, each object under its key. A character's
    images lie in folder/raw_images, folder/references and folder/impostors.
    """
    cast = cast_of(params)
    with ThreadPoolExecutor(_THREADS) as pool:
        drawn = pool.map(lambda actor: cast.draw(actor, folder), cast.actors)
        for actor, _ in zip(cast.actors, drawn, strict=True):
            yield actor
    cast.finish(folder)


def write_documents(actors: tuple[SampleActor, ...], folder: Path) -> None:
    """What is about the cast of base images as a whole."""
    _write(folder, sample_library.actors_document(actors), sample_library.truth_document(actors), _GROUPS)


def _write(folder: Path, actors: list[dict[str, Any]], truth: dict[str, Any], groups: str) -> None:
    files.write_json(folder / DATA / layout.ACTORS, actors)
    files.write_text(folder / DATA / layout.GROUPS, groups)
    files.write_json(folder / TRUTH, truth)


_GROUPS = """# Named groups of actors, for actors=@group.
elders: [10-15]
first_five: [0-4]
"""
