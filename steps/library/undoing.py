"""Taking back what a run changed in the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import files
from runner.backends import of_run
from runner.errors import ItemError
from runner.ledger import Ledger
from runner.operations import Operations
from steps.library import layout
from steps.library.journal import FAILED, UNDONE, UNTOUCHED, ActionRecord, Journal
from steps.library.transaction import Replacement, sweep_own


@dataclass
class UndoReport:
    """What became of a run's actions."""

    actions: int = 0
    undone: int = 0
    restored: int = 0
    objects: int = 0
    refused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def acted(run: str, ledger: Ledger) -> bool:
    """Whether a run changed something that has not been taken back."""
    return any(state not in (*UNTOUCHED, UNDONE) for state, _ in Journal(ledger).of_run(run))


def last_acted(run: str, ledger: Ledger) -> float | None:
    """When a run began its last action that changed something, taken back since or not; None where there was none."""
    return Journal(ledger).last_touched(run)


def undo(path: Path, run: str, ledger: Ledger, begin: Callable[[], None]) -> UndoReport:
    """Take back every action of a run that can be; newest first.

    Args:
        path: The run's folder.
        run: Its id in the ledger.
        ledger: Where its actions are journalled.
        begin: Called before the first is taken back: from then on the run must not go on.
    """
    journal, report = Journal(ledger), UndoReport()
    actions = [(state, record) for state, record in journal.of_run(run) if state not in (FAILED, UNDONE)]
    storage: Any = of_run(path, "storage", ledger) if actions else None
    for state, record in reversed(actions):
        report.actions += 1
        replacement = Replacement(Path(record.library), journal, Operations(path / "operations.jsonl"), storage)
        _undo_one(replacement, state, record, report, begin)
    return report


def _undo_one(
    replacement: Replacement, state: str, record: ActionRecord, report: UndoReport, begin: Callable[[], None]
) -> None:
    root = Path(record.library)
    with files.locked(root / layout.OWN / "lock", f"another run changes {root} at this moment: wait for it"):
        sweep_own(root)
        if fault := _fault(replacement, state, record):
            report.refused += (f"{record.actor_name}: {fault}: left as it is",)
            return
        if not report.undone:
            begin()
        try:
            done = replacement.undo(record)
        except ItemError as error:
            report.refused += (f"{record.actor_name}: half undone: {error}: the same command goes on",)
            return
    report.undone += 1
    report.restored += done.restored
    report.objects += done.objects
    report.missing += done.missing


def _fault(replacement: Replacement, state: str, record: ActionRecord) -> str | None:
    try:
        return replacement.undo_fault(state, record)
    except ItemError as error:
        return str(error)
