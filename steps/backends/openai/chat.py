"""One strict JSON answer through chat completions: the most portable call, which Ollama, vLLM and llama.cpp answer too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.calls import Calls, Reply
from runner.doctor import Need, limits_need
from runner.errors import BadAnswer, Refused
from runner.params import at_least, between, param
from runner.rates import LimitSettings
from steps.backends import prices
from steps.backends.answers import checked
from steps.backends.openai import client as edge
from steps.backends.protocols import Answer, Question

# Two bytes a token is more than any language that was measured needs in JSON or prose; the estimate is to be a maximum.
BYTES_A_TOKEN = 2


@dataclass(frozen=True)
class ChatSettings:
    """Which model answers, and how."""

    model: str = param("gpt-4.1-mini", help="a model that takes strict JSON schemas")
    base_url: str | None = param(None, help="another server of the same protocol; null is OPENAI_BASE_URL or OpenAI")
    key_env: str = param("OPENAI_API_KEY", help="the environment variable that holds the key", operational=True)
    temperature: float | None = param(0.2, help="null sends none, for models that take none", check=between(0, 2))
    max_tokens: int = param(500, help="most tokens of an answer", check=at_least(16))
    timeout_s: float = param(60.0, help="seconds for a whole answer", check=at_least(0.01), operational=True)
    prices: str | None = param(
        None, help="a price file of your own (steps/backends/prices.yaml shows its form)", operational=True
    )
    limits: LimitSettings = field(default_factory=LimitSettings)


class Chat:
    """Any OpenAI-compatible chat endpoint; what else is shown beside the text is its subclasses' matter."""

    def __init__(self, settings: ChatSettings, calls: Calls) -> None:
        self._chat = settings
        self._calls = calls
        self._price = prices.read(settings.prices, "openai", settings.model)
        edge.warn_of_end(settings.model, self._price)
        self._connection = edge.Connection(
            calls, base_url=settings.base_url, key_env=settings.key_env, timeout_s=settings.timeout_s
        )

    @classmethod
    def needs(cls, settings: ChatSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        price = prices.read(settings.prices, "openai", settings.model)
        yield from edge.needs(settings.key_env, settings.base_url, settings.model, price)
        yield limits_need(settings.limits)

    @property
    def identity(self) -> str:
        """The model, where it runs, and how it is asked."""
        set_ = self._chat
        return (
            f"openai {set_.model}{self._connection.host} {self._shows()}temperature={set_.temperature} "
            f"max_tokens={set_.max_tokens}"
        )

    def prepare(self) -> None:
        """Raise UserError if no request could be made, before a run spends anything."""
        self._connection.client()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()

    def ask(self, question: Question) -> Answer:
        """Ask; raises as `Vision.ask`."""
        body = self._body(question)
        prompt, answer = self._tokens(question)
        usd = self._most(prompt, answer)
        return self._calls.make(lambda: self._send(body, question), estimate=usd, tokens=prompt + answer)

    def estimate(self, question: Question) -> float | None:
        """The most that one answer may cost in US dollars; None when the model's price is unknown."""
        return self._most(*self._tokens(question))

    def _shows(self) -> str:
        """What of the settings beside the chat's own may change an answer, for the identity."""
        return ""

    def _parts(self, question: Question) -> Sequence[Mapping[str, Any]]:  # noqa: ARG002 - for those that show something
        """What stands beside the text in the message."""
        return ()

    def _tokens_shown(self, question: Question) -> int:  # noqa: ARG002 - for those that show something
        """The most tokens that the parts beside the text may have."""
        return 0

    def _body(self, question: Question) -> bytes:
        """The request as JSON."""
        return json.dumps(self._request(question)).encode("ascii")

    def _most(self, prompt: int, answer: int) -> float | None:
        return None if self._price is None else self._price.of_tokens(prompt, 0, answer)

    def _request(self, question: Question) -> dict[str, Any]:
        """The fixed text stands first and images last: a prompt is cached by its beginning, from 1,024 tokens on."""
        settings = self._chat
        content = [{"type": "text", "text": question.text}, *self._parts(question)]
        form = {"name": question.name, "strict": True, "schema": question.schema}
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": content}],
            "response_format": {"type": "json_schema", "json_schema": form},
            "max_completion_tokens": self._room(question),
        }
        return request if settings.temperature is None else {**request, "temperature": settings.temperature}

    def _send(self, body: bytes, question: Question) -> Reply[Answer]:
        completion = self._connection.post("/chat/completions", body)
        usd: float | None = None
        try:
            usd, tokens = self._cost(completion, question)
            model = str(completion["model"])
            return Reply(Answer(checked(_text(completion), question), model, usd), usd, tokens)
        except (BadAnswer, Refused) as error:
            error.usd = usd
            raise
        except (KeyError, TypeError, AttributeError) as error:
            bad = BadAnswer(f"openai: the answer is not what the protocol says: {error!r}")
            bad.maybe_billed = True
            raise bad from error

    def _cost(self, completion: Mapping[str, Any], question: Question) -> tuple[float, int | None]:
        """US dollars and tokens, from what the server says that it used; where it says nothing that makes sense, the estimate."""
        try:
            usage = completion["usage"]
            prompt, answer = (max(0, int(usage[name])) for name in ("prompt_tokens", "completion_tokens"))
            cached = max(0, int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
            return self.estimate(question) or 0.0, None
        usd = self._price.of_tokens(max(0, prompt - cached), cached, answer) if self._price else None
        return usd or 0.0, prompt + answer

    def _tokens(self, question: Question) -> tuple[int, int]:
        """The most that prompt and answer may have."""
        text = len(question.text.encode("utf-8")) + len(json.dumps(question.schema))
        return text // BYTES_A_TOKEN + 50 + self._tokens_shown(question), self._room(question)

    def _room(self, question: Question) -> int:
        """The most tokens of an answer."""
        return max(self._chat.max_tokens, question.tokens)


def _text(completion: Mapping[str, Any]) -> str:
    """The answer's text.

    Raises:
        Refused: The model declined.
        BadAnswer: It is cut off or missing.
    """
    if not completion["choices"]:
        raise BadAnswer("openai: an answer without choices")
    choice = completion["choices"][0]
    message, reason = choice["message"], choice.get("finish_reason")
    if message.get("refusal"):
        raise Refused(f"openai: {message['refusal'][:300]}")
    if reason == "length":
        raise BadAnswer("openai: the answer was cut off at max_tokens: raise it")
    if reason == "content_filter":
        raise BadAnswer("openai: the answer was cut off by the content filter")
    if not message.get("content"):
        raise BadAnswer(f"openai: an empty answer (finish_reason {reason})")
    return str(message["content"])
