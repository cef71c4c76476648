"""Images through the real SDK against a server on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from runner.budget import Budget, BudgetSettings
from runner.calls import Calls
from runner.errors import CallsheetError, ItemError, MisconfiguredRun, ProviderStopped, Refused
from runner.ledger import Ledger
from steps.backends.openai.image import OpenAIImage, OpenAIImageSettings
from steps.backends.protocols import ImageRequest
from steps.library.pictures import Picture, decode
from tests.fakes.openai import OpenAIServer
from tests.support import calls

Make = Callable[..., OpenAIImage]
KEY = "canary-openai-key-4712"


@pytest.fixture
def maker(openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes backends that ask the local server, and closes them."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    openai_server.set(paint="plain")
    with contextlib.ExitStack() as held:

        def make(made: Calls, **settings: Any) -> OpenAIImage:
            backend = OpenAIImage(OpenAIImageSettings(base_url=openai_server.url, **settings), made)
            held.callback(backend.close)
            return backend

        yield make


def request(**changes: Any) -> ImageRequest:
    given = {
        "key": "one",
        "prompt": "a trickster — «Алдар Көсе»",
        "width": 1024,
        "height": 1536,
        "steps": 25,
        "seed": 7,
    }
    return ImageRequest(**{**given, **changes})


def test_an_image_is_made_and_paid_for_by_its_usage(openai_server: OpenAIServer, ledger: Ledger, maker: Make) -> None:
    backend = maker(calls(ledger))
    made = backend.make(request())
    assert decode(made.data, "made").size == (1024, 1536)
    assert 0 < made.usd <= (backend.estimate(request()) or 0)
    sent = openai_server.requests[-1].json()
    assert sent["prompt"] == request().prompt
    assert sent["size"] == "1024x1536"
    ledger.flush()
    assert Budget(ledger, BudgetSettings(), scope="scope", run="run").spent()[0] == pytest.approx(made.usd)
    assert openai_server.violations == []


def test_a_reference_is_edited(openai_server: OpenAIServer, ledger: Ledger, maker: Make) -> None:
    backend = maker(calls(ledger))
    reference = Picture.of(Image.new("RGB", (300, 400), "teal"))
    made = backend.make(request(reference=reference))
    assert openai_server.counts["edits"] == 1
    assert b"\xff\xd8\xff" in openai_server.requests[-1].body
    assert made.usd <= (backend.estimate(request(reference=reference)) or 0)


@pytest.mark.parametrize(
    ("fault", "outcome", "message", "asked"),
    [
        ("moderation_blocked", Refused, "moderation_blocked", 1),
        ("429_quota", ProviderStopped, "insufficient_quota", 1),
        ("401", ProviderStopped, "set OPENAI_API_KEY", 1),
        ("400", ItemError, "400", 1),
        ("500", ItemError, "gave up after 3 attempts", 3),
        ("429", ItemError, "gave up after 3 attempts", 3),
        ("reset", ItemError, "gave up after 3 attempts", 3),
        ("html_200", ItemError, "no image in the answer", 2),
        ("cut_json", ItemError, "no image in the answer", 2),
        ("no_images", ItemError, "no image in the answer", 2),
        ("not_base64", ItemError, "no image in the answer", 2),
        ("not_an_image", ItemError, "no image in the answer: the image that came", 2),
        ("redirect", ProviderStopped, "your key does not go", 1),
    ],
)
def test_every_fault_has_its_outcome(
    openai_server: OpenAIServer,
    ledger: Ledger,
    maker: Make,
    fault: str,
    outcome: type[CallsheetError],
    message: str,
    asked: int,
) -> None:
    openai_server.always("images", fault)
    with pytest.raises(outcome, match=message) as caught:
        maker(calls(ledger)).make(request())
    assert type(caught.value) is outcome
    assert KEY not in str(caught.value)
    assert openai_server.counts["images"] == asked


def test_a_model_that_is_not_there_stops_the_run(ledger: Ledger, maker: Make) -> None:
    with pytest.raises(MisconfiguredRun, match="model_not_found"):
        maker(calls(ledger), model="gpt-image-imaginary").make(request())


def test_an_unknown_model_has_no_price(ledger: Ledger, maker: Make) -> None:
    assert maker(calls(ledger), model="gpt-image-2").estimate(request()) is None
