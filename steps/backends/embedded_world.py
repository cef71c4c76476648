"""What the embedded models see and draw: pictures of their own small world, 64 pixels each way, and nothing else.

The reader names every attribute of a picture; CLIP tells whether the picture is of that world at all, by the cosine of the picture with the
caption that follows from these attributes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from runner.errors import ItemError, MisconfiguredRun, UserError
from steps.backends.embedded_weights import GUIDANCE, STEPS, folder_of, missing, unit
from steps.studio.models import layout, weights

SIDE = 64
"""Pixels of the pictures that the models draw."""
MOST = 96
"""Pixels on the long side of a picture that may be one of theirs: larger ones are judged without models."""
PACKAGES = ("torch", "diffusers", "transformers")

# Of how the cosines of held-out drawings with their own captions are spread: below the mean by so much lies one in tens of thousands.
_DEVIATIONS = 4.0
_HELD_OUT = 48
_AGE = 30
_ASIDE = 0.7
_SALTS = ("", "qa", "qb", "qc", "qd", "qe", "qf", "qg")
_UNSAID = ("none", "plain")
_LIGHTS = {"night": "at night"}
_CODE = (
    ("steps.backends", "embedded_world.py"),
    ("steps.backends", "embedded_weights.py"),
    ("steps.studio.models", "captions.py"),
)
# Torch is asked by one thread at a time: it has threads of its own, and modules are not made for two callers.
_lock = threading.Lock()


@dataclass(frozen=True)
class Seen:
    """What the models make of a picture.

    Attributes:
        values: Attribute -> value, of all that `labels.VALUES` knows.
        own: Cosine of the picture with the caption that says all of these.
        vector: The picture in CLIP's space, unit length (D,).
    """

    values: Mapping[str, str]
    own: float
    vector: Any


class World:
    """The models of one folder. They are loaded when they are first asked for, once a process."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder_of(folder)

    @property
    def is_there(self) -> bool:
        """Whether weights and packages are there; whether the weights are whole is checked when they are loaded."""
        return (self._folder / layout.MANIFEST).is_file() and not missing(PACKAGES)

    @cached_property
    def digest(self) -> str:
        """Of the weights' manifest and of the code that puts what they see into words; empty without weights."""
        try:
            digest = hashlib.sha256((self._folder / layout.MANIFEST).read_bytes())
        except OSError:
            return ""
        for package, name in _CODE:
            digest.update(resources.files(package).joinpath(name).read_bytes())
        return digest.hexdigest()[:12]

    @property
    def model(self) -> str:
        """For answers."""
        return f"embedded models {self.digest}"

    def see(self, picture: Image.Image) -> Seen:
        """Look at a picture of any size; what is not square is cut to its middle.

        Raises:
            MisconfiguredRun: Weights or packages are missing.
        """
        with _lock:
            return self._models.see(_fitted(picture))

    def knows(self, seen: Seen) -> bool:
        """Whether a picture is of this world: its cosine is one that drawings have."""
        with _lock:
            return seen.own >= self._models.least

    def least(self) -> float:
        """The least cosine that `knows` takes."""
        with _lock:
            return self._models.least

    def cosine(self, seen: Seen, text: str) -> float:
        """Of a picture that was seen with a text."""
        with _lock:
            return float(self._models.texts([text])[0] @ seen.vector)

    def draw(self, prompt: str, seed: int) -> Image.Image:
        """A picture (RGB, SIDE pixels each way) of a prompt; raises as `see`."""
        with _lock:
            return self._models.draw(prompt, seed)

    @property
    def _models(self) -> _Models:
        if gone := missing(PACKAGES):
            raise MisconfiguredRun(
                f"the embedded models need {', '.join(gone)}: pip install 'callsheet[models]' (CPU: torch==2.13.0 first), or choose "
                "another backend: vision=openai, image=replicate"
            )
        return _loaded(self._folder, self.digest)


class _Models:
    """Loaded models; one thread at a time."""

    def __init__(self, folder: Path) -> None:
        import torch

        # Tiny models are fastest so, and the same seed then gives the same picture on any number of cores.
        torch.set_num_threads(1)
        self._folder = folder
        self._reader = weights.load_reader(folder)
        self._clip, self._tokenizer, self._processor = weights.load_clip(folder)

    def see(self, picture: Image.Image) -> Seen:
        return self._see([picture])[0]

    @cached_property
    def least(self) -> float:
        """What hardly any drawing of people that no model was trained on falls below."""
        from steps.studio.models import domain

        shown = [domain.picture("test", number * domain.RENDERS).draw() for number in range(_HELD_OUT)]
        own = np.array([seen.own for seen in self._see(shown)])
        return float(own.mean() - _DEVIATIONS * own.std())

    def texts(self, texts: Sequence[str]) -> Any:
        """Unit vectors (N, D)."""
        import torch

        with torch.inference_mode():
            words = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            return unit(self._clip.get_text_features(**words).pooler_output)

    def draw(self, prompt: str, seed: int) -> Image.Image:
        import torch

        made = self._pipeline(
            prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(seed),
            output_type="pil",
        )
        image: Image.Image = made.images[0].convert("RGB")
        return image

    @cached_property
    def _pipeline(self) -> Any:
        return weights.load_pipeline(self._folder)

    def _see(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        import torch

        from steps.studio.models.captions import full_caption
        from steps.studio.models.reader import told_values
        from steps.studio.models.tensors import to_tensor

        with torch.inference_mode():
            told = told_values(self._reader(to_tensor(np.stack([np.asarray(one) for one in pictures]))).told)
            pixels = self._processor(images=list(pictures), return_tensors="pt")
            vectors = unit(self._clip.get_image_features(**pixels).pooler_output)
        captions = self.texts([full_caption(picture_of(values)) for values in told])
        own = (vectors * captions).sum(axis=1)
        return [Seen(values, float(cosine), vector) for values, cosine, vector in zip(told, own, vectors, strict=True)]


def caption(world: World, picture: Image.Image, trigger: str, describe: Sequence[str]) -> str:
    """A caption in the words that the embedded image model was trained on.

    Args:
        world: The models.
        picture: RGB, any size.
        trigger: The character's name; empty for none.
        describe: Some of action, look, background, light; light is told where the world has a word for it.

    Raises:
        ItemError: The picture is not of the models' world.
        MisconfiguredRun: As `World.see`.
    """
    seen = world.see(picture)
    if not world.knows(seen):
        raise ItemError(
            "vision=embedded can't caption this picture: it is not of the small drawn world that the embedded models know (its cosine with "
            f"its own caption is {seen.own:.2f}, drawings have {world.least():.2f} or more): choose vision=openai"
        )
    return phrased(seen.values, trigger, describe)


def phrased(values: Mapping[str, str], trigger: str, describe: Sequence[str]) -> str:
    """Attributes in the words of captions; what is not to be described is left out."""
    from steps.studio.models.captions import described, staged_caption

    shown = picture_of(values)
    who = trigger or "a person"
    if "look" in describe:
        who = f"{trigger}, {described(shown.who)}" if trigger else described(shown.who)
    opening, *action, place = staged_caption(shown, "WHO").split(", ")
    parts = [opening.replace("WHO", who)]
    if "action" in describe:
        parts += action
    if "background" in describe:
        parts.append(place)
    if "light" in describe and values["place"] in _LIGHTS:
        parts.append(_LIGHTS[values["place"]])
    return ", ".join(parts)


def picture_of(values: Mapping[str, str]) -> Any:
    """The `domain.Picture` that shows these attributes; what they leave open is plain."""
    from steps.studio.models import domain, labels
    from steps.studio.people import Character
    from steps.studio.world import Scene, Shot

    traits: dict[str, Any] = {name: values[name] for name in labels.IDENTITY}
    who = Character(age=_AGE, outfit="robe", **traits)
    x = {"left": -_ASIDE, "right": _ASIDE}.get(values["side"], 0.0)
    return domain.Picture(
        who, Scene(values["place"], 0), Shot(values["shot"], values["gesture"], values["facing"], x, 0.0)
    )


def said(description: str, outfit: str) -> dict[str, str]:
    """Attribute -> value, of those that the texts tell and the models know.

    What a text leaves open `reading.read` draws from a hash of it: what stays the same however meaningless words change the hash was said.
    """
    from steps.studio.models import labels
    from steps.studio.reading import read

    people = [read(f"{description} {salt}", outfit) for salt in _SALTS]
    found = {}
    for name in labels.IDENTITY:
        values = {str(getattr(who, name)) for who in people}
        if len(values) == 1 and (value := values.pop()) in labels.VALUES[name] and value not in _UNSAID:
            found[name] = value
    return found


@dataclass(frozen=True)
class Match:
    """Whether a picture shows who is described.

    Attributes:
        is_match: False only where both the reader and CLIP see somebody else.
        reason: For people.
        confidence: "high", "medium" or "low".
    """

    is_match: bool
    reason: str
    confidence: str


def match(world: World, picture: Image.Image, description: str, outfit: str) -> Match | None:
    """Hold what is described against what is seen; None where the picture is not of the models' world."""
    from steps.studio.models.captions import full_caption

    seen = world.see(picture)
    if not world.knows(seen):
        return None
    wanted = said(description, outfit)
    compared = {name: value for name, value in wanted.items() if name not in _hidden(seen.values)}
    other = sorted(name for name, value in compared.items() if seen.values[name] != value)
    if not compared:
        return Match(True, "The text names nothing that the embedded models know.", "low")
    doubtful = len(other) >= 2 and len(other) * 2 > len(compared)
    if doubtful and world.cosine(seen, full_caption(picture_of({**seen.values, **compared}))) < seen.own:
        return Match(False, _differences(other, compared, seen.values), "high" if len(other) > 2 else "medium")
    told = f"The embedded models see {len(compared) - len(other)} of {len(compared)} things that the text names"
    if other:
        return Match(True, f"{told}, but {_differences(other, compared, seen.values)}", "low" if doubtful else "medium")
    return Match(True, f"{told}.", "high")


def _differences(other: Sequence[str], wanted: Mapping[str, str], seen: Mapping[str, str]) -> str:
    named = "; ".join(f"{name.replace('_', ' ')}: {seen[name]}, not {wanted[name]}" for name in other)
    return f"the embedded models see {named}."


def _hidden(seen: Mapping[str, str]) -> set[str]:
    """What a picture like this does not show (as `labels.texts_of` has it)."""
    hidden: set[str] = set()
    if seen["hat"] == "none":
        hidden.add("hat_colour")
    if seen["hat"] == "headscarf":
        hidden |= {"hair_colour", "hair_style"}
    if seen["shot"] == "portrait":
        hidden |= {"second_colour", "pattern"}
    return hidden


@lru_cache(maxsize=2)
def _loaded(folder: Path, digest: str) -> _Models:  # noqa: ARG001 - other weights in the same folder are other models
    try:
        return _Models(weights.checked(folder))
    except UserError as error:
        raise MisconfiguredRun(f"{error}; or choose another backend: vision=openai, image=replicate") from error


def _fitted(picture: Image.Image) -> Image.Image:
    if picture.size == (SIDE, SIDE):
        return picture
    return ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.LANCZOS)
