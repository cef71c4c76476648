"""What every maker of images must do: one suite over each of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from runner.calls import Calls
from runner.errors import ItemError, Refused
from runner.ledger import Ledger
from steps.backends.embedded import EmbeddedImage, EmbeddedImageSettings
from steps.backends.openai.image import OpenAIImage, OpenAIImageSettings
from steps.backends.protocols import ImageMaker, ImageRequest
from steps.backends.replicate import ReplicateImage, ReplicateSettings
from steps.backends.runpod import RunPodImage, RunPodSettings
from steps.library.pictures import Picture, decode
from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer
from tests.fakes.server import FakeServer
from tests.support import calls

KEY = "canary-contract-key-82"
PROMPT = "30 year old woman, «Үлпан» 山田 🎬. Wearing: a grey suit"
VENDORS = ("openai", "replicate", "runpod")


@dataclass
class Maker:
    """Makes the backend under test; `server` is None where nobody is asked over the wire."""

    ledger: Ledger
    make: Callable[[Calls], Any]
    server: FakeServer[Any] | None = None

    def __call__(self) -> ImageMaker:
        made: ImageMaker = self.make(calls(self.ledger))
        return made


def openai(server: OpenAIServer, made: Calls) -> OpenAIImage:
    return OpenAIImage(OpenAIImageSettings(base_url=server.url), made)


def replicate(server: ReplicateServer, made: Calls) -> ReplicateImage:
    return ReplicateImage(ReplicateSettings(base_url=server.url, poll_s=0.0), made)


def runpod(server: RunPodServer, made: Calls) -> RunPodImage:
    settings = RunPodSettings(endpoint="flux", base_url=server.url, poll_s=0.0, gpu_usd_per_hour=2.0)
    return RunPodImage(settings, made)


SERVERS: dict[str, tuple[Any, Any]] = {
    "openai": (OpenAIServer, openai),
    "replicate": (ReplicateServer, replicate),
    "runpod": (RunPodServer, runpod),
}


@pytest.fixture(params=("embedded", *VENDORS))
def maker(request: pytest.FixtureRequest, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    for name in ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "RUNPOD_API_KEY"):
        monkeypatch.setenv(name, KEY)
    if request.param == "embedded":
        yield Maker(ledger, lambda made: EmbeddedImage(EmbeddedImageSettings(), made))
        return
    kind, build = SERVERS[request.param]
    with contextlib.ExitStack() as held:
        server = held.enter_context(kind())
        server.set(paint="plain")

        def make(made: Calls) -> Any:
            backend = build(server, made)
            held.callback(backend.close)
            return backend

        yield Maker(ledger, make, server)
        assert server.violations == []


def request(key: str = "action/0", **changes: Any) -> ImageRequest:
    given: dict[str, Any] = {"prompt": PROMPT, "width": 1024, "height": 1536, "steps": 25, "seed": 7}
    return ImageRequest(key=key, **{**given, **changes})


@pytest.mark.parametrize("size", [(1024, 1536), (1024, 1024), (1536, 1024)])
def test_an_image_is_whole_and_of_the_shape_that_was_asked(maker: Maker, size: tuple[int, int]) -> None:
    made = maker().make(request(width=size[0], height=size[1]))
    width, height = decode(made.data, "made").size
    assert width / height == pytest.approx(size[0] / size[1], rel=0.03)
    assert made.model


def test_it_costs_at_most_the_estimate(maker: Maker) -> None:
    backend = maker()
    estimate = backend.estimate(request())
    assert estimate is not None
    assert backend.make(request()).usd <= estimate


def test_its_identity_is_the_same_each_time_and_holds_no_secret(maker: Maker) -> None:
    assert maker().identity == maker().identity != ""
    assert KEY not in maker().identity


def test_the_prompt_arrives_letter_by_letter(maker: Maker) -> None:
    maker().make(request())
    if maker.server is None:
        return
    sent = [each.json() for each in maker.server.requests if each.method == "POST"]
    assert PROMPT in json.dumps(sent, ensure_ascii=False)


def test_many_threads_may_ask(maker: Maker) -> None:
    backend = maker()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda number: backend.make(request(f"action/{number}", width=64, height=96)), range(12)))
    assert len(made) == 12
    if maker.server is not None and hasattr(maker.server, "created"):
        assert maker.server.created == 12


def test_a_job_is_fetched_again_and_never_paid_for_twice(maker: Maker) -> None:
    """The process died after the job had ended and before its image was used."""
    first = maker().make(request())
    again = maker().make(request())
    if maker.server is None:
        assert first == again
    elif hasattr(maker.server, "created"):
        assert maker.server.created == 1
        assert first.data == again.data


def test_what_is_declined_is_a_refusal(maker: Maker) -> None:
    faults = {"openai": ("images", "moderation_blocked"), "replicate": ("create", "failed_E005")}
    if maker.server is None or maker.server.name not in faults:
        pytest.skip("declines nothing")
    maker.server.always(*faults[maker.server.name])
    with pytest.raises(Refused):
        maker().make(request())


def test_a_reference_is_used_or_said_to_be_of_no_use(maker: Maker) -> None:
    reference = Picture.of(Image.new("RGB", (300, 400), "teal"))
    backend = maker()
    if maker.server is not None and maker.server.name == "runpod":
        with pytest.raises(ItemError, match="LoadImage"):
            backend.make(request(reference=reference))
        assert maker.server.counts["run"] == 0
        return
    assert decode(backend.make(request(reference=reference)).data, "made").size
