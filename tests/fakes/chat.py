"""Chat completions: what a request asks, what the vendor would refuse of it, and what is answered."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tests.fakes.refusals import Invalid

GOOD: Mapping[str, Any] = {
    "is_clear": True,
    "is_match": True,
    "clarity_reason": "sharp",
    "match_reason": "fits",
    "confidence": "high",
}
_FACTS = re.compile(r"^Description: ?(?P<description>.*?)\n+Outfit: ?(?P<outfit>.*)\Z", re.DOTALL | re.MULTILINE)
_SORTING = re.compile(r"^Classes:\n(?P<classes>(?:- .*\n)+)Numbers: (?P<numbers>[\d, ]+)", re.MULTILINE)
_TELLING = re.compile(
    r"^The hero in the tale: (?P<who>.*)\nNumber of shots: (?P<least>\d+)(?: to (?P<most>\d+))?.*\nTale:\n(?P<story>.*?)"
    r"(?:\n\nYour last answer .*)?\Z",
    re.MULTILINE | re.DOTALL,
)
_DATA_URL = re.compile(r"data:image/(png|jpeg|jpg|gif|webp);base64,")
_CACHED_FROM, _CACHED_STEP = 1024, 128


@dataclass(frozen=True)
class Asked:
    """A chat request."""

    body: Mapping[str, Any]

    @property
    def model(self) -> str:
        """Its name."""
        return str(self.body.get("model"))

    @cached_property
    def parts(self) -> list[Mapping[str, Any]]:
        """All content parts of all messages, in order."""
        contents = [message.get("content") for message in self.body["messages"]]
        listed = [[{"type": "text", "text": each}] if isinstance(each, str) else each or [] for each in contents]
        return [part for parts in listed for part in parts]

    @property
    def text(self) -> str:
        """All text, one part a line."""
        return "\n".join(part["text"] for part in self.parts if part.get("type") == "text")

    @cached_property
    def images(self) -> list[bytes]:
        """The images' bytes; links are not followed."""
        return [_decoded(part["image_url"]["url"]) for part in self.parts if part.get("type") == "image_url"]

    @property
    def facts(self) -> dict[str, str]:
        """Description and outfit, when the text ends with them; or numbers and classes of training images; or a tale."""
        if telling := _TELLING.search(self.text):
            return {**telling.groupdict(), "most": telling["most"] or telling["least"]}
        if sorting := _SORTING.search(self.text):
            classes = ", ".join(re.findall(r"^- ([^:\n]+)", sorting["classes"], re.MULTILINE))
            return {"numbers": sorting["numbers"].strip(), "classes": classes}
        found = _FACTS.search(self.text)
        return {name: "" if value == "(none)" else value for name, value in found.groupdict().items()} if found else {}

    @property
    def schema_name(self) -> str:
        """Of the structured answer; empty for free text."""
        return str(self._json_schema.get("name", ""))

    @property
    def schema(self) -> Mapping[str, Any]:
        """Of the structured answer."""
        schema: Mapping[str, Any] = self._json_schema.get("schema", {})
        return schema

    @property
    def strict(self) -> bool:
        """Whether the schema is to be held exactly."""
        return bool(self._json_schema.get("strict"))

    @property
    def _json_schema(self) -> Mapping[str, Any]:
        form = self.body.get("response_format") or {}
        schema: Mapping[str, Any] = form.get("json_schema") or {}
        return schema


Answering = Callable[[Asked], Mapping[str, Any] | str]


@dataclass(frozen=True)
class Reply:
    """What the model said."""

    content: str | None
    finish_reason: str = "stop"
    refusal: str | None = None


REPLIES: Mapping[str | None, Reply] = {
    "refusal": Reply(None, refusal="I'm sorry, I can't assist with that request."),
    "content_filter": Reply("", "content_filter"),
    "schema_mismatch": Reply(json.dumps({"verdict": "fine", "score": "9/10"})),
    "not_json": Reply("Sure! The picture is sharp and shows the person described."),
    "null_content": Reply(None),
}


def shortened(reply: Reply, asked: Asked, fault: str | None) -> Reply:
    """Broken off where the fault or the request's own limit says so."""
    content = reply.content or ""
    most = asked.body.get("max_completion_tokens") or asked.body.get("max_tokens")
    length = len(content) // 2 if fault == "length" else len(content) if most is None else most * 4
    return reply if length >= len(content) else replace(reply, content=content[:length], finish_reason="length")


def spoilt(answer: dict[str, Any], fault: str | None) -> dict[str, Any]:
    """Without choices or usage where the fault says so."""
    if fault == "empty_choices":
        return {**answer, "choices": []}
    if fault == "no_usage":
        return {name: value for name, value in answer.items() if name != "usage"}
    return answer


def judged(asked: Asked) -> Mapping[str, Any]:
    """What the embedded judge sees in the images, and the embedded grammar in a tale; for schemas that it doesn't know the least that is valid."""
    from steps.backends import embedded_language
    from steps.backends.embedded import ANSWERS
    from steps.backends.protocols import Question
    from steps.library.pictures import decode

    if telling := embedded_language.ANSWERS.get(asked.schema_name):
        return telling(Question(asked.text, (), asked.schema, asked.schema_name, asked.facts))
    if asked.schema_name == "caption" and asked.images:
        return {"caption": _captioned(asked)}
    if asked.schema_name not in ANSWERS or not asked.images:
        return _object(asked.schema)
    pictures = tuple(decode(data, "image.jpg") for data in asked.images)
    question = Question(asked.text, pictures, asked.schema, asked.schema_name, asked.facts)
    return ANSWERS[asked.schema_name](question)


def _captioned(asked: Asked) -> str:
    """What a plain look at the pixels tells, another text for another picture."""
    from steps.library.pictures import decode

    picture = decode(asked.images[0], "image.jpg")
    red, green, blue = picture.image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    wide = "wide" if picture.size[0] > picture.size[1] else "upright"
    return f"A figure stands before a ground of #{red:02x}{green:02x}{blue:02x}. The picture is {wide}."


def constant(asked: Asked) -> Mapping[str, Any]:
    """All is well."""
    return GOOD if asked.schema_name in ("", "base_image") else _object(asked.schema)


def _object(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    made: Mapping[str, Any] = least(schema)
    return made


ANSWERING: Mapping[str, Answering] = {"judge": judged, "constant": constant}


def least(schema: Mapping[str, Any]) -> Any:
    """A small value that a schema allows; of the keywords that strict structured outputs know."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return least(schema[choice][0])
    kind = schema.get("type", "object" if "properties" in schema else "null")
    return _least_of(kind[0] if isinstance(kind, list) else kind, schema)


def _least_of(kind: str, schema: Mapping[str, Any]) -> Any:
    if kind == "object":
        return {name: least(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [least(schema["items"])] * int(schema.get("minItems", 0))
    if kind == "string":
        return "x" * int(schema.get("minLength", 1))
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    return kind == "boolean" or None


def parsed(body: bytes) -> dict[str, Any]:
    """A request's JSON object; Invalid otherwise."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Invalid(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(value, dict):
        raise Invalid(400, "The JSON body must be an object.")
    return value


def read(body: bytes) -> Asked:
    """A request, with what nothing else can be read without."""
    value = parsed(body)
    for name, kind in (("model", str), ("messages", list)):
        if not isinstance(value.get(name), kind):
            raise Invalid(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    return Asked(value)


def validate(asked: Asked) -> None:
    """Refuse what the vendor refuses: images that can't be read, and schemas that strict mode does not take."""
    _ = asked.images
    if asked.body.get("stream"):
        raise Invalid(400, "This server does not stream.", code="unsupported_value", param="stream")
    form = asked.body.get("response_format") or {}
    if form.get("type") != "json_schema":
        return
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", asked.schema_name):
        raise Invalid(400, "Invalid 'response_format.json_schema.name'.", code="invalid_value", param="response_format")
    if asked.strict:
        _strict(asked.schema, asked.schema_name, ())


def _strict(schema: Mapping[str, Any], name: str, context: tuple[str, ...]) -> None:
    properties = schema.get("properties", {})
    wrong = None
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            wrong = "'additionalProperties' is required to be supplied and to be false."
        elif set(schema.get("required", ())) != set(properties):
            wrong = "'required' is required to be supplied and to be an array including every key in properties."
    if wrong:
        message = f"Invalid schema for response_format '{name}': In context={context}, {wrong}"
        raise Invalid(400, message, param="response_format")
    for key, inner in properties.items():
        _strict(inner, name, (*context, "properties", key))
    if isinstance(schema.get("items"), Mapping):
        _strict(schema["items"], name, (*context, "items"))


def _decoded(url: str) -> bytes:
    if url.startswith(("http://", "https://")):
        raise Invalid(400, f"Failed to download image from {url}.", code="invalid_image_url", param="url")
    found = _DATA_URL.match(url)
    if not found:
        message = "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', 'jpeg', 'gif', 'webp']."
        raise Invalid(400, message, code="invalid_image_format")
    try:
        return base64.b64decode(url[found.end() :], validate=True)
    except binascii.Error as error:
        raise Invalid(400, "Invalid base64 image_url.", code="invalid_base64") from error


@dataclass
class PromptCache:
    """Which beginnings of prompts have been seen."""

    seen: set[bytes] = field(default_factory=set)

    def cached(self, model: str, text: str) -> int:
        """How many tokens of a prompt's text come from the cache: steps of 128, from 1,024 on. Every beginning is then known."""
        best = 0
        for tokens in range(_CACHED_FROM, _tokens(text) + 1, _CACHED_STEP):
            digest = hashlib.sha256(f"{model} {text[: tokens * 4]}".encode()).digest()
            if digest in self.seen:
                best = tokens
            self.seen.add(digest)
        return best


def _tokens(text: str) -> int:
    return len(text) // 4


def usage(asked: Asked, content: str, image_tokens: int, cache: PromptCache) -> dict[str, Any]:
    """What is billed: four characters a token, and so much an image."""
    prompt = _tokens(asked.text) + 8 + image_tokens * len(asked.images)
    completion = _tokens(content) + 4
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cache.cached(asked.model, asked.text), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion(reply: Reply, model: str, number: int, used: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer's whole body."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.content,
        "refusal": reply.refusal,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return {
        "id": f"chatcmpl-{number:029d}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": used or {"prompt_tokens": 2900, "completion_tokens": 40, "total_tokens": 2940},
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
