"""What Hydra must know before it composes: conf/ on its search path, typed schemas, our resolver."""

from __future__ import annotations

import dataclasses
import logging
import os
import typing
from functools import cache
from typing import Any, TypeVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf

from runner import registry
from runner.errors import UserError
from runner.resources import packaged
from runner.secrets import SECRET_NAME

T = TypeVar("T")
log = logging.getLogger("callsheet")


class CallsheetSearchPath(SearchPathPlugin):
    """Puts conf/ behind the recipe's own folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add conf/."""
        search_path.append(provider="callsheet", path=f"file://{packaged('conf')}")


@cache
def prepare() -> None:
    """Tell Hydra of conf/, of every registered step's and backend's parameters, and of `${step:LABEL}`. Once a process."""
    Plugins.instance().register(CallsheetSearchPath)
    OmegaConf.register_new_resolver("step", lambda label: f"step://{label}", replace=True)
    OmegaConf.register_new_resolver("oc.env", _environment, replace=True)
    store = ConfigStore.instance()
    for name in registry.names(registry.STEPS):
        if (schema := _schema(registry.STEPS, name, "params", "step", name)) is not None:
            store.store(group="steps", name=name, node=schema)
    for full_name in registry.names(registry.BACKENDS):
        kind, name = full_name.split(".", 1)
        if (schema := _schema(registry.BACKENDS, full_name, "settings", "backend", name)) is not None:
            store.store(group=f"schema/{kind}", name=name, node=schema)
            if not (packaged("conf") / kind / f"{name}.yaml").is_file():
                # Another package's backend can be chosen without a file of ours.
                store.store(group=kind, name=name, node=schema)


def _schema(group: str, entry: str, parameter: str, field: str, name: str) -> Any:
    """The parameter dataclass with one more field that says whose it is; None when the package behind it is broken."""
    try:
        params = registry.parameter_type(registry.load(group, entry), parameter)
    except UserError as error:
        # Somebody else's package must not stop recipes that don't use it; one that does is told when it is resolved.
        log.warning("%s", error)
        return None
    return thawed(params, ((field, name),))


@cache
def thawed(params: type, extra: tuple[tuple[str, str], ...] = ()) -> type:
    """A dataclass like `params` that is not frozen (OmegaConf takes frozen ones for read-only), with extra text fields."""
    hints = typing.get_type_hints(params)
    fields: list[Any] = [(name, str, dataclasses.field(default=value)) for name, value in extra]
    for field in dataclasses.fields(params):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            inner = thawed(kind)
            fields.append((field.name, inner, dataclasses.field(default_factory=inner)))
        elif field.default is not dataclasses.MISSING:
            fields.append((field.name, kind, dataclasses.field(default=field.default)))
        elif field.default_factory is not dataclasses.MISSING:
            fields.append((field.name, kind, dataclasses.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, kind, dataclasses.field(default=MISSING)))
    return dataclasses.make_dataclass(params.__name__, fields)


def typed(params: type[T], node: DictConfig) -> T:
    """The frozen dataclass from a node of its schema. Raises OmegaConf's errors for what is missing or of another type."""
    kind: type = params
    schema = thawed(kind)
    OmegaConf.to_object(node)  # Names missing values by their full key, which the second look does not know.
    names = {field.name for field in dataclasses.fields(schema)}
    plain: Any = OmegaConf.to_container(node, resolve=True)
    known = {name: value for name, value in plain.items() if name in names}
    # A list or mapping that came by interpolation has not been held against the schema yet.
    return _frozen(params, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), known)))


def _frozen(params: type[T], value: Any) -> T:
    hints = typing.get_type_hints(params)
    values = {}
    for field in dataclasses.fields(params):  # type: ignore[arg-type]
        content = getattr(value, field.name)
        inner = hints[field.name]
        values[field.name] = _frozen(inner, content) if dataclasses.is_dataclass(content) else content
    return params(**values)


def _environment(name: str, *default: str | None) -> str | None:
    """`${oc.env:NAME}`, except for what looks like a secret: resolved recipes are written into runs."""
    if SECRET_NAME.search(name):
        raise ValueError(
            f"${{oc.env:{name}}} would write a secret into the run: backends read {name} from the environment by themselves"
        )
    value = os.environ.get(name, default[0] if default else None)
    if value is None and not default:
        raise ValueError(f"environment variable {name} is not set, and ${{oc.env:{name}}} has no default")
    return value
