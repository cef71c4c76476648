"""What raters of a user study said, made into figures and words for an ablation's results."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.report_parts import counted
from steps.measures.people import Answers, People, people
from steps.measures.preferences import Choice, Preferences
from steps.measures.ratings import CANT_TELL, Check, Opinion, Rating, Recognition, Steadiness, Verdict
from steps.study.answers import Answers as GivenAnswers
from steps.study.answers import RaterRow, read_answers
from steps.study.studies import read_study
from steps.tables import bullets, markdown_table, plain

BEST_FIRST = ("reference", "simple", "adapter", "baseline")
"""The documents promise 4.0 of 5 of the best mode: of these the first that was shown."""
ASKED = {"consistent": "more consistent", "better": "better"}
"""What a study asks of two storyboards, in words."""
Cell = tuple[str, str, int]
"""Character, story, seed."""


@dataclass(frozen=True)
class Told:
    """What people said, as an ablation tells it.

    Attributes:
        paragraphs: Markdown.
        document: The same as plain values.
        opinion: Of the best mode that was shown; None where nobody rated it, or where all that was rated is not what was measured.
    """

    paragraphs: Sequence[str]
    document: dict[str, Any]
    opinion: Opinion | None


def asked(folder: str | None, *, leave_out_failed: bool = False, cells: Collection[Cell] | None = None) -> Told | None:
    """The answers of a study.

    Args:
        folder: The study's; None where nobody was asked.
        leave_out_failed: Whether raters who failed an attention check are left out; who they are is said either way.
        cells: Of the storyboards that the answers are told beside; None asks nothing. A study of others is said to be one.

    Raises:
        UserError: It is no study, or its files were changed.
    """
    if folder is None:
        return None
    given = read_answers(Path(folder))
    found = people(_answers(given), exclude_failed=leave_out_failed)
    shown = _shown_in(folder)
    others = [] if cells is None else _others(shown, cells)
    told = [
        f"{counted(len(found.raters), 'rater')} of the study '{plain(given.study)}' saw frames blind and in random order.",
        bullets([*found.notes, *_not_measured(others, len(shown)), *_remarks(given.raters)]),
        *_opinions(found),
        *_preferences(found.preferences, ASKED[given.choice]),
        _steadiness(found.steady_choices),
    ]
    document = {
        "study": given.study,
        "storyboards": len(shown),
        "not_measured": None if cells is None else len(others),
        "answers": [asdict(each) for each in given.raters],
        **asdict(found),
    }
    opinion = None if others and len(others) == len(shown) else _best(found.opinions)
    return Told([text for text in told if text], document, opinion)


def _shown_in(folder: str) -> list[Cell]:
    """The cell of every storyboard that the study shows."""
    boards = read_study(Path(folder)).key["answers"]["boards"].values()
    return [(each["character"], each["story"], each["seed"]) for each in boards]


def _others(shown: Sequence[Cell], cells: Collection[Cell]) -> list[Cell]:
    """Those that are none of `cells`."""
    known = set(cells)
    # Storyboards need not say who is drawn, and are told by story and seed then.
    nameless = {cell[1:] for cell in known}
    return [cell for cell in shown if (cell not in known if cell[0] else cell[1:] not in nameless)]


def _not_measured(others: Sequence[Cell], shown: int) -> Iterator[str]:
    if not others:
        return
    if len(others) == shown:
        yield (
            f"None of the study's {counted(shown, 'storyboard')} is among those measured here: what people said is of other pictures, "
            f"and no claim is held against it. Give the study that was built of these runs."
        )
        return
    character, story, seed = others[0]
    yield (
        f"{len(others)} of the study's {counted(shown, 'storyboard')} are not among those measured here (the first: {story}, seed {seed}"
        f"{f' of {character}' if character else ''}): what people said of them counts as well."
    )


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


def _best(opinions: Sequence[Opinion]) -> Opinion | None:
    found = {each.arm: each for each in opinions}
    return next((found[arm] for arm in BEST_FIRST if arm in found), None)


def _remarks(raters: Sequence[RaterRow]) -> Iterator[str]:
    if unfinished := [each.rater for each in raters if not each.complete]:
        yield f"{len(unfinished)} did not finish ({', '.join(unfinished)}): what they answered counts."
    if hasty := sum(each.hasty for each in raters):
        yield f"{hasty} answers came faster than anybody could look: they count."


def _opinions(found: People) -> Iterator[str]:
    if not found.opinions:
        return
    by_arm = {each.arm: each for each in found.recognition}
    yield markdown_table(
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
    yield markdown_table(
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
