"""The SDK's client, and what its failures mean. Retries are the runner's: the SDK's own would also retry an exhausted quota."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.calls import Calls
from runner.doctor import Need
from runner.errors import BadAnswer, CallsheetError, ItemError, MisconfiguredRun, ProviderStopped
from runner.exchanges import Exchanges
from runner.rates import RateHeaders
from steps.backends import http
from steps.backends.credentials import Vendor
from steps.backends.prices import Price

if TYPE_CHECKING:
    from openai import OpenAI

OPENAI = Vendor("openai", "https://api.openai.com/v1", "OPENAI_BASE_URL", "another backend (profile=embedded)")
# A 429 of these is no matter of speed.
OUT_OF_MONEY = re.compile(
    r"insufficient_quota|credit_balance_exhausted|\w*_spend_limit_exceeded|organization_usage_limit_exceeded"
)
# A 400 that names one of these would meet every other request as well.
SETTINGS = ("model", "temperature", "max_completion_tokens", "response_format", "size", "quality", "detail")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DOCTOR_S = 10.0
WARN_DAYS = 90
log = logging.getLogger("callsheet")


class Connection:
    """One client for all threads, made when it is first needed: without a key a preview still estimates."""

    def __init__(self, calls: Calls, *, base_url: str | None, key_env: str, timeout_s: float) -> None:
        self.url = OPENAI.address(base_url)
        self._calls = calls
        self._key_env = key_env
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: OpenAI | None = None

    @property
    def host(self) -> str:
        """Where requests go, as part of a backend's identity; empty for OpenAI itself."""
        return "" if self.url == OPENAI.home else f" at {urlsplit(self.url).netloc}"

    def client(self) -> OpenAI:
        """The SDK's client.

        Raises:
            MisconfiguredRun: There is no key for this address.
        """
        with self._lock:
            if self._client is None:
                self._client = self._built()
            return self._client

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def post(self, path: str, body: bytes) -> Any:
        """Post JSON by the SDK; returns the answer's JSON as plain values.

        The typed methods walk through the request and build a model of the answer, which takes more time than sending it; and servers of
        other vendors leave out what the types require.

        Raises:
            CallsheetError: As `sorted_error` has it; BadAnswer also for an answer that is no JSON.
        """
        import httpx2

        answer = self.send(lambda client: client.post(path, cast_to=httpx2.Response, content=body))
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            bad = BadAnswer(f"openai: no JSON but {answer.text[:80]!r} (is {self.url} the right address?): {error}")
            bad.maybe_billed = True
            raise bad from error

    def send(self, request: Callable[[OpenAI], Any]) -> Any:
        """Make one request by the SDK, through `with_raw_response` or `post`; returns the raw answer.

        Raises:
            CallsheetError: As `sorted_error` has it.
        """
        import openai

        try:
            raw = request(self.client())
        except openai.APIStatusError as error:
            self._calls.heard(limits(error.response.headers))
            raise sorted_error(error) from error
        except (openai.OpenAIError, ValueError) as error:
            raise sorted_error(error) from error
        self._calls.heard(limits(raw.headers))
        return raw

    def _built(self) -> OpenAI:
        import httpx2
        from openai import OpenAI

        key = OPENAI.key(self._key_env, self.url)
        bounds = http.Bounds(self._timeout_s)
        web = http.client(httpx2, self.url, bounds, self._calls.exchanges, base_url=self.url)
        return OpenAI(api_key=key.get_secret_value(), base_url=self.url, max_retries=0, http_client=web)


def sorted_error(error: Exception) -> CallsheetError:
    """One of the engine's outcomes for whatever the SDK raises."""
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIConnectionError):
        return http.lost("openai", _cause(error), httpx2)
    if isinstance(error, (openai.APIResponseValidationError, json.JSONDecodeError, ValueError)):
        return BadAnswer(f"openai: the answer is not what the protocol says: {str(error)[:200]}")
    return ItemError(f"openai: {type(error).__name__}: {str(error)[:200]}")


def limits(headers: Mapping[str, str]) -> RateHeaders:
    """The limits a minute that an answer's x-ratelimit headers name."""
    return RateHeaders(_per_minute(headers, "requests"), _per_minute(headers, "tokens"))


def needs(key_env: str, base_url: str | None, model: str, price: Price | None) -> Iterator[Need]:
    """For `callsheet doctor`: the key, and whether the model is there and stays."""
    yield from OPENAI.needs(key_env, base_url)
    url = OPENAI.address(base_url)
    if OPENAI.fault(key_env, url) is None:
        yield _model_need(key_env, url, model)
    if price is None:
        yield Need(f"price of {model}", met=True, advice="unknown: budget.usd can't be used without one (prices: FILE)")
    elif price.ends is not None:
        named = f", {price.successor} takes its place" if price.successor else ""
        yield Need(f"{model} is shut down on {price.ends}", met=True, advice=f"announced{named}")


def warn_of_end(model: str, price: Price | None) -> None:
    """Say that a model is about to be shut down, while there is time to try its successor."""
    if price is None or price.ends is None:
        return
    left = (price.ends - datetime.now(UTC).date()).days
    if left <= WARN_DAYS:
        named = f"; its successor is {price.successor}" if price.successor else ""
        log.warning("openai: %s is shut down on %s, as announced on %s%s", model, price.ends, price.as_of, named)


def _model_need(key_env: str, url: str, model: str) -> Need:
    import httpx2

    headers = {"Authorization": f"Bearer {OPENAI.key(key_env, url).get_secret_value()}"}
    try:
        with http.client(httpx2, url, http.Bounds(DOCTOR_S), Exchanges(None, "doctor"), headers=headers) as web:
            answer = web.get(f"{url}/models")
        if answer.status_code != 200:
            return Need(f"{url}/models", met=False, advice=f"{answer.status_code}: {answer.text[:200]}")
        names = sorted(str(entry["id"]) for entry in answer.json()["data"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        return Need(f"{url}/models", met=False, advice=f"no list of models: {type(error).__name__}: {str(error)[:200]}")
    if model in names:
        return Need(f"model {model}", met=True)
    return Need(f"model {model}", met=False, advice=f"{url} has {', '.join(names[:20])}")


def _of_status(error: Any) -> CallsheetError:
    status, code = error.status_code, str(error.code or error.type or "")
    if not OUT_OF_MONEY.fullmatch(code) and OUT_OF_MONEY.fullmatch(str(error.type or "")):
        code = str(error.type)
    body = error.body if isinstance(error.body, dict) else {}
    text = " ".join(str(body.get("message") or error.message).split())[:300]
    said = f"openai: {status} {code}: {text}"
    if status == 429 and OUT_OF_MONEY.fullmatch(code):
        return ProviderStopped(f"{said}: add credit or raise the limit, then give the same command again")
    if status in (401, 403):
        return ProviderStopped(f"{said}: set OPENAI_API_KEY (or key_env) to a key that may do this")
    if status == 404 and code == "model_not_found":
        return MisconfiguredRun(f"{said}: choose a model that the server has (callsheet doctor lists them)")
    if status == 400 and str(error.param or "").split(".")[0] in SETTINGS:
        return MisconfiguredRun(f"{said}: change the backend's setting {error.param}")
    return http.refused("openai", status, error.response.headers, f"{code}: {text}" if code else text)


def _cause(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error


def _per_minute(headers: Mapping[str, str], what: str) -> float | None:
    """Limits by the day come under the same names: they are told by a reset that takes longer than a minute, and by how much is left."""
    try:
        limit = float(headers[f"x-ratelimit-limit-{what}"])
        left = float(headers.get(f"x-ratelimit-remaining-{what}", limit))
    except (KeyError, ValueError):
        return None
    if not (math.isfinite(limit) and math.isfinite(left) and limit > 0):
        return None
    found = DURATION.findall(headers.get(f"x-ratelimit-reset-{what}", ""))
    reset = sum(float(number) * SECONDS[unit] for number, unit in found)
    # A bucket fills up by what is used, a day's allowance is spread over what is left of the day: whichever is more will do.
    return limit if reset <= 60 else max(limit - left, left, 1.0) / reset * 60
