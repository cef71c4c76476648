"""What a command is."""

from __future__ import annotations

import argparse
from typing import ClassVar, Protocol


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
