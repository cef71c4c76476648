"""JSON over httpx, for vendors whose work is done in jobs: bounded, keyed, and with failures that are the engine's outcomes already."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx

from runner.calls import Calls
from runner.errors import BadAnswer, CallsheetError, ItemError, ProviderStopped, Transient
from runner.exchanges import Exchanges
from runner.secrets import MASK
from steps.backends import http
from steps.backends.credentials import Vendor

E = TypeVar("E", bound=ItemError)
# What a vendor calls a job; it becomes part of an address.
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# "Your rate limit resets in ~30s.", where a 429 has no Retry-After.
RESETS_IN = re.compile(r"resets? in ~?(\d+(?:\.\d+)?) ?(ms|s|m)\b")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
DOCTOR_S = 5.0


class NotThere(ItemError):
    """404: the vendor has no such thing, or has it no more."""


class Sorting(httpx.BaseTransport):
    """Raises our errors in place of the library's, and of every status from 300 on, before a vendor's package sees any of them.

    Args:
        inner: Sends.
        vendor: For messages.
        key_env: What a person sets to another key.
        key: Taken out of what the server says, should it repeat it.
    """

    def __init__(self, inner: http.Guarded, vendor: str, key_env: str, key: str) -> None:
        self._inner = inner
        self._vendor = vendor
        self._key_env = key_env
        self._key = key

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer, whose status is below 300.

        Raises:
            CallsheetError: As `http.lost` and `http.refused` sort them; NotThere for 404.
        """
        try:
            response: httpx.Response = self._inner.handle_request(request)
            response.read()
        except httpx.HTTPError as error:
            raise http.lost(self._vendor, error, httpx) from error
        if response.status_code >= 300:
            raise self._sorted(response)
        return response

    def close(self) -> None:
        """Let go of the connections."""
        self._inner.close()

    def _sorted(self, response: httpx.Response) -> CallsheetError:
        status, text = response.status_code, said(response).replace(self._key, MASK)
        if status == 404:
            return NotThere(f"{self._vendor}: 404: {text}")
        error = http.refused(self._vendor, status, response.headers, text)
        if isinstance(error, Transient) and error.retry_after is None and (found := RESETS_IN.search(text)):
            error.retry_after = float(found[1]) * SECONDS[found[2]]
        if status in (401, 403):
            return ProviderStopped(f"{error}: set {self._key_env} to a key that may do this")
        return ProviderStopped(f"{error}: add credit, then give the same command again") if status == 402 else error


class Rest:
    """A vendor's API: one client for all threads, made when it is first needed, since without a key a preview still estimates.

    Args:
        vendor: Whose.
        url: The root of all paths.
        key_env: The environment variable of the key.
        timeout_s: Seconds for a whole answer.
        exchanges: Keeps them under debug=true.
    """

    def __init__(self, vendor: Vendor, url: str, key_env: str, *, timeout_s: float, exchanges: Exchanges) -> None:
        self.vendor = vendor
        self.url = url
        self._key_env = key_env
        self._bounds = http.Bounds(timeout_s)
        self._exchanges = exchanges
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    @classmethod
    def of(cls, vendor: Vendor, url: str, key_env: str, timeout_s: float, calls: Calls) -> Rest:
        """For a run."""
        return cls(vendor, url, key_env, timeout_s=timeout_s, exchanges=calls.exchanges)

    def key(self) -> str:
        """The key for this address; MisconfiguredRun where there is none."""
        return self.vendor.key(self._key_env, self.url).get_secret_value()

    def transport(self) -> Sorting:
        """A transport of its own, for a vendor's package."""
        inner = http.Guarded(httpx, self.url, self._bounds, self._exchanges)
        return Sorting(inner, self.vendor.name, self._key_env, self.key())

    def client(self) -> httpx.Client:
        """The client, with the key, which goes to this address alone.

        Raises:
            MisconfiguredRun: There is no key for this address.
        """
        with self._lock:
            if self._client is None:
                headers = {"Authorization": f"Bearer {self.key()}"}
                self._client = httpx.Client(
                    base_url=self.url, headers=headers, transport=self.transport(), follow_redirects=False
                )
            return self._client

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; the answer's JSON object.

        Raises:
            BadAnswer: It is none.
            CallsheetError: As `Sorting` has it.
        """
        answer = self.client().request(method, path, json=body)
        try:
            value = answer.json()
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"{self.vendor.name}: the answer is not JSON: {said(answer)[:80]!r}") from error
        if not isinstance(value, dict):
            raise BadAnswer(f"{self.vendor.name}: the answer is no JSON object: {str(value)[:80]!r}")
        return value

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


class Patience:
    """How long a job may take; counted from the first look at it, since a resumed run may find it after days."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def is_over(self) -> bool:
        """Whether it took too long."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        return now >= self._until


def ended(error: E, usd: float | None) -> E:
    """The error as one that ended its job: what it cost is known, and its id is of no more use."""
    error.job_usd = usd or 0.0
    return error


def a_job_id(value: object, vendor: str) -> str:
    """An id from the answer to a create.

    Raises:
        Transient: It has none: the job may run, and be paid for.
    """
    if isinstance(value, str) and JOB_ID.fullmatch(value):
        return value
    raise Transient(f"{vendor}: the answer to a create names no job: {str(value)[:80]!r}", maybe_billed=True)


def sendable(text: str) -> str:
    """A text that can be sent; ItemError for halves of characters, which come out of broken JSON."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ItemError(
            f"the prompt holds half a character at position {error.start}: correct the description"
        ) from error
    return text


def said(response: httpx.Response) -> str:
    """What a vendor gives as the reason of an error, as one line."""
    if "html" in response.headers.get("content-type", ""):
        return "a page of HTML, perhaps of a proxy on the way"
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return response.text[:500] or response.reason_phrase
    if not isinstance(body, dict):
        return str(body)[:500]
    parts = [str(body[name]) for name in ("title", "detail", "error", "message") if body.get(name)]
    return " ".join(": ".join(parts).split()) or str(body)[:500]
