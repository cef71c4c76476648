"""HTTP as every backend has it: bounded in time and size, no redirect followed, every failure sorted, kept under debug=true.

httpx and httpx2 (the openai package's own) have one API under two names; `library` is either.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from runner.errors import CallsheetError, ItemError, ProviderStopped, Transient
from runner.exchanges import Exchanges

CONNECT_S = 10.0
# Four times the largest image that is opened at quality 95; what is larger is no answer of a vendor.
MAX_BYTES = 128 * 1024 * 1024
KEPT_ALIVE_S = 30.0
# Gateways that had no answer to hand on: what stands behind them may have done its work.
NO_ANSWER = (502, 504, 520, 522, 524)
LONGEST_WAIT_S = 86_400.0
# Asked for as it is; a server that compresses all the same is believed so far: what is packed may unfold a thousandfold.
MAX_PACKED_BYTES = 256 * 1024


@dataclass(frozen=True)
class Bounds:
    """How long an answer may take as a whole, and how large it may be.

    The libraries' own time-outs count from byte to byte: an answer that drips in would hold a worker for hours.
    """

    total_s: float
    max_bytes: int = MAX_BYTES


class Guarded:
    """A transport for a client of httpx or httpx2.

    Each request gets a connection of its own from a stack. One pool for all would look through a hundred connections at each request.
    """

    def __init__(self, library: Any, url: str, bounds: Bounds, exchanges: Exchanges) -> None:
        self._library = library
        self._bounds = bounds
        self._exchanges = exchanges
        self._proxy = _proxy(url)
        self._trusted = library.create_ssl_context()
        self._idle: deque[Any] = deque()

    def handle_request(self, request: Any) -> Any:
        """Send, and read the whole answer within the bounds; raises the library's own time-outs and errors."""
        total = self._bounds.total_s
        deadline = time.monotonic() + total
        # A vendor's package may have set none at all.
        connect = min(CONNECT_S, total)
        request.headers["accept-encoding"] = "identity"
        request.extensions["timeout"] = {"connect": connect, "read": total, "write": total, "pool": total}
        try:
            inner = self._idle.pop()
        except IndexError:
            inner = self._connection()
        try:
            response = inner.handle_request(request)
            try:
                body = self._read(response, request, deadline)
            finally:
                response.close()
        except Exception as error:
            self._keep(request, {"error": f"{type(error).__name__}: {error}"})
            raise
        finally:
            self._idle.append(inner)
        # The body as it came: the client undoes its encoding.
        whole = self._library.Response(
            response.status_code,
            headers=response.headers,
            stream=self._library.ByteStream(body),
            extensions=response.extensions,
        )
        if self._exchanges.kept:
            self._keep(request, {"status": response.status_code, "body": whole.read()})
        return whole

    def close(self) -> None:
        """Let go of the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _connection(self) -> Any:
        limits = self._library.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_ALIVE_S)
        return self._library.HTTPTransport(verify=self._trusted, proxy=self._proxy, limits=limits)

    def _read(self, response: Any, request: Any, deadline: float) -> bytes:
        chunks, size = [], 0
        packed = response.headers.get("content-encoding", "identity") != "identity"
        most = MAX_PACKED_BYTES if packed else self._bounds.max_bytes
        for chunk in response.stream:
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise self._library.ReadError(f"an answer of more than {most} bytes", request=request)
            if time.monotonic() > deadline:
                message = f"no whole answer within {self._bounds.total_s:g} s"
                raise self._library.ReadTimeout(message, request=request)
        return b"".join(chunks)

    def _keep(self, request: Any, answer: Mapping[str, Any]) -> None:
        if self._exchanges.kept:
            # Links to outputs carry keys of their own behind the question mark.
            url = str(request.url).split("?", 1)[0]
            self._exchanges.keep({"method": request.method, "url": url, "body": request.read()}, answer)


def client(library: Any, url: str, bounds: Bounds, exchanges: Exchanges, **options: Any) -> Any:
    """A client of the library over a guarded transport, which follows no redirect: a key never goes where a server points."""
    transport = Guarded(library, url, bounds, exchanges)
    return library.Client(transport=transport, follow_redirects=False, **options)


def lost(vendor: str, error: Exception, library: Any) -> Transient:
    """What a failure of the connection means: a request that never left is not billed, any other one may be."""
    never_left = (library.ConnectError, library.ConnectTimeout, library.PoolTimeout, library.UnsupportedProtocol)
    if isinstance(error, library.LocalProtocolError):
        # Its words may quote a header, and so a key.
        return Transient(f"{vendor}: the request could not be sent: a header is not valid")
    message = f"{vendor}: {type(error).__name__}: {str(error)[:200] or 'the connection was lost'}"
    return Transient(message, maybe_billed=not isinstance(error, never_left))


def refused(vendor: str, status: int, headers: Mapping[str, str], text: str) -> CallsheetError:
    """What a status other than 2xx means, where the vendor has no finer word for it.

    Args:
        vendor: For messages.
        status: HTTP's.
        headers: With lower-case names, or any mapping that ignores case.
        text: The reason that the vendor gave.
    """
    said = f"{vendor}: {status}: {' '.join(text.split())[:300]}"
    if status in (408, 409, 425, 429) or status >= 500:
        billed = status in NO_ANSWER
        return Transient(said, retry_after=retry_after(headers), throttled=status == 429, maybe_billed=billed)
    if status in (401, 402, 403):
        return ProviderStopped(said)
    if 300 <= status < 400:
        host = urlsplit(headers.get("location", "")).hostname or "nowhere"
        return ProviderStopped(
            f"{vendor}: {status}: the server points to {host}, where your key does not go: correct the address"
        )
    return ItemError(said)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asked to wait: retry-after-ms, or Retry-After in seconds or as a date (RFC 9110, 10.2.3)."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return _bounded(float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return _bounded(float(value))
        return _bounded((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    """A wait of at most a day; None for what is no number."""
    return min(LONGEST_WAIT_S, max(0.0, seconds)) if math.isfinite(seconds) else None


def _proxy(url: str) -> str | None:
    """The environment's proxy for an address: a client with a transport of its own does not look for it."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    found = getproxies()
    return found.get(parts.scheme) or found.get("all")
