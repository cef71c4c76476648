"""Takes back what a step's run did to a library, as `callsheet undo` does it."""

from __future__ import annotations

from pathlib import Path

from runner.ledger import Ledger
from runner.operations import Operations
from steps.library.journal import FAILED, UNDONE, Journal
from steps.library.mirror import Storage
from steps.library.transaction import Replacement
from steps.library.undoing import UndoReport


def undo(ledger: Ledger, folder: Path, run: str, mirror: Storage) -> UndoReport:
    """Every action of the run, newest first."""
    ledger.flush()
    journal, report = Journal(ledger), UndoReport()
    for state, record in reversed(list(journal.of_run(run))):
        if state in (FAILED, UNDONE):
            continue
        report.actions += 1
        replacement = Replacement(Path(record.library), journal, Operations(folder / run / "operations.jsonl"), mirror)
        if (fault := replacement.undo_fault(state, record)) is not None:
            report.refused += (f"{record.actor_name}: {fault}: left as it is",)
            continue
        done = replacement.undo(record)
        report.undone += 1
        report.restored += done.restored
        report.objects += done.objects
        report.missing += done.missing
    return report
