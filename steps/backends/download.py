"""Outputs from where a vendor put them: links to other hosts, which never see a key."""

from __future__ import annotations

import threading
from urllib.parse import urljoin, urlsplit

import httpx

from runner.errors import BadAnswer, CallsheetError, ItemError, Transient
from runner.exchanges import Exchanges
from steps.backends import http
from steps.library import pictures

MAX_REDIRECTS = 3
GONE = (401, 403, 404, 410)


class OutputGone(ItemError):
    """The link has expired."""


class NoImage(ItemError):
    """What lies there is no image, and will be none when it is asked for again."""


class Downloads:
    """Fetches images by link, without any key.

    Args:
        vendor: For messages.
        base_url: The vendor's API. Links are https, unless the API itself is not.
        timeout_s: Seconds for a whole answer.
        exchanges: Keeps them under debug=true, without what stands behind the question mark.
    """

    def __init__(self, vendor: str, base_url: str, timeout_s: float, exchanges: Exchanges) -> None:
        self._vendor = vendor
        self._schemes = ("https",) if base_url.startswith("https:") else ("https", "http")
        self._bounds = http.Bounds(timeout_s, pictures.MAX_BYTES)
        self._exchanges = exchanges
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], httpx.Client] = {}

    def fetch(self, url: str) -> bytes:
        """The bytes of an image that is whole.

        Raises:
            Transient: The connection failed, or the server was too busy.
            OutputGone: The link has expired.
            BadAnswer: A page of HTML, which may be a proxy's: another time the image may be there.
            NoImage: Something else, or an address that is not gone to.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(url)
            if not 300 <= answer.status_code < 400:
                return self._image(answer)
            url = urljoin(url, answer.headers.get("location", ""))
        raise NoImage(f"{self._vendor}: the output's link leads from address to address (more than {MAX_REDIRECTS})")

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _get(self, url: str) -> httpx.Response:
        try:
            return self._client(url).get(url)
        except httpx.HTTPError as error:
            raise _unbilled(http.lost(self._vendor, error, httpx)) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise NoImage(f"{self._vendor}: the output's link is no address: {url[:100]!r}") from error

    def _client(self, url: str) -> httpx.Client:
        """One for each host, since each may have its own way out (a proxy)."""
        parts = urlsplit(url)
        if parts.scheme not in self._schemes or not parts.hostname:
            raise NoImage(f"{self._vendor}: the output's link is no {self._schemes[0]} address: {url[:100]!r}")
        place = (parts.scheme, parts.netloc)
        with self._lock:
            if place not in self._clients:
                self._clients[place] = http.client(httpx, url, self._bounds, self._exchanges)
            return self._clients[place]

    def _image(self, answer: httpx.Response) -> bytes:
        if answer.status_code in GONE:
            raise OutputGone(f"{self._vendor}: {answer.status_code}: the output's link has expired")
        if answer.status_code >= 300:
            raise self._sorted(answer)
        if "html" in answer.headers.get("content-type", ""):
            raise BadAnswer(f"{self._vendor}: a page of HTML came in place of the image, perhaps of a proxy on the way")
        return checked_image(answer.content, self._vendor)

    def _sorted(self, answer: httpx.Response) -> CallsheetError:
        error = http.refused(self._vendor, answer.status_code, answer.headers, "the output can't be fetched")
        return error if isinstance(error, Transient) else NoImage(str(error))


def checked_image(data: bytes, vendor: str) -> bytes:
    """The bytes, which are a whole PNG, JPEG or WebP.

    Raises:
        NoImage: They are not.
    """
    try:
        pictures.decode(data, "the output")
    except ItemError as error:
        raise NoImage(f"{vendor}: what came is no whole image: {error}") from error
    return data


def _unbilled(error: Transient) -> Transient:
    """Nobody pays for fetching."""
    error.maybe_billed = False
    return error
