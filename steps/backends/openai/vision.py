"""Vision through chat completions: the most portable call, which Ollama, vLLM and llama.cpp answer too."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.calls import Calls, Reply
from runner.doctor import Need, limits_need
from runner.errors import BadAnswer, Refused
from runner.params import at_least, between, one_of, param
from runner.rates import LimitSettings
from steps.backends import prices
from steps.backends.answers import checked
from steps.backends.openai import client as edge
from steps.backends.protocols import Answer, Question
from steps.library.pictures import Picture, as_jpeg

# Two bytes a token is more than any language that was measured needs in JSON or prose; the estimate is to be a maximum.
BYTES_A_TOKEN = 2
# Stands for an image while the request becomes JSON; drawn anew in each process, so that no text can hold it.
IMAGE = f"image-{secrets.token_hex(16)}"


@dataclass(frozen=True)
class OpenAIVisionSettings:
    """Which model looks, at how much of the image."""

    model: str = param("gpt-4.1-mini", help="a model that sees images and takes strict JSON schemas")
    base_url: str | None = param(None, help="another server of the same protocol; null is OPENAI_BASE_URL or OpenAI")
    key_env: str = param("OPENAI_API_KEY", help="the environment variable that holds the key", operational=True)
    long_side: int = param(1024, help="pixels; larger images are sent smaller", check=between(64, 4096))
    quality: int = param(90, help="JPEG quality of images that are sent smaller", check=between(1, 100))
    detail: str = param("high", help="what the model is to see of the image", check=one_of("low", "high"))
    temperature: float | None = param(0.2, help="null sends none, for models that take none", check=between(0, 2))
    max_tokens: int = param(500, help="most tokens of an answer", check=at_least(16))
    timeout_s: float = param(60.0, help="seconds for a whole answer", check=at_least(0.01), operational=True)
    prices: str | None = param(
        None, help="a price file of your own (steps/backends/prices.yaml shows its form)", operational=True
    )
    limits: LimitSettings = field(default_factory=LimitSettings)


class OpenAIVision:
    """Vision through any OpenAI-compatible chat endpoint."""

    def __init__(self, settings: OpenAIVisionSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._price = prices.read(settings.prices, "openai", settings.model)
        edge.warn_of_end(settings.model, self._price)
        self._connection = edge.Connection(
            calls, base_url=settings.base_url, key_env=settings.key_env, timeout_s=settings.timeout_s
        )

    @classmethod
    def needs(cls, settings: OpenAIVisionSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        price = prices.read(settings.prices, "openai", settings.model)
        yield from edge.needs(settings.key_env, settings.base_url, settings.model, price)
        yield limits_need(settings.limits)

    @property
    def identity(self) -> str:
        """The model, where it runs, and what it gets to see."""
        set_ = self._settings
        return (
            f"openai {set_.model}{self._connection.host} detail={set_.detail} long_side={set_.long_side} quality={set_.quality} "
            f"temperature={set_.temperature} max_tokens={set_.max_tokens}"
        )

    def prepare(self) -> None:
        """Raise UserError if no request could be made, before a run spends anything."""
        self._connection.client()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()

    def ask(self, question: Question) -> Answer:
        """Ask about the images; raises as `Vision.ask`."""
        body = self._body(question)
        prompt, answer = self._tokens(question)
        usd = self._most(prompt, answer)
        return self._calls.make(lambda: self._send(body, question), estimate=usd, tokens=prompt + answer)

    def estimate(self, question: Question) -> float | None:
        """The most that one answer may cost in US dollars; None when the model's price is unknown."""
        return self._most(*self._tokens(question))

    def _most(self, prompt: int, answer: int) -> float | None:
        return None if self._price is None else self._price.of_tokens(prompt, 0, answer)

    def _body(self, question: Question) -> bytes:
        """The request as JSON. The images are put in as bytes: an encoder would look at each of their letters twice."""
        pieces = json.dumps(self._request(question)).encode("ascii").split(IMAGE.encode("ascii"))
        long_side = self._long_side(question)
        body = [pieces[0]]
        for picture, piece in zip(question.images, pieces[1:], strict=True):
            data = as_jpeg(picture, long_side=long_side, quality=self._settings.quality)
            body += [base64.b64encode(data), piece]
        return b"".join(body)

    def _request(self, question: Question) -> dict[str, Any]:
        """The fixed text stands first and the image last: a prompt is cached by its beginning, from 1,024 tokens on."""
        settings = self._settings
        content = [{"type": "text", "text": question.text}, *(self._part() for _ in question.images)]
        form = {"name": question.name, "strict": True, "schema": question.schema}
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": "user", "content": content}],
            "response_format": {"type": "json_schema", "json_schema": form},
            "max_completion_tokens": self._room(question),
        }
        return request if settings.temperature is None else {**request, "temperature": settings.temperature}

    def _part(self) -> dict[str, Any]:
        # Newer models read a missing detail as the original size: twelve megapixels cost 14,364 tokens.
        shown = {"url": f"data:image/jpeg;base64,{IMAGE}", "detail": self._settings.detail}
        return {"type": "image_url", "image_url": shown}

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
        rule = self._price.image_tokens if self._price else {}
        long_side = self._long_side(question)
        images = sum(prices.image_tokens(rule, _sent_size(picture, long_side)) for picture in question.images)
        return text // BYTES_A_TOKEN + 50 + images, self._room(question)

    def _room(self, question: Question) -> int:
        """The most tokens of an answer."""
        return max(self._settings.max_tokens, question.tokens)

    def _long_side(self, question: Question) -> int:
        """Pixels up to which images are sent as they are."""
        return max(self._settings.long_side, question.long_side)


def _sent_size(picture: Picture, long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return width, height


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
