"""The budget of a run or sweep: a call's estimated maximum is reserved before it and settled after, in the shared ledger."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from typing import NamedTuple

from runner.errors import BudgetReached, MisconfiguredRun
from runner.ledger import Ledger
from runner.params import at_least, param

# Calls for which money is set aside at once where at least four times as much is left.
LEASED = 64
EPSILON = 1e-9


@dataclass(frozen=True)
class BudgetSettings:
    """What a run may spend, over all its resumes and all jobs of its sweep. None is no limit."""

    usd: float | None = param(None, help="US dollars", check=at_least(0))
    calls: int | None = param(None, help="requests to backends, retries included", check=at_least(0))


class Reservation(NamedTuple):
    """Money set aside for one call: the ledger's row that holds it (0 when there is no limit) and US dollars."""

    row: int
    usd: float


class Budget:
    """Spending of one scope (a run's or a sweep's name); a run that shares its sweep's is counted for itself too.

    Money for a call is set aside in the ledger before it is made, so that no two processes spend the same. Where much is left it is set
    aside for many calls at once, a lease, and handed out from memory: a transaction for each call would cost more than the call.
    """

    def __init__(self, ledger: Ledger, settings: BudgetSettings, *, scope: str, run: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._scope = scope
        self._run = run
        self._counted = tuple(dict.fromkeys((scope, run)))
        self._lock = threading.Lock()
        self._lease, self._free = 0, 0.0
        self._ample = True

    @property
    def limited(self) -> bool:
        """True when there is a limit to hold."""
        return self._settings.usd is not None or self._settings.calls is not None

    def settle_lost(self) -> float:
        """Count what a killed run had set aside: calls that were under way may well have been billed. Returns US dollars."""

        def work(connection: sqlite3.Connection) -> float:
            query = "SELECT total(usd) FROM reservations WHERE run = ?"
            lost = float(connection.execute(query, (self._run,)).fetchone()[0])
            connection.execute("DELETE FROM reservations WHERE run = ?", (self._run,))
            self._add(connection, lost, 0)
            return lost

        return self._ledger.commit(work)

    def reserve(self, estimate: float | None, backend: str) -> Reservation:
        """Set aside the most that a call may cost.

        Returns:
            The reservation, for `settle`.

        Raises:
            BudgetReached: It does not fit.
            MisconfiguredRun: The price is unknown and a dollar budget is set.
        """
        if estimate is None and self._settings.usd is not None:
            raise MisconfiguredRun(
                f"{backend}: the price of this model is unknown and budget.usd is set: add it to the price file, or drop the budget"
            )
        usd = estimate or 0.0
        if not self.limited:
            return Reservation(0, usd)
        if self._settings.calls is not None:
            return Reservation(self._ledger.commit(lambda connection: self._set_aside(connection, usd, usd, 1)), usd)
        return self._leased(usd)

    def settle(self, reservation: Reservation, usd: float) -> None:
        """Replace a reservation by what the call cost."""
        leased = reservation.row and self._settings.calls is None
        self._post(usd, 0 if reservation.row and not leased else 1)
        if leased:
            # What was spent is no longer set aside; what was not is free for other calls.
            self._ledger.post(_SHRINK, (usd, reservation.row))
            with self._lock:
                self._free += reservation.usd - usd
        elif reservation.row:
            self._ledger.post(_DROP, (reservation.row,))

    def correct(self, usd: float) -> None:
        """A cost that was counted turned out so much larger (or smaller)."""
        self._post(usd, 0)

    def close(self) -> None:
        """Give back what is set aside and not used. No call may be under way."""
        with self._lock:
            if self._lease:
                self._ledger.execute("DELETE FROM reservations WHERE id = ?", (self._lease,))
                self._lease, self._free = 0, 0.0

    def spent(self) -> tuple[float, int]:
        """Dollars and calls so far, over all resumes and jobs."""
        row = self._ledger.row("SELECT usd, calls FROM spending WHERE scope = ?", (self._scope,))
        return (float(row[0]), int(row[1])) if row else (0.0, 0)

    def _leased(self, usd: float) -> Reservation:
        with self._lock:
            if usd > self._free + EPSILON:
                self._free += self._extend(usd, usd - self._free)
            self._free -= usd
            reservation = Reservation(self._lease, usd)
            ahead = self._free < usd * LEASED / 2 and self._ample
            self._ample = self._ample and not ahead
        if ahead:
            # By one thread while the others go on with what is left.
            more = self._extend(usd, 0.0)
            with self._lock:
                self._free += more
                self._ample = more > 0
        return reservation

    def _extend(self, usd: float, need: float) -> float:
        """Enlarge the lease by the money for many calls where that is far from all, otherwise by what is needed; returns by how much."""

        def work(connection: sqlite3.Connection) -> tuple[int, float]:
            left = (self._settings.usd or 0.0) - sum(self._used(connection))
            more = usd * LEASED if left > usd * LEASED * 4 else need
            if not self._lease:
                return self._set_aside(connection, more, need, 0), more
            self._check(connection, need)
            connection.execute("UPDATE reservations SET usd = usd + ? WHERE id = ?", (more, self._lease))
            return self._lease, more

        self._lease, more = self._ledger.commit(work)
        return more

    def _set_aside(self, connection: sqlite3.Connection, usd: float, need: float, calls: int) -> int:
        self._check(connection, need)
        self._add(connection, 0.0, calls)
        row = (self._scope, self._run, usd)
        cursor = connection.execute("INSERT INTO reservations (scope, run, usd) VALUES (?, ?, ?)", row)
        return int(cursor.lastrowid or 0)

    def _used(self, connection: sqlite3.Connection) -> tuple[float, float]:
        """Dollars spent and set aside, by all processes."""
        held = connection.execute("SELECT total(usd) FROM reservations WHERE scope = ?", (self._scope,)).fetchone()[0]
        return _spent(connection, self._scope)[0], float(held)

    def _post(self, usd: float, calls: int) -> None:
        for name in self._counted:
            self._ledger.post(_ADD, (name, usd, calls))

    def _add(self, connection: sqlite3.Connection, usd: float, calls: int) -> None:
        if usd or calls:
            connection.executemany(_ADD, [(name, usd, calls) for name in self._counted])

    def _check(self, connection: sqlite3.Connection, usd: float) -> None:
        calls = _spent(connection, self._scope)[1]
        if self._settings.calls is not None and calls >= self._settings.calls:
            raise BudgetReached(f"Budget reached: {calls} of {self._settings.calls} calls made")
        spent, held = self._used(connection)
        if self._settings.usd is not None and spent + held + usd > self._settings.usd + EPSILON:
            under_way = f", ${held:.2f} set aside for calls under way" if held else ""
            raise BudgetReached(
                f"Budget reached: ${spent:.2f} of ${self._settings.usd:.2f} spent{under_way}; the next call may cost ${usd:.4f}"
            )


_ADD = """INSERT INTO spending VALUES (?, ?, ?)
          ON CONFLICT (scope) DO UPDATE SET usd = usd + excluded.usd, calls = calls + excluded.calls"""
_SHRINK = "UPDATE reservations SET usd = max(0, usd - ?) WHERE id = ?"
_DROP = "DELETE FROM reservations WHERE id = ?"


def _spent(connection: sqlite3.Connection, scope: str) -> tuple[float, int]:
    row = connection.execute("SELECT usd, calls FROM spending WHERE scope = ?", (scope,)).fetchone()
    return (float(row[0]), int(row[1])) if row else (0.0, 0)
