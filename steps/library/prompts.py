"""Prompts for training images: a YAML file of them by class, who they are about, and which are chosen next."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ItemError, UserError
from runner.resources import packaged
from runner.strangers import read_yaml
from steps.library import layout
from steps.library.actors import Actor
from steps.library.documents import ACTOR_MANIFEST_SCHEMA, check, read_checked

DEFAULT_TYPE = "human"
_NAMES: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}


def _text_with(word: str) -> dict[str, Any]:
    """The schema of a text that holds {word}, once or more, and no other braces."""
    return {
        "type": "string",
        "maxLength": 4000,
        "allOf": [{"pattern": rf"\{{{word}\}}"}, {"pattern": rf"^(?:[^{{}}]|\{{{word}\}})*$"}],
    }


SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Prompts for training images",
    "type": "object",
    "required": ["subjects", "descriptors", "classes"],
    "additionalProperties": False,
    "properties": {
        "subjects": {
            "description": "How a prompt speaks of an actor of a type; {descriptor} is the manifest's.",
            "type": "object",
            "required": [DEFAULT_TYPE],
            "propertyNames": _NAMES,
            "additionalProperties": _text_with("descriptor"),
        },
        "descriptors": {
            "description": "The descriptor of an actor of a type whose manifest has none.",
            "type": "object",
            "required": [DEFAULT_TYPE],
            "propertyNames": _NAMES,
            "additionalProperties": _NAMES,
        },
        "classes": {
            "description": "The prompts of each class; {subject} is the actor.",
            "type": "object",
            "minProperties": 1,
            "propertyNames": _NAMES,
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": _text_with("subject"),
            },
        },
    },
}


@dataclass(frozen=True)
class PromptBook:
    """The prompts of a file, checked.

    Attributes:
        path: Where they are from.
        subjects: How a prompt speaks of an actor, with {descriptor}, by the actor's type.
        descriptors: What to call an actor whose manifest does not say, by type.
        classes: Prompts with {subject}, by class.
    """

    path: Path
    subjects: Mapping[str, str]
    descriptors: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: str | Path | None = None) -> PromptBook:
        """From a YAML file; None is the one that comes with the recipes.

        Raises:
            UserError: It is not there, no YAML, or not of `SCHEMA`; with the JSON pointer.
        """
        source = packaged("recipes") / "prompts" / "training_images.yaml" if path is None else Path(path)
        document = read_yaml(source)
        check(document, SCHEMA, str(source))
        if missing := sorted(set(document["subjects"]) - set(document["descriptors"])):
            raise UserError(f"{source}, /descriptors: none for {', '.join(missing)}: each of /subjects needs one")
        classes = {kind: tuple(prompts) for kind, prompts in document["classes"].items()}
        return cls(source, document["subjects"], document["descriptors"], classes)

    def for_class(self, kind: str) -> tuple[str, ...]:
        """A class's prompts, not filled.

        Raises:
            UserError: It has none.
        """
        if kind not in self.classes:
            raise UserError(
                f"{self.path}: no prompts for class '{kind}', only for {', '.join(self.classes)}: add them under classes"
            )
        return self.classes[kind]

    def subject(self, root: Path, actor: Actor) -> str:
        """How prompts speak of an actor of the library at `root`, by type and descriptor of the actor's manifest.

        Raises:
            ItemError: The manifest is broken, or says a type that the file has no subject for.
        """
        path = layout.actor_manifest(root, actor.id)
        try:
            manifest = read_checked(path, ACTOR_MANIFEST_SCHEMA) if path.is_file() else {}
        except UserError as error:
            raise ItemError(str(error)) from error
        return self.about(self._type(manifest, path), str(manifest.get("descriptor") or ""))

    def about(self, kind: str, descriptor: str = "") -> str:
        """How prompts speak of an actor of a type (a key of `subjects`) with a descriptor, if there is one."""
        word = " ".join(descriptor.split()) or self.descriptors[kind]
        return _filled(self.subjects[kind], "descriptor", word)

    def filled(self, kind: str, subject: str) -> tuple[str, ...]:
        """A class's prompts about a subject; raises as `for_class`."""
        return tuple(_filled(prompt, "subject", subject) for prompt in self.for_class(kind))

    def choose(self, kind: str, count: int, *, seed: int | str, subject: str, taken: Iterable[str] = ()) -> list[str]:
        """Prompts of a class for new images, filled; the same for the same arguments.

        Those least used come first: no prompt comes twice, and none that is taken, while there are others; when there are not
        enough, all are used again in turn, so that no prompt has two images more than another of its class, except by `taken`.

        Args:
            kind: The class.
            count: Prompts wanted.
            seed: Draws the order.
            subject: Whom they are about.
            taken: Prompts of the images that there are already, as filled; one that stands there twice counts twice.

        Raises:
            UserError: The class has no prompts.
        """
        prompts = list(self.filled(kind, subject))
        random.Random(f"prompts/{kind}/{seed}").shuffle(prompts)  # noqa: S311 - to be repeatable
        counts = Counter(map(_folded, taken))
        uses = {prompt: counts[_folded(prompt)] for prompt in prompts}
        chosen = []
        for _ in range(count):
            prompt = min(prompts, key=uses.__getitem__)
            uses[prompt] += 1
            chosen.append(prompt)
        return chosen

    def _type(self, manifest: Mapping[str, Any], path: Path) -> str:
        """The type that a manifest says, in any case; `type` may mean something else and counts only where it is one of ours."""
        known = {kind.casefold(): kind for kind in self.subjects}
        said = manifest.get("actor_type")
        if said is None or said == "":
            return known.get(str(manifest.get("type")).strip().casefold(), DEFAULT_TYPE)
        kind = known.get(str(said).strip().casefold())
        if kind is None:
            raise ItemError(
                f"{path}, /actor_type: {said!r} is none of {', '.join(self.subjects)}: add a subject for it in {self.path}"
            )
        return kind


def _filled(text: str, word: str, value: str) -> str:
    """In one pass, so that a value which holds braces stays as it is; with a capital letter where a sentence starts with it."""
    start = rf"(?P<start>^|[.!?]\s+)?\{{{word}\}}"
    capital = value[:1].upper() + value[1:]
    return re.sub(start, lambda found: value if found["start"] is None else found["start"] + capital, text)


def _folded(prompt: str) -> str:
    """A prompt without what editors change: case, breaks and double spaces."""
    return " ".join(prompt.split()).casefold()
