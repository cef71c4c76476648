"""The embedded models as backends: a small SDXL, CLIP and faces, through the same classes as real ones. Their world is small and drawn."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from runner.calls import Calls
from runner.doctor import Need
from runner.errors import UserError
from runner.params import a_path, at_least, one_of, param
from steps.backends.aligned_faces import faces_in
from steps.backends.embedded_weights import FOLDER_HELP, GUIDANCE, STEPS, Weights, needs, unit
from steps.backends.protocols import Face
from steps.studio.framing import Shot
from steps.studio.models import layout, weights
from steps.studio.squares import cut_square


@dataclass(frozen=True)
class EmbeddedDiffusionSettings:
    """How the embedded image model draws."""

    folder: str | None = param(None, help=FOLDER_HELP, check=a_path)
    steps: int = param(STEPS, help="sampling steps", check=at_least(1))
    guidance: float = param(GUIDANCE, help="guidance scale", check=at_least(0))
    threads: int = param(1, help="processor threads; another number changes the last bits", check=at_least(1))


class EmbeddedDiffusion:
    """A small SDXL with IP-Adapter and ControlNet that knows people in robes and hats in seven places, 64 pixels each way."""

    device = "cpu"
    gpu_usd_per_hour: float | None = None

    @classmethod
    def needs(cls, settings: EmbeddedDiffusionSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        return needs(settings.folder)

    def __init__(self, settings: EmbeddedDiffusionSettings, calls: Calls) -> None:  # noqa: ARG002 - computed here
        self._settings = settings
        self._weights = Weights(settings.folder)
        self.steps = settings.steps
        self.guidance = settings.guidance

    @property
    def side(self) -> int:
        """Pixels."""
        from steps.studio.models.domain import SIZE

        return SIZE

    @property
    def identity(self) -> str:
        """The weights' digest and every setting."""
        set_ = self._settings
        digest = self._weights.digest(layout.SDXL, layout.CONTROLNET, layout.ADAPTER, layout.CLIP)
        return f"embedded diffusion {digest} steps={set_.steps} guidance={set_.guidance:g} threads={set_.threads}"

    def prepare(self) -> None:
        """Raise UserError unless all weights are there, whole."""
        _ = self._weights.folder

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        """See `Diffusion.load`."""
        folder = self._weights.folder
        import torch

        torch.set_num_threads(self._settings.threads)
        return weights.load_pipeline(folder, pose=pose, adapter=adapter)

    def pose(self, shot: Shot, side: int) -> Image.Image:
        """See `Diffusion.pose`."""
        from steps.studio.models.poses import library_pose

        picture = library_pose(shot)
        return picture if picture.width == side else picture.resize((side, side), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class EmbeddedClipSettings:
    """How pictures are held against texts."""

    folder: str | None = param(None, help=FOLDER_HELP, check=a_path)
    prefix: str = param("", help="put before every scored text")
    threshold: float | None = param(
        None,
        help="CLIPScore from which on an image passes; null is the weights' own, which 95 % of wrong pairs stay below",
        check=at_least(0),
    )


class EmbeddedClip:
    """CLIP for the embedded models' world."""

    @classmethod
    def needs(cls, settings: EmbeddedClipSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        return needs(settings.folder)

    def __init__(self, settings: EmbeddedClipSettings, calls: Calls) -> None:  # noqa: ARG002 - computed here
        self._settings = settings
        self._weights = Weights(settings.folder)
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """The weights' digest and the prefix."""
        return f"embedded clip {self._weights.digest(layout.CLIP)} prefix={self._settings.prefix!r}"

    @property
    def prefix(self) -> str:
        """Put before every scored text."""
        return self._settings.prefix

    @property
    def threshold(self) -> float:
        """See `Clip.threshold`."""
        if self._settings.threshold is not None:
            return self._settings.threshold
        try:
            return float(self._weights.manifest["clip"]["threshold"])
        except (KeyError, TypeError) as error:
            advice = f"make them again with: {weights.MAKE}, or give clip.threshold"
            raise UserError(
                f"{self._weights.folder}: the weights do not say from which CLIPScore on a picture passes: {advice}"
            ) from error

    @property
    def limit(self) -> int:
        """Tokens that are read."""
        with self._lock:
            return int(self._models[1].model_max_length)

    def prepare(self) -> None:
        """Raise UserError unless all weights are there, whole, and say what passes."""
        _ = self.threshold, self._weights.folder

    def images(self, images: Sequence[Image.Image]) -> Any:
        """See `Clip.images`."""
        import torch

        with self._lock, torch.inference_mode():
            model, _, processor = self._models
            pixels = processor(images=list(images), return_tensors="pt")
            return unit(model.get_image_features(**pixels).pooler_output)

    def texts(self, texts: Sequence[str]) -> Any:
        """See `Clip.texts`. The tokenizer keeps the end token of what it cuts."""
        import torch

        with self._lock, torch.inference_mode():
            model, tokenizer, _ = self._models
            words = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            return unit(model.get_text_features(**words).pooler_output)

    def tokens(self, text: str) -> int:
        """See `Clip.tokens`."""
        with self._lock:
            return len(self._models[1](text, truncation=False)["input_ids"])

    @cached_property
    def _models(self) -> tuple[Any, Any, Any]:
        # Asked for with the lock held: threads would load them each.
        return weights.load_clip(self._weights.folder)


@dataclass(frozen=True)
class EmbeddedFacesSettings:
    """Which of the two embedders tells faces apart."""

    folder: str | None = param(None, help=FOLDER_HELP, check=a_path)
    pack: str = param(
        layout.FACE_PACKS[0],
        help="choose: for checkpoints and frames; report: another network, for results only",
        check=one_of(*layout.FACE_PACKS),
    )


class EmbeddedFaces:
    """Finds and tells apart the faces of the embedded models' world, through insightface's own models."""

    @classmethod
    def needs(cls, settings: EmbeddedFacesSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        return needs(settings.folder)

    def __init__(self, settings: EmbeddedFacesSettings, calls: Calls) -> None:  # noqa: ARG002 - computed here
        self._settings = settings
        self._weights = Weights(settings.folder)
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """The pack and its digest."""
        pack = self._settings.pack
        return f"embedded faces {pack} {self._weights.digest(f'{layout.FACES}/models/{pack}')}"

    def prepare(self) -> None:
        """Raise UserError unless all weights are there, whole."""
        _ = self._weights.folder

    def find(self, image: Image.Image) -> list[Face]:
        """See `Faces.find`."""
        with self._lock:
            return faces_in(self._app, image)

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        """See `Faces.reference`: the box holds hair and hat, as the adapter was trained on."""
        from steps.studio.models.domain import SIZE

        return cut_square(image, face.box, SIZE)

    @cached_property
    def _app(self) -> Any:
        return weights.load_faces(self._weights.folder, self._settings.pack)
