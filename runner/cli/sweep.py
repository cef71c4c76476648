"""Multirun: Hydra expands and launches, each job is a run in jobs/N, and the same command goes on with the jobs that are left."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner import files
from runner.budget import Budget, BudgetSettings
from runner.compose import prepare
from runner.errors import CallsheetError, Interrupted, UserError
from runner.explain import explain
from runner.fingerprint import digest_of
from runner.job import GATED, INTERRUPTED, SOME_FAILED, STOPPED, USER_ERROR, Job, Order
from runner.ledger import Ledger
from runner.recipe import Recipe, compose, resolve, without_hydra
from runner.report import render_sweep
from runner.run import FINISHED, id_of, now, point_latest, read_about, stamp
from runner.secrets import redacted
from runner.settings import NOT_IN_DIGEST, ledger_path
from runner.stop import Stop, die_with, follow_parent, handle_signals, interrupt, job_stopped
from runner.strangers import check_hydra, check_overrides, check_tree

# So many jobs are resolved beforehand, to find mistakes before the first dollar.
CHECKED_JOBS = 64
# The stop of each sweep that this process works for, by folder and session: joblib's workers outlive a sweep.
_stops: dict[tuple[Path, int], Stop] = {}
# What the command has to do before a job of its own process ends that process.
_leaving: dict[tuple[Path, int], Callable[[], None]] = {}


def show(path: Path, options: Sequence[str], overrides: Sequence[str]) -> int:
    """`--cfg` and `--info`: Hydra's own answers."""
    # Hydra would act on its own part of the recipe before it shows it: compose looks at it first.
    compose(path, overrides)
    try:
        _hydra(path, _nothing, [*options, *overrides])
    except SystemExit as left:
        return USER_ERROR if left.code else 0
    return 0


def sweep(path: Path, overrides: Sequence[str], command: str) -> int:
    """Run every job that is not finished; returns the worst exit code."""
    check_tree(path)
    check_overrides(overrides)
    hydras = [word for word in overrides if _is_hydras(word) and "hydra.sweeper.params" not in word]
    # Hydra acts on what a job's configuration holds for it before the job can look at it.
    composed = [compose(path, [*job, *hydras]) for job in expanded(path, overrides)]
    recipes = [resolve(path, config) for config in composed[:CHECKED_JOBS]]
    digest = _digest(path, recipes, overrides)
    folder = _folder(path, recipes[0], digest)
    busy = f"{folder} is in progress in another process: wait for it, or stop it first"
    files.make_folder(folder)
    with files.locked(folder / "sweep.lock", busy):
        files.sweep_temporaries(folder)
        # Made once, and not by each job at the same moment.
        place = ledger_path(recipes[0].settings).absolute()
        Ledger(place).close()
        known = {"recipe": path.stem, "digest": digest, "overrides": list(overrides), "expected": len(composed)}
        about = _begin(folder, known, {"command": command, "ledger": str(place)})
        point_latest(folder)
        code = _launch(path, folder, about, overrides)
    _farewell(folder, about, code)
    return code


def _launch(path: Path, folder: Path, about: dict[str, Any], overrides: Sequence[str]) -> int:
    """Let Hydra start the jobs; returns the sweep's exit code."""
    key = (folder, about["session"])
    stop = _stops[key] = Stop()
    _leaving[key] = lambda: _farewell(folder, about, _end(folder, about, interrupted=True))
    for left in ("stop", "multirun.yaml"):
        files.remove(folder / left)
    restore = handle_signals(lambda _number: interrupt(stop, folder / "stop"))
    where = [f"hydra.sweep.dir={_quoted(folder)}", "hydra.sweep.subdir=jobs/${hydra.job.num}"]
    try:
        _hydra(path, job, ["-m", *overrides, *where])
    except BrokenProcessPool as error:
        # A worker whose items outlast the grace ends itself.
        if not isinstance(stop.reason, Interrupted):
            print(f"a process that worked on a job was killed, for want of memory perhaps: {error}", file=sys.stderr)
    finally:
        restore()
        files.remove(folder / "multirun.yaml")
        code = _end(folder, about, interrupted=isinstance(stop.reason, Interrupted))
    return code


def _farewell(folder: Path, about: Mapping[str, Any], code: int) -> None:
    if code in (INTERRUPTED, STOPPED):
        print(f"Progress saved. Go on with: {about['command']}", file=sys.stderr)
    print(f"{about['recipe']}: sweep of {about['expected']} jobs. Report: {folder / 'report.html'}", file=sys.stderr)


def job(config: DictConfig) -> int:
    """One job, in this process (basic launcher) or a child (joblib); leaves in job.json how it ended, even before it was a run."""
    prepare()
    told = HydraConfig.get()
    folder, sweep_folder = Path(told.runtime.output_dir), Path(told.sweep.dir)
    about = _read(sweep_folder) or {}
    # A worker that joblib kept is where an earlier sweep was, and so is Hydra's runtime.cwd, for it composes there.
    os.chdir(about.get("cwd", told.runtime.cwd))
    # Hydra's own copy of what sweep.json holds, with any key that was typed as an override.
    files.remove(sweep_folder / "multirun.yaml")
    ended = {"number": int(told.job.num), "overrides": list(told.overrides.task), "session": about.get("session", 0)}
    code = SOME_FAILED
    try:
        code = _job(config, folder, sweep_folder)
    finally:
        files.write_json(folder / "job.json", redacted(ended | {"exit": code}))
    return code


def _job(config: DictConfig, folder: Path, sweep_folder: Path) -> int:
    told = HydraConfig.get()
    stop = _stop_here(sweep_folder)
    about = read_about(folder)
    if stop.requested or (sweep_folder / "stop").exists():
        return INTERRUPTED
    if about is not None and about.get("state") in FINISHED:
        return 0 if about["state"] in ("undone", "reset") else int(about.get("exit") or 0)
    check_hydra(OmegaConf.merge({"hydra": told}, config))  # type: ignore[arg-type]
    main_source = next(source.path for source in told.runtime.config_sources if source.provider == "main")
    path = Path(main_source) / f"{told.job.config_name}.yaml"
    known = _read(sweep_folder) or {}
    order = Order(
        command=str(known.get("command", "callsheet run")),
        overrides=tuple(told.overrides.task),
        folder=folder,
        scope=id_of(sweep_folder, known),
        prefix=f"[job {told.job.num}] ",
        leaving=_leaving.get((sweep_folder, known.get("session", 0)), _nobody),
    )
    try:
        code = Job(resolve(path, without_hydra(config)), order, stop).carry_out()
    except UserError as error:
        print(f"{order.prefix}{error}", file=sys.stderr)
        return USER_ERROR
    if code == STOPPED:
        job_stopped(sweep_folder / "stop")
    return code


def _nobody() -> None:
    """In a child: the command sees for itself that it ended."""


def expanded(path: Path, overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job, as the basic sweeper makes them from the command line and the recipe's own sweep."""
    prepare()
    own = OmegaConf.select(OmegaConf.load(path), "hydra.sweeper.params")
    words = [f"{key}={value}" for key, value in (own or {}).items()] + list(overrides)
    try:
        parsed = OverridesParser.create().parse_overrides(words)
        plain = [item for item in parsed if not (item.key_or_group or "").startswith("hydra")]
        [batch] = BasicSweeper.split_arguments(plain, None)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(path, error)) from error
    return [list(job_overrides) for job_overrides in batch]


def _is_hydras(word: str) -> bool:
    return word.lstrip("~+").startswith("hydra")


def _hydra(path: Path, task: Any, words: list[str]) -> None:
    prepare()
    _tie_children()
    GlobalHydra.instance().clear()
    # Errors come to us instead of Hydra's own printing and exit 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    former, sys.argv = sys.argv, ["callsheet", *words]
    try:
        hydra.main(version_base="1.3", config_path=str(path.parent), config_name=path.stem)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(path, error)) from error
    finally:
        sys.argv = former


def _tie_children() -> None:
    """Let joblib's workers die with this process from their first moment on; left alone they wait five minutes for work."""
    from joblib import register_parallel_backend
    from joblib.parallel import LokyBackend

    class Tied(LokyBackend):  # type: ignore[misc]
        def configure(self, *arguments: Any, **more: Any) -> Any:
            return super().configure(*arguments, initializer=die_with, initargs=(os.getpid(),), **more)

    register_parallel_backend("loky", Tied)


def _nothing(_config: DictConfig) -> None:
    """Hydra asks for a task even when it only prints."""


def _stop_here(sweep_folder: Path) -> Stop:
    """The stop of this process: the command's own, or in a child one that follows the command."""
    key = (sweep_folder, (_read(sweep_folder) or {}).get("session", 0))
    if key not in _stops:
        stop = _stops[key] = Stop()
        follow_parent(stop, sweep_folder / "stop")
        # The terminal sends Ctrl+C to children too.
        handle_signals(lambda _number: stop.request(Interrupted("Interrupted.")))
    return _stops[key]


def _folder(path: Path, recipe: Recipe, digest: str) -> Path:
    """The newest unfinished sweep of the same recipe and overrides, else a new folder."""
    base = Path(recipe.settings.outputs).absolute() / path.stem
    for folder in sorted(base.glob(f"*-sweep-{digest[:8]}*"), reverse=True):
        about = _read(folder)
        if about is not None and about["digest"] == digest:
            if about["state"] not in FINISHED:
                return folder
            break
        if not (folder / "sweep.json").exists():
            # Killed as it began: nothing was done in it.
            return folder
    name = f"{stamp(datetime.now(UTC))}-sweep-{digest[:8]}"
    return next(folder for folder in _numbered(base / name) if not folder.exists())


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in range(2, 1000))


def _digest(path: Path, recipes: Sequence[Recipe], overrides: Sequence[str]) -> str:
    """Of what was asked, and of the first jobs that it comes to: the same words in another folder mean another library."""
    relevant = sorted(
        word
        for word in overrides
        if word.split("=")[0].split(".")[0] not in (*NOT_IN_DIGEST, "hydra", "hydra/launcher")
    )
    return digest_of([path.stem, path.read_text(encoding="utf-8"), relevant, [recipe.digest for recipe in recipes]])


def _begin(folder: Path, known: Mapping[str, Any], now_so: Mapping[str, Any]) -> dict[str, Any]:
    """Write sweep.json: what is `known` of the sweep for good, and what is so in this session."""
    fresh = {"id": str(folder.absolute()), **known, "started_at": now(), "finished_at": None, "jobs": []}
    about = {**known, **(_read(folder) or fresh), **now_so}
    about |= {"state": "running", "session": about.get("session", 0) + 1, "cwd": str(Path.cwd())}
    files.write_json(folder / "sweep.json", redacted(about))
    return about


def _end(folder: Path, about: dict[str, Any], *, interrupted: bool) -> int:
    """Write what became of the jobs and give the worst exit code."""
    jobs = sweep_jobs(folder, about)
    left = about["expected"] - sum(entry["state"] in FINISHED for entry in jobs)
    code = INTERRUPTED if interrupted else _worst(jobs, left)
    about |= {
        "jobs": jobs,
        "state": "interrupted" if interrupted or left else "done",
        "finished_at": None if interrupted or left else now(),
        "exit": code,
        "cost": _cost(folder, about),
    }
    files.write_json(folder / "sweep.json", redacted(about))
    with contextlib.suppress(OSError):
        render_sweep(folder)
    return code


def _worst(jobs: Sequence[Mapping[str, Any]], left: int) -> int:
    codes = {entry["exit"] for entry in jobs}
    # What stopped one job comes first: it is why the others were interrupted.
    order = (STOPPED, INTERRUPTED, USER_ERROR, SOME_FAILED, GATED)
    return next((worst for worst in order if worst in codes), SOME_FAILED if left else 0)


def _cost(folder: Path, about: Mapping[str, Any]) -> dict[str, float]:
    """What all jobs spent together, in every session."""
    name = id_of(folder, about)
    try:
        with Ledger(Path(about["ledger"])) as ledger:
            usd, calls = Budget(ledger, BudgetSettings(), scope=name, run=name).spent()
    except CallsheetError:
        return dict(about.get("cost", {}))
    return {"usd": round(usd, 6), "calls": calls}


def sweep_jobs(folder: Path, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Number, overrides, state and exit code of each job that has begun."""
    paths = [path for path in (folder / "jobs").glob("*") if path.name.isdecimal()]
    entries = (_entry(path, about.get("session", 0)) for path in sorted(paths, key=lambda path: int(path.name)))
    return [entry for entry in entries if entry is not None]


def _entry(path: Path, session: int) -> dict[str, Any] | None:
    """A job by its run.json; by its job.json where it ended before it was a run, or could not go on with it."""
    run, ended = read_about(path) or {}, _ended(path)
    if not run and ended is None:
        return None
    # What was undone or reset is over, however it had ended.
    code = 0 if run.get("state") in ("undone", "reset") else run.get("exit")
    if run.get("state") not in FINISHED and ended is not None and ended["session"] == session:
        code = ended["exit"]
    overrides = run.get("overrides", [] if ended is None else ended["overrides"])
    state = run.get("state", "left" if code == INTERRUPTED else "refused")
    return {"number": int(path.name), "overrides": overrides, "state": state, "exit": code}


def _ended(path: Path) -> dict[str, Any] | None:
    try:
        found = files.read_json(path / "job.json")
    except UserError:
        return None
    return found if isinstance(found, dict) and {"exit", "session", "overrides"} <= found.keys() else None


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        about = files.read_json(folder / "sweep.json")
    except UserError:
        return None
    return about if isinstance(about, dict) else None


def _quoted(path: Path) -> str:
    """A path as a Hydra override value."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
