"""What a command is."""

from __future__ import annotations

import argparse
import sys
from typing import ClassVar, Protocol

from rich.console import Console
from rich.table import Table

# Wide enough that nothing is cut where the output is a file or a pipe.
PIPE_WIDTH = 400


class Command(Protocol):
    """One word of the command line. Registered under the entry-point group `callsheet.commands`."""

    name: ClassVar[str]
    help: ClassVar[str]

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Carry it out; returns the exit code. Raises UserError for what the person must change."""
        ...


def show_table(table: Table) -> None:
    """Print a table, folded to the terminal where there is one and in whole lines elsewhere; nothing of it is cut off."""
    for column in table.columns:
        column.overflow = "fold"
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
