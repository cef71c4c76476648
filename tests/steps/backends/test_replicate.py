"""Images by the real SDK against a server on this machine: what goes out, and what becomes of whatever comes back."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.budget import BudgetSettings
from runner.calls import Calls
from runner.errors import (
    BudgetReached,
    CallsheetError,
    Interrupted,
    ItemError,
    MisconfiguredRun,
    ProviderStopped,
    Refused,
    Transient,
)
from runner.ledger import Ledger
from runner.params import faults
from steps.backends.replicate import DEV_RATIOS, KONTEXT_RATIOS, ReplicateImage, ReplicateSettings, inputs
from steps.backends.shapes import nearest
from steps.library.pictures import decode
from tests.fakes.faults import FAULTS
from tests.fakes.replicate import ReplicateServer
from tests.steps.backends.jobs import Hurried, StopsIn, jpeg, kept, keyed_hosts, picture, request, rows, site, spent
from tests.support import calls

Make = Callable[..., ReplicateImage]
KEY = "r8_canary-replicate-token-4711"
DEV, KONTEXT = "black-forest-labs/flux-dev", "black-forest-labs/flux-kontext-pro"
QUICK = {"poll_s": 0.0, "request_timeout_s": 5.0, "timeout_s": 30.0}
PRICE = 0.025


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
    monkeypatch.delenv("REPLICATE_BASE_URL", raising=False)


@pytest.fixture(autouse=True)
def plain(replicate_server: ReplicateServer) -> None:
    replicate_server.set(paint="plain")


@pytest.fixture
def image(replicate_server: ReplicateServer) -> Iterator[Make]:
    """Makes backends that ask the local server, and closes them."""
    with contextlib.ExitStack() as held:

        def make(made: Calls, **settings: Any) -> ReplicateImage:
            backend = ReplicateImage(ReplicateSettings(**{"base_url": replicate_server.url, **QUICK, **settings}), made)
            held.callback(backend.close)
            return backend

        yield make


# -- What goes out.


def test_a_prompt_alone_is_drawn_by_flux_dev(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    made = image(calls(ledger)).make(request(width=1024, height=1536))
    assert replicate_server.inputs == [
        {
            "prompt": request().prompt,
            "seed": 7,
            "output_format": "png",
            "aspect_ratio": "2:3",
            "num_inference_steps": 25,
            "guidance": 3.0,
            "go_fast": False,
            "megapixels": "1",
            "num_outputs": 1,
        }
    ]
    assert decode(made.data, "a.png").size[0] < decode(made.data, "a.png").size[1]
    assert (made.model, made.usd, spent(ledger)) == (DEV, PRICE, (PRICE, 1))


def test_a_reference_is_drawn_by_kontext(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    made = image(calls(ledger), safety_tolerance=6).make(request(reference=picture()))
    given = dict(replicate_server.inputs[0])
    assert given.pop("input_image").startswith("data:image/jpeg;base64,")
    assert given == {
        "prompt": request().prompt,
        "seed": 7,
        "output_format": "png",
        "aspect_ratio": "2:3",
        "safety_tolerance": 2,
    }
    assert (made.model, made.usd) == (KONTEXT, 0.04)
    assert replicate_server.counts["upload"] == 0


def test_a_large_reference_is_uploaded_once(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    replicate_server.script("create", "503")
    replicate_server.script("upload", "500")
    image(calls(ledger)).make(request(reference=picture((700, 900), noisy=True)))
    (upload,) = replicate_server.files.values()
    assert (upload.name, upload.media_type) == ("reference.jpg", "image/jpeg")
    assert max(decode(upload.data, "a.jpg").size) == 900
    assert replicate_server.inputs[0]["input_image"].endswith(upload.id)


def test_the_same_request_goes_out_the_same(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    backend = image(calls(ledger))
    backend.make(request("one"))
    backend.make(request("two"))
    first, second = (each.body for each in replicate_server.requests_on("create"))
    assert first == second


def test_steps_are_held_to_what_the_model_takes() -> None:
    assert inputs(ReplicateSettings(), DEV, request(steps=200), None)["num_inference_steps"] == 50


def test_kontext_without_a_reference_matches_no_input_image() -> None:
    given = inputs(ReplicateSettings(safety_tolerance=5), KONTEXT, request(), None)
    assert given["aspect_ratio"] == "2:3"
    assert given["safety_tolerance"] == 5
    assert "input_image" not in given


@pytest.mark.parametrize(
    ("size", "dev", "kontext"),
    [
        ((1024, 1536), "2:3", "2:3"),
        ((1000, 1000), "1:1", "1:1"),
        ((1920, 1080), "16:9", "16:9"),
        ((64, 4096), "9:21", "9:21"),
        ((500, 1000), "9:16", "1:2"),
        ((832, 1216), "2:3", "2:3"),
    ],
)
def test_the_nearest_aspect_ratio_is_asked_for(size: tuple[int, int], dev: str, kontext: str) -> None:
    assert nearest(*size, DEV_RATIOS) == dev
    assert nearest(*size, KONTEXT_RATIOS) == kontext


def test_half_a_character_is_the_items_fault(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    with pytest.raises(ItemError, match="half a character at position 2"):
        image(calls(ledger)).make(request(prompt="a \ud800"))
    assert replicate_server.created == 0


# -- Paid once.


def test_a_killed_run_polls_the_prediction_that_it_has_paid_for(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.script("create", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(2))).make(request())
    ((state, remote_id),) = rows(ledger)
    assert state == "running"
    looks = replicate_server.counts["get"]
    made = image(calls(ledger)).make(request())
    assert (replicate_server.created, made.usd, spent(ledger)) == (1, PRICE, (PRICE, 1))
    assert {each.path for each in replicate_server.requests_on("get")[looks:]} == {f"/v1/predictions/{remote_id}"}


def test_the_id_is_kept_before_the_first_look(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    replicate_server.always("get", "500")
    with pytest.raises(ItemError, match="gave up"):
        image(calls(ledger)).make(request())
    assert rows(ledger)[0][0] == "running"
    replicate_server.always("get", None)
    image(calls(ledger)).make(request())
    assert replicate_server.created == 1


def test_what_the_package_can_not_read_does_not_lose_the_id(image: Make, ledger: Ledger) -> None:
    with site() as place:
        body = json.dumps({"id": "abc123", "status": "aborted", "version": None}).encode()
        place.answers[f"/v1/models/{DEV}/predictions"] = (201, {"Content-Type": "application/json"}, body)
        done = {"id": "abc123", "status": "succeeded", "output": [f"{place.url}/out.jpg"]}
        place.answers["/v1/predictions/abc123"] = (200, {}, json.dumps(done).encode())
        place.answers["/out.jpg"] = (200, {"Content-Type": "image/jpeg"}, jpeg())
        assert image(calls(ledger), base_url=place.url).make(request()).data == jpeg()
        assert [path for path, _ in place.seen].count(f"/v1/models/{DEV}/predictions") == 1


@pytest.mark.parametrize("fault", ["created_then_drop", "cut_json", "reset"])
def test_a_create_whose_answer_was_lost_is_found_again(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    logging.getLogger("callsheet").propagate = True
    backend = image(calls(ledger))
    backend.make(request("another", seed=8))
    replicate_server.script("create", fault)
    backend.make(request())
    assert "may run and be paid for" in caplog.text
    assert "whose answer was lost is found again" in caplog.text
    assert replicate_server.created == 2
    # The try that was lost has been counted.
    assert spent(ledger)[0] == pytest.approx(2 * PRICE)


@pytest.mark.parametrize("listing", ["500", "html_200", "404", "hang"])
def test_a_lost_create_is_made_anew_where_nobody_can_look(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, listing: str
) -> None:
    replicate_server.script("create", "created_then_drop")
    replicate_server.script("list", listing)
    assert image(calls(ledger), request_timeout_s=0.5).make(request()).data
    assert replicate_server.created == 2


@pytest.mark.parametrize("changes", [{"seed": 8}, {"prompt": "another"}, {"reference": picture()}])
def test_another_prediction_is_not_taken_for_the_lost_one(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, changes: dict[str, Any]
) -> None:
    backend = image(calls(ledger))
    backend.make(request("another", **changes))
    replicate_server.script("create", "drop")
    backend.make(request())
    assert replicate_server.created == 2


def test_a_run_killed_while_it_created_finds_the_prediction(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    image(calls(ledger)).make(request())
    # As the kill left it: created at the vendor's, and no id in the ledger.
    ledger.execute("UPDATE remote_jobs SET state = 'creating', remote_id = NULL")
    image(calls(ledger)).make(request())
    assert replicate_server.created == 1


@pytest.mark.parametrize("fault", ["drop", "html_200", "502_html", "reset", "cut_json", "created_then_drop"])
def test_a_create_without_a_readable_answer_counts_as_perhaps_paid(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, fault: str
) -> None:
    replicate_server.script("create", fault)
    image(calls(ledger)).make(request())
    found = fault in ("reset", "cut_json", "created_then_drop")
    assert spent(ledger)[0] == pytest.approx(PRICE if found else 2 * PRICE)


def test_the_budget_stops_before_a_create(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    backend = image(calls(ledger, budget=BudgetSettings(usd=0.03)))
    backend.make(request("one"))
    with pytest.raises(BudgetReached):
        backend.make(request("two"))
    assert replicate_server.created == 1


# -- What comes back: each fault that the server knows, and nothing that is not ours.

STOPS, FAILS, AGAIN = ProviderStopped, ItemError, None
ON_CREATE: dict[str, Any] = {
    "429": (AGAIN, ""),
    "429_after": (AGAIN, ""),
    "401": (STOPS, "valid authentication token: set REPLICATE_API_TOKEN"),
    "401_echo": (STOPS, r"token: \[secret\]"),
    "402": (STOPS, "insufficient credit.*add credit"),
    "403": (STOPS, "403"),
    "400": (FAILS, "400"),
    "404": (MisconfiguredRun, "is there a model black-forest-labs/flux-dev"),
    "408": (AGAIN, ""),
    "409": (AGAIN, ""),
    "422": (FAILS, "prompt is required"),
    "500": (AGAIN, ""),
    "502_html": (AGAIN, ""),
    "503": (AGAIN, ""),
    "html_200": (AGAIN, ""),
    "cut_json": (AGAIN, ""),
    "reset": (AGAIN, ""),
    "drop": (AGAIN, ""),
    "created_then_drop": (AGAIN, ""),
    "redirect": (STOPS, "points to localhost, where your key does not go"),
    "slow": (AGAIN, ""),
    "failed": (FAILS, "replicate: CUDA out of memory"),
    "failed_E005": (Refused, r"\(E005\)"),
    "canceled": (FAILS, "canceled at the vendor's"),
    "aborted": (Transient, "aborted before it ran"),
    "none_output": (FAILS, "succeeded without an image"),
    "expired_output": (Transient, "kept for one hour"),
    "wrong_output": (FAILS, "a page of HTML.*gave up after 2 attempts"),
}
# Those that take their time have tests of their own.
TIMED = {"hang", "drip", "429_long"}


def test_the_table_knows_every_fault(replicate_server: ReplicateServer) -> None:
    assert set(ON_CREATE) | TIMED == set(replicate_server.faults("create"))
    assert set(ON_CREATE) <= set(FAULTS)


@pytest.mark.parametrize("fault", ON_CREATE)
def test_every_fault_of_a_create_has_its_outcome(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, fault: str
) -> None:
    outcome, message = ON_CREATE[fault]
    replicate_server.set(retry_after_s=0.01)
    replicate_server.script("create", fault)
    backend = image(calls(ledger, stop=Hurried()))
    if outcome is AGAIN:
        assert backend.make(request()).data
        return
    with pytest.raises(outcome, match=message) as caught:
        backend.make(request())
    assert type(caught.value) is outcome
    assert KEY not in str(caught.value)
    assert replicate_server.counts["create"] == 1


# Half an image with the right length is no image, and so cut_json is for looks alone.
AT_A_LOOK = ("429", "409", "408", "500", "502_html", "503", "html_200", "reset", "drop")
LOOKS = [("get", "cut_json"), *((route, fault) for route in ("get", "output") for fault in AT_A_LOOK)]


@pytest.mark.parametrize(("route", "fault"), LOOKS)
def test_a_look_that_fails_is_tried_again(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, route: str, fault: str
) -> None:
    replicate_server.script(route, fault)
    assert image(calls(ledger, stop=Hurried())).make(request()).data
    assert (replicate_server.created, spent(ledger)) == (1, (PRICE, 1))


@pytest.mark.parametrize(("fault", "outcome"), [("401", ProviderStopped), ("redirect", ProviderStopped)])
def test_a_look_that_can_not_work_stops_the_run_and_keeps_the_id(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, fault: str, outcome: type[Exception]
) -> None:
    replicate_server.script("get", fault)
    with pytest.raises(outcome):
        image(calls(ledger)).make(request())
    assert rows(ledger)[0][0] == "running"
    assert keyed_hosts(replicate_server, KEY) == {"127.0.0.1"}


@pytest.mark.parametrize(("fault", "low", "high"), [("429", 29, 31), ("429_long", 299, 301)])
def test_a_limit_is_waited_for_as_the_server_says(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, fault: str, low: float, high: float
) -> None:
    replicate_server.script("create", fault)
    stop = Leaving()
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=stop)).make(request())
    assert low <= stop.waited[0] <= high


class Leaving(Hurried):
    """Stops at the first wait."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        raise Interrupted("enough")


@pytest.mark.parametrize("fault", ["hang", "drip"])
@pytest.mark.parametrize("route", ["create", "get", "output"])
def test_an_answer_that_does_not_come_is_given_up(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, route: str, fault: str
) -> None:
    replicate_server.script(route, fault)
    made = image(calls(ledger), request_timeout_s=0.3).make(request())
    assert made.data


@pytest.mark.parametrize("fault", ["failed", "failed_E005", "canceled", "aborted"])
def test_what_came_to_nothing_costs_nothing_and_is_made_anew(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, fault: str
) -> None:
    replicate_server.script("create", fault)
    backend = image(calls(ledger))
    with pytest.raises(CallsheetError):
        backend.make(request())
    assert (rows(ledger), spent(ledger)) == ([], (0.0, 1))
    backend.make(request())
    assert replicate_server.created == 2


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Prediction interrupted; please retry (code: PA)", Transient),
        ("Service is temporarily unavailable due to high demand. Please try again later. (E003)", Transient),
        ("NSFW content detected. Try running it again, or try a different prompt.", Refused),
        ("Please try again with different inputs: flagged as sensitive (E005)", Refused),
        ("unsupported LoRA", ItemError),
        (None, ItemError),
    ],
)
def test_a_failure_is_told_by_its_text(image: Make, ledger: Ledger, text: str | None, outcome: type[Exception]) -> None:
    with site() as place:
        answer_with(place, {"status": "failed", "error": text, "output": None})
        with pytest.raises(ItemError, match="replicate: ") as caught:
            image(calls(ledger), base_url=place.url).make(request())
    assert type(caught.value) is outcome


def answer_with(place: Any, row: dict[str, Any]) -> None:
    """A vendor whose only prediction stands so."""
    created = json.dumps({"id": "abc", "status": "starting"}).encode()
    place.answers[f"/v1/models/{DEV}/predictions"] = (201, {}, created)
    place.answers["/v1/predictions/abc"] = (200, {}, json.dumps({"id": "abc", **row}).encode())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"status": "succeeded", "output": []}, "succeeded without an image"),
        ({"status": "succeeded", "output": {"image": "x"}}, "succeeded without an image"),
        ({"status": "succeeded", "output": "file:///etc/passwd"}, "no https address"),
        ({"status": "succeeded", "output": "https://[::1"}, "link is no"),
        ({"status": "succeeded", "output": "../../etc/passwd"}, "no https address"),
        ({"status": ["succeeded"], "output": "x"}, "no end after"),
        ({"status": None}, "no end after"),
    ],
)
def test_an_answer_that_makes_no_sense_is_the_items_fault(
    image: Make, ledger: Ledger, row: dict[str, Any], message: str
) -> None:
    with site() as place:
        answer_with(place, row)
        place.answers["/v1/predictions/abc/cancel"] = (200, {}, b'{"status": "canceled"}')
        with pytest.raises(ItemError, match=message):
            image(calls(ledger), base_url=place.url, timeout_s=0.0).make(request())
    assert rows(ledger) == []


@pytest.mark.parametrize("body", [b"[]", b"[" * 100_000, b"null", b'{"id": "../../account"}', b'{"id": 7}', b""])
def test_a_create_that_names_no_id_is_in_doubt(image: Make, ledger: Ledger, body: bytes) -> None:
    with site() as place:
        place.answers[f"/v1/models/{DEV}/predictions"] = (201, {}, body)
        with pytest.raises(ItemError, match=r"names no job.*gave up after 3 attempts"):
            image(calls(ledger), base_url=place.url).make(request())
    assert spent(ledger)[0] == pytest.approx(3 * PRICE)


def test_an_output_that_is_gone_is_paid_for_and_made_again(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.script("create", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(1))).make(request())
    replicate_server.expire(str(rows(ledger)[0][1]))
    backend = image(calls(ledger))
    with pytest.raises(Transient, match=r"the output is gone \(kept for one hour\); made again"):
        backend.make(request())
    backend.make(request())
    assert replicate_server.created == 2
    assert spent(ledger)[0] == pytest.approx(2 * PRICE)


def test_a_prediction_that_nobody_knows_is_made_by_the_next_try(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.script("create", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(1))).make(request())
    replicate_server.reset()
    backend = image(calls(ledger))
    with pytest.raises(ItemError, match="is gone: the next try makes another"):
        backend.make(request())
    backend.make(request())
    assert replicate_server.created == 1


def test_a_prediction_that_takes_too_long_is_cancelled(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.set(polls=1000)
    with pytest.raises(ItemError, match=r"no end after 0.05 s \(timeout_s\): cancelled"):
        image(calls(ledger), timeout_s=0.05, poll_s=0.01).make(request())
    assert len(replicate_server.cancelled) == 1
    assert (rows(ledger), spent(ledger)) == ([], (0.0, 1))


def test_one_that_ended_while_it_was_cancelled_is_taken(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.jobs.Job.cancel", lambda job: [job.look() for _ in range(5)])
    replicate_server.set(polls=3)
    assert image(calls(ledger), timeout_s=0.0).make(request()).data


def test_a_cancel_that_fails_keeps_the_prediction(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.set(polls=1000)
    replicate_server.always("cancel", "503")
    with pytest.raises(ItemError, match="gave up"):
        image(calls(ledger), timeout_s=0.0).make(request())
    assert rows(ledger)[0][0] == "running"


def test_many_at_once_get_their_own(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    backend = image(calls(ledger))
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda number: backend.make(request(str(number), seed=number)).data, range(24)))
    assert replicate_server.created == 24
    again = [backend.make(request(f"again {number}", seed=number)).data for number in (0, 11, 23)]
    assert again == [made[0], made[11], made[23]]
    assert len(set(made)) == 24


# -- Keys and links.


def test_the_key_goes_to_its_own_host_alone(image: Make, ledger: Ledger, replicate_server: ReplicateServer) -> None:
    image(calls(ledger)).make(request(reference=picture((700, 900), noisy=True)))
    assert {each.host.partition(":")[0] for each in replicate_server.requests_on("output")} == {"localhost"}
    assert keyed_hosts(replicate_server, KEY) == {"127.0.0.1"}
    for each in replicate_server.requests:
        assert KEY not in each.path
        assert KEY.encode() not in each.body


@pytest.mark.parametrize("route", ["create", "get", "cancel", "upload"])
def test_a_redirect_is_not_followed_with_the_key(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, route: str
) -> None:
    with site() as elsewhere:
        replicate_server.set(redirect_to=f"{elsewhere.url}/", polls=1000)
        replicate_server.always(route, "redirect")
        with pytest.raises(ProviderStopped, match=r"points to 127\.0\.0\.1, where your key does not go"):
            image(calls(ledger), timeout_s=0.0).make(request(reference=picture((700, 900), noisy=True)))
        assert elsewhere.seen == []


def test_under_debug_neither_key_nor_image_is_kept(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer, tmp_path: Path
) -> None:
    replicate_server.script("create", "401_echo", "ok")
    backend = image(kept(ledger, tmp_path / "debug"))
    with pytest.raises(ProviderStopped):
        backend.make(request(reference=picture()))
    backend.make(request(reference=picture((700, 900), noisy=True)))
    texts = [path.read_text("utf-8") for path in (tmp_path / "debug").rglob("*.json")]
    assert len(texts) >= 5
    assert not any(KEY in text for text in texts)
    assert max(map(len, texts)) < 6000
    assert any("sha256" in text and "/output/" in text for text in texts)
    assert any("Үлпан 山田 🎬" in text for text in texts)


def test_a_recipe_can_not_send_the_key_elsewhere(ledger: Ledger) -> None:
    backend = ReplicateImage(ReplicateSettings(base_url="https://evil.example"), calls(ledger))
    with pytest.raises(MisconfiguredRun, match=r"is not replicate's own address"):
        backend.prepare()


def test_without_a_token_a_preview_still_estimates(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    backend = ReplicateImage(ReplicateSettings(), calls(ledger))
    assert backend.estimate(request()) == PRICE
    assert backend.estimate(request(reference=picture())) == 0.04
    with pytest.raises(MisconfiguredRun, match=r"REPLICATE_API_TOKEN is not set: set it, or choose .*image=embedded"):
        backend.prepare()


# -- Settings.


def test_a_price_file_of_ones_own_counts(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("replicate: {me/mine: {as_of: 2026-11-01, image: 0.5}}")
    backend = ReplicateImage(ReplicateSettings(model="me/mine", prices=str(path)), calls(ledger))
    assert backend.estimate(request()) == 0.5
    assert ReplicateImage(ReplicateSettings(model="me/other"), calls(ledger)).estimate(request()) is None


def test_the_identity_names_what_changes_an_image(ledger: Ledger) -> None:
    made = [
        ReplicateImage(ReplicateSettings(**changes), calls(ledger)).identity
        for changes in ({}, {"guidance": 4.0}, {"go_fast": True}, {"model": "a/b"}, {"output_format": "jpg"})
    ]
    assert len(set(made)) == 5
    same = ReplicateImage(ReplicateSettings(poll_s=9.0, key_env="OTHER_TOKEN"), calls(ledger)).identity
    assert same == made[0]


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"model": "../../account"}, "give OWNER/NAME"),
        ({"model": "a/b:5c7d"}, "give OWNER/NAME"),
        ({"safety_tolerance": 7}, "give 0 to 6"),
        ({"output_format": "webp"}, "choose from png, jpg"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], allowed: str) -> None:
    assert allowed in "".join(faults("image", ReplicateSettings(**changes)))


# -- Cancel and doctor.


def test_cancel_says_whether_there_was_anything_left(
    image: Make, ledger: Ledger, replicate_server: ReplicateServer
) -> None:
    replicate_server.script("create", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(1))).make(request())
    backend = image(calls(ledger))
    remote_id = str(rows(ledger)[0][1])
    assert backend.cancel(remote_id)
    assert replicate_server.cancelled == [remote_id]
    assert backend.cancel("nobody-knows-it")
    backend.make(request("another"))
    assert not backend.cancel(str(rows(ledger)[1][1]) if rows(ledger)[1][0] == "done" else str(rows(ledger)[0][1]))


def test_doctor_names_key_models_prices_and_limits(replicate_server: ReplicateServer) -> None:
    settings = ReplicateSettings(base_url=replicate_server.url, model_with_reference="me/none")
    told = {need.what: need for need in ReplicateImage.needs(settings)}
    assert told[f"model {DEV}"].met
    assert not told["model me/none"].met
    assert told[f"price of {DEV}: $0.025 an image, as of 2025-06-01"].met
    assert told["price of me/none"].advice.startswith("unknown")
    assert told["limits: 600 requests a minute"].met
    assert keyed_hosts(replicate_server, KEY) == {"127.0.0.1"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://evil.example", "no address", "http://[::1"])
def test_doctor_never_raises(url: str) -> None:
    needs = list(ReplicateImage.needs(ReplicateSettings(base_url=url, prices="/nowhere.yaml")))
    assert any(not need.met for need in needs)
