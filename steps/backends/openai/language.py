"""Language through chat completions: the same call as vision's, of text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.calls import Calls
from runner.errors import ItemError
from runner.params import at_least, between, param
from steps.backends.openai.chat import Chat, ChatSettings
from steps.backends.protocols import Question


@dataclass(frozen=True)
class OpenAILanguageSettings(ChatSettings):
    """Which model writes, and how freely."""

    temperature: float | None = param(0.7, help="null sends none, for models that take none", check=between(0, 2))
    max_tokens: int = param(1500, help="most tokens of an answer", check=at_least(16))
    timeout_s: float = param(120.0, help="seconds for a whole answer", check=at_least(0.01), operational=True)


class OpenAILanguage(Chat):
    """Language through any OpenAI-compatible chat endpoint."""

    def __init__(self, settings: OpenAILanguageSettings, calls: Calls) -> None:
        super().__init__(settings, calls)

    def _parts(self, question: Question) -> Sequence[Mapping[str, Any]]:
        if question.images:
            raise ItemError("language=openai looks at no images: ask a vision backend")
        return ()
