"""Checkpoints: folders that count once their last file, which holds the hashes of the others, is there and true."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runner import files
from runner.errors import UserError
from runner.failpoints import failpoint
from steps.studio.lora.reading import WEIGHTS, check_safetensors

PREFIX, FINAL = "checkpoint-", "checkpoint-final"
MANIFEST, MOMENTS = "checkpoint.json", "training_state.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """Where a training stands, beside its tensors.

    Attributes:
        step: Steps done.
        schedule: The state of the learning rate's schedule.
        micro_batch: Images at once, by now.
        gradient_checkpointing: Whether parts of the UNet are computed twice, by now.
        seconds: Spent so far.
        peak_bytes: The most memory that was held so far.
        interim: Written because the run was stopped: it goes once there is a later one.
        said: What a person should know of what happened so far.
    """

    step: int
    schedule: Mapping[str, Any]
    micro_batch: int
    gradient_checkpointing: bool
    seconds: float
    peak_bytes: int = 0
    interim: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A whole one."""

    path: Path
    progress: Progress

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.path.name


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: That they lie in.
        keep: How many stay beside the best.
        log: Is told what is dropped.
    """

    def __init__(self, folder: Path, keep: int, log: logging.Logger) -> None:
        self._folder = folder
        self._keep = keep
        self._log = log

    def write(self, name: str, progress: Progress, weights: bytes, moments: bytes) -> Checkpoint:
        """Write one whole: its files, then the manifest with their hashes."""
        folder = self._folder / name
        # What a killed write has left must not be taken for ours.
        files.remove_tree(folder)
        files.write_bytes(folder / WEIGHTS, weights)
        failpoint("train.half_written")
        files.write_bytes(folder / MOMENTS, moments)
        rows = {kind: files.sha256_of(folder / kind) for kind in (WEIGHTS, MOMENTS)}
        files.write_json(folder / MANIFEST, {"format": FORMAT, **asdict(progress), "files": rows})
        failpoint("train.checkpointed")
        return Checkpoint(folder, progress)

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The last whole one, and a sentence for each later one that is not. What is not whole is deleted."""
        broken: list[str] = []
        for path in sorted(self._folders(), key=_step_of, reverse=True):
            try:
                return _verified(path), broken
            except UserError as error:
                if (path / MANIFEST).exists():
                    broken.append(f"{error}; the one before is used")
                else:
                    self._log.info("%s was cut off while it was written", path.name)
                files.remove_tree(path)
        return None, broken

    def whole(self) -> list[Checkpoint]:
        """Those that are whole, the earliest first; what is not is left alone."""
        found = []
        for path in self._folders():
            with contextlib.suppress(UserError):
                found.append(_verified(path))
        return sorted(found, key=lambda one: one.progress.step)

    def rotate(self, best: str) -> None:
        """Delete all but the newest ones and the best; one that was written at a stop goes once there is a later one."""
        kept = sorted(self._readable(), key=lambda one: one.progress.step)
        regular = [one for one in kept if not one.progress.interim]
        stay = {best, *(one.name for one in regular[-self._keep :])}
        for one in kept:
            if one.name not in stay:
                files.remove_tree(one.path)

    def _readable(self) -> Iterator[Checkpoint]:
        for path in self._folders():
            with contextlib.suppress(UserError):
                yield Checkpoint(path, _progress(path, files.read_json(path / MANIFEST)))

    def _folders(self) -> Iterable[Path]:
        return [path for path in self._folder.glob(f"{PREFIX}*") if path.is_dir()]


def name_of(step: int, steps: int) -> str:
    """The folder of a step's checkpoint."""
    return FINAL if step == steps else f"{PREFIX}{step}"


def _verified(path: Path) -> Checkpoint:
    """One that is whole.

    Raises:
        UserError: It is not.
    """
    document = files.read_json(path / MANIFEST)
    progress = _progress(path, document)
    for name in (WEIGHTS, MOMENTS):
        if not (path / name).is_file() or files.sha256_of(path / name) != document["files"].get(name):
            raise UserError(f"{path / name} is not what was written")
        check_safetensors(path / name)
    return Checkpoint(path, progress)


def _progress(path: Path, document: Any) -> Progress:
    try:
        values = {**document}
        if values.pop("format") != FORMAT or not isinstance(values.pop("files"), dict):
            raise KeyError("format")
        return _PROGRESS.validate_python(values)
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path / MANIFEST} is not what was written") from error


def _step_of(path: Path) -> float:
    number = path.name.removeprefix(PREFIX)
    return float(number) if number.isdecimal() else float("inf")


_PROGRESS = TypeAdapter(Progress)
