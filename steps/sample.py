"""Draw the sample library: a small cast with everything that goes wrong in a real one, and the truth kept apart from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.params import at_least, param
from runner.report_parts import ReportPart, write_part
from runner.step import Item, Results, StepContext
from steps.library import layout
from steps.studio.sample_library import SampleActor, actors_document, cast, draw_actor, truth_document

DATA, TRUTH = "data", "truth.json"


@dataclass(frozen=True)
class SampleParams:
    """How the cast is drawn."""

    seed: int = param(0, help="faces, poses and scenes", check=at_least(0))


class Sample:
    """Draw the sample library into the run's own folder, so that a demo can change it freely."""

    version: ClassVar[int] = 1
    # Its files are this run's own; those of another run have been changed by what came after.
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: SampleParams, context: StepContext) -> None:
        self._cast = cast(params.seed)
        self._context = context

    def items(self) -> Sequence[Item[SampleActor]]:
        """One item an actor."""
        return [Item(actor.name, actor, (actor,)) for actor in self._cast]

    def process(self, actor: SampleActor) -> str:
        """Draw one actor's files; returns what is wrong with them."""
        draw_actor(actor, self._context.out / DATA)
        return actor.expected

    def finish(self, results: Results[str]) -> None:
        """Write actorsData.json, the groups and the truth."""
        write_documents(self._cast, self._context.out)
        kinds = Counter(outcome.result for outcome in results)
        write_part(
            self._context.out,
            ReportPart(headline=f"{kinds.total()} actors drawn, {kinds.total() - kinds['skip']} with something wrong."),
        )


def draw_library(folder: Path, seed: int) -> Iterator[SampleActor]:
    """Draw the whole sample into folder/data, with folder/truth.json beside it; yields each actor when it is drawn."""
    actors = cast(seed)
    for actor in actors:
        draw_actor(actor, folder / DATA)
        yield actor
    write_documents(actors, folder)


def write_documents(actors: tuple[SampleActor, ...], folder: Path) -> None:
    """What is about the cast as a whole."""
    files.write_json(folder / DATA / layout.ACTORS, actors_document(actors))
    files.write_text(folder / DATA / layout.GROUPS, _GROUPS)
    files.write_json(folder / TRUTH, truth_document(actors))


_GROUPS = """# Named groups of actors, for actors=@group.
elders: [10-15]
first_five: [0-4]
"""
