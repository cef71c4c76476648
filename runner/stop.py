"""Stopping: first Ctrl+C or SIGTERM asks politely, the second is out at once, and children die with their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from runner import files
from runner.errors import CallsheetError, Interrupted, RunStopped

PARENT_POLL_SECONDS = 0.5
JOB_STOPPED = "a job was stopped\n"


class Stop:
    """Set once; every wait of the run wakes up."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self.reason: CallsheetError | None = None

    def request(self, reason: CallsheetError) -> None:
        """No new items from now on. The first reason is kept, unless a person does not want to wait for its end."""
        with self._lock:
            if self.reason is None or isinstance(reason, Interrupted):
                self.reason = reason
        self._event.set()

    @property
    def requested(self) -> bool:
        """True once somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise if the run is stopping: for long work inside one item."""
        if self.requested:
            raise Interrupted("stopped")

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run stops.

        Raises:
            Interrupted: It stopped.
        """
        if self._event.wait(seconds):
            raise Interrupted("stopped while waiting")

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True when the run is stopping."""
        return self._event.wait(seconds)


def handle_signals(on_first: Callable[[int], None]) -> Callable[[], None]:
    """Route SIGINT and SIGTERM to `on_first`, then, the second time, leave at once. Main thread only.

    Returns:
        Puts the former handlers back.
    """
    count = 0

    def handler(number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            os._exit(130)
        on_first(number)

    former = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, old in former.items():
            signal.signal(number, old)

    return restore


def die_with(parent: int) -> None:
    """In a child process that may have no job yet, and so nothing to follow its parent by: die when the parent has died.

    Until a job listens, Ctrl+C is the parent's alone to hear: it would end the child with a traceback, and others that work with it.
    """

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(PARENT_POLL_SECONDS)
        os._exit(137)

    # Not SIG_IGN, which a program that is started from here would keep.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    threading.Thread(target=watch, name="orphan", daemon=True).start()


def follow_parent(stop: Stop, stop_file: Path) -> None:
    """In a child process (a job of a sweep): stop when the parent's stop file appears, die when the parent dies."""
    parent = os.getppid()

    def watch() -> None:
        while not stop.wait(PARENT_POLL_SECONDS):
            if os.getppid() != parent:
                os._exit(137)
            if stop_file.exists():
                stop.request(_reason_in(stop_file))
        # Stopping: the grace of the run ends it, unless the parent goes first.
        while os.getppid() == parent:
            threading.Event().wait(PARENT_POLL_SECONDS)
        os._exit(137)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def interrupt(stop: Stop, stop_file: Path | None = None) -> None:
    """What the first signal does: stop this process's items, and by the file those of a sweep's other processes."""
    sys.stderr.write("\nstopping: items under way may finish; once more to leave at once\n")
    sys.stderr.flush()
    if stop_file is not None:
        stop_file.write_text("interrupted\n", encoding="utf-8")
    stop.request(Interrupted("Interrupted."))


def job_stopped(stop_file: Path) -> None:
    """Tell a sweep's other processes that a provider or the budget stopped a job, as it would stop each of theirs."""
    files.write_text(stop_file, JOB_STOPPED)


def _reason_in(stop_file: Path) -> CallsheetError:
    with contextlib.suppress(OSError):
        if stop_file.read_text(encoding="utf-8") == JOB_STOPPED:
            # Nobody waits: what is under way, and perhaps paid for, may come to its end.
            return RunStopped("Another job of the sweep was stopped.")
    return Interrupted("The sweep was interrupted.")
