"""Vision through the real SDK against a server on this machine: what goes out, and what becomes of whatever comes back."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.budget import Budget, BudgetSettings
from runner.calls import Calls
from runner.errors import BadAnswer, CallsheetError, ItemError, MisconfiguredRun, ProviderStopped, Refused, Transient
from runner.exchanges import Exchanges
from runner.ledger import Ledger
from runner.rates import RateHeaders
from steps import judging
from steps.backends import http
from steps.backends.openai.client import limits
from steps.backends.openai.vision import OpenAIVision, OpenAIVisionSettings
from steps.backends.protocols import Question
from steps.library.pictures import Picture, decode, encode_jpeg
from tests.fakes.openai import OpenAIServer
from tests.support import calls

Make = Callable[..., OpenAIVision]
KEY = "canary-openai-key-4711"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def vision(openai_server: OpenAIServer) -> Iterator[Make]:
    """Makes backends that ask the local server, and closes them."""
    with contextlib.ExitStack() as held:

        def make(made: Calls, **settings: Any) -> OpenAIVision:
            backend = OpenAIVision(OpenAIVisionSettings(**{"base_url": openai_server.url, **settings}), made)
            held.callback(backend.close)
            return backend

        yield make


def question(picture: Picture | None = None) -> Question:
    shown = picture or Picture.of(Image.new("RGB", (64, 96), "teal"))
    facts = {"description": "30 year old man", "outfit": "a grey suit"}
    text = judging.PROMPT.replace("{description}", facts["description"]).replace("{outfit}", facts["outfit"])
    return Question(text=text, images=(shown,), schema=judging.SCHEMA, name="base_image", facts=facts)


def sent_image(server: OpenAIServer) -> Image.Image:
    part = server.requests[-1].json()["messages"][0]["content"][-1]
    assert part["image_url"]["detail"] == "high"
    return Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].split(",")[1])))


def test_an_answer_is_checked_and_paid_for_by_its_usage(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make, tmp_path: Path
) -> None:
    made = calls(ledger)
    made.exchanges = Exchanges(tmp_path / "debug", "vision=openai")
    answer = vision(made).ask(question())
    assert set(answer.data) == set(judging.SCHEMA["required"])
    kept = next((tmp_path / "debug").rglob("*.json"))
    usage = json.loads(kept.read_text("utf-8"))["answer"]["body"]["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    usd = ((usage["prompt_tokens"] - cached) * 0.4 + cached * 0.1 + usage["completion_tokens"] * 1.6) / 1e6
    assert answer.usd == pytest.approx(usd)
    assert usd > 0
    ledger.flush()
    spent, count = Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()
    assert spent == pytest.approx(usd)
    assert count == 1
    assert openai_server.violations == []


def test_the_request_is_strict_and_made_for_prompt_caching(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make
) -> None:
    vision(calls(ledger)).ask(question())
    request = openai_server.requests[-1].json()
    assert request["response_format"]["json_schema"]["strict"] is True
    assert [part["type"] for part in request["messages"][0]["content"]] == ["text", "image_url"]
    assert request["messages"][0]["content"][0]["text"].startswith(judging.PROMPT[:200])
    assert openai_server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_large_images_are_sent_smaller_and_plain_ones_as_they_are(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make
) -> None:
    backend = vision(calls(ledger))
    backend.ask(question(Picture.of(Image.new("RGB", (1024, 1536), "teal"))))
    assert sent_image(openai_server).size == (683, 1024)
    plain = encode_jpeg(Image.new("RGB", (300, 200), "teal"))
    backend.ask(question(decode(plain, "a.jpg")))
    sent = openai_server.requests[-1].json()["messages"][0]["content"][-1]["image_url"]["url"]
    assert base64.b64decode(sent.split(",")[1]) == plain


def test_no_metadata_leaves_the_house(openai_server: OpenAIServer, ledger: Ledger, vision: Make) -> None:
    """Where a photograph was taken, or a caption with the answer in it, is not the model's business."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "a perfect likeness"
    exif[0x0112] = 6
    Image.new("RGB", (300, 200), "teal").save(buffer, "JPEG", exif=exif, comment=b"also here")
    vision(calls(ledger)).ask(question(decode(buffer.getvalue(), "a.jpg")))
    sent = sent_image(openai_server)
    assert sent.size == (200, 300)
    assert not sent.getexif()
    assert "comment" not in sent.info


@pytest.mark.parametrize(
    ("fault", "outcome", "message", "asked"),
    [
        ("429", ItemError, "429", 3),
        ("429_slow_down", ItemError, "slow_down", 3),
        ("429_quota", ProviderStopped, "insufficient_quota", 1),
        ("429_credit", ProviderStopped, "credit_balance_exhausted", 1),
        ("429_spend_limit", ProviderStopped, "spend_limit_exceeded", 1),
        ("429_org_limit", ProviderStopped, "organization_usage_limit_exceeded", 1),
        ("401", ProviderStopped, "set OPENAI_API_KEY", 1),
        ("403", ProviderStopped, "403", 1),
        ("400", ItemError, "400", 1),
        ("404", ItemError, "404", 1),
        ("422", ItemError, "422", 1),
        ("408", ItemError, "gave up after 3 attempts", 3),
        ("409", ItemError, "gave up after 3 attempts", 3),
        ("500", ItemError, "gave up after 3 attempts", 3),
        ("502_html", ItemError, "gave up after 3 attempts", 3),
        ("503", ItemError, "gave up after 3 attempts", 3),
        ("drop", ItemError, "gave up after 3 attempts", 3),
        ("reset", ItemError, "gave up after 3 attempts", 3),
        ("hang", ItemError, "gave up after 3 attempts", 3),
        ("drip", ItemError, "no whole answer within", 3),
        ("html_200", ItemError, "no JSON but '<.*is http", 2),
        ("cut_json", ItemError, "no JSON but '{", 2),
        ("not_json", ItemError, "not JSON", 2),
        ("schema_mismatch", ItemError, "not of the schema", 2),
        ("length", ItemError, "cut off at max_tokens", 2),
        ("content_filter", ItemError, "content filter", 2),
        ("empty_choices", ItemError, "without choices", 2),
        ("null_content", ItemError, "empty answer", 2),
        ("refusal", Refused, "openai:", 1),
        ("redirect", ProviderStopped, "your key does not go", 1),
    ],
)
def test_every_fault_has_its_outcome(
    openai_server: OpenAIServer,
    ledger: Ledger,
    vision: Make,
    fault: str,
    outcome: type[CallsheetError],
    message: str,
    asked: int,
) -> None:
    openai_server.always("chat", fault)
    openai_server.set(drip_s=0.02)
    timeout = 0.3 if fault in ("hang", "drip") else 5.0
    with pytest.raises(outcome, match=message) as caught:
        vision(calls(ledger), timeout_s=timeout).ask(question())
    assert type(caught.value) is outcome
    assert KEY not in str(caught.value)
    assert openai_server.counts["chat"] == asked


@pytest.mark.parametrize(
    "body", ["{}", '{"choices": [{}]}', '{"choices": 5}', "[]", "null", '"text"', '{"choices": [{"message": null}]}']
)
def test_json_of_any_other_shape_is_a_bad_answer(ledger: Ledger, vision: Make, body: str) -> None:
    with saying(body) as url, pytest.raises(ItemError, match=r"openai: .*gave up after 2"):
        vision(calls(ledger), base_url=url).ask(question())


@contextlib.contextmanager
def saying(body: str) -> Iterator[str]:
    """A server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_has_recovered_is_asked_once_more(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make
) -> None:
    openai_server.script("chat", "500", "reset")
    assert vision(calls(ledger)).ask(question()).data
    assert openai_server.counts["chat"] == 3


def test_retry_after_is_honoured_also_above_two_minutes(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make
) -> None:
    """The SDK itself would give up at once."""
    from runner.calls import RetrySettings

    openai_server.always("chat", "429_long")
    with pytest.raises(Transient) as caught:
        vision(calls(ledger, retry=RetrySettings(attempts=1))).ask(question())
    assert caught.value.retry_after == 300
    assert caught.value.throttled


def test_a_bad_answer_was_billed_and_one_that_never_came_may_be(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make
) -> None:
    openai_server.script("chat", "schema_mismatch", "ok")
    made = calls(ledger)
    backend = vision(made)
    usd = backend.ask(question()).usd
    ledger.flush()
    budget = Budget(ledger, BudgetSettings(), scope="scope", run="run")
    assert budget.spent()[0] == pytest.approx(2 * usd, rel=0.3)
    openai_server.script("chat", "drop", "ok")
    before = budget.spent()[0]
    backend.ask(question())
    ledger.flush()
    assert budget.spent()[0] - before == pytest.approx(usd + (backend.estimate(question()) or 0), rel=0.3)


def test_the_estimate_is_never_below_the_cost(openai_server: OpenAIServer, ledger: Ledger, vision: Make) -> None:
    backend = vision(calls(ledger))
    # As the vendor counts: 32 x 32 patches of what is sent, times 1.62.
    for size, tokens in (((64, 64), 7), ((1024, 1536), 1141), ((4000, 300), 156)):
        openai_server.set(image_tokens=tokens)
        asked = question(Picture.of(Image.new("RGB", size, "teal")))
        estimate = backend.estimate(asked)
        assert estimate is not None
        assert backend.ask(asked).usd <= estimate


def test_an_unknown_model_has_no_price_and_a_file_of_ones_own_gives_it_one(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make, tmp_path: Path
) -> None:
    assert vision(calls(ledger), model="house-model").estimate(question()) is None
    own = tmp_path / "prices.yaml"
    own.write_text("openai: {house-model: {as_of: 2026-11-20, input: 1, output: 2}}")
    priced = vision(calls(ledger), model="house-model", prices=str(own))
    assert (priced.estimate(question()) or 0) > 0
    own.write_text("openai: {house-model: {as_of: 2026-11-20, inputs: 1}}")
    with pytest.raises(MisconfiguredRun, match=r"prices.yaml: /openai/house-model"):
        vision(calls(ledger), prices=str(own))


def test_a_model_that_is_not_there_stops_the_run(openai_server: OpenAIServer, ledger: Ledger, vision: Make) -> None:
    with pytest.raises(MisconfiguredRun, match="model_not_found"):
        vision(calls(ledger), model="gpt-imaginary").ask(question())


def test_without_a_key_nothing_is_sent(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    backend = OpenAIVision(OpenAIVisionSettings(), calls(ledger))
    assert backend.estimate(question())
    with pytest.raises(MisconfiguredRun, match="OPENAI_API_KEY is not set: set it, or choose another backend"):
        backend.prepare()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "https://evil.example/v1"}, "is not openai's own address"),
        ({"base_url": "http://api.openai.com/v1"}, "is not openai's own address"),
        ({"base_url": "https://api.openai.com.evil.example"}, "is not openai's own address"),
        ({"base_url": "ftp://api.openai.com"}, "is no address"),
        ({"key_env": "REPLICATE_API_TOKEN"}, "holds a key of replicate"),
        ({"key_env": "HOME"}, "does not look like the name of a key"),
    ],
)
def test_a_recipe_can_not_send_a_key_where_it_likes(ledger: Ledger, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MisconfiguredRun, match=message) as caught:
        OpenAIVision(OpenAIVisionSettings(**settings), calls(ledger)).ask(question())
    assert KEY not in str(caught.value)


def test_a_user_may_trust_another_host(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSHEET_TRUSTED_HOSTS", "gateway.example, other.example")
    OpenAIVision(OpenAIVisionSettings(base_url="https://gateway.example/v1"), calls(ledger)).prepare()


def test_debug_keeps_exchanges_without_key_and_image(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make, tmp_path: Path
) -> None:
    made = calls(ledger)
    made.exchanges = Exchanges(tmp_path / "debug", "vision=openai", lambda: "validate/0001 ../x")
    openai_server.script("chat", "401_echo")
    backend = vision(made)
    with pytest.raises(ProviderStopped):
        backend.ask(question())
    backend.ask(question())
    first, second = sorted(tmp_path.rglob("*.json"))
    assert first.parent.name == "0001_.._x"
    assert json.loads(first.read_text("utf-8"))["answer"]["status"] == 401
    kept = json.loads(second.read_text("utf-8"))
    assert kept["request"]["body"]["model"] == "gpt-4.1-mini"
    assert "sha256" in kept["request"]["body"]["messages"][0]["content"][1]["image_url"]["url"]
    assert kept["answer"]["body"]["choices"]
    assert KEY not in first.read_text("utf-8") + second.read_text("utf-8")
    assert second.stat().st_size < 10_000


def test_every_error_of_the_sdk_is_sorted() -> None:
    import httpx2
    import openai

    from steps.backends.openai.client import sorted_error

    request = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")
    for name in dir(openai):
        kind = getattr(openai, name)
        if not (isinstance(kind, type) and issubclass(kind, openai.OpenAIError)):
            continue
        error = kind.__new__(kind)
        Exception.__init__(error, name)
        error.__dict__.update(
            message=name,
            code=None,
            type=None,
            param=None,
            status_code=getattr(kind, "status_code", 500),
            body=None,
            request=request,
        )
        error.__dict__["response"] = httpx2.Response(error.__dict__["status_code"], request=request)
        assert isinstance(sorted_error(error), CallsheetError), name
    assert isinstance(sorted_error(ValueError("x")), BadAnswer)


def test_a_model_that_is_about_to_end_is_told_before_a_long_run(
    ledger: Ledger, vision: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("callsheet").propagate = True
    soon, later = (datetime.now(UTC).date() + timedelta(days=days) for days in (30, 300))
    own = tmp_path / "prices.yaml"
    own.write_text(
        f"openai:\n  old: {{as_of: 2026-11-01, ends: {soon}, successor: new}}\n  new: {{as_of: 2026-11-01, ends: {later}}}\n"
    )
    vision(calls(ledger), model="new", prices=str(own))
    assert not caplog.text
    vision(calls(ledger), model="old", prices=str(own))
    assert f"old is shut down on {soon}" in caplog.text
    assert "its successor is new" in caplog.text


@pytest.mark.parametrize(
    ("limit", "left", "reset", "expected"),
    [
        ("500", "499", "120ms", 500),
        ("500", "0", "1m0s", 500),
        ("200", "199", "7m12s", 199 / 432 * 60),
        ("200", "0", "24h0m0s", 200 / 86400 * 60),
        ("10000", "9999", "6h", 9999 / 21600 * 60),
        ("500", "499", "", 500),
        ("500", "499", "soon", 500),
        ("0", "0", "1s", None),
        ("-1", "-1", "1s", None),
        ("inf", "inf", "1s", None),
        ("nan", "5", "1s", None),
        ("many", "5", "1s", None),
    ],
)
def test_the_headers_limits_are_read_with_care(limit: str, left: str, reset: str, expected: float | None) -> None:
    names = ("limit", "remaining", "reset")
    headers = {f"x-ratelimit-{name}-requests": value for name, value in zip(names, (limit, left, reset), strict=True)}
    found = limits(headers).requests_per_minute
    assert found == (None if expected is None else pytest.approx(expected))
    assert limits({}) == RateHeaders()


@pytest.mark.parametrize("key", ["sk-abc\r", "sk abc", "sk-“abc”", "sk-abc\n"])
def test_a_key_that_no_header_takes_is_refused_and_not_told(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(MisconfiguredRun, match="set it again") as caught:
        vision(calls(ledger)).ask(question())
    assert "abc" not in str(caught.value)
    assert openai_server.requests == []


def test_another_vendors_secret_does_not_go_to_this_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk-live")
    with pytest.raises(MisconfiguredRun, match="begins with OPENAI_"):
        OpenAIVision(OpenAIVisionSettings(key_env="STRIPE_SECRET_KEY"), calls(ledger)).prepare()


@pytest.mark.parametrize("fault", ["no_usage", "cut_json", "html_200"])
def test_what_is_not_known_counts_at_its_estimate(
    openai_server: OpenAIServer, ledger: Ledger, vision: Make, fault: str
) -> None:
    openai_server.script("chat", fault, "ok")
    backend = vision(calls(ledger))
    backend.ask(question())
    ledger.flush()
    most = backend.estimate(question()) or 0
    assert Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()[0] >= most


def test_a_price_that_is_no_number_is_refused_and_an_own_file_needs_only_what_differs(
    ledger: Ledger, vision: Make, tmp_path: Path
) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text("openai: {gpt-4.1-mini: {as_of: 2026-11-20, input: 0.8}}")
    dearer = vision(calls(ledger), prices=str(own)).estimate(question()) or 0
    assert dearer > (vision(calls(ledger)).estimate(question()) or 0) > 0
    own.write_text("openai: {gpt-4.1-mini: {as_of: 2026-11-20, input: .nan}}")
    with pytest.raises(MisconfiguredRun, match="no number"):
        vision(calls(ledger), prices=str(own))


@pytest.mark.parametrize(
    ("value", "seconds"), [("inf", None), ("nan", None), ("100000000000", 86_400.0), ("-5", None), ("7", 7.0)]
)
def test_a_wait_is_a_number_of_at_most_a_day(value: str, seconds: float | None) -> None:
    assert http.retry_after({"retry-after": value}) == seconds
    assert http.retry_after({"retry-after-ms": "inf"}) is None
