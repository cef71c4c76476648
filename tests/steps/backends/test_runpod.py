"""Images by a ComfyUI worker on RunPod, against a server on this machine: what goes out, what becomes of whatever comes back."""

from __future__ import annotations

import base64
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
from runner.errors import Interrupted, ItemError, MisconfiguredRun, ProviderStopped, Transient
from runner.ledger import Ledger
from runner.params import faults
from steps.backends.comfyui import Workflow
from steps.backends.download import NoImage
from steps.backends.runpod import RunPodImage, RunPodSettings, reason
from steps.library.pictures import decode
from tests.fakes.runpod import RunPodServer
from tests.steps.backends.jobs import Hurried, StopsIn, jpeg, kept, keyed_hosts, picture, request, rows, site, spent
from tests.support import calls

Make = Callable[..., RunPodImage]
KEY = "rpa_canary-runpod-key-4711"
QUICK = {"endpoint": "abc123", "poll_s": 0.0, "request_timeout_s": 5.0, "timeout_s": 30.0}
RATE = 3.6
MOST = RATE * 600 / 3600


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.delenv("RUNPOD_BASE_URL", raising=False)


@pytest.fixture(autouse=True)
def plain(runpod_server: RunPodServer) -> None:
    runpod_server.set(paint="plain")


@pytest.fixture
def image(runpod_server: RunPodServer) -> Iterator[Make]:
    """Makes backends that ask the local server, and closes them."""
    with contextlib.ExitStack() as held:

        def make(made: Calls, **settings: Any) -> RunPodImage:
            backend = RunPodImage(RunPodSettings(**{"base_url": runpod_server.url, **QUICK, **settings}), made)
            held.callback(backend.close)
            return backend

        yield make


def shipped() -> dict[str, Any]:
    """The workflow that ships, to be changed."""
    return Workflow.read(None).filled({})


def with_reference(folder: Path) -> str:
    """A workflow with a place for a reference image."""
    nodes = shipped() | {
        "20": {"class_type": "LoadImage", "inputs": {"image": "example.png", "upload": "image"}},
        "21": {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["1", 2]}},
        "22": {"class_type": "ReferenceLatent", "inputs": {"conditioning": ["2", 0], "latent": ["21", 0]}},
    }
    nodes["4"]["inputs"]["conditioning"] = ["22", 0]
    path = folder / "kontext.json"
    path.write_text(json.dumps(nodes))
    return str(path)


# -- What goes out.


def test_the_request_goes_into_the_workflow(image: Make, ledger: Ledger, runpod_server: RunPodServer) -> None:
    made = image(calls(ledger), guidance=2.5).make(request(width=64, height=96, steps=9))
    sent = runpod_server.requests_on("run")[0].json()
    nodes = sent["input"]["workflow"]
    assert nodes["2"]["inputs"]["text"] == request().prompt
    assert nodes["3"]["inputs"]["text"] == ""
    assert nodes["5"]["inputs"] == {"width": 64, "height": 96, "batch_size": 1}
    assert (nodes["6"]["inputs"]["seed"], nodes["6"]["inputs"]["steps"], nodes["6"]["inputs"]["cfg"]) == (7, 9, 1.0)
    assert nodes["4"]["inputs"]["guidance"] == 2.5
    assert sent["policy"] == {"executionTimeout": 600_000, "ttl": 86_400_000}
    assert "images" not in sent["input"]
    assert decode(made.data, "a.png").size == (64, 96)
    assert made.model == f"comfyui {Workflow.read(None).digest}"


def test_a_reference_goes_where_the_workflow_loads_one(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, tmp_path: Path
) -> None:
    backend = image(calls(ledger), workflow=with_reference(tmp_path))
    backend.make(request(reference=picture()))
    given = runpod_server.inputs[0]
    (sent,) = given["images"]
    assert decode(base64.b64decode(sent["image"]), "a.jpg").size == (64, 96)
    assert given["workflow"]["20"]["inputs"]["image"] == sent["name"]
    with pytest.raises(ItemError, match=r"kontext\.json needs a reference image \(node 20 \(LoadImage\)\)"):
        backend.make(request("another"))


def test_a_workflow_without_a_place_takes_no_reference(
    image: Make, ledger: Ledger, runpod_server: RunPodServer
) -> None:
    with pytest.raises(ItemError, match="takes no reference image: give one with a LoadImage node"):
        image(calls(ledger)).make(request(reference=picture()))
    assert runpod_server.created == 0


def test_the_same_request_goes_out_the_same(image: Make, ledger: Ledger, runpod_server: RunPodServer) -> None:
    backend = image(calls(ledger))
    backend.make(request("one"))
    backend.make(request("two"))
    first, second = (each.body for each in runpod_server.requests_on("run"))
    assert first == second


# -- Paid once.


def test_a_killed_run_polls_the_job_that_it_has_paid_for(
    image: Make, ledger: Ledger, runpod_server: RunPodServer
) -> None:
    runpod_server.script("run", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(2)), gpu_usd_per_hour=RATE).make(request())
    ((state, remote_id),) = rows(ledger)
    assert state == "running"
    assert spent(ledger) == (MOST, 1)
    looks = runpod_server.counts["status"]
    made = image(calls(ledger), gpu_usd_per_hour=RATE).make(request())
    assert runpod_server.created == 1
    assert spent(ledger)[0] == pytest.approx(made.usd)
    assert 0 < made.usd < MOST
    assert {each.path for each in runpod_server.requests_on("status")[looks:]} == {f"/v2/abc123/status/{remote_id}"}


def test_a_create_whose_answer_was_lost_is_said(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("callsheet").propagate = True
    runpod_server.script("run", "created_then_drop")
    image(calls(ledger)).make(request())
    assert "may run and be paid for" in caplog.text
    assert runpod_server.created == 2


def test_without_a_price_a_budget_in_dollars_is_refused(image: Make, ledger: Ledger) -> None:
    backend = image(calls(ledger, budget=BudgetSettings(usd=1.0)))
    assert backend.estimate(request()) is None
    with pytest.raises(MisconfiguredRun, match="price of this model is unknown"):
        backend.make(request())


# -- What comes back.

STOPS, FAILS, AGAIN = ProviderStopped, ItemError, None
ON_RUN: dict[str, Any] = {
    "429": (AGAIN, ""),
    "429_after": (AGAIN, ""),
    "401": (STOPS, "unauthorized: set RUNPOD_API_KEY"),
    "401_echo": (STOPS, r"unauthorized: \[secret\]"),
    "402": (STOPS, "insufficient balance: add credit"),
    "403": (STOPS, "forbidden"),
    "400": (FAILS, "bad request"),
    "404": (MisconfiguredRun, "is there an endpoint abc123"),
    "408": (AGAIN, ""),
    "409": (AGAIN, ""),
    "422": (FAILS, "unprocessable"),
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
    "RUNNING": (AGAIN, ""),
    "FAILED": (FAILS, r"runpod: CUDA out of memory\. Tried to allocate 2\.00 GiB\.$"),
    "CANCELLED": (FAILS, "cancelled at the vendor's"),
    "TIMED_OUT": (FAILS, r"took too long \(execution_timeout_s = 600, ttl_s = 86400\): job timed out after 600s"),
    "no_output": (NoImage, "over the payload limit"),
    "output_errors": (NoImage, "completed without images: Node 9"),
    "output_warnings": (AGAIN, ""),
    "bad_filename": (AGAIN, ""),
    "s3_url": (AGAIN, ""),
    "not_an_image": (NoImage, "what came is no whole image"),
    "expired_output": (Transient, "has expired; made again"),
    "wrong_output": (FAILS, r"a page of HTML.*gave up after 2 attempts"),
}
# Those that take their time have tests of their own.
TIMED = {"hang", "drip", "429_long"}


def test_the_table_knows_every_fault(runpod_server: RunPodServer) -> None:
    assert set(ON_RUN) | TIMED == set(runpod_server.faults("run"))


@pytest.mark.parametrize("fault", ON_RUN)
def test_every_fault_of_a_run_has_its_outcome(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, fault: str
) -> None:
    outcome, message = ON_RUN[fault]
    runpod_server.set(retry_after_s=0.01)
    runpod_server.script("run", fault)
    backend = image(calls(ledger, stop=Hurried()))
    if outcome is AGAIN:
        assert backend.make(request()).data
        return
    with pytest.raises(outcome, match=message) as caught:
        backend.make(request())
    assert type(caught.value) is outcome
    assert KEY not in str(caught.value)
    assert runpod_server.counts["run"] == 1


# Half an image with the right length is no image, and so cut_json is for looks alone.
AT_A_LOOK = ("408", "500", "502_html", "503", "html_200", "reset", "drop")
LOOKS = [("status", "cut_json"), *((route, fault) for route in ("status", "output") for fault in AT_A_LOOK)]


@pytest.mark.parametrize(("route", "fault"), LOOKS)
def test_a_look_that_fails_is_tried_again(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, route: str, fault: str
) -> None:
    runpod_server.set(image_type="s3_url")
    runpod_server.script(route, fault)
    assert image(calls(ledger, stop=Hurried())).make(request()).data
    assert runpod_server.created == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
@pytest.mark.parametrize("route", ["run", "status"])
def test_an_answer_that_does_not_come_is_given_up(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, route: str, fault: str
) -> None:
    runpod_server.script(route, fault)
    assert image(calls(ledger), request_timeout_s=0.3).make(request()).data


@pytest.mark.parametrize("fault", ["FAILED", "TIMED_OUT", "CANCELLED", "no_output", "not_an_image", "expired_output"])
def test_what_came_to_nothing_costs_the_gpus_time_and_is_made_anew(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, fault: str
) -> None:
    runpod_server.script("run", fault)
    backend = image(calls(ledger), gpu_usd_per_hour=RATE)
    with pytest.raises(ItemError):
        backend.make(request())
    assert rows(ledger) == []
    assert 0 < spent(ledger)[0] < MOST
    backend.make(request())
    assert runpod_server.created == 2


def test_errors_beside_an_image_are_told(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("callsheet").propagate = True
    runpod_server.script("run", "output_warnings")
    image(calls(ledger)).make(request())
    assert "beside the image the worker told errors: Node 9: failed to fetch" in caplog.text


def test_a_job_past_its_time_is_made_by_the_next_try_and_counts(
    image: Make, ledger: Ledger, runpod_server: RunPodServer
) -> None:
    runpod_server.script("status", "gone")
    backend = image(calls(ledger), gpu_usd_per_hour=RATE)
    with pytest.raises(ItemError, match=r"is gone .* the next try makes another"):
        backend.make(request())
    assert (rows(ledger), spent(ledger)) == ([], (MOST, 1))
    backend.make(request())
    assert runpod_server.created == 2


@pytest.mark.parametrize(("polls", "where", "usd"), [(1000, "no worker took it", 0.0), (1, "no end", None)])
def test_a_job_that_takes_too_long_is_cancelled(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, polls: int, where: str, usd: float | None
) -> None:
    runpod_server.set(polls=polls, duration_s=0 if polls > 1 else 60)
    with pytest.raises(ItemError, match=rf"{where} within 0.05 s \(timeout_s\): cancelled"):
        image(calls(ledger), timeout_s=0.05, poll_s=0.01, gpu_usd_per_hour=RATE).make(request())
    assert len(runpod_server.cancelled) == 1
    assert rows(ledger) == []
    assert spent(ledger)[0] == usd if usd is not None else 0 < spent(ledger)[0] < MOST


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"status": "COMPLETED", "output": "text"}, "completed without images: text"),
        ({"status": "COMPLETED", "output": {"images": []}}, "completed without images"),
        ({"status": "COMPLETED", "output": {"images": ["x"]}}, "completed without images"),
        ({"status": "COMPLETED", "output": {"images": [{"type": "base64"}]}}, "has no data"),
        ({"status": "COMPLETED", "output": {"images": [{"type": "base64", "data": "***"}]}}, "is not base64"),
        (
            {"status": "COMPLETED", "output": {"images": [{"type": "s3_url", "data": "/etc/passwd"}]}},
            "no https address",
        ),
        ({"status": "COMPLETED", "output": {"images": [{"type": "s3_url", "data": "ftp://a/b"}]}}, "no https address"),
        ({"status": "FAILED", "error": None}, "no reason was given"),
        ({"status": 7}, "no end within"),
    ],
)
def test_an_answer_that_makes_no_sense_is_the_items_fault(
    image: Make, ledger: Ledger, row: dict[str, Any], message: str
) -> None:
    with site() as place:
        place.answers["/abc123/run"] = (200, {}, b'{"id": "job-1", "status": "IN_QUEUE"}')
        place.answers["/abc123/status/job-1"] = (200, {}, json.dumps(row).encode())
        place.answers["/abc123/cancel/job-1"] = (200, {}, b'{"status": "CANCELLED"}')
        with pytest.raises(ItemError, match=message):
            image(calls(ledger), base_url=place.url, timeout_s=0.0).make(request())
    assert rows(ledger) == []


@pytest.mark.parametrize("body", [b"[]", b"[" * 100_000, b"{}", b'{"id": "../../health"}', b'{"id": 7}', b""])
def test_a_create_that_names_no_id_is_in_doubt(image: Make, ledger: Ledger, body: bytes) -> None:
    with site() as place:
        place.answers["/abc123/run"] = (200, {}, body)
        with pytest.raises(ItemError, match="gave up after 3 attempts"):
            image(calls(ledger), base_url=place.url, gpu_usd_per_hour=RATE).make(request())
    assert spent(ledger)[0] == pytest.approx(3 * MOST)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (json.dumps({"error_message": "CUDA out of memory", "error_traceback": "..."}), "CUDA out of memory"),
        ({"message": "no GPU"}, "no GPU"),
        (["one", "two"], "one; two"),
        ("plain\n text", "plain text"),
        ("[" * 100_000, "[" * 300),
        ("", "no reason was given"),
        (None, "no reason was given"),
        ({"other": 1}, "{'other': 1}"),
    ],
)
def test_a_jobs_error_is_told_in_a_line(error: object, told: str) -> None:
    assert reason(error) == told


def test_many_at_once_get_their_own(image: Make, ledger: Ledger, runpod_server: RunPodServer) -> None:
    backend = image(calls(ledger))
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda number: backend.make(request(str(number), seed=number)).data, range(24)))
    assert runpod_server.created == 24
    assert backend.make(request("again", seed=11)).data == made[11]
    assert len(set(made)) == 24


# -- Keys, links and names.


def test_the_key_goes_to_its_own_host_alone(image: Make, ledger: Ledger, runpod_server: RunPodServer) -> None:
    runpod_server.set(image_type="s3_url")
    image(calls(ledger)).make(request())
    assert {each.host.partition(":")[0] for each in runpod_server.requests_on("output")} == {"localhost"}
    assert keyed_hosts(runpod_server, KEY) == {"127.0.0.1"}


@pytest.mark.parametrize("route", ["run", "status", "cancel"])
def test_a_redirect_is_not_followed_with_the_key(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, route: str
) -> None:
    with site() as elsewhere:
        runpod_server.set(redirect_to=f"{elsewhere.url}/", polls=1000)
        runpod_server.always(route, "redirect")
        with pytest.raises(ProviderStopped, match=r"points to 127\.0\.0\.1, where your key does not go"):
            image(calls(ledger), timeout_s=0.0).make(request())
        assert elsewhere.seen == []


@pytest.mark.parametrize("image_type", ["base64", "s3_url"])
def test_under_debug_neither_key_nor_image_is_kept(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, tmp_path: Path, image_type: str
) -> None:
    runpod_server.set(image_type=image_type)
    runpod_server.script("run", "401_echo", "ok")
    backend = image(kept(ledger, tmp_path / "debug"), workflow=with_reference(tmp_path))
    with pytest.raises(ProviderStopped):
        backend.make(request(reference=picture()))
    backend.make(request(reference=picture((700, 900), noisy=True)))
    texts = [path.read_text("utf-8") for path in (tmp_path / "debug").rglob("*.json")]
    assert len(texts) >= 4
    assert not any(KEY in text for text in texts)
    assert max(map(len, texts)) < 8000


def test_the_name_that_a_worker_gives_is_used_for_nothing(
    image: Make, ledger: Ledger, runpod_server: RunPodServer, tmp_path: Path
) -> None:
    runpod_server.script("run", "bad_filename")
    backend = image(kept(ledger, tmp_path / "debug"))
    assert "passwd" not in repr(backend.make(request()).model)
    assert not [path for path in tmp_path.rglob("*") if "passwd" in path.name]


# -- Settings, cancel, doctor.


@pytest.mark.parametrize("endpoint", ["", "a/b", "../v1", "https://evil.example", "a b"])
def test_an_endpoint_is_an_id(endpoint: str) -> None:
    assert "give the endpoint's id" in "".join(faults("image", RunPodSettings(endpoint=endpoint)))


def test_the_identity_names_what_changes_an_image(ledger: Ledger, tmp_path: Path) -> None:
    settings = [
        RunPodSettings(endpoint="a"),
        RunPodSettings(endpoint="a", guidance=4.0),
        RunPodSettings(endpoint="a", workflow=with_reference(tmp_path)),
        RunPodSettings(endpoint="b"),
    ]
    made = [RunPodImage(each, calls(ledger)).identity for each in settings]
    assert len(set(made)) == 4
    same = RunPodImage(RunPodSettings(endpoint="a", poll_s=9.0, gpu_usd_per_hour=1.0), calls(ledger)).identity
    assert same == made[0]


def test_a_guidance_that_has_no_place_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    nodes = shipped()
    nodes["6"]["inputs"]["positive"] = ["2", 0]
    path = tmp_path / "w.json"
    path.write_text(json.dumps(nodes))
    with pytest.raises(MisconfiguredRun, match=r"image\.guidance = 4: .*w\.json has no node with a guidance"):
        RunPodImage(RunPodSettings(endpoint="a", workflow=str(path), guidance=4.0), calls(ledger))


def test_a_recipe_can_not_send_the_key_elsewhere(ledger: Ledger) -> None:
    backend = RunPodImage(RunPodSettings(endpoint="a", base_url="https://evil.example"), calls(ledger))
    with pytest.raises(MisconfiguredRun, match=r"is not runpod's own address"):
        backend.prepare()


def test_cancel_says_whether_there_was_anything_left(image: Make, ledger: Ledger, runpod_server: RunPodServer) -> None:
    runpod_server.script("run", "slow")
    with pytest.raises(Interrupted):
        image(calls(ledger, stop=StopsIn(1))).make(request())
    backend = image(calls(ledger))
    remote_id = str(rows(ledger)[0][1])
    assert backend.cancel(remote_id)
    assert runpod_server.cancelled == [remote_id]
    assert backend.cancel("nobody-knows-it")
    backend.make(request("another"))
    done = next(str(row[1]) for row in rows(ledger) if row[0] == "done")
    assert not backend.cancel(done)


def test_doctor_names_key_endpoint_workflow_and_price(runpod_server: RunPodServer) -> None:
    needs = list(RunPodImage.needs(RunPodSettings(endpoint="abc", base_url=runpod_server.url)))
    assert all(need.met for need in needs)
    told = " ".join(need.what for need in needs)
    assert "endpoint abc: workers: 1 idle, 1 ready; 0 jobs in its queue" in told
    runpod_server.set(endpoints=("other",))
    assert any(not need.met for need in RunPodImage.needs(RunPodSettings(endpoint="abc", base_url=runpod_server.url)))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://evil.example", "no address", "http://[::1"])
def test_doctor_never_raises(url: str) -> None:
    needs = list(RunPodImage.needs(RunPodSettings(endpoint="a", base_url=url, workflow="/nowhere.json")))
    assert sum(not need.met for need in needs) == 2


def test_a_link_from_a_worker_is_fetched(image: Make, ledger: Ledger) -> None:
    with site() as place:
        done = {"status": "COMPLETED", "output": {"images": [{"type": "s3_url", "data": f"{place.url}/out.jpg?sig=1"}]}}
        place.answers["/abc123/run"] = (200, {}, b'{"id": "job-1"}')
        place.answers["/abc123/status/job-1"] = (200, {}, json.dumps(done).encode())
        place.answers["/out.jpg"] = (200, {"Content-Type": "image/jpeg"}, jpeg())
        assert image(calls(ledger), base_url=place.url).make(request()).data == jpeg()
