"""The command `study`: build a study for people, add what they send back, show how far they are."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.table import Table

from runner.cli.base import show_table
from runner.job import DONE, SOME_FAILED
from runner.report_parts import counted
from steps.library.storyboards import read_storyboards
from steps.study import adding
from steps.study.answers import RaterRow, read_answers
from steps.study.building import Built, build
from steps.study.cells import select
from steps.study.design import CHOICES, StudyOptions
from steps.study.page import PAGE
from steps.study.studies import folder_of, studies_in, the_study


class AskPeople:
    """Asks people what they think of storyboards."""

    name: ClassVar[str] = "study"
    help: ClassVar[str] = "ask people: build a page to hand out, add the answers they send back, show who has answered"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        words = parser.add_subparsers(dest="what", required=True, metavar="build|add|show")
        _configure_build(words.add_parser("build", help="write a study of the storyboards of some runs"))
        taking = words.add_parser("add", help="take in files that raters sent back")
        taking.add_argument("files", nargs="+", type=Path, help="answers-NAME.json, as the page saves it")
        taking.add_argument(
            "--replace", action="store_true", help="the same person began anew: their new answers count"
        )
        showing = words.add_parser("show", help="who has answered how much")
        for each in (taking, showing):
            each.add_argument("--name", default=None, help="which study, where there are several")
        for each in words.choices.values():
            each.add_argument(
                "--outputs", type=Path, default=Path("outputs"), help="where runs and studies are (outputs)"
            )

    def run(self, arguments: argparse.Namespace) -> int:
        """Build, add or show; 1 where a file was refused."""
        return {"build": _build, "add": _add, "show": _show}[arguments.what](arguments)


def _configure_build(parser: argparse.ArgumentParser) -> None:
    usual = StudyOptions()
    parser.add_argument("runs", nargs="+", help="folders of runs or sweeps that drew storyboards")
    parser.add_argument("--name", default="study", help="the study's name (study): it lies in outputs/studies/NAME")
    parser.add_argument(
        "-o", "--out", type=Path, default=None, metavar="FOLDER", help="what is handed out (outputs/studies/NAME/study)"
    )
    parser.add_argument(
        "--references",
        nargs="+",
        default=(),
        metavar="[NAME=]DIR",
        help="images that show who a character is, held out from training; DIR may hold a folder for each by name",
    )
    parser.add_argument("--arms", nargs="+", default=(), help="only these: baseline simple ...")
    parser.add_argument("--stories", nargs="+", default=(), help="only these, by name")
    parser.add_argument(
        "--per-rater",
        type=int,
        default=usual.per_rater,
        metavar="N",
        help="storyboards and pairs that one person sees (all)",
    )
    parser.add_argument(
        "--repeats",
        type=float,
        default=usual.repeats,
        metavar="SHARE",
        help="pairs that come again, sides swapped (0.1)",
    )
    parser.add_argument(
        "--checks", type=int, default=usual.checks, metavar="N", help="pages that say what to choose (2)"
    )
    parser.add_argument(
        "--choice", choices=CHOICES, default=usual.choice, help="what pairs are asked about (consistent)"
    )
    parser.add_argument(
        "--seed", type=int, default=usual.seed, help="orders and sides, together with the study's secret (0)"
    )
    parser.add_argument("--title", default=usual.title, help=f"what raters see above ({usual.title})")
    parser.add_argument(
        "--contact", default=usual.contact, metavar="TEXT", help="where to send the file, and whom to ask"
    )
    parser.add_argument(
        "--long-side", type=int, default=usual.long_side, metavar="PIXELS", help="of a frame, at most (1024)"
    )


def _build(arguments: argparse.Namespace) -> int:
    options = StudyOptions(
        per_rater=arguments.per_rater,
        repeats=arguments.repeats,
        checks=arguments.checks,
        choice=arguments.choice,
        seed=arguments.seed,
        title=arguments.title,
        contact=arguments.contact,
        long_side=arguments.long_side,
    )
    folder = folder_of(arguments.outputs, arguments.name)
    selection = select(read_storyboards(arguments.runs), arguments.arms, arguments.stories)
    _tell_built(build(folder, selection, dict(map(_reference, arguments.references)), options, arguments.out))
    return DONE


def _reference(told: str) -> tuple[str, Path]:
    """A character's name, empty where none is told, and the folder."""
    name, given, folder = told.partition("=")
    return (name, Path(folder)) if given and not Path(told).is_dir() else ("", Path(told))


def _tell_built(built: Built) -> None:
    page = built.study.page
    sees = page["sees"]
    for note in built.notes:
        print(f"note: {note}")
    arms = ", ".join(built.study.key["answers"]["arms"])
    print(
        f"study '{built.study.name}' ({built.study.id}): {counted(len(page['rate']), 'storyboard')}, {counted(len(page['pairs']), 'pair')} of {arms}"
    )
    print(
        f"each person rates {counted(sees['rate'], 'storyboard')}, compares {counted(sees['pairs'], 'pair')}, {sees['repeats']} of them "
        f"twice, and meets {counted(len(page['checks']), 'attention check')}: about {counted(page['minutes'], 'minute')}"
    )
    print(
        f"Hand out: {built.handed_out} (the whole folder; people open {PAGE}). Give them names p1, p2, ... for exact balance."
    )
    print(f"Keep to yourself: {built.study.folder / 'key.json'}")
    print(f"Then: callsheet study add FILES{_named(built)}")


def _named(built: Built) -> str:
    return "" if built.study.name == "study" else f" --name {built.study.name}"


def _add(arguments: argparse.Namespace) -> int:
    studies = list(studies_in(arguments.outputs))
    if arguments.name is not None or not studies:
        the_study(arguments.outputs, arguments.name)
    taken = adding.add(arguments.files, studies, only=arguments.name, replace=arguments.replace)
    for each in taken:
        print(f"{each.file}: {each.outcome}{f': {each.note}' if each.note else ''}")
    for study in studies:
        if any(each.study == study.name and each.outcome != adding.REFUSED for each in taken):
            _tell_raters(study.folder)
    return SOME_FAILED if any(each.outcome == adding.REFUSED for each in taken) else DONE


def _show(arguments: argparse.Namespace) -> int:
    _tell_raters(the_study(arguments.outputs, arguments.name).folder)
    return DONE


def _tell_raters(folder: Path) -> None:
    # What it computes with takes long to import, and the command line lists this command.
    from steps.measures.ratings import ENOUGH_RATERS

    answers = read_answers(folder)
    whole = sum(rater.complete for rater in answers.raters)
    print(f"study '{answers.study}': {counted(len(answers.raters), 'rater')}, {whole} with all answers")
    if answers.raters:
        show_table(_table(answers.raters))
    if len(answers.raters) < ENOUGH_RATERS:
        print(f"fewer than {ENOUGH_RATERS} raters: what they say is told as few people's opinion, and no more")


def _table(raters: Iterable[RaterRow]) -> Table:
    table = Table(
        "rater", "answered", "checks passed", "repeats agreeing", "median seconds", "flagged", box=None, pad_edge=False
    )
    for rater in raters:
        seconds = rater.median_seconds
        table.add_row(
            rater.rater,
            f"{rater.answered} of {rater.expected}",
            f"{rater.checks_passed} of {rater.checks_passed + rater.checks_failed}",
            f"{rater.repeats_agreeing} of {rater.repeats}",
            "–" if seconds is None else f"{seconds:.1f}",
            f"{rater.hasty} too fast" if rater.hasty else "",
        )
    return table
