"""Commands that know the library: undo, trash, sample."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, ClassVar

from rich.table import Table

from runner import files
from runner.backends import of_run
from runner.cli.base import show_table
from runner.errors import UserError
from runner.job import ledger_path
from runner.ledger import Ledger
from runner.operations import Operations
from runner.run import find_run, read_about
from runner.settings import RunSettings
from steps.library import layout


class Undo:
    """Puts back what a run changed in the library."""

    name: ClassVar[str] = "undo"
    help: ClassVar[str] = "put back what a run changed in the library; refuses what has changed since"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("run", help="a run's folder, RECIPE/RUN, RECIPE for its latest, or 'latest'")
        parser.add_argument("--outputs", default="outputs", help="where runs are (outputs)")
        parser.add_argument("--ledger", default=None, help="the ledger, where it is not OUTPUTS/ledger.sqlite")

    def run(self, arguments: argparse.Namespace) -> int:
        """Undo every action of the run that can be undone; 1 when some could not."""
        path = find_run(Path(arguments.outputs), arguments.run)
        jobs = sorted((path / "jobs").glob("*")) if (path / "sweep.json").is_file() else [path]
        with Ledger(ledger_path(RunSettings(outputs=arguments.outputs, ledger=arguments.ledger))) as ledger:
            return max((_undo_run(job, ledger) for job in reversed(jobs)), default=0)


class Trash:
    """Lists and empties the trash of a library."""

    name: ClassVar[str] = "trash"
    help: ClassVar[str] = "list what actions moved away, or delete what is old for good"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("what", choices=("list", "empty"))
        parser.add_argument("--data", default="data", help="the library's root (data)")
        parser.add_argument("--older-than", default=None, metavar="AGE", help="with empty: 30d, 12h, 2w")
        parser.add_argument("--yes", action="store_true", help="with empty: delete; without it only say what would go")

    def run(self, arguments: argparse.Namespace) -> int:
        """List or empty."""
        from steps.library import trash

        root = Path(arguments.data)
        if not (root / layout.ACTORS).is_file():
            raise UserError(f"{root} is no library (it has no {layout.ACTORS}): give --data FOLDER")
        if arguments.what == "list":
            _print_trash(list(trash.entries(root)))
            return 0
        if arguments.older_than is None:
            raise UserError(
                "trash empty needs --older-than AGE, for example --older-than 30d: what it deletes is gone for good"
            )
        going = trash.old(root, trash.parse_age(arguments.older_than))
        _print_trash(going)
        if not going or not arguments.yes:
            print("nothing to delete" if not going else "nothing was deleted: add --yes to delete these for good")
            return 0
        with files.locked(root / layout.OWN / "lock", f"a run changes {root} at this moment: wait for it"):
            for entry in going:
                trash.empty(entry)
        print(f"{len(going)} entries deleted for good")
        return 0


class DrawSample:
    """Draws the sample library."""

    name: ClassVar[str] = "sample"
    help: ClassVar[str] = "draw a sample library with known truth: DIR/data and DIR/truth.json"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("dir", help="an empty or new folder")
        parser.add_argument("--seed", type=int, default=0, help="faces, poses and scenes (0)")

    def run(self, arguments: argparse.Namespace) -> int:
        """Draw."""
        from rich.progress import track

        from steps.sample import DATA, TRUTH, draw_library
        from steps.studio.sample_library import cast

        folder = Path(arguments.dir)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty: give a new folder")
        actors = list(
            track(
                draw_library(folder, arguments.seed), "drawing actors", total=len(cast(arguments.seed)), transient=True
            )
        )
        print(f"{len(actors)} actors drawn. Look: {folder / DATA}. The truth about them: {folder / TRUTH}")
        print(f"Try: callsheet run validate_base_images data={folder / DATA}")
        return 0


def _undo_run(path: Path, ledger: Ledger) -> int:
    about = read_about(path)
    if about is None:
        raise UserError(f"{path}: run.json is missing or broken")
    with files.locked(path / "run.lock", f"{path} is in progress: stop it first"):
        return _undo_locked(path, about, ledger)


def _undo_locked(path: Path, about: dict[str, Any], ledger: Ledger) -> int:
    from steps.library.transaction import DONE, INTENT, MADE, MOVING, UNDOING, Journal, Replacement

    files.sweep_temporaries(path)
    journal = Journal(ledger)
    actions = [
        (state, record)
        for state, record in journal.of_run(str(path.absolute()))
        if state in (INTENT, MADE, MOVING, DONE, UNDOING)
    ]
    storage: Any = of_run(path, "storage", ledger) if actions else None
    restored, refused = 0, []
    for state, record in reversed(actions):
        root = Path(record.library)
        with files.locked(root / layout.OWN / "lock", f"another run changes {root} at this moment: wait for it"):
            operations = Operations(path / "operations.jsonl")
            replacement = Replacement(root, journal, operations, storage)
            if fault := replacement.undo_fault(state, record):
                refused.append(f"{record.actor_name}: {fault}: left as it is")
                continue
            restored += replacement.undo(record)
    for line in refused:
        print(line)
    print(f"{path}: {len(actions) - len(refused)} of {len(actions)} actions undone, {restored} files put back")
    if not refused:
        files.write_json(path / "run.json", about | {"state": "undone"})
    return 1 if refused else 0


def _print_trash(entries: list[Any]) -> None:
    table = Table("moved at", "actor", "why", "files", "MB", "run", box=None, pad_edge=False)
    for entry in entries:
        state = entry.action if entry.complete else f"{entry.action} (under way)"
        table.add_row(
            entry.moved_at.isoformat(timespec="seconds"),
            entry.actor_name,
            state,
            str(entry.count),
            f"{entry.size / 1e6:.1f}",
            "/".join(Path(entry.run).parts[-2:]),
        )
    if entries:
        show_table(table)
    else:
        print("the trash is empty")
