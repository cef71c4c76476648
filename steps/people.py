"""What raters of a user study said, made into figures and words for an ablation's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steps.ablation_text import bullets, table
from steps.measures.preferences import Choice, Preferences, bradley_terry, choice_steadiness
from steps.measures.ratings import (
    CANT_TELL,
    Agreement,
    Opinion,
    Rating,
    Recognition,
    Share,
    Verdict,
    agreement,
    few_raters,
    mean_opinion,
    recognition,
)
from steps.study.answers import Answers, RaterRow, read_answers

BEST_FIRST = ("reference", "simple", "adapter", "baseline")
"""The documents promise 4.0 of 5 of the best mode: of these the first that was shown."""


@dataclass(frozen=True)
class People:
    """What people said.

    Attributes:
        paragraphs: Markdown.
        document: The same as plain values.
        opinion: Mean opinion score of the best mode that was shown, and how many rated it; None where nobody did.
    """

    paragraphs: Sequence[str]
    document: dict[str, Any]
    opinion: tuple[float, int] | None


def asked(folder: str | None, *, leave_out_failed: bool = False) -> People | None:
    """The answers of a study.

    Args:
        folder: The study's; None where nobody was asked.
        leave_out_failed: Whether raters who failed an attention check are left out; who they are is said either way.

    Raises:
        UserError: It is no study, or its files were changed.
    """
    if folder is None:
        return None
    answers = read_answers(Path(folder))
    failed = [each.rater for each in answers.raters if each.checks_failed]
    out = set(failed if leave_out_failed else ())
    opinions = mean_opinion(
        Rating(row.rater, _shown(row), row.arm, row.value) for row in answers.quality if row.rater not in out
    )
    seen = recognition(
        Verdict(row.rater, _shown(row), row.arm, CANT_TELL if row.value == "cant_tell" else row.value)
        for row in answers.identity
        if row.rater not in out
    )
    agreed = agreement(
        Rating(row.rater, _shown(row), row.arm, row.value) for row in answers.quality if row.rater not in out
    )
    choices = [_choice(row) for row in answers.pairs if row.rater not in out]
    preferred, steady = bradley_terry(choices), choice_steadiness(choices)
    document = {
        "study": answers.study,
        "raters": [asdict(each) for each in answers.raters],
        "failed_attention_checks": failed,
        "left_out": sorted(out),
        "opinion": {each.arm: asdict(each) for each in opinions},
        "recognition": {each.arm: asdict(each) for each in seen},
        "agreement": asdict(agreed),
        "preferences": asdict(preferred),
        "steadiness": asdict(steady),
    }
    number = len({each.rater for each in answers.raters} - out)
    told = [
        few_raters(number),
        f"{number} people answered the study '{answers.study}', blind and in random order.",
        *_attention(answers.raters, failed, out),
        *_opinions(opinions, seen, agreed),
        *_preferences(preferred, answers),
        _steadiness(steady.equal, steady.repeats),
    ]
    return People([text for text in told if text], document, _best(opinions))


def _shown(row: Any) -> str:
    """What was shown, the same for all arms."""
    return f"{row.character}, {row.story}, {row.seed}"


def _choice(row: Any) -> Choice:
    winner = {"a": row.arm_a, "b": row.arm_b}.get(row.choice)
    left, right = (row.arm_b, row.arm_a) if row.swapped else (row.arm_a, row.arm_b)
    return Choice(row.rater, _shown(row), left, right, winner, row.repeat)


def _best(opinions: Sequence[Opinion]) -> tuple[float, int] | None:
    found = {each.arm: each for each in opinions}
    best = next((found[arm] for arm in BEST_FIRST if arm in found), None)
    return None if best is None else (best.mean, best.raters)


def _attention(raters: Sequence[RaterRow], failed: Sequence[str], out: set[str]) -> Iterator[str]:
    unfinished = [each.rater for each in raters if not each.complete]
    said = []
    if failed:
        became = "they are left out" if out else "their answers count"
        said.append(f"{len(failed)} failed an attention check ({', '.join(failed)}): {became}")
    if unfinished:
        said.append(f"{len(unfinished)} did not finish ({', '.join(unfinished)}): what they answered counts")
    if hasty := sum(each.hasty for each in raters):
        said.append(f"{hasty} answers came faster than anybody could look: they count")
    if said:
        yield bullets(said)


def _opinions(opinions: Sequence[Opinion], seen: Sequence[Recognition], agreed: Agreement) -> Iterator[str]:
    if not opinions:
        return
    by_arm = {each.arm: each for each in seen}
    yield table(
        ["arm", "quality, 1 to 5", "answers", '"is this the character?" yes', "no", "can't tell"],
        [
            [each.arm, _score(each), str(each.n), *(_shares(by_arm[each.arm]) if each.arm in by_arm else ("-",) * 3)]
            for each in opinions
        ],
    )
    if agreed.alpha is None:
        yield f"Krippendorff's alpha (ordinal): {agreed.note}."
    else:
        yield f"Krippendorff's alpha (ordinal) over the quality ratings: {agreed.alpha:.2f}{_between(agreed.low, agreed.high)}."


def _preferences(preferred: Preferences, answers: Answers) -> Iterator[str]:
    if not preferred.choices:
        return
    yield f"Which of two shows the story {answers.choice}: {preferred.choices} choices, strengths by Bradley and Terry."
    yield table(
        ["arm", "strength (logits)", "preferred over an average arm", "won", "lost", "neither"],
        [
            [
                each.arm,
                "-" if each.strength is None else f"{each.strength:+.2f}{_between(each.low, each.high)}",
                "-" if each.preferred is None else f"{100 * each.preferred:.0f} %",
                str(each.wins),
                str(each.losses),
                str(each.ties),
            ]
            for each in preferred.arms
        ],
    )
    if preferred.note:
        yield f"{preferred.note}."


def _steadiness(equal: Share | None, repeats: int) -> str:
    if equal is None:
        return ""
    return f"Pairs that were shown again with sides swapped: {equal.count} of {repeats} were decided as before."


def _score(opinion: Opinion) -> str:
    return f"{opinion.mean:.2f}{_between(opinion.low, opinion.high)}"


def _shares(seen: Recognition) -> tuple[str, str, str]:
    yes, no, cant_tell = (f"{100 * each.share:.0f} %" for each in (seen.yes, seen.no, seen.cant_tell))
    return yes, no, cant_tell


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
