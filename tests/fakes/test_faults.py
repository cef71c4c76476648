"""Every fault really happens on the wire: seen by a raw client or a bare socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.drawing import plain
from tests.fakes.faults import ALL, FAULTS
from tests.fakes.jobs import JobServer
from tests.fakes.openai import OpenAIServer, OpenAISettings
from tests.fakes.replicate import ReplicateServer, ReplicateSettings
from tests.fakes.runpod import RunPodServer, RunPodSettings
from tests.fakes.sending import KEY, send
from tests.fakes.server import FakeServer

MAIN = {"openai": "chat", "replicate": "create", "runpod": "run"}
STATUSES = [name for name in FAULTS if name.partition("_")[0].isdigit() and name != "502_html"]


def made(name: str) -> FakeServer[Any]:
    """A server that is quick: one colour for an image, a constant for an answer."""
    if name == "openai":
        return OpenAIServer(OpenAISettings(answer="constant", paint=plain))
    return (
        ReplicateServer(ReplicateSettings(paint=plain))
        if name == "replicate"
        else RunPodServer(RunPodSettings(paint=plain))
    )


@pytest.fixture(params=ALL)
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer[Any]]:
    """Each of the three."""
    with made(request.param) as server:
        yield server


@pytest.fixture(params=["replicate", "runpod"])
def jobs(request: pytest.FixtureRequest) -> Iterator[JobServer[Any]]:
    """Those that work in jobs."""
    with made(request.param) as server:
        assert isinstance(server, JobServer)
        yield server


def first(server: FakeServer[Any], fault: str) -> httpx.Response:
    """The answer to a request that meets a fault."""
    route = MAIN[server.name]
    server.script(route, fault)
    return send(server, route)


@pytest.mark.parametrize(("vendor", "name"), [(vendor, name) for name in STATUSES for vendor in FAULTS[name].servers])
def test_statuses(vendor: str, name: str) -> None:
    with made(vendor) as server:
        answer = first(server, name)
        assert answer.status_code == int(name.partition("_")[0])
        keys = {"openai": {"error"}, "replicate": {"title", "detail", "status"}, "runpod": {"error"}}
        assert set(answer.json()) == keys[server.name]
        assert send(server, MAIN[server.name]).is_success


def test_retry_after_is_there_only_where_it_is_said(server: FakeServer[Any]) -> None:
    server.set(retry_after_s=1.5)
    assert "retry-after" not in first(server, "429").headers
    told = first(server, "429_after").headers
    assert (told["retry-after"], told["retry-after-ms"]) == ("2", "1500")
    assert first(server, "429_long").headers["retry-after"] == "300"


def test_a_key_is_repeated_only_by_401_echo(server: FakeServer[Any]) -> None:
    assert KEY not in first(server, "401").text
    assert KEY in first(server, "401_echo").text


def test_pages_of_html(server: FakeServer[Any]) -> None:
    for fault, status in (("html_200", 200), ("502_html", 502)):
        answer = first(server, fault)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.text.startswith("<!DOCTYPE html>")


def test_cut_json_is_whole_for_http_and_broken_for_json(server: FakeServer[Any]) -> None:
    answer = first(server, "cut_json")
    assert answer.is_success
    assert int(answer.headers["content-length"]) == len(answer.content) > 0
    assert answer.headers["content-type"].startswith("application/json")
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def by_socket(server: FakeServer[Any], fault: str) -> tuple[bytes, OSError | None]:
    """What a bare socket gets until the connection ends, and how it ends."""
    route = MAIN[server.name]
    recorded = send(server, route).request
    server.script(route, fault)
    address = ("127.0.0.1", int(server.origin.rpartition(":")[2]))
    head = f"POST {recorded.url.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: {len(recorded.content)}\r\n\r\n"
    got = b""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(head.encode() + recorded.content)
        try:
            while chunk := connection.recv(65536):
                got += chunk
        except OSError as error:
            return got, error
    return got, None


def test_reset_sends_a_part_and_then_rst(server: FakeServer[Any]) -> None:
    got, error = by_socket(server, "reset")
    assert isinstance(error, ConnectionResetError)
    head, _, body = got.partition(b"\r\n\r\n")
    promised = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) < promised


def test_reset_is_a_read_error_in_a_client(server: FakeServer[Any]) -> None:
    with pytest.raises(httpx.ReadError):
        first(server, "reset")


def test_drop_closes_without_a_byte(server: FakeServer[Any]) -> None:
    assert by_socket(server, "drop") == (b"", None)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        first(server, "drop")


def test_drop_creates_nothing_but_created_then_drop_does(jobs: JobServer[Any]) -> None:
    for fault, created in (("drop", 0), ("created_then_drop", 1)):
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            first(jobs, fault)
        assert jobs.created == created


def test_hang_lasts_until_the_client_leaves(server: FakeServer[Any]) -> None:
    route = MAIN[server.name]
    server.script(route, "hang")
    with pytest.raises(httpx.ReadTimeout):
        send(server, route, timeout=0.05)
    until = time.monotonic() + 5
    while server.state.in_flight and time.monotonic() < until:
        time.sleep(0.005)
    assert server.state.in_flight == 0
    assert send(server, route).is_success


def test_a_hanging_request_holds_up_no_other(server: FakeServer[Any]) -> None:
    route = MAIN[server.name]
    server.script(route, "hang")
    failed = threading.Thread(target=_times_out, args=(server, route))
    failed.start()
    while not server.state.in_flight:
        time.sleep(0.002)
    assert send(server, route).is_success
    failed.join()


def _times_out(server: FakeServer[Any], route: str) -> None:
    with pytest.raises(httpx.ReadTimeout):
        send(server, route, timeout=0.3)


def test_drip_comes_byte_by_byte(server: FakeServer[Any]) -> None:
    server.set(drip_s=0.0002)
    route = MAIN[server.name]
    want = send(server, route)
    server.script(route, "drip")
    request = want.request
    with (
        httpx.Client(verify=False) as client,
        client.stream(request.method, request.url, headers=request.headers, content=request.content) as answer,
    ):
        sizes = [len(chunk) for chunk in answer.iter_raw()]
        assert sum(sizes) == int(answer.headers["content-length"])
    assert len(sizes) >= 10  # A busy client reads several at once.


def test_drip_waits_between_two_bytes(server: FakeServer[Any]) -> None:
    route = MAIN[server.name]
    server.set(drip_s=0.2)
    server.script(route, "drip")
    # The headers and the first byte come at once, the second byte after 0.2 s.
    with pytest.raises(httpx.ReadTimeout):
        send(server, route, timeout=0.1)


def test_redirect_leads_to_the_other_name_or_where_told(server: FakeServer[Any]) -> None:
    answer = first(server, "redirect")
    assert answer.status_code == 307
    assert answer.headers["location"] == f"{server.other_origin}{answer.request.url.path}"
    server.set(redirect_to="http://127.0.0.1:9/elsewhere")
    assert first(server, "redirect").headers["location"] == "http://127.0.0.1:9/elsewhere"


def test_faults_on_the_wire_hit_images_behind_links_too(jobs: JobServer[Any]) -> None:
    whole = send(jobs, "output").content
    jobs.script("output", "cut_json", "reset", "drop", "404")
    assert send(jobs, "output").content == whole[: len(whole) // 2]
    with pytest.raises(httpx.ReadError):
        send(jobs, "output")
    with pytest.raises(httpx.RemoteProtocolError):
        send(jobs, "output")
    assert send(jobs, "output").status_code == 404


def test_every_fault_has_a_description_and_a_server_that_can_do_it() -> None:
    for name, fault in FAULTS.items():
        assert fault.description, name
        assert set(fault.servers) <= set(ALL), name
        assert any(name in server.faults(route) for server in map(made, fault.servers) for route in server._routes), (
            name
        )


def test_every_fault_is_proven_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in FAULTS if f'"{name}"' not in tests and name not in STATUSES] == []
