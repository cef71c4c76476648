"""The journal of actions on a library: what is about to happen, in full and durable, before anything is touched."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runner.errors import ItemError
from runner.ledger import Ledger
from steps.library.made import MadeRecord
from steps.library.plans import PlannedFile, PlannedKey

INTENT = "intent"  # written down, nothing made
STAGED = "staged"  # an image is made and waits to be verified
MADE = "made"  # and is verified
MOVING = "moving"  # files are on their way to the trash
DONE = "done"
FAILED = "failed"  # no image passed; nothing was touched
UNDOING = "undoing"
UNDONE = "undone"
# The library is as it was.
UNTOUCHED = (INTENT, STAGED, MADE, FAILED)


@dataclass(frozen=True)
class Arrival:
    """A file that an action puts into the library and its mirror.

    Attributes:
        path: Below the library.
        slot: Tells the action's arrivals apart; its place in staging follows from it.
        attempts: Images that were made for it and did not pass.
        made: The file, once it waits in staging.
        passed: It was looked at there, and is good.
        upload: Whether it goes to the mirror too, or came from there.
    """

    path: str
    slot: int = 0
    attempts: int = 0
    made: MadeRecord | None = None
    passed: bool = False
    upload: bool = True


@dataclass(frozen=True)
class Upload:
    """A file of the library that stays where it is and is put into the mirror at a key where nothing stands."""

    path: str
    key: str
    sha256: str


@dataclass(frozen=True)
class Rewrite:
    """A small text file of ours that an action changes: from `before` (None where it was not there) to `after`."""

    path: str
    before: str | None
    after: str

    def standing(self, root: Path) -> str | None:
        """What the file holds at this moment, every line end as it is; None where there is none."""
        path = root / self.path
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else None


def rewrite_of(root: Path, path: Path, after: str) -> Rewrite | None:
    """How a text file of the library comes to hold `after`; None where it does already.

    Args:
        root: The library.
        path: The file, below it.
        after: What it is to hold.

    Raises:
        ItemError: It is not UTF-8, so that its text could not be put back.
    """
    try:
        before = path.read_bytes().decode("utf-8") if path.is_file() else None
    except UnicodeDecodeError as error:
        raise ItemError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from error
    return None if after == before else Rewrite(path.relative_to(root).as_posix(), before, after)


@dataclass(frozen=True)
class ActionRecord:
    """An action as the ledger holds it: all that is needed to finish it or to take it back.

    Attributes:
        files: What goes to the trash.
        keys: What goes to the mirror's trash.
        arrivals: What comes.
        uploads: What is there, and comes into the mirror.
        rewrite: The manifest that changes, if one does.
        judged: The image that was judged (path and SHA-256), or None where there was none.
        former: The record of the base image of ours that the new one replaces, if that was one.
    """

    id: str
    plan: str
    run: str
    library: str
    actor_name: str
    action: str
    files: tuple[PlannedFile, ...] = ()
    keys: tuple[PlannedKey, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    uploads: tuple[Upload, ...] = ()
    rewrite: Rewrite | None = None
    judged: tuple[str, str] | None = None
    former: MadeRecord | None = None

    def with_arrival(self, arrival: Arrival) -> ActionRecord:
        """The record with one arrival as it is now."""
        now = tuple(arrival if one.slot == arrival.slot else one for one in self.arrivals)
        return replace(self, arrivals=now)


class Journal:
    """The ledger's table of actions."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def read(self, action_id: str) -> tuple[str, ActionRecord] | None:
        """State and record of an action, or None when it was never begun."""
        row = self._ledger.row("SELECT state, record FROM actions WHERE id = ?", (action_id,))
        return None if row is None else (str(row[0]), _record_from(row[1]))

    def of_run(self, run: str) -> Iterator[tuple[str, ActionRecord]]:
        """State and record of each action of a run, in the order in which they were begun."""
        for state, record in self._ledger.rows(
            "SELECT state, record FROM actions WHERE run = ? ORDER BY at, id", (run,)
        ):
            yield str(state), _record_from(record)

    def begin(self, record: ActionRecord) -> None:
        """Write down what is about to happen, durably."""
        values = (record.id, record.plan, record.run, INTENT, json.dumps(asdict(record)), time.time())
        self._ledger.execute(
            "INSERT INTO actions (id, plan, run, state, record, at) VALUES (?, ?, ?, ?, ?, ?)", values, durable=True
        )

    def note(self, record: ActionRecord, state: str) -> None:
        """Write down how far an action has come, durably."""
        values = (record.run, state, json.dumps(asdict(record)), record.id)
        self._ledger.execute("UPDATE actions SET run = ?, state = ?, record = ? WHERE id = ?", values, durable=True)

    def claim_plan(self, plan_id: str, run: str) -> str | None:
        """Say that a run carries out a plan; returns the run that did so before, if that is another one."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT run FROM plans WHERE id = ?", (plan_id,)).fetchone()
            if row is None:
                connection.execute("INSERT INTO plans (id, run, at) VALUES (?, ?, ?)", (plan_id, run, time.time()))
                return None
            return None if row[0] == run else str(row[0])

        return self._ledger.commit(work, durable=True)

    def runs_of_plan(self, plan_id: str) -> dict[str, str]:
        """Which run touched the library for which action of a plan: action id -> run. Actions that came to nothing are not among them."""
        marks = ",".join("?" * len(UNTOUCHED))
        query = f"SELECT id, run FROM actions WHERE plan = ? AND state NOT IN ({marks})"  # noqa: S608 - question marks
        return dict(self._ledger.rows(query, (plan_id, *UNTOUCHED)))

    def needs_staging(self, action_id: str) -> bool:
        """Whether an action may still want what it left in staging: it is begun and neither over nor taken back."""
        row = self._ledger.row("SELECT state FROM actions WHERE id = ?", (action_id,))
        return row is not None and str(row[0]) not in (DONE, FAILED, UNDONE)

    def last_touched(self, run: str) -> float | None:
        """When the last action of a run that touched the library was begun, seconds since the epoch."""
        marks = ",".join("?" * len(UNTOUCHED))
        query = f"SELECT max(at) FROM actions WHERE run = ? AND state NOT IN ({marks})"  # noqa: S608 - question marks
        found = self._ledger.row(query, (run, *UNTOUCHED))[0]
        return None if found is None else float(found)

    def failures_of(self, library: str, actor_name: str) -> int:
        """How many plans for an actor came to nothing, because no image passed."""
        query = """SELECT count(*) FROM actions WHERE state = ? AND json_extract(record, '$.library') = ?
                   AND json_extract(record, '$.actor_name') = ?"""
        return int(self._ledger.row(query, (FAILED, library, actor_name))[0])


def _record_from(text: str) -> ActionRecord:
    value: dict[str, Any] = json.loads(text)
    if "target" in value:
        # As it was written before an action could bring more than one file.
        only = {"path": value.pop("target"), "attempts": value.pop("attempts"), "made": value.pop("image")}
        value["arrivals"] = [only]
    value["files"] = tuple(PlannedFile(**file) for file in value["files"])
    value["keys"] = tuple(PlannedKey(**key) for key in value["keys"])
    value["arrivals"] = tuple(
        Arrival(**{**arrival, "made": _made_from(arrival["made"])}) for arrival in value["arrivals"]
    )
    value["uploads"] = tuple(Upload(**upload) for upload in value.get("uploads", ()))
    value["rewrite"] = Rewrite(**value["rewrite"]) if value.get("rewrite") else None
    value["judged"] = None if value["judged"] is None else tuple(value["judged"])
    value["former"] = _made_from(value["former"])
    return ActionRecord(**value)


def _made_from(value: Mapping[str, Any] | None) -> MadeRecord | None:
    return None if value is None else MadeRecord(**value)
