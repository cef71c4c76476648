"""What goes wrong below the level of the vendors' answers: on the connection, in gateways, in mid-body."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from tests.fakes.server import Exchange

PAGE = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
# Long enough for the client to have read what was sent before the reset, which takes away what was not.
_BEFORE_RESET = 0.03


def page(status: int, title: str) -> web.Response:
    """A page that a proxy would show a person."""
    return web.Response(status=status, text=PAGE.format(title=title), content_type="text/html")


async def drop(exchange: Exchange) -> web.Response:
    """Close the connection before any byte is sent."""
    transport = exchange.request.transport
    if transport is not None:
        transport.close()
    return web.Response()


async def hang(exchange: Exchange) -> web.Response:
    """Wait until the client leaves (which cancels this) or the server closes."""
    await exchange.server.closing.wait()
    return await drop(exchange)


async def html_200(exchange: Exchange) -> web.Response:
    """A login page in place of the answer."""
    return page(200, "Sign in")


async def html_502(exchange: Exchange) -> web.Response:
    """The gateway's own error page."""
    return page(502, "502 Bad Gateway")


async def redirect(exchange: Exchange) -> web.Response:
    """307, which a client may follow with method, body and, if it is careless, its key."""
    server = exchange.server
    target = server.settings.redirect_to or f"{server.other_origin}{exchange.request.path_qs}"
    return web.Response(status=307, headers={"Location": target})


async def cut_json(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
    """The first half, with headers that are right for it."""
    body = _bytes(answer)
    return web.Response(status=answer.status, body=body[: len(body) // 2], headers=_headers(answer))


async def reset(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
    """The first half of what was promised, then RST."""
    body = _bytes(answer)
    response = await _begin(exchange, answer, len(body))
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(_BEFORE_RESET)
    transport = exchange.request.transport
    if transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return response


async def drip(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
    """Byte by byte."""
    body = _bytes(answer)
    response = await _begin(exchange, answer, len(body))
    for position in range(len(body)):
        if exchange.server.closing.is_set():
            return await drop(exchange)
        await response.write(body[position : position + 1])
        await asyncio.sleep(exchange.server.settings.drip_s)
    await response.write_eof()
    return response


async def lose(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
    """All was done, and the client never hears of it."""
    return await drop(exchange)


async def _begin(exchange: Exchange, answer: web.Response, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = length
    await response.prepare(exchange.request)
    return response


def _bytes(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes), "faults on the wire are for answers that are held in memory"
    return answer.body


def _headers(answer: web.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}


# In place of the answer: nothing is done. And to the answer: what was asked for has been done, and may have been billed.
INSTEAD: Mapping[str, Callable[[Exchange], Awaitable[web.StreamResponse]]] = {
    "drop": drop,
    "hang": hang,
    "html_200": html_200,
    "502_html": html_502,
    "redirect": redirect,
}
UPON: Mapping[str, Callable[[Exchange, web.Response], Awaitable[web.StreamResponse]]] = {
    "cut_json": cut_json,
    "reset": reset,
    "drip": drip,
    "created_then_drop": lose,
}
