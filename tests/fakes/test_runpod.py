from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.fakes.drawing import plain
from tests.fakes.runpod import RunPodServer
from tests.fakes.sending import BEARER, ask, comfy, job, png, send


@pytest.fixture
def server(runpod_server: RunPodServer) -> RunPodServer:
    """One that paints quickly."""
    runpod_server.set(paint=plain)
    return runpod_server


def run(server: RunPodServer, body: Any = None, route: str = "run") -> dict[str, Any]:
    answer = ask("POST", f"{server.url}/flux/{route}", headers=BEARER, json=job() if body is None else body)
    assert answer.status_code == 200
    row: dict[str, Any] = answer.json()
    return row


def status(server: RunPodServer, number: str) -> dict[str, Any]:
    row: dict[str, Any] = ask("GET", f"{server.url}/flux/status/{number}", headers=BEARER).json()
    return row


def finished(server: RunPodServer, fault: str = "ok", body: Any = None) -> dict[str, Any]:
    """A job, polled to its end."""
    server.script("run", fault)
    number = run(server, body)["id"]
    for _ in range(20):
        row = status(server, number)
        if row["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
            return row
    raise AssertionError("it never ends")


def picture(row: dict[str, Any]) -> Image.Image:
    with Image.open(io.BytesIO(base64.b64decode(row["output"]["images"][0]["data"]))) as image:
        image.load()
        return image


def test_a_job_is_queued_worked_on_and_completed(server: RunPodServer) -> None:
    server.set(polls=3)
    made = run(server)
    assert made == {"id": made["id"], "status": "IN_QUEUE"}
    rows = [status(server, made["id"]) for _ in range(4)]
    assert [row["status"] for row in rows] == ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
    done = rows[-1]
    assert isinstance(done["delayTime"], int)
    assert isinstance(done["executionTime"], int)
    (image,) = done["output"]["images"]
    assert (image["filename"], image["type"]) == ("callsheet_00001_.png", "base64")
    assert picture(done).size == (64, 96)


def test_the_workflow_says_what_is_drawn(server: RunPodServer) -> None:
    first, again, other, another = (
        finished(server, body=job(workflow=comfy(prompt=prompt, seed=seed)))
        for prompt, seed in (("a", 1), ("a", 1), ("a", 2), ("b", 1))
    )
    assert picture(first).tobytes() == picture(again).tobytes()
    assert picture(first).tobytes() != picture(other).tobytes()
    assert picture(first).tobytes() != picture(another).tobytes()


def test_a_batch_gives_several_images(server: RunPodServer) -> None:
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": 32, "height": 32, "batch_size": 2}}
    images = finished(server, body=job(workflow=comfy(n5=latent)))["output"]["images"]
    assert [image["filename"] for image in images] == ["callsheet_00001_.png", "callsheet_00002_.png"]


def test_uploaded_images_can_be_loaded(server: RunPodServer) -> None:
    load = {"class_type": "LoadImage", "inputs": {"image": "face.png"}}
    body = job(workflow=comfy(n9=load), images=[{"name": "face.png", "image": base64.b64encode(png()).decode()}])
    assert finished(server, body=body)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n7": {"class_type": "VAEDecode", "inputs": {"samples": ["66", 0]}}}, "Node 7 (samples): links to ['66', 0]"),
        ({"n7": {"inputs": {}}}, "Node 7: has no class_type"),
        ({"n1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}}}, "'x' not in ['flux1-dev"),
        ({"n8": {"class_type": "VAEDecode", "inputs": {}}}, "Prompt has no outputs"),
        ({"n9": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}, "Invalid image file: a.png"),
        ({"n4": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0]}}}, "no CLIPTextEncode feeds"),
        ({"n5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64}}}, "no latent image of a size"),
        ({"n6": {"class_type": "KSampler", "inputs": {}}}, "nothing samples"),
    ],
)
def test_a_broken_workflow_fails_the_job(server: RunPodServer, changes: dict[str, Any], told: str) -> None:
    row = finished(server, body=job(workflow=comfy(**changes)))
    assert row["status"] == "FAILED"
    assert told in row["error"]
    assert "output" not in row


@pytest.mark.parametrize("given", [{}, {"workflow": []}, {"workflow": comfy(), "images": ["x"]}, "text"])
def test_an_input_that_is_none_fails_the_job(server: RunPodServer, given: Any) -> None:
    assert finished(server, body={"input": given})["status"] == "FAILED"


def test_a_request_that_is_none_is_refused(server: RunPodServer) -> None:
    url = f"{server.url}/flux/run"
    assert ask("POST", url, headers=BEARER, json={}).status_code == 400
    assert ask("POST", url, headers=BEARER, content=b"x" * (10 * 1024 * 1024 + 1)).status_code == 413
    server.set(endpoints=["other"])
    assert ask("POST", url, headers=BEARER, json=job()).status_code == 404
    assert ask("GET", f"{server.url}/flux/health", headers=BEARER).status_code == 404
    assert server.created == 0


class TestFates:
    def test_failed_has_an_error_in_json_in_a_string(self, server: RunPodServer) -> None:
        row = finished(server, "FAILED")
        assert (row["status"], "output" in row) == ("FAILED", False)
        assert "CUDA out of memory" in json.loads(row["error"])["error_message"]

    @pytest.mark.parametrize("fault", ["CANCELLED", "TIMED_OUT"])
    def test_other_ends(self, server: RunPodServer, fault: str) -> None:
        row = finished(server, fault)
        assert (row["status"], "output" in row) == (fault, False)

    def test_no_output(self, server: RunPodServer) -> None:
        row = finished(server, "no_output")
        assert (row["status"], "output" in row) == ("COMPLETED", False)

    def test_errors_in_place_of_images_and_beside_them(self, server: RunPodServer) -> None:
        assert set(finished(server, "output_errors")["output"]) == {"errors"}
        assert set(finished(server, "output_warnings")["output"]) == {"images", "errors"}

    def test_bad_filename(self, server: RunPodServer) -> None:
        assert finished(server, "bad_filename")["output"]["images"][0]["filename"] == "../../etc/passwd.png"

    def test_not_an_image(self, server: RunPodServer) -> None:
        data = finished(server, "not_an_image")["output"]["images"][0]["data"]
        assert base64.b64decode(data).startswith(b"<svg>")

    def test_gone(self, server: RunPodServer) -> None:
        number = run(server)["id"]
        server.script("status", "gone")
        assert ask("GET", f"{server.url}/flux/status/{number}", headers=BEARER).status_code == 404
        assert status(server, number)["status"]
        server.expire(number)
        assert ask("GET", f"{server.url}/flux/status/{number}", headers=BEARER).status_code == 404

    def test_running(self, server: RunPodServer) -> None:
        server.script("run", "RUNNING")
        number = run(server)["id"]
        assert [status(server, number)["status"] for _ in range(2)] == ["RUNNING", "COMPLETED"]

    def test_slow(self, server: RunPodServer) -> None:
        server.script("run", "slow")
        number = run(server)["id"]
        seen = [status(server, number)["status"] for _ in range(6)]
        assert seen == ["IN_QUEUE"] * 2 + ["IN_PROGRESS"] * 3 + ["COMPLETED"]


class TestLinks:
    @pytest.mark.parametrize("by", ["fault", "setting"])
    def test_s3_url(self, server: RunPodServer, by: str) -> None:
        if by == "setting":
            server.set(image_type="s3_url")
        (image,) = finished(server, "s3_url" if by == "fault" else "ok")["output"]["images"]
        assert image["type"] == "s3_url"
        answer = ask("GET", image["data"])
        assert answer.headers["content-type"] == "image/png"
        (request,) = server.requests_on("output")
        assert request.host.startswith("localhost:")

    def test_bad_links(self, server: RunPodServer) -> None:
        (image,) = finished(server, "expired_output")["output"]["images"]
        assert ask("GET", image["data"]).status_code == 404
        (image,) = finished(server, "wrong_output")["output"]["images"]
        assert ask("GET", image["data"]).text.startswith("<!DOCTYPE html>")


class TestCancel:
    def test_a_waiting_job_is_cancelled(self, server: RunPodServer) -> None:
        number = run(server)["id"]
        answer = ask("POST", f"{server.url}/flux/cancel/{number}", headers=BEARER)
        assert answer.json() == {"id": number, "status": "CANCELLED"}
        assert status(server, number)["status"] == "CANCELLED"
        assert server.cancelled == [number]

    def test_a_finished_one_is_not(self, server: RunPodServer) -> None:
        number = finished(server)["id"]
        assert ask("POST", f"{server.url}/flux/cancel/{number}", headers=BEARER).json()["status"] == "COMPLETED"
        assert server.cancelled == []

    def test_an_unknown_one_is_not_there(self, server: RunPodServer) -> None:
        assert ask("POST", f"{server.url}/flux/cancel/x", headers=BEARER).status_code == 404
        number = run(server)["id"]
        assert ask("GET", f"{server.url}/other/status/{number}", headers=BEARER).status_code == 404


class TestRunsync:
    def test_it_waits(self, server: RunPodServer) -> None:
        assert picture(run(server, route="runsync")).size == (64, 96)

    def test_it_waits_only_so_long(self, server: RunPodServer) -> None:
        server.set(sync_wait_s=0.01, duration_s=60)
        assert run(server, route="runsync")["status"] in ("IN_QUEUE", "IN_PROGRESS")


def test_health_counts_jobs(server: RunPodServer) -> None:
    finished(server)
    finished(server, "FAILED")
    run(server)
    health = send(server, "health").json()
    assert health["jobs"] == {"completed": 1, "failed": 1, "inProgress": 0, "inQueue": 1, "retried": 0}
    assert health["workers"]["ready"] == 1


def test_a_portrait_is_drawn_from_the_workflows_prompt(runpod_server: RunPodServer) -> None:
    from steps.studio.likeness import compare

    latent = {"class_type": "EmptySD3LatentImage", "inputs": {"width": 256, "height": 384, "batch_size": 1}}
    workflow = comfy("a woman with red hair Wearing: a green coat", 3, n5=latent)
    image = picture(finished(runpod_server, body=job(workflow=workflow)))
    assert compare(image, "a woman with red hair", "a green coat").is_match
