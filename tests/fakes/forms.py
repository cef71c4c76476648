"""multipart/form-data, out of a body that has been read already."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol

from tests.fakes.server import Exchange


class Part(NamedTuple):
    """One field of a form."""

    name: str
    filename: str | None
    media_type: str
    data: bytes


async def parts(exchange: Exchange) -> list[Part]:
    """All fields, in order. A field in a field is passed over; ValueError if it is no form."""
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), max(len(exchange.body), 2**16), loop=loop)  # The limit: never to pause.
    stream.feed_data(exchange.body)
    stream.feed_eof()
    reader = MultipartReader(exchange.request.headers, stream)
    found = []
    async for part in reader:
        if isinstance(part, BodyPartReader):
            media_type = part.headers.get("Content-Type", "text/plain")
            found.append(Part(part.name or "", part.filename, media_type, bytes(await part.read(decode=True))))
    return found
