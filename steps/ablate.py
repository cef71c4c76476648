"""Hold ways of drawing against each other: measure the faces of every storyboard, compare arms, and say what may be said."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import UserError
from runner.params import a_path, at_least, one_of, param
from runner.report_parts import ReportPart, write_part
from runner.step import Item, Results, StepContext
from steps import ablation_plots
from steps.ablating import REFERENCE, arms_of, find
from steps.ablation_report import RESULTS, document, evidence, part
from steps.ablation_text import Account, costs_of, frames_csv, results_md, scale_of, table_tex
from steps.backends.protocols import Faces
from steps.claims import claims
from steps.library import captions
from steps.library.preregistrations import (
    KIND,
    VERSION,
    Preregistration,
    from_document,
    read_preregistrations,
    together,
)
from steps.library.storyboards import DrawnStoryboard, main_strengths, read_storyboards
from steps.measured_boards import MeasuredBoard, located, measured
from steps.measures.faces import SEVERAL_FACES
from steps.measuring import Measurer, network
from steps.people import Told, asked

TEXT, FRAMES, TABLE = "results.md", "frames.csv", "table.tex"
REPORT, CHOOSE = "report", "choose"
REFERENCES, IMPOSTORS = "references", "impostors"
ROLES = ("diffusion", "clip", "faces")
ONLY = "character"
"""Who is drawn where storyboards do not say it."""
_SHOWN_REFERENCES = 6


def _paths(value: Any) -> str | None:
    listed = value if isinstance(value, list) else [value]
    good = bool(listed) and all(isinstance(path, str) and path and a_path(path) is None for path in listed)
    return None if value is None or good else "give a folder, or a list of folders"


def _by_character(value: Any) -> str | None:
    named = value if isinstance(value, dict) else {ONLY: value}
    good = bool(named) and all(isinstance(path, str) and a_path(path) is None for path in named.values())
    return None if value is None or good else "give a folder, or one for each character: {NAME: FOLDER}"


@dataclass(frozen=True)
class AblateParams:
    """What is compared, and by what."""

    storyboards: Any = param(help="runs, sweeps or steps that drew storyboards: a folder, or a list", check=_paths)
    references: Any = param(
        help="folder of held-out images of the character, never trained on; with several characters {NAME: FOLDER}",
        check=_by_character,
    )
    impostors: Any = param(
        None, help="folder of images of other people, for the floor; or {NAME: FOLDER}", check=_by_character
    )
    preregistration: str | None = param(
        None, help="what `preregister` wrote; null compares all arms, and says that nothing was fixed", check=a_path
    )
    strength: Any = param(None, help="runs that drew storyboards at several lora_scale, for the curve", check=_paths)
    trained_on: Any = param(
        None,
        help="folder with images, captions and split.json that the LoRA was taught with, or {NAME: FOLDER}: a reference that is among "
        "them is refused",
        check=_by_character,
    )
    training: Any = param(None, help="folders of the step train, for the documents' claims; or null", check=_paths)
    captions: Any = param(None, help="folders of the step caption, likewise", check=_paths)
    study: str | None = param(None, help="folder of a user study with its answers", check=a_path)
    attentive: bool = param(False, help="leave out raters who failed an attention check; they are named either way")
    purpose: str = param(
        REPORT,
        help="report: results, measured with an embedder that chose no image; choose: settings are chosen by the figures",
        check=one_of(REPORT, CHOOSE),
    )
    every_strength: bool = param(
        False,
        help="an arm for each strength of LoRA and reference; false takes a mode's most frequent, and says what it leaves out",
    )
    draws: int = param(10_000, help="draws of the bootstrap", check=at_least(200))


class Ablate:
    """Measure storyboards and compare their arms."""

    version: ClassVar[int] = 2
    reuses_answers: ClassVar[bool] = True

    @classmethod
    def needs(cls, params: AblateParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`; what an earlier step of the recipe makes is not there yet."""
        for name in ("storyboards", REFERENCES, IMPOSTORS, "trained_on"):
            given = getattr(params, name)
            for path in given.values() if isinstance(given, dict) else _listed(given):
                if not path.startswith("step://") and "*" not in path:
                    there = Path(path).is_dir()
                    yield Need(f"{name} {path}", there, "" if there else f"no such folder: give {name}=FOLDER")

    def __init__(self, params: AblateParams, context: StepContext, recogniser: Faces) -> None:
        self._params = params
        self._context = context
        self._recogniser = recogniser
        self._all: list[DrawnStoryboard] = []
        self._boards: list[DrawnStoryboard] = []
        self._strength: list[DrawnStoryboard] = []
        self._measurers: dict[str, Measurer] = {}
        self._plan: Preregistration | None = None
        self._people: Told | None = None
        self._training: list[Any] = []
        self._captions: list[Any] = []
        self._said: list[str] = []

    def items(self) -> Sequence[Item[DrawnStoryboard]]:
        """One item a storyboard. What can be told to fail is told before anything is measured.

        Raises:
            UserError: Nothing to measure, no references of somebody or trained ones, or an embedder that chose the images.
        """
        self._recogniser.prepare()
        self._read_storyboards()
        self._plan = self._preregistered()
        self._check_embedder()
        self._check_characters()
        params = self._params
        self._training = [_results_of(path, "lora", "train") for path in _listed(params.training)]
        self._captions = [_results_of(path, "usd_per_image", "caption") for path in _listed(params.captions)]
        cells = {(_character(board), board.story, board.seed) for board in self._boards}
        self._people = asked(params.study, leave_out_failed=params.attentive, cells=cells)
        return [Item(_key(board), board, self._depends_on(board)) for board in self._all]

    def process(self, board: DrawnStoryboard) -> MeasuredBoard:
        """Measure one storyboard's faces.

        Raises:
            ItemError: An image that can't be read.
        """
        measurer = self._measurers[_character(board)]
        # Frame 1's own face was given to the frames after it.
        given_from = 2 if board.mode == REFERENCE else 1
        kept = measurer.measure([frame.file for frame in board.frames], board.reference, given_from)
        chosen = any(frame.attempts > 1 for frame in board.frames)
        tried = [frame.first_file for frame in board.frames]
        first = measurer.measure(tried, board.reference, given_from) if chosen else kept
        return measured(board, _character(board), kept, first)

    def finish(self, results: Results[MeasuredBoard]) -> None:
        """Compare, and write results.json, results.md, frames.csv, table.tex, the plots and the report's part."""
        done = {outcome.key: outcome.result for outcome in results if outcome.result is not None}
        failed = [
            f"{outcome.key} could not be measured and counts nowhere: {outcome.error}"
            for outcome in results
            if outcome.result is None
        ]
        boards = [located(done[key], board) for board in self._boards if (key := _key(board)) in done]
        strength = [located(done[key], board) for board in self._strength if (key := _key(board)) in done]
        out = self._context.out
        if not boards:
            write_part(out, ReportPart(headline="No storyboard could be measured.", warnings=failed))
            return
        account = self._account(boards, strength, failed)
        arms = arms_of(boards)
        files.write_text(out / TEXT, results_md(account))
        files.write_text(out / FRAMES, frames_csv(arms, out))
        files.write_text(out / TABLE, table_tex(account.findings))
        files.write_json(out / RESULTS, document(account, arms, self._people))
        write_part(out, part(account, arms, self._context.label, TEXT))

    def _account(
        self, boards: Sequence[MeasuredBoard], strength: Sequence[MeasuredBoard], failed: Sequence[str]
    ) -> Account:
        """All that is to be told."""
        findings = find(boards, strength, self._plan, draws=self._params.draws, seed=self._context.seed)
        arms, people, drawn = arms_of(boards), self._people, self._boards[0]
        shown = {name: measurer.reference_images[:_SHOWN_REFERENCES] for name, measurer in self._measurers.items()}
        plots = ablation_plots.draw(self._context.out, arms, findings, shown)
        given = evidence(arms, findings, drawn, training=self._training, captions=self._captions, people=people)
        return Account(
            findings=findings,
            plan=self._plan,
            choosing=self._params.purpose == CHOOSE,
            scales={name: scale_of(measurer.scale, measurer.notes) for name, measurer in self._measurers.items()},
            models=drawn.models,
            recogniser=self._recogniser.identity,
            rule=SEVERAL_FACES,
            claims=claims(given),
            people=people.paragraphs if people else (),
            costs={arm: costs_of(those) for arm, those in arms.items()},
            plots=plots.shown,
            notes=[*failed, *self._said, *self._notes(boards), *plots.notes],
        )

    def _read_storyboards(self) -> None:
        params = self._params
        found = read_storyboards(_listed(params.storyboards))
        self._boards = found
        if not params.every_strength:
            self._boards, left_out = main_strengths(found)
            if left_out:
                self._said.append(
                    f"{len(left_out)} storyboards at other strengths of LoRA or reference are left out: "
                    f"{self._context.label}.every_strength=true makes arms of them"
                )
        self._strength = read_storyboards(_listed(params.strength)) if params.strength else []
        # Read together, so that one that is in both is one, and two that differ are told.
        both = read_storyboards([*_listed(params.storyboards), *_listed(params.strength)])
        wanted = {board.cell for board in (*self._boards, *self._strength)}
        self._all = [board for board in both if board.cell in wanted]

    def _preregistered(self) -> Preregistration | None:
        """What was fixed; where it was not written here, that is said: anybody can write a file with any time in it."""
        if self._params.preregistration is None:
            return None
        source = Path(self._params.preregistration)
        found = read_preregistrations(source)
        for each in found:
            with self._context.artifacts.making(KIND, VERSION, (each.question,)) as artifact:
                kept = artifact.about()
                if kept is None:
                    # Looking for it must not leave anything behind; what a try of `preregister` has left stays.
                    with contextlib.suppress(OSError):
                        artifact.path.rmdir()
            if kept is None or from_document(kept) != each:
                self._said.append(
                    f"{source} is not as `preregister` wrote it into these outputs: it is from elsewhere or was changed, and its time "
                    f"({each.written_at}) is its own word"
                )
                break
        return together(found, source)

    def _check_embedder(self) -> None:
        """Figures of the embedder that chose the images would flatter them."""
        if self._params.purpose == CHOOSE:
            return
        chose = {str(board.models["faces"]) for board in self._all if board.models.get("faces")}
        if network(self._recogniser.identity) in [network(each) for each in chose]:
            raise UserError(
                f"recogniser = {self._recogniser.identity}: it chose or conditioned these images, and would flatter them: measure with "
                f"another one (recogniser=opencv, or another recogniser.pack), or set {self._context.label}.purpose=choose"
            )
        if not all(board.models.get("faces") for board in self._all):
            self._said.append("who chose the frames is not told: it may be the one who measures them")
        everybody = {_character(board) for board in self._all}
        if self._plan is not None and self._plan.chosen_on in everybody:
            raise UserError(
                f"{self._context.label}.storyboards hold '{self._plan.chosen_on}', the character that settings were chosen on: "
                f"results are of others"
            )
        self._said.extend(self._other_models())

    def _other_models(self) -> Iterator[str]:
        """Where something else drew, chose or measured than was planned."""
        planned = {} if self._plan is None else self._plan.models
        used = {role: {str(board.models.get(role)) for board in self._all} for role in ROLES}
        used["recogniser"] = {self._recogniser.identity}
        for role, found in used.items():
            if role in planned and found != {planned[role]}:
                yield f"{role} = {', '.join(sorted(found))} where {planned[role]} was planned"

    def _check_characters(self) -> None:
        """Every character's references, none of which a LoRA was taught with."""
        params = self._params
        everybody = sorted({_character(board) for board in self._all})
        for name in everybody:
            references = self._folder(params.references, REFERENCES, name, everybody)
            if references is None:
                raise UserError(
                    f"{self._context.label}.references = null is not allowed: likeness is held against held-out images"
                )
            measurer = Measurer(
                self._recogniser, references, self._folder(params.impostors, IMPOSTORS, name, everybody)
            )
            self._measurers[name] = measurer
            if (taught := self._folder(params.trained_on, "trained_on", name, everybody)) is not None:
                self._check_held_out(measurer, taught)

    def _check_held_out(self, measurer: Measurer, taught: Path) -> None:
        hashes = self._context.hashes
        known = {hashes.of(image): image.name for image in captions.taught(taught)}
        if seen := [path.name for path in measurer.reference_images if hashes.of(path) in known]:
            raise UserError(
                f"{self._context.label}.references: {seen[0]} and {len(seen) - 1} more were trained on ({taught}): likeness is held against "
                f"images that no model has seen"
            )

    def _folder(self, given: Any, key: str, name: str, everybody: Sequence[str]) -> Path | None:
        """Where a character's images are."""
        if given is None:
            return None
        if isinstance(given, dict):
            if name in given:
                return Path(given[name])
            raise UserError(f"{self._context.label}.{key} says nothing of '{name}': give {{{name}: FOLDER}}")
        # Other people are other people for everybody.
        if len(everybody) > 1 and key != IMPOSTORS:
            raise UserError(
                f"{self._context.label}.{key}: the storyboards show {', '.join(everybody)}: give one folder for each, "
                f"{self._context.label}.{key}={{{everybody[0]}: FOLDER, ...}}"
            )
        return Path(str(given))

    def _depends_on(self, board: DrawnStoryboard) -> tuple[Any, ...]:
        """Contents of all images, never where they lie, and what is told of the storyboard."""
        measurer = self._measurers[_character(board)]
        about = {name: value for name, value in vars(board).items() if name not in ("folder", "frames", "reference")}
        scores = [
            (frame.frame, frame.clip, frame.first_clip, frame.null_percentile, frame.passed, frame.attempts)
            for frame in board.frames
        ]
        images = [path for frame in board.frames for path in (frame.file, frame.first_file)]
        return (self._recogniser.identity, about, scores, images, board.reference, *measurer.depends_on)

    def _notes(self, boards: Sequence[MeasuredBoard]) -> Iterator[str]:
        for name, measurer in self._measurers.items():
            yield from (f"{name}: {note}" for note in measurer.notes)
            if self._params.impostors is not None and measurer.scale.floor is None:
                yield f"{name}: no image of other people is left: there is no floor, and so no headline figure"
        for note, count in Counter(note for board in boards for note in board.notes).items():
            yield note if count == 1 else f"{note} (in {count} storyboards)"
        if any(len({str(board.models.get(role)) for board in self._all}) > 1 for role in ROLES):
            yield "the storyboards were not all drawn and judged by the same models"
        loras = {(_character(board), board.lora) for board in self._boards if board.lora}
        if len(loras) > len({character for character, _ in loras}):
            yield "the storyboards of a character were not all drawn with the same LoRA"
        if self._params.impostors is None:
            yield "no images of other people were given: there is no floor, and so no headline figure between strangers and truth"


def _character(board: DrawnStoryboard) -> str:
    return board.character or ONLY


def _key(board: DrawnStoryboard) -> str:
    """Its cell in words: storyboards of two runs may have one name, and be drawn at other strengths."""
    named = {"lora": board.lora_scale, "adapter": board.adapter_scale}
    scales = "".join(f", {part} {scale:g}" for part, scale in named.items() if scale is not None)
    return f"{_character(board)}: {board.story}-{board.mode}-{board.seed}{scales}"


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _results_of(path: str, key: str, step: str) -> Any:
    """The results of a step of that kind.

    Raises:
        UserError: They are not there, or of something else.
    """
    source = Path(path) / RESULTS
    found = files.read_json(source, finite=True)
    if not isinstance(found, dict) or key not in found:
        raise UserError(f"{source}: these are no results of the step {step}: give its folder in a run")
    return found
