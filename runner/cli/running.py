"""`callsheet run NAME_OR_PATH [options] [overrides]`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.sweep import show, sweep
from runner.errors import Interrupted, UserError
from runner.job import INTERRUPTED, Job, Order
from runner.recipe import compose, locate, resolve
from runner.stop import Stop, handle_signals

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
WITH_VALUE = ("--cfg", "-c", "--package", "-p")


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
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    request = parse(arguments)
    if request.shown:
        return show(request.path, request.shown, request.overrides)
    if request.multirun:
        return sweep(request.path, request.overrides, request.command)
    recipe = resolve(request.path, compose(request.path, request.overrides))
    stop = Stop()
    restore = handle_signals(lambda _number: _interrupt(stop))
    try:
        code = Job(recipe, Order(request.command, overrides=request.overrides), stop).carry_out()
    finally:
        restore()
    if code == INTERRUPTED:
        leave(code)
    return code


def parse(arguments: Sequence[str]) -> Request:
    """Split the words into recipe, overrides and options.

    Raises:
        UserError: An option that is not ours to give.
    """
    words, overrides, shown, multirun = list(arguments), [], [], False
    names: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-m", "--multirun"):
            multirun = True
        elif word == "--quiet":
            overrides.append("quiet=true")
        elif word in WITH_VALUE:
            shown += [word, words.pop(0) if words else "job"]
        elif word in ("--info", "-i"):
            shown += [word, *([words.pop(0)] if words and "=" not in words[0] and names else [])]
        elif word == "--resolve":
            shown.append(word)
        elif word.startswith("-"):
            raise UserError(f"{word} is not an option of `callsheet run`; see `callsheet run --help`")
        elif not names:
            names.append(word)
        else:
            overrides.append(word)
    if not names:
        raise UserError("which recipe? `callsheet recipes` lists them")
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise UserError(f"{override!r} is no override: write key=value, or ~key to leave something out")
    return Request(locate(names[0]), tuple(overrides), multirun, tuple(shown))


def _interrupt(stop: Stop) -> None:
    print("\nstopping: items under way may finish; once more to leave at once", file=sys.stderr, flush=True)
    stop.request(Interrupted("Interrupted."))


def leave(code: int) -> None:
    """End the process now, even if items are still under way in threads that can't be stopped."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
