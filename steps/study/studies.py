"""Studies on disk: `outputs/studies/NAME/` holds what only the maker may see, beside the folder that is handed out.

key.json      what each id stands for · study/  the page and its images · answers/RATER.json  what came back ·
replaced/  answers that later ones took the place of
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.errors import UserError
from steps.library.documents import read_checked

STUDIES, KEY, HANDED_OUT, ANSWERS = "studies", "key.json", "study", "answers"
_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": 10_000}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_ID: Mapping[str, Any] = {"type": "string", "pattern": r"^[0-9a-f]{16}(?!\n)$"}
_PAGES: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["page", "boards"],
        "properties": {"page": _ID, "boards": {"type": "array", "items": _ID, "minItems": 1, "maxItems": 2}},
    },
}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The key of a user study",
    "type": "object",
    "required": ["format", "inputs", "secret", "built_at", "handed_out", "page", "answers"],
    "properties": {
        "format": {"const": 1},
        "inputs": _TEXT,
        "secret": _TEXT,
        "built_at": _TEXT,
        "handed_out": _TEXT,
        "page": {
            "type": "object",
            "required": ["study", "choice", "characters", "boards", "rate", "pairs", "checks", "sees"],
            "properties": {
                "study": _ID,
                "choice": {"enum": ["consistent", "better"]},
                "characters": {"type": "object"},
                "boards": {"type": "object"},
                "rate": {"type": "array", "items": _ID},
                "pairs": _PAGES,
                "checks": _PAGES,
                "sees": {
                    "type": "object",
                    "required": ["rate", "pairs", "repeats"],
                    "properties": {"rate": _COUNT, "pairs": _COUNT, "repeats": _COUNT},
                },
            },
        },
        "answers": {
            "type": "object",
            "required": ["arms", "boards", "checks"],
            "properties": {
                "arms": {"type": "array", "items": _TEXT},
                "boards": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["character", "story", "seed", "arm"],
                        "properties": {"character": _TEXT, "story": _TEXT, "seed": {"type": "integer"}, "arm": _TEXT},
                    },
                },
                "checks": {"type": "object", "additionalProperties": {"type": ["integer", "string"]}},
            },
        },
    },
}


@dataclass(frozen=True)
class Study:
    """A study that was built.

    Attributes:
        folder: The maker's: outputs/studies/NAME.
        key: What key.json says.
    """

    folder: Path
    key: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def page(self) -> Mapping[str, Any]:
        """What the page knows."""
        found: Mapping[str, Any] = self.key["page"]
        return found

    @property
    def id(self) -> str:
        """What its answers name it by."""
        return str(self.page["study"])

    @property
    def answers(self) -> Path:
        """Where what came back lies."""
        return self.folder / ANSWERS


def folder_of(outputs: Path, name: str) -> Path:
    """Where a study of this name lies; a name that leads elsewhere is refused."""
    return outputs / STUDIES / files.plain_name(name, "--name")


def read_study(folder: Path) -> Study:
    """A study by the maker's folder.

    Raises:
        UserError: It holds no key, or a broken one.
    """
    if not files.is_file(folder / KEY):
        raise UserError(f"{folder} is no study (it has no {KEY}): build one with `callsheet study build RUNS`")
    return Study(folder, read_checked(folder / KEY, SCHEMA))


def studies_in(outputs: Path) -> Iterator[Study]:
    """All studies below an outputs folder, by name."""
    for key in sorted((outputs / STUDIES).glob(f"*/{KEY}")):
        yield read_study(key.parent)


def the_study(outputs: Path, name: str | None) -> Study:
    """The study of a name, or the only one there is.

    Raises:
        UserError: There is none, or several and no name.
    """
    if name is not None:
        return read_study(folder_of(outputs, name))
    found = list(studies_in(outputs))
    if not found:
        raise UserError(f"{outputs / STUDIES} has no study: build one with `callsheet study build RUNS`")
    if len(found) > 1:
        raise UserError(
            f"{outputs / STUDIES} has several studies: choose one with --name: {', '.join(each.name for each in found)}"
        )
    return found[0]
