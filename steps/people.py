"""What raters of a user study said, made into figures and words for an ablation's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.report_parts import counted
from steps.measures.people import Answers, People, people
from steps.measures.preferences import Choice, Preferences
from steps.measures.ratings import CANT_TELL, Check, Opinion, Rating, Recognition, Steadiness, Verdict
from steps.study.answers import Answers as GivenAnswers
from steps.study.answers import RaterRow, read_answers
from steps.tables import bullets
from steps.tables import markdown_table as table

BEST_FIRST = ("reference", "simple", "adapter", "baseline")
"""The documents promise 4.0 of 5 of the best mode: of these the first that was shown."""


@dataclass(frozen=True)
class Told:
    """What people said, as an ablation tells it.

    Attributes:
        paragraphs: Markdown.
        document: The same as plain values.
        opinion: Mean opinion score of the best mode that was shown, and how many rated it; None where nobody did.
    """

    paragraphs: Sequence[str]
    document: dict[str, Any]
    opinion: tuple[float, int] | None


def asked(folder: str | None, *, leave_out_failed: bool = False) -> Told | None:
    """The answers of a study.

    Args:
        folder: The study's; None where nobody was asked.
        leave_out_failed: Whether raters who failed an attention check are left out; who they are is said either way.

    Raises:
        UserError: It is no study, or its files were changed.
    """
    if folder is None:
        return None
    given = read_answers(Path(folder))
    found = people(_answers(given), exclude_failed=leave_out_failed)
    told = [
        f"{counted(len(found.raters), 'rater')} of the study '{given.study}' saw frames blind and in random order.",
        bullets([*found.notes, *_remarks(given.raters)]),
        *_opinions(found),
        *_preferences(found.preferences, given.choice),
        _steadiness(found.steady_choices),
    ]
    document = {"study": given.study, "answers": [asdict(each) for each in given.raters], **asdict(found)}
    return Told([text for text in told if text], document, _best(found.opinions))


def _answers(given: GivenAnswers) -> Answers:
    return Answers(
        ratings=tuple(Rating(row.rater, _shown(row), row.arm, row.value) for row in given.quality),
        verdicts=tuple(
            Verdict(row.rater, _shown(row), row.arm, CANT_TELL if row.value == "cant_tell" else row.value)
            for row in given.identity
        ),
        choices=tuple(_choice(row) for row in given.pairs),
        checks=tuple(
            Check(row.rater, passed)
            for row in given.raters
            for passed in (True,) * row.checks_passed + (False,) * row.checks_failed
        ),
    )


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


def _remarks(raters: Sequence[RaterRow]) -> Iterator[str]:
    if unfinished := [each.rater for each in raters if not each.complete]:
        yield f"{len(unfinished)} did not finish ({', '.join(unfinished)}): what they answered counts."
    if hasty := sum(each.hasty for each in raters):
        yield f"{hasty} answers came faster than anybody could look: they count."


def _opinions(found: People) -> Iterator[str]:
    if not found.opinions:
        return
    by_arm = {each.arm: each for each in found.recognition}
    yield table(
        ["arm", "quality, 1 to 5", "answers", '"is this the character?" yes', "no", "can't tell"],
        [
            [each.arm, _score(each), str(each.n), *(_shares(by_arm[each.arm]) if each.arm in by_arm else ("-",) * 3)]
            for each in found.opinions
        ],
    )
    agreed = found.agreement
    if agreed.alpha is not None:
        yield f"Krippendorff's alpha (ordinal) over the quality ratings: {agreed.alpha:.2f}{_between(agreed.low, agreed.high)}."


def _preferences(preferred: Preferences, asked_for: str) -> Iterator[str]:
    if not preferred.choices:
        return
    yield f"Which of two is {asked_for}: {counted(preferred.choices, 'choice')}, strengths by Bradley and Terry."
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


def _steadiness(steady: Steadiness) -> str:
    if steady.equal is None:
        return ""
    return f"Pairs that were shown again with sides swapped: {steady.equal.count} of {steady.repeats} were decided as before."


def _score(opinion: Opinion) -> str:
    return f"{opinion.mean:.2f}{_between(opinion.low, opinion.high)}"


def _shares(seen: Recognition) -> tuple[str, str, str]:
    yes, no, cant_tell = (f"{100 * each.share:.0f} %" for each in (seen.yes, seen.no, seen.cant_tell))
    return yes, no, cant_tell


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
