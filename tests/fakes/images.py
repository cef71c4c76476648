"""OpenAI's images: what a request asks, what the vendor would refuse of it, and what is answered."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fakes.drawing import Drawing, seed_of
from tests.fakes.forms import Part
from tests.fakes.refusals import Invalid

# Output tokens by quality and size, as gpt-image-1 bills them.
TOKENS: Mapping[str, Mapping[str, int]] = {
    "1024x1024": {"low": 272, "medium": 1056, "high": 4160},
    "1024x1536": {"low": 408, "medium": 1584, "high": 6240},
    "1536x1024": {"low": 400, "medium": 1568, "high": 6208},
}
_INPUT_IMAGE_TOKENS = 323
_FIELDS = {
    "background", "input_fidelity", "model", "moderation", "n", "output_compression", "output_format", "partial_images",
    "prompt", "quality", "size", "stream", "user",
}  # fmt: skip


class Blocked(Invalid):
    """The safety system's refusal, which has a type of its own."""

    def __init__(self) -> None:
        message = "Your request was rejected by the safety system. If you believe this is an error, contact us at help.openai.com."
        super().__init__(400, message, code="moderation_blocked")
        self.kind = "image_generation_user_error"


BLOCKED = Blocked()


@dataclass(frozen=True)
class ImageAsked:
    """A request for images that can be met."""

    model: str
    drawing: Drawing
    quality: str
    size: str
    count: int
    sources: int = 0

    @property
    def seeds(self) -> list[int]:
        """One an image."""
        return [(self.drawing.seed + number) % 2**31 for number in range(self.count)]


def read(body: Mapping[str, Any], sources: int = 0) -> ImageAsked:
    """What is asked for; Invalid where the vendor would refuse."""
    for name in body:
        if name not in _FIELDS:
            raise Invalid(400, f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not 0 < len(prompt) <= 32_000:
        raise Invalid(400, "Missing or invalid parameter: 'prompt'.", code="missing_required_parameter", param="prompt")
    size = _one_of(body, "size", ("auto", *TOKENS), "1024x1024")
    quality = _one_of(body, "quality", ("auto", "low", "medium", "high"), "high")
    kind = _one_of(body, "output_format", ("png", "jpeg", "webp"), "png")
    width, height = (int(side) for side in size.split("x"))
    drawing = Drawing(prompt, width, height, seed_of(prompt), kind)
    return ImageAsked(str(body.get("model", "gpt-image-1")), drawing, quality, size, _count(body), sources)


def _one_of(body: Mapping[str, Any], name: str, allowed: Sequence[str], auto: str) -> str:
    value = body.get(name) or ("auto" if "auto" in allowed else auto)
    if value not in allowed:
        listed = ", ".join(f"'{each}'" for each in allowed)
        message = f"Invalid value: '{value}'. Supported values are: {listed}."
        raise Invalid(400, message, code="invalid_value", param=name)
    return auto if value == "auto" else str(value)


def _count(body: Mapping[str, Any]) -> int:
    value = str(body.get("n") or 1)
    if not value.isdigit() or not 1 <= int(value) <= 10:
        raise Invalid(400, "Invalid 'n': expected 1 to 10.", code="invalid_value", param="n")
    return int(value)


def read_form(form: Sequence[Part]) -> ImageAsked:
    """A multipart request: fields, and images under `image` or `image[]`."""
    images = [part.data for part in form if part.name in ("image", "image[]")]
    if not images:
        raise Invalid(400, "Missing required parameter: 'image'.", code="missing_required_parameter", param="image")
    for data in images:
        if not data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF")):
            raise Invalid(400, "Invalid image file or mode for image.", code="invalid_image_file", param="image")
    files = ("image", "image[]", "mask")
    return read({part.name: part.data.decode() for part in form if part.name not in files}, len(images))


def answer(asked: ImageAsked, made: Sequence[bytes], fault: str | None) -> dict[str, Any]:
    """The answer's whole body."""
    encoded = [base64.b64encode(data).decode() for data in made]
    if fault == "not_an_image":
        encoded = [base64.b64encode(b"<svg>not an image</svg>").decode()]
    if fault == "not_base64":
        encoded = ["***"]
    body = {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": asked.drawing.kind,
        "quality": asked.quality,
        "size": asked.size,
        "data": [] if fault == "no_images" else [{"b64_json": each} for each in encoded],
    }
    return body if fault == "no_usage" else {**body, "usage": _usage(asked)}


def _usage(asked: ImageAsked) -> dict[str, Any]:
    text = len(asked.drawing.prompt) // 4 + 4
    image = _INPUT_IMAGE_TOKENS * asked.sources
    output = TOKENS[asked.size][asked.quality] * asked.count
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
        "total_tokens": text + image + output,
    }
