"""Vision through chat completions."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.calls import Calls
from runner.params import between, one_of, param
from steps.backends import prices
from steps.backends.openai.chat import Chat, ChatSettings
from steps.backends.protocols import Question
from steps.library.pictures import Picture, as_jpeg

# Stands for an image while the request becomes JSON; drawn anew in each process, so that no text can hold it.
IMAGE = f"image-{secrets.token_hex(16)}"


@dataclass(frozen=True)
class OpenAIVisionSettings(ChatSettings):
    """Which model looks, at how much of the image."""

    model: str = param("gpt-4.1-mini", help="a model that sees images and takes strict JSON schemas")
    long_side: int = param(1024, help="pixels; larger images are sent smaller", check=between(64, 4096))
    quality: int = param(90, help="JPEG quality of images that are sent smaller", check=between(1, 100))
    detail: str = param("high", help="what the model is to see of the image", check=one_of("low", "high"))


class OpenAIVision(Chat):
    """Vision through any OpenAI-compatible chat endpoint."""

    def __init__(self, settings: OpenAIVisionSettings, calls: Calls) -> None:
        super().__init__(settings, calls)
        self._settings = settings

    def _shows(self) -> str:
        set_ = self._settings
        return f"detail={set_.detail} long_side={set_.long_side} quality={set_.quality} "

    def _body(self, question: Question) -> bytes:
        """The request as JSON. The images are put in as bytes: an encoder would look at each of their letters twice."""
        pieces = super()._body(question).split(IMAGE.encode("ascii"))
        long_side = self._long_side(question)
        body = [pieces[0]]
        for picture, piece in zip(question.images, pieces[1:], strict=True):
            data = as_jpeg(picture, long_side=long_side, quality=self._settings.quality)
            body += [base64.b64encode(data), piece]
        return b"".join(body)

    def _parts(self, question: Question) -> Sequence[Mapping[str, Any]]:
        # Newer models read a missing detail as the original size: twelve megapixels cost 14,364 tokens.
        shown = {"url": f"data:image/jpeg;base64,{IMAGE}", "detail": self._settings.detail}
        return [{"type": "image_url", "image_url": shown} for _ in question.images]

    def _tokens_shown(self, question: Question) -> int:
        rule = self._price.image_tokens if self._price else {}
        long_side = self._long_side(question)
        return sum(prices.image_tokens(rule, _sent_size(picture, long_side)) for picture in question.images)

    def _long_side(self, question: Question) -> int:
        """Pixels up to which images are sent as they are."""
        return max(self._settings.long_side, question.long_side)


def _sent_size(picture: Picture, long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return width, height
