"""A recipe may come from a stranger: what could run code, exhaust memory or be misread is refused before Hydra sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from runner.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 100
MAX_DIGITS = 100
# Keys that Hydra, OmegaConf or logging would turn into a call.
CALLING_KEYS = ("_target_", "()", "_partial_", "_convert_", "_recursive_")
PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "merge", "map", "seq")
)
LEADING_ZERO = re.compile(r"[+-]?0[0-9_]+")
ALLOWED_OVERRIDES = re.compile(
    r"[~+]*hydra(/launcher|/sweeper|\.launcher\.(?!_)\w+|\.sweeper\.params\..+|\.sweeper\.max_batch_size)"
)
LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
)
SWEEPERS = ("hydra._internal.core_plugins.basic_sweeper.BasicSweeper",)
# What Hydra would run, put into the environment or write somewhere before a job of ours is asked.
EMPTY_IN_HYDRA = ("callbacks", "searchpath", "job.env_set", "job.env_copy", "job.chdir", "output_subdir")


def check_tree(path: Path, seen: set[Path] | None = None) -> None:
    """Check a recipe and the files beside it that its defaults list names.

    Raises:
        UserError: With file, line, key and what to do.
    """
    seen = set() if seen is None else seen
    if path in seen:
        return
    seen.add(path)
    root = _parsed(path)
    if root is None:
        raise UserError(f"{path}: is empty: a recipe starts with a defaults list")
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: a recipe is a mapping of keys to values")
    _check_nodes(path, root)
    if (path.parent / "hydra").is_dir():
        raise UserError(
            f"{path.parent / 'hydra'}: a folder of this name beside {path.name} would stand in for Hydra's own settings: move it away"
        )
    _check_hydra_section(path, root)
    for relative in _named_by_defaults(root):
        beside = path.parent / relative
        if beside.is_file() and beside.resolve().is_relative_to(path.parent.resolve()):
            check_tree(beside, seen)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse overrides that reach into Hydra beyond the launcher and the sweep, or that name something to call."""
    for override in overrides:
        key = override.split("=", 1)[0]
        if any(word in override for word in CALLING_KEYS[:2]) or any(part in CALLING_KEYS for part in key.split(".")):
            raise UserError(
                f"{override}: recipes name steps and backends by their registered names; nothing is called by '_target_' or '()'"
            )
        bare = key.lstrip("~+")
        if (bare == "hydra" or bare.startswith(("hydra.", "hydra/"))) and not ALLOWED_OVERRIDES.fullmatch(key):
            raise UserError(
                f"{override}: of Hydra's own settings only hydra/launcher, hydra/sweeper, hydra.launcher.* and hydra.sweeper.params.* may be set"
            )


def check_hydra(config: DictConfig) -> None:
    """The last gate, on the composed configuration: whatever way it came in, nothing but the known launchers may be called."""
    hydra = config.hydra
    for name, allowed in (("launcher", LAUNCHERS), ("sweeper", SWEEPERS)):
        plain = OmegaConf.to_container(hydra[name], resolve=False)
        target = plain.pop("_target_", None) if isinstance(plain, dict) else plain
        if target not in allowed:
            raise UserError(
                f"hydra.{name}._target_ = {target!r} is not allowed: choose hydra/{name}={'basic or joblib' if name == 'launcher' else 'basic'}"
            )
        if found := _calls_plain(plain, f"hydra.{name}"):
            raise UserError(f"{found} is not allowed in a recipe: it would run code")
    for name in ("job_logging", "hydra_logging"):
        _check_silent(name, OmegaConf.to_container(hydra[name], resolve=False))
    for name in EMPTY_IN_HYDRA:
        if OmegaConf.select(hydra, name):
            raise UserError(f"hydra.{name} is not allowed in a recipe: it could run code, or lead it elsewhere")
    for key in config:
        if key != "hydra" and (found := _calls(config._get_node(key), str(key))):  # noqa: SLF001 - reads without resolving
            raise UserError(f"{found} is not allowed: recipes name steps and backends by their registered names")


def _check_silent(name: str, logging: Any) -> None:
    """Handlers, formatters and filters name classes to call; conf/base.yaml switches Hydra's logging off, and so it has none."""
    root = logging.get("root") if isinstance(logging, dict) else None
    known = {"version", "disable_existing_loggers", "root"}
    if not isinstance(logging, dict) or set(logging) - known or not isinstance(root, dict) or set(root) - {"level"}:
        raise UserError(
            f"hydra.{name} is not allowed in a recipe, for it could run code: start the defaults with '- base', which switches it off"
        )


def _parsed(path: Path) -> yaml.Node | None:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size:,} bytes are no recipe: at most {MAX_BYTES:,}")
        text = path.read_bytes().decode("utf-8")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not YAML: {error.problem}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested more than {MAX_DEPTH} deep") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {error}") from error


def _check_nodes(path: Path, root: yaml.Node) -> None:
    _check_size(path, root)
    for key, node in _nodes(root, ""):
        _check_node(path, key, node)


def _check_size(path: Path, root: yaml.Node) -> None:
    """Count nodes as if every alias were written out, without writing them out (an alias bomb grows by its depth)."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise UserError(f"{path}:{node.start_mark.line + 1}: nested more than {MAX_DEPTH} deep")
        if id(node) not in sizes:
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in _children(node))
        return sizes[id(node)]

    if size(root, 0) > MAX_NODES:
        raise UserError(f"{path}: its aliases stand for more than {MAX_NODES:,} values: an alias bomb, or no recipe")


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _nodes(node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node]]:
    """Each node with its full key; a key of a mapping comes before its value."""
    yield key, node
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = f"{key}.{name.value}" if key else str(name.value)
            yield inner, name
            yield from _nodes(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _nodes(value, f"{key}[{index}]")


def _check_node(path: Path, key: str, node: yaml.Node) -> None:
    where = f"{path}:{node.start_mark.line + 1}: {key}"
    if node.tag not in PLAIN_TAGS:
        raise UserError(f"{where}: the tag {node.tag} is not allowed")
    if isinstance(node, yaml.MappingNode):
        _check_keys(path, key, node)
    elif isinstance(node, yaml.ScalarNode):
        _check_scalar(where, node)


def _check_keys(path: Path, key: str, node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for name, _ in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode):
            raise UserError(f"{path}:{line}: {key or 'the top'}: a key must be a word, not a list or mapping")
        full = f"{key}.{name.value}" if key else str(name.value)
        if (first := lines.get((name.tag, name.value))) is not None and name.tag != "tag:yaml.org,2002:merge":
            raise UserError(f"{path}:{line}: {full}: stands in line {first} already")
        lines[name.tag, name.value] = line


def _check_scalar(where: str, node: yaml.ScalarNode) -> None:
    if node.value in CALLING_KEYS:
        raise UserError(
            f"{where} is not allowed: recipes name steps and backends by their registered names, never by '{node.value}'"
        )
    if node.tag == "tag:yaml.org,2002:int" and LEADING_ZERO.fullmatch(node.value):
        read_as = yaml.safe_load(node.value)
        raise UserError(
            f"{where}: {node.value} would be read as {read_as} (YAML takes a leading zero for octal): write '{node.value}' in quotes"
        )
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise UserError(f"{where}: a number of {len(node.value):,} digits: at most {MAX_DIGITS}")


def _check_hydra_section(path: Path, root: yaml.MappingNode) -> None:
    for name, value in root.value:
        if name.value != "hydra":
            continue
        for key, _ in _nodes(value, "hydra"):
            if key in {
                "hydra",
                "hydra.sweeper",
                "hydra.launcher",
                "hydra.sweeper.params",
            } or ALLOWED_OVERRIDES.fullmatch(key):
                continue
            raise UserError(
                f"{path}:{name.start_mark.line + 1}: {key} is not allowed in a recipe: only hydra.sweeper.params and hydra.launcher.* are"
            )


def _named_by_defaults(root: yaml.MappingNode) -> Iterator[str]:
    for name, value in root.value:
        if name.value == "defaults" and isinstance(value, yaml.SequenceNode):
            for entry in value.value:
                yield from _named_by(entry)


def _named_by(entry: yaml.Node) -> Iterator[str]:
    if isinstance(entry, yaml.ScalarNode):
        yield f"{_bare(entry.value)}.yaml"
    elif isinstance(entry, yaml.MappingNode):
        for group, options in entry.value:
            for option in options.value if isinstance(options, yaml.SequenceNode) else [options]:
                yield f"{_bare(str(group.value))}/{_bare(str(option.value))}.yaml"


def _bare(name: str) -> str:
    return name.split()[-1].split("@")[0].strip("/").removesuffix(".yaml") if name.split() else ""


def _calls(node: Any, key: str) -> str | None:
    """The first key below a node that would be called, without resolving anything."""
    plain = OmegaConf.to_container(node, resolve=False) if isinstance(node, (DictConfig, ListConfig)) else node
    return _calls_plain(plain, key)


def _calls_plain(value: Any, key: str) -> str | None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{key}.{name}"
            if name in CALLING_KEYS:
                return inner
            if found := _calls_plain(item, inner):
                return found
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if found := _calls_plain(item, f"{key}[{index}]"):
                return found
    return None


def read_yaml(path: Path) -> Any:
    """Plain values from a YAML file that people write (not a recipe), under the same checks.

    Raises:
        UserError: With file and line.
    """
    root = _parsed(path)
    if root is None:
        return None
    _check_nodes(path, root)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {error}") from error
