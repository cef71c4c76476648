"""The file that a rater sends back: a stranger's, and so believed in nothing that can be checked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.library.documents import check
from steps.study.canonical import digest
from steps.study.schedule import Page, pages_of

FORMAT = "callsheet study answers 1"
QUALITY, IDENTITY, CHOICE = "quality", "identity", "choice"
YES, NO, CANT_TELL = "yes", "no", "cant_tell"
LEFT, RIGHT, NONE = "left", "right", "none"
VALUES: Mapping[str, tuple[int | str, ...]] = {
    QUALITY: (1, 2, 3, 4, 5),
    IDENTITY: (YES, NO, CANT_TELL),
    CHOICE: (LEFT, RIGHT, NONE),
}
MAX_BYTES = 5 * 1024 * 1024
MOST_LETTERS = 40
# Nobody sees a strip of images and judges it in less, milliseconds.
FASTEST_MS = 500
# A clock that is set right while somebody answers is no lie, milliseconds.
CLOCK_MS = 2000
_MS: Mapping[str, Any] = {"type": "integer", "minimum": -(2**53), "maximum": 2**53}
_PAGE: Mapping[str, Any] = {"type": "string", "maxLength": 40}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A rater's answers",
    "type": "object",
    "required": [
        "format",
        "study",
        "rater",
        "session",
        "started_at",
        "exported_at",
        "complete",
        "answers",
        "pages",
        "checksum",
    ],
    "additionalProperties": False,
    "properties": {
        "format": {"const": FORMAT},
        "study": {"type": "string", "maxLength": 40},
        "rater": {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS},
        "session": {"type": "string", "pattern": r"^[0-9a-f]{16}(?!\n)$"},
        "started_at": {"type": "integer", "minimum": 0, "maximum": 2**53},
        "exported_at": {"type": "integer", "minimum": 0, "maximum": 2**53},
        "complete": {"type": "boolean"},
        "answers": {
            "type": "array",
            "maxItems": 50_000,
            "items": {
                "type": "object",
                "required": ["page", "question", "value", "ms"],
                "additionalProperties": False,
                "properties": {
                    "page": _PAGE,
                    "question": {"type": "string", "maxLength": 40},
                    "value": {"type": ["integer", "string"]},
                    "ms": _MS,
                    "left": _PAGE,
                },
            },
        },
        "pages": {
            "type": "array",
            "maxItems": 50_000,
            "items": {
                "type": "object",
                "required": ["page", "ms"],
                "additionalProperties": False,
                "properties": {"page": _PAGE, "ms": _MS},
            },
        },
        "checksum": {"type": "string", "pattern": r"^[0-9a-f]{64}(?!\n)$"},
    },
}


@dataclass(frozen=True)
class Export:
    """A rater's answers, checked against the study.

    Attributes:
        document: As it came.
        pages: What the rater was to see, in order.
        expected: How many answers all of these need.
        hasty: Questions, as (page, question), answered faster than anybody can, or in a time that did not pass.
    """

    document: Mapping[str, Any]
    pages: tuple[Page, ...]
    expected: int
    hasty: frozenset[tuple[str, str]]

    @property
    def rater(self) -> str:
        """The name that was drawn or typed."""
        return str(self.document["rater"])

    @property
    def answered(self) -> int:
        """How many questions have an answer."""
        return len(self.document["answers"])

    @property
    def complete(self) -> bool:
        """Whether every question has one."""
        return self.answered == self.expected


def read_document(path: Path) -> dict[str, Any]:
    """A file that claims to be answers: of the schema, and with its own checksum.

    Raises:
        UserError: With the file and what is wrong.
    """
    if files.is_file(path) and path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes are no answers of one person: at most {MAX_BYTES:,}")
    document = files.read_json(path, finite=True)
    check(document, SCHEMA, str(path))
    found: dict[str, Any] = document
    if _checksum(found) != found["checksum"]:
        raise UserError(
            f"{path}: its checksum does not match: it was changed or cut off after it was saved; ask for the file again"
        )
    check_rater(found["rater"], str(path))
    return found


def check_rater(name: str, source: str) -> None:
    """Refuse a rater's name that the page would not have taken; it becomes a file's name."""
    files.plain_name(name, f"{source}, /rater")
    known = all(letter in "_ .-" or unicodedata.category(letter)[0] in "LMN" for letter in name)
    if not known or name[0] in " .-" or unicodedata.normalize("NFC", name) != name:
        raise UserError(
            f"{source}, /rater: {name!r} is not allowed: up to {MOST_LETTERS} letters, digits, blanks, dots, hyphens and underscores"
        )


def check_export(document: Mapping[str, Any], study: Mapping[str, Any], source: str) -> Export:
    """Hold answers against what their rater was asked.

    Args:
        document: From `read_document`.
        study: What the page knew.
        source: The file, for messages.

    Raises:
        UserError: Another study's, a page or question that this rater was not given, a value that is not among the choices, or two answers
            to one question.
    """
    if document["study"] != study["study"]:
        raise UserError(f"{source}: answers study {document['study']!r}, and this one is '{study['study']}'")
    pages = tuple(pages_of(study, document["rater"]))
    asked = {(page.page, question): page for page in pages for question in questions_of(study, page)}
    seen: set[tuple[str, str]] = set()
    for index, answer in enumerate(document["answers"]):
        where, place = f"{source}, /answers/{index}", (answer["page"], answer["question"])
        if place not in asked:
            raise UserError(
                f"{where}: '{document['rater']}' was not asked {answer['question']!r} on page {answer['page']!r}"
            )
        if place in seen:
            raise UserError(f"{where}: a second answer to {answer['question']!r} on page {answer['page']!r}")
        seen.add(place)
        _check_answer(where, answer, asked[place])
    known = {page.page for page in pages}
    for index, page in enumerate(document["pages"]):
        if page["page"] not in known:
            raise UserError(f"{source}, /pages/{index}: '{document['rater']}' was not shown page {page['page']!r}")
    export = Export(document, pages, len(asked), frozenset(_hasty(document)))
    if document["complete"] != export.complete:
        raise UserError(
            f"{source}: says complete = {document['complete']}, and has {export.answered} of {export.expected} answers"
        )
    return export


def questions_of(study: Mapping[str, Any], page: Page) -> tuple[str, ...]:
    """What is asked on a page."""
    if len(page.boards) == 2:
        return (CHOICE,)
    character = study["boards"][page.boards[0]]["character"]
    return (QUALITY, IDENTITY) if study["characters"].get(character) else (QUALITY,)


def _check_answer(where: str, answer: Mapping[str, Any], page: Page) -> None:
    allowed = VALUES[answer["question"]]
    # 3.0 and true equal whole numbers in Python.
    if not any(type(answer["value"]) is type(value) and answer["value"] == value for value in allowed):
        raise UserError(f"{where}/value: {answer['value']!r} is not allowed: {', '.join(map(str, allowed))}")
    left = page.boards[0] if len(page.boards) == 2 else None
    if answer.get("left") != left:
        raise UserError(f"{where}/left: {answer.get('left')!r} was not on the left of page {answer['page']!r}")


def _hasty(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Answers in a time that nobody needs or that there was not."""
    there_was = document["exported_at"] - document["started_at"]
    stayed: dict[str, int] = {}
    for page in document["pages"]:
        stayed[page["page"]] = stayed.get(page["page"], 0) + page["ms"]
    all_of_it = sum(stayed.values())
    for answer in document["answers"]:
        possible = FASTEST_MS <= answer["ms"] <= stayed.get(answer["page"], 0) and all_of_it <= there_was + CLOCK_MS
        if not possible:
            yield answer["page"], answer["question"]


def _checksum(document: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in document.items() if key != "checksum"})
