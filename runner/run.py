"""A run's folder: found again when the same command is given, locked while somebody works in it, and described by run.json."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner import files
from runner.errors import UserError
from runner.recipe import Recipe
from runner.secrets import redacted
from runner.settings import RunSettings, ledger_path

FINISHED = ("done", "failed", "undone", "reset")
PACKAGES = (
    "callsheet",
    "hydra-core",
    "omegaconf",
    "pillow",
    "numpy",
    "openai",
    "replicate",
    "boto3",
    "torch",
    "diffusers",
    "transformers",
    "peft",
)
RUN_NAME = re.compile(r"\d{8}T\d{6}Z-(?P<digest>[0-9a-f]{8})(-\d+)?")


@dataclass
class Run:
    """One run's folder and its description (run.json), which is rewritten whole at each change."""

    path: Path
    about: dict[str, Any]
    resumed: bool

    @property
    def id(self) -> str:
        """Names the run for good, in ledger and plans: its folder as it was called when the run was made."""
        return id_of(self.path, self.about)

    def step(self, label: str) -> dict[str, Any]:
        """What run.json says of a step."""
        found: dict[str, Any] = self.about["steps"].setdefault(label, {"state": "left"})
        return found

    def save(self, **changes: Any) -> None:
        """Write run.json."""
        self.about.update(changes)
        files.write_json(self.path / "run.json", redacted(self.about))


def stamp(moment: datetime) -> str:
    """A UTC time as in the names of runs."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def now() -> str:
    """The time as in run.json, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def opened(recipe: Recipe, command: str, overrides: Sequence[str] = (), folder: Path | None = None) -> Iterator[Run]:
    """The run for this recipe: the newest unfinished one of its digest, else a new one; locked while the block runs.

    Args:
        recipe: The resolved recipe.
        command: What a person types to take it up again.
        overrides: Hydra overrides, for the record.
        folder: The run's folder where it is given (a job of a sweep).

    Raises:
        UserError: Another process works in it.
    """
    path = folder or _unfinished(recipe) or _new_folder(recipe)
    files.make_folder(path)
    busy = f"{path} is in progress in another process: wait for it, or stop it first"
    with files.locked(path / "run.lock", busy):
        run = _describe(path, recipe, command, overrides)
        yield run


def point_latest(path: Path) -> Mapping[Path, str | None]:
    """Let outputs/<recipe>/latest and outputs/latest lead to this run or sweep; returns where they led."""
    ways = {path.parent / "latest": path.name, path.parent.parent / "latest": f"{path.parent.name}/{path.name}"}
    before = {link: files.pointed_at(link) for link in ways}
    for link, target in ways.items():
        files.point_link(link, target, path)
    return before


def give_latest_back(path: Path, before: Mapping[Path, str | None]) -> None:
    """Let them lead where they led, each unless another run has taken it since, or what it led to is gone."""
    for link, target in before.items():
        now_at = files.pointed_at(link)
        is_ours = now_at is not None and (link.parent / now_at).resolve() == path.resolve()
        if is_ours and target is not None and (link.parent / target).is_dir():
            files.point_link(link, target, path)


def read_about(path: Path) -> dict[str, Any] | None:
    """run.json of a folder, or None where there is none (a folder that is no run, or one killed as it began)."""
    try:
        about = files.read_json(path / "run.json")
    except UserError:
        return None
    return about if isinstance(about, dict) else None


def find_run(outputs: Path, name: str) -> Path:
    """A run by its path, by RECIPE/RUN, by RECIPE (the latest), or `latest`.

    Raises:
        UserError: There is no such run.
    """
    candidates = [Path(name), outputs / name, outputs / name / "latest"]
    for path in candidates:
        if files.is_file(path / "run.json") or files.is_file(path / "sweep.json"):
            return path.resolve()
    raise UserError(
        f"run {name!r} is not found: give its folder, RECIPE/RUN, RECIPE for its latest run, or 'latest' (`callsheet status` lists them)"
    )


def id_of(path: Path, about: Mapping[str, Any]) -> str:
    """The name of a run or sweep in the ledger, which stands when its folder is renamed or reached by a link."""
    return str(about.get("id") or path.absolute())


def ledger_of(about: Mapping[str, Any], outputs: Path) -> Path:
    """The ledger that a run or sweep used; where that is gone (a project was renamed), the one of `outputs`."""
    used = Path(str(about.get("ledger") or ""))
    return used if used.is_file() else ledger_path(RunSettings(outputs=str(outputs)))


def jobs_of(path: Path) -> list[Path]:
    """The runs of a sweep that have begun, by number; of a run, itself."""
    if not files.is_file(path / "sweep.json"):
        return [path]
    found = [job for job in (path / "jobs").glob("*") if job.name.isdecimal() and files.is_file(job / "run.json")]
    return sorted(found, key=lambda job: int(job.name))


def all_runs(outputs: Path) -> Iterator[Path]:
    """Every run and sweep below `outputs`, oldest first within a recipe."""
    for folder in sorted(path for path in outputs.glob("*/*") if path.is_dir() and not path.is_symlink()):
        if (folder / "run.json").is_file() or (folder / "sweep.json").is_file():
            yield folder


def _unfinished(recipe: Recipe) -> Path | None:
    folder = Path(recipe.settings.outputs) / recipe.name
    for path in sorted(folder.glob(f"*-{recipe.digest[:8]}*"), reverse=True):
        if not RUN_NAME.fullmatch(path.name) or path.is_symlink():
            continue
        about = read_about(path)
        # Eight digits name the folder; the whole digest decides.
        if about is not None and about.get("digest") == recipe.digest:
            return None if about.get("state") in FINISHED else path
        if not (path / "run.json").exists():
            # Killed as it began: nothing is known of it, and nothing was done in it.
            return path
    return None


def _new_folder(recipe: Recipe) -> Path:
    base = Path(recipe.settings.outputs) / recipe.name / f"{stamp(datetime.now(UTC))}-{recipe.digest[:8]}"
    files.make_folder(base.parent)
    for number in range(1, 1000):
        path = base if number == 1 else base.with_name(f"{base.name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise UserError(f"{base}: a thousand runs within a second are too many")


def _describe(path: Path, recipe: Recipe, command: str, overrides: Sequence[str]) -> Run:
    about = read_about(path)
    files.sweep_temporaries(path)
    session = {"started_at": now(), "host": socket.gethostname(), "pid": os.getpid(), "command": command}
    if about is not None:
        if about.get("digest") != recipe.digest:
            raise UserError(f"{path} holds a run with other parameters: give another folder, or move it away")
        run = Run(path, about, resumed=True)
        run.about["sessions"].append(session)
        run.save(state="running", command=command, id=run.id, ledger=_ledger(recipe))
        return run
    place = {"id": str(path.absolute()), "ledger": _ledger(recipe), "overrides": list(overrides)}
    run = Run(path, _new_description(recipe, command, session) | place, resumed=False)
    files.write_text(path / "recipe.yaml", OmegaConf.to_yaml(OmegaConf.create(redacted(recipe.resolved))))
    run.save()
    return run


def _ledger(recipe: Recipe) -> str:
    return str(ledger_path(recipe.settings).absolute())


def _new_description(recipe: Recipe, command: str, session: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "recipe_file": str(recipe.path),
        "digest": recipe.digest,
        "state": "running",
        "exit": None,
        "command": command,
        "started_at": session["started_at"],
        "finished_at": None,
        "sessions": [session],
        "git": git_state(Path.cwd()),
        "packages": package_versions(),
        "machine": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "threads": recipe.settings.workers,
            "gpu": None,
        },
        "seeds": {"seed": recipe.settings.seed},
        "backends": {kind: spec.name for kind, spec in recipe.backends.items()},
        "weights": {},
        "steps": {spec.label: {"step": spec.name, "state": "left"} for spec in recipe.steps},
        "cost": {"usd": 0.0, "calls": 0},
    }


def package_versions() -> dict[str, str]:
    """The versions of what a result may depend on, as installed."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout that the command was given in; None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {
        "commit": commit.strip(),
        "dirty": bool((_git(folder, "status", "--porcelain", "--untracked-files=no") or "").strip()),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607 - fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
