"""Faults that the crash tests must find: put into a job after it was forked, never into the product."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from runner import files, remote
from runner.failpoints import failpoint
from steps.library import journal, transaction


def done_first() -> None:
    """The journal says `done` before anything is moved."""
    finish = transaction.Replacement.finish

    def faulty(self: transaction.Replacement, record: journal.ActionRecord) -> None:
        self._journal.note(record, journal.DONE)
        note = self._journal.note
        self._journal.note = lambda record, state: None  # type: ignore[method-assign]
        try:
            finish(self, record)
        finally:
            self._journal.note = note  # type: ignore[method-assign]

    transaction.Replacement.finish = faulty  # type: ignore[method-assign]


def in_place() -> None:
    """Files are written where they stand."""

    @contextlib.contextmanager
    def faulty(path: Path, mode: str) -> Iterator[IO[Any]]:
        files.make_folder(path.parent)
        with path.open(mode) as file:
            yield file

    files._replacing = faulty


def no_file_sync() -> None:
    """Files are renamed into place while their data may still be in memory."""

    @contextlib.contextmanager
    def faulty(path: Path, mode: str) -> Iterator[IO[Any]]:
        files.make_folder(path.parent)
        temporary = path.with_name(f"{files.TEMPORARY}faulty")
        with temporary.open(mode) as file:
            yield file
        temporary.replace(path)
        files.sync_folder(path.parent)

    files._replacing = faulty


def no_folder_sync() -> None:
    """Names are not made durable."""
    files.sync_folder = lambda path: None


def no_trash() -> None:
    """What goes is deleted instead of moved."""

    def faulty(source: Path, target: Path) -> bool:
        if ".callsheet" not in target.parts:
            return files.move(source, target)
        there = source.exists()
        files.remove(source)
        return there

    class Files:
        move = staticmethod(faulty)

        def __getattr__(self, name: str) -> Any:
            return getattr(files, name)

    transaction.files = Files()  # type: ignore[assignment, attr-defined]


def late_id() -> None:
    """A remote job's id is written down when the job is done."""

    def faulty(self: remote.RemoteJobs, key: str, provider: str, **how: Any) -> Any:
        remote_id = self._find(key, provider)[1] or how["create"]()
        failpoint("remote.created")
        while (result := how["poll"](remote_id)) is None:
            self.stop.sleep(how.get("every_s", 1.0))
        failpoint("remote.journalled")
        self._note(key, provider, "done", remote_id)
        return result, True

    remote.RemoteJobs.run = faulty  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    fault.__name__: fault for fault in (done_first, in_place, no_file_sync, no_folder_sync, no_trash, late_id)
}


def plant(name: str) -> None:
    """Put one in."""
    FAULTS[name]()
