"""`callsheet run NAME_OR_PATH [options] [overrides]`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from runner.cli.sweep import show, sweep
from runner.errors import UserError
from runner.job import Job, Order
from runner.recipe import compose, locate, resolve
from runner.stop import Stop, handle_signals, interrupt

RUN_HELP = "run a recipe: callsheet run NAME_OR_PATH [overrides]"
USAGE = """usage: callsheet run NAME_OR_PATH [options] [key=value ...]

Carries out a recipe: one of ./recipes, one that came with Callsheet, or any file. The same command goes on where it was cut off.

  key=value           override a value, for example steps.validate.sample=10 (Hydra's override grammar)
  ~steps.LABEL        leave a step out
  execute=true        let steps replace, rewrite and delete in the library; without it they preview
  fresh=true          ignore the answers of earlier runs
  -m, --multirun      sweep: key=a,b runs once for each combination; hydra/launcher=joblib runs them beside each other
  --cfg job           print the composed recipe and stop
  --info [all]        print how it was composed and stop
  --quiet             only warnings and the last line

`callsheet recipes` lists recipes and their parameters. Exit codes: 0 done, 1 some items failed, 2 a mistake to mend, 3 stopped by a
provider or the budget, 130 interrupted."""


@dataclass(frozen=True)
class Request:
    """A parsed command line."""

    path: Path
    overrides: tuple[str, ...]
    multirun: bool
    shown: tuple[str, ...]

    @property
    def command(self) -> str:
        """What a person types to give the same command again."""
        return shlex.join(["callsheet", "run", self.name, *(["-m"] if self.multirun else []), *self.overrides])

    @property
    def name(self) -> str:
        """The recipe as it is found again from here."""
        try:
            by_name = locate(self.path.stem) == self.path
        except UserError:
            by_name = False
        return self.path.stem if by_name else os.path.relpath(self.path)


def run(arguments: Sequence[str]) -> int:
    """Carry out the command; returns the exit code."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0 if arguments else 2
    request = parse(arguments)
    if request.shown:
        return show(request.path, request.shown, request.overrides)
    if request.multirun:
        return sweep(request.path, request.overrides, request.command)
    recipe = resolve(request.path, compose(request.path, request.overrides))
    stop = Stop()
    restore = handle_signals(lambda _number: interrupt(stop))
    try:
        return Job(recipe, Order(request.command, overrides=request.overrides), stop).carry_out()
    finally:
        restore()


def parse(arguments: Sequence[str]) -> Request:
    """Split the words into recipe, overrides and options.

    Raises:
        UserError: An option that is not ours to give, or a word that is no override.
    """
    parser = _Parser(prog="callsheet run", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    found = parser.parse_intermixed_args(list(arguments))
    name, *overrides = found.words or [""]
    if not name:
        raise UserError("which recipe? `callsheet recipes` lists them")
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise UserError(f"{override!r} is no override: write key=value, or ~key to leave something out")
    if found.quiet:
        overrides.append("quiet=true")
    shown = [
        word
        for option in ("cfg", "package", "info")
        if (value := getattr(found, option))
        for word in (f"--{option}", value)
    ]
    if found.resolve:
        shown.append("--resolve")
    return Request(locate(name), tuple(overrides), found.multirun, tuple(shown))


# Words that hands trained on the old scripts type.
OLD_OPTIONS = {
    "--dry-run": "nothing changes without execute=true",
    "--preview": "without execute=true it is a preview",
    "--execute": "write execute=true",
    "--resume": "the same command goes on by itself",
    "--no-resume": "write fresh=true",
    "--reset-checkpoint": "`callsheet reset RECIPE`, or fresh=true for one run",
    "--actors": "write 'actors=[0,1,5]'",
    "--actions": "write 'actions=[create_base_image,recreate_mismatch]'",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        hints = [f"{word}: {hint}" for word, hint in OLD_OPTIONS.items() if re.search(rf"(?<!\S){word}\b", message)]
        raise UserError("; ".join([message, *hints, "see `callsheet run --help`"]))
