from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.fakes.limits import Bucket, duration
from tests.fakes.openai import OpenAIServer, OpenAISettings
from tests.fakes.sending import BEARER, ask, chat_body, send


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """One that answers at once."""
    with OpenAIServer(OpenAISettings(answer="constant", check=False)) as server:
        yield server


def statuses(server: OpenAIServer, count: int) -> list[int]:
    return [send(server, "chat").status_code for _ in range(count)]


def test_a_server_starts_and_ends_at_once() -> None:
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        with OpenAIServer():
            pass
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.05


def test_every_request_is_recorded_with_its_headers_and_body(server: OpenAIServer) -> None:
    ask("POST", f"{server.url}/chat/completions", headers={**BEARER, "X-Canary": "yes"}, content=b"\x00not json")
    (request,) = server.requests
    assert (request.route, request.method, request.path) == ("chat", "POST", "/v1/chat/completions")
    assert request.headers["authorization"] == BEARER["Authorization"]
    assert request.headers["x-canary"] == "yes"
    assert request.body == b"\x00not json"
    assert request.host == server.origin.removeprefix("http://")
    assert abs(time.time() - request.at) < 10


def test_what_is_refused_or_unknown_is_recorded_too(server: OpenAIServer) -> None:
    assert ask("POST", f"{server.url}/chat/completions", json={}).status_code == 401
    assert ask("GET", f"{server.url}/nowhere").status_code == 404
    assert server.counts == {"chat": 1, "unknown": 1}


def test_bodies_are_kept_up_to_a_size(server: OpenAIServer) -> None:
    server.set(keep_bytes=10)
    send(server, "chat")
    assert len(server.requests[0].body) == 10


def test_a_script_is_followed_in_order_and_then_always(server: OpenAIServer) -> None:
    server.script("chat", "429", "ok", "500")
    server.always("chat", "503")
    assert statuses(server, 5) == [429, 200, 500, 503, 503]
    server.always("chat", None)
    assert statuses(server, 1) == [200]


def test_a_fault_can_be_put_on_the_nth_request(server: OpenAIServer) -> None:
    server.nth("chat", 2, "500")
    assert statuses(server, 3) == [200, 500, 200]


def test_faults_that_were_met_are_counted(server: OpenAIServer) -> None:
    server.script("chat", "429", "ok", "429")
    statuses(server, 3)
    assert server.given == {"429": 2}


def test_reset_while_a_request_runs_leaves_the_count_right(server: OpenAIServer) -> None:
    server.script("chat", "hang")
    client = threading.Thread(target=_times_out, args=(server,))
    client.start()
    while not server.state.in_flight:
        time.sleep(0.002)
    server.reset()
    client.join()
    statuses(server, 1)
    assert server.state.in_flight == 0


def _times_out(server: OpenAIServer) -> None:
    with pytest.raises(httpx.ReadTimeout):
        send(server, "chat", timeout=0.1)


def test_a_script_is_for_one_route(server: OpenAIServer) -> None:
    server.always("chat", "500")
    assert send(server, "models").status_code == 200


def test_a_fault_that_a_route_does_not_have_is_refused(server: OpenAIServer) -> None:
    with pytest.raises(ValueError, match=r"openai has no fault 'FAILED' on route 'chat': one of ok, 429, .*refusal"):
        server.script("chat", "FAILED")
    with pytest.raises(ValueError, match="no fault 'refusal' on route 'images'"):
        server.always("images", "refusal")
    with pytest.raises(ValueError, match="openai has no route 'create': chat, models"):
        server.script("create", "500")
    with pytest.raises(ValueError, match=r"no settings \['polls'\]: latency"):
        server.set(polls=3)


def test_reset_forgets_what_happened_and_what_is_scripted(server: OpenAIServer) -> None:
    server.always("chat", "500")
    statuses(server, 2)
    server.reset()
    assert (server.counts, server.requests) == ({}, [])
    assert statuses(server, 1) == [200]


def test_only_the_right_key_is_let_in(server: OpenAIServer) -> None:
    server.set(key="sk-other")
    assert statuses(server, 1) == [401]
    server.set(key="sk-right")
    assert statuses(server, 1) == [200]


@pytest.mark.parametrize("header", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}])
def test_any_key_will_do_but_none_will_not(server: OpenAIServer, header: dict[str, str]) -> None:
    answer = ask("POST", f"{server.url}/chat/completions", headers=header, json=chat_body())
    assert answer.status_code == 401


def test_over_the_rate_is_refused_counted_and_told(server: OpenAIServer) -> None:
    server.set(requests_per_minute=60, burst=2)
    answers = [send(server, "chat") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert server.refused == 2
    headers = answers[2].headers
    assert 0 < int(headers["retry-after-ms"]) <= 1000
    assert headers["retry-after"] == "1"
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "1"
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "600000"


def test_tokens_have_a_rate_too(server: OpenAIServer) -> None:
    server.set(requests_per_minute=600, tokens_per_minute=2500)
    assert statuses(server, 3) == [200, 200, 429]


def test_routes_that_cost_nothing_have_no_rate(server: OpenAIServer) -> None:
    server.set(requests_per_minute=1, burst=1)
    assert [send(server, "models").status_code for _ in range(3)] == [200] * 3


def test_a_bucket_refills_evenly() -> None:
    now = [0.0]
    bucket = Bucket(60, 10, clock=lambda: now[0])
    bucket.take(10)
    assert bucket.wait_s(1) == 1.0
    now[0] = 4.5
    assert bucket.wait_s(4) == 0
    assert bucket.headers("requests")["x-ratelimit-remaining-requests"] == "4"
    now[0] = 1000.0
    bucket.wait_s(1)
    assert bucket.level == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.12, "120ms"), (1, "1s"), (7.66, "7.66s"), (360, "6m0s"), (3723, "1h2m3s")],
)
def test_times_are_written_as_the_vendor_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_latency_is_kept_and_requests_run_side_by_side(server: OpenAIServer) -> None:
    server.set(latency=(0.05, 0.06))
    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(server, "chat"), range(8)))
    assert all(answer.elapsed.total_seconds() >= 0.05 for answer in answers)
    assert time.perf_counter() - begun < 8 * 0.05 or server.most_in_flight > 1
    assert server.most_in_flight > 1


def test_a_mistake_of_a_tests_own_callable_is_not_taken_for_a_fault() -> None:
    def broken(asked: object) -> str:
        raise RuntimeError("my mistake")

    with pytest.raises(AssertionError, match="my mistake"), OpenAIServer(OpenAISettings(answer=broken)) as server:
        assert send(server, "chat").status_code == 500


@pytest.mark.parametrize("why", ["hang", "latency", "drip"])
def test_a_server_ends_while_clients_wait(why: str) -> None:
    with OpenAIServer(OpenAISettings(answer="constant")) as server:
        if why == "latency":
            server.set(latency=(30.0, 30.0))
        else:
            server.always("chat", why)
        clients = [threading.Thread(target=_left_alone, args=(server,)) for _ in range(3)]
        for client in clients:
            client.start()
        while server.state.in_flight < 3:
            time.sleep(0.005)
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 2
    for client in clients:
        client.join()


def _left_alone(server: OpenAIServer) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(server, "chat")


class TestAdmin:
    def post(self, server: OpenAIServer, what: str, body: object) -> httpx.Response:
        return ask("POST", f"{server.origin}/_fake/{what}", json=body)

    def state(self, server: OpenAIServer) -> dict[str, object]:
        state: dict[str, object] = ask("GET", f"{server.origin}/_fake/state").json()
        return state

    def test_another_process_can_script_and_see(self, server: OpenAIServer) -> None:
        body = {"route": "chat", "faults": ["429"], "always": "503", "nth": {"2": "500"}}
        assert self.post(server, "script", body).json() == {"ok": True}
        assert statuses(server, 3) == [429, 500, 503]
        state = self.state(server)
        assert state["counts"] == {"chat": 3}
        assert state["faults"] == {"429": 1, "500": 1, "503": 1}
        assert state["url"] == server.url
        headers = state["headers"]
        assert isinstance(headers, dict)
        assert headers["authorization"] == ["Bearer sk-right"]

    def test_settings_and_reset(self, server: OpenAIServer) -> None:
        self.post(server, "settings", {"latency": [0.0, 0.001], "requests_per_minute": 60, "burst": 1})
        assert statuses(server, 2) == [200, 429]
        assert self.state(server)["refused"] == 1
        ask("POST", f"{server.origin}/_fake/reset")
        assert self.state(server)["refused"] == 0
        assert server.settings.latency == (0.0, 0.001)

    def test_bodies_can_be_fetched(self, server: OpenAIServer) -> None:
        send(server, "models")
        (request,) = ask("GET", f"{server.origin}/_fake/requests").json()
        assert (request["route"], request["body"]) == ("models", "")

    @pytest.mark.parametrize(
        ("what", "body"),
        [
            ("script", {"route": "chat", "faults": ["nope"]}),
            ("script", {}),
            ("settings", {"nope": 1}),
            ("settings", []),
        ],
    )
    def test_a_mistake_is_answered(self, server: OpenAIServer, what: str, body: object) -> None:
        assert self.post(server, what, body).status_code == 400
