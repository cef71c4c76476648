"""Hold ways of drawing against each other: measure the faces of every storyboard, compare arms, and say what may be said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from runner import files
from runner.errors import UserError
from runner.params import a_path, at_least, one_of, param
from runner.report_parts import Badge, Entry, Frame, ReportPart, counted, write_part
from runner.step import Item, Results, StepContext
from steps import ablation_plots
from steps.ablating import REFERENCE, Findings, MeasuredBoard, arms_of, find, located, mean_of, measured
from steps.ablation_text import (
    TITLES,
    Account,
    ScaleOf,
    frames_csv,
    results_md,
    sentence_of,
    short_sentence_of,
    table_tex,
)
from steps.backends.protocols import Faces
from steps.claims import Claim, Evidence, claims
from steps.library.preregistrations import METRICS, Preregistration, read_preregistration
from steps.library.storyboards import DrawnStoryboard, read_storyboards
from steps.measures.faces import SEVERAL_FACES
from steps.measuring import Measurer
from steps.people import Told, asked

RESULTS, TEXT, FRAMES, TABLE = "results.json", "results.md", "frames.csv", "table.tex"
FORMAT = 1
REPORT, CHOOSE = "report", "choose"
REFERENCES, IMPOSTORS = "references", "impostors"
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
    training: Any = param(None, help="folders of the step train, for the documents' claims; or null", check=_paths)
    captions: Any = param(None, help="folders of the step caption, likewise", check=_paths)
    study: str | None = param(None, help="folder of a user study with its answers", check=a_path)
    attentive: bool = param(False, help="leave out raters who failed an attention check; they are named either way")
    purpose: str = param(
        REPORT,
        help="report: results, measured with an embedder that chose no image; choose: settings are chosen by the figures",
        check=one_of(REPORT, CHOOSE),
    )
    draws: int = param(10_000, help="draws of the bootstrap", check=at_least(200))


class Ablate:
    """Measure storyboards and compare their arms."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

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

    def items(self) -> Sequence[Item[DrawnStoryboard]]:
        """One item a storyboard.

        Raises:
            UserError: Nothing to measure, no references of somebody, or an embedder that chose or conditioned the images.
        """
        params = self._params
        self._recogniser.prepare()
        self._boards = read_storyboards(_listed(params.storyboards))
        # Read together, so that one that is in both is one, and two that differ are told.
        self._all = read_storyboards([*_listed(params.storyboards), *_listed(params.strength)])
        self._strength = read_storyboards(_listed(params.strength)) if params.strength else []
        self._plan = read_preregistration(Path(params.preregistration)) if params.preregistration else None
        # What can't be read is told before anything is measured.
        self._people = asked(params.study, leave_out_failed=params.attentive)
        self._training, self._captions = (
            [files.read_json(Path(path) / RESULTS) for path in _listed(given)]
            for given in (params.training, params.captions)
        )
        self._check_embedder()
        everybody = sorted({_character(board) for board in self._all})
        for name in everybody:
            folders = [
                self._folder(given, key, name, everybody)
                for given, key in ((params.references, REFERENCES), (params.impostors, IMPOSTORS))
            ]
            if folders[0] is None:
                raise UserError(
                    f"{self._context.label}.references = null is not allowed: likeness is held against held-out images"
                )
            self._measurers[name] = Measurer(self._recogniser, folders[0], folders[1])
        return [Item(_key(board), board, self._depends_on(board)) for board in self._all]

    def process(self, board: DrawnStoryboard) -> MeasuredBoard:
        """Measure one storyboard's faces.

        Raises:
            ItemError: An image that can't be read.
        """
        measurer = self._measurers[_character(board)]
        # Frame 1's own face was given to the frames after it.
        given_from = 2 if board.mode == REFERENCE else 1
        kept = measurer.storyboard([frame.file for frame in board.frames], board.reference, given_from)
        again = any(frame.attempts > 1 for frame in board.frames)
        first = measurer.storyboard([frame.first_file for frame in board.frames]) if again else kept
        return measured(board, _character(board), kept, first)

    def finish(self, results: Results[MeasuredBoard]) -> None:
        """Compare, and write results.json, results.md, frames.csv, table.tex, the plots and the report's part."""
        done = {outcome.key: outcome.result for outcome in results if outcome.result is not None}
        notes = [
            f"{outcome.key} could not be measured and counts nowhere: {outcome.error}"
            for outcome in results
            if outcome.result is None
        ]
        boards = [located(done[key], board) for board in self._boards if (key := _key(board)) in done]
        strength = [located(done[key], board) for board in self._strength if (key := _key(board)) in done]
        if not boards:
            write_part(self._context.out, ReportPart(headline="No storyboard could be measured.", warnings=notes))
            return
        findings = find(boards, strength, self._plan, draws=self._params.draws, seed=self._context.seed)
        arms, people = arms_of(boards), self._people
        shown = {name: measurer.reference_images[:_SHOWN_REFERENCES] for name, measurer in self._measurers.items()}
        plots = ablation_plots.draw(self._context.out, arms, findings, shown)
        told = claims(self._evidence(arms, people))
        account = Account(
            findings=findings,
            plan=self._plan,
            choosing=self._params.purpose == CHOOSE,
            scales={name: _scale(measurer) for name, measurer in self._measurers.items()},
            models=self._boards[0].models,
            recogniser=self._recogniser.identity,
            rule=SEVERAL_FACES,
            claims=told,
            people=people.paragraphs if people else (),
            costs={arm: _costs(those) for arm, those in arms.items()},
            plots=plots,
            notes=[*notes, *self._notes(findings)],
        )
        out = self._context.out
        files.write_text(out / TEXT, results_md(account))
        files.write_text(out / FRAMES, frames_csv(arms, out))
        files.write_text(out / TABLE, table_tex(findings))
        files.write_json(out / RESULTS, self._document(account, arms, people))
        write_part(out, self._report(account, arms))

    def _check_embedder(self) -> None:
        """Figures of the embedder that chose the images would flatter them."""
        chose = {str(board.models.get("faces")) for board in self._all}
        same = self._recogniser.identity in chose
        if same and self._params.purpose == REPORT:
            raise UserError(
                f"recogniser = {self._recogniser.identity}: it chose or conditioned these images, and would flatter them: measure with "
                f"another one (recogniser=opencv, or another recogniser.pack), or set {self._context.label}.purpose=choose"
            )
        clash = self._plan is not None and self._plan.chosen_on in {_character(board) for board in self._all}
        if clash and self._params.purpose == REPORT:
            assert self._plan is not None
            raise UserError(
                f"{self._context.label}.storyboards hold '{self._plan.chosen_on}', the character that settings were chosen on: "
                f"results are of others"
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
        if len(everybody) > 1 and key == REFERENCES:
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

    def _evidence(self, arms: Mapping[str, Sequence[MeasuredBoard]], people: Told | None) -> Evidence:
        boards = [board for those in arms.values() for board in those]
        frames = [frame for board in boards for frame in board.frames]
        return Evidence(
            arms={
                arm: {metric: mean_of(board.metrics[metric] for board in those) for metric in those[0].metrics}
                for arm, those in arms.items()
            },
            seconds_a_frame={
                arm: sum(board.seconds for board in those) / sum(len(board.frames) for board in those)
                for arm, those in arms.items()
            },
            memory={
                arm: max((board.peak_memory_bytes or 0 for board in those), default=0) or None
                for arm, those in arms.items()
            },
            seconds_a_storyboard=mean_of(board.seconds for board in boards),
            usd_a_storyboard=mean_of(board.usd for board in boards),
            threshold=self._boards[0].settings.get("threshold"),
            passed=fmean(frame.passed for frame in frames),
            diffusion=str(self._boards[0].models.get("diffusion")),
            clip=str(self._boards[0].models.get("clip")),
            training=self._training,
            captions=self._captions,
            opinion=people.opinion if people else None,
        )

    def _notes(self, findings: Findings) -> Iterator[str]:
        for name, measurer in self._measurers.items():
            yield from (f"{name}: {note}" for note in measurer.notes)
        if any(
            len({str(board.models.get(role)) for board in self._all}) > 1 for role in ("diffusion", "clip", "faces")
        ):
            yield "the storyboards were not all drawn and judged by the same models"
        if len({board.lora for board in self._boards if board.lora}) > len(self._measurers):
            yield "the storyboards of a character were not all drawn with the same LoRA"
        if self._params.impostors is None:
            yield "no images of other people were given: there is no floor, and so no headline figure between strangers and truth"
        yield from (
            f"{arm}, {metric}: {each.note}"
            for arm, found in findings.arms.items()
            for metric, each in found.items()
            if each.note and metric == "likeness"
        )

    def _document(
        self, account: Account, arms: Mapping[str, Sequence[MeasuredBoard]], people: Told | None
    ) -> dict[str, Any]:
        findings = account.findings
        return {
            "format": FORMAT,
            "purpose": self._params.purpose,
            "arms": {
                arm: {metric: asdict(each) for metric, each in found.items()} for arm, found in findings.arms.items()
            },
            "comparisons": [asdict(each) for each in findings.comparisons],
            "primary": None if findings.primary is None else asdict(findings.primary),
            "exploratory": findings.exploratory,
            "preregistration": None if account.plan is None else account.plan.document(),
            "deviations": list(findings.deviations),
            "curve": [asdict(point) for point in findings.curve],
            "scales": {name: asdict(scale) for name, scale in account.scales.items()},
            "recogniser": account.recogniser,
            "models": dict(account.models),
            "rule": account.rule,
            "claims": [asdict(claim) for claim in account.claims],
            "people": None if people is None else people.document,
            "storyboards": [{**_plain(board), "arm": arm} for arm, those in arms.items() for board in those],
            "frames": FRAMES,
            "plots": [file for file, _ in account.plots],
            "notes": list(account.notes),
        }

    def _report(self, account: Account, arms: Mapping[str, Sequence[MeasuredBoard]]) -> ReportPart:
        findings = account.findings
        boards = sum(findings.boards.values())
        first = findings.primary or next(iter(findings.comparisons), None)
        found = sentence_of(first) if first is not None else "One arm: nothing is compared."
        return ReportPart(
            headline=f"{counted(boards, 'storyboard')} in {counted(len(arms), 'arm')} measured. {found}",
            counts=[(f"storyboards, {arm}", number) for arm, number in findings.boards.items()],
            entries=[self._comparison(account), _claims_entry(account.claims)],
            warnings=[*findings.deviations, *account.notes],
        )

    def _comparison(self, account: Account) -> Entry:
        """A card as wide as the page, with the plots large enough to be read."""
        findings = account.findings
        shown = [
            Frame(f"{self._context.label}/{file}", Path(file).stem.replace("_", " "), words)
            for file, words in account.plots
        ]
        means = [
            (f"{arm}: {TITLES[metric]}", f"{found[metric].mean:.3f}")
            for arm, found in findings.arms.items()
            for metric in METRICS
            if found[metric].mean is not None
        ]
        refused = dict.fromkeys(each.note for each in findings.comparisons if each.note)
        return Entry(
            key="comparison",
            title="Arms compared",
            badge=Badge("compared", "compared", "⇄", "neutral"),
            subtitle=f"faces measured by {account.recogniser}",
            notes=[*map(short_sentence_of, findings.comparisons), *refused],
            facts=[*means, ("In full", f"{self._context.label}/{TEXT}")],
            strip=shown,
        )


def _claims_entry(told: Sequence[Claim]) -> Entry:
    return Entry(
        key="claims",
        title="What the documents claim",
        badge=Badge("claims", "claims checked", "?", "neutral"),
        subtitle=", ".join(f"{count} {verdict}" for verdict, count in Counter(each.verdict for each in told).items()),
        facts=[(each.claim, f"{each.verdict}{': ' if each.measured else ''}{each.measured}") for each in told],
    )


def _character(board: DrawnStoryboard) -> str:
    return board.character or ONLY


def _key(board: DrawnStoryboard) -> str:
    """Its cell in words: storyboards of two runs may have one name, and be drawn at other strengths."""
    named = {"lora": board.lora_scale, "adapter": board.adapter_scale}
    scales = "".join(f", {part} {scale:g}" for part, scale in named.items() if scale is not None)
    return f"{_character(board)}: {board.story}-{board.mode}-{board.seed}{scales}"


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _scale(measurer: Measurer) -> ScaleOf:
    scale = measurer.scale
    return ScaleOf(scale.ceiling, scale.floor, scale.references, scale.impostors, tuple(measurer.notes))


def _costs(boards: Sequence[MeasuredBoard]) -> list[str]:
    """Seconds a frame, peak memory, dollars a storyboard, in words."""
    memory = max((board.peak_memory_bytes or 0 for board in boards), default=0)
    usd = mean_of(board.usd for board in boards)
    seconds = sum(board.seconds for board in boards) / sum(len(board.frames) for board in boards)
    return [f"{seconds:.2f}", f"{memory / 1e9:.2f} GB" if memory else "-", f"{usd:.3f}" if usd else "-"]


def _plain(board: MeasuredBoard) -> dict[str, Any]:
    return {name: value for name, value in asdict(board).items() if name not in ("frames", "folder")}
