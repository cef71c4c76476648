"""Scores of drawn pictures: held against their prompts by CLIP, and against images of the character by their faces."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from steps.backends.protocols import Clip, Faces
from steps.library.shots import Shot
from steps.library.stories import Scene, scored_text, unnamed
from steps.studio.frames.gate import score_of
from steps.studio.lora.scores import SampleScore


class Evaluator:
    """Scores pictures of a character.

    Args:
        clip: Holds pictures against texts.
        faces: The choosing embedder.
        references: Images of the character.
        trigger: Its name, which CLIP does not know.
    """

    def __init__(self, clip: Clip, faces: Faces, references: Sequence[Image.Image], trigger: str | None) -> None:
        self._clip = clip
        self._faces = faces
        self._trigger = trigger
        # The largest face of an image is whom it is about.
        self.references = [found[0].embedding for found in map(faces.find, references) if found]

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str], files: Sequence[str]) -> list[SampleScore]:
        """Each picture against its prompt and the references."""
        if not images:
            return []
        texts = [without(f"{self._clip.prefix} {prompt}".strip(), self._trigger) for prompt in prompts]
        cosines = (self._clip.images(images) * self._clip.texts(texts)).sum(axis=1).tolist()
        return [
            SampleScore(file, prompt, score_of(float(cosine)), self._likeness(image))
            for image, prompt, file, cosine in zip(images, prompts, files, cosines, strict=True)
        ]

    def _likeness(self, image: Image.Image) -> float | None:
        cosines = [float(face.embedding @ one) for face in self._faces.find(image) for one in self.references]
        return max(cosines, default=None)


def without(prompt: str, trigger: str | None) -> str:
    """A prompt without the name that only the LoRA knows."""
    return scored_text(Scene(unnamed(prompt, trigger), Shot()))
