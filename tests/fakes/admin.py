"""The paths under /_fake/ by which another process scripts a server and reads what has happened."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.fakes.server import FakeServer


def add(app: web.Application, server: FakeServer[Any]) -> None:
    """Serve them. A mistake is answered with 400 and what was wrong."""
    app.router.add_get("/_fake/state", _json(lambda _: state(server)))
    app.router.add_get("/_fake/requests", _json(lambda _: requests(server)))
    app.router.add_post("/_fake/script", _json(lambda body: _script(server, body)))
    app.router.add_post("/_fake/settings", _json(lambda body: server.set(**body)))
    app.router.add_post("/_fake/reset", _json(lambda _: server.reset()))


def state(server: FakeServer[Any]) -> dict[str, Any]:
    """What has happened, as JSON."""
    with server.lock:
        now = server.state
        return {
            "server": server.name,
            "url": server.url,
            "counts": dict(now.counts),
            "faults": dict(now.given),
            "refused": now.refused,
            "in_flight": now.in_flight,
            "most_in_flight": now.most_in_flight,
            "jobs": [dict(job) for job in server.jobs()],
            "cancelled": [job["id"] for job in server.jobs() if job["cancelled"]],
            "headers": _headers(server),
            "violations": list(now.violations),
        }


def requests(server: FakeServer[Any]) -> list[dict[str, Any]]:
    """Every request; bodies in base64."""
    return [
        {
            "route": request.route,
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "body": base64.b64encode(request.body).decode(),
            "at": request.at,
        }
        for request in server.requests
    ]


def _headers(server: FakeServer[Any]) -> dict[str, list[str]]:
    """Each header's different values."""
    seen: dict[str, set[str]] = defaultdict(set)
    for request in server.state.requests:
        for name, value in request.headers.items():
            seen[name].add(value)
    return {name: sorted(values)[:50] for name, values in seen.items()}


def _script(server: FakeServer[Any], body: dict[str, Any]) -> None:
    """{"route": ..., "faults": [...]} and/or "always": fault or null, "nth": {"3": fault}."""
    route = body["route"]
    server.script(route, *body.get("faults", ()))
    if "always" in body:
        server.always(route, body["always"])
    for number, fault in body.get("nth", {}).items():
        server.nth(route, int(number), fault)


def _json(act: Callable[[Any], Any]) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        try:
            result = act(body)
        except (ValueError, KeyError, TypeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"ok": True} if result is None else result)

    return handle
