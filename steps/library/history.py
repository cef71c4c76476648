"""How an actor's training images were distributed over time, as each run found and left them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from runner.ledger import Ledger
from steps.library.plans import library_id

FOUND, LEFT = "found", "left"


class Distribution(NamedTuple):
    """How many images of each class there were at a time."""

    at: datetime
    counts: Mapping[str, int]


class History:
    """The distributions of one library that the ledger keeps."""

    def __init__(self, ledger: Ledger, root: Path) -> None:
        self._ledger = ledger
        self._library = library_id(root)

    def keep(self, actor: str, run: str, moment: str, counts: Mapping[str, int]) -> None:
        """Write down what a run found or left; once for each run and moment, the last word counts."""
        self._ledger.execute(
            "INSERT OR REPLACE INTO distributions (library, actor, run, moment, at, counts) VALUES (?, ?, ?, ?, ?, ?)",
            (self._library, actor, run, moment, time.time(), json.dumps(dict(counts))),
        )

    def of(self, actor: str) -> list[Distribution]:
        """An actor's distributions, oldest first; of several that are the same in a row only the first."""
        found: list[Distribution] = []
        query = "SELECT at, counts FROM distributions WHERE library = ? AND actor = ? ORDER BY at"
        for at, text in self._ledger.rows(query, (self._library, actor)):
            counts = json.loads(text)
            if not found or found[-1].counts != counts:
                found.append(Distribution(datetime.fromtimestamp(at, UTC), counts))
        return found
