"""Builds backends: for a run from its recipe, and for a command from a run that is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import registry
from runner.budget import Budget
from runner.calls import Calls
from runner.compose import thawed, typed
from runner.errors import UserError
from runner.ledger import Ledger
from runner.limiter import Limiter
from runner.recipe import BackendSpec
from runner.remote import RemoteJobs
from runner.run import id_of, read_about
from runner.settings import RunSettings
from runner.stop import Stop


def build(spec: BackendSpec, settings: RunSettings, budget: Budget, remote: RemoteJobs) -> Any:
    """A backend with the run's retries, limits and budget."""
    calls = Calls(
        f"{spec.kind}={spec.name}",
        budget=budget,
        retry=settings.retry,
        limiter=Limiter(settings.workers, remote.stop),
        remote=remote,
    )
    return spec.backend_class(spec.settings, calls)


def of_run(path: Path, kind: str, ledger: Ledger) -> Any:
    """The backend of a kind that a run used, from its recipe.yaml.

    Raises:
        UserError: The run used none, or its recipe.yaml is broken.
    """
    try:
        config = OmegaConf.load(path / "recipe.yaml")
        assert isinstance(config, DictConfig)
        node = config[kind]
        name = str(node.backend)
        backend_class = registry.backend(kind, name)
        kind_of_settings = registry.parameter_type(backend_class, "settings")
        schema = OmegaConf.structured(thawed(kind_of_settings, (("backend", name),)))
        merged = OmegaConf.merge(schema, node)
        assert isinstance(merged, DictConfig)
        settings: Any = typed(kind_of_settings, merged)
    except Exception as error:
        raise UserError(f"{path / 'recipe.yaml'}: does not say which {kind} backend the run used: {error}") from error
    run = RunSettings()
    name = id_of(path, read_about(path) or {})
    budget = Budget(ledger, run.budget, scope=name, run=name)
    return build(BackendSpec(kind, name, backend_class, settings), run, budget, RemoteJobs(ledger, Stop()))
