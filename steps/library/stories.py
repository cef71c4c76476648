"""Stories as scenes: YAML files that people write, read and checked, and what is asked and scored of each scene.

recipes/stories/NAME.yaml · anywhere as a path. A scene speaks of its character as {who}, so that one story serves every character.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.resources import packaged
from runner.strangers import read_yaml
from steps.library.documents import check
from steps.library.shots import FACINGS, SHOTS, Shot

WHO = "{who}"
NOUN = "a person"
GESTURES = ("standing", "waving", "sitting", "riding")
LEVELS = ("simple", "medium", "complex", "short")
MOST_SCENES = 20
MOST_WORDS = 40
MOST_LETTERS = 400
MOST_TALE = 20_000
SUFFIXES = (".yaml", ".yml")
_ARTICLE = re.compile(r"\b(?:a|an|the) \{who\}", re.IGNORECASE)
_STARTS = re.compile(r"(?:^|[.!?] )$")

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A story",
    "type": "object",
    "required": ["title", "scenes"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 120},
        "level": {"enum": list(LEVELS)},
        "text": {"description": "The tale in prose, shown in the report.", "type": "string", "maxLength": MOST_TALE},
        "noun": {"description": "What scores call the character.", "type": "string", "minLength": 1, "maxLength": 60},
        "scenes": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_SCENES,
            "items": {
                "type": "object",
                "required": ["text"],
                "additionalProperties": False,
                "properties": {
                    "text": {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS},
                    "shot": {"enum": list(SHOTS)},
                    "gesture": {"enum": list(GESTURES)},
                    "facing": {"enum": list(FACINGS)},
                    "x": {"type": "number", "minimum": -1, "maximum": 1},
                },
            },
        },
    },
}


@dataclass(frozen=True)
class Scene:
    """One frame of a story.

    Attributes:
        text: What the frame shows, one line; {who} stands for the character, once or more.
        shot: How the character is taken, for poses.
    """

    text: str
    shot: Shot = Shot()


@dataclass(frozen=True)
class Story:
    """A story in scenes.

    Attributes:
        name: Plain enough for a file name.
        title: For people.
        scenes: In order.
        source: Where the scenes are from: a file, or the model that wrote them.
        text: The tale in prose; may be empty.
        noun: What the character is called where no image model must know it.
        level: One of LEVELS, or empty.
        notes: What a person should know of how the scenes came to be; may be empty.
    """

    name: str
    title: str
    scenes: Sequence[Scene]
    source: str
    text: str = ""
    noun: str = NOUN
    level: str = ""
    notes: str = ""


def read_story(path_or_name: str | Path) -> Story:
    """A story from its YAML file, by path or by the name of one that is shipped.

    Raises:
        UserError: It is not there, no YAML, or not of `SCHEMA`; with the path and the JSON pointer.
    """
    path = locate_story(path_or_name)
    document = read_yaml(path)
    check(document, SCHEMA, str(path))
    scenes = tuple(_scene(row, f"{path}, /scenes/{index}") for index, row in enumerate(document["scenes"]))
    words = {key: one_line(document[key]) for key in ("title", "noun") if key in document}
    for key, value in words.items():
        if fault := _fault_of_words(value):
            raise UserError(f"{path}, /{key}: {fault}")
    rest = {"text": document.get("text", "").strip(), "level": document.get("level", "")}
    return Story(name=path.stem, scenes=scenes, source=str(path), **words, **rest)


def locate_story(path_or_name: str | Path) -> Path:
    """The file of a story: a path that ends as YAML does, or a name looked for in ./recipes/stories and then among the shipped.

    Raises:
        UserError: There is none.
    """
    text = str(path_or_name)
    if text.endswith(SUFFIXES):
        if not Path(text).is_file():
            raise UserError(f"{text}: no such story file")
        return Path(text)
    for folder in _folders():
        # The names are the folder's own: nothing that is asked for is taken for a path.
        for path in _stories_in(folder):
            if path.stem == text:
                return path
    raise UserError(
        f"story {text[:80]!r}: none of this name is shipped ({', '.join(shipped_stories())}): give one of these, "
        f"the path of a YAML file, or the tale itself in more than one word"
    )


def shipped_stories() -> list[str]:
    """The names that `read_story` knows, in order."""
    return sorted({path.stem for folder in _folders() for path in _stories_in(folder)})


def is_story_file(text: str) -> bool:
    """Whether a text names a story (by path or by name) and is not itself a tale to be broken down: a tale has more than one word."""
    line = text.strip()
    return "\n" not in line and (line.endswith(SUFFIXES) or len(line.split()) == 1)


def prompt_of(scene: Scene, who: str) -> str:
    """The scene with the character's name or trigger word in the place of {who}."""
    return scene.text.replace(WHO, who)


def unnamed(text: str, name: str | None) -> str:
    """A text with `{who}` wherever it says the name: as whole words, in any capitals. An empty name is nowhere."""
    if not name or not name.strip():
        return text
    words = r"\s+".join(map(re.escape, name.split()))
    return re.sub(rf"(?<!\w){words}(?!\w)", WHO, text, flags=re.IGNORECASE)


def scored_text(scene: Scene, noun: str = NOUN) -> str:
    """The scene for models that do not know the character: a neutral noun in the place of {who}.

    Args:
        scene: The scene.
        noun: With its article ("a person"); from the second time on it has "the", as one would say it.
    """
    parts = _ARTICLE.sub(WHO, scene.text).split(WHO)
    text = parts[0]
    for number, part in enumerate(parts[1:]):
        word = noun if number == 0 else re.sub(r"^an? ", "the ", noun)
        text += (word[:1].upper() + word[1:] if _STARTS.search(text) else word) + part
    return text


def fault_of(text: str) -> str | None:
    """What is wrong with the text of a scene and what to do; None for a good one."""
    if fault := _fault_of_words(text):
        return fault
    if WHO not in text:
        return f"does not mention the character: write {WHO} where the character is"
    if "{" in text.replace(WHO, "") or "}" in text.replace(WHO, ""):
        return f"holds braces other than {WHO}: write it without"
    if len(text.split()) > MOST_WORDS:
        return f"has {len(text.split())} words: at most {MOST_WORDS}, for an image model reads no more"
    return None


def one_line(text: str) -> str:
    """The text with single spaces and no breaks."""
    return " ".join(text.split())


def _scene(row: Mapping[str, Any], where: str) -> Scene:
    text = one_line(row["text"])
    if fault := fault_of(text):
        raise UserError(f"{where}/text: {fault}")
    x = float(row.get("x", 0.0))
    if math.isnan(x):
        # It is neither below nor above a limit, so that no schema refuses it.
        raise UserError(f"{where}/x: NaN is no number from -1 (left) to 1 (right)")
    shot = Shot(
        kind=row.get("shot", "full"),
        gesture=row.get("gesture", "standing"),
        facing=row.get("facing", "front"),
        x=x,
    )
    return Scene(text, shot)


def _fault_of_words(text: str) -> str | None:
    if not text:
        return "is empty"
    return None if text.isprintable() else "holds control characters: write it without"


def _folders() -> tuple[Path, Path]:
    """Where stories are looked for by name."""
    return Path("recipes") / "stories", packaged("recipes") / "stories"


def _stories_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES) if folder.is_dir() else []
