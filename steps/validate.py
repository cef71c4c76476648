"""Judge each actor's base image for clarity and likeness to its description. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from runner import files
from runner.doctor import Need
from runner.errors import ItemError, UserError
from runner.params import at_least, param
from runner.report_parts import Entry, ReportPart, Shown, counted, write_part
from runner.step import Item, Listed, Outcome, Results, StepContext
from steps import judging
from steps.backends.protocols import Vision
from steps.judging import BADGES, BLURRY, CREATE, ERROR, MISMATCH, REVIEW, SKIP, Assessment
from steps.library import pictures
from steps.library.actors import Actor, Library, library_need
from steps.library.thumbnails import thumbnail

RESULTS = "results.json"
SUMMARY = {
    SKIP: "skipped",
    CREATE: "created",
    BLURRY: "recreated_blurry",
    MISMATCH: "recreated_mismatch",
    ERROR: "errors",
    REVIEW: "review",
}


@dataclass(frozen=True)
class ValidateParams:
    """Which actors to look at, and how sure to be before an image is rejected."""

    actors: Any = param(None, help="ids, names, ranges (0-49), groups (@villains) or a list of them; null is everybody")
    sample: int | None = param(None, help="so many actors drawn by seed; null looks at all", check=at_least(1))
    votes: int = param(1, help="how many assessments must agree before a rejection counts", check=at_least(1))
    protect: list[int] = param([], help="ids of actors that are never proposed for change, nor looked at")
    accept_low_confidence: bool = param(False, help="a mismatch of low confidence counts, instead of going to review")
    prompt: str = param(
        judging.PROMPT, help="what the vision backend is asked; {description} and {outfit} are filled in"
    )
    truth: str | None = param(None, help="a truth.json of `callsheet sample`, to count how many verdicts agree with it")


@dataclass(frozen=True)
class Subject:
    """An actor with the base image that was found, or what is wrong with finding it."""

    actor: Actor
    image: Path | None
    problem: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to be done about one actor's base image, and why."""

    actor_id: int
    actor_name: str
    action: str
    reason: str
    image: str | None = None
    image_sha256: str | None = None
    image_notes: tuple[str, ...] = ()
    assessments: tuple[Assessment, ...] = ()


class Validate:
    """Judge each actor's base image for clarity and likeness to its description."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = True

    @classmethod
    def needs(cls, params: ValidateParams, data: Path) -> Iterable[Need]:  # noqa: ARG003 - the protocol's
        """For `callsheet doctor`."""
        yield library_need(data)

    def __init__(self, params: ValidateParams, context: StepContext, vision: Vision) -> None:
        self._params = params
        self._context = context
        self._vision = vision
        self._library = Library(context.data)

    def items(self) -> Listed[Actor, Subject]:
        """One item an actor.

        Raises:
            UserError: A selection that names nobody, or an id to protect that nobody has.
        """
        if unknown := sorted(set(self._params.protect) - {actor.id for actor in self._library.actors()}):
            raise UserError(
                f"{self._context.label}.protect: {unknown} are ids of nobody, so that somebody may not be protected who should be"
            )
        chosen = self._library.select(self._params.actors, sample=self._params.sample, seed=self._context.seed)
        return Listed(chosen, lambda actor: self._item(self._subject(actor)))

    def process(self, subject: Subject) -> Verdict:
        """Look at one actor."""
        actor = subject.actor
        if subject.problem is not None:
            raise ItemError(subject.problem)
        if actor.id in self._params.protect:
            return Verdict(actor.id, actor.name, SKIP, "Protected by steps.validate.protect: not looked at")
        if subject.image is None:
            return Verdict(actor.id, actor.name, CREATE, "No base image in any of its places")
        return self._look(actor, subject.image)

    def finish(self, results: Results[Verdict]) -> None:
        """Write results.json and the report's part."""
        verdicts = [self._accepted(_verdict_of(outcome)) for outcome in results]
        ids = {actor.name: actor.id for actor in self._library.actors()}
        rows = [_row(verdict, ids.get(verdict.actor_name, verdict.actor_id)) for verdict in verdicts]
        truth = _read_truth(self._params.truth)
        files.write_json(self._context.out / RESULTS, self._document(rows))
        write_part(self._context.out, self._report(verdicts, truth))

    def _subject(self, actor: Actor) -> Subject:
        try:
            return Subject(actor, self._library.base_image(actor, self._context.hashes))
        except ItemError as error:
            return Subject(actor, None, str(error))

    def _item(self, subject: Subject) -> Item[Subject]:
        params = self._params
        where = None if subject.image is None else self._relative(subject.image)
        # Whether low confidence is accepted is decided when results are written: it asks nobody anything.
        settings = (params.votes, subject.actor.id in params.protect, params.prompt, self._vision.identity)
        return Item(subject.actor.name, subject, (subject.actor, subject.image, where, subject.problem, *settings))

    def _look(self, actor: Actor, image: Path) -> Verdict:
        where = self._relative(image)
        sha256 = self._context.hashes.of(image)
        try:
            picture = pictures.load(image)
        except pictures.BrokenPicture as error:
            # No model is needed to see that nobody can see it.
            return Verdict(actor.id, actor.name, BLURRY, f"Clarity: {error}", where, sha256)
        assessments = self._vote(actor, picture)
        action, reason = self._decide(assessments)
        return Verdict(actor.id, actor.name, action, reason, where, picture.sha256, picture.notes, assessments)

    def _vote(self, actor: Actor, picture: pictures.Picture) -> tuple[Assessment, ...]:
        """Ask until one says that the image is good, or as often as `votes`."""
        votes: list[Assessment] = []
        while len(votes) < self._params.votes:
            votes.append(judging.assess(self._vision, actor, picture, self._params.prompt))
            if votes[-1].good:
                break
        return tuple(votes)

    def _decide(self, votes: Sequence[Assessment]) -> tuple[str, str]:
        last = votes[-1]
        if last.good:
            doubts = f" ({len(votes) - 1} of {len(votes)} assessments rejected it)" if len(votes) > 1 else ""
            return SKIP, last.reason + doubts
        action = BLURRY if any(vote.action == BLURRY for vote in votes) else MISMATCH
        sure = any(vote.confidence != "low" for vote in votes)
        if action == MISMATCH and not sure:
            return REVIEW, last.reason
        return action, last.reason

    def _accepted(self, verdict: Verdict) -> Verdict:
        """The verdict, with a mismatch of low confidence counted where the recipe says so."""
        if verdict.action == REVIEW and self._params.accept_low_confidence:
            return replace(verdict, action=MISMATCH)
        return verdict

    def _relative(self, image: Path) -> str:
        return image.relative_to(self._library.root).as_posix()

    def _document(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        counts = Counter(row["action"] for row in rows)
        return {
            "dry_run": not self._context.execute,
            "total_processed": len(rows),
            "summary": {name: counts.get(action, 0) for action, name in SUMMARY.items()},
            "library": {"path": str(self._library.root), "actors": len(self._library.actors())},
            "vision": self._vision.identity,
            "results": rows,
        }

    def _report(self, verdicts: Sequence[Verdict], truth: Mapping[str, str]) -> ReportPart:
        counts = Counter(verdict.action for verdict in verdicts)
        judged = [verdict for verdict in verdicts if verdict.actor_name in truth]
        right = [verdict for verdict in judged if truth[verdict.actor_name] == verdict.action]
        agreement = f" {len(right)} of {len(judged)} verdicts agree with the known truth." if judged else ""
        order = (BLURRY, MISMATCH, CREATE, REVIEW, ERROR, SKIP)
        return ReportPart(
            headline=f"{counted(len(verdicts), 'actor')} looked at, {sum(counts[action] for action in judging.CHANGES)} need a new base image.{agreement}",
            counts=[(BADGES[action].word, counts[action]) for action in order if counts[action]]
            + ([("agree with the truth", len(right))] if judged else []),
            entries=[self._entry(verdict, truth.get(verdict.actor_name)) for verdict in verdicts],
            warnings=[
                f"{verdict.actor_name}: expected {truth[verdict.actor_name]}, found {verdict.action}"
                for verdict in judged
                if verdict not in right
            ],
        )

    def _entry(self, verdict: Verdict, expected: str | None) -> Entry:
        actor = self._library.by_name(verdict.actor_name)
        shown: list[Shown] = []
        if verdict.image is not None and (
            name := thumbnail(self._library.root / verdict.image, self._context.out / "pictures", verdict.actor_name)
        ):
            shown.append(
                Shown(
                    f"{self._context.label}/pictures/{name}",
                    "before",
                    f"Base image of {verdict.actor_name} as it was found",
                )
            )
        facts = [("Image", PurePosixPath(verdict.image).name if verdict.image else "none")]
        confidence = ""
        if verdict.assessments:
            confidence = f"Confidence: {verdict.assessments[-1].confidence}"
            facts.append(("Confidence", verdict.assessments[-1].confidence))
        if verdict.image_notes:
            facts.append(("File", ", ".join(verdict.image_notes)))
        if expected is not None:
            facts.append(("Known truth", f"{expected} {'✓' if expected == verdict.action else '✗'}"))
        return Entry(
            key=verdict.actor_name,
            title=verdict.actor_name,
            subtitle=" · ".join(filter(None, (actor.description, actor.outfit))) if actor else "",
            badge=BADGES[verdict.action],
            pictures=shown,
            notes=verdict.reason.removesuffix(f" | {confidence}").split(" | ") if confidence else [verdict.reason],
            facts=facts,
        )


def _verdict_of(outcome: Outcome[Verdict]) -> Verdict:
    """A failed assessment is an error of its own: the image is taken as valid, and no plan touches it."""
    if outcome.result is not None:
        return outcome.result
    word = "Refused" if outcome.refused else "Assessment failed"
    return Verdict(-1, outcome.key, ERROR, f"{word}: {outcome.error}. The image is taken as valid.")


def _row(verdict: Verdict, actor_id: int) -> dict[str, Any]:
    return {
        "actor_id": actor_id,
        "actor_name": verdict.actor_name,
        "action": verdict.action,
        "reason": verdict.reason,
        "success": verdict.action != ERROR,
        "image": verdict.image,
        "image_sha256": verdict.image_sha256,
        "image_notes": list(verdict.image_notes),
        "assessment": asdict(verdict.assessments[-1]) if verdict.assessments else None,
        "votes": len(verdict.assessments),
    }


def _read_truth(path: str | None) -> Mapping[str, str]:
    if path is None:
        return {}
    document = files.read_json(Path(path))
    try:
        return {str(name): str(entry["expected"]) for name, entry in document["actors"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is no truth.json of `callsheet sample`: needs /actors/NAME/expected") from error
