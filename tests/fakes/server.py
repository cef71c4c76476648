"""What the servers have in common: a thread with an aiohttp app, a record of every request, scripted faults, a rate limit."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from aiohttp import web

from tests.fakes import admin, wire
from tests.fakes.faults import FAULTS, OK, known
from tests.fakes.limits import Bucket
from tests.fakes.state import Recorded, Script, Settings, State

HOST, OTHER_HOST = "127.0.0.1", "localhost"
_MAX_BODY = 512 * 1024 * 1024


@dataclass
class Exchange:
    """A request that is being answered."""

    server: FakeServer[Any]
    request: web.Request
    route: str
    body: bytes
    number: int
    fault: str | None = None
    wait_s: float = 30.0  # What a 429 says.

    def json(self) -> Any:
        """The request's body; ValueError if it is not JSON."""
        return json.loads(self.body)

    @property
    def key(self) -> str:
        """The API key that was sent."""
        return self.request.headers.get("Authorization", "").partition(" ")[2].strip()


Handler = Callable[[Exchange], Awaitable[web.Response]]
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Route:
    """A path of the vendor's API: what it is called in scripts, whether it needs a key, and whether it counts against the rate."""

    name: str
    method: str
    path: str
    handler: Handler
    keyed: bool = True
    limited: bool = False


class FakeServer(Generic[S]):
    """A vendor's API on loopback, in a thread of this process: `with OpenAIServer() as server: server.url`.

    Attributes:
        name: In FAULTS and on the command line.
        settings: As they are now; change them by `set`.
        closing: Set when the server begins to shut down.
    """

    name: ClassVar[str]
    base_path: ClassVar[str] = ""
    settings: S
    closing: asyncio.Event

    def __init__(self, settings: S) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.state = State()
        self.plan = Script()
        self._port = 0
        self._errors: list[str] = []  # Our own mistakes, and those of a test's callables.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._routes = {route.name: route for route in self.routes()}
        self._apply()

    def routes(self) -> Sequence[Route]:
        """The vendor's API."""
        raise NotImplementedError

    def error(self, status: int, fault: str | None, exchange: Exchange) -> Mapping[str, Any]:
        """The vendor's body for an error."""
        raise NotImplementedError

    def jobs(self) -> Sequence[Mapping[str, Any]]:
        """What was created: id, target, input, cancelled, fault; for /_fake/state."""
        return []

    # -- For tests: where it is, what it shall do, what has happened.

    @property
    def origin(self) -> str:
        """http://127.0.0.1:PORT."""
        return f"http://{HOST}:{self._port}"

    @property
    def other_origin(self) -> str:
        """The same server by another host name, to which no key may be sent."""
        return f"http://{OTHER_HOST}:{self._port}"

    @property
    def url(self) -> str:
        """The base URL that a client of this vendor is given."""
        return f"{self.origin}{self.base_path}"

    def set(self, **changes: Any) -> None:
        """Change settings; ValueError names those that there are."""
        names = [each.name for each in dataclasses.fields(self.settings)]
        unknown = set(changes) - set(names)
        if unknown:
            raise ValueError(f"{self.name} has no settings {sorted(unknown)}: {', '.join(names)}")
        with self.lock:
            for name, value in changes.items():
                setattr(self.settings, name, tuple(value) if isinstance(value, list) else value)
            self._apply()

    def script(self, route: str, *faults: str) -> None:
        """What the next requests on a route meet, one each, "ok" being no fault; added to what is scripted already."""
        with self.lock:
            self.plan.next[self._route(route)].extend(known(fault, self.name, route) for fault in faults)

    def always(self, route: str, fault: str | None) -> None:
        """What every request on a route meets that is not scripted; None ends it."""
        with self.lock:
            self.plan.always[self._route(route)] = known(fault or OK, self.name, route)

    def nth(self, route: str, number: int, fault: str) -> None:
        """What the request with this number on a route meets; the first since start or reset is 1."""
        with self.lock:
            self.plan.nth[self._route(route)][number] = known(fault, self.name, route)

    def reset(self) -> None:
        """Forget what has happened and what is scripted. The settings stay."""
        with self.lock:
            self.state = State()
            self.plan = Script()
            self._apply()

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, the refused ones too."""
        with self.lock:
            return list(self.state.requests)

    def requests_on(self, route: str) -> list[Recorded]:
        """Those on one route."""
        self._route(route)
        return [request for request in self.requests if request.route == route]

    @property
    def counts(self) -> Counter[str]:
        """Requests by route."""
        with self.lock:
            return Counter(self.state.counts)

    @property
    def given(self) -> Counter[str]:
        """Faults that were met, by name."""
        with self.lock:
            return Counter(self.state.given)

    @property
    def refused(self) -> int:
        """Requests that were over the rate limit."""
        return self.state.refused

    @property
    def most_in_flight(self) -> int:
        """The most requests that were ever being answered at once."""
        return self.state.most_in_flight

    @property
    def violations(self) -> list[str]:
        """What was not of the published schemas, in requests and in our own answers."""
        with self.lock:
            return list(self.state.violations)

    # -- The thread.

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name=f"fake {self.name}", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._thread is not None
        self._loop.call_soon_threadsafe(self.closing.set)
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), f"the {self.name} server did not end"
        if self._failure is not None and error is None:
            raise self._failure
        assert error is not None or not self._errors, "\n".join(self._errors)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.closing = asyncio.Event()
        # A client that leaves, and our own end, break off what is under way; aiohttp takes 0 for no limit at all.
        runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, 0, backlog=1024)
            await site.start()
            self._port = runner.addresses[0][1]
            self._ready.set()
            await self.closing.wait()
        finally:
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY)
        admin.add(app, self)
        for route in self._routes.values():
            app.router.add_route(route.method, route.path, self._handler(route))
        app.router.add_route("*", "/{path:.*}", self._handler(Route("unknown", "*", "", self._unknown, keyed=False)))
        return app

    # -- A request.

    def _handler(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            state = self.state
            exchange = self._record(route, request, await request.read(), state)
            try:
                return await self._answer(route, exchange)
            except ConnectionError:
                return web.Response()  # The client has left.
            except Exception:
                self._errors.append(traceback.format_exc())
                raise
            finally:
                with self.lock:
                    state.in_flight -= 1

        return handle

    def _record(self, route: Route, request: web.Request, body: bytes, state: State) -> Exchange:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept = body[: self.settings.keep_bytes]
        host = headers.get("host", "")
        recorded = Recorded(route.name, request.method, request.path_qs, headers, kept, time.time(), host)
        with self.lock:
            state.requests.append(recorded)
            state.counts[route.name] += 1
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
            return Exchange(self, request, route.name, body, state.counts[route.name])

    async def _answer(self, route: Route, exchange: Exchange) -> web.StreamResponse:
        refused = self._refusal(route, exchange)
        if refused is not None:
            return refused
        with self.lock:
            exchange.fault = self.plan.take(route.name, exchange.number)
            if exchange.fault:
                self.state.given[exchange.fault] += 1
        fault = exchange.fault or OK
        if fault in wire.INSTEAD:
            await self._delay()
            return await wire.INSTEAD[fault](exchange)
        # What is asked for is done first and the answer sent later: a client that leaves meanwhile has still paid.
        answer = await self._made(route, exchange)
        await self._delay()
        return await wire.UPON[fault](exchange, answer) if fault in wire.UPON else answer

    async def _made(self, route: Route, exchange: Exchange) -> web.Response:
        status = (exchange.fault or "").partition("_")[0]
        if exchange.fault is not None and status.isdigit():
            answer = self.failure(int(status), exchange)
        else:
            answer = await route.handler(exchange)
        if route.limited:
            answer.headers.update(self._rate_headers())
        return answer

    def _refusal(self, route: Route, exchange: Exchange) -> web.Response | None:
        """401 without the right key, 429 above the rate."""
        if route.keyed and (not exchange.key or self.settings.key not in (None, exchange.key)):
            return self.failure(401, exchange)
        if not route.limited:
            return None
        with self.lock:
            wait = max((bucket.wait_s(amount) for bucket, amount in self._buckets), default=0.0)
            if wait == 0:
                for bucket, amount in self._buckets:
                    bucket.take(amount)
                return None
            self.state.refused += 1
        exchange.wait_s = wait
        answer = self.failure(429, exchange)
        answer.headers.update(self._rate_headers() | _retry_headers(exchange.wait_s))
        return answer

    def failure(self, status: int, exchange: Exchange) -> web.Response:
        """An error in the vendor's shape, with the headers that its fault has."""
        answer = web.json_response(self.error(status, exchange.fault, exchange), status=status)
        if exchange.fault == "429_after":
            answer.headers.update(_retry_headers(self.settings.retry_after_s))
        if exchange.fault == "429_long":
            answer.headers["Retry-After"] = "300"
        return answer

    def violate(self, what: str) -> None:
        """Note something that is not of the published schemas."""
        with self.lock:
            self.state.violations.append(what)

    async def _delay(self) -> None:
        low, high = self.settings.latency
        if high:
            await asyncio.sleep(self._random.uniform(low, high))

    async def _unknown(self, exchange: Exchange) -> web.Response:
        return self.failure(404, exchange)

    def _rate_headers(self) -> dict[str, str]:
        with self.lock:
            kinds = ("requests", "tokens")
            return {
                name: value
                for kind, (bucket, _) in zip(kinds, self._buckets, strict=False)
                for name, value in bucket.headers(kind).items()
            }

    def _apply(self) -> None:
        settings = self.settings
        self._random = random.Random(settings.seed)
        self._buckets: list[tuple[Bucket, float]] = []
        if settings.requests_per_minute is not None:
            rate = settings.requests_per_minute
            self._buckets.append((Bucket(rate, settings.burst or rate), 1))
            tokens = settings.tokens_per_minute or rate * settings.tokens_per_request * 10
            self._buckets.append((Bucket(tokens, tokens), settings.tokens_per_request))

    def _route(self, name: str) -> str:
        if name not in self._routes:
            raise ValueError(f"{self.name} has no route {name!r}: {', '.join(self._routes)}")
        return name

    def faults(self, route: str) -> list[str]:
        """The faults that this server can commit on a route."""
        return [
            name
            for name, fault in FAULTS.items()
            if self.name in fault.servers and (not fault.routes or route in fault.routes)
        ]


def _retry_headers(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(seconds))), "retry-after-ms": str(round(seconds * 1000))}
