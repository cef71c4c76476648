"""Every fault of every server, under every backend and on every route that it uses: the outcome, and what a person is told."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from PIL import Image

from runner.calls import Calls, RetrySettings
from runner.errors import CallsheetError, ItemError, MisconfiguredRun, ProviderStopped, Refused, RunStopped, Transient
from runner.ledger import Ledger
from runner.stop import Stop
from steps import judging
from steps.backends.openai.image import OpenAIImage, OpenAIImageSettings
from steps.backends.openai.vision import OpenAIVision, OpenAIVisionSettings
from steps.backends.protocols import ImageRequest, Question
from steps.backends.replicate import ReplicateImage, ReplicateSettings
from steps.backends.runpod import RunPodImage, RunPodSettings
from steps.library.pictures import Picture
from tests.chaos.conftest import Record
from tests.fakes.faults import FAULTS
from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer
from tests.support import AT_ONCE, calls

KEY = "canary-faults-key-93"
WORKS = "it works"
# Long enough for a busy machine to answer, short enough to wait for what never comes.
PATIENCE_S = 0.4


class Subject(NamedTuple):
    """A backend, the server that it asks and the routes that it takes."""

    server: Any
    build: Callable[[Any, Calls, float], Any]
    routes: tuple[str, ...]


def _question() -> Question:
    picture = Picture.of(Image.new("RGB", (64, 96), "teal"))
    facts = {"description": "30 year old man", "outfit": "a grey suit"}
    return Question(judging.PROMPT, (picture,), judging.SCHEMA, "base_image", facts)


def _request() -> ImageRequest:
    return ImageRequest(key="action/0", prompt="a man in a suit", width=64, height=96, steps=25, seed=7)


def _vision(server: OpenAIServer, made: Calls, seconds: float) -> OpenAIVision:
    return OpenAIVision(OpenAIVisionSettings(base_url=server.url, timeout_s=seconds), made)


def _image(server: OpenAIServer, made: Calls, seconds: float) -> OpenAIImage:
    return OpenAIImage(OpenAIImageSettings(base_url=server.url, timeout_s=seconds), made)


def _replicate(server: ReplicateServer, made: Calls, seconds: float) -> ReplicateImage:
    return ReplicateImage(ReplicateSettings(base_url=server.url, poll_s=0.0, request_timeout_s=seconds), made)


def _runpod(server: RunPodServer, made: Calls, seconds: float) -> RunPodImage:
    settings = RunPodSettings(
        endpoint="flux", base_url=server.url, poll_s=0.0, request_timeout_s=seconds, gpu_usd_per_hour=2.0
    )
    return RunPodImage(settings, made)


SUBJECTS = {
    "vision=openai": Subject(OpenAIServer, _vision, ("chat",)),
    "image=openai": Subject(OpenAIServer, _image, ("images",)),
    "image=replicate": Subject(ReplicateServer, _replicate, ("create", "get", "output")),
    "image=runpod": Subject(RunPodServer, _runpod, ("run", "status", "output")),
}
AGAIN = (ItemError, "gave up after")
STOPS = (ProviderStopped, "")
FAILS = (ItemError, "")
# What each fault must end in, wherever it happens; then what is different on a route.
EXPECTED: dict[str, tuple[type[CallsheetError] | str, str]] = {
    **dict.fromkeys(("408", "409", "500", "502_html", "503", "429", "429_after", "429_slow_down"), AGAIN),
    **dict.fromkeys(("drop", "reset", "hang", "drip"), AGAIN),
    **dict.fromkeys(("html_200", "cut_json", "not_json", "schema_mismatch", "length", "content_filter"), AGAIN),
    **dict.fromkeys(("empty_choices", "null_content", "no_images", "not_base64"), AGAIN),
    **dict.fromkeys(("401", "401_echo", "402", "403", "redirect"), STOPS),
    **dict.fromkeys(("429_quota", "429_credit", "429_spend_limit", "429_org_limit"), STOPS),
    **dict.fromkeys(("400", "404", "422"), FAILS),
    "429_long": (Transient, "429"),
    "refusal": (Refused, ""),
    "moderation_blocked": (Refused, ""),
    "failed_E005": (Refused, "E005"),
    "no_usage": (WORKS, ""),
    "slow": (WORKS, ""),
    "created_then_drop": (WORKS, ""),
    "failed": FAILS,
    "canceled": (ItemError, "cancel"),
    "aborted": (Transient, "aborted"),
    "none_output": FAILS,
    "not_an_image": FAILS,
    "FAILED": FAILS,
    "CANCELLED": (ItemError, "(?i)cancel"),
    "TIMED_OUT": FAILS,
    "RUNNING": (WORKS, ""),
    "no_output": (ItemError, "output"),
    "output_errors": FAILS,
    "output_warnings": (WORKS, ""),
    "bad_filename": (WORKS, ""),
    "s3_url": (WORKS, ""),
    "expired_output": (Transient, "gone|expired"),
    "wrong_output": FAILS,
    "gone": FAILS,
}
FILES = ("401", "401_echo", "402", "403", "404", "400", "422", "409", "408", "redirect", "cut_json")
# What is different on a route. A host that serves files is no provider that could stop a run; what it refuses is gone. A create that names
# what is not there would fail for every item. Replicate lists what it has created, so that a create whose answer is lost is found again.
ON_ROUTE: dict[str, dict[str, tuple[type[CallsheetError] | str, str]]] = {
    "output": dict.fromkeys(FILES, FAILS),
    "create": {**dict.fromkeys(("cut_json", "reset", "drip"), (WORKS, "")), "404": (MisconfiguredRun, "Correct")},
    "run": {"404": (MisconfiguredRun, "Correct"), "created_then_drop": AGAIN},
}


def cases() -> Iterator[tuple[str, str, str]]:
    for backend, subject in SUBJECTS.items():
        for fault, about in FAULTS.items():
            if subject.server.name in about.servers:
                routes = [route for route in subject.routes if not about.routes or route in about.routes]
                yield from ((backend, route, fault) for route in routes)


@pytest.fixture
def ledger(tmp_path: Any) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


class Hurried(Stop):
    """Waits for nothing."""

    def sleep(self, seconds: float) -> None:
        self.check()


def outcome(backend: str, route: str, fault: str, ledger: Ledger) -> CallsheetError | str:
    """What comes of one call under the fault."""
    subject = SUBJECTS[backend]
    retry = RetrySettings(attempts=1) if fault == "429_long" else AT_ONCE
    with subject.server() as server, contextlib.ExitStack() as held:
        server.set(paint="plain", retry_after_s=0.0, drip_s=0.05)
        if route == "output" and backend == "image=runpod":
            server.set(image_type="s3_url")
        server.always(route, fault)
        seconds = PATIENCE_S if fault in ("hang", "drip") else 10.0
        asked = subject.build(server, calls(ledger, retry=retry, stop=Hurried()), seconds)
        held.callback(asked.close)
        try:
            asked.ask(_question()) if route == "chat" else asked.make(_request())
        except (ItemError, MisconfiguredRun, RunStopped) as error:
            return error
        return WORKS


@pytest.mark.chaos
@pytest.mark.parametrize(("backend", "route", "fault"), list(cases()))
def test_ends_in_its_outcome(
    backend: str, route: str, fault: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    for name in ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "RUNPOD_API_KEY"):
        monkeypatch.setenv(name, KEY)
    found = outcome(backend, route, fault, ledger)
    said = " ".join(str(found).replace(KEY, "[secret]").split())
    said = re.sub(r"127\.0\.0\.1:\d+", "HOST", said)
    record_property("fault", f"{backend}|{route}|{fault}|{_named(found)}|{said[:110]}")
    kind, words = ON_ROUTE.get(route, {}).get(fault) or EXPECTED[fault]
    if isinstance(kind, str):
        assert found == kind
        return
    assert isinstance(found, kind), found
    assert re.search(words, str(found)), found
    assert KEY not in str(found) or fault == "401_echo"


def _named(found: CallsheetError | str) -> str:
    return found if isinstance(found, str) else type(found).__name__
