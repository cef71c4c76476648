from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from steps.judging import PROMPT
from steps.library.pictures import encode_jpeg
from steps.studio.portrait import studio_portrait
from tests.fakes import chat, schemas
from tests.fakes.drawing import described, plain
from tests.fakes.openai import OpenAIServer
from tests.fakes.sending import BEARER, DESCRIPTION, OUTFIT, ask, chat_body, image_body, png, send

WITHOUT_SCHEMAS = pytest.mark.skipif(
    not schemas.available(), reason="../shared/specs/openai_schemas.json is not there: nothing is checked against it"
)


@pytest.fixture
def client(openai_server: OpenAIServer) -> Iterator[openai.OpenAI]:
    """The vendor's own SDK, which checks every answer against its types."""
    openai_server.set(paint=plain)
    with openai.OpenAI(
        base_url=openai_server.url, api_key="sk-sdk", max_retries=0, timeout=20, _strict_response_validation=True
    ) as client:
        yield client
    assert openai_server.violations == []


def portrait(size: tuple[int, int] = (320, 480)) -> bytes:
    return encode_jpeg(studio_portrait(DESCRIPTION, OUTFIT, size, seed=1))


class TestSdk:
    def test_a_sharp_portrait_is_judged_so(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(**chat_body(portrait()))
        verdict = json.loads(answer.choices[0].message.content)
        assert (verdict["is_clear"], verdict["is_match"]) == (True, True)
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_a_smeared_portrait_is_judged_so(self, client: openai.OpenAI) -> None:
        with Image.open(io.BytesIO(portrait((1024, 1536)))) as image:
            smeared = image.resize((24, 36)).resize((1024, 1536), Image.Resampling.BICUBIC)
        answer = client.chat.completions.create(**chat_body(encode_jpeg(smeared)))
        assert json.loads(answer.choices[0].message.content)["is_clear"] is False

    def test_raw_responses_carry_ids_and_rates(self, client: openai.OpenAI, openai_server: OpenAIServer) -> None:
        openai_server.set(requests_per_minute=600, answer="constant")
        raw = client.chat.completions.with_raw_response.create(**chat_body())
        assert raw.headers["x-request-id"].startswith("req_")
        assert raw.headers["x-ratelimit-remaining-requests"] == "599"
        assert raw.parse().choices[0].message.content == json.dumps(chat.GOOD)

    def test_the_second_time_the_beginning_is_cached(self, client: openai.OpenAI, openai_server: OpenAIServer) -> None:
        openai_server.set(answer="constant")
        body = chat_body()
        body["messages"][0]["content"][0]["text"] = "word " * 2000
        cached = []
        for _ in range(2):
            usage = client.chat.completions.create(**body).usage
            cached.append(usage.prompt_tokens_details.cached_tokens)
        assert cached == [0, 2432]

    def test_models(self, client: openai.OpenAI) -> None:
        rows = {model.id: model for model in client.models.list()}
        assert rows["gpt-4.1-mini"].to_dict()["shutdown_date"] == "2027-01-14"
        assert client.models.retrieve("gpt-6-luna").id == "gpt-6-luna"
        with pytest.raises(openai.NotFoundError, match="`gpt-2` does not exist") as caught:
            client.models.retrieve("gpt-2")
        assert caught.value.code == "model_not_found"

    def test_an_unknown_model_is_not_found(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.chat.completions.create(**chat_body(model="gpt-2"))

    def test_images(self, client: openai.OpenAI) -> None:
        answer = client.images.generate(**image_body(output_format="jpeg"))
        with Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json))) as image:
            assert (image.size, image.format) == ((1024, 1536), "JPEG")
        assert (answer.usage.output_tokens, answer.usage.input_tokens_details.image_tokens) == (408, 0)
        assert (answer.size, answer.quality, answer.output_format) == ("1024x1536", "low", "jpeg")

    def test_edits(self, client: openai.OpenAI) -> None:
        pictures = [("a.png", png()), ("b.png", png())]
        answer = client.images.edit(model="gpt-image-1", prompt="a person", image=pictures, size="1024x1024", n=2)
        assert answer.data is not None and answer.usage is not None
        assert len(answer.data) == 2
        assert answer.usage.input_tokens_details.image_tokens == 2 * 323

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("429", openai.RateLimitError),
            ("429_quota", openai.RateLimitError),
            ("401", openai.AuthenticationError),
            ("403", openai.PermissionDeniedError),
            ("400", openai.BadRequestError),
            ("404", openai.NotFoundError),
            ("409", openai.ConflictError),
            ("422", openai.UnprocessableEntityError),
            ("500", openai.InternalServerError),
            ("reset", openai.APIConnectionError),
            ("drop", openai.APIConnectionError),
            ("html_200", openai.APIResponseValidationError),
        ],
    )
    def test_errors(
        self, client: openai.OpenAI, openai_server: OpenAIServer, fault: str, error: type[openai.OpenAIError]
    ) -> None:
        openai_server.script("chat", fault)
        with pytest.raises(error):
            client.chat.completions.create(**chat_body())

    def test_codes_of_what_stops_a_run(self, client: openai.OpenAI, openai_server: OpenAIServer) -> None:
        faults = ("429_quota", "429_credit", "429_spend_limit", "429_org_limit", "429_slow_down", "429")
        openai_server.script("chat", *faults)
        codes = []
        for _ in faults:
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(**chat_body())
            codes.append(caught.value.code)
        assert codes == [
            "insufficient_quota",
            "credit_balance_exhausted",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "slow_down",
            "rate_limit_exceeded",
        ]


def said(server: OpenAIServer, fault: str) -> dict[str, Any]:
    """The answer to a chat that meets a fault."""
    server.set(answer="constant")
    server.script("chat", fault)
    answer = send(server, "chat")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


class TestFaultsInTheAnswer:
    def test_refusal(self, openai_server: OpenAIServer) -> None:
        choice = said(openai_server, "refusal")["choices"][0]
        assert choice["message"]["refusal"].startswith("I'm sorry")
        assert (choice["message"]["content"], choice["finish_reason"]) == (None, "stop")

    def test_length(self, openai_server: OpenAIServer) -> None:
        choice = said(openai_server, "length")["choices"][0]
        assert choice["finish_reason"] == "length"
        with pytest.raises(json.JSONDecodeError):
            json.loads(choice["message"]["content"])

    def test_content_filter(self, openai_server: OpenAIServer) -> None:
        assert said(openai_server, "content_filter")["choices"][0]["finish_reason"] == "content_filter"

    def test_schema_mismatch_is_json_of_another_shape(self, openai_server: OpenAIServer) -> None:
        content = json.loads(said(openai_server, "schema_mismatch")["choices"][0]["message"]["content"])
        assert set(content) & set(chat.GOOD) == set()

    def test_not_json(self, openai_server: OpenAIServer) -> None:
        with pytest.raises(json.JSONDecodeError):
            json.loads(said(openai_server, "not_json")["choices"][0]["message"]["content"])

    def test_empty_choices(self, openai_server: OpenAIServer) -> None:
        assert said(openai_server, "empty_choices")["choices"] == []

    def test_null_content(self, openai_server: OpenAIServer) -> None:
        message = said(openai_server, "null_content")["choices"][0]["message"]
        assert (message["content"], message["refusal"]) == (None, None)

    def test_no_usage(self, openai_server: OpenAIServer) -> None:
        assert "usage" not in said(openai_server, "no_usage")

    def test_moderation_blocked(self, openai_server: OpenAIServer) -> None:
        openai_server.always("images", "moderation_blocked")
        answer = send(openai_server, "images")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "moderation_blocked")

    def test_images_that_are_none(self, openai_server: OpenAIServer) -> None:
        openai_server.set(paint=plain)
        openai_server.script("images", "no_images", "not_base64", "not_an_image")
        assert send(openai_server, "images").json()["data"] == []
        with pytest.raises(ValueError, match="base64"):
            base64.b64decode(send(openai_server, "images").json()["data"][0]["b64_json"], validate=True)
        data = base64.b64decode(send(openai_server, "images").json()["data"][0]["b64_json"])
        assert data.startswith(b"<svg>")


class TestWhatTheVendorRefuses:
    def refused(self, server: OpenAIServer, path: str, body: Any) -> str:
        answer = ask("POST", f"{server.url}/{path}", headers=BEARER, json=body)
        assert answer.status_code == 400
        return str(answer.json()["error"]["message"])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"additionalProperties": True}, "'additionalProperties' is required to be supplied and to be false"),
            ({"required": ["is_clear"]}, "'required' is required to be supplied"),
        ],
    )
    def test_loose_schemas(self, openai_server: OpenAIServer, changes: dict[str, Any], message: str) -> None:
        body = chat_body()
        body["response_format"]["json_schema"]["schema"] |= changes
        assert message in self.refused(openai_server, "chat/completions", body)

    @pytest.mark.parametrize(
        "url", ["data:image/bmp;base64,AAAA", "data:image/png;base64,A", "http://127.0.0.1:9/a.png"]
    )
    def test_images_that_cannot_be_had(self, openai_server: OpenAIServer, url: str) -> None:
        body = chat_body()
        body["messages"][0]["content"][1]["image_url"]["url"] = url
        assert self.refused(openai_server, "chat/completions", body)

    @pytest.mark.parametrize("body", [[], {}, {"model": "gpt-4.1-mini"}, {"messages": []}, chat_body(stream=True)])
    def test_no_requests(self, openai_server: OpenAIServer, body: Any) -> None:
        assert self.refused(openai_server, "chat/completions", body)

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": "1000x1000"},
            {"quality": "best"},
            {"n": 11},
            {"prompt": ""},
            {"response_format": "url"},
            {"seed": 1},
        ],
    )
    def test_image_parameters(self, openai_server: OpenAIServer, changes: dict[str, Any]) -> None:
        assert self.refused(openai_server, "images/generations", image_body(**changes))

    def test_edits_without_an_image(self, openai_server: OpenAIServer) -> None:
        assert "multipart" in self.refused(openai_server, "images/edits", {"prompt": "x"})
        answer = ask(
            "POST", f"{openai_server.url}/images/edits", headers=BEARER, files={"image": ("a.png", b"no image")}
        )
        assert answer.json()["error"]["code"] == "invalid_image_file"


def test_a_tests_own_callable_answers(openai_server: OpenAIServer) -> None:
    seen: list[chat.Asked] = []

    def answer(asked: chat.Asked) -> dict[str, Any]:
        seen.append(asked)
        return {**chat.GOOD, "is_clear": False}

    openai_server.set(answer=answer)
    content = send(openai_server, "chat").json()["choices"][0]["message"]["content"]
    assert json.loads(content)["is_clear"] is False
    assert seen[0].facts == {"description": DESCRIPTION, "outfit": OUTFIT}
    assert seen[0].images == [png()]
    assert (seen[0].schema_name, seen[0].strict) == ("base_image", True)


def test_another_schema_gets_the_least_that_is_valid(openai_server: OpenAIServer) -> None:
    schema = {
        "type": "object",
        "properties": {
            "style": {"enum": ["photorealistic", "bw"]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "score": {"type": "number", "minimum": 3},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "sure": {"type": "boolean"},
        },
        "required": ["style", "tags", "score", "note", "sure"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "style", "strict": True, "schema": schema}}
    answer = ask("POST", f"{openai_server.url}/chat/completions", headers=BEARER, json=chat_body(response_format=form))
    value = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert value == {"style": "photorealistic", "tags": ["x", "x"], "score": 3, "note": "x", "sure": True}


def test_few_tokens_cut_the_answer_off(openai_server: OpenAIServer) -> None:
    openai_server.set(answer="constant")
    body = chat_body(max_completion_tokens=5)
    choice = ask("POST", f"{openai_server.url}/chat/completions", headers=BEARER, json=body).json()["choices"][0]
    assert (len(choice["message"]["content"]), choice["finish_reason"]) == (20, "length")


def test_the_same_prompt_gives_the_same_bytes(openai_server: OpenAIServer) -> None:
    texts = [send(openai_server, "images").json()["data"][0]["b64_json"] for _ in range(2)]
    assert texts[0] == texts[1]


def test_prompts_are_read_back_as_they_were_filled_in() -> None:
    from steps.plan import PROMPT as IMAGE_PROMPT

    prompt = IMAGE_PROMPT.replace("{description}", "A man. Wearing: a hat he likes").replace("{outfit}", "a suit")
    assert described(prompt) == ("A man. Wearing: a hat he likes", "a suit")
    assert described("just a dog") == ("just a dog", "")


def test_facts_without_outfit_are_empty() -> None:
    text = PROMPT.replace("{description}", "a man\nof two lines").replace("{outfit}", "(none)")
    asked = chat.Asked({"messages": [{"role": "user", "content": text}]})
    assert asked.facts == {"description": "a man\nof two lines", "outfit": ""}


@WITHOUT_SCHEMAS
class TestSchemas:
    def test_a_good_request_and_answer_are_found_good(self, openai_server: OpenAIServer) -> None:
        openai_server.set(paint=plain, answer="constant")
        for route in ("chat", "models", "model", "images", "edits"):
            assert send(openai_server, route).status_code == 200
        assert openai_server.violations == []

    @pytest.mark.parametrize(
        ("path", "value", "told"),
        [
            (["max_token"], 3, "max_token"),
            (["temperature"], 5, "/temperature: 5 is greater than the maximum of 2"),
            (["temperature"], "hot", "/temperature"),
            (["messages"], [], "/messages"),
            (["messages", 0, "role"], "boss", "/messages/0"),
            (["messages", 0, "content", 1, "type"], "image", "/messages/0/content/1"),
            (["messages", 0, "content", 1, "image_url"], {}, "'url' is a required property"),
            (["messages", 0, "content", 1, "image_url", "detail"], "ultra", "'ultra' is not one of"),
            (["messages", 0, "content", 1, "detail"], "low", "'detail' was unexpected"),
            (["response_format", "type"], "json", "/response_format"),
            (["response_format", "json_schema", "schem"], {}, "'schem' was unexpected"),
        ],
    )
    def test_a_wrong_request_is_found(self, path: list[Any], value: Any, told: str) -> None:
        body = chat_body()
        place: Any = body
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        (fault,) = schemas.faults("CreateChatCompletionRequest", body)
        assert told in fault

    @pytest.mark.parametrize(
        ("schema", "body"),
        [
            ("CreateChatCompletionResponse", {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}),
            ("ListModelsResponse", {"object": "list", "data": [{"id": "m"}]}),
            ("ImagesResponse", {"created": "now"}),
            ("ImagesResponse", {"created": 1, "data": [{"b64": "x"}]}),
            ("CreateImageRequest", {"prompt": "x", "n": 11}),
            ("CreateImageRequest", {"prompt": "x", "seed": 1}),
            ("ErrorResponse", {"error": {"message": "x"}}),
        ],
    )
    def test_other_wrong_bodies_are_found(self, schema: str, body: Any) -> None:
        assert list(schemas.faults(schema, body))

    @pytest.mark.parametrize("place", ["id", "choices", "usage"])
    def test_a_wrong_answer_is_found(self, place: str) -> None:
        answer = chat.completion(chat.Reply("x"), "m", 1)
        assert list(schemas.faults("CreateChatCompletionResponse", answer)) == []
        assert list(schemas.faults("CreateChatCompletionResponse", {**answer, place: 3}))

    def test_null_is_allowed_where_openapi_says_nullable(self) -> None:
        assert list(schemas.faults("CreateChatCompletionRequest", chat_body(temperature=None))) == []
        assert list(schemas.faults("CreateChatCompletionRequest", chat_body(messages=None)))

    def test_what_a_client_sends_wrong_is_collected(self, openai_server: OpenAIServer) -> None:
        ask("POST", f"{openai_server.url}/chat/completions", headers=BEARER, json=chat_body(max_token=3))
        (violation,) = openai_server.violations
        assert violation.startswith("CreateChatCompletionRequest at /: ")
        assert "max_token" in violation

    def test_errors_are_of_the_published_shape(self, openai_server: OpenAIServer) -> None:
        for fault in openai_server.faults("images"):
            if fault.partition("_")[0].isdigit() and fault != "502_html":
                openai_server.script("images", fault)
                assert list(schemas.faults("ErrorResponse", send(openai_server, "images").json())) == []


def test_what_no_published_schema_covers_is_said() -> None:
    pytest.skip(
        "not checked against a published schema, since there is none here: Replicate, RunPod, OpenAI's multipart edits "
        "and rate headers; the vendors' SDKs judge Replicate's answers and the edits' answers"
    )
