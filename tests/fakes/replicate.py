"""A server that speaks Replicate's protocol: predictions, files, and outputs at links of another host name."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web

from tests.fakes import forms
from tests.fakes.jobs import Job, JobServer, JobSettings
from tests.fakes.replicate_models import MODELS, Model, data_of
from tests.fakes.server import Exchange, Route

_TITLES: Mapping[int, tuple[str, str]] = {
    400: ("Bad request", "The request could not be understood."),
    401: ("Unauthenticated", "You did not pass a valid authentication token"),
    402: (
        "Insufficient credit",
        "You have insufficient credit to run this model. Go to your billing page to purchase credit.",
    ),
    403: ("Forbidden", "You do not have permission to perform this action."),
    404: ("Not found", "The requested resource could not be found."),
    408: ("Request timeout", "The request took too long."),
    409: ("Conflict", "The resource was changed by another request."),
    413: ("Payload too large", "Data URLs must be smaller. Upload larger files with POST /v1/files."),
    422: ("Input validation failed", "- input.prompt: prompt is required\n"),
    500: ("Internal server error", "Something went wrong."),
    503: ("Service unavailable", "The service is temporarily unavailable."),
}
_ENDS = {"failed": "failed", "failed_E005": "failed", "canceled": "canceled", "aborted": "aborted"}
_ERRORS = {
    "failed": "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "failed_E005": "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (xyz123)",
}


@dataclass
class ReplicateSettings(JobSettings):
    """How the Replicate server behaves.

    Attributes:
        max_data_url: Bytes of a data URL above which a create is refused (413).
    """

    max_data_url: int = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """A file that a client has uploaded."""

    id: str
    name: str
    media_type: str
    data: bytes


class ReplicateServer(JobServer[ReplicateSettings]):
    """Replicate on loopback; `url` is what Client(base_url=...) or REPLICATE_BASE_URL get.

    Attributes:
        files: What was uploaded, by id.
    """

    name: ClassVar[str] = "replicate"

    def __init__(self, settings: ReplicateSettings | None = None) -> None:
        self.files: dict[str, Upload] = {}
        super().__init__(settings or ReplicateSettings())

    def routes(self) -> Sequence[Route]:
        """Predictions, files, outputs."""
        return [
            Route("create", "POST", "/v1/models/{owner}/{name}/predictions", self._create, limited=True),
            Route("model", "GET", "/v1/models/{owner}/{name}", self._model),
            Route("account", "GET", "/v1/account", self._account),
            Route("list", "GET", "/v1/predictions", self._list),
            Route("get", "GET", "/v1/predictions/{id}", self._get),
            Route("cancel", "POST", "/v1/predictions/{id}/cancel", self._cancel),
            Route("upload", "POST", "/v1/files", self._upload),
            Route("file", "GET", "/v1/files/{id}", self._file),
            Route("output", "GET", "/output/{id}/{number}/{file}", self.output, keyed=False),
        ]

    def error(self, status: int, fault: str | None, exchange: Exchange) -> Mapping[str, Any]:
        """{"title", "detail", "status"}."""
        if status == 429:
            detail = f"Request was throttled. Your rate limit resets in ~{max(1, round(exchange.wait_s))}s."
            return {"title": "Too many requests", "detail": detail, "status": 429}
        title, detail = _TITLES[status]
        if fault == "401_echo":
            detail = f"{detail}: {exchange.key}"
        return {"title": title, "detail": detail, "status": status}

    async def _create(self, exchange: Exchange) -> web.Response:
        path = exchange.request.match_info
        name = f"{path['owner']}/{path['name']}"
        try:
            given = exchange.json()["input"]
        except (ValueError, KeyError, TypeError):
            return self.failure(400, exchange)
        if name not in MODELS:
            return self.failure(404, exchange)
        refused = self._refused(MODELS[name], given, exchange)
        return refused or web.json_response(self._told(self._created(name, given, exchange)), status=201)

    def _refused(self, model: Model, given: Mapping[str, Any], exchange: Exchange) -> web.Response | None:
        faults = model.faults(given)
        if faults:
            fields = [{"type": "invalid", "field": f"input.{field}", "description": why} for field, why in faults]
            detail = "".join(f"- input.{field}: {why}\n" for field, why in faults)
            body = {"title": _TITLES[422][0], "detail": detail, "status": 422, "invalid_fields": fields}
            return web.json_response(body, status=422)
        image = str(given.get(model.image_field) or "")
        too_large = image.startswith("data:") and len(image) > self.settings.max_data_url
        return self.failure(413, exchange) if too_large else None

    def _created(self, name: str, given: Mapping[str, Any], exchange: Exchange) -> Job:
        settings = self.settings
        job = Job(uuid.uuid4().hex[:26], name, given, [], settings.polls, settings.duration_s, exchange.fault)
        try:
            job.drawings = MODELS[name].drawings(given, exchange.number, self._fetched)
        except OSError as error:
            job.error = f"Input image: {error}"
        return self.admit(job)

    def _fetched(self, url: str) -> bytes:
        """An input image: a data URL, or a file that was uploaded here."""
        if url.startswith("data:"):
            return data_of(url)
        upload = self.files.get(url.rpartition("/")[2])
        if upload is None:
            raise OSError(f"404 Not Found for url {url}")
        return upload.data

    async def _model(self, exchange: Exchange) -> web.Response:
        path = exchange.request.match_info
        name = f"{path['owner']}/{path['name']}"
        if name not in MODELS:
            return self.failure(404, exchange)
        row = {"url": f"https://replicate.com/{name}", "owner": path["owner"], "name": path["name"], "run_count": 1}
        empty = ("description", "github_url", "paper_url", "license_url", "cover_image_url", "default_example")
        return web.json_response(
            {**row, **dict.fromkeys(empty), "visibility": "public", "is_official": True, "latest_version": None}
        )

    async def _account(self, exchange: Exchange) -> web.Response:
        row = {"type": "organization", "username": "callsheet", "name": "Callsheet", "github_url": None}
        return web.json_response(row)

    async def _list(self, exchange: Exchange) -> web.Response:
        with self.lock:
            rows = [self._told(job) for job in reversed(self._jobs.values())]
        return web.json_response({"previous": None, "next": None, "results": rows})

    async def _get(self, exchange: Exchange) -> web.Response:
        job = self.job(exchange)
        if job is None:
            return self.failure(404, exchange)
        with self.lock:
            job.look()
        return web.json_response(self._told(job))

    async def _cancel(self, exchange: Exchange) -> web.Response:
        job = self.job(exchange)
        if job is None:
            return self.failure(404, exchange)
        with self.lock:
            job.cancel()
        return web.json_response(self._told(job))

    def _told(self, job: Job) -> dict[str, Any]:
        status = self._status(job)
        began = None if status == "starting" else _time(job.created_at)
        ended = job.finished_at
        url = f"{self.origin}/v1/predictions/{job.id}"
        return {
            "id": job.id,
            "model": job.target,
            "version": "hidden",
            "input": job.input,
            "logs": "" if began is None else "Using seed: 0\n",
            "output": self._output(job) if status == "succeeded" else None,
            "data_removed": job.expired,
            "error": (job.error or _ERRORS.get(job.fault or "")) if status == "failed" else None,
            "status": status,
            "metrics": {} if ended is None else {"predict_time": round(ended - job.created_at, 6)},
            "created_at": _time(job.created_at),
            "started_at": began,
            "completed_at": None if ended is None else _time(ended),
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": url.replace("/v1/predictions", "/p")},
        }

    def _status(self, job: Job) -> str:
        if job.finished_at is None:
            return "starting" if job.waiting else "processing"
        if job.cancelled:
            return "canceled"
        return "failed" if job.error else _ENDS.get(job.fault or "", "succeeded")

    def _output(self, job: Job) -> str | list[str] | None:
        if job.expired or job.fault == "none_output":
            return None
        kinds = [drawing.kind.replace("jpeg", "jpg") for drawing in job.drawings]
        links = [self.link(job, number, f"out-{number}.{kind}") for number, kind in enumerate(kinds)]
        return links if MODELS[job.target].listed else links[0]

    async def _upload(self, exchange: Exchange) -> web.Response:
        found = [part for part in await forms.parts(exchange) if part.name == "content"]
        if not found:
            return self.failure(400, exchange)
        part = found[0]
        upload = Upload(uuid.uuid4().hex[:26], part.filename or "file", part.media_type, part.data)
        self.files[upload.id] = upload
        return web.json_response(self._of_file(upload), status=201)

    async def _file(self, exchange: Exchange) -> web.Response:
        upload = self.files.get(exchange.request.match_info["id"])
        return self.failure(404, exchange) if upload is None else web.json_response(self._of_file(upload))

    def _of_file(self, upload: Upload) -> dict[str, Any]:
        digest = hashlib.sha256(upload.data).hexdigest()
        now = datetime.now(UTC).timestamp()
        return {
            "id": upload.id,
            "name": upload.name,
            "content_type": upload.media_type,
            "size": len(upload.data),
            "etag": digest[:32],
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": _time(now),
            "expires_at": _time(now + 86400),
            "urls": {"get": f"{self.origin}/v1/files/{upload.id}"},
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
