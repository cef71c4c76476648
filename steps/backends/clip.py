"""CLIP ViT-B/32, or another `CLIPModel`, from a folder or the Hugging Face cache: what the gate of 0.70 was defined with."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from runner.calls import Calls
from runner.doctor import Need
from runner.params import at_least, one_of, param
from steps.backends import hub
from steps.backends.hub import Source

_NEEDED = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "merges.txt",
    "tokenizer_config.json",
    "vocab.json",
)
_BATCH = 32


@dataclass(frozen=True)
class ClipSettings:
    """Which encoder, and from which score on an image passes."""

    model: str = param("openai/clip-vit-base-patch32", help="a folder or an id on the hub")
    revision: str | None = param(
        "c237dc49a33fc61debc9276459120b7eac67e7ef", help="its commit on the hub, 40 digits; of no meaning for a folder"
    )
    prefix: str = param("A photo depicts", help="put before every scored text, as Hessel et al. 2021 do")
    threshold: float = param(0.70, help="CLIPScore from which on an image passes", check=at_least(0))
    device: str = param("cpu", help="where it computes", check=one_of("cpu", "cuda"))
    download: bool = param(False, help="fetch what is missing from the hub", operational=True)


class VitClip:
    """Embeds images and texts in one space."""

    def __init__(self, settings: ClipSettings, calls: Calls) -> None:
        self._settings = settings
        self._hashes = calls.hashes
        self._source = _source(settings)
        self._lock = threading.Lock()
        self.prefix = settings.prefix
        self.threshold = settings.threshold

    @classmethod
    def needs(cls, settings: ClipSettings) -> Iterable[Need]:
        """For `callsheet doctor`."""
        fault = _source(settings).fault()
        yield Need(settings.model, fault is None, fault or "")

    @cached_property
    def identity(self) -> str:
        """The encoder with its revision, and the prefix."""
        return f"clip {self._source.identity(self._hashes)} prefix={self.prefix!r}"

    @property
    def limit(self) -> int:
        """Tokens that are read."""
        return int(self._models[0].config.text_config.max_position_embeddings)

    def prepare(self) -> None:
        """Raise UserError with the command that fetches what is missing."""
        if not self._settings.download:
            hub.check([self._source])

    def images(self, images: Sequence[Image.Image]) -> Any:
        """See `Clip.images`."""
        with self._lock:
            return self._embedded(self._seen, list(images))

    def texts(self, texts: Sequence[str]) -> Any:
        """See `Clip.texts`. The tokenizer keeps the end token of what it cuts."""
        with self._lock:
            return self._embedded(self._read, list(texts))

    def tokens(self, text: str) -> int:
        """See `Clip.tokens`."""
        return len(self._models[1](text, truncation=False)["input_ids"])

    def _embedded(self, embed: Any, values: list[Any]) -> Any:
        """Unit vectors (N, D), float32, some at a time."""
        import numpy as np
        import torch

        with torch.inference_mode():
            parts = [embed(values[start : start + _BATCH]) for start in range(0, len(values), _BATCH)]
        vectors = np.concatenate([part.float().cpu().numpy() for part in parts])
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def _seen(self, images: list[Image.Image]) -> Any:
        model, _, processor = self._models
        pixels = processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        return model.get_image_features(**pixels.to(self._settings.device)).pooler_output

    def _read(self, texts: list[str]) -> Any:
        model, tokenizer, _ = self._models
        limit = model.config.text_config.max_position_embeddings
        words = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return model.get_text_features(**words.to(self._settings.device)).pooler_output

    @cached_property
    def _models(self) -> tuple[Any, Any, Any]:
        import torch
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        from steps.studio.models.weights import quiet

        quiet()
        folder = self._source.folder(download=self._settings.download)
        options = {"local_files_only": True, "use_safetensors": True}
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, **options).eval()
        return (
            model.to(self._settings.device),
            CLIPTokenizer.from_pretrained(folder, local_files_only=True),
            CLIPImageProcessorPil.from_pretrained(folder),
        )


def _source(settings: ClipSettings) -> Source:
    return Source(settings.model, settings.revision, _NEEDED, ("config.json", "preprocessor_config.json"))
