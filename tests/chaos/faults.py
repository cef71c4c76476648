"""Faults that the crash tests must find: put into a job after it was forked, never into the product."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from runner import files, remote
from runner.failpoints import failpoint
from steps.library import journal, mirroring, transaction


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
    def faulty(path: Path, mode: str, aside: Path | None = None) -> Iterator[IO[Any]]:
        files.make_folder(path.parent)
        with path.open(mode) as file:
            yield file

    files._replacing = faulty


def no_file_sync() -> None:
    """Files are renamed into place while their data may still be in memory."""

    @contextlib.contextmanager
    def faulty(path: Path, mode: str, aside: Path | None = None) -> Iterator[IO[Any]]:
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
        remote_id = self._find(key, provider) or how["create"]()
        failpoint("remote.created")
        while (result := how["poll"](remote_id)) is None:
            self.stop.sleep(how.get("every_s", 1.0))
        failpoint("remote.journalled")
        self._note(key, provider, "done", remote_id)
        return result, True

    remote.RemoteJobs.run = faulty  # type: ignore[method-assign]


def forgets_id() -> None:
    """A resumed run looks for no id."""
    remote.RemoteJobs._find = lambda self, key, provider: None  # type: ignore[method-assign]


def blind() -> None:
    """A create whose answer was lost is not looked for at Replicate."""
    from steps.backends.replicate_client import Creating

    Creating._found = lambda self, given, since: None  # type: ignore[method-assign]


def unsaid() -> None:
    """A second create is not told."""
    remote.log = logging.getLogger("nobody")
    remote.log.setLevel(logging.CRITICAL)


def deletes_first() -> None:
    """What goes from the mirror is read, deleted, and then written to its trash."""

    def faulty(self: mirroring.Mirrored, record: journal.ActionRecord) -> None:
        storage: Any = self._storage
        bucket, names = {"Bucket": storage._names.bucket}, storage._names
        for item in map(mirroring._stored, record.keys):
            answer = storage._client.get_object(**bucket, Key=names.key(item.key))
            data, about = answer["Body"].read(), {name: answer[name] for name in ("ContentType", "Metadata")}
            self._delete(item, record)
            storage._client.put_object(**bucket, Key=names.trash_key(item.key, record.id), Body=data, **about)
            self._operations.record("trash", self._address(item.key), action=record.id)

    mirroring.Mirrored.to_trash = faulty  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[], None]] = {
    fault.__name__: fault
    for fault in (
        *(done_first, in_place, no_file_sync, no_folder_sync, no_trash, late_id),
        *(forgets_id, blind, unsaid, deletes_first),
    )
}


def plant(name: str) -> None:
    """Put one in."""
    FAULTS[name]()
