"""What a server is told and what it has seen: settings, script, record."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.faults import OK


@dataclass
class Settings:
    """How a server behaves. May be changed while it runs: `server.set(latency=(0.1, 0.2))`.

    Attributes:
        latency: Seconds before an answer is sent, drawn evenly from this range.
        seed: Of the latencies.
        requests_per_minute: On the routes that cost; None is no limit. Above it: 429, counted in `server.refused`.
        tokens_per_minute: The same for tokens, of which every request takes `tokens_per_request`.
        burst: What the bucket of requests holds; None is a minute's worth, as the vendors have it.
        key: The API key that is right; None takes any that is not empty.
        keep_bytes: How much of each request's body is kept.
        check: Whether bodies are checked against the published schemas, where these are there.
        retry_after_s: Of the fault 429_after.
        redirect_to: Where the fault redirect leads; None is this server by its other name.
        drip_s: Seconds between two bytes of the fault drip.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    seed: int = 0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_request: int = 1000
    burst: int | None = None
    key: str | None = None
    keep_bytes: int = 32 * 1024 * 1024
    check: bool = True
    retry_after_s: float = 2.0
    redirect_to: str | None = None
    drip_s: float = 0.2


@dataclass(frozen=True)
class Recorded:
    """One request as it came. Header names are in lower case; `host` is what the client called this server."""

    route: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    host: str

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class State:
    """What has happened. Read through the server, which holds the lock."""

    requests: list[Recorded] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass
class Script:
    """What goes wrong when, by route."""

    next: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    nth: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    always: dict[str, str] = field(default_factory=dict)

    def take(self, route: str, number: int) -> str | None:
        """What the request with this number on this route meets."""
        if number in self.nth[route]:
            fault = self.nth[route].pop(number)
        elif self.next[route]:
            fault = self.next[route].popleft()
        else:
            fault = self.always.get(route, OK)
        return None if fault == OK else fault
