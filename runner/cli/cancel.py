"""`callsheet cancel RUN`: end the remote jobs that a stopped run has left under way, instead of fetching them by resuming it."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, ClassVar

from runner import backends, files
from runner.errors import CallsheetError, UserError
from runner.ledger import Ledger
from runner.remote import RemoteJob, RemoteJobs
from runner.run import find_run, id_of, jobs_of, ledger_of, read_about
from runner.stop import Stop


class Cancel:
    """Asks vendors to cancel a run's jobs; a resumed run makes them anew."""

    name: ClassVar[str] = "cancel"
    help: ClassVar[str] = (
        "cancel the remote jobs that a stopped run has left under way (resuming it would fetch what they make)"
    )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("run", help="a run's folder, RECIPE/RUN, RECIPE for its latest, or 'latest'")
        parser.add_argument("--outputs", default="outputs", help="where runs are (outputs)")
        parser.add_argument("--ledger", default=None, help="the ledger, where it is not the one that the run used")

    def run(self, arguments: argparse.Namespace) -> int:
        """Cancel each, print a line each; 1 when some could not be.

        Raises:
            UserError: The run is in progress, or there is none.
        """
        outputs = Path(arguments.outputs)
        path = find_run(outputs, arguments.run)
        given = Path(arguments.ledger) if arguments.ledger else None
        with contextlib.ExitStack() as held:
            if files.is_file(path / "sweep.json"):
                held.enter_context(files.locked(path / "sweep.lock", f"{path} is in progress: stop it first"))
            failed = sum(_cancel_run(job, given, outputs) for job in jobs_of(path))
        return 1 if failed else 0


def _cancel_run(path: Path, ledger: Path | None, outputs: Path) -> int:
    about = read_about(path)
    if about is None:
        raise UserError(f"{path}: run.json is missing or broken")
    busy = f"{path} is in progress: stop it first"
    with (
        files.locked(path / "run.lock", busy),
        Ledger(ledger or ledger_of(about, outputs)) as opened,
        contextlib.ExitStack() as held,
    ):
        work = _Cancelling(path, opened, RemoteJobs(opened, Stop(), id_of(path, about)), held)
        return work.carry_out()


class _Cancelling:
    """The jobs of one run that is not in progress."""

    def __init__(self, path: Path, ledger: Ledger, remote: RemoteJobs, held: contextlib.ExitStack) -> None:
        self._path = path
        self._ledger = ledger
        self._remote = remote
        self._held = held
        self._backends: dict[str, Any] = {}

    def carry_out(self) -> int:
        """Cancel each; returns how many could not be."""
        left = self._remote.left()
        if not left:
            print(f"{self._path}: no remote job is under way")
        return sum(not self._cancel(job) for job in left)

    def _cancel(self, job: RemoteJob) -> bool:
        """Cancel one, say what became of it, and let a resumed run make it anew."""
        if job.remote_id is None:
            print(f"{job.provider}: the create for {job.key} was cut off: it may run; look for it at the vendor's")
            return False
        what = f"{job.provider} {job.remote_id}"
        try:
            over = self._backend(job.provider).cancel(job.remote_id)
        except CallsheetError as error:
            print(f"{what}: not cancelled: {error}")
            return False
        if not over:
            print(f"{what}: had come to its end before: a resumed run fetches it")
            return True
        self._remote.forget(job.key)
        print(f"{what}: cancelled; a resumed run makes {job.key} anew")
        return True

    def _backend(self, provider: str) -> Any:
        """The run's backend of the job's kind and name, built once."""
        if provider not in self._backends:
            kind, _, name = provider.partition("=")
            used = (read_about(self._path) or {}).get("backends") or {}
            if used.get(kind) != name:
                raise UserError(f"the run's recipe names no {provider}")
            backend = backends.of_run(self._path, kind, self._ledger)
            self._held.callback(getattr(backend, "close", lambda: None))
            if not hasattr(backend, "cancel"):
                raise UserError(f"{provider} can't cancel jobs")
            self._backends[provider] = backend
        return self._backends[provider]
