"""A server that speaks RunPod's serverless protocol, with a ComfyUI worker behind every endpoint."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from tests.fakes import workflow
from tests.fakes.jobs import Job, JobServer, JobSettings
from tests.fakes.server import Exchange, Route

_MAX_RUN, _MAX_RUNSYNC = 10 * 1024 * 1024, 20 * 1024 * 1024
_ERRORS: Mapping[int, str] = {
    400: "bad request",
    401: "unauthorized",
    402: "insufficient balance",
    403: "forbidden",
    404: "job not found",
    408: "request timeout",
    409: "conflict",
    413: "request body too large",
    422: "unprocessable entity",
    429: "too many requests",
    500: "internal server error",
    503: "service unavailable",
}
_ENDS = ("FAILED", "CANCELLED", "TIMED_OUT")
_CRASH = {
    "error_type": "<class 'RuntimeError'>",
    "error_message": "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "error_traceback": "Traceback (most recent call last):\n  ...\nRuntimeError: CUDA out of memory.",
    "hostname": "worker-64410f2d",
    "worker_id": "worker",
    "runpod_version": "1.7.13",
}
_NOT_AN_IMAGE = b"<svg>not an image</svg>"


@dataclass
class RunPodSettings(JobSettings):
    """How the RunPod server behaves.

    Attributes:
        endpoints: Those that there are; None takes any name.
        image_type: "base64" or "s3_url": how the worker hands images over.
        checkpoints: Those that the worker has.
        sync_wait_s: How long /runsync waits for a job, in seconds; 90 at the vendor's.
    """

    endpoints: tuple[str, ...] | None = None
    image_type: str = "base64"
    checkpoints: tuple[str, ...] = ("flux1-dev-fp8.safetensors",)
    sync_wait_s: float = 1.0


class RunPodServer(JobServer[RunPodSettings]):
    """RunPod on loopback; `url` stands in for https://api.runpod.ai/v2."""

    name: ClassVar[str] = "runpod"
    base_path: ClassVar[str] = "/v2"

    def __init__(self, settings: RunPodSettings | None = None) -> None:
        self._prefixes: dict[str, str] = {}
        super().__init__(settings or RunPodSettings())

    def routes(self) -> Sequence[Route]:
        """Jobs, health, and the links of s3_url."""
        return [
            Route("run", "POST", "/v2/{endpoint}/run", self._run_job, limited=True),
            Route("runsync", "POST", "/v2/{endpoint}/runsync", self._runsync, limited=True),
            Route("status", "GET", "/v2/{endpoint}/status/{id}", self._status),
            Route("cancel", "POST", "/v2/{endpoint}/cancel/{id}", self._cancel),
            Route("health", "GET", "/v2/{endpoint}/health", self._health),
            Route("output", "GET", "/output/{id}/{number}/{file}", self.output, keyed=False),
        ]

    def error(self, status: int, fault: str | None, exchange: Exchange) -> Mapping[str, Any]:
        """{"error": text}."""
        return {"error": f"{_ERRORS[status]}: {exchange.key}" if fault == "401_echo" else _ERRORS[status]}

    async def _run_job(self, exchange: Exchange) -> web.Response:
        made = self._created(exchange, _MAX_RUN)
        if isinstance(made, web.Response):
            return made
        return web.json_response({"id": made.id, "status": "IN_QUEUE"})

    async def _runsync(self, exchange: Exchange) -> web.Response:
        made = self._created(exchange, _MAX_RUNSYNC)
        if isinstance(made, web.Response):
            return made
        made.polls = self.settings.slow_polls if made.fault == "slow" else 0
        await asyncio.sleep(min(made.duration_s, self.settings.sync_wait_s))
        return web.json_response(await self._looked_at(made))

    def _created(self, exchange: Exchange, limit: int) -> Job | web.Response:
        endpoint = exchange.request.match_info["endpoint"]
        if not self._exists(endpoint):
            return self.failure(404, exchange)
        if len(exchange.body) > limit:
            return self.failure(413, exchange)
        try:
            given = exchange.json()["input"]
        except (ValueError, KeyError, TypeError):
            return self.failure(400, exchange)
        return self._admitted(endpoint, given, exchange.fault)

    def _admitted(self, endpoint: str, given: Any, fault: str | None) -> Job:
        """Take any input, as the vendor does: only the worker finds what is wrong with it."""
        settings = self.settings
        job = Job(f"{uuid.uuid4()}-u1", endpoint, given, [], settings.polls, settings.duration_s, fault)
        try:
            names = [image["name"] for image in given.get("images") or []]
            found = workflow.read(given.get("workflow"), names, settings.checkpoints)
        except workflow.BrokenWorkflow as error:
            job.error = str(error)
        except (AttributeError, KeyError, TypeError):
            job.error = "'images' must be a list of objects with 'name' and 'image' keys"
        else:
            job.drawings = found.drawings
            self._prefixes[job.id] = found.prefix
        return self.admit(job)

    async def _status(self, exchange: Exchange) -> web.Response:
        job = self._found(exchange)
        if job is None or job.expired or exchange.fault == "gone":
            return self.failure(404, exchange)
        return web.json_response(await self._looked_at(job))

    async def _looked_at(self, job: Job) -> dict[str, Any]:
        with self.lock:
            finished = job.look()
        row = {"id": job.id, "status": self._status_of(job), "delayTime": 12, "workerId": "worker"}
        if not finished:
            return {"id": job.id, "status": "IN_QUEUE"} if row["status"] == "IN_QUEUE" else row
        assert job.finished_at is not None
        row["executionTime"] = max(1, round((job.finished_at - job.created_at) * 1000))
        return row | await self._result(job, str(row["status"]))

    def _status_of(self, job: Job) -> str:
        if job.finished_at is None:
            return "IN_QUEUE" if job.waiting else "RUNNING" if job.fault == "RUNNING" else "IN_PROGRESS"
        if job.cancelled:
            return "CANCELLED"
        if job.error:
            return "FAILED"
        return job.fault if job.fault in _ENDS else "COMPLETED"

    async def _result(self, job: Job, status: str) -> dict[str, Any]:
        if status == "FAILED":
            return {"error": job.error or json.dumps(_CRASH)}
        if status == "TIMED_OUT":
            return {"error": "job timed out after 600s"}
        if status == "CANCELLED" or job.fault == "no_output":
            return {}
        errors = ["Node 9: failed to fetch image data for ComfyUI_00002_.png"]
        if job.fault == "output_errors":
            return {"output": {"errors": errors}}
        images = [await self._image(job, number) for number in range(len(job.drawings))]
        return {"output": {"images": images} | ({"errors": errors} if job.fault == "output_warnings" else {})}

    async def _image(self, job: Job, number: int) -> dict[str, str]:
        name = workflow.file_name(self._prefixes[job.id], number)
        linked = job.fault in ("s3_url", "expired_output", "wrong_output") or self.settings.image_type == "s3_url"
        if linked:
            return {
                "filename": name,
                "type": "s3_url",
                "data": self.link(job, number, f"{name}?X-Amz-Signature=0a1b2c"),
            }
        data = _NOT_AN_IMAGE if job.fault == "not_an_image" else await self.painted(job.drawings[number])
        name = "../../etc/passwd.png" if job.fault == "bad_filename" else name
        return {"filename": name, "type": "base64", "data": base64.b64encode(data).decode()}

    async def _cancel(self, exchange: Exchange) -> web.Response:
        job = self._found(exchange)
        if job is None:
            return self.failure(404, exchange)
        with self.lock:
            job.cancel()
        return web.json_response({"id": job.id, "status": self._status_of(job)})

    async def _health(self, exchange: Exchange) -> web.Response:
        endpoint = exchange.request.match_info["endpoint"]
        if not self._exists(endpoint):
            return self.failure(404, exchange)
        with self.lock:
            ours = [job for job in self._jobs.values() if job.target == endpoint]
        ends = [self._status_of(job) for job in ours]
        jobs = {
            "completed": ends.count("COMPLETED"),
            "failed": ends.count("FAILED"),
            "inProgress": ends.count("IN_PROGRESS") + ends.count("RUNNING"),
            "inQueue": ends.count("IN_QUEUE"),
            "retried": 0,
        }
        workers = {"idle": 1, "initializing": 0, "ready": 1, "running": 0, "throttled": 0, "unhealthy": 0}
        return web.json_response({"jobs": jobs, "workers": workers})

    def _found(self, exchange: Exchange) -> Job | None:
        """The job, at its own endpoint."""
        job = self.job(exchange)
        return job if job is not None and job.target == exchange.request.match_info["endpoint"] else None

    def _exists(self, endpoint: str) -> bool:
        return self.settings.endpoints is None or endpoint in self.settings.endpoints
