"""Carries out one step: which items are still to do, in what order they are told, how each one ends."""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from runner.calls import ItemMeter, RetrySettings, metering
from runner.errors import (
    DiskFailed,
    Interrupted,
    ItemError,
    MisconfiguredRun,
    Outlasted,
    Refused,
    RunStopped,
    Transient,
    UserError,
)
from runner.executor import Executor
from runner.failpoints import failpoint
from runner.fingerprint import FileHashes, fingerprint
from runner.ledger import Ledger
from runner.progress import Reporter
from runner.registry import result_type
from runner.secrets import Redactor
from runner.step import Item, Outcome, Results
from runner.stop import Stop

R = TypeVar("R")
LARGEST_CHUNK = 512
FAILURES_TOLD = 20
# What no other item will get round either.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
log = logging.getLogger("callsheet")

UPSERT_ITEM = """
    INSERT INTO items (run, label, key, position, session, fingerprint, state, error, usd) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (run, label, key) DO UPDATE SET position = excluded.position, session = excluded.session,
        fingerprint = excluded.fingerprint, state = excluded.state, error = excluded.error, usd = items.usd + excluded.usd"""
UPSERT_ANSWER = "INSERT OR REPLACE INTO answers (fingerprint, step, run, result, usd, at) VALUES (?, ?, ?, ?, ?, ?)"


class RunRow(NamedTuple):
    """A run in the ledger: its number, and how often it was opened."""

    number: int
    session: int


class Task(NamedTuple):
    """One item with its place and fingerprint."""

    position: int
    item: Item[Any]
    fingerprint: str


def open_row(ledger: Ledger, path: str) -> RunRow:
    """Enter a run into the ledger, or open it again."""
    statement = """INSERT INTO runs (path, session) VALUES (?, 1)
                   ON CONFLICT (path) DO UPDATE SET session = session + 1 RETURNING id, session"""
    return ledger.commit(lambda connection: RunRow(*connection.execute(statement, (path,)).fetchone()))


class StepRun:
    """One step of one run, carried out."""

    def __init__(self, label: str, step: Any, row: RunRow, *, name: str, fresh: bool, tools: Tools) -> None:
        self._label = label
        self._step = step
        self._row = row
        self._name = name
        self._fresh = fresh
        # What is asked on purpose a second time, or done for its effects, is no other process's business.
        self._shared = type(step).reuses_answers and not fresh
        self._tools = tools
        self._ledger = tools.ledger
        self._results: TypeAdapter[Any] = TypeAdapter(result_type(type(step)))
        self._failed_before = self._failures()
        self._listed: Iterable[Item[Any]] = ()
        self._told = 0
        self._outlasted = False

    def list_items(self) -> int | None:
        """Ask the step for its items; returns how many there are, where that is known beforehand."""
        self._listed = self._step.items()
        return len(self._listed) if isinstance(self._listed, Sized) else None

    def carry_out(self, total: int | None) -> None:
        """Do the items that are left, then let the step write its files.

        Raises:
            RunStopped, Interrupted, UserError: The run ends here; what is done is kept.
        """
        reporter, stop = self._tools.reporter, self._tools.stop
        reporter.begin(self._label, total)
        try:
            complete = self._tools.executor.run(self._left(self._listed), self._do, stop)
        finally:
            reporter.end()
        self._ledger.flush()
        if stop.reason is not None:
            self._outlasted = not complete
            if self._outlasted:
                log.warning("%s: items under way did not end within the grace; they will be done again", self._label)
                raise Outlasted(str(stop.reason))
            raise stop.reason
        failpoint("step.before_finish")
        self._step.finish(StoredResults(self._ledger, self._row, self._label, self._results))

    def close(self) -> None:
        """Let the step put down what it holds (locks), however it ended, unless items still work. Optional for steps."""
        close = getattr(self._step, "close", None)
        if close is not None and not self._outlasted:
            close()

    def gate(self) -> str | None:
        """Why the step, though it has done its work, asks that the run exits 4; None where it doesn't. Optional for steps."""
        gate = getattr(self._step, "gate", None)
        return None if gate is None else gate()

    def counts(self) -> dict[str, int]:
        """Items of this run by state."""
        query = "SELECT state, count(*) FROM items WHERE run = ? AND label = ? AND session = ? GROUP BY state"
        return dict(self._ledger.rows(query, (self._row.number, self._label, self._row.session)))

    def usd(self) -> float:
        """What the items cost in this run, all sessions."""
        row = self._ledger.row(
            "SELECT total(usd) FROM items WHERE run = ? AND label = ?", (self._row.number, self._label)
        )
        return float(row[0])

    def _failures(self) -> dict[str, tuple[str, str]]:
        """Items that failed in an earlier session of this run: they are not tried again in it."""
        query = "SELECT key, state, error FROM items WHERE run = ? AND label = ? AND state IN ('failed', 'refused')"
        return {key: (state, error) for key, state, error in self._ledger.rows(query, (self._row.number, self._label))}

    def _left(self, listed: Iterable[Item[Any]]) -> Iterator[Task]:
        """The items that must be processed; those that are remembered are entered as done on the way."""
        seen: set[str] = set()
        position = itertools.count()
        for chunk in _chunks(listed):
            if self._tools.stop.requested:
                return
            tasks = [Task(next(position), item, self._fingerprint(item)) for item in chunk]
            for task in tasks:
                if task.item.key in seen:
                    raise UserError(f"{self._label}: two items are named {task.item.key!r}; names must differ")
                seen.add(task.item.key)
            known = self._known(tasks)
            for task in tasks:
                if task.item.key in self._failed_before:
                    self._enter(task, *self._failed_before[task.item.key])
                elif task.fingerprint in known:
                    self._enter(task, "remembered")
                else:
                    yield task

    def _fingerprint(self, item: Item[Any]) -> str:
        kind = type(self._step)
        if not kind.reuses_answers:
            # Known within this run alone.
            within = [self._tools.run, self._label, item.key, *item.depends_on]
            return fingerprint([self._name, kind.version, *within], self._tools.hashes)
        return fingerprint([self._name, kind.version, item.key, *item.depends_on], self._tools.hashes)

    def _known(self, tasks: list[Task]) -> set[str]:
        marks = ",".join("?" * len(tasks))
        query = f"SELECT fingerprint FROM answers WHERE fingerprint IN ({marks})"  # noqa: S608 - only question marks
        values: list[Any] = [task.fingerprint for task in tasks]
        if self._fresh:
            query += " AND run = ?"
            values.append(self._row.number)
        return {row[0] for row in self._ledger.rows(query, values)}

    def _do(self, task: Task) -> None:
        """Process one item and enter how it ended. Nothing is entered for an item that the stopping run cut off."""
        stop = self._tools.stop
        if stop.requested:
            return
        with metering(f"{self._label}/{task.item.key}") as meter:
            try:
                self._ask_once(task, meter) if self._shared else self._ask(task, meter)
            except Interrupted:
                return
            except (RunStopped, MisconfiguredRun) as error:
                stop.request(error)
            except Refused as error:
                self._enter(task, "refused", str(error), meter.usd)
            except (ItemError, UserError, OSError) as error:
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    stop.request(DiskFailed.at(error))
                    return
                self._enter(task, "failed", str(error) or type(error).__name__, meter.usd)
            except Exception as error:
                log.exception("%s: %s: a fault in the step", self._label, task.item.key)
                self._enter(task, "failed", f"{type(error).__name__}: {error}", meter.usd)

    def _ask_once(self, task: Task, meter: ItemMeter) -> None:
        """Ask, unless another process does: then wait for what it was told."""
        claims, name = self._ledger.claims, task.fingerprint
        claims.wait_for(name, self._tools.stop)
        asked = False
        try:
            # It may have been answered since the items were looked up.
            if self._ledger.row("SELECT 1 FROM answers WHERE fingerprint = ?", (name,)):
                self._enter(task, "remembered")
                return
            self._ask(task, meter)
            asked = True
        finally:
            if asked:
                # Others look for the answer in the ledger.
                self._ledger.after_commit(functools.partial(claims.release, name))
            else:
                claims.release(name)

    def _ask(self, task: Task, meter: ItemMeter) -> None:
        result = self._tools.retry(self._step.process, task.item.value)
        self._answer(task, self._results.dump_json(result).decode("utf-8"), meter.usd)

    def _answer(self, task: Task, result: str, usd: float) -> None:
        self._ledger.post(
            UPSERT_ANSWER,
            (task.fingerprint, self._name, self._row.number, self._tools.redact(result), usd, time.time()),
        )
        self._enter(task, "done", None, usd)

    def _enter(self, task: Task, state: str, error: str | None = None, usd: float = 0.0) -> None:
        failed = state in ("failed", "refused")
        if failed and task.item.key not in self._failed_before:
            self._tell_failure(task.item.key, state, error)
        values = (task.fingerprint, state, None if error is None else self._tools.redact(error), usd)
        self._ledger.post(
            UPSERT_ITEM, (self._row.number, self._label, task.item.key, task.position, self._row.session, *values)
        )
        self._tools.reporter.advance(failed=failed, remembered=state == "remembered", usd=usd)

    def _tell_failure(self, key: str, state: str, error: str | None) -> None:
        """The first failures to the person, all of them to the log."""
        self._told += 1
        level = logging.WARNING if self._told <= FAILURES_TOLD else logging.INFO
        log.log(level, "%s: %s %s: %s", self._label, key, state, error)
        if self._told == FAILURES_TOLD:
            log.warning("%s: further failures are in the log", self._label)


class Tools:
    """What all steps of a run share."""

    def __init__(
        self, *, run: str, ledger: Ledger, executor: Executor, stop: Stop, reporter: Reporter, retry: RetrySettings
    ) -> None:
        self.run = run
        self.ledger = ledger
        self.hashes = FileHashes(ledger)
        self.executor = executor
        self.stop = stop
        self.reporter = reporter
        self.redact = Redactor()
        self._attempts = retry.attempts
        self._retrying = {
            "retry": retry_if_exception_type(Transient),
            "stop": stop_after_attempt(max(1, retry.attempts - 1)),
            "wait": wait_random_exponential(multiplier=retry.wait_s, max=retry.wait_max_s),
            "sleep": stop.sleep,
            "reraise": True,
        }

    def retry(self, process: Callable[[Any], R], value: Any) -> R:
        """Process an item. Backends retry their own calls; this is for steps that raise Transient themselves."""
        try:
            return process(value)
        except Transient:
            if self._attempts == 1:
                raise
        return Retrying(**self._retrying)(process, value)  # type: ignore[arg-type]


class StoredResults(Results[R]):
    """The outcomes of a step, read from the ledger as they are walked."""

    def __init__(self, ledger: Ledger, row: RunRow, label: str, results: TypeAdapter[R]) -> None:
        self._ledger = ledger
        self._where = (row.number, label, row.session)
        self._results = results

    def __iter__(self) -> Iterator[Outcome[R]]:
        query = """SELECT i.key, i.state, i.error, i.usd, a.result FROM items i LEFT JOIN answers a USING (fingerprint)
                   WHERE i.run = ? AND i.label = ? AND i.session = ? ORDER BY i.position"""
        for key, state, error, usd, text in self._ledger.rows(query, self._where):
            if state in ("failed", "refused"):
                yield Outcome(key, None, error, refused=state == "refused", usd=usd)
            elif text is None:
                raise UserError(
                    f"{key}: its answer was forgotten while the run worked (`callsheet reset` in another terminal?): run it again"
                )
            else:
                yield Outcome(key, self._results.validate_json(text), None, usd=usd)


def _chunks(items: Iterable[Item[Any]]) -> Iterator[list[Item[Any]]]:
    """Small chunks first, so that the first new item starts soon; large ones later, so that look-ups are few."""
    iterator = iter(items)
    size = 1
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
        size = min(size * 2, LARGEST_CHUNK)
