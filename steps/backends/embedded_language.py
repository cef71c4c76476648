"""Language that ships with Callsheet: a small grammar which breaks a tale down into shots of the embedded world."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from runner.calls import Calls, Reply
from runner.errors import ItemError
from steps.backends.protocols import Answer, Question

# The modules that an answer comes from.
_GRAMMAR = (("steps.studio", "grammar.py"), ("steps.studio.models", "captions.py"))


@dataclass(frozen=True)
class EmbeddedLanguageSettings:
    """Nothing to set."""


class EmbeddedLanguage:
    """Breaks tales down by the words that it knows; it understands nothing else, and says so in the notes."""

    def __init__(self, settings: EmbeddedLanguageSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls

    @cached_property
    def identity(self) -> str:
        """Names the grammar by a digest of its code: another one is asked again, and nobody has to remember to raise a number."""
        digest = hashlib.sha256()
        for package, name in _GRAMMAR:
            digest.update(resources.files(package).joinpath(name).read_bytes())
        return f"embedded language {digest.hexdigest()[:12]}"

    def ask(self, question: Question) -> Answer:
        """Answer from the stated facts; the prose of the question is not read."""
        return self._calls.make(lambda: Reply(self._answer(question)))

    def estimate(self, question: Question) -> float | None:  # noqa: ARG002 - the protocol's
        """Free."""
        return 0.0

    def _answer(self, question: Question) -> Answer:
        answer = ANSWERS.get(question.name)
        if answer is None:
            raise ItemError(
                f"language=embedded can't answer questions of the kind '{question.name}': choose another language backend"
            )
        return Answer(data=answer(question), model=self.identity)


def _story(question: Question) -> dict[str, Any]:
    from steps.studio import grammar

    facts = question.facts
    told = grammar.tell(facts["story"], int(facts["least"]), int(facts["most"]))
    scenes = [
        {
            "text": grammar.line(beat),
            "shot": beat.kind,
            "gesture": beat.gesture,
            "facing": beat.facing,
            "side": beat.side,
        }
        for beat in told.beats
    ]
    return {"title": told.title, "scenes": scenes, "notes": told.notes}


ANSWERS: Mapping[str, Callable[[Question], dict[str, Any]]] = {"story": _story}
