"""Somebody who validates, plans, executes and undoes over one small library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.ledger import Ledger
from steps.execute import Execute, ExecuteParams
from steps.library.journal import Journal
from steps.library.mirror import Storage
from steps.library.transaction import Replacement
from steps.plan import Plan, PlanParams
from steps.validate import Validate, ValidateParams
from tests.library import (
    BLURRY,
    OTHER,
    ScriptedImages,
    ScriptedVision,
    context,
    no_mirror,
    tree,
)
from tests.support import Engine


class Owner:
    """Somebody who validates, plans and executes over one library."""

    def __init__(self, ledger: Ledger, library: Path) -> None:
        self.ledger = ledger
        self.library = library
        self.folder = library.parent
        self.images = ScriptedImages()
        self.vision = ScriptedVision({"0001_bek": [BLURRY], "0002_cui": [OTHER]})
        self.engine = Engine(self.folder, workers=1)
        self.mirror: Storage = no_mirror(ledger)

    def plan(self, run: str = "planning", **params: Any) -> Path:
        self.ledger.flush()
        looked = context(self.ledger, self.folder, self.library, label="validate", run=run)
        self.engine.run(Validate(ValidateParams(), looked, self.vision), run)
        planned = context(self.ledger, self.folder, self.library, label="plan", run=run)
        parameters = PlanParams(assessments=str(looked.out / "results.json"), width=64, height=96, **params)
        self.engine.run(Plan(parameters, planned, self.vision, self.images, self.mirror), run)
        return planned.out / "action_plan.json"

    def execute(self, plan: Path, run: str = "executing", *, act: bool = True, **params: Any) -> dict[str, Any]:
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="execute", run=run, execute=act)
        step = Execute(ExecuteParams(plan=str(plan), **params), there, self.vision, self.images, self.mirror)
        try:
            self.engine.run(step, run)
        finally:
            step.close()
        document = json.loads((there.out / "executed.json").read_text())
        return {row["actor_name"]: row for row in document["results"]}

    def undo(self, run: str = "executing") -> list[str]:
        journal = Journal(self.ledger)
        replacement = Replacement(
            self.library,
            journal,
            context(self.ledger, self.folder, self.library, run=run).operations,
            self.mirror,
        )
        faults = []
        for state, record in journal.of_run(run):
            fault = replacement.undo_fault(state, record)
            if fault is None:
                replacement.undo(record)
            else:
                faults.append(fault)
        return faults

    def states(self) -> dict[str, str]:
        return {
            json.loads(record)["actor_name"]: state
            for state, record in self.ledger.rows("SELECT state, record FROM actions")
        }


def library_tree(owner: Owner) -> dict[str, str]:
    return {path: digest for path, digest in tree(owner.library).items() if not path.startswith(".callsheet/")}
