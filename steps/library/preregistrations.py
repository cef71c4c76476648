"""What a comparison is to show, fixed before the first frame is drawn: kept as a file that says when it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from runner.errors import UserError
from steps.library.documents import read_checked

FILE = "preregistration.json"
FORMAT = 1
KIND, VERSION = "preregistration", 2
"""Of the artifact that keeps the time of its first writing."""
METRICS = ("likeness", "consistency", "frame1", "copy_paste", "clip", "detection_rate")
"""What arms are compared in, as `steps.measures.faces` defines them; clip is the CLIPScore."""
_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 400}}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A preregistration",
    "type": "object",
    "required": ["primary", "comparisons", "arms", "stories", "seeds", "characters", "retries", "written_at"],
    "properties": {
        "primary": {"$ref": "#/$defs/comparison"},
        "comparisons": {"type": "array", "items": {"$ref": "#/$defs/comparison"}},
        "arms": _TEXTS,
        "stories": _TEXTS,
        "seeds": {"type": "array", "items": {"type": "integer"}},
        "characters": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 400}},
        "retries": {"type": ["integer", "null"]},
        "settings": {"type": "object"},
        "models": {"type": "object", "additionalProperties": {"type": "string"}},
        "chosen_on": {"type": ["string", "null"]},
        "written_at": {"type": "string", "format": "date-time"},
    },
    "$defs": {
        "comparison": {
            "type": "object",
            "required": ["a", "b", "metric"],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "metric": {"enum": list(METRICS)}},
        }
    },
}


@dataclass(frozen=True)
class Contrast:
    """A question of a comparison: is arm `a` above arm `b` in a metric?"""

    a: str
    b: str
    metric: str

    def __str__(self) -> str:
        return f"{self.a} against {self.b} in {self.metric}"


@dataclass(frozen=True)
class Preregistration:
    """What was fixed.

    Attributes:
        primary: The one question that the study stands on.
        comparisons: All questions, one family for Holm's correction; the primary one is among them.
        arms: Modes that are drawn.
        stories: Names of stories that are drawn.
        seeds: Seeds that each is drawn with.
        characters: Who is drawn: what storyboards call them, and who that is.
        retries: Attempts beyond the first that every arm gets; None where it was not fixed.
        settings: What else is alike or chosen beforehand (scales, guidance).
        models: What draws, chooses and measures, by kind of backend.
        chosen_on: Who these settings were chosen on: nobody of `characters`.
        written_at: ISO time in UTC.
    """

    primary: Contrast
    comparisons: tuple[Contrast, ...]
    arms: tuple[str, ...]
    stories: tuple[str, ...]
    seeds: tuple[int, ...]
    characters: Mapping[str, str]
    retries: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    chosen_on: str | None = None
    written_at: str = ""

    @property
    def boards(self) -> int:
        """How many storyboards it asks for."""
        return len(self.arms) * len(self.stories) * len(self.seeds) * len(self.characters)

    @property
    def moment(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self.written_at)

    @property
    def question(self) -> Preregistration:
        """Without the time: what its artifact is named by."""
        return replace(self, written_at="")

    def document(self) -> dict[str, Any]:
        """As it is written."""
        return {"format": FORMAT, **asdict(self)}


_TYPE: TypeAdapter[Preregistration] = TypeAdapter(Preregistration)


def from_document(document: Mapping[str, Any]) -> Preregistration:
    """The values of a document of `SCHEMA`."""
    return _TYPE.validate_python({name: value for name, value in document.items() if name != "format"})


def read_preregistrations(path: Path) -> list[Preregistration]:
    """From its file, from the folder of the step or the run that wrote it, or from a sweep: one of each job.

    Raises:
        UserError: It is not there, not of `SCHEMA`, or makes no sense.
    """
    files = _files(path)
    if not files:
        raise UserError(f"{path}: no {FILE} there: give the folder of the step preregister, of its run, or of a sweep")
    return [_read(file) for file in files]


def together(found: Sequence[Preregistration], source: Path) -> Preregistration:
    """What the jobs of a sweep ask: the same questions of more arms, stories and seeds; asked since the first was written.

    Raises:
        UserError: They ask different questions.
    """
    whole = found[0]
    for each in found[1:]:
        whole = _both(whole, each, source)
    return whole


def wrong(plan: Preregistration) -> str | None:
    """What makes no sense in it; None where nothing does."""
    if plan.primary not in plan.comparisons:
        return f"its primary question, {plan.primary}, is none of its comparisons"
    if len(set(plan.comparisons)) < len(plan.comparisons):
        return "it asks one question twice, which would be corrected for as two"
    if same := [each for each in plan.comparisons if each.a == each.b]:
        return f"it holds arm '{same[0].a}' against itself"
    if plan.chosen_on is not None and plan.chosen_on in {*plan.characters, *plan.characters.values()}:
        return f"its settings were chosen on '{plan.chosen_on}', who is measured: take another character"
    return None


def _read(file: Path) -> Preregistration:
    plan = from_document(read_checked(file, SCHEMA))
    if fault := wrong(plan):
        raise UserError(f"{file}: {fault}")
    try:
        dated = plan.moment.tzinfo is not None
    except ValueError:
        dated = False
    if not dated:
        raise UserError(f"{file}, /written_at: {plan.written_at[:60]!r} is no ISO time with its zone")
    return plan


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / FILE).is_file():
        return [path / FILE]
    return sorted([*path.glob(f"*/{FILE}"), *path.glob(f"jobs/*/*/{FILE}")])


def _both(one: Preregistration, other: Preregistration, source: Path) -> Preregistration:
    fixed = ("primary", "comparisons", "retries", "settings", "models", "chosen_on")
    if unlike := [name for name in fixed if getattr(one, name) != getattr(other, name)]:
        raise UserError(f"{source}: its jobs do not have the same {unlike[0]}: compare those that do")
    drawn: dict[str, Any] = {
        name: tuple(dict.fromkeys((*getattr(one, name), *getattr(other, name))))
        for name in ("arms", "stories", "seeds")
    }
    characters = {**one.characters, **other.characters}
    return replace(
        one, **drawn, characters=characters, written_at=min(one, other, key=lambda each: each.moment).written_at
    )
