"""From a recipe's name and overrides to typed steps, checked whole before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from runner import registry
from runner.compose import prepare, thawed, typed
from runner.errors import UserError
from runner.explain import explain, missing_key, one_line, shown
from runner.files import is_file
from runner.fingerprint import digest_of
from runner.params import faults, without_operational
from runner.resources import packaged
from runner.settings import NOT_IN_DIGEST, RunSettings
from runner.strangers import check_hydra, check_overrides, check_tree

STEP_REFERENCE = re.compile(r"step://([^/]*)")


@dataclass(frozen=True)
class StepSpec:
    """One step of a recipe: its label, class and parameters. `step://LABEL` in a text stands for that step's folder."""

    label: str
    name: str
    step_class: Any
    params: Any


@dataclass(frozen=True)
class BackendSpec:
    """One backend that the recipe's steps need."""

    kind: str
    name: str
    backend_class: Any
    settings: Any


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe.

    Attributes:
        resolved: Plain values, as written to the run's recipe.yaml.
        digest: Of all that may change a result, 64 hexadecimal digits.
    """

    name: str
    path: Path
    settings: RunSettings
    steps: tuple[StepSpec, ...]
    backends: Mapping[str, BackendSpec]
    resolved: Mapping[str, Any]
    digest: str


def locate(name: str) -> Path:
    """Find a recipe by path, or by name in ./recipes and then among the packaged ones.

    Raises:
        UserError: There is none; the message lists those that there are.
    """
    if "\0" in name or len(name) > 1000:
        raise UserError("recipe: this is neither a name nor a path")
    looks_like_path = name.endswith((".yaml", ".yml")) or "/" in name
    places = [Path(name)] if looks_like_path else [folder / f"{name}.yaml" for folder in recipe_folders()]
    for place in places:
        if is_file(place):
            if place.suffix != ".yaml" or place.stem == "base":
                raise UserError(f"{place}: a recipe's file is called NAME.yaml, and not base.yaml")
            return place.resolve()
    known = ", ".join(sorted({path.stem for path in all_recipes()}))
    raise UserError(f"recipe {name!r} is not found: give a path, or one of: {known}")


def recipe_folders() -> tuple[Path, ...]:
    """Where recipes are looked for by name."""
    return (Path("recipes"), packaged("recipes"))


def all_recipes() -> Iterator[Path]:
    """Every recipe that can be run by name; of two with one name, the one in ./recipes."""
    seen = set()
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem not in seen:
                seen.add(path.stem)
                yield path


def compose(path: Path, overrides: Sequence[str]) -> DictConfig:
    """Compose a recipe with Hydra, refuse what could run a stranger's code, and give the configuration without hydra's part.

    Raises:
        UserError: A fault, with its key and what is allowed.
    """
    check_tree(path)
    check_overrides(overrides)
    prepare()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(path.parent), version_base="1.3"):
            config = hydra_compose(config_name=path.stem, overrides=list(overrides), return_hydra_config=True)
        check_hydra(config)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise UserError(explain(path, error, *_keys_beside(path, overrides, error))) from error
    except RecursionError as error:
        raise UserError(f"{shown(path)}: defaults: its defaults lists name each other in a circle") from error
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from error
    return without_hydra(config)


def _keys_beside(path: Path, overrides: Sequence[str], error: Exception) -> tuple[list[str], list[str]]:
    """The keys that stand where a mistyped one was looked for, and those of steps that have its name, from the recipe without overrides."""
    key = missing_key(error)
    if key is None or not overrides:
        return [], []
    config = compose(path, [])
    node = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    beside = [str(name) for name in node if name != "step"] if isinstance(node, DictConfig) else []
    return beside, _of_steps(config, key)


def _of_steps(config: DictConfig, name: str) -> list[str]:
    """The full keys of steps' parameters that have a name."""
    steps = config.get("steps")
    if not isinstance(steps, DictConfig):
        return []
    nodes = {str(label): OmegaConf.select(steps, str(label), throw_on_missing=False) for label in steps}
    return [f"steps.{label}.{name}" for label, node in nodes.items() if isinstance(node, DictConfig) and name in node]


def without_hydra(config: DictConfig) -> DictConfig:
    """The recipe's own part of a composed configuration."""
    keys: list[Any] = [key for key in config if key != "hydra"]
    return OmegaConf.masked_copy(config, keys)


def resolve(path: Path, config: DictConfig) -> Recipe:
    """Check a composed recipe and give it types.

    Raises:
        UserError: All faults that were found, a line each.
    """
    found: list[str] = list(_unknown_keys(path, config))
    settings = _typed_settings(config, found)
    steps = _typed_steps(config, found)
    backends = _typed_backends(config, steps, found)
    found.extend(_bad_references(steps))
    if settings is not None:
        found.extend(faults("", settings))
        found.extend(_bad_data(settings, steps))
    resolved = _resolved(config, found)
    if found or settings is None:
        raise UserError("\n".join(f"{shown(path)}: {fault}" for fault in dict.fromkeys(found)))
    for kind in [kind for kind in registry.backend_kinds() if kind not in backends]:
        resolved.pop(kind, None)
    relevant = {key: value for key, value in resolved.items() if key not in NOT_IN_DIGEST}
    relevant |= {kind: without_operational(type(spec.settings), resolved[kind]) for kind, spec in backends.items()}
    digest = digest_of({"recipe": path.stem, **relevant, "data": _library(settings.data)})
    return Recipe(
        path.stem, path, settings, tuple(steps), backends, {str(key): value for key, value in resolved.items()}, digest
    )


def _library(data: str) -> str:
    """Which library it is: `data` in two folders is two of them, even where their runs share `outputs`."""
    return data if STEP_REFERENCE.match(data) else str(Path(data).resolve())


def _unknown_keys(path: Path, config: DictConfig) -> Iterator[str]:
    """A recipe may name parameters of its own at the top, but only ones that it uses: the rest are typing errors."""
    known = {field.name for field in fields(RunSettings)} | registry.backend_kinds() | {"steps"}
    # The file too: an override may have taken the place of what refers to a key.
    text = OmegaConf.to_yaml(config, resolve=False) + path.read_text(encoding="utf-8")
    for key in map(str, config):
        if key not in known and not re.search(rf"\$\{{{re.escape(key)}[.\[}}]", text):
            yield f"{key} is not a setting and nothing refers to ${{{key}}}: settings are {', '.join(sorted(known))}"


def _resolved(config: DictConfig, found: list[str]) -> dict[Any, Any]:
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        found.append(one_line(error))
        return {}
    assert isinstance(resolved, dict)
    return resolved


def _typed_settings(config: DictConfig, found: list[str]) -> RunSettings | None:
    merged: Any = OmegaConf.structured(thawed(RunSettings))
    known = len(found)
    for name in (field.name for field in fields(RunSettings) if field.name in config):
        try:
            plain = OmegaConf.to_container(OmegaConf.masked_copy(config, name), resolve=True)
            merged = OmegaConf.merge(merged, plain)
        except OmegaConfBaseException as error:
            others = _of_steps(config, name)
            found.append(
                one_line(error, name) + "".join(f"; {other} is another key, and may take it" for other in others)
            )
    return typed(RunSettings, merged) if len(found) == known else None


def _typed_steps(config: DictConfig, found: list[str]) -> list[StepSpec]:
    steps = []
    nodes = config.get("steps")
    if not isinstance(nodes, DictConfig) or not nodes:
        found.append("steps: a recipe needs at least one step: add '- steps@steps.LABEL: NAME' to its defaults")
        return []
    for label in map(str, nodes):
        key = f"steps.{label}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", label):
            found.append(f"{key}: a label has letters, digits and _ only: it names a folder")
            continue
        try:
            node = nodes[label]
            if not isinstance(node, DictConfig) or "step" not in node:
                raise UserError(
                    f"{key} names no step: add '- steps@{key}: NAME' to the defaults (steps: {', '.join(registry.names(registry.STEPS))})"
                )
            name = str(node.step)
            step_class = registry.step(name)
            _check_schema(key, node, f"steps@{key}: {name}")
            params: Any = typed(registry.parameter_type(step_class, "params"), node)
            found.extend(faults(key, params))
            steps.append(StepSpec(label, name, step_class, params))
        except OmegaConfBaseException as error:
            found.append(one_line(error, key))
        except UserError as error:
            found.append(str(error))
    return steps


def _typed_backends(config: DictConfig, steps: list[StepSpec], found: list[str]) -> dict[str, BackendSpec]:
    backends = {}
    for kind in sorted({kind for step in steps for kind in registry.needed_backends(step.step_class)}):
        try:
            node = config[kind]
            backend_class = registry.backend(kind, str(node.backend))
            _check_schema(kind, node, f"{kind}: {node.backend}")
            settings: Any = typed(registry.parameter_type(backend_class, "settings"), node)
            found.extend(faults(kind, settings))
            backends[kind] = BackendSpec(kind, str(node.backend), backend_class, settings)
        except (OmegaConfBaseException, UserError) as error:
            found.append(one_line(error, kind))
    return backends


def _check_schema(key: str, node: DictConfig, entry: str) -> None:
    """What a recipe spells out instead of naming it in its defaults has no types that a value could be checked by."""
    schema = OmegaConf.get_type(node)
    if schema is None or not is_dataclass(schema):
        raise UserError(f"{key} has values but no schema: add '- {entry}' to the defaults")
    known = {field.name for field in fields(schema)}
    if unknown := sorted({str(name) for name in node} - known):
        raise UserError(
            f"{key}.{unknown[0]} is no parameter: choose from {', '.join(sorted(known - {'step', 'backend'}))}"
        )


def _bad_data(settings: RunSettings, steps: list[StepSpec]) -> Iterator[str]:
    labels = [step.label for step in steps]
    for name in ("data", "outputs", "ledger"):
        for label in STEP_REFERENCE.findall(getattr(settings, name) or ""):
            if name != "data":
                yield f"{name}: ${{step:{label}}} is not allowed here: a run has its folder before its steps begin"
            elif label not in labels:
                yield f"data: ${{step:{label}}} is no step of this recipe: choose from {', '.join(labels) or 'none'}"


def _bad_references(steps: list[StepSpec]) -> Iterator[str]:
    earlier: list[str] = []
    for step in steps:
        for key, text in _texts(f"steps.{step.label}", step.params):
            for label in STEP_REFERENCE.findall(text):
                if label not in earlier:
                    yield f"{key}: ${{step:{label}}} is no step before this one: choose from {', '.join(earlier) or 'none, this is the first'}"
        earlier.append(step.label)


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(f"{key}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _texts(f"{key}[{index}]", item)
    elif hasattr(value, "__dataclass_fields__"):
        for field in fields(value):
            yield from _texts(f"{key}.{field.name}", getattr(value, field.name))


def fill_references(value: Any, folders: Mapping[str, Path]) -> Any:
    """Replace `step://LABEL` by that step's folder, in texts at any depth of plain values and dataclasses."""
    if isinstance(value, str):
        return STEP_REFERENCE.sub(lambda match: os.fspath(folders[match.group(1)]), value)
    if isinstance(value, dict):
        return {key: fill_references(item, folders) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_references(item, folders) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        changes = {field.name: fill_references(getattr(value, field.name), folders) for field in fields(value)}
        return type(value)(**changes)
    return value
