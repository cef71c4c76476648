"""Builds backends: for a run from its recipe, and for a command from a run that is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import registry
from runner.budget import Budget
from runner.calls import Calls, current_item
from runner.compose import thawed, typed
from runner.errors import UserError
from runner.exchanges import Exchanges
from runner.ledger import Ledger
from runner.limiter import Limiter
from runner.rates import LimitSettings
from runner.recipe import BackendSpec
from runner.remote import RemoteJobs
from runner.run import id_of, read_about
from runner.settings import RunSettings
from runner.stop import Stop


def build(
    spec: BackendSpec, settings: RunSettings, budget: Budget, remote: RemoteJobs, debug: Path | None = None
) -> Any:
    """A backend with the run's retries, limits and budget.

    Args:
        spec: Which one.
        settings: The run's.
        budget: The run's.
        remote: The run's.
        debug: Where its requests and answers are kept; None keeps none.
    """
    name = f"{spec.kind}={spec.name}"
    limits = getattr(spec.settings, "limits", None) or LimitSettings()
    calls = Calls(
        name,
        budget=budget,
        retry=settings.retry,
        limiter=Limiter(settings.workers, remote.stop, settings=limits),
        remote=remote,
        exchanges=Exchanges(debug, name, current_item),
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
    run_id = id_of(path, read_about(path) or {})
    budget = Budget(ledger, run.budget, scope=run_id, run=run_id)
    return build(BackendSpec(kind, name, backend_class, settings), run, budget, RemoteJobs(ledger, Stop()))
