"""What is asked of local models: find faces, hold images against texts, draw. They cost nothing a call, and are asked directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from steps.library.shots import Shot


@dataclass(frozen=True)
class Face:
    """One face in an image.

    Attributes:
        box: Left, top, right, bottom in pixels; it may leave the image.
        score: How sure the detector is, 0 to 1.
        embedding: Unit vector (D,), float32; the dot product of two is their cosine.
    """

    box: tuple[float, float, float, float]
    score: float
    embedding: Any


class Faces(Protocol):
    """Finds faces and tells them apart."""

    @property
    def identity(self) -> str:
        """Names detector and embedder with the hashes of their weights."""
        ...

    def find(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB image, the largest first; none where there is none."""
        ...

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        """The square around a face that image adapters are conditioned with (RGB); beyond the image its border is repeated."""
        ...

    def prepare(self) -> None:
        """Raise UserError with the command that fetches what is missing."""
        ...


class Clip(Protocol):
    """Embeds images and texts in one space (CLIP)."""

    @property
    def identity(self) -> str:
        """Names the encoder with the hash of its weights, and the prefix."""
        ...

    @property
    def prefix(self) -> str:
        """Put before every scored text ("A photo depicts"); may be empty."""
        ...

    @property
    def threshold(self) -> float:
        """The CLIPScore, 2.5 x max(cosine, 0), from which on an image passes for its text (Hessel et al. 2021)."""
        ...

    def images(self, images: Sequence[Image.Image]) -> Any:
        """Unit vectors (N, D), float32."""
        ...

    def texts(self, texts: Sequence[str]) -> Any:
        """Unit vectors (N, D), float32, of texts as they are: the prefix is the caller's. Texts too long keep their end token."""
        ...

    def tokens(self, text: str) -> int:
        """How many tokens a text has, start and end counted; `limit` are kept."""
        ...

    @property
    def limit(self) -> int:
        """Tokens that the encoder reads (77)."""
        ...

    def prepare(self) -> None:
        """Raise UserError with the command that fetches what is missing."""
        ...


class Diffusion(Protocol):
    """An image model of the SDXL family with its IP-Adapter and ControlNet, loaded through diffusers' own classes."""

    @property
    def identity(self) -> str:
        """Names the model with its revision or the hash of its weights, and every setting that may change an image."""
        ...

    @property
    def side(self) -> int:
        """Pixels; images are square and this large by default."""
        ...

    @property
    def steps(self) -> int:
        """Sampling steps by default."""
        ...

    @property
    def guidance(self) -> float:
        """Guidance scale by default."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda"."""
        ...

    @property
    def gpu_usd_per_hour(self) -> float | None:
        """What an hour of its device costs in US dollars; None where nobody said."""
        ...

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        """A fresh pipeline on the device, which shares nothing with others; float32 on a CPU.

        Args:
            pose: `StableDiffusionXLControlNetPipeline` instead of `StableDiffusionXLPipeline`.
            adapter: With its IP-Adapter loaded, at scale 1.
        """
        ...

    def pose(self, shot: Shot, side: int) -> Image.Image:
        """The picture of limbs that the ControlNet knows, of anybody in this shot (RGB, `side` pixels each way)."""
        ...

    def prepare(self) -> None:
        """Raise UserError with the command that fetches what is missing."""
        ...
