"""The budget of a run or sweep: a call's estimated maximum is reserved before it and settled after, in the shared ledger."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from runner.errors import BudgetReached, MisconfiguredRun
from runner.ledger import Ledger
from runner.params import at_least, param


@dataclass(frozen=True)
class BudgetSettings:
    """What a run may spend, over all its resumes and all jobs of its sweep. None is no limit."""

    usd: float | None = param(None, help="US dollars", check=at_least(0))
    calls: int | None = param(None, help="requests to backends, retries included", check=at_least(0))


class Budget:
    """Spending of one scope (a run's or a sweep's name); a run that shares its sweep's is counted for itself too."""

    def __init__(self, ledger: Ledger, settings: BudgetSettings, *, scope: str, run: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._scope = scope
        self._run = run
        self._counted = tuple(dict.fromkeys((scope, run)))

    @property
    def limited(self) -> bool:
        """True when there is a limit to hold."""
        return self._settings.usd is not None or self._settings.calls is not None

    def settle_lost(self) -> tuple[int, float]:
        """Count calls that a killed run had under way at their estimated maximum: they may well have been billed.

        Returns:
            How many, and their dollars.
        """

        def work(connection: sqlite3.Connection) -> tuple[int, float]:
            found = connection.execute(
                "SELECT count(*), total(usd) FROM reservations WHERE run = ?", (self._run,)
            ).fetchone()
            connection.execute("DELETE FROM reservations WHERE run = ?", (self._run,))
            if found[0]:
                self._add(connection, found[1], 0)
            return int(found[0]), float(found[1])

        return self._ledger.commit(work)

    def reserve(self, estimate: float | None, backend: str) -> int:
        """Set aside the most that a call may cost.

        Returns:
            The reservation, for `settle`; 0 when there is no limit to hold.

        Raises:
            BudgetReached: It does not fit.
            MisconfiguredRun: The price is unknown and a dollar budget is set.
        """
        if not self.limited:
            return 0
        if estimate is None and self._settings.usd is not None:
            raise MisconfiguredRun(
                f"{backend}: the price of this model is unknown and budget.usd is set: add it to the price file, or drop the budget"
            )
        usd = estimate or 0.0

        def work(connection: sqlite3.Connection) -> int:
            spent, calls = _spent(connection, self._scope)
            held = connection.execute("SELECT total(usd) FROM reservations WHERE scope = ?", (self._scope,)).fetchone()[
                0
            ]
            self._check(spent, held, calls, usd)
            self._add(connection, 0.0, 1)
            cursor = connection.execute(
                "INSERT INTO reservations (scope, run, usd) VALUES (?, ?, ?)", (self._scope, self._run, usd)
            )
            return int(cursor.lastrowid or 0)

        return self._ledger.commit(work)

    def settle(self, reservation: int, usd: float) -> None:
        """Replace a reservation by what the call cost."""
        if not reservation:
            for name in self._counted:
                self._ledger.post(_ADD, (name, usd, 1))
            return

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM reservations WHERE id = ?", (reservation,))
            self._add(connection, usd, 0)

        self._ledger.commit(work)

    def correct(self, usd: float) -> None:
        """A cost that was counted turned out so much larger (or smaller)."""
        for name in self._counted:
            self._ledger.post(_ADD, (name, usd, 0))

    def spent(self) -> tuple[float, int]:
        """Dollars and calls so far, over all resumes and jobs."""
        row = self._ledger.row("SELECT usd, calls FROM spending WHERE scope = ?", (self._scope,))
        return (float(row[0]), int(row[1])) if row else (0.0, 0)

    def _add(self, connection: sqlite3.Connection, usd: float, calls: int) -> None:
        for name in self._counted:
            connection.execute(_ADD, (name, usd, calls))

    def _check(self, spent: float, held: float, calls: int, usd: float) -> None:
        if self._settings.calls is not None and calls >= self._settings.calls:
            raise BudgetReached(f"Budget reached: {calls} of {self._settings.calls} calls made")
        if self._settings.usd is not None and spent + held + usd > self._settings.usd + 1e-9:
            under_way = f", ${held:.2f} set aside for calls under way" if held else ""
            raise BudgetReached(
                f"Budget reached: ${spent:.2f} of ${self._settings.usd:.2f} spent{under_way}; the next call may cost ${usd:.4f}"
            )


_ADD = """INSERT INTO spending VALUES (?, ?, ?)
          ON CONFLICT (scope) DO UPDATE SET usd = usd + excluded.usd, calls = calls + excluded.calls"""


def _spent(connection: sqlite3.Connection, scope: str) -> tuple[float, int]:
    row = connection.execute("SELECT usd, calls FROM spending WHERE scope = ?", (scope,)).fetchone()
    return (float(row[0]), int(row[1])) if row else (0.0, 0)
