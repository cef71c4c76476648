"""Faces by insightface's packs. Its code is MIT; its pretrained packs are for non-commercial research only."""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from runner import files
from runner.calls import Calls
from runner.doctor import Need
from runner.errors import UserError
from runner.params import at_least, between, one_of, param
from steps.backends.aligned_faces import faces_in
from steps.backends.protocols import Face
from steps.studio.squares import square_around

ROOT = "~/.insightface"
LICENCE = "insightface's pretrained packs are for non-commercial research only; its code is MIT"
REFERENCE_SIDE = 224
"""Pixels of what image adapters see (CLIP's)."""


@dataclass(frozen=True)
class InsightFaceSettings:
    """Which pack finds and tells apart faces, and how large a reference is cut."""

    pack: str = param("buffalo_l", help="a pack's name: a folder of ROOT/models")
    root: str = param(ROOT, help="where packs lie")
    det_size: int = param(640, help="pixels that detection sees, a multiple of 32", check=at_least(64))
    min_score: float = param(0.5, help="how sure a face must be, 0 to 1", check=between(0, 1))
    margin: float = param(
        1.6,
        help="side of the reference's square in sides of the face's box: hair and hat belong to it",
        check=at_least(1),
    )
    device: str = param("cpu", help="where it computes", check=one_of("cpu", "cuda"))


class InsightFaces:
    """Faces in photographs and drawings that look like them."""

    def __init__(self, settings: InsightFaceSettings, calls: Calls) -> None:  # noqa: ARG002 - computed here
        self._settings = settings
        self._folder = Path(settings.root).expanduser() / "models" / settings.pack
        self._lock = threading.Lock()

    @classmethod
    def needs(cls, settings: InsightFaceSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        fault = _fault(settings)
        yield Need(f"insightface pack {settings.pack}", fault is None, fault or "")

    @cached_property
    def identity(self) -> str:
        """The pack with the hash of its files, and what changes an answer."""
        self.prepare()
        digest = hashlib.sha256()
        for path in sorted(self._folder.glob("*.onnx")):
            digest.update(f"{path.name} {files.sha256_of(path)}\n".encode())
        set_ = self._settings
        return f"insightface {set_.pack} {digest.hexdigest()[:12]} det_size={set_.det_size} min_score={set_.min_score:g} margin={set_.margin:g}"

    def prepare(self) -> None:
        """Raise UserError with the command that fetches the pack: insightface would try to download it by itself."""
        if (fault := _fault(self._settings)) is not None:
            raise UserError(fault)

    def find(self, image: Image.Image) -> list[Face]:
        """See `Faces.find`."""
        with self._lock:
            found = faces_in(self._app, image)
        return [face for face in found if face.score >= self._settings.min_score]

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        """See `Faces.reference`."""
        return square_around(image, face.box, self._settings.margin, REFERENCE_SIDE)

    @cached_property
    def _app(self) -> Any:
        self.prepare()
        from insightface.app import FaceAnalysis

        set_ = self._settings
        app = FaceAnalysis(
            name=set_.pack,
            root=str(Path(set_.root).expanduser()),
            allowed_modules=["detection", "recognition"],
            providers=["CUDAExecutionProvider" if set_.device == "cuda" else "CPUExecutionProvider"],
        )
        app.prepare(ctx_id=0 if set_.device == "cuda" else -1, det_size=(set_.det_size, set_.det_size))
        return app


def _fault(settings: InsightFaceSettings) -> str | None:
    folder = Path(settings.root).expanduser() / "models" / files.plain_name(settings.pack, "pack")
    if len(list(folder.glob("*.onnx"))) >= 2:
        return None
    if len(list((folder / settings.pack).glob("*.onnx"))) >= 2:
        # antelopev2's archive has a folder of its own.
        place, aside = str(folder), f"{folder}.moved"
        moves = (["mv", str(folder / settings.pack), aside], ["rmdir", place], ["mv", aside, place])
        commands = " && ".join(shlex.join(move) for move in moves)
        return f"{folder}: its models lie one folder too deep, in {folder / settings.pack}. Put them in place with: {commands}"
    command = ["insightface-cli", "model.download", settings.pack]
    if settings.root != ROOT:
        command += ["--root", settings.root]
    return f"{folder}: no face models there ({LICENCE}). If that suits you, fetch them with: {shlex.join(command)}"
