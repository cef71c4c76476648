"""A run's log: everything in its log.txt, warnings also to the person, secrets nowhere."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from runner.progress import Reporter
from runner.secrets import RedactingFormatter, Redactor

log = logging.getLogger("callsheet")


@contextlib.contextmanager
def logging_to(path: Path, reporter: Reporter) -> Iterator[None]:
    """Send the log of this run to a file while the block runs."""
    redact = Redactor()
    to_file = _ToFile(path, reporter)
    to_file.setFormatter(RedactingFormatter(redact))
    to_person = _ToPerson(reporter)
    to_person.setFormatter(_MessageOnly(redact))
    log.setLevel(logging.INFO)
    # Hydra, as it sets logging up for a sweep's job, puts out every logger that it does not know.
    log.disabled = False
    log.propagate = False
    for handler in (to_file, to_person):
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in (to_file, to_person):
            log.removeHandler(handler)
            handler.close()


class _ToFile(logging.FileHandler):
    """A run can do without its log: that lines are lost is said once."""

    def __init__(self, path: Path, reporter: Reporter) -> None:
        super().__init__(path, encoding="utf-8")
        self._reporter = reporter
        self._is_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            self._reporter.warn(f"{self.baseFilename}: {error.strerror}: lines of the log are missing")


class _ToPerson(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.warn(self.format(record))


class _MessageOnly(RedactingFormatter):
    """The message without time or traceback: those are for the file."""

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(record.getMessage())
