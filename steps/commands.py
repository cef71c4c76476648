"""Commands that know the library: undo, trash, sample, audit."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.table import Table

from runner import files
from runner.backends import of_run
from runner.cli.base import show_table
from runner.cli.running import run
from runner.errors import ItemError, RunStopped, UserError
from runner.job import DONE, GATED, SOME_FAILED
from runner.ledger import Ledger
from runner.params import faults
from runner.recipe import compose, locate, resolve
from runner.report import render
from runner.run import find_run, id_of, jobs_of, ledger_of, read_about
from runner.secrets import Redactor
from steps.library import layout, undoing
from steps.library.trash import TrashEntry

if TYPE_CHECKING:
    from steps.sample import SampleParams

AUDIT = "audit"
FOUND, MENDED = "audit/results.json", "mend/mended.json"


class Undo:
    """Puts back what a run changed in the library."""

    name: ClassVar[str] = "undo"
    help: ClassVar[str] = "put back what a run changed in the library; refuses what has changed since"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument(
            "run", help="a run's folder, RECIPE/RUN, or RECIPE for its newest run that changed something"
        )
        parser.add_argument("--outputs", default="outputs", help="where runs are (outputs)")
        parser.add_argument("--ledger", default=None, help="the ledger, where it is not the one that the run names")

    def run(self, arguments: argparse.Namespace) -> int:
        """Undo every action of the run that can be undone; 1 when some could not.

        Raises:
            UserError: It changed nothing, or it is in progress.
        """
        outputs = Path(arguments.outputs)
        path = self._newest_that_acted(outputs / arguments.run, arguments.ledger) or find_run(outputs, arguments.run)
        jobs = jobs_of(path)
        if not any(_acted(job, arguments.ledger) for job in jobs):
            raise UserError(f"{path} changed nothing that is not undone already; `callsheet status` lists runs")
        with contextlib.ExitStack() as held:
            if files.is_file(path / "sweep.json"):
                held.enter_context(files.locked(path / "sweep.lock", f"{path} is in progress: stop it first"))
            return max(_undo_run(job, arguments.ledger) for job in reversed(jobs))

    def _newest_that_acted(self, recipe: Path, ledger: str | None) -> Path | None:
        """Of a recipe's runs the last that changed something, taken back or not: an older one is undone by its own name alone."""
        if not recipe.is_dir() or (recipe / "run.json").exists() or (recipe / "sweep.json").exists():
            return None
        runs = [path for path in recipe.iterdir() if path.is_dir() and not path.is_symlink()]
        times = {path: max((_last_acted(job, ledger) for job in jobs_of(path)), default=0.0) for path in runs}
        newest = max(runs, key=lambda path: times[path], default=None)
        return newest if newest is not None and times[newest] else None


class Trash:
    """Lists and empties the trash of a library."""

    name: ClassVar[str] = "trash"
    help: ClassVar[str] = "list what actions moved away, or delete what is old for good"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("what", choices=("list", "empty"))
        parser.add_argument("--data", default="data", help="the library's root (data)")
        parser.add_argument("--older-than", default=None, metavar="AGE", help="with empty: 30d, 12h, 2w")
        parser.add_argument("--yes", action="store_true", help="with empty: delete; without it only say what would go")

    def run(self, arguments: argparse.Namespace) -> int:
        """List or empty."""
        from steps.library import trash

        root = Path(arguments.data)
        if not (root / layout.ACTORS).is_file():
            raise UserError(f"{root} is no library (it has no {layout.ACTORS}): give --data FOLDER")
        if arguments.what == "list":
            entries = list(trash.entries(root))
            _print_trash(entries)
            print(f"{len(entries)} entries" if entries else "the trash is empty")
            return 0
        if arguments.older_than is None:
            raise UserError(
                "trash empty needs --older-than AGE, for example --older-than 30d: what it deletes is gone for good"
            )
        going = trash.old(root, trash.parse_age(arguments.older_than))
        _print_trash(going)
        if not going or not arguments.yes:
            older = f"nothing in the trash is older than {arguments.older_than}"
            print(older if not going else "nothing was deleted: add --yes to delete these for good")
            return 0
        with files.locked(root / layout.OWN / "lock", f"a run changes {root} at this moment: wait for it"):
            kept = [line for entry in going if (line := _emptied(entry)) is not None]
        for line in kept:
            print(line)
        print(f"{len(going) - len(kept)} entries deleted for good")
        return 1 if kept else 0


class DrawSample:
    """Draws a sample library."""

    name: ClassVar[str] = "sample"
    help: ClassVar[str] = "draw a sample library with known truth: DIR/data and DIR/truth.json"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument("dir", help="an empty or new folder")
        parser.add_argument("--seed", type=int, default=0, help="faces, poses and scenes (0)")
        parser.add_argument(
            "--cast",
            choices=("base_images", "training", "character"),
            default="base_images",
            help="whose faults: of base images, of training images with metadata and a bucket in DIR/bucket, or of one character's raw "
            "images in DIR/raw_images, with held-out pictures in DIR/references and other people in DIR/impostors (base_images)",
        )
        parser.add_argument("--who", type=int, default=None, metavar="N", help="with --cast character: which one (14)")
        parser.add_argument(
            "--images", type=int, default=None, metavar="N", help="with --cast character: how many raw images (24)"
        )

    def run(self, arguments: argparse.Namespace) -> int:
        """Draw."""
        from rich.progress import track

        from steps.sample import BUCKET, CHARACTER, DATA, TRAINING, TRUTH, cast_of, draw_library
        from steps.studio.character_library import RAW

        params = _sample_params(arguments)
        folder = Path(arguments.dir)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty: give a new folder")
        cast = cast_of(params)
        drawing = draw_library(folder, params)
        drawn = list(track(drawing, f"drawing {cast.noun}s", total=len(cast.actors), transient=True))
        where = folder / (RAW if arguments.cast == CHARACTER else DATA)
        print(f"{len(drawn)} {cast.noun}s drawn. Look: {where}. The truth about them: {folder / TRUTH}")
        if arguments.cast == CHARACTER:
            print(cast.about)
            print(f"Try: callsheet run caption data={folder / DATA} raw={where} trigger=NAME")
            return 0
        if arguments.cast == TRAINING:
            print(f"Their bucket's objects, each under its key: {folder / BUCKET}")
            print(f"Try: callsheet run migrate_manifests data={folder / DATA}")
            return 0
        print(f"Try: callsheet run validate_base_images data={folder / DATA}")
        return 0


def _sample_params(arguments: argparse.Namespace) -> SampleParams:
    """What is to be drawn.

    Raises:
        UserError: A number out of bounds, or one that this cast has no use for.
    """
    from steps.sample import CHARACTER, SampleParams

    given = {name: getattr(arguments, name) for name in ("who", "images") if getattr(arguments, name) is not None}
    if given and arguments.cast != CHARACTER:
        raise UserError(f"--{min(given)} goes with --cast character alone: leave it out, or add that")
    params = SampleParams(seed=arguments.seed, cast=arguments.cast, **given)
    for fault in faults("sample", params):
        raise UserError(fault)
    return params


def _outputs_of(run: Path) -> Path:
    """The outputs folder that a run (OUTPUTS/RECIPE/RUN) or a job of a sweep (its jobs/N) is in."""
    return run.parents[3] if run.parent.name == "jobs" else run.parents[1]


def _acted(path: Path, ledger: str | None) -> bool:
    about = read_about(path)
    if about is None:
        return False
    with _ledger_of(path, about, ledger) as opened:
        return undoing.acted(id_of(path, about), opened)


def _last_acted(path: Path, ledger: str | None) -> float:
    about = read_about(path)
    if about is None:
        return 0.0
    with _ledger_of(path, about, ledger) as opened:
        return undoing.last_acted(id_of(path, about), opened) or 0.0


def _ledger_of(path: Path, about: dict[str, Any], given: str | None) -> Ledger:
    return Ledger(Path(given) if given else ledger_of(about, _outputs_of(path)))


def _undo_run(path: Path, ledger: str | None) -> int:
    about = read_about(path)
    if about is None:
        raise UserError(f"{path}: run.json is missing or broken")
    with (
        files.locked(path / "run.lock", f"{path} is in progress: stop it first"),
        _ledger_of(path, about, ledger) as opened,
    ):
        files.sweep_temporaries(path)
        undone = about | {"state": "undone"}
        report = undoing.undo(path, id_of(path, about), opened, lambda: files.write_json(path / "run.json", undone))
        if report.undone:
            render(path)
    for line in report.refused:
        print(line)
    for name in report.missing:
        print(f"{name} was deleted by somebody and can't be put back")
    objects = f", {report.objects} objects put back in the mirror" if report.objects else ""
    print(f"{path}: {report.undone} of {report.actions} actions undone, {report.restored} files put back{objects}")
    return 1 if report.refused else 0


def _emptied(entry: TrashEntry) -> str | None:
    """Delete an entry of the trash, in the mirror first; or say why it is kept."""
    from steps.library import trash

    if not entry.objects:
        trash.empty(entry)
        return None
    run = Path(entry.run)
    about = read_about(run)
    if about is None:
        return (
            f"{entry.actor_name}: kept, for {run}, which knows the way to {entry.mirror}, is gone: "
            f"delete what is below that by hand, then {entry.folder}"
        )
    try:
        with _ledger_of(run, about, None) as opened:
            trash.empty(entry, of_run(run, "storage", opened))
    except (ItemError, RunStopped, UserError) as error:
        return f"{entry.actor_name}: kept, for {entry.mirror} could not be emptied: {error}"
    return None


def _print_trash(entries: list[Any]) -> None:
    table = Table("moved at", "actor", "why", "files", "objects", "MB", "run", box=None, pad_edge=False)
    for entry in entries:
        state = entry.action if entry.complete else f"{entry.action} (under way)"
        table.add_row(
            entry.moved_at.isoformat(timespec="seconds"),
            entry.actor_name,
            state,
            str(entry.count),
            str(entry.objects),
            f"{entry.size / 1e6:.1f}",
            "/".join(Path(entry.run).parts[-2:]),
        )
    if entries:
        show_table(table)


class AuditLibrary:
    """Compares a library's manifests, disk and mirror, and mends what is safe to mend."""

    name: ClassVar[str] = "audit"
    help: ClassVar[str] = (
        "compare manifests, disk and bucket of the whole library; exit 1 while they differ; --fix mends what is safe"
    )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare arguments."""
        parser.add_argument(
            "overrides", nargs="*", help="overrides as for `callsheet run audit`, for example data=cast/data"
        )
        parser.add_argument("--fix", action="store_true", help="mend what is safe, through the trash; `callsheet undo audit` takes it back")  # fmt: skip

    def run(self, arguments: argparse.Namespace) -> int:
        """Carry the recipe out and print what differs; 1 where a difference is left."""
        overrides = [*arguments.overrides, *(["execute=true"] if arguments.fix else [])]
        code = run([AUDIT, *overrides])
        if code not in (DONE, SOME_FAILED, GATED):
            return code
        path = locate(AUDIT)
        outputs = Path(resolve(path, compose(path, overrides)).settings.outputs)
        redact = Redactor()
        for line in _differences(find_run(outputs, AUDIT)):
            print(redact(line))
        sys.stdout.flush()
        return DONE if code == DONE else SOME_FAILED


def _differences(path: Path) -> Iterator[str]:
    """A line for each difference, and what became of it."""
    try:
        found, mended = files.read_json(path / FOUND), _mended(path / MENDED)
    except UserError as error:
        yield str(error)
        return
    for row in found["results"]:
        if not row["success"]:
            yield f"{row['actor_name']}: could not be compared: {row['error']}"
        for difference in row["differences"]:
            became = (row["actor_name"], difference["kind"], difference["target"]) in mended
            yield f"{row['actor_name']}: {difference['target']}: {difference['says']}{': mended' if became else ''}"
    yield from (f"note: {note}" for note in found["notes"])


def _mended(path: Path) -> set[tuple[str, str, str]]:
    """Differences that are no more: actor, kind and target."""
    if not path.is_file():
        return set()
    rows: list[dict[str, Any]] = [row for row in files.read_json(path)["results"] if row["done"]]
    return {
        (row["actor_name"], kind, target) for row in rows for kind, found in row["mended"].items() for target in found
    }
