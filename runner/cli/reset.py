"""`callsheet reset RUN`: forget what a run's items answered, so that the next run asks again."""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from runner import files
from runner.errors import UserError
from runner.ledger import Ledger
from runner.run import find_run, id_of, jobs_of, ledger_of, read_about


class Reset:
    """Forgets answers; never the trash, journals of actions, used plans or remote ids."""

    name: ClassVar[str] = "reset"
    help: ClassVar[str] = (
        "forget a run's answers (never its trash, journals or remote jobs), so that its items are asked again"
    )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("run", help="a run's folder, RECIPE/RUN, RECIPE for its latest, or 'latest'")
        parser.add_argument("--outputs", default="outputs", help="where runs are (outputs)")
        parser.add_argument("--ledger", default=None, help="the ledger, where it is not the one that the run used")

    def run(self, arguments: argparse.Namespace) -> int:
        """Forget."""
        path = find_run(Path(arguments.outputs), arguments.run)
        swept = (path / "sweep.json").is_file()
        with contextlib.ExitStack() as held:
            if swept:
                held.enter_context(files.locked(path / "sweep.lock", f"{path} is in progress: stop it first"))
            # All of them before any is touched: half a sweep that is reset is neither.
            runs = [_Held(job, arguments, held) for job in jobs_of(path)]
            for run in runs:
                run.refuse_half_done()
            count = sum(run.forget() for run in runs)
            if swept:
                files.write_json(path / "sweep.json", files.read_json(path / "sweep.json") | {"state": "reset"})
        print(f"{path}: {count} answers forgotten; the same command now asks again")
        return 0


class _Held:
    """A run that is locked, with its ledger open."""

    def __init__(self, path: Path, arguments: argparse.Namespace, held: contextlib.ExitStack) -> None:
        held.enter_context(files.locked(path / "run.lock", f"{path} is in progress: stop it first"))
        self._path = path
        self._about = _about(path)
        self._id = id_of(path, self._about)
        place = Path(arguments.ledger) if arguments.ledger else ledger_of(self._about, Path(arguments.outputs))
        self._ledger = held.enter_context(Ledger(place))

    def refuse_half_done(self) -> None:
        """Raise where an action moved some of its files: who would know of the others once the run counts as over?"""
        query = "SELECT count(*) FROM actions WHERE run = ? AND state IN ('moving', 'undoing')"
        if count := self._ledger.row(query, (self._id,))[0]:
            again = (
                f"give its command again to finish it ({self._about.get('command')}), or callsheet undo {self._path}"
            )
            raise UserError(f"{self._path}: {count} of its actions are half done: {again}")

    def forget(self) -> int:
        """Delete the items' answers; returns how many."""

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT id FROM runs WHERE path = ?", (self._id,)).fetchone()
            mine = "SELECT fingerprint FROM items WHERE run = ?"
            cursor = connection.execute(f"DELETE FROM answers WHERE fingerprint IN ({mine})", row or (None,))  # noqa: S608 - fixed text
            connection.execute("DELETE FROM items WHERE run = ?", row or (None,))
            return cursor.rowcount

        count = self._ledger.commit(work)
        files.write_json(self._path / "run.json", {**self._about, "state": "reset"})
        return count


def _about(path: Path) -> Mapping[str, Any]:
    about = read_about(path)
    if about is None:
        raise UserError(f"{path}: run.json is missing or broken")
    return about
