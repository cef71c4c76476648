"""All that a user study says, in one record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from steps.measures.preferences import Choice, Preferences, bradley_terry, choice_steadiness
from steps.measures.ratings import (
    Agreement,
    Check,
    Opinion,
    Rating,
    Recognition,
    Steadiness,
    Verdict,
    agreement,
    failed_raters,
    few_raters,
    mean_opinion,
    recognition,
    steadiness,
)


@dataclass(frozen=True)
class Answers:
    """What all raters answered."""

    ratings: tuple[Rating, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    choices: tuple[Choice, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def raters(self) -> tuple[str, ...]:
        """Everybody who answered anything, by name."""
        every: tuple[Rating | Verdict | Choice | Check, ...] = (
            *self.ratings,
            *self.verdicts,
            *self.choices,
            *self.checks,
        )
        return tuple(sorted({each.rater for each in every}))

    def without(self, raters: tuple[str, ...]) -> Answers:
        """What the others answered."""
        return Answers(
            tuple(each for each in self.ratings if each.rater not in raters),
            tuple(each for each in self.verdicts if each.rater not in raters),
            tuple(each for each in self.choices if each.rater not in raters),
            tuple(each for each in self.checks if each.rater not in raters),
        )


@dataclass(frozen=True)
class People:
    """What came of it.

    Attributes:
        raters: Whose answers count.
        failed: Who failed more attention checks than are allowed.
        excluded: Whose answers were left out for it.
        opinions: Mean opinion score by arm.
        recognition: "Is this the character?" by arm.
        agreement: Of the opinions.
        preferences: Of the pairs.
        steady_ratings: Test and retest of the opinions.
        steady_verdicts: Of whether it is the character.
        steady_choices: Of the pairs.
        notes: What to know before trusting any of it, in sentences.
    """

    raters: tuple[str, ...]
    failed: tuple[str, ...]
    excluded: tuple[str, ...]
    opinions: tuple[Opinion, ...]
    recognition: tuple[Recognition, ...]
    agreement: Agreement
    preferences: Preferences
    steady_ratings: Steadiness
    steady_verdicts: Steadiness
    steady_choices: Steadiness
    notes: tuple[str, ...]


def people(answers: Answers, *, exclude_failed: bool, allowed: int = 0, seed: int = 0) -> People:
    """What the raters say together.

    Args:
        answers: Of everybody.
        exclude_failed: Whether raters who failed attention checks are left out. Who failed is said either way.
        allowed: Attention checks that a rater may fail.
        seed: Of the bootstraps.

    Raises:
        ValueError: Somebody answered one question twice, and neither answer is marked as a repeat.
    """
    failed = failed_raters(answers.checks, allowed)
    excluded = failed if exclude_failed else ()
    kept = answers.without(excluded)
    found = People(
        raters=kept.raters,
        failed=failed,
        excluded=excluded,
        opinions=mean_opinion(kept.ratings, seed=seed),
        recognition=recognition(kept.verdicts),
        agreement=agreement(kept.ratings, seed=seed),
        preferences=bradley_terry(kept.choices, seed=seed),
        steady_ratings=steadiness(kept.ratings),
        steady_verdicts=steadiness(kept.verdicts),
        steady_choices=choice_steadiness(kept.choices),
        notes=(),
    )
    return replace(found, notes=tuple(_notes(answers, found)))


def _notes(answers: Answers, found: People) -> Iterator[str]:
    if few := few_raters(len(found.raters)):
        yield few
    if found.failed:
        what = "left out" if found.excluded else "kept"
        whose = "whose answers are" if len(found.failed) > 1 else "and the answers are"
        failed = ", ".join(found.failed)
        yield f"{len(found.failed)} of {len(answers.raters)} raters failed attention checks ({failed}), {whose} {what}."
    for said in (found.agreement.note, found.preferences.note):
        if said:
            yield said[0].upper() + said[1:] + "."
