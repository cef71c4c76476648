"""What was seen in actors' training images: results.json of `validate_training`, as a person may have edited it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.files import plain_name
from steps.library import layout, training
from steps.library.documents import read_checked

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["total_processed", "results"],
    "properties": {
        "total_processed": {"type": "integer", "minimum": 0},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["actor_id", "actor_name", "success"],
                "properties": {
                    "actor_id": {"type": "integer", "minimum": 0},
                    "actor_name": {"type": "string"},
                    "success": {"type": "boolean"},
                    "error": {"type": ["string", "null"]},
                    "analysis": {"type": ["string", "null"]},
                    "images": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["number", "file", "sha256", "size", "where", "class", "quality"],
                            "properties": {
                                "number": {"type": "integer", "minimum": 1},
                                "file": {"type": "string", "minLength": 1, "maxLength": 255},
                                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64},
                                "size": {"type": "integer", "minimum": 0},
                                "where": {"enum": ["disk", "mirror"]},
                                "class": {"type": ["string", "null"], "minLength": 1, "maxLength": 200},
                                "quality": {"type": "integer", "minimum": 0, "maximum": 10},
                                "problem": {"type": ["string", "null"]},
                                "notes": {"type": "array", "items": {"type": "string"}},
                                "made_at": {"type": ["number", "null"]},
                            },
                        },
                    },
                    "unreadable": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["file", "why"],
                            "properties": {"file": {"type": "string"}, "why": {"type": "string"}},
                        },
                    },
                },
            },
        },
    },
}


@dataclass(frozen=True)
class EvaluatedImage:
    """A training image as it was seen.

    Attributes:
        number: On the composite; tells the actor's images apart.
        file: Its name in training_data.
        on_disk: False where only the mirror has it.
        kind: Its class; None for a broken file.
        quality: 1 to 10; 0 for a broken file or an exact copy.
        problem: Why it is 0, for people.
        made_at: Seconds since the epoch; 0 where nobody knows.
    """

    number: int
    file: str
    sha256: str
    size: int
    on_disk: bool
    kind: str | None
    quality: int
    problem: str = ""
    made_at: float = 0.0


@dataclass(frozen=True)
class Evaluation:
    """One actor's training images.

    Attributes:
        error: Why they could not be looked at; None where they were.
        analysis: What the vision backend said of the whole.
        images: All that could be opened, and those that are broken.
        unreadable: Other files that are images by their names, and why they could not be opened.
    """

    actor_id: int
    actor_name: str
    error: str | None = None
    analysis: str = ""
    images: tuple[EvaluatedImage, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()

    def counts(self) -> dict[str, int]:
        """Images by class, whatever their quality."""
        return dict(Counter(image.kind for image in self.images if image.kind is not None))


def read_evaluations(path: Path) -> tuple[int, list[Evaluation]]:
    """How many actors were looked at, and what was seen of each.

    Raises:
        UserError: Not such a file, or one with names that can't be or that stand there twice; with the JSON pointer.
    """
    document = read_checked(path, SCHEMA)
    rows = []
    seen: dict[str, int] = {}
    for index, row in enumerate(document["results"]):
        where = f"{path}, /results/{index}"
        name = plain_name(row["actor_name"], f"{where}/actor_name")
        if (first := seen.setdefault(layout.folded(name), index)) != index:
            raise UserError(f"{where}: {name!r} stands at /results/{first} already")
        error = None if row["success"] else row.get("error") or "no reason was given"
        images = tuple(_images(row.get("images") or (), where))
        unreadable = tuple((one["file"], one["why"]) for one in row.get("unreadable") or ())
        rows.append(Evaluation(row["actor_id"], name, error, row.get("analysis") or "", images, unreadable))
    return document["total_processed"], rows


def _images(rows: Any, where: str) -> Iterator[EvaluatedImage]:
    seen: set[object] = set()
    for index, row in enumerate(rows):
        here = f"{where}/images/{index}"
        file = plain_name(row["file"], f"{here}/file")
        if not training.is_image(file):
            raise UserError(f"{here}/file: {file!r} is no training image by its name")
        for value in (row["number"], layout.folded(file)):
            if value in seen:
                raise UserError(f"{here}: {value!r} stands there twice")
            seen.add(value)
        yield EvaluatedImage(
            number=row["number"],
            file=file,
            sha256=row["sha256"],
            size=row["size"],
            on_disk=row["where"] == "disk",
            kind=row["class"],
            quality=row["quality"],
            problem=_problem(row),
            made_at=row.get("made_at") or 0.0,
        )


def _problem(row: Mapping[str, Any]) -> str:
    if not row.get("problem"):
        return ""
    return ": ".join(filter(None, (row["problem"], "; ".join(row.get("notes") or ()))))
