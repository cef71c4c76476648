"""What all backends with embedded models share: their folder of weights, the packages they need, and how they draw by default."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runner import files
from runner.doctor import Need
from runner.errors import UserError
from steps.studio.models import layout, weights

FOLDER_HELP = "folder of weights as `callsheet run embedded_models` exports them; null is what ships"
STEPS, GUIDANCE = 20, 3.0
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "insightface", "onnxruntime")


def missing(packages: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    return [name for name in packages if find_spec(name) is None]


def needs(folder: str | None) -> Iterator[Need]:
    """For `callsheet doctor`: the packages, and the weights as they were written."""
    gone = missing(PACKAGES)
    advice = f"{', '.join(gone)} missing: pip install 'callsheet[models]'" if gone else ""
    yield Need("the packages of the local models", met=not gone, advice=advice)
    place, what = folder_of(folder), f"weights {folder or 'as shipped'}"
    try:
        weights.checked(place)
        yield Need(what, met=True)
    except UserError as error:
        yield Need(what, met=False, advice=str(error))


def folder_of(folder: str | None) -> Path:
    """The folder that a setting names; None is what ships."""
    return Path(folder) if folder else weights.shipped()


def unit(vectors: Any) -> Any:
    """Tensors (N, D) as an array, float32, of unit length each."""
    return (vectors / vectors.norm(dim=-1, keepdim=True)).float().numpy()


class Weights:
    """A folder of weights, checked when it is first looked at."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder_of(folder)
        self._lock = threading.Lock()
        self._checked = False

    @property
    def folder(self) -> Path:
        """Raises UserError where a file is missing or is not the manifest's."""
        with self._lock:
            if not self._checked:
                weights.checked(self._folder)
                self._checked = True
        return self._folder

    @cached_property
    def manifest(self) -> Any:
        """Its manifest."""
        return files.read_json(self.folder / layout.MANIFEST)

    def digest(self, *places: str) -> str:
        """Of the files at or below some places, 12 digits."""
        rows = [
            f"{row['path']} {row['sha256']}"
            for row in self.manifest["files"]
            if any(row["path"] == place or row["path"].startswith(f"{place}/") for place in places)
        ]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:12]
