"""The memory of all runs: answers, items, intents, remote jobs and spending, in one SQLite file.

One writer thread a process holds the only writing connection, so that jobs of a sweep (other processes) meet it at SQLite's
own lock and never inside a transaction of ours. Two ways to write:

* `post`: queued and committed in batches with synchronous=NORMAL. A lost one means asking again.
* `commit`: waits. With `durable=True` (intents, remote job ids) it is synchronous=FULL: on disk when it returns.

Readers use a connection of their own thread. WAL lets them read beside the writer.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from runner.claims import Claims
from runner.errors import RunStopped, UserError

T = TypeVar("T")
BUSY_SECONDS = 30.0
BATCH_SECONDS = 0.03
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.s3fs"}
)


class LedgerFailed(RunStopped):
    """The ledger can't be written (disk full, read-only, damaged): nothing more may be paid for."""


@dataclass
class _Request:
    """A transaction that somebody waits for."""

    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None


class Ledger:
    """A ledger file, created and migrated when opened."""

    def __init__(self, path: Path) -> None:
        refuse_network_file_system(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: no ledger can be made there: {error.strerror}: give ledger=PATH") from error
        self.path = path
        self._posted: deque[tuple[str, Sequence[Any]]] = deque()
        self._after: deque[Callable[[], None]] = deque()
        self._requests: deque[_Request] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._claims: Claims | None = None
        self._claiming = threading.Lock()
        self._connection = self._connect()
        try:
            migrate(self._connection)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise UserError(
                    f"{path}: can't be used as a ledger ({error}): move it away, or give ledger=PATH"
                ) from error
            raise
        self._writer = threading.Thread(target=self._write_loop, name="ledger", daemon=True)
        self._writer.start()

    def post(self, statement: str, values: Sequence[Any]) -> None:
        """Queue one statement; returns at once."""
        if self._failure is not None:
            raise self._failed()
        self._posted.append((statement, values))

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back from the writer's thread when all that was posted before is committed, or has failed for good."""
        self._after.append(callback)

    @property
    def claims(self) -> Claims:
        """Who works at which answer, in all processes."""
        with self._claiming:
            if self._claims is None:
                self._claims = Claims.beside(self.path)
            return self._claims

    def commit(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `work` in one transaction, after all that was posted before, and wait for its commit.

        Args:
            work: Gets the writing connection, inside BEGIN IMMEDIATE. What it raises rolls back and is raised here.
            durable: Survive power loss, not only the death of this process.
        """
        request = _Request(work, durable)
        with self._wake:
            if self._failure is not None or self._closing:
                raise self._failed()
            self._requests.append(request)
            self._wake.notify()
        request.done.wait()
        if request.error is not None:
            raise request.error
        return request.result  # type: ignore[no-any-return]

    def execute(self, statement: str, values: Sequence[Any] = (), *, durable: bool = False) -> None:
        """Commit one statement and wait for it."""
        self.commit(lambda connection: connection.execute(statement, values), durable=durable)

    def flush(self) -> None:
        """Wait until all that was posted is committed."""
        self.commit(lambda _connection: None)

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Read, one row at a time. What was posted and not flushed may be missing."""
        with self._reading():
            yield from self._reader().execute(query, values)

    def row(self, query: str, values: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        with self._reading():
            return self._reader().execute(query, values).fetchone()

    def close(self) -> None:
        """Commit what is queued and end the writer."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._writer.join()
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        if self._claims is not None:
            self._claims.close()
            self._claims = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            _to_wal(connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise UserError(
                f"{self.path}: can't be opened as a ledger ({error}): move it away, or give ledger=PATH"
            ) from error
        return connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise LedgerFailed(f"{self.path}: the ledger can't be read: {error}") from error

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._connect()
            reader.execute("PRAGMA query_only=ON")
            self._local.reader = reader
            self._readers.append(reader)
        return reader

    def _write_loop(self) -> None:
        while True:
            with self._wake:
                if not self._requests and not self._closing:
                    self._wake.wait(BATCH_SECONDS)
                requests = list(self._requests)
                self._requests.clear()
                closing = self._closing
            self._write_posted()
            for request in requests:
                self._write_request(request)
            if closing and not self._posted and not self._after and not self._requests:
                self._connection.close()
                return

    def _write_posted(self) -> None:
        # Taken first, so that what was posted before each of them is in this batch.
        callbacks = [self._after.popleft() for _ in range(len(self._after))]
        self._write_batch()
        for callback in callbacks:
            callback()

    def _write_batch(self) -> None:
        posted = [self._posted.popleft() for _ in range(len(self._posted))]
        if not posted or self._failure is not None:
            return
        # Only upserts are posted, each kind into a table of its own, so kinds may be gathered.
        batches: dict[str, list[Sequence[Any]]] = {}
        for statement, values in posted:
            batches.setdefault(statement, []).append(values)
        try:
            with _Transaction(self._connection, durable=False):
                for statement, rows in batches.items():
                    self._connection.executemany(statement, rows)
        except Exception as error:  # noqa: BLE001 - a writer that died would leave everybody waiting
            self._failure = error

    def _write_request(self, request: _Request) -> None:
        try:
            if self._failure is not None:
                raise self._failed()
            with _Transaction(self._connection, durable=request.durable):
                request.result = request.work(self._connection)
        except sqlite3.IntegrityError as error:
            request.error = error
        except sqlite3.Error as error:
            self._failure = error
            request.error = self._failed()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            request.error = error
        request.done.set()

    def _failed(self) -> LedgerFailed:
        return LedgerFailed(f"{self.path}: the ledger can't be written: {self._failure or 'it is closed'}")


class _Transaction:
    def __init__(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        self._connection = connection
        self._durable = durable

    def __enter__(self) -> None:
        # In WAL mode FULL adds an fsync of the log to this commit, which also covers all commits before it.
        self._connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


@retry(
    retry=retry_if_exception(_busy),
    stop=stop_after_delay(BUSY_SECONDS),
    wait=wait_random(0.001, 0.02),
    reraise=True,
)
def _to_wal(connection: sqlite3.Connection) -> None:
    """SQLite's own time-out does not hold for this: while another process changes the mode it fails at once."""
    connection.execute("PRAGMA journal_mode=WAL")


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the migrations that this file lacks, in the order of their names, each in a transaction.

    Raises:
        UserError: The file was written by a newer Callsheet.
    """
    known = sorted(
        entry.name for entry in resources.files("runner.migrations").iterdir() if entry.name.endswith(".sql")
    )
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Inside: outside, it would ask for the write lock while it holds a read lock, and be refused without a wait.
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)")
        applied = {row[0] for row in connection.execute("SELECT name FROM migrations")}
        if newer := sorted(applied - set(known)):
            raise UserError(
                f"the ledger has migrations that this version does not know ({', '.join(newer)}): update callsheet"
            )
        for name in known:
            if name not in applied:
                _apply(connection, name)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _apply(connection: sqlite3.Connection, name: str) -> None:
    script = resources.files("runner.migrations").joinpath(name).read_text(encoding="utf-8")
    # Not executescript: it would commit what it finds open, and a migration must be whole.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, time.time()))


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """SQLite's locks do not hold on network file systems, and two runs would then pay for the same answers.

    Raises:
        UserError: `path` lies on one.
    """
    if not mounts.is_file():
        return
    target = path.resolve()
    best, kind = Path(), ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _device, mount, file_system, *_rest = [*line.split(" "), "", "", ""]
        point = Path(mount.replace("\\040", " ") or "/")
        if target.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, file_system
    if kind in NETWORK_FILE_SYSTEMS:
        raise UserError(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold: give ledger=PATH on a local disk"
        )
