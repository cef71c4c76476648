"""`callsheet doctor [RECIPE] [overrides]`: what a recipe needs on this machine, and what of it is missing."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from runner.doctor import Need
from runner.errors import UserError
from runner.job import ledger_path
from runner.ledger import refuse_network_file_system
from runner.recipe import Recipe, compose, locate, resolve
from runner.run import package_versions
from runner.secrets import Redactor

MIN_FREE_BYTES = 1_000_000_000


class Doctor:
    """Checks keys, models, folders and disk of the steps that a recipe uses, and nothing else."""

    name: ClassVar[str] = "doctor"
    help: ClassVar[str] = "what a recipe and its profile need on this machine, and what is missing"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("recipe", nargs="?", default="demo", help="a recipe's name or path (demo)")
        parser.add_argument("overrides", nargs="*", help="overrides as for `callsheet run`, for example profile=cloud")

    def run(self, arguments: argparse.Namespace) -> int:
        """Print one line a need; 2 when something is missing."""
        path = locate(arguments.recipe)
        recipe = resolve(path, compose(path, arguments.overrides))
        needs = list(dict.fromkeys([*_general(recipe), *_of_steps(recipe), *_of_backends(recipe)]))
        redact = Redactor()
        for need in needs:
            advice = f": {need.advice}" if need.advice else ""
            print(redact(f"{'ok     ' if need.met else 'MISSING'}  {need.what}{advice}"))
        missing = [need for need in needs if not need.met]
        print(f"{recipe.name}: {'ready' if not missing else f'{len(missing)} missing'}")
        return 2 if missing else 0


def _general(recipe: Recipe) -> Iterator[Need]:
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    yield Need(f"Python {sys.version.split()[0]}; {versions}", met=True)
    settings = recipe.settings
    yield _writable("outputs", Path(settings.outputs))
    try:
        refuse_network_file_system(ledger_path(settings))
        yield Need(f"ledger {ledger_path(settings)} on a local disk", met=True)
    except UserError as error:
        yield Need(f"ledger {ledger_path(settings)}", met=False, advice=str(error))


def _writable(what: str, path: Path) -> Need:
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Need(f"{what} {path}", met=False, advice=f"{existing} can't be written: give {what}=FOLDER")
    if free < MIN_FREE_BYTES:
        return Need(
            f"{what} {path}",
            met=False,
            advice=f"only {free / 1e9:.1f} GB are free: make room, or give {what}=FOLDER on another disk",
        )
    return Need(f"{what} {path} ({free / 1e9:.0f} GB free)", met=True)


def _of_steps(recipe: Recipe) -> Iterator[Need]:
    data = recipe.settings.data
    for spec in recipe.steps:
        asked = getattr(spec.step_class, "needs", None)
        # What an earlier step of the run makes is not there yet.
        if asked is not None and not data.startswith("step://"):
            yield from (need for need in asked(spec.params, Path(data)) if "step://" not in need.what)


def _of_backends(recipe: Recipe) -> Iterator[Need]:
    for spec in recipe.backends.values():
        asked = getattr(spec.backend_class, "needs", None)
        needs = list(asked(spec.settings)) if asked is not None else []
        if not needs:
            yield Need(f"{spec.kind}={spec.name}: needs no key and no model", met=True)
        for need in needs:
            yield Need(f"{spec.kind}={spec.name}: {need.what}", need.met, need.advice)
