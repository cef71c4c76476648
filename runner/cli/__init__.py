"""The command line: `callsheet COMMAND`. Each command is a class, ours here and others' by entry point."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from runner import registry
from runner.cli.base import Command
from runner.cli.cancel import Cancel
from runner.cli.doctor import Doctor
from runner.cli.listing import Recipes, Status
from runner.cli.reset import Reset
from runner.cli.running import RUN_HELP, run
from runner.errors import CallsheetError, DiskFailed, UserError
from runner.secrets import Redactor


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code. The user's mistakes are printed without a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(Redactor()(str(error)), file=sys.stderr)
        return 2
    except CallsheetError as error:
        print(Redactor()(str(error)), file=sys.stderr)
        return 3
    except BrokenPipeError:
        # The reader of our output went away (`callsheet status | head`).
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - held until exit
        return 0
    except OSError as error:
        print(DiskFailed.at(error), file=sys.stderr)
        return 3


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["run"]:
        # What follows is Hydra's language, which argparse would misread.
        return run(arguments[1:])
    commands = _commands()
    parser = _parser(commands)
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 2
    return commands[parsed.command].run(parsed)


def _commands() -> dict[str, Command]:
    ours: list[Command] = [Recipes(), Status(), Reset(), Cancel(), Doctor()]
    others = [registry.load(registry.COMMANDS, name)() for name in registry.names(registry.COMMANDS)]
    return {command.name: command for command in [*ours, *others]}


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="callsheet", description="Declarative, resumable batches over casts of image-model characters."
    )
    parser.add_argument("--version", action="version", version=version("callsheet"))
    choices = parser.add_subparsers(dest="command", metavar="COMMAND")
    choices.add_parser("run", help=RUN_HELP)
    for name, command in commands.items():
        command.configure(choices.add_parser(name, help=command.help, description=command.help))
    return parser
