"""An ablation as text: results.md for people, a table for LaTeX, and one row a frame for other programs."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.ablating import Findings
from steps.claims import Claim
from steps.library.preregistrations import METRICS, Preregistration
from steps.measured_boards import MeasuredBoard, mean_of
from steps.measures.faces import Scale
from steps.measures.power import MOST_STORIES, stories_needed
from steps.measures.statistics import NARROW, Comparison, Estimate, power_note
from steps.tables import bullets, csv_cell, image, latex, markdown_table, plain

TITLES: Mapping[str, str] = {
    "likeness": "likeness",
    "consistency": "consistency",
    "frame1": "frame 1",
    "copy_paste": "copy-paste",
    "clip": "CLIPScore",
    "detection_rate": "faces found",
    "headline": "likeness, 0 strangers to 1 truth",
    "likeness_with_missing": "likeness, no face counts 0",
    "consistency_with_missing": "consistency, no face counts 0",
    "frame1_with_missing": "frame 1, no face counts 0",
    "first_likeness": "likeness of first attempts",
    "first_consistency": "consistency of first attempts",
    "first_frame1": "frame 1 of first attempts",
    "first_copy_paste": "copy-paste of first attempts",
    "first_clip": "CLIPScore of first attempts",
    "first_detection_rate": "faces found in first attempts",
    "null_percentile": "percentile among the story's other texts",
    "passed": "share that reached the gate",
    "attempts": "attempts a frame",
    "seconds_a_frame": "seconds a frame",
}
MEANING: Mapping[str, str] = {
    "likeness": "mean cosine of a frame's face with held-out images of the character",
    "consistency": "mean cosine over all pairs of frames 2 to N",
    "frame1": "mean cosine of frames 2 to N with frame 1",
    "copy_paste": "(cosine with the conditioning image - cosine with the truth) / cosine of those two; above 0 is nearer to the copy",
    "clip": "2.5 x max(cosine, 0) of a frame with its text, the trigger word left out",
    "detection_rate": "share of frames in which a face was found",
}
FRAME_COLUMNS = (
    "character", "story", "arm", "mode", "drawn_as", "seed", "lora_scale", "adapter_scale", "frame", "faces", "likeness", "frame1",
    "copy_paste", "first_likeness", "clip", "first_clip", "null_percentile", "passed", "attempts", "file",
)  # fmt: skip


@dataclass(frozen=True)
class ScaleOf:
    """A character's ceiling and floor, and how many images they stand on.

    Attributes:
        ceiling: Mean cosine among the held-out references.
        floor: Mean cosine of references with other people; None without any.
        references: How many showed a face.
        impostors: How many showed a face.
        notes: What a person should know of these images, a sentence each.
    """

    ceiling: float | None
    floor: float | None
    references: int
    impostors: int
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Account:
    """All that results.md tells.

    Attributes:
        findings: The comparison.
        plan: What was fixed beforehand.
        choosing: Whether settings are chosen by these figures, which are then no result.
        scales: By character.
        models: What drew, chose and judged, by role.
        recogniser: What measured faces.
        rule: Which face counts where there are several.
        claims: The documents' figures with their verdicts.
        people: What raters said, as paragraphs and tables; empty where nobody was asked.
        costs: By arm: seconds a frame, peak memory, dollars a storyboard.
        plots: File and what it shows.
        notes: Sentences.
    """

    findings: Findings
    plan: Preregistration | None
    choosing: bool
    scales: Mapping[str, ScaleOf]
    models: Mapping[str, str | None]
    recogniser: str
    rule: str
    claims: Sequence[Claim]
    people: Sequence[str]
    costs: Mapping[str, Sequence[str]]
    plots: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()


def results_md(account: Account) -> str:
    """The whole account in Markdown."""
    parts = [
        "# Results",
        *_answer(account),
        "## Arms",
        *_arms(account.findings),
        "## Comparisons",
        *_comparisons(account.findings),
        *_by_character(account.findings),
        *_curve(account.findings),
        *(image(words, file) for file, words in account.plots),
        "## People",
        *(account.people or ["Nobody was asked: `callsheet study build RUNS` makes a page for raters."]),
        "## Time, memory, cost",
        markdown_table(["arm", "s a frame", "peak memory", "dollars a storyboard"], [[arm, *row] for arm, row in account.costs.items()]),
        "## What the documents claim",
        markdown_table(["claim", "measured", "verdict", "note"], [[each.claim, each.measured, each.verdict, each.note] for each in account.claims]),
        "## How it was measured",
        *_method(account),
        "## Deviations and notes",
        bullets([*account.findings.deviations, *account.notes] or ["None."]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def frames_csv(arms: Mapping[str, Sequence[MeasuredBoard]], out: Path) -> str:
    """One row a frame, raw cosines; empty where nothing could be measured. Files are told from the folder `out`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FRAME_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for arm, boards in arms.items():
        for board in boards:
            for frame in board.frames:
                file = os.path.relpath(frame.file, out)
                row: dict[str, Any] = {**vars(board), **vars(frame), "arm": arm, "file": file}
                writer.writerow({name: csv_cell(row[name]) for name in FRAME_COLUMNS})
    return text.getvalue()


def table_tex(findings: Findings) -> str:
    """The arms as a booktabs table: mean and 95 % interval."""
    head = " & ".join(["arm", *(latex(TITLES[metric]) for metric in METRICS), "$n$"])
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{tabular}{l" + "r" * (len(METRICS) + 1) + "}",
        "\\toprule",
        f"{head} \\\\",
        "\\midrule",
    ]
    for arm, metrics in findings.arms.items():
        cells = [_tex_estimate(metrics[metric]) for metric in METRICS]
        lines.append(" & ".join([latex(arm), *cells, str(findings.boards[arm])]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def sentence_of(comparison: Comparison) -> str:
    """A comparison in words, with why nothing more may be said."""
    found = short_sentence_of(comparison)
    return f"{found} {_capital(comparison.note)}." if comparison.note else found


def short_sentence_of(comparison: Comparison) -> str:
    """A comparison in words."""
    what = f"{comparison.a} against {comparison.b} in {TITLES.get(comparison.metric, comparison.metric)}"
    if comparison.difference is None:
        return f"{what}: not measured."
    found = f"{what}: {comparison.difference:+.3f} ({interval(comparison)})"
    if comparison.significant is None:
        return f"{found}."
    p = comparison.p_holm if comparison.p_holm is not None else comparison.p
    verdict = "significant" if comparison.significant else "not significant"
    return f"{found}, Holm-corrected p {_p(p)}: {verdict} at 5 %."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def interval(comparison: Comparison) -> str:
    """An interval in words; of so few stories that it is not one of 95 %, what it is."""
    if comparison.low is None or comparison.high is None:
        return "no interval"
    what = "95 %" if comparison.clusters >= NARROW else f"range of {comparison.clusters} stories"
    return f"{what} from {comparison.low:+.3f} to {comparison.high:+.3f}"


def notice_of(account: Account) -> str:
    """What must be known before any figure is believed, in sentences; may be empty."""
    said = []
    if account.choosing:
        said.append("Settings are chosen by these figures, with the embedder that chooses: they are no result.")
    elif account.plan is None:
        said.append("Nothing was fixed beforehand: this is exploratory.")
    elif not account.findings.fixed_first:
        said.append("Not all storyboards are known to be younger than the plan: see the deviations.")
    return " ".join(said)


def scale_of(scale: Scale, notes: Sequence[str]) -> ScaleOf:
    """A character's scale as it is told."""
    return ScaleOf(scale.ceiling, scale.floor, scale.references, scale.impostors, tuple(notes))


def costs_of(boards: Sequence[MeasuredBoard]) -> list[str]:
    """Seconds a frame, peak memory, dollars a storyboard, in words."""
    memory = max((board.peak_memory_bytes or 0 for board in boards), default=0)
    usd = mean_of(board.usd for board in boards)
    seconds = sum(board.seconds for board in boards) / sum(len(board.frames) for board in boards)
    return [f"{seconds:.2f}", f"{memory / 1e9:.2f} GB" if memory else "-", f"{usd:.3f}" if usd else "-"]


def _answer(account: Account) -> Iterator[str]:
    findings, plan = account.findings, account.plan
    if notice := notice_of(account):
        yield f"**{notice}**"
    if plan is not None:
        when = "before the first frame" if findings.fixed_first else "by its own word"
        yield f"Fixed on {plain(plan.written_at)}, {when}: {plain(str(plan.primary))} is the primary endpoint."
    if findings.primary is not None:
        yield f"**{plain(sentence_of(findings.primary))}**"
        yield from _aims(findings, findings.primary)
    elif plan is not None:
        yield "The primary endpoint could not be measured: its arms are not here."
    if plan is not None and plan.chosen_on:
        people = ", ".join(f"{name} ({who})" if who != name else name for name, who in plan.characters.items())
        yield f"Settings were chosen on somebody else, {plain(plan.chosen_on)}; the figures are of {plain(people)}."


def _aims(findings: Findings, primary: Comparison) -> Iterator[str]:
    """What is given away for the primary endpoint: likeness beyond its interval, and more than 5 % of the CLIPScore."""
    named = {each.metric: each for each in findings.comparisons if (each.a, each.b) == (primary.a, primary.b)}
    likeness, clip = named.get("likeness"), named.get("clip")
    if primary.metric != "likeness" and likeness is not None and likeness.high is not None:
        lost = likeness.high < 0
        yield f"Likeness is {'lost' if lost else 'not lost beyond its interval'}: {_signed(likeness.difference)} ({interval(likeness)})."
    whole = findings.arms[primary.b]["clip"].mean
    if clip is not None and clip.difference is not None and whole:
        share = 100 * clip.difference / whole
        yield f"The CLIPScore changes by {share:+.1f} %{'' if share >= -5 else ', which is more than 5 % less'}."


def _arms(findings: Findings) -> Iterator[str]:
    head = ["arm", *(TITLES[metric] for metric in METRICS), "storyboards"]
    rows = [
        [arm, *(_estimate(found[metric]) for metric in METRICS), str(findings.boards[arm])]
        for arm, found in findings.arms.items()
    ]
    yield markdown_table(head, rows)
    yield (
        "Means with 95 % intervals (bootstrap, stories drawn whole). Cosines are raw. Likeness, consistency and frame 1 are of frames "
        "with a face; the same with 0 for a frame without one stands below."
    )
    if narrow := list(
        dict.fromkeys(each.note for found in findings.arms.values() for each in found.values() if each.note)
    ):
        yield bullets([f"{sentence[:1].upper()}{sentence[1:]}." for sentence in narrow])
    further = [name for name in TITLES if name not in METRICS]
    # There are many of these: a line each.
    yield markdown_table(
        ["figure", *findings.arms],
        [[TITLES[name], *(_estimate(found[name]) for found in findings.arms.values())] for name in further],
    )


def _comparisons(findings: Findings) -> Iterator[str]:
    if not findings.comparisons:
        yield "There is one arm: nothing is compared."
        return
    rows = [
        [
            f"{each.a} - {each.b}", TITLES.get(each.metric, each.metric), _signed(each.difference),
            f"{_signed(each.low)} to {_signed(each.high)}", _p(each.p), _p(each.p_holm), _number(each.dz), _number(each.rank_biserial),
            f"{each.pairs} in {each.clusters} stories", _needed(each), _verdict(each),
        ]
        for each in findings.comparisons
    ]  # fmt: skip
    head = [
        "arms",
        "metric",
        "difference",
        "95 % interval",
        "p",
        "p (Holm)",
        "d_z",
        "rank-biserial",
        "pairs",
        "stories for 80 % power",
        "",
    ]
    yield markdown_table(head, rows)
    yield (
        "Differences are paired by character, story and seed. p is a two-sided Wilcoxon signed-rank test on the stories' mean "
        "differences, corrected over this table by Holm; the interval is a bootstrap of whole stories."
    )
    if refused := list(
        dict.fromkeys(each.note for each in findings.comparisons if each.significant is None and each.note)
    ):
        yield bullets(refused)
    asked = findings.primary or findings.comparisons[0]
    yield f"Power, {asked.a} against {asked.b} in {TITLES.get(asked.metric, asked.metric)}: {power_note(asked)}"


def _needed(comparison: Comparison) -> str:
    """How many stories show the effect that was seen."""
    if comparison.dz is None:
        return "-"
    needed = stories_needed(comparison.dz)
    return f"> {MOST_STORIES}" if needed is None else str(needed)


def _by_character(findings: Findings) -> Iterator[str]:
    """What a mean over characters can hide."""
    if not findings.by_character:
        return
    yield "### Each character alone"
    rows = [
        [
            who, f"{each.a} - {each.b}", TITLES.get(each.metric, each.metric), _signed(each.difference),
            f"{_signed(each.low)} to {_signed(each.high)}", _p(each.p_holm), str(each.pairs),
        ]
        for who, found in findings.by_character.items()
        for each in found
    ]  # fmt: skip
    yield markdown_table(["character", "arms", "metric", "difference", "95 % interval", "p (Holm)", "pairs"], rows)
    yield (
        f"The tables above are means over {len(findings.by_character)} characters, and their intervals are over stories: they hold for "
        "these characters, and say nothing of others."
    )
    yield from (f"**{sentence}**" for sentence in _turning(findings))


def _turning(findings: Findings) -> Iterator[str]:
    """Where the sign is another from one character to the next, with intervals that leave no doubt."""
    for number, whole in enumerate(findings.comparisons):
        alone = {who: found[number] for who, found in findings.by_character.items()}
        up = [who for who, each in alone.items() if each.low is not None and each.low > 0]
        down = [who for who, each in alone.items() if each.high is not None and each.high < 0]
        if up and down:
            yield (
                f"{whole.a} against {whole.b} in {TITLES.get(whole.metric, whole.metric)} turns with the character: "
                f"up for {', '.join(up)}, down for {', '.join(down)}. Its mean speaks of neither."
            )


def _curve(findings: Findings) -> Iterator[str]:
    if not findings.curve:
        return
    yield "### Gain of reference over simple mode, by strength of the LoRA"
    yield markdown_table(
        ["LoRA", "metric", "simple", "reference", "gain", "95 % interval", "pairs"],
        [
            [
                f"{point.gain.setting:g}", TITLES[point.metric], _number(point.simple), _number(point.reference),
                _signed(point.gain.difference), f"{_signed(point.gain.low)} to {_signed(point.gain.high)}", str(point.gain.pairs),
            ]
            for point in findings.curve
        ],
    )  # fmt: skip


def _method(account: Account) -> Iterator[str]:
    yield markdown_table(["figure", "what it is"], [[TITLES[name], words] for name, words in MEANING.items()])
    rows = [
        [name, _number(scale.ceiling), _number(scale.floor), str(scale.references), str(scale.impostors)]
        for name, scale in account.scales.items()
    ]
    yield markdown_table(
        ["character", "ceiling (true against true)", "floor (true against others)", "references", "others"], rows
    )
    roles = {**account.models, "measured with": account.recogniser}
    yield markdown_table(["role", "model"], [[role, str(name)] for role, name in roles.items()])
    yield account.rule
    if not account.choosing:
        yield "The network that measures is another than the one that chose and conditioned the images."
    yield (
        "A CLIPScore that frames were chosen by rises with the number of attempts: figures of the first attempts stand beside it, and "
        "how many attempts every arm was allowed is told where it is not the same."
    )


def _verdict(comparison: Comparison) -> str:
    if comparison.significant is None:
        return "not to be said"
    return "significant" if comparison.significant else "not significant"


def _estimate(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "-"
    shown = f"{estimate.mean:.3f}"
    return shown if estimate.low is None else f"{shown} ({estimate.low:.3f} to {estimate.high:.3f})"


def _tex_estimate(estimate: Estimate) -> str:
    if estimate.mean is None:
        return "--"
    if estimate.low is None:
        return f"${estimate.mean:.3f}$"
    return f"${estimate.mean:.3f}$ [{estimate.low:.3f}, {estimate.high:.3f}]"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:+.3f}"
