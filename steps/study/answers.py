"""The answers of a study with what each id stands for: the only place where who drew what meets what people said."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.study.exports import CHOICE, IDENTITY, LEFT, NONE, QUALITY, Export, check_export, read_document
from steps.study.schedule import AGAIN
from steps.study.studies import Study, read_study


@dataclass(frozen=True)
class QualityRow:
    """How good a storyboard is to one rater.

    Attributes:
        rater: Who.
        item: The storyboard's id in the study.
        character: Who is drawn.
        story: Its name.
        seed: All noise came from it.
        arm: What drew it.
        value: 1 to 5, 5 is best.
        hasty: Answered in an impossible time.
    """

    rater: str
    item: str
    character: str
    story: str
    seed: int
    arm: str
    value: int
    hasty: bool = False


@dataclass(frozen=True)
class IdentityRow:
    """Whether a storyboard shows the character, to one rater; as `QualityRow`, but its value is "yes", "no" or "cant_tell"."""

    rater: str
    item: str
    character: str
    story: str
    seed: int
    arm: str
    value: str
    hasty: bool = False


@dataclass(frozen=True)
class PairRow:
    """Which of two storyboards one rater chose.

    Attributes:
        rater: Who.
        item: The pair's id in the study.
        character: Who is drawn.
        story: Its name.
        seed: All noise came from it.
        arm_a: Of the two arms the one that is first by name.
        arm_b: The other.
        choice: "a", "b" or "none" for no preference.
        swapped: Arm b was on the left.
        repeat: The pair was shown a second time: it measures steadiness and is no further vote.
        hasty: Answered in an impossible time.
    """

    rater: str
    item: str
    character: str
    story: str
    seed: int
    arm_a: str
    arm_b: str
    choice: str
    swapped: bool
    repeat: bool
    hasty: bool = False


@dataclass(frozen=True)
class RaterRow:
    """What is known of a rater, for deciding whether to trust the answers.

    Attributes:
        rater: Who.
        complete: Everything was answered.
        answered: How many questions.
        expected: Of how many.
        checks_passed: Attention checks answered as they said.
        checks_failed: Answered otherwise.
        repeats: Pairs answered twice.
        repeats_agreeing: Of these, the same storyboard both times, or no preference both times.
        median_seconds: On a page; None where no page was timed.
        hasty: Answers in impossible times.
    """

    rater: str
    complete: bool
    answered: int
    expected: int
    checks_passed: int
    checks_failed: int
    repeats: int
    repeats_agreeing: int
    median_seconds: float | None
    hasty: int


@dataclass(frozen=True)
class Answers:
    """All that people said of a study.

    Attributes:
        study: Its name.
        arms: All that were shown.
        choice: What was asked of pairs: which is more "consistent", or "better".
        quality: A row for each storyboard and rater, attention checks left out.
        identity: The same.
        pairs: A row for each pair and rater, repeats marked.
        raters: A row for each.
    """

    study: str
    arms: tuple[str, ...]
    choice: str
    quality: tuple[QualityRow, ...]
    identity: tuple[IdentityRow, ...]
    pairs: tuple[PairRow, ...]
    raters: tuple[RaterRow, ...]


def read_answers(folder: Path) -> Answers:
    """All answers that were added to a study.

    Args:
        folder: outputs/studies/NAME.

    Raises:
        UserError: It is no study, or a stored file was changed.
    """
    study = read_study(folder)
    exports = [
        check_export(read_document(path), study.page, str(path)) for path in sorted(study.answers.glob("[!.]*.json"))
    ]
    quality, identity, pairs = [], [], []
    for export in exports:
        for answer in export.document["answers"]:
            row = _row(study, export, answer)
            if isinstance(row, QualityRow):
                quality.append(row)
            elif isinstance(row, IdentityRow):
                identity.append(row)
            elif row is not None:
                pairs.append(row)
    raters = tuple(_rater(study, export) for export in exports)
    arms = tuple(study.key["answers"]["arms"])
    return Answers(study.name, arms, study.page["choice"], tuple(quality), tuple(identity), tuple(pairs), raters)


def _row(study: Study, export: Export, answer: Mapping[str, Any]) -> QualityRow | IdentityRow | PairRow | None:
    """What an answer says, unblinded; None for an attention check."""
    page, question = answer["page"], answer["question"]
    if page in study.key["answers"]["checks"]:
        return None
    hasty = (page, question) in export.hasty
    if question == CHOICE:
        return _pair(study, export, answer, hasty=hasty)
    about = study.key["answers"]["boards"][page]
    place = (export.rater, page, about["character"], about["story"], about["seed"], about["arm"])
    assert question in (QUALITY, IDENTITY)
    return (QualityRow if question == QUALITY else IdentityRow)(*place, answer["value"], hasty)


def _pair(study: Study, export: Export, answer: Mapping[str, Any], *, hasty: bool) -> PairRow:
    page = next(page for page in export.pages if page.page == answer["page"])
    left, right = (study.key["answers"]["boards"][board] for board in page.boards)
    first, second = sorted((left["arm"], right["arm"]))
    chosen = _chosen(answer, page.boards)
    arm = study.key["answers"]["boards"][chosen]["arm"] if chosen else None
    return PairRow(
        export.rater,
        page.page.removesuffix(AGAIN),
        left["character"],
        left["story"],
        left["seed"],
        first,
        second,
        choice="none" if arm is None else "a" if arm == first else "b",
        swapped=left["arm"] == second,
        repeat=page.page.endswith(AGAIN),
        hasty=hasty,
    )


def _chosen(answer: Mapping[str, Any], boards: tuple[str, ...]) -> str | None:
    """The storyboard that was chosen of two; None for no preference."""
    return None if answer["value"] == NONE else boards[0] if answer["value"] == LEFT else boards[1]


def _rater(study: Study, export: Export) -> RaterRow:
    pages = {page.page: page for page in export.pages}
    said: dict[str, Any] = {
        answer["page"]: _chosen(answer, pages[answer["page"]].boards)
        if answer["question"] == CHOICE
        else answer["value"]
        for answer in export.document["answers"]
        if answer["question"] != IDENTITY
    }
    checks = [said[page] == expected for page, expected in study.key["answers"]["checks"].items() if page in said]
    twice = [
        (said[page.removesuffix(AGAIN)], said[page])
        for page in said
        if page.endswith(AGAIN) and page.removesuffix(AGAIN) in said
    ]
    stayed = [page["ms"] / 1000 for page in export.document["pages"]]
    return RaterRow(
        export.rater,
        complete=export.complete,
        answered=export.answered,
        expected=export.expected,
        checks_passed=sum(checks),
        checks_failed=len(checks) - sum(checks),
        repeats=len(twice),
        repeats_agreeing=sum(first == second for first, second in twice),
        median_seconds=statistics.median(stayed) if stayed else None,
        hasty=len(export.hasty),
    )
