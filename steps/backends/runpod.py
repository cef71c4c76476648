"""Images by a ComfyUI worker behind a serverless endpoint of RunPod.

The vendor's package drops the texts of errors and tries nothing again on https: this is its protocol over httpx.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.calls import Calls, Reply
from runner.doctor import Need, limits_need
from runner.errors import BadAnswer, CallsheetError, ItemError, MisconfiguredRun, Transient
from runner.exchanges import Exchanges
from runner.params import a_path, at_least, between, param
from runner.rates import LimitSettings
from steps.backends.comfyui import Workflow
from steps.backends.credentials import Vendor
from steps.backends.download import Downloads, NoImage, OutputGone, checked_image
from steps.backends.protocols import ImageRequest, MadeImage
from steps.backends.rest import DOCTOR_S, JOB_ID, NotThere, Patience, Rest, a_job_id, ended, sendable
from steps.library.pictures import Picture, as_jpeg

RUNPOD = Vendor("runpod", "https://api.runpod.ai/v2", "RUNPOD_BASE_URL", "another backend (image=embedded)")
ENDPOINT = re.compile(r"[A-Za-z0-9_-]+")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
REFERENCE_SIDE = 2048
log = logging.getLogger("callsheet")


def _an_endpoint(value: str) -> str | None:
    return None if ENDPOINT.fullmatch(value) else "give the endpoint's id (letters, digits, _ and -), no address"


@dataclass(frozen=True)
class RunPodSettings:
    """Which endpoint, which workflow, what its GPU costs. The key is read from RUNPOD_API_KEY."""

    endpoint: str = param(help="the id of a serverless endpoint with a ComfyUI worker", check=_an_endpoint)
    base_url: str | None = param(None, help="another server of the same protocol; null is RUNPOD_BASE_URL or RunPod")
    key_env: str = param("RUNPOD_API_KEY", help="the environment variable that holds the key", operational=True)
    workflow: str | None = param(
        None, help="a workflow as ComfyUI exports it for the API; null is the FLUX dev one that ships", check=a_path
    )
    guidance: float | None = param(
        None, help="guidance scale; null is the workflow's own (3.5 in the one that ships)", check=between(0, 100)
    )
    gpu_usd_per_hour: float | None = param(
        None, help="US dollars an hour of the endpoint's GPU; null is unknown", check=at_least(0), operational=True
    )
    poll_s: float = param(2.0, help="seconds between two looks at a job", check=at_least(0), operational=True)
    timeout_s: float = param(
        1800.0,
        help="seconds, with the wait for a worker, after which a job is cancelled",
        check=at_least(0),
        operational=True,
    )
    execution_timeout_s: float = param(
        600.0, help="seconds that a worker may take (RunPod ends it)", check=at_least(5), operational=True
    )
    ttl_s: float = param(
        86400.0, help="seconds for which RunPod keeps a job that has not ended", check=at_least(10), operational=True
    )
    request_timeout_s: float = param(60.0, help="seconds for a whole answer", check=at_least(0.01), operational=True)
    limits: LimitSettings = field(default_factory=LimitSettings)


class RunPodImage:
    """Images by a ComfyUI worker on RunPod."""

    def __init__(self, settings: RunPodSettings, calls: Calls) -> None:
        self._settings = settings
        self._calls = calls
        self._workflow = _workflow(settings)
        url = RUNPOD.address(settings.base_url)
        self._rest = Rest.of(RUNPOD, url, settings.key_env, settings.request_timeout_s, calls)
        self._downloads = Downloads("runpod", url, settings.request_timeout_s, calls.exchanges)

    @classmethod
    def needs(cls, settings: RunPodSettings) -> Iterable[Need]:
        """For `callsheet doctor`: the key, the endpoint's workers and queue, the workflow, the price."""
        yield from RUNPOD.needs(settings.key_env, settings.base_url)
        if RUNPOD.fault(settings.key_env, RUNPOD.address(settings.base_url)) is None:
            yield _health_need(settings)
        try:
            yield Need(f"workflow {settings.workflow or 'as shipped'} ({_workflow(settings).digest})", met=True)
        except MisconfiguredRun as error:
            yield Need(f"workflow {settings.workflow}", met=False, advice=str(error))
        if settings.gpu_usd_per_hour is None:
            advice = "unknown: budget.usd can't be used without one (gpu_usd_per_hour)"
            yield Need("price of the GPU", met=True, advice=advice)
        yield limits_need(settings.limits)

    @property
    def identity(self) -> str:
        """The workflow with all its nodes, and the endpoint, whose worker holds the models."""
        guidance = "" if self._settings.guidance is None else f" guidance {self._settings.guidance:g}"
        return f"runpod {self._settings.endpoint} workflow {self._workflow.digest}{guidance}"

    def estimate(self, request: ImageRequest) -> float | None:  # noqa: ARG002 - the protocol's
        """The GPU's price for as long as a worker may take."""
        rate = self._settings.gpu_usd_per_hour
        return None if rate is None else rate * self._settings.execution_timeout_s / 3600

    def prepare(self) -> None:
        """Find out about the key before anything is paid for; raises MisconfiguredRun."""
        self._rest.client()

    def make(self, request: ImageRequest) -> MadeImage:
        """Make one image, or fetch the one that an earlier run has paid for.

        Raises:
            Transient: The job came to nothing, and another may not.
            ItemError: It failed.
            ProviderStopped: No key, no credit.
        """
        sendable(request.prompt)
        body = self._body(request)
        patience = Patience(self._settings.timeout_s)
        return self._calls.job(
            request.key,
            create=lambda: self._create(body),
            poll=lambda remote_id: self._poll(remote_id, patience),
            estimate=self.estimate(request),
            every_s=self._settings.poll_s,
        )

    def cancel(self, remote_id: str) -> bool:
        """Cancel a job; False when it had come to its end before, True also when nobody knows it any more."""
        try:
            row = self._calls.free(lambda: self._rest.ask("POST", self._path("cancel", remote_id)))
        except NotThere:
            return True
        return row.get("status") not in ("COMPLETED", "FAILED", "TIMED_OUT")

    def close(self) -> None:
        """Let go of the connections."""
        self._rest.close()
        self._downloads.close()

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        """What a job is created from; the same for the same request."""
        settings = self._settings
        name, data = self._reference(request.reference)
        values = {
            "prompt": request.prompt,
            "seed": request.seed,
            "steps": request.steps,
            "width": request.width,
            "height": request.height,
            "batch_size": 1,
            "guidance": settings.guidance,
            "image": name,
        }
        given: dict[str, Any] = {"workflow": self._workflow.filled(values)}
        if data is not None:
            given["images"] = [{"name": name, "image": base64.b64encode(data).decode("ascii")}]
        policy = {
            "executionTimeout": round(settings.execution_timeout_s * 1000),
            "ttl": round(settings.ttl_s * 1000),
        }
        return {"input": given, "policy": policy}

    def _reference(self, picture: Picture | None) -> tuple[str | None, bytes | None]:
        """Name and bytes of the reference image, which the workflow must have a place for, and must have where it has one."""
        where, image = self._settings.workflow or "the workflow that ships", self._workflow.slots.image
        if picture is None and image:
            node = self._workflow.title(image[0])
            raise ItemError(f"runpod: {where} needs a reference image ({node}), and this request has none")
        if picture is None:
            return None, None
        if not image:
            raise ItemError(
                f"runpod: {where} takes no reference image: give one with a LoadImage node (image.workflow)"
            )
        return f"reference-{picture.sha256[:16]}.jpg", as_jpeg(picture, long_side=REFERENCE_SIDE, quality=95)

    def _create(self, body: Mapping[str, Any]) -> str:
        endpoint = self._settings.endpoint
        try:
            return a_job_id(self._rest.ask("POST", f"/{endpoint}/run", body).get("id"), "runpod")
        except BadAnswer as error:
            raise Transient(str(error), maybe_billed=True) from error
        except NotThere as error:
            raise MisconfiguredRun(f"{error}: is there an endpoint {endpoint}? Correct image.endpoint") from error

    def _path(self, what: str, remote_id: str) -> str:
        if not JOB_ID.fullmatch(remote_id):
            raise ended(ItemError(f"runpod: {remote_id[:80]!r} is no job's id: the next try makes another"), 0.0)
        return f"/{self._settings.endpoint}/{what}/{remote_id}"

    def _poll(self, remote_id: str, patience: Patience) -> Reply[MadeImage] | None:
        try:
            row = self._rest.ask("GET", self._path("status", remote_id))
            if row.get("status") not in ENDED and patience.is_over():
                row = self._given_up(remote_id, queued=row.get("status") == "IN_QUEUE")
        except NotThere as error:
            message = f"{error}: job {remote_id} is gone (past its time to live): the next try makes another"
            raise ended(ItemError(message), self._most()) from error
        if row.get("status") not in ENDED:
            return None
        usd = self._usd(row)
        if row["status"] != "COMPLETED":
            raise ended(self._failure(row), usd)
        try:
            return Reply(MadeImage(self._image(row), f"comfyui {self._workflow.digest}", usd), usd)
        except OutputGone as error:
            raise ended(Transient(f"{error}; made again"), usd) from error
        except NoImage as error:
            raise ended(error, usd)  # noqa: B904 - the same error

    def _given_up(self, remote_id: str, *, queued: bool) -> dict[str, Any]:
        """Cancel what takes too long; the job, if it came to its end meanwhile."""
        self._rest.ask("POST", self._path("cancel", remote_id))
        row = self._rest.ask("GET", self._path("status", remote_id))
        if row.get("status") in ("COMPLETED", "FAILED", "TIMED_OUT"):
            return row
        where = "no worker took it" if queued else "no end"
        message = (
            f"runpod: {where} within {self._settings.timeout_s:g} s (timeout_s): cancelled, the next try makes another"
        )
        raise ended(ItemError(message), 0.0 if queued else self._usd(row, unknown=self._most()))

    def _most(self) -> float:
        rate = self._settings.gpu_usd_per_hour or 0.0
        return rate * self._settings.execution_timeout_s / 3600

    def _usd(self, row: Mapping[str, Any], unknown: float | None = None) -> float:
        """What a job that has ended cost: the GPU's time. Without a time, one that was cancelled never ran."""
        spent = row.get("executionTime")
        if isinstance(spent, (int, float)) and math.isfinite(spent) and spent >= 0:
            return spent / 3_600_000 * (self._settings.gpu_usd_per_hour or 0.0)
        if unknown is not None:
            return unknown
        return 0.0 if row.get("status") == "CANCELLED" else self._most()

    def _failure(self, row: Mapping[str, Any]) -> ItemError:
        text = reason(row.get("error"))
        if row["status"] == "CANCELLED":
            return ItemError("runpod: the job was cancelled at the vendor's: the next try makes another")
        if row["status"] == "TIMED_OUT":
            limits = f"execution_timeout_s = {self._settings.execution_timeout_s:g}, ttl_s = {self._settings.ttl_s:g}"
            return ItemError(f"runpod: the job took too long ({limits}): {text}")
        return ItemError(f"runpod: {text}")

    def _image(self, row: Mapping[str, Any]) -> bytes:
        """The first image of a job. The name that it comes with is the worker's, and used for nothing."""
        output = row.get("output")
        if output is None:
            raise NoImage(
                "runpod: completed without output: it was over the payload limit: let the worker hand out links (s3_url)"
            )
        images = output.get("images") if isinstance(output, dict) else None
        errors = output.get("errors") if isinstance(output, dict) else None
        if not isinstance(images, list) or not images or not isinstance(images[0], dict):
            raise NoImage(f"runpod: completed without images: {reason(errors or output)}")
        if errors:
            log.warning("runpod: beside the image the worker told errors: %s", reason(errors))
        data = images[0].get("data")
        if not isinstance(data, str):
            raise NoImage("runpod: completed with an image that has no data")
        if images[0].get("type") == "s3_url":
            return self._downloads.fetch(data)
        return checked_image(_decoded(data), "runpod")


def reason(error: object) -> str:
    """A job's error as one line: the message in it, where it is JSON (an object, or a text that holds one)."""
    if isinstance(error, str):
        try:
            error = json.loads(error)
        except (ValueError, RecursionError):
            return " ".join(str(error).split())[:300] or "no reason was given"
    if isinstance(error, dict):
        error = next((error[name] for name in ("error_message", "message", "error") if error.get(name)), error)
    if isinstance(error, list):
        error = "; ".join(map(str, error))
    return " ".join(str(error).split())[:300] if error else "no reason was given"


def _decoded(data: str) -> bytes:
    text = data.partition(",")[2] if data.startswith("data:") else data
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoImage("runpod: what came as an image is not base64") from error


def _workflow(settings: RunPodSettings) -> Workflow:
    workflow = Workflow.read(settings.workflow)
    if settings.guidance is not None and not workflow.slots.guidance:
        raise MisconfiguredRun(
            f"image.guidance = {settings.guidance:g}: {settings.workflow} has no node with a guidance on the way to its prompt: give null"
        )
    return workflow


def _health_need(settings: RunPodSettings) -> Need:
    what, url = f"endpoint {settings.endpoint}", RUNPOD.address(settings.base_url)
    timeout_s = min(DOCTOR_S, settings.request_timeout_s)
    rest = Rest(RUNPOD, url, settings.key_env, timeout_s=timeout_s, exchanges=Exchanges(None, "doctor"))
    try:
        row = rest.ask("GET", f"/{settings.endpoint}/health")
    except CallsheetError as error:
        return Need(what, met=False, advice=str(error))
    finally:
        rest.close()
    workers, jobs = _counts(row.get("workers")), _counts(row.get("jobs"))
    listed = ", ".join(f"{count} {state}" for state, count in workers.items() if count) or "none"
    asleep = (
        "" if workers.get("idle") or workers.get("ready") or workers.get("running") else "the first job waits for one"
    )
    return Need(f"{what}: workers: {listed}; {jobs.get('inQueue', 0)} jobs in its queue", met=True, advice=asleep)


def _counts(value: object) -> dict[str, int]:
    found = value.items() if isinstance(value, dict) else ()
    return {str(name): count for name, count in found if isinstance(count, int)}
