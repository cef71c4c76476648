"""One run from its resolved recipe to its exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files, registry
from runner.artifacts import Artifacts
from runner.backends import build
from runner.budget import Budget
from runner.engine import StepRun, Tools, open_row
from runner.errors import BudgetReached, CallsheetError, DiskFailed, Interrupted, Outlasted, RunStopped, UserError
from runner.executor import Executor, LocalExecutor
from runner.failpoints import failpoint
from runner.ledger import Ledger
from runner.logs import logging_to
from runner.operations import Operations
from runner.progress import Reporter
from runner.recipe import Recipe, StepSpec, fill_references
from runner.remote import RemoteJobs
from runner.report import render
from runner.report_parts import counted, headline
from runner.run import Run, give_latest_back, now, opened, point_latest
from runner.secrets import redacted
from runner.settings import RunSettings
from runner.settings import ledger_path as ledger_path
from runner.step import StepContext
from runner.stop import Stop

DONE, SOME_FAILED, USER_ERROR, STOPPED, GATED, INTERRUPTED = 0, 1, 2, 3, 4, 130
log = logging.getLogger("callsheet")


@dataclass(frozen=True)
class Order:
    """How a job was asked for.

    Attributes:
        command: What a person types to take it up again.
        overrides: Hydra overrides, for the record.
        folder: The run's folder where it is given (a job of a sweep).
        scope: Whose budget it is (a sweep's name in the ledger); the run's own by default.
        prefix: Put before each line of output.
        leaving: Called before the process ends in the middle of the job.
    """

    command: str
    overrides: Sequence[str] = ()
    folder: Path | None = None
    scope: str | None = None
    prefix: str = ""
    leaving: Callable[[], None] = lambda: None


class Job:
    """A recipe carried out in a run folder."""

    def __init__(self, recipe: Recipe, order: Order, stop: Stop) -> None:
        self._recipe = recipe
        self._order = order
        self._stop = stop
        self._reporter = Reporter(quiet=recipe.settings.quiet, prefix=order.prefix)
        self._has_begun = False
        self._led_to: Mapping[Path, str | None] = {}

    def carry_out(self) -> int:
        """Run the steps that are left.

        Returns:
            The exit code: 0 done, 1 some items failed, 2 the user's mistake, 3 stopped by a provider or the budget,
            4 done, but a step's gate found what it was to look for, 130 interrupted.
        """
        settings = self._recipe.settings
        _check_outputs(Path(settings.outputs))
        with (
            Ledger(ledger_path(settings)) as ledger,
            opened(self._recipe, self._order.command, self._order.overrides, self._order.folder) as run,
            logging_to(run.path / "log.txt", self._reporter),
        ):
            self._greet(run, ledger)
            try:
                self._steps(run, ledger)
            except CallsheetError as error:
                code = self._ended_early(run, ledger, error)
                if isinstance(error, Outlasted):
                    self._leave(ledger, code)
                return code
            except OSError as error:
                return self._ended_early(run, ledger, DiskFailed.at(error))
            except BaseException:
                self._close(run, ledger, state="crashed", exit_code=SOME_FAILED)
                raise
            failed = sum(step.get("failed", 0) for step in run.about["steps"].values())
            gates = [f"{label}: {step['gate']}" for label, step in run.about["steps"].items() if step.get("gate")]
            code = SOME_FAILED if failed else GATED if gates else DONE
            self._close(run, ledger, state="failed" if failed else "done", exit_code=code)
            for gate in gates:
                self._reporter.warn(gate)
            self._reporter.warn(self._farewell(run, failed))
            return code

    def _steps(self, run: Run, ledger: Ledger) -> None:
        settings = self._recipe.settings
        tools = Tools(
            run=run.id,
            ledger=ledger,
            executor=_executor(settings),
            stop=self._stop,
            reporter=self._reporter,
            retry=settings.retry,
        )
        with self._backends(run, self._budget(run, ledger), RemoteJobs(ledger, self._stop, run.id)) as backends:
            self._each_step(run, ledger, tools, backends)

    def _each_step(self, run: Run, ledger: Ledger, tools: Tools, backends: Mapping[str, Any]) -> None:
        folders = {spec.label: run.path / spec.label for spec in self._recipe.steps}
        row = open_row(ledger, run.id)
        for spec in self._recipe.steps:
            if run.step(spec.label)["state"] == "done":
                continue
            if self._stop.reason is not None:
                raise self._stop.reason
            context = self._context(run, spec, tools, folders)
            asked = {kind: backends[kind] for kind in registry.needed_backends(spec.step_class)}
            step = spec.step_class(fill_references(spec.params, folders), context, **asked)
            work = StepRun(spec.label, step, row, name=spec.name, fresh=self._recipe.settings.fresh, tools=tools)
            _carry_out(run, spec, work, self._begun)
            if (said := headline(folders[spec.label])) is not None:
                self._reporter.say(f"{spec.label}: {said}")
            failpoint("run.step_done")

    @contextlib.contextmanager
    def _backends(self, run: Run, budget: Budget, remote: RemoteJobs) -> Iterator[Mapping[str, Any]]:
        """The backends of the run's steps, by kind, while the block runs."""
        settings = self._recipe.settings
        debug = run.path / "debug" if settings.debug else None
        with contextlib.ExitStack() as held:
            held.callback(budget.close)
            built = {}
            for kind, spec in self._recipe.backends.items():
                built[kind] = build(spec, settings, budget, remote, debug)
                if (close := getattr(built[kind], "close", None)) is not None:
                    held.callback(close)
            if settings.execute:
                # Before the first step spends anything; a preview asks only of those that it calls.
                for backend in built.values():
                    getattr(backend, "prepare", lambda: None)()
            try:
                yield built
            except Outlasted:
                # Items still work with them; the end of the process closes them.
                held.pop_all()
                raise

    def _context(self, run: Run, spec: StepSpec, tools: Tools, folders: dict[str, Path]) -> StepContext:
        settings = self._recipe.settings
        files.make_folder(folders[spec.label])
        return StepContext(
            label=spec.label,
            run=run.id,
            out=folders[spec.label],
            data=Path(fill_references(settings.data, folders)),
            seed=settings.seed,
            execute=settings.execute,
            fresh=settings.fresh,
            ledger=tools.ledger,
            hashes=tools.hashes,
            operations=Operations(run.path / "operations.jsonl"),
            stop=self._stop,
            artifacts=Artifacts(Path(settings.outputs), tools.ledger, tools.hashes, self._stop),
            progress=self._reporter.within,
        )

    def _budget(self, run: Run, ledger: Ledger) -> Budget:
        budget = Budget(ledger, self._recipe.settings.budget, scope=self._order.scope or run.id, run=run.id)
        if lost := budget.settle_lost():
            self._reporter.warn(
                f"calls were under way when the run was killed; what was set aside for them counts as spent: ${lost:.4f}"
            )
        return budget

    def _greet(self, run: Run, ledger: Ledger) -> None:
        if run.resumed:
            self._reporter.say(f"going on with {run.path}: {_progress_so_far(run, ledger)}")
        else:
            self._reporter.say(f"run {run.path}")

    def _ended_early(self, run: Run, ledger: Ledger, error: CallsheetError) -> int:
        state, code = "stopped", STOPPED
        if isinstance(error, Interrupted):
            state, code = "interrupted", INTERRUPTED
        elif isinstance(error, UserError):
            state, code = "refused", USER_ERROR
        with contextlib.suppress(RunStopped, OSError):
            self._close(run, ledger, state=state, exit_code=code, error=str(error))
            if isinstance(error, UserError) and not run.resumed and not self._has_begun and self._order.folder is None:
                # A mistyped command leaves nothing behind, and `latest` where it was.
                files.remove_tree(run.path)
            elif isinstance(error, UserError) and not _has_done_anything(run, ledger):
                # What the run before has made is still what people want to go on with.
                give_latest_back(run.path, self._led_to)
        self._reporter.warn(str(error))
        if not isinstance(error, UserError):
            more = " a larger budget, otherwise" if isinstance(error, BudgetReached) else ""
            self._reporter.warn(f"Progress saved. Go on with{more}: {self._order.command}")
            self._say_left(run, ledger)
        return code

    def _say_left(self, run: Run, ledger: Ledger) -> None:
        with contextlib.suppress(RunStopped):
            if left := len(RemoteJobs(ledger, self._stop, run.id).left()):
                self._reporter.warn(
                    f"Left under way: {counted(left, 'remote job')}, to be fetched then; or to be ended by: callsheet cancel {run.path}"
                )

    def _begun(self, run: Run) -> None:
        """A step knows its items: from here on this run is the latest, and worth keeping whatever becomes of it."""
        if not self._has_begun and self._order.folder is None:
            self._led_to = point_latest(run.path)
        self._has_begun = True

    def _leave(self, ledger: Ledger, code: int) -> None:
        """End the process while the run's locks are held: items are still under way in threads that can't be stopped."""
        ledger.close()
        self._order.leaving()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _close(self, run: Run, ledger: Ledger, *, state: str, exit_code: int, error: str | None = None) -> None:
        run.about["sessions"][-1]["ended_at"] = now()
        with contextlib.suppress(CallsheetError):
            # The run's own, also where it shares a sweep's budget.
            usd, calls = Budget(ledger, self._recipe.settings.budget, scope=run.id, run=run.id).spent()
            run.about["cost"] = {"usd": round(usd, 6), "calls": calls}
        finished = now() if state in ("done", "failed") else None
        run.about |= {"state": state, "exit": exit_code, "finished_at": finished, "error": error}
        try:
            # Before run.json says that the run is over: nobody opens it again after that.
            render(run.path, redacted(run.about))
        except Exception:
            # The run's result stands without its picture.
            log.exception("the report could not be drawn")
        run.save()

    def _farewell(self, run: Run, failed: int) -> str:
        cost = run.about["cost"]
        spent = f", ${cost['usd']:.4f}" if cost["usd"] else ""
        ending = f"{failed} items failed (see {run.path / 'log.txt'})" if failed else "done"
        return f"{self._recipe.name}: {ending}{spent}. Report: {run.path / 'report.html'}"


def _has_done_anything(run: Run, ledger: Ledger) -> bool:
    ledger.flush()
    query = (
        "SELECT 1 FROM items JOIN runs ON runs.id = items.run WHERE runs.path = ? AND state IN ('done', 'remembered')"
    )
    return ledger.row(query, (run.id,)) is not None


def _check_outputs(path: Path) -> None:
    try:
        files.make_folder(path)
    except OSError as error:
        raise UserError(f"outputs = {path}: can't be made: {error.strerror}: give outputs=FOLDER") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"outputs = {path}: can't be written: give outputs=FOLDER")


def _carry_out(run: Run, spec: StepSpec, work: StepRun, begun: Callable[[Run], None]) -> None:
    began = time.monotonic()
    about = run.step(spec.label)
    try:
        about |= {"state": "running", "total": work.list_items()}
        run.save()
        begun(run)
        log.info("%s: begins, %s items", spec.label, "unknown" if about["total"] is None else about["total"])
        work.carry_out(about["total"])
        if (gate := work.gate()) is not None:
            about["gate"] = gate
        about["state"] = "done"
    finally:
        work.close()
        about["seconds"] = round(about.get("seconds", 0.0) + time.monotonic() - began, 3)
        with contextlib.suppress(CallsheetError):
            counts = work.counts()
            about.update(
                done=counts.get("done", 0) + counts.get("remembered", 0),
                remembered=counts.get("remembered", 0),
                failed=counts.get("failed", 0) + counts.get("refused", 0),
                usd=round(work.usd(), 6),
            )
        log.info("%s: %s, %s done, %s failed", spec.label, about["state"], about.get("done", 0), about.get("failed", 0))
        run.save()


def _progress_so_far(run: Run, ledger: Ledger) -> str:
    """For each step that is not done: "validate 50 of 288 done, 238 left"."""
    query = """SELECT count(*) FROM items WHERE run = (SELECT id FROM runs WHERE path = ?) AND label = ?"""
    parts = []
    for label, step in run.about["steps"].items():
        if step["state"] == "done":
            continue
        total, done = step.get("total"), ledger.row(query, (run.id, label))[0]
        parts.append(f"{label} not begun" if total is None else f"{label} {done} of {total} done, {total - done} left")
    return "; ".join(parts) or "all steps are done"


def _executor(settings: RunSettings) -> Executor:
    return LocalExecutor(settings.workers, settings.grace_s)
