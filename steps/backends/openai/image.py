"""Images by OpenAI's image API, for those who have only that key. It takes no seed: the same request draws another image."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.calls import Calls, Reply
from runner.doctor import Need, limits_need
from runner.errors import BadAnswer, ItemError, Refused, Transient
from runner.params import at_least, one_of, param
from runner.rates import LimitSettings
from steps.backends import prices
from steps.backends.openai import client as edge
from steps.backends.protocols import ImageRequest, MadeImage
from steps.backends.shapes import all_shapes, nearest
from steps.library.pictures import as_jpeg, decode

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import ImagesResponse

log = logging.getLogger("callsheet")
REFUSALS = ("moderation_blocked", "content_policy_violation")
REFERENCE_SIDE = 1536


@dataclass(frozen=True)
class OpenAIImageSettings:
    """Which model draws, how well."""

    model: str = param("gpt-image-1-mini", help="an image model; gpt-image-1 was shut down on 2026-10-23")
    base_url: str | None = param(None, help="another server of the same protocol; null is OPENAI_BASE_URL or OpenAI")
    key_env: str = param("OPENAI_API_KEY", help="the environment variable that holds the key", operational=True)
    quality: str = param("medium", help="how much is spent on an image", check=one_of("low", "medium", "high", "auto"))
    moderation: str = param("auto", help="how strictly content is filtered", check=one_of("low", "auto"))
    sizes: list[str] = param(
        ["1024x1024", "1536x1024", "1024x1536"],
        help="what the model draws; the one nearest in shape is taken",
        check=all_shapes,
    )
    timeout_s: float = param(300.0, help="seconds for a whole image", check=at_least(0.01), operational=True)
    prices: str | None = param(
        None, help="a price file of your own (steps/backends/prices.yaml shows its form)", operational=True
    )
    limits: LimitSettings = field(default_factory=LimitSettings)


class OpenAIImage:
    """Draws from a prompt, or edits a reference image."""

    def __init__(self, settings: OpenAIImageSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._price = prices.read(settings.prices, "openai", settings.model)
        edge.warn_of_end(settings.model, self._price)
        self._connection = edge.Connection(
            calls, base_url=settings.base_url, key_env=settings.key_env, timeout_s=settings.timeout_s
        )

    @classmethod
    def needs(cls, settings: OpenAIImageSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        price = prices.read(settings.prices, "openai", settings.model)
        yield from edge.needs(settings.key_env, settings.base_url, settings.model, price)
        yield limits_need(settings.limits)

    @property
    def identity(self) -> str:
        """The model, where it runs, and how well it draws."""
        return f"openai {self._settings.model}{self._connection.host} quality={self._settings.quality}"

    def prepare(self) -> None:
        """Raise UserError if no request could be made, before a run spends anything."""
        self._connection.client()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()

    def make(self, request: ImageRequest) -> MadeImage:
        """Make one image; raises as `ImageMaker.make`."""
        return self._calls.make(lambda: self._send(request), estimate=self.estimate(request))

    def estimate(self, request: ImageRequest) -> float | None:
        """The most that one image may cost in US dollars; None when the model's price is unknown."""
        price = self._price
        if price is None:
            return None
        if price.image is not None:
            return price.image
        drawn = price.images.get(self._settings.quality)
        if drawn is None:
            return None
        text = price.of_tokens(len(request.prompt.encode("utf-8")), 0, drawn)
        # A reference is read in at most so many tokens (providers count 512-pixel tiles and high fidelity extra).
        shown = 6240 * (price.image_input or price.input or 0) / 1e6 if request.reference else 0.0
        return None if text is None else text + shown

    def _send(self, request: ImageRequest) -> Reply[MadeImage]:
        def create(client: OpenAI) -> Any:
            options: dict[str, Any] = {
                "model": self._settings.model,
                "prompt": request.prompt,
                "size": nearest(request.width, request.height, self._settings.sizes),
                "quality": self._settings.quality,
                "output_format": "png",
                "n": 1,
            }
            images: Any = client.images.with_raw_response
            if request.reference is None:
                return images.generate(**options, moderation=self._settings.moderation)
            image = ("reference.jpg", io.BytesIO(self._reference(request)), "image/jpeg")
            return images.edit(**options, image=image)

        try:
            raw = self._connection.send(create)
        except Transient as error:
            if error.maybe_billed:
                log.warning("%s; the image may have been paid for, and is asked for again", error)
            raise
        except ItemError as error:
            if any(word in str(error) for word in REFUSALS):
                raise Refused(str(error)) from error
            raise
        return self._reply(raw, request)

    def _reference(self, request: ImageRequest) -> bytes:
        assert request.reference is not None
        return as_jpeg(request.reference, long_side=REFERENCE_SIDE, quality=95)

    def _reply(self, raw: Any, request: ImageRequest) -> Reply[MadeImage]:
        try:
            answer = raw.parse()
            data = base64.b64decode(answer.data[0].b64_json, validate=True)
            decode(data, "the image that came")
        except (AttributeError, TypeError, IndexError, ValueError, RecursionError, ItemError) as error:
            bad = BadAnswer(f"openai: no image in the answer: {str(error)[:200]}")
            bad.maybe_billed = True
            raise bad from error
        usd = self._cost(answer, request)
        return Reply(MadeImage(data, self._settings.model, usd), usd)

    def _cost(self, answer: ImagesResponse, request: ImageRequest) -> float:
        """US dollars, from what the server says that it used; where it says nothing that makes sense, the estimate."""
        price, most = self._price, self.estimate(request) or 0.0
        if price is None or price.image is not None:
            return most
        try:
            usage: Any = answer.usage
            shown = max(0, int(usage.input_tokens_details.image_tokens))
            usd = price.of_tokens(max(0, int(usage.input_tokens) - shown), 0, max(0, int(usage.output_tokens)))
        except (AttributeError, TypeError, ValueError, OverflowError):
            return most
        return most if usd is None else usd + shown * (price.image_input or price.input or 0.0) / 1e6
