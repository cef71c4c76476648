"""Faces by OpenCV's YuNet (MIT) and SFace (Apache-2.0), which may also be used for business."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from runner import files
from runner.calls import Calls
from runner.doctor import Need
from runner.errors import MisconfiguredRun, UserError
from runner.params import a_path, at_least, between, param
from steps.backends.protocols import Face
from steps.studio.squares import square_around

FOLDER = "~/.opencv_zoo"
REFERENCE_SIDE = 224
"""Pixels of what image adapters see (CLIP's)."""
_POINTER = b"version https://git-lfs"
_SMALLEST = 10_000
"""Bytes: a file of weights has more, a pointer or an error page fewer."""
_NMS, _TOP = 0.3, 5000
_ALIGNED = 112
"""Pixels each way of an aligned face."""
_GRID = 32
"""Pixels of YuNet's coarsest cells: what it looks at is a multiple of them."""


class _Weights(NamedTuple):
    """A file of opencv_zoo, as its git-lfs pointer has it."""

    name: str
    repository: str
    sha256: str
    licence: str


YUNET = _Weights(
    "face_detection_yunet_2023mar.onnx",
    "opencv/face_detection_yunet",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "MIT",
)
SFACE = _Weights(
    "face_recognition_sface_2021dec.onnx",
    "opencv/face_recognition_sface",
    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    "Apache-2.0",
)


def _cells(value: int) -> str | None:
    return None if value >= _GRID and value % _GRID == 0 else f"give a multiple of {_GRID}"


@dataclass(frozen=True)
class OpenCVFacesSettings:
    """Which files find and tell apart faces, and how large a reference is cut."""

    folder: str = param(FOLDER, help=f"where {YUNET.name} and {SFACE.name} lie", check=a_path)
    detector: str | None = param(
        None, help="an ONNX file of your own with YuNet's outputs; null is FOLDER's", check=a_path
    )
    embedder: str | None = param(
        None, help="an ONNX file of your own with SFace's input; null is FOLDER's", check=a_path
    )
    det_size: int = param(
        640, help="pixels each way that detection sees; the 2023 YuNet was exported for 640", check=_cells
    )
    min_score: float = param(0.6, help="how sure a face must be, 0 to 1", check=between(0, 1))
    margin: float = param(
        1.6,
        help="side of the reference's square in sides of the face's box: hair and hat belong to it",
        check=at_least(1),
    )


class OpenCVFaces:
    """Faces in photographs and drawings that look like them."""

    def __init__(self, settings: OpenCVFacesSettings, calls: Calls) -> None:  # noqa: ARG002 - computed here
        self._settings = settings
        self._lock = threading.Lock()

    @classmethod
    def needs(cls, settings: OpenCVFacesSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        there = find_spec("cv2") is not None
        yield Need("OpenCV", there, "" if there else "pip install 'callsheet[models]'")
        for path, weights in _chosen(settings):
            fault = _fault(path, weights)
            licence = f", {weights.licence}" if weights else ""
            yield Need(f"{path.name}{licence}", fault is None, fault or "")

    @cached_property
    def identity(self) -> str:
        """The files' names with the hash of both, and what changes an answer."""
        self.prepare()
        paths = [path for path, _ in _chosen(self._settings)]
        digest = hashlib.sha256("\n".join(f"{path.name} {files.sha256_of(path)}" for path in paths).encode())
        set_ = self._settings
        names = " ".join(path.stem for path in paths)
        return f"opencv {names} {digest.hexdigest()[:12]} det_size={set_.det_size} min_score={set_.min_score:g} margin={set_.margin:g}"

    def prepare(self) -> None:
        """Raise UserError with the commands that fetch what is missing."""
        if find_spec("cv2") is None:
            raise UserError("OpenCV is not installed: pip install 'callsheet[models]'")
        faults = [fault for path, weights in _chosen(self._settings) if (fault := _fault(path, weights)) is not None]
        if faults:
            raise UserError("\n".join(faults))

    def find(self, image: Image.Image) -> list[Face]:
        """See `Faces.find`."""
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
        with self._lock:
            detector, embedder = self._models
            rows = _detected(detector, pixels, self._settings.det_size)
            faces = [Face(_box(row), float(row[14]), _embedded(embedder, pixels, row)) for row in rows]
        inside = [face for face in faces if face.embedding is not None and _seen_area(face.box, image.size) > 0]
        return sorted(inside, key=lambda face: -_seen_area(face.box, image.size))

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        """See `Faces.reference`."""
        return square_around(image, face.box, self._settings.margin, REFERENCE_SIDE)

    @cached_property
    def _models(self) -> tuple[Any, Any]:
        # Asked for with the lock held: threads would load them each.
        self.prepare()
        import cv2

        (detector, _), (embedder, _) = _chosen(self._settings)
        side = self._settings.det_size
        with _quiet():
            try:
                finder = cv2.FaceDetectorYN.create(
                    str(detector), "", (side, side), self._settings.min_score, _NMS, _TOP
                )
                finder.detect(np.zeros((side, side, 3), np.uint8))
            except cv2.error as error:
                raise MisconfiguredRun(
                    f"{detector}: no faces can be found with it at det_size={side}: {_said(error)}"
                ) from error
            try:
                teller = cv2.FaceRecognizerSF.create(str(embedder), "")
                teller.feature(np.zeros((_ALIGNED, _ALIGNED, 3), np.uint8))
            except cv2.error as error:
                raise MisconfiguredRun(f"{embedder}: no faces can be told apart with it: {_said(error)}") from error
        return finder, teller


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on a person's screen while models load: what fails is raised, and the rest is between OpenCV and its engines."""
    import cv2

    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _chosen(settings: OpenCVFacesSettings) -> Iterator[tuple[Path, _Weights | None]]:
    """Detector and embedder, with what is known of the file unless it is a person's own."""
    for given, weights in ((settings.detector, YUNET), (settings.embedder, SFACE)):
        if given is not None:
            yield Path(given).expanduser(), None
        else:
            yield Path(settings.folder).expanduser() / weights.name, weights


def _fault(path: Path, weights: _Weights | None) -> str | None:
    """What is wrong with a file, and the command that fetches it."""
    if not files.is_file(path):
        return f"{path}: no such file" + _advice(path, weights)
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    size = path.stat().st_size
    if start == _POINTER:
        return f"{path} is a git-lfs pointer of {size} bytes, not the weights" + _advice(path, weights)
    if weights is None:
        return None
    if size < _SMALLEST:
        return f"{path} has {size} bytes, which are no weights" + _advice(path, weights)
    if (found := files.sha256_of(path)) != weights.sha256:
        own = "; for a file of your own give detector=FILE or embedder=FILE"
        return f"{path} is not opencv_zoo's: its SHA-256 begins with {found[:12]}, not {weights.sha256[:12]}{_advice(path, weights)}{own}"
    return None


def _advice(path: Path, weights: _Weights | None) -> str:
    if weights is None:
        return ": give an ONNX file, or null for opencv_zoo's"
    command = shlex.join(["hf", "download", weights.repository, weights.name, "--local-dir", str(path.parent)])
    return f" ({weights.licence}). Fetch it with: {command}"


def _detected(detector: Any, pixels: Any, side: int) -> list[Any]:
    """Rows of 15: left, top, width, height, five landmarks as x and y, score; in pixels of the image.

    The image is fitted into a square: the network's size is then one, and faces are as large as it was taught.
    """
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = np.zeros((side, side, 3), np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[: fitted[1], : fitted[0]] = cv2.resize(pixels, fitted, interpolation=how)
    _, found = detector.detect(square)
    if found is None:
        return []
    rows = np.asarray(found, np.float32).copy()
    rows[:, 0:14:2] *= width / fitted[0]
    rows[:, 1:14:2] *= height / fitted[1]
    return [row for row in rows if np.isfinite(row).all()]


def _embedded(embedder: Any, pixels: Any, row: Any) -> Any | None:
    """The unit vector of an aligned face (128,), float32; None where the network says nothing, which is like nobody."""
    feature = embedder.feature(embedder.alignCrop(pixels, row)).reshape(-1).astype(np.float32)
    length = float(np.linalg.norm(feature))
    return feature / length if np.isfinite(length) and length > 0 else None


def _box(row: Any) -> tuple[float, float, float, float]:
    left, top, width, height = (float(value) for value in row[:4])
    return left, top, left + width, top + height


def _seen_area(box: tuple[float, float, float, float], size: tuple[int, int]) -> float:
    """Square pixels of a box that lie in the image."""
    width = min(box[2], size[0]) - max(box[0], 0.0)
    height = min(box[3], size[1]) - max(box[1], 0.0)
    return max(0.0, width) * max(0.0, height)


def _said(error: Exception) -> str:
    """OpenCV's own words on one line, without the path of its source."""
    return " ".join(str(error).split()).rpartition("error: ")[2][:300]
