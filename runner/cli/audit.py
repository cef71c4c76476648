"""`callsheet audit [overrides] [--fix]`: the audit recipe, with every difference printed and an exit code that says whether one is left."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from runner.cli.running import run
from runner.errors import UserError
from runner.files import read_json
from runner.job import DONE, GATED, SOME_FAILED
from runner.recipe import compose, locate, resolve
from runner.run import find_run
from runner.secrets import Redactor

RECIPE = "audit"
FOUND = "audit/results.json"
MENDED = "mend/mended.json"


class AuditLibrary:
    """Compares a library's manifests, disk and mirror, and mends what is safe to mend."""

    name: ClassVar[str] = "audit"
    help: ClassVar[str] = (
        "compare manifests, disk and bucket of the whole library; exit 1 while they differ; --fix mends what is safe"
    )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument(
            "overrides", nargs="*", help="overrides as for `callsheet run audit`, for example data=cast/data"
        )
        parser.add_argument("--fix", action="store_true", help="mend what is safe, through the trash; `callsheet undo audit` takes it back")  # fmt: skip

    def run(self, arguments: argparse.Namespace) -> int:
        """Carry the recipe out and print what differs; 1 where a difference is left."""
        overrides = [*arguments.overrides, *(["execute=true"] if arguments.fix else [])]
        code = run([RECIPE, *overrides])
        if code not in (DONE, SOME_FAILED, GATED):
            return code
        path = locate(RECIPE)
        outputs = Path(resolve(path, compose(path, overrides)).settings.outputs)
        redact = Redactor()
        for line in _lines(find_run(outputs, RECIPE)):
            print(redact(line))
        sys.stdout.flush()
        return DONE if code == DONE else SOME_FAILED


def _lines(path: Path) -> Iterator[str]:
    """A line for each difference, and what became of it."""
    try:
        found, mended = read_json(path / FOUND), _mended(path / MENDED)
    except UserError as error:
        yield str(error)
        return
    for row in found["results"]:
        if not row["success"]:
            yield f"{row['actor_name']}: could not be compared: {row['error']}"
        for difference in row["differences"]:
            became = (row["actor_name"], difference["kind"], difference["target"]) in mended
            yield f"{row['actor_name']}: {difference['target']}: {difference['says']}{': mended' if became else ''}"
    yield from (f"note: {note}" for note in found["notes"])


def _mended(path: Path) -> set[tuple[str, str, str]]:
    """Differences that are no more: actor, kind and target."""
    if not path.is_file():
        return set()
    rows: list[dict[str, Any]] = [row for row in read_json(path)["results"] if row["done"]]
    return {
        (row["actor_name"], kind, target) for row in rows for kind, found in row["mended"].items() for target in found
    }
