"""A server that speaks OpenAI's protocol: chat completions with structured answers, models, images."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from aiohttp import web

from tests.fakes import chat, forms, images, schemas
from tests.fakes.drawing import Painter, painter
from tests.fakes.refusals import Invalid, error_body
from tests.fakes.server import Exchange, FakeServer, Route
from tests.fakes.state import Settings

MODELS: Mapping[str, str | None] = {
    "gpt-4.1-mini": "2027-01-14",
    "gpt-4o-mini": "2027-01-14",
    "gpt-5.4-mini": None,
    "gpt-5.6-luna": None,
    "gpt-6-luna": None,
    "gpt-image-1": None,
    "gpt-image-1-mini": None,
    "gpt-image-1.5": None,
    "gpt-image-2": None,
}


@dataclass
class OpenAISettings(Settings):
    """How the OpenAI server behaves.

    Attributes:
        answer: What the chat says: "judge" looks at the image, "constant" says that all is well without reading the request,
            or a callable that gets the request.
        models: Those that there are, with the date on which they shut down; another one is a 404. None takes any name.
        image_tokens: What an image in a chat counts for.
        paint: Who draws: "portrait", "plain", or a callable.
    """

    answer: str | chat.Answering = "judge"
    models: Mapping[str, str | None] | None = field(default_factory=lambda: dict(MODELS))
    image_tokens: int = 2489
    paint: str | Painter = "portrait"


class OpenAIServer(FakeServer[OpenAISettings]):
    """OpenAI on loopback; `url` is what base_url or OPENAI_BASE_URL get."""

    name: ClassVar[str] = "openai"
    base_path: ClassVar[str] = "/v1"

    def __init__(self, settings: OpenAISettings | None = None) -> None:
        self._numbers = itertools.count(1)
        self._cache = chat.PromptCache()
        self._constant = json.dumps(chat.completion(chat.Reply(json.dumps(chat.GOOD)), "gpt-4.1-mini", 1)).encode()
        super().__init__(settings or OpenAISettings())

    def routes(self) -> Sequence[Route]:
        """Chat, models and images."""
        return [
            Route("chat", "POST", "/v1/chat/completions", self._chat, limited=True),
            Route("models", "GET", "/v1/models", self._models),
            Route("model", "GET", "/v1/models/{id:.+}", self._model),
            Route("images", "POST", "/v1/images/generations", self._images, limited=True),
            Route("edits", "POST", "/v1/images/edits", self._edits, limited=True),
        ]

    def error(self, status: int, fault: str | None, exchange: Exchange) -> Mapping[str, Any]:
        """{"error": {message, type, param, code}}."""
        return error_body(status, fault, exchange.key)

    async def _chat(self, exchange: Exchange) -> web.Response:
        if self.settings.answer == "constant" and exchange.fault is None and not self.settings.check:
            return web.Response(body=self._constant, content_type="application/json")
        try:
            asked = chat.read(exchange.body)
            self._check("CreateChatCompletionRequest", asked.body)
            chat.validate(asked)
            self._must_exist(asked.model)
            reply = await self._reply(asked, exchange.fault)
        except Invalid as error:
            return web.json_response(error.body, status=error.status)
        usage = chat.usage(asked, reply.content or "", self.settings.image_tokens, self._cache)
        answer = chat.completion(reply, asked.model, next(self._numbers), usage)
        return self._answered(chat.spoilt(answer, exchange.fault), "CreateChatCompletionResponse", exchange)

    async def _reply(self, asked: chat.Asked, fault: str | None) -> chat.Reply:
        if fault in chat.REPLIES:
            return chat.REPLIES[fault]
        answering = self.settings.answer
        if isinstance(answering, str):
            answering = chat.ANSWERING[answering]
        # In another thread: to judge takes a while, and a test's callable may wait for something.
        said = await asyncio.to_thread(answering, asked)
        return chat.shortened(chat.Reply(said if isinstance(said, str) else json.dumps(said)), asked, fault)

    async def _models(self, exchange: Exchange) -> web.Response:
        rows = [_model(name, shutdown) for name, shutdown in (self.settings.models or {}).items()]
        return self._answered({"object": "list", "data": rows}, "ListModelsResponse", exchange)

    async def _model(self, exchange: Exchange) -> web.Response:
        name = exchange.request.match_info["id"]
        try:
            self._must_exist(name)
        except Invalid as error:
            return web.json_response(error.body, status=error.status)
        return self._answered(_model(name, (self.settings.models or {}).get(name)), "Model", exchange)

    async def _images(self, exchange: Exchange) -> web.Response:
        try:
            body = chat.parsed(exchange.body)
            self._check("CreateImageRequest", body)
            return await self._drawn(images.read(body), exchange)
        except Invalid as error:
            return web.json_response(error.body, status=error.status)

    async def _edits(self, exchange: Exchange) -> web.Response:
        if not exchange.request.content_type.startswith("multipart/"):
            return web.json_response(Invalid(400, "Expected multipart/form-data.").body, status=400)
        try:
            return await self._drawn(images.read_form(await forms.parts(exchange)), exchange)
        except Invalid as error:
            return web.json_response(error.body, status=error.status)

    async def _drawn(self, asked: images.ImageAsked, exchange: Exchange) -> web.Response:
        self._must_exist(asked.model)
        if exchange.fault == "moderation_blocked":
            raise images.BLOCKED
        paint = painter(self.settings.paint)
        made = [await asyncio.to_thread(paint, replace(asked.drawing, seed=seed)) for seed in asked.seeds]
        return self._answered(images.answer(asked, made, exchange.fault), "ImagesResponse", exchange)

    def _must_exist(self, model: str) -> None:
        models = self.settings.models
        if models is not None and model not in models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise Invalid(404, message, code="model_not_found")

    def _answered(self, answer: Mapping[str, Any], schema: str, exchange: Exchange) -> web.Response:
        if exchange.fault is None:
            self._check(schema, answer)
        headers = {"x-request-id": f"req_{exchange.number:032x}", "openai-processing-ms": "1"}
        return web.json_response(answer, headers=headers)

    def _check(self, schema: str, body: Any) -> None:
        if self.settings.check:
            for fault in schemas.faults(schema, body):
                self.violate(f"{schema}{fault}")


def _model(name: str, shutdown: str | None) -> dict[str, Any]:
    row = {"id": name, "object": "model", "created": int(time.time()) - 86400, "owned_by": "system"}
    return row if shutdown is None else {**row, "shutdown_date": shutdown}
