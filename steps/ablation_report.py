"""What an ablation found, as results.json and as its part of the report; and what the documents' claims are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from runner.report_parts import Badge, Entry, Frame, ReportPart, counted
from steps.ablating import Findings
from steps.ablation_text import TITLES, Account, notice_of, sentence_of, short_sentence_of
from steps.claims import Claim, Evidence
from steps.library.preregistrations import METRICS
from steps.library.storyboards import DrawnStoryboard
from steps.measured_boards import MeasuredBoard, mean_of
from steps.people import Told

RESULTS = "results.json"
FORMAT = 1
Arms = Mapping[str, Sequence[MeasuredBoard]]


def evidence(
    arms: Arms,
    findings: Findings,
    drawn: DrawnStoryboard,
    *,
    training: Sequence[Mapping[str, Any]],
    captions: Sequence[Mapping[str, Any]],
    people: Told | None,
) -> Evidence:
    """What claims are held against.

    Args:
        arms: Storyboards by arm.
        findings: What was found of them.
        drawn: Any of them, for what drew and judged it.
        training: Results of trainings.
        captions: Results of captionings.
        people: What raters said.
    """
    boards = [board for those in arms.values() for board in those]
    return Evidence(
        arms=findings.arms,
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
        threshold=drawn.settings.get("threshold"),
        passed=fmean(frame.passed for board in boards for frame in board.frames),
        diffusion=str(drawn.models.get("diffusion")),
        clip=str(drawn.models.get("clip")),
        training=training,
        captions=captions,
        opinion=people.opinion if people else None,
    )


def document(account: Account, arms: Arms, people: Told | None) -> dict[str, Any]:
    """results.json."""
    findings = account.findings
    return {
        "format": FORMAT,
        "purpose": "choose" if account.choosing else "report",
        "notice": notice_of(account),
        "arms": {arm: {metric: asdict(each) for metric, each in found.items()} for arm, found in findings.arms.items()},
        "comparisons": [asdict(each) for each in findings.comparisons],
        "comparisons_by_character": {
            who: [asdict(each) for each in found] for who, found in findings.by_character.items()
        },
        "primary": None if findings.primary is None else asdict(findings.primary),
        "exploratory": findings.exploratory,
        "fixed_first": findings.fixed_first,
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
        "frames": "frames.csv",
        "plots": [file for file, _ in account.plots],
        "notes": list(account.notes),
    }


def part(account: Account, arms: Arms, label: str, text: str) -> ReportPart:
    """The step's part of the report.

    Args:
        account: All that is told.
        arms: Storyboards by arm.
        label: The step's folder in the run.
        text: The file in it that tells all.
    """
    findings = account.findings
    boards = sum(findings.boards.values())
    first = findings.primary or next(iter(findings.comparisons), None)
    found = sentence_of(first) if first is not None else "Nothing is compared."
    return ReportPart(
        headline=f"{counted(boards, 'storyboard')} in {counted(len(arms), 'arm')} measured. {found} {notice_of(account)}".strip(),
        counts=[(f"storyboards, {arm}", number) for arm, number in findings.boards.items()],
        entries=[_comparison(account, label, text), _claims(account.claims)],
        warnings=[*findings.deviations, *account.notes],
    )


def _comparison(account: Account, label: str, text: str) -> Entry:
    """A card as wide as the page, with the plots large enough to be read."""
    findings = account.findings
    shown = [Frame(f"{label}/{file}", Path(file).stem.replace("_", " "), words) for file, words in account.plots]
    means = [
        (f"{arm}: {TITLES[metric]}", f"{found[metric].mean:.3f}")
        for arm, found in findings.arms.items()
        for metric in METRICS
        if found[metric].mean is not None
    ]
    notice = notice_of(account)
    refused = dict.fromkeys(each.note for each in findings.comparisons if each.note)
    alone = [
        f"{who} alone: {short_sentence_of(each)}" for who, those in findings.by_character.items() for each in those
    ]
    return Entry(
        key="comparison",
        title="Arms compared",
        badge=Badge("compared", "compared", "⇄", "neutral"),
        subtitle=f"faces measured by {account.recogniser}",
        notes=[*([notice] if notice else []), *map(short_sentence_of, findings.comparisons), *refused, *alone],
        facts=[*means, ("In full", f"{label}/{text}")],
        strip=shown,
    )


def _claims(told: Sequence[Claim]) -> Entry:
    return Entry(
        key="claims",
        title="What the documents claim",
        badge=Badge("claims", "claims checked", "?", "neutral"),
        subtitle=", ".join(f"{count} {verdict}" for verdict, count in Counter(each.verdict for each in told).items()),
        facts=[(each.claim, f"{each.verdict}{': ' if each.measured else ''}{each.measured}") for each in told],
    )


def _plain(board: MeasuredBoard) -> dict[str, Any]:
    return {name: value for name, value in asdict(board).items() if name not in ("frames", "folder", "notes")}
