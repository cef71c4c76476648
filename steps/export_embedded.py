"""Write the trained models as files that the real classes load, and measure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.params import a_path, at_least, param
from runner.report_parts import Badge, Entry, ReportPart, Shown, write_part
from runner.step import Item, Results, StepContext

FIGURES, WEIGHTS, SHEETS = "figures.json", "weights", "sheets"
_PASSED = Badge("passed", "passed", "✓", "good")
_FAILED = Badge("failed", "below its bar", "✗", "error")
_TOLD = Badge("told", "no bar", "·", "neutral")


@dataclass(frozen=True)
class ExportEmbeddedParams:
    """From where, and how thoroughly it is measured."""

    folder: str = param(help="folder of the training's checkpoints and finished parts", check=a_path)
    seed: int = param(0, help="the training's seed, for the manifest", check=at_least(0))
    effort: float = param(1.0, help="the training's effort, for the manifest", check=at_least(1e-6))
    pictures: int = param(600, help="pictures for each figure", check=at_least(8))
    threads: int = param(1, help="processor threads", check=at_least(1), operational=True)


@dataclass(frozen=True)
class Figure:
    """One measured figure, as `steps.studio.models.measure.Bar` has it."""

    name: str
    value: float
    limit: float | None
    passed: bool
    text: str


@dataclass(frozen=True)
class Exported:
    """What was written and how good it is."""

    folder: str
    bytes: int
    figures: list[Figure] = field(default_factory=list)


class ExportEmbedded:
    """Export all parts into the run's own folder, load them again as users do, and measure every bar."""

    version: ClassVar[int] = 1
    # It looks at what the training's folder holds now.
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: ExportEmbeddedParams, context: StepContext) -> None:
        self._params = params
        self._context = context
        self._failed: list[str] = []

    def items(self) -> Sequence[Item[Path]]:
        """One: the whole folder."""
        return [Item("weights", Path(self._params.folder), (self._params.pictures,))]

    def process(self, folder: Path) -> Exported:
        """Write, load, measure."""
        import torch

        from steps.studio.models.export import write_weights
        from steps.studio.models.layout import MANIFEST
        from steps.studio.models.measure import WRONG_BELOW, Bar, Measured, bars, threshold
        from steps.studio.models.stages import Work, finished_parts
        from steps.studio.models.teaching import teaching

        torch.set_num_threads(self._params.threads)
        work = Work(folder, seed=self._params.seed, effort=self._params.effort, log=self._context.log)
        target = self._context.out / WEIGHTS
        manifest = write_weights(finished_parts(work), target, {"seed": work.seed, "effort": work.effort})
        manifest["clip"] = {"threshold": round(threshold(target, self._params.pictures), 4), "wrong_below": WRONG_BELOW}
        files.write_json(target / MANIFEST, manifest)
        found: list[Bar] = []
        measured = Measured(target, self._params.pictures, self._context.out / SHEETS)
        for bar in chain(bars(measured), teaching(measured)):
            self._context.log.info("%s", bar)
            self._context.stop.check()
            found.append(bar)
        figures = [Figure(bar.name, bar.value, bar.limit, bar.passed, str(bar)) for bar in found]
        return Exported(str(target), sum(entry["bytes"] for entry in manifest["files"]), figures)

    def finish(self, results: Results[Exported]) -> None:
        """Write the figures, and show the sheets of samples."""
        made = next((outcome.result for outcome in results if outcome.result is not None), None)
        if made is None:
            write_part(self._context.out, ReportPart(headline="Nothing was exported."))
            return
        files.write_json(self._context.out / FIGURES, asdict(made))
        self._failed = [figure.name for figure in made.figures if not figure.passed]
        demanded = sum(figure.limit is not None for figure in made.figures)
        headline = f"{made.bytes / 1e6:.1f} MB of weights; {demanded - len(self._failed)} of {demanded} bars reached."
        write_part(
            self._context.out, ReportPart(headline=headline, entries=[*_sheets(self._context.out), *_entries(made)])
        )

    def gate(self) -> str | None:
        """What is below its bar."""
        return f"below their bars: {'; '.join(self._failed)}" if self._failed else None


def _entries(made: Exported) -> list[Entry]:
    badges = {True: _PASSED, False: _FAILED}
    return [
        Entry(
            key=figure.name,
            title=figure.name,
            badge=_TOLD if figure.limit is None else badges[figure.passed],
            notes=[figure.text.strip()],
        )
        for figure in made.figures
    ]


def _sheets(out: Path) -> list[Entry]:
    paths = sorted((out / SHEETS).glob("*.png"))
    pictures = [
        Shown(f"{out.name}/{SHEETS}/{path.name}", path.stem, f"sheet of pictures: {path.stem}") for path in paths
    ]
    return [Entry(key="sheets", title="Pictures", pictures=pictures)] if pictures else []
