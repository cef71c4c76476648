from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import v1 as pydantic_v1
from replicate.client import Client
from replicate.exceptions import ReplicateError

from tests.fakes.drawing import plain
from tests.fakes.replicate import ReplicateServer
from tests.fakes.sending import BEARER, DEV, KONTEXT, ask, data_url, png, prediction, send

KONTEXT_PRO, FLUX_DEV = "black-forest-labs/flux-kontext-pro", "black-forest-labs/flux-dev"


@pytest.fixture
def server(replicate_server: ReplicateServer) -> ReplicateServer:
    """One that paints quickly."""
    replicate_server.set(paint=plain)
    return replicate_server


@pytest.fixture
def client(server: ReplicateServer) -> Iterator[Client]:
    """The vendor's own SDK."""
    client = Client(base_url=server.url, api_token="r8_sdk")
    yield client
    client._client.close()


def create(server: ReplicateServer, path: str = DEV, **changes: Any) -> httpx.Response:
    return ask("POST", server.url + path, headers=BEARER, json=prediction(**changes))


def get(server: ReplicateServer, number: str) -> dict[str, Any]:
    body: dict[str, Any] = ask("GET", f"{server.url}/v1/predictions/{number}", headers=BEARER).json()
    return body


def finished(server: ReplicateServer, path: str = KONTEXT, **changes: Any) -> dict[str, Any]:
    """A prediction, polled to its end."""
    number = create(server, path, **changes).json()["id"]
    for _ in range(20):
        row = get(server, number)
        if row["status"] not in ("starting", "processing"):
            return row
    raise AssertionError("it never ends")


class TestSdk:
    def test_a_prediction_is_created_polled_and_its_output_fetched(
        self, client: Client, server: ReplicateServer
    ) -> None:
        made = client.models.predictions.create(KONTEXT_PRO, input=prediction()["input"])
        assert (made.status, made.model, made.output) == ("starting", KONTEXT_PRO, None)
        assert [client.predictions.get(made.id).status for _ in range(2)] == ["processing", "succeeded"]
        done = client.predictions.get(made.id)
        assert done.metrics is not None and done.metrics["predict_time"] >= 0
        assert isinstance(done.output, str)
        with Image.open(io.BytesIO(ask("GET", done.output).content)) as image:
            assert (image.size, image.format) == ((832, 1248), "PNG")

    def test_reload_of_the_sdk_follows_it(self, client: Client) -> None:
        made = client.models.predictions.create(FLUX_DEV, input={"prompt": "x", "num_outputs": 2})
        made.reload()
        made.reload()
        assert made.status == "succeeded"
        assert isinstance(made.output, list)
        assert len(made.output) == 2

    def test_cancel(self, client: Client, server: ReplicateServer) -> None:
        made = client.models.predictions.create(FLUX_DEV, input={"prompt": "x"})
        assert client.predictions.cancel(made.id).status == "canceled"
        assert client.predictions.get(made.id).status == "canceled"
        assert server.cancelled == [made.id]

    def test_what_has_ended_is_not_cancelled(self, client: Client, server: ReplicateServer) -> None:
        number = finished(server)["id"]
        assert client.predictions.cancel(number).status == "succeeded"
        assert server.cancelled == []

    def test_list(self, client: Client) -> None:
        made = [client.models.predictions.create(FLUX_DEV, input={"prompt": "x"}).id for _ in range(2)]
        assert [row.id for row in client.predictions.list().results] == made[::-1]

    def test_a_file_is_uploaded_and_used(self, client: Client, server: ReplicateServer) -> None:
        file = client.files.create(io.BytesIO(png((40, 20))), filename="a.png", content_type="image/png")
        assert client.files.get(file.id).size == len(png((40, 20)))
        assert server.files[file.id].data == png((40, 20))
        row = finished(server, input_image=file.urls["get"], aspect_ratio="match_input_image")
        with Image.open(io.BytesIO(ask("GET", row["output"]).content)) as image:
            assert image.width > image.height

    def test_account_and_model(self, client: Client) -> None:
        assert client.accounts.current().username == "callsheet"
        assert client.models.get(FLUX_DEV).name == "flux-dev"

    def test_over_the_rate_is_told_in_the_detail(self, client: Client, server: ReplicateServer) -> None:
        server.script("create", "429")
        with pytest.raises(ReplicateError) as caught:
            client.models.predictions.create(FLUX_DEV, input={"prompt": "x"})
        assert caught.value.status == 429
        assert "resets in ~30s" in str(caught.value.detail)
        assert server.created == 0

    def test_aborted_breaks_the_sdk(self, client: Client, server: ReplicateServer) -> None:
        server.script("create", "aborted")
        number = finished(server)["id"]
        assert get(server, number)["status"] == "aborted"
        with pytest.raises(pydantic_v1.ValidationError):
            client.predictions.get(number)


class TestFates:
    @pytest.mark.parametrize(
        ("fault", "status", "error"),
        [
            ("failed", "failed", "CUDA out of memory"),
            ("failed_E005", "failed", "(E005)"),
            ("canceled", "canceled", None),
        ],
    )
    def test_bad_ends(self, server: ReplicateServer, fault: str, status: str, error: str | None) -> None:
        server.script("create", fault)
        row = finished(server)
        assert (row["status"], row["output"]) == (status, None)
        assert row["error"] is None if error is None else error in row["error"]

    def test_none_output(self, server: ReplicateServer) -> None:
        server.script("create", "none_output")
        assert (row := finished(server))["status"] == "succeeded"
        assert row["output"] is None

    def test_expired_output(self, server: ReplicateServer) -> None:
        server.script("create", "expired_output")
        assert ask("GET", finished(server)["output"]).status_code == 404

    def test_wrong_output(self, server: ReplicateServer) -> None:
        server.script("create", "wrong_output")
        answer = ask("GET", finished(server)["output"])
        assert (answer.status_code, answer.text[:15]) == (200, "<!DOCTYPE html>")

    def test_not_an_image_is_not_among_its_faults(self, server: ReplicateServer) -> None:
        with pytest.raises(ValueError, match="replicate has no fault 'not_an_image'"):
            server.script("create", "not_an_image")

    def test_outputs_go_after_a_time(self, server: ReplicateServer) -> None:
        row = finished(server)
        server.expire(row["id"])
        assert ask("GET", row["output"]).status_code == 404
        assert get(server, row["id"])["data_removed"] is True

    def test_slow_takes_its_polls(self, server: ReplicateServer) -> None:
        server.script("create", "slow")
        number = create(server).json()["id"]
        seen = [get(server, number)["status"] for _ in range(6)]
        assert seen == ["starting", "starting", "processing", "processing", "processing", "succeeded"]

    def test_a_job_can_take_time(self, server: ReplicateServer) -> None:
        server.set(polls=0, duration_s=60)
        number = create(server).json()["id"]
        assert {get(server, number)["status"] for _ in range(5)} == {"processing"}

    def test_a_lost_answer_leaves_a_job_that_was_paid(self, server: ReplicateServer) -> None:
        server.script("create", "created_then_drop")
        with pytest.raises(httpx.RemoteProtocolError):
            create(server, seed=99)
        assert [given["seed"] for given in server.inputs] == [99]


class TestOutputs:
    def test_links_are_on_another_host_and_need_no_key(self, server: ReplicateServer) -> None:
        ask("GET", finished(server)["output"])
        (request,) = server.requests_on("output")
        assert request.host.startswith("localhost:")
        assert "authorization" not in request.headers

    def test_a_key_that_is_sent_there_is_seen(self, server: ReplicateServer) -> None:
        ask("GET", finished(server)["output"], headers=BEARER)
        assert server.requests_on("output")[0].headers["authorization"] == BEARER["Authorization"]

    def test_the_same_seed_gives_the_same_bytes_and_go_fast_does_not(self, server: ReplicateServer) -> None:
        def fetched(**changes: Any) -> bytes:
            return ask("GET", finished(server, DEV, **changes)["output"][0]).content

        assert fetched(go_fast=False) == fetched(go_fast=False)
        assert fetched(go_fast=False) != fetched(go_fast=False, seed=8)
        assert fetched() != fetched()

    @pytest.mark.parametrize(("kind", "opened"), [("webp", "WEBP"), ("jpg", "JPEG"), ("png", "PNG")])
    def test_formats(self, server: ReplicateServer, kind: str, opened: str) -> None:
        link = finished(server, DEV, output_format=kind, megapixels="0.25")["output"][0]
        assert link.endswith(f".{kind}")
        with Image.open(io.BytesIO(ask("GET", link).content)) as image:
            assert (image.format, image.size) == (opened, (416, 624))


class TestWhatTheVendorRefuses:
    @pytest.mark.parametrize(
        ("path", "changes", "told"),
        [
            (KONTEXT, {"aspect_ratio": "2:9"}, "aspect_ratio must be one of the following"),
            (KONTEXT, {"output_format": "webp"}, "output_format must be one of the following"),
            (KONTEXT, {"safety_tolerance": 6, "input_image": data_url(png())}, "safety_tolerance"),
            (KONTEXT, {"seed": "7"}, "input.seed"),
            (DEV, {"aspect_ratio": "match_input_image"}, "aspect_ratio"),
            (DEV, {"num_inference_steps": 51}, "num_inference_steps"),
            (DEV, {"prompt": None}, "input.prompt"),
        ],
    )
    def test_inputs(self, server: ReplicateServer, path: str, changes: dict[str, Any], told: str) -> None:
        answer = create(server, path, **changes)
        assert answer.status_code == 422
        assert told in answer.json()["detail"]
        assert server.created == 0

    def test_no_prompt(self, server: ReplicateServer) -> None:
        answer = ask("POST", server.url + DEV, headers=BEARER, json={"input": {}})
        assert answer.json()["detail"] == "- input.prompt: prompt is required\n"

    def test_no_input_and_no_model(self, server: ReplicateServer) -> None:
        assert ask("POST", server.url + DEV, headers=BEARER, content=b"{").status_code == 400
        assert create(server, "/v1/models/a/b/predictions").status_code == 404

    def test_large_data_urls(self, server: ReplicateServer) -> None:
        server.set(max_data_url=1000)
        assert create(server, KONTEXT, input_image="data:image/png;base64," + "A" * 1000).status_code == 413

    def test_an_image_that_is_not_there_fails_the_prediction(self, server: ReplicateServer) -> None:
        for image in (f"{server.url}/v1/files/gone", "data:image/png;base64,####", data_url(b"no image")):
            row = finished(server, input_image=image, aspect_ratio="match_input_image")
            assert row["status"] == "failed"
            assert row["error"].startswith("Input image: ")

    def test_what_is_not_there(self, server: ReplicateServer) -> None:
        for path in ("predictions/x", "files/x"):
            answer = ask("GET", f"{server.url}/v1/{path}", headers=BEARER)
            assert (answer.status_code, answer.json()["detail"]) == (404, "The requested resource could not be found.")


def test_the_state_tells_of_jobs(server: ReplicateServer) -> None:
    number = create(server).json()["id"]
    ask("POST", f"{server.url}/v1/predictions/{number}/cancel", headers=BEARER)
    state = ask("GET", f"{server.origin}/_fake/state").json()
    (job,) = state["jobs"]
    assert job == {"id": number, "target": FLUX_DEV, "input": prediction()["input"], "cancelled": True, "fault": None}
    assert state["cancelled"] == [number]
    server.reset()
    assert server.created == 0


def test_a_prediction_has_the_published_fields(server: ReplicateServer) -> None:
    row = json.loads(send(server, "create").text)
    state = {"id", "model", "version", "status", "logs", "metrics", "urls"}
    data = {"input", "output", "error", "created_at", "started_at", "completed_at"}
    assert set(row) >= state | data
    assert set(row["urls"]) >= {"get", "cancel"}
    assert row["created_at"].endswith("Z")
