"""Raters without a browser: the file that the page would save."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner import files
from steps.study.canonical import digest
from steps.study.exports import FORMAT, LEFT, QUALITY, RIGHT, VALUES, questions_of
from steps.study.schedule import Page, pages_of
from steps.study.studies import Study

Say = Callable[[Page, str], Any]


def answer(study: Study, rater: str, say: Say | None = None, **changes: Any) -> dict[str, Any]:
    """All of a rater's answers, attention checks as they ask; 4 seconds a page.

    Args:
        study: Which.
        rater: Who.
        say: What to answer on a page; None leaves a question out. By chance by default.
        changes: Top-level keys to set before the checksum is taken.
    """
    rng = random.Random(rater)
    checks = study.key["answers"]["checks"]
    pages, answers = pages_of(study.page, rater), []
    for page in pages:
        for question in questions_of(study.page, page):
            value = rng.choice(VALUES[question]) if say is None else say(page, question)
            if page.page in checks:
                value = checks[page.page] if question == QUALITY else _side(page, checks[page.page])
            if value is not None:
                entry = {"page": page.page, "question": question, "value": value, "ms": 3500}
                answers.append(entry | ({"left": page.boards[0]} if len(page.boards) == 2 else {}))
    expected = sum(len(questions_of(study.page, page)) for page in pages)
    document = {
        "format": FORMAT,
        "study": study.id,
        "rater": rater,
        "session": f"{rng.getrandbits(64):016x}",
        "started_at": 1_700_000_000_000,
        "exported_at": 1_700_000_900_000,
        "complete": len(answers) == expected,
        "answers": answers,
        "pages": [{"page": page.page, "ms": 4000} for page in pages],
    }
    return sealed(document | changes)


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """With the checksum that belongs to it."""
    bare = {key: value for key, value in document.items() if key != "checksum"}
    return bare | {"checksum": digest(bare)}


def send(folder: Path, document: dict[str, Any], name: str = "") -> Path:
    """A file as it would arrive."""
    path = folder / (name or f"answers-{len(list(folder.glob('*.json')))}.json")
    files.write_json(path, document)
    return path


def _side(page: Page, board: str) -> str:
    return LEFT if page.boards[0] == board else RIGHT
