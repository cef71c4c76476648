"""Remote jobs that are never paid for twice: their id is in the ledger before anybody waits for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from runner.errors import CallsheetError, ItemError, Transient
from runner.failpoints import failpoint
from runner.fingerprint import digest_of
from runner.ledger import Ledger
from runner.stop import Stop

T = TypeVar("T")
log = logging.getLogger("callsheet")


@dataclass(frozen=True)
class RemoteJob:
    """A job that a run has left.

    Attributes:
        key: Names it for good.
        provider: Who does it, for example "image=replicate".
        remote_id: The vendor's name for it; None where its create was cut off, so that it may or may not run.
    """

    key: str
    provider: str
    remote_id: str | None


class FoundJob(str):
    """The id of a job that an earlier create has made whose answer was lost: that one has been counted."""

    __slots__ = ()


class RemoteJobs:
    """Creates remote jobs once and finds them again after a crash.

    Args:
        ledger: Holds their ids.
        stop: Ends the waits for them.
        run: Whose they are from now on.
    """

    def __init__(self, ledger: Ledger, stop: Stop, run: str | None = None) -> None:
        self.ledger = ledger
        self._run = run
        self.stop = stop

    def run(
        self,
        key: str,
        provider: str,
        *,
        create: Callable[[], str],
        poll: Callable[[str], T | None],
        every_s: float = 1.0,
    ) -> tuple[T, bool]:
        """The result of the job named `key`: created if it never was, polled if it was; by one process at a time.

        Returns:
            The result, and whether this run has counted its estimate and nobody has fetched it before.

        Args:
            key: Names the job for good.
            provider: For the ledger and messages.
            create: Starts the job and returns its id. It is called once for a key, unless it raised or the process died in it.
            poll: Takes the id; returns the result, or None while the job runs. Raises when the job failed.
            every_s: Seconds between polls.

        Raises:
            Interrupted: The run stops; the id is kept, and a resumed run polls it.
        """
        claims, name = self.ledger.claims, digest_of(key)
        claims.wait_for(name, self.stop, inner=True)
        try:
            first = self._uncorrected(key)
            remote_id = self._find(key, provider)
            if remote_id is None:
                elsewhere = self._owner(key) not in (None, self._run)
                remote_id = self._create(key, provider, create)
                # A lost create that is found again was counted by the run that lost it.
                first = not (elsewhere and isinstance(remote_id, FoundJob))
            result = self._waited(lambda: poll(remote_id), first, every_s)
            self._note(key, provider, "done", remote_id)
        finally:
            claims.release(name, inner=True)
        return result, first

    def _uncorrected(self, key: str) -> bool:
        """Whether this run has counted the job at its estimate, and not yet at its cost."""
        row = self.ledger.row("SELECT state, run FROM remote_jobs WHERE key = ?", (key,))
        return row is not None and tuple(row) == ("running", self._run)

    def _owner(self, key: str) -> str | None:
        row = self.ledger.row("SELECT run FROM remote_jobs WHERE key = ?", (key,))
        return None if row is None else row[0]

    def _waited(self, poll: Callable[[], T | None], first: bool, every_s: float) -> T:
        try:
            while (result := poll()) is None:
                self.stop.sleep(every_s)
        except ItemError as error:
            error.job_first = first
            raise
        return result

    def forget(self, key: str) -> None:
        """The job failed for good (its id is of no more use): the next try makes another."""
        self.ledger.execute("DELETE FROM remote_jobs WHERE key = ?", (key,), durable=True)

    def in_doubt_since(self, key: str) -> float | None:
        """When a create began of which nobody knows whether it made a job (seconds since 1970); None where there is none."""
        row = self.ledger.row("SELECT at FROM remote_jobs WHERE key = ? AND remote_id IS NULL", (key,))
        return None if row is None else float(row[0])

    def left(self) -> list[RemoteJob]:
        """This run's jobs that nobody has seen the end of."""
        query = "SELECT key, provider, remote_id FROM remote_jobs WHERE run = ? AND state != 'done' ORDER BY at"
        return [RemoteJob(*row) for row in self.ledger.rows(query, (self._run,))]

    def _find(self, key: str, provider: str) -> str | None:
        row = self.ledger.row("SELECT state, remote_id, provider, run FROM remote_jobs WHERE key = ?", (key,))
        if row is None:
            return None
        if row[2] != provider:
            log.warning(
                "%s: %s has done or begun %s before, and can't be asked here: it is made again", provider, row[2], key
            )
            return None
        if row[1] is None:
            log.warning(
                "%s: an earlier run was cut off while it created the job for %s; it may have been paid for, and is created again",
                provider,
                key,
            )
            return None
        if row[3] != self._run and row[0] != "done":
            # Whoever waits for it is who can be asked to cancel it; what it costs is counted where it was created.
            self._note(key, provider, "adopted", str(row[1]))
        return str(row[1])

    def _create(self, key: str, provider: str, create: Callable[[], str]) -> str:
        # The first time at which one may have come to be is when a backend looks for it from.
        self._note(key, provider, "creating", None, self.in_doubt_since(key))
        failpoint("remote.creating")
        try:
            remote_id = create()
        except CallsheetError as error:
            # A time-out may have come after the job was made: then the mark stays, so that a second create is said.
            doubtful = isinstance(error, Transient) and not error.throttled
            if not (doubtful if error.maybe_created is None else error.maybe_created):
                self.forget(key)
            raise
        failpoint("remote.created")
        self._note(key, provider, "running", remote_id)
        failpoint("remote.journalled")
        return remote_id

    def _note(self, key: str, provider: str, state: str, remote_id: str | None, at: float | None = None) -> None:
        values = (key, provider, state, remote_id, at or time.time(), self._run)
        statement = (
            "INSERT OR REPLACE INTO remote_jobs (key, provider, state, remote_id, at, run) VALUES (?, ?, ?, ?, ?, ?)"
        )
        self.ledger.execute(statement, values, durable=True)
