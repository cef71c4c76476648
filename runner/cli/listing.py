"""`callsheet recipes` and `callsheet status`: what there is to run, and how runs stand."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import OmegaConf
from rich.table import Table

from runner import registry
from runner.cli.base import show_table
from runner.cli.sweep import sweep_jobs
from runner.errors import UserError
from runner.files import is_locked, read_json
from runner.ledger import Ledger
from runner.params import described
from runner.recipe import all_recipes, compose, locate, resolve
from runner.run import FINISHED, all_runs, id_of, jobs_of, ledger_of, read_about
from runner.settings import RunSettings
from runner.strangers import check_tree

LONGEST_DEFAULT = 70
REQUIRED = "(required)"


class Recipes:
    """Lists recipes, or shows one with the parameters of its steps."""

    name: ClassVar[str] = "recipes"
    help: ClassVar[str] = "list recipes; with a name, show its header and parameters"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("recipe", nargs="?", help="a recipe's name or path")

    def run(self, arguments: argparse.Namespace) -> int:
        """Print."""
        if arguments.recipe is None:
            for path in all_recipes():
                _list(path)
            print("\n`callsheet recipes NAME` shows a recipe's steps and all their parameters.")
            return 0
        path = locate(arguments.recipe)
        config = compose(path, [])
        print("\n".join([*header(path), ""]))
        for key in [key for key in config if OmegaConf.is_missing(config, key)]:
            # Whoever reads what there is to give has not given it yet.
            config[key] = REQUIRED
        recipe = resolve(path, config)
        for key in own_parameters(path):
            print(f"{key}: {json.dumps(recipe.resolved.get(key), ensure_ascii=False)}")
        for spec in recipe.steps:
            title = f"steps.{spec.label} ({spec.name}): {(spec.step_class.__doc__ or '').splitlines()[0]}"
            _print_parameters(title, registry.parameter_type(spec.step_class, "params"))
        for kind, backend in recipe.backends.items():
            title = f"{kind} ({backend.name}): {(backend.backend_class.__doc__ or '').splitlines()[0]}"
            _print_parameters(title, registry.parameter_type(backend.backend_class, "settings"))
        _print_parameters("Every recipe has:", RunSettings)
        return 0


def _print_parameters(title: str, parameters: type) -> None:
    """A dataclass's fields as YAML with their help; long texts by their beginning."""
    print(f"\n{title}")
    for name, default, text in described(parameters):
        print(f"  {name}: {textwrap.shorten(default, LONGEST_DEFAULT)}  # {text}")


class Status:
    """Lists runs and sweeps below outputs."""

    name: ClassVar[str] = "status"
    help: ClassVar[str] = "runs and sweeps: state, items done, failed, left, cost, overrides"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("--outputs", default="outputs", help="where runs are (outputs)")

    def run(self, arguments: argparse.Namespace) -> int:
        """Print a table."""
        outputs = Path(arguments.outputs)
        runs = list(all_runs(outputs))
        if not runs:
            print(f"no runs below {outputs}: start one with `callsheet run RECIPE` (`callsheet recipes` lists them)")
            return 0
        table = Table("run", "state", "done", "failed", "left", "cost", "overrides", box=None, pad_edge=False)
        ledgers = _Ledgers(outputs)
        for path in runs:
            for row in _rows(path, outputs, ledgers):
                table.add_row(*row)
        show_table(table)
        return 0


def _list(path: Path) -> None:
    try:
        check_tree(path)
    except UserError as error:
        print(f"{path.stem:<24} can't be used: {error}")
        return
    print(f"{path.stem:<24} {(header(path) or [''])[0]}")
    print(f"{'':<24} parameters: {', '.join(own_parameters(path)) or 'those of its steps'}")


def header(path: Path) -> list[str]:
    """The lines of a recipe's header comment."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return lines


def own_parameters(path: Path) -> list[str]:
    """The parameters that a recipe names at its top, such as `actors` or `plan`."""
    from omegaconf import OmegaConf

    known = {"defaults", "steps", "hydra"}
    config = OmegaConf.load(path)
    return [str(key) for key in config if str(key) not in known]


Counts = dict[str, dict[str, int]]


class _Ledgers:
    """Items by state of every run in the ledgers that runs name, for runs whose run.json is not written at each item."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._counts: dict[Path, Counts] = {}

    def of(self, path: Path, about: dict[str, Any]) -> dict[str, int]:
        """One run's items, by LABEL/STATE."""
        ledger = ledger_of(about, self._outputs).absolute()
        if ledger not in self._counts:
            self._counts[ledger] = _counts_in(ledger) if ledger.is_file() else {}
        return self._counts[ledger].get(id_of(path, about), {})


def _counts_in(path: Path) -> Counts:
    query = """SELECT r.path, i.label || '/' || i.state, count(*) FROM items i JOIN runs r ON r.id = i.run
               GROUP BY r.path, i.label, i.state"""
    counts: Counts = {}
    with Ledger(path) as ledger:
        for run, state, count in ledger.rows(query):
            counts.setdefault(run, {})[state] = count
    return counts


def _rows(path: Path, outputs: Path, ledgers: _Ledgers) -> Iterator[tuple[str, ...]]:
    name = str(path.relative_to(outputs))
    if not (path / "sweep.json").is_file():
        yield _run_row(path, name, ledgers)
        return
    try:
        about = read_json(path / "sweep.json")
    except UserError as error:
        yield (name, "broken", "", "", "", "", str(error))
        return
    yield _sweep_row(path, name, about)
    for job in jobs_of(path):
        yield _run_row(job, f"  job {job.name}", ledgers)


def _sweep_row(path: Path, name: str, about: dict[str, Any]) -> tuple[str, ...]:
    jobs = sweep_jobs(path, about)
    finished = sum(job["state"] in FINISHED for job in jobs)
    failed = sum(job["state"] in ("failed", "refused", "crashed") for job in jobs)
    return (
        name,
        _state(about, path / "sweep.lock"),
        f"{finished} jobs",
        f"{failed} jobs",
        f"{about.get('expected', len(jobs)) - finished} jobs",
        f"${_usd(path, about):.4f}",
        " ".join(about.get("overrides", [])),
    )


def _usd(path: Path, about: dict[str, Any]) -> float:
    """What a sweep cost; while it runs, what its jobs have written down."""
    known = float((about.get("cost") or {}).get("usd", 0.0))
    jobs = sum(float(((read_about(job) or {}).get("cost") or {}).get("usd", 0.0)) for job in jobs_of(path))
    return max(known, jobs)


def _run_row(path: Path, name: str, ledgers: _Ledgers) -> tuple[str, ...]:
    about = read_about(path)
    if about is None:
        return (name, "broken", "", "", "", "", "run.json is missing or not JSON")
    counts = ledgers.of(path, about)
    done = sum(count for state, count in counts.items() if state.endswith(("/done", "/remembered")))
    failed = sum(count for state, count in counts.items() if state.endswith(("/failed", "/refused")))
    return (
        name,
        _state(about, path / "run.lock"),
        str(done),
        str(failed),
        _left(about, counts),
        f"${about['cost']['usd']:.4f}",
        " ".join(about.get("overrides", [])),
    )


def _state(about: dict[str, Any], lock: Path) -> str:
    """What it says of itself, unless it can't have said that it ended."""
    state = str(about.get("state"))
    return "killed" if state == "running" and not is_locked(lock) else state


def _left(about: dict[str, Any], counts: dict[str, int]) -> str:
    """Items left where a step has counted them, else the steps that are left."""
    if about["state"] in FINISHED:
        return "0"
    parts = []
    for label, step in about["steps"].items():
        if step["state"] == "done":
            continue
        ended = sum(count for state, count in counts.items() if state.startswith(f"{label}/"))
        total = step.get("total")
        parts.append(f"{label}: {total - ended}" if total is not None else label)
    return ", ".join(parts)
