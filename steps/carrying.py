"""What all steps share that carry out a plan on a library: one run at a time, each plan once, and actions that go on where they were cut off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runner import files
from runner.errors import DiskFailed, ItemError, UserError
from runner.failpoints import failpoint
from runner.report_parts import counted
from runner.step import StepContext
from steps.library import layout
from steps.library.journal import DONE, FAILED, INTENT, MADE, STAGED, UNDOING, UNDONE, ActionRecord, Journal
from steps.library.mirror import Storage
from steps.library.plans import library_id
from steps.library.transaction import Replacement, sweep_own
from steps.making import NonePassed

# More of the library than this goes only with force=true.
LARGEST_SHARE = 0.5


class Carrier:
    """Carries a plan's actions out, or previews them: without execute=true nothing is changed.

    Attributes:
        warnings: What a person should know, for the report.
    """

    def __init__(self, context: StepContext, storage: Storage) -> None:
        self._context = context
        self.journal = Journal(context.ledger)
        self.replacement = Replacement(context.data, self.journal, context.operations, storage)
        self.warnings: list[str] = []
        self._held = ExitStack()

    def take_library(self) -> None:
        """Take the library for this run alone, where the run acts.

        Raises:
            UserError: Another run has it.
        """
        if self._context.execute:
            own = self._context.data / layout.OWN
            self._held.enter_context(
                files.locked(own / "lock", f"another run changes {self._context.data} at this moment: wait for it")
            )
            sweep_own(self._context.data)
            self.replacement.sweep_staging()

    def let_go(self) -> None:
        """Let go of the library."""
        self._held.close()

    def check_library(self, plan: str, made_for: str, path: str) -> None:
        """A plan is of one library.

        Args:
            plan: The plan's file.
            made_for: The id of the library that it was made for.
            path: Where that was.

        Raises:
            UserError: It was made for another.
        """
        if made_for != library_id(self._context.data):
            raise UserError(
                f"{plan} was made for the library {path}, not {self._context.data.resolve()}: give data={path}, or make a new plan"
            )

    def unused(self, plan: str, plan_id: str, actions: Mapping[str, str]) -> list[str]:
        """The actions that no other run has carried out: each is used once, and an empty plan as a whole.

        Args:
            plan: The plan's file.
            plan_id: Its id.
            actions: The ids of those that are to be carried out, by the names of their actors.

        Returns:
            The names of the actors that are left, in their order.

        Raises:
            UserError: None is left.
        """
        run = self._context.run
        used = self.journal.runs_of_plan(plan_id)
        others = {name: used[action] for name, action in actions.items() if used.get(action, run) != run}
        left = [name for name in actions if name not in others]
        earlier = self.journal.claim_plan(plan_id, run) if self._context.execute else None
        if not left and (others or earlier is not None):
            by = min(others.values()) if others else earlier
            self._refuse(f"{plan} was carried out before, by {by}: make a new plan")
        elif others:
            passed = counted(len(others), "action")
            self.warn(f"{passed} of the plan passed over: carried out before, by {min(others.values())}")
        return left

    def check_share(self, plan: str, going: set[Path], *, force: bool, beside: Collection[Path] = ()) -> None:
        """More than half of a library goes only by force.

        Args:
            plan: The plan's file.
            going: The files that go.
            force: Let it.
            beside: What belongs to the library and is not on the disk (objects of its mirror, as their paths would be).

        Raises:
            UserError: More than half would go.
        """
        # Those that an earlier try has moved already count as there, or what was a small share would grow as it is carried out.
        there = going | set(beside) | {path for path in (self._context.data / "actors").rglob("*") if path.is_file()}
        if len(going) > LARGEST_SHARE * len(there) and not force:
            self._refuse(
                f"{len(going)} of the library's {len(there)} files would go to the trash, more than half: "
                f"look at {plan}, then give force=true if you mean it"
            )

    def carry_out(
        self,
        record: ActionRecord,
        *,
        check: Callable[[ActionRecord], None],
        make: Callable[[ActionRecord], ActionRecord],
    ) -> ActionRecord:
        """Carry one action out, or go on with it where an earlier try was cut off.

        Args:
            record: The action as the plan has it.
            check: Raises ItemError where what the plan saw has changed since.
            make: Makes and verifies what comes; gets the record as far as an earlier try came, returns it with all that is made. Raises
                NonePassed when nothing is to be done then.

        Returns:
            The record as it was carried out.

        Raises:
            ItemError: Nothing was changed.
            HalfDone, DiskFailed: The same command goes on.
        """
        try:
            return self._carried_out(record, check, make)
        except (FileExistsError, FileNotFoundError, ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # Perhaps half done: the run must not count it as failed and be over with it, but take it up again.
            raise DiskFailed.at(error) from error

    def _carried_out(
        self,
        record: ActionRecord,
        check: Callable[[ActionRecord], None],
        make: Callable[[ActionRecord], ActionRecord],
    ) -> ActionRecord:
        state, record = self._begun(record, check)
        if state == DONE:
            return record
        if state in (UNDOING, UNDONE):
            raise ItemError("was taken back by `callsheet undo`: make a new plan")
        if state == FAILED:
            raise ItemError("no image passed in an earlier try: make a new plan")
        if state in (INTENT, STAGED) or (state == MADE and not self._all_wait(record)):
            record, state = self._made(record, make), MADE
        if state == MADE:
            check(record)
        self.replacement.finish(record)
        return record

    def _all_wait(self, record: ActionRecord) -> bool:
        return all(self.replacement.waits(record, arrival) for arrival in record.arrivals)

    def _made(self, record: ActionRecord, make: Callable[[ActionRecord], ActionRecord]) -> ActionRecord:
        try:
            record = make(record)
        except NonePassed as error:
            self.journal.note(error.record, FAILED)
            raise ItemError(
                f"none of {error.attempts} new images passed, the old one stays: {error.reasons}"
            ) from error
        self.journal.note(record, MADE)
        failpoint("execute.made")
        return record

    def _begun(self, record: ActionRecord, check: Callable[[ActionRecord], None]) -> tuple[str, ActionRecord]:
        """How far the action has come, written down before anything else where it is new."""
        known = self.journal.read(record.id)
        if known is not None:
            return self._adopted(*known, record)
        check(record)
        self.journal.begin(record)
        failpoint("execute.intent")
        return INTENT, record

    def _adopted(self, state: str, record: ActionRecord, new: ActionRecord) -> tuple[str, ActionRecord]:
        """What another run began and did not touch the library for, this one goes on with."""
        if record.run == self._context.run or state not in (INTENT, STAGED, MADE, FAILED):
            return state, record
        if state == FAILED:
            # None passed; a new run is a new chance.
            state, record = INTENT, new
        record = replace(record, run=self._context.run)
        self.journal.note(record, state)
        return state, record

    def _refuse(self, message: str) -> None:
        """Stop a run that acts; a preview tells what would stop it."""
        if self._context.execute:
            raise UserError(message)
        self.warn(f"execute=true would be refused: {message}")

    def warn(self, message: str) -> None:
        """Tell a person, now and in the report."""
        self.warnings.append(message)
        self._context.log.warning("%s: %s", self._context.label, message)
