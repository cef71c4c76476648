"""Replicate's own package over our transport, and what it leaves out: no id is lost that an answer had, or that one would have had."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from runner.errors import BadAnswer, CallsheetError, ItemError, Transient
from runner.remote import FoundJob
from steps.backends.credentials import Vendor
from steps.backends.rest import JOB_ID, Rest, a_job_id

if TYPE_CHECKING:
    from replicate.client import Client

REPLICATE = Vendor("replicate", "https://api.replicate.com", "REPLICATE_BASE_URL", "another backend (image=embedded)")
# How far the server's clock may be from ours.
SKEW_S = 120.0
log = logging.getLogger("callsheet")


class Predictions:
    """Creates predictions and uploads by the package; it is made when it is first needed."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._lock = threading.Lock()
        self._client: Client | None = None
        # Each thread's last answer: the package's parser is strict, and would drop the id of a prediction that is paid for.
        self._answers = threading.local()

    def create(self, model: str, given: Mapping[str, Any]) -> str:
        """Create a prediction; its id.

        Raises:
            Transient: The answer names none.
            CallsheetError: As `rest.Sorting` has it.
        """
        self._answers.last = None
        try:
            found: object = self._sdk().models.predictions.create(model, dict(given)).id
        except CallsheetError:
            raise
        except Exception:  # noqa: BLE001 - pydantic's, json's, whatever its parser meets: what counts is the id
            found = self._id_in_last()
        return a_job_id(found, "replicate")

    def upload(self, data: bytes) -> str:
        """Upload a JPEG; its address for inputs.

        Raises:
            BadAnswer: The answer names none.
            CallsheetError: As `rest.Sorting` has it; never in doubt about money.
        """
        try:
            file = self._sdk().files.create(io.BytesIO(data), filename="reference.jpg", content_type="image/jpeg")
            return str(file.urls["get"])
        except Transient as error:
            error.maybe_billed = False
            raise
        except CallsheetError:
            raise
        except Exception as error:
            raise BadAnswer(f"replicate: the answer to an upload is none: {type(error).__name__}") from error

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            if self._client is not None:
                self._client._client.close()  # noqa: SLF001 - it has no close of its own
                self._client = None

    def _sdk(self) -> Client:
        from replicate.client import Client

        with self._lock:
            if self._client is None:
                self._client = Client(
                    api_token=self._rest.key(),
                    base_url=self._rest.url,
                    transport=self._rest.transport(),
                    follow_redirects=False,
                    event_hooks={"response": [self._heard]},
                )
            return self._client

    def _heard(self, response: httpx.Response) -> None:
        self._answers.last = response

    def _id_in_last(self) -> object:
        last: httpx.Response | None = self._answers.last
        try:
            value = None if last is None else last.json()
        except (ValueError, RecursionError):
            return None
        return value.get("id") if isinstance(value, dict) else None


class Creating:
    """The creation of one prediction, tried until there is one. Where an answer was lost, the next try looks for what it was about.

    Replicate knows no idempotency keys; but it lists the account's predictions, newest first, with model and input.

    Args:
        predictions: Creates.
        rest: Lists.
        model: OWNER/NAME.
        lost_at: When an earlier run was cut off in creating it, seconds since 1970.
    """

    def __init__(self, predictions: Predictions, rest: Rest, model: str, lost_at: float | None = None) -> None:
        self._predictions = predictions
        self._rest = rest
        self._model = model
        self._lost_at = lost_at

    def once(self, given: Mapping[str, Any]) -> str:
        """Create it, or find what an earlier try has created; its id. Raises as `Predictions.create`."""
        began = time.time()
        if self._lost_at is not None and (found := self._found(given, self._lost_at - SKEW_S)) is not None:
            log.warning("replicate: the prediction whose answer was lost is found again: %s", found)
            return FoundJob(found)
        try:
            return self._predictions.create(self._model, given)
        except Transient as error:
            if error.maybe_billed and self._lost_at is None:
                self._lost_at = began
            raise

    def _found(self, given: Mapping[str, Any], since: float) -> str | None:
        try:
            rows = self._rest.ask("GET", "/v1/predictions").get("results")
        except ItemError:
            # Then as if nobody had looked: what was lost has been counted.
            return None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and self._is_it(row, given, since):
                return str(row["id"])
        return None

    def _is_it(self, row: Mapping[str, Any], given: Mapping[str, Any], since: float) -> bool:
        asked = row.get("input")
        same = isinstance(asked, dict) and all(asked.get(name) == given[name] for name in ("prompt", "seed"))
        alive = row.get("status") in ("starting", "processing", "succeeded")
        named = isinstance(row.get("id"), str) and JOB_ID.fullmatch(row["id"]) is not None
        return same and alive and named and row.get("model") == self._model and _moment(row.get("created_at")) >= since


def _moment(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
