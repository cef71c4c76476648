"""`callsheet reset RUN`: forget what a run's items answered, so that the next run asks again."""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path
from typing import ClassVar

from runner import files
from runner.errors import UserError
from runner.job import ledger_path
from runner.ledger import Ledger
from runner.run import find_run, read_about
from runner.settings import RunSettings


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
        parser.add_argument("--ledger", default=None, help="the ledger, where it is not OUTPUTS/ledger.sqlite")

    def run(self, arguments: argparse.Namespace) -> int:
        """Forget."""
        path = find_run(Path(arguments.outputs), arguments.run)
        jobs = sorted((path / "jobs").glob("*")) if (path / "sweep.json").is_file() else [path]
        with Ledger(ledger_path(RunSettings(outputs=arguments.outputs, ledger=arguments.ledger))) as ledger:
            count = sum(_reset_run(ledger, job) for job in jobs)
        if (path / "sweep.json").is_file():
            files.write_json(path / "sweep.json", files.read_json(path / "sweep.json") | {"state": "reset"})
        print(f"{path}: {count} answers forgotten; the same command now asks again")
        return 0


def _reset_run(ledger: Ledger, path: Path) -> int:
    about = read_about(path)
    if about is None:
        raise UserError(f"{path}: run.json is missing or broken")
    with files.locked(path / "run.lock", f"{path} is in progress: stop it first"):

        def forget(connection: sqlite3.Connection) -> int:
            row = connection.execute("SELECT id FROM runs WHERE path = ?", (str(path.absolute()),)).fetchone()
            mine = "SELECT fingerprint FROM items WHERE run = ?"
            cursor = connection.execute(f"DELETE FROM answers WHERE fingerprint IN ({mine})", row or (None,))  # noqa: S608 - fixed text
            connection.execute("DELETE FROM items WHERE run = ?", row or (None,))
            return cursor.rowcount

        count = ledger.commit(forget)
        files.write_json(path / "run.json", about | {"state": "reset"})
    return count
