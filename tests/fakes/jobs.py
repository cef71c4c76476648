"""What Replicate and RunPod have in common: jobs that are created, polled, cancelled, and whose images are fetched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from tests.fakes import wire
from tests.fakes.drawing import Drawing, Painter, painter
from tests.fakes.server import Exchange, FakeServer
from tests.fakes.state import Settings


@dataclass
class JobSettings(Settings):
    """How jobs go.

    Attributes:
        polls: How many looks at a job find it unfinished.
        slow_polls: The same for the fault slow.
        duration_s: How long a job takes at least, in seconds.
        paint: Who draws: "portrait", "plain", or a callable.
    """

    polls: int = 1
    slow_polls: int = 5
    duration_s: float = 0.0
    paint: str | Painter = "portrait"


@dataclass
class Job:
    """One job.

    Attributes:
        target: The model or the endpoint that it was sent to.
        input: As it came.
        drawings: What it makes.
        fault: What becomes of it.
        error: Why it can't succeed, whatever the fault.
        seen: How many looks have found it unfinished.
        expired: Whether the vendor has forgotten it and its images; `server.expire(id)`.
    """

    id: str
    target: str
    input: Mapping[str, Any]
    drawings: Sequence[Drawing]
    polls: int
    duration_s: float
    fault: str | None = None
    error: str | None = None
    seen: int = 0
    cancelled: bool = False
    expired: bool = False
    created_at: float = field(default_factory=time.time)
    finished_at: float | None = None

    def look(self) -> bool:
        """Whether it has finished; a look that finds it unfinished brings it on."""
        if self.finished_at is not None:
            return True
        if self.seen >= self.polls and time.time() >= self.created_at + self.duration_s:
            self.finished_at = time.time()
            return True
        self.seen += 1
        return False

    def cancel(self) -> None:
        """End it, if it has not ended."""
        if self.finished_at is None:
            self.finished_at = time.time()
            self.cancelled = True

    @property
    def waiting(self) -> bool:
        """Whether it has not been begun: the first half of the looks, and always the creation."""
        return self.seen == 0 or self.seen < (self.polls + 1) // 2


J = TypeVar("J", bound=JobSettings)


class JobServer(FakeServer[J]):
    """A vendor that works in jobs."""

    def __init__(self, settings: J) -> None:
        self._jobs: dict[str, Job] = {}
        super().__init__(settings)

    def reset(self) -> None:
        """Forget the jobs too."""
        with self.lock:
            self._jobs.clear()
            super().reset()

    @property
    def created(self) -> int:
        """How many jobs were created, which is how often was paid."""
        return len(self._jobs)

    @property
    def inputs(self) -> list[Mapping[str, Any]]:
        """The jobs' inputs, in the order of their creation."""
        with self.lock:
            return [job.input for job in self._jobs.values()]

    @property
    def cancelled(self) -> list[str]:
        """Ids of jobs that a client has cancelled."""
        with self.lock:
            return [job.id for job in self._jobs.values() if job.cancelled]

    def expire(self, job: str) -> None:
        """Let a job's time run out: its images are gone, and on RunPod the job itself."""
        with self.lock:
            self._jobs[job].expired = True

    def jobs(self) -> list[Mapping[str, Any]]:
        """All jobs."""
        with self.lock:
            return [
                {"id": job.id, "target": job.target, "input": job.input, "cancelled": job.cancelled, "fault": job.fault}
                for job in self._jobs.values()
            ]

    def admit(self, job: Job) -> Job:
        """Create it."""
        if job.fault == "slow":
            job.polls = self.settings.slow_polls
        with self.lock:
            self._jobs[job.id] = job
        return job

    def job(self, exchange: Exchange) -> Job | None:
        """The one that the path names."""
        with self.lock:
            return self._jobs.get(exchange.request.match_info["id"])

    async def output(self, exchange: Exchange) -> web.Response:
        """An image, at a link that needs no key."""
        job = self.job(exchange)
        number = int(exchange.request.match_info["number"])
        if job is None or job.expired or job.fault == "expired_output" or number >= len(job.drawings):
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        if job.fault == "wrong_output":
            return wire.page(200, "Sign in")
        drawing = job.drawings[number]
        return web.Response(body=await self.painted(drawing), content_type=f"image/{drawing.kind}")

    async def painted(self, drawing: Drawing) -> bytes:
        """An image's bytes."""
        return await asyncio.to_thread(painter(self.settings.paint), drawing)

    def link(self, job: Job, number: int, name: str) -> str:
        """Where an image of a job is: on this server by its other name."""
        return f"{self.other_origin}/output/{job.id}/{number}/{name}"
