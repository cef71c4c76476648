"""Fix what a comparison is to show before its first frame is drawn: arms, stories, seeds, retries, and the primary endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from runner import files
from runner.errors import UserError
from runner.params import at_least, param
from runner.report_parts import Entry, ReportPart, counted, write_part
from runner.step import Item, Results, StepContext
from steps.backends.protocols import Clip, Diffusion, Faces
from steps.library.preregistrations import (
    FILE,
    KIND,
    METRICS,
    VERSION,
    Contrast,
    Preregistration,
    from_document,
    wrong,
)
from steps.library.stories import is_story_file, read_story

STUDY = "study"
ONLY = "character"


def _contrast(value: Any) -> str | None:
    good = isinstance(value, list) and len(value) == 3 and all(isinstance(word, str) for word in value)
    if not good or value[2] not in METRICS or value[0] == value[1]:
        return f"give [ARM, ARM, METRIC] with a metric of {', '.join(METRICS)}"
    return None


def _contrasts(value: Any) -> str | None:
    return (
        next((fault for each in value if (fault := _contrast(each))), None)
        if isinstance(value, list)
        else "give a list"
    )


@dataclass(frozen=True)
class PreregisterParams:
    """What is drawn, and what is asked of it."""

    arms: Any = param(help="modes that are drawn")
    stories: Any = param(help="stories that are drawn")
    seeds: Any = param(help="seeds that each is drawn with")
    primary: list[Any] = param(
        ["reference", "simple", "consistency"],
        help="the question that the study stands on: is the first arm above the second in a metric",
        check=_contrast,
    )
    comparisons: list[Any] = param(
        [
            ["simple", "baseline", "likeness"],
            ["adapter", "baseline", "consistency"],
            ["reference", "simple", "likeness"],
            ["reference", "simple", "clip"],
        ],
        help="further questions; with the primary one they are one family for Holm's correction",
        check=_contrasts,
    )
    characters: Any = param(
        None,
        help="who is drawn, as storyboards call them; or {NAME: WHO}, so that another one is another study; null is one, 'character'",
    )
    retries: int | None = param(None, help="attempts beyond the first, the same in every arm", check=at_least(0))
    settings: dict[str, Any] = param({}, help="what else is fixed: scales, guidance")
    chosen_on: str | None = param(None, help="who the settings were chosen on: nobody of `characters`")


class Preregister:
    """Write down what is to be shown."""

    version: ClassVar[int] = VERSION
    # The artifact is what is remembered, with the time of its first writing.
    reuses_answers: ClassVar[bool] = False

    def __init__(
        self,
        params: PreregisterParams,
        context: StepContext,
        diffusion: Diffusion,
        clip: Clip,
        face: Faces,
        recogniser: Faces,
    ) -> None:
        self._params = params
        self._context = context
        self._models: dict[str, Diffusion | Clip | Faces] = {
            "diffusion": diffusion,
            "clip": clip,
            "faces": face,
            "recogniser": recogniser,
        }

    def items(self) -> Sequence[Item[Preregistration]]:
        """The one study.

        Raises:
            UserError: An arm that is compared is not drawn, a question makes no sense, or a model is missing.
        """
        for model in self._models.values():
            model.prepare()
        study = self._study()
        asked = {arm for contrast in study.comparisons for arm in (contrast.a, contrast.b)}
        if missing := sorted(asked - set(study.arms)) if len(study.arms) > 1 else []:
            raise UserError(
                f"{self._context.label}.comparisons: arm '{missing[0]}' is compared, and not drawn: arms are {', '.join(study.arms)}"
            )
        if fault := wrong(study):
            raise UserError(f"{self._context.label}: {fault}")
        return [Item(STUDY, study, (study,))]

    def process(self, study: Preregistration) -> Preregistration:
        """Give it the time at which it was first written: whoever runs the same study again finds that one."""
        with self._context.artifacts.making(KIND, VERSION, (study,)) as artifact:
            about = artifact.about()
            if about is None:
                # What a killed try has left half-written.
                files.sweep_temporaries(artifact.path)
                about = replace(study, written_at=datetime.now(UTC).isoformat(timespec="seconds")).document()
                artifact.finish(about)
            return from_document(about)

    def finish(self, results: Results[Preregistration]) -> None:
        """Write preregistration.json and the report's part."""
        for outcome in results:
            if outcome.result is None:
                write_part(self._context.out, ReportPart(headline=f"Nothing was fixed beforehand: {outcome.error}"))
                continue
            files.write_json(self._context.out / FILE, outcome.result.document())
            write_part(self._context.out, _report(outcome.result))

    def _study(self) -> Preregistration:
        params = self._params
        primary = Contrast(*params.primary)
        others = tuple(Contrast(*each) for each in params.comparisons)
        arms = tuple(_listed(params.arms))
        family = tuple(dict.fromkeys((primary, *others)))
        named = params.characters or ONLY
        return Preregistration(
            primary=primary,
            # A job of a sweep draws one arm: what it can't compare is asked when the jobs are put together.
            comparisons=family,
            arms=arms,
            stories=tuple(_story(each) for each in _listed(params.stories)),
            seeds=tuple(_listed(params.seeds)),
            characters=named if isinstance(named, dict) else {name: name for name in _listed(named)},
            retries=params.retries,
            settings=params.settings,
            models={kind: model.identity for kind, model in self._models.items()},
            chosen_on=params.chosen_on,
        )


def _listed(value: Any) -> list[Any]:
    return list(dict.fromkeys(value)) if isinstance(value, list) else [value]


def _story(told: str) -> str:
    """A story's name as storyboards have it; a tale in prose stays as it is."""
    return read_story(told.strip()).name if is_story_file(told) else told


def _report(study: Preregistration) -> ReportPart:
    return ReportPart(
        headline=f"Fixed on {study.written_at}: {study.primary}; {counted(study.boards, 'storyboard')} to draw.",
        counts=[("questions", len(study.comparisons)), ("storyboards", study.boards)],
        entries=[
            Entry(
                key="preregistration",
                title="Fixed before the first frame",
                subtitle=f"Primary: {study.primary}",
                notes=[str(each) for each in study.comparisons if each != study.primary],
                facts=[
                    ("Arms", ", ".join(study.arms)),
                    ("Characters", ", ".join(f"{name}: {who}" for name, who in study.characters.items())),
                    ("Stories", ", ".join(study.stories)),
                    ("Seeds", ", ".join(map(str, study.seeds))),
                    ("Retries", "as the recipe has it" if study.retries is None else str(study.retries)),
                    *((name, str(value)) for name, value in {**study.settings, **study.models}.items()),
                    *([("Settings chosen on", study.chosen_on)] if study.chosen_on else []),
                ],
            )
        ],
    )
