"""The sample library: a small cast with everything that goes wrong in a real one, and the truth about each actor."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from runner.files import write_bytes, write_json
from steps.library.pictures import encode_jpeg
from steps.studio.people import Character, seeded
from steps.studio.sample_cast import PARTS, Part
from steps.studio.wording import caption, read
from steps.studio.world import PLACES, SHOTS, Scene, Shot, draw, draw_scene

BASE_SIZE = (768, 1152)
TRAINING_SIZE = (512, 288)
_TRAINING_STYLES = {
    "photorealistic": "photo of",
    "bw_stylized": "black and white ink drawing of",
    "color_stylized": "colour comic of",
}
# A real library's mix: mostly photographs, some drawings.
_MIX = ("photorealistic", "color_stylized", "photorealistic", "bw_stylized", "photorealistic")


@dataclass(frozen=True)
class SampleActor:
    """An actor of the sample library with what a careful person would say of it.

    Attributes:
        id: From 0.
        name: `{id:04d}_{complexion}_{age}_{sex}`, also the name of the actor's folder.
        description: Who the actor is.
        outfit: What the actor wears.
        expected: The right action: skip, create_base_image, recreate_blurry or recreate_mismatch.
        why: What is wrong, or why nothing is.
        flaw: How the picture is made; one of `sample_cast.FLAWS`.
        place: Where the picture was taken.
        shot: Portrait, half or full.
        legacy: Which old metadata file the actor has: prompt_list, prompt_map, response, broken or "".
        seed: Draws face, pose and scene.
    """

    id: int
    name: str
    description: str
    outfit: str
    expected: str
    why: str
    flaw: str
    place: str
    shot: str
    legacy: str
    seed: int

    @property
    def character(self) -> Character:
        """The person as told."""
        face = seeded(f"face {self.seed}").randrange(2**31)
        return replace(read(self.description, self.outfit), face_seed=face)


def cast(seed: int = 0) -> tuple[SampleActor, ...]:
    """The sample actors; another seed gives them other faces, poses and scenes."""
    return tuple(_actor(index, part, seed) for index, part in enumerate(PARTS))


def actors_document(actors: tuple[SampleActor, ...]) -> list[dict[str, Any]]:
    """What actorsData.json holds."""
    return [
        {"id": actor.id, "name": actor.name, "description": actor.description, "outfit": actor.outfit}
        for actor in actors
    ]


def truth_document(actors: tuple[SampleActor, ...]) -> dict[str, Any]:
    """The right action for each actor, and why."""
    return {"actors": {actor.name: {"expected": actor.expected, "why": actor.why} for actor in actors}}


def draw_actor(actor: SampleActor, root: Path) -> None:
    """Write an actor's images, legacy files and manifest below the data folder `root`: the same bytes each time."""
    home = root / "actors" / actor.name
    base = _base_image(actor)
    place = _base_place(actor)
    if base is not None:
        write_bytes(root / place, base)
    if actor.flaw != "absent":
        prompts = _draw_training(actor, home / "training_data")
        _write_legacy(actor, home / "training_data", prompts)
    write_json(root / "actor_manifests" / f"{actor.id:04d}_manifest.json", _manifest(actor))


def _actor(index: int, part: Part, seed: int) -> SampleActor:
    return SampleActor(
        id=index,
        name=f"{index:04d}_{part.origin}_{part.age}_{part.sex}",
        description=part.description,
        outfit=part.outfit,
        expected=part.expected,
        why=part.why,
        flaw=part.flaw,
        place=part.place,
        shot=part.shot,
        legacy=part.legacy,
        seed=seed * 1000 + index,
    )


def _base_place(actor: SampleActor) -> Path:
    home = Path("actors") / actor.name
    if actor.flaw == "poster only":
        return home / "poster_frame" / f"{actor.name}_poster.jpg"
    if actor.flaw == "training only":
        return home / "training_data" / f"{actor.name}_0.jpg"
    return home / "base_image" / f"{actor.name}_base.jpg"


def _base_image(actor: SampleActor) -> bytes | None:
    """The actor's best picture, with its flaw; None where there is none."""
    if actor.flaw == "absent":
        return None
    data = encode_jpeg(_flawed(actor), quality=90)
    return data[: len(data) // 2] if actor.flaw == "cut off" else data


def _flawed(actor: SampleActor) -> Image.Image:
    scene = Scene(actor.place, actor.seed)
    if actor.flaw == "nobody":
        return draw_scene(scene, size=BASE_SIZE, seed=actor.seed, style="color_stylized")
    who = PARTS[(actor.id + 8) % len(PARTS)] if actor.flaw == "somebody else" else None
    character = read(who.description, who.outfit) if who else actor.character
    style = "color_stylized" if actor.flaw == "comic" else "photorealistic"
    shot = Shot(actor.shot, "akimbo" if actor.id % 3 == 1 else "standing", sway=0.5)
    return _spoilt(draw(character, scene, shot, size=BASE_SIZE, seed=actor.seed, style=style), actor)


def _spoilt(image: Image.Image, actor: SampleActor) -> Image.Image:
    if actor.flaw == "out of focus":
        return image.filter(ImageFilter.GaussianBlur(8))
    if actor.flaw == "moved":
        return image.filter(ImageFilter.BoxBlur((17, 2)))
    if actor.flaw == "enlarged":
        return image.resize((64, 96), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    if actor.flaw == "grainy":
        grain = np.random.default_rng(actor.seed).normal(0, 13, (image.height, image.width, 1))
        return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return image


def _draw_training(actor: SampleActor, folder: Path) -> dict[str, str]:
    """Draw the training images; each file's name with its prompt."""
    rng = seeded(f"training {actor.seed}")
    prompts = {}
    for number in range(1, 7 + rng.randrange(5)):
        style = _MIX[number % len(_MIX)]
        scene = Scene(rng.choice(PLACES), rng.randrange(2**31))
        gesture = rng.choice(("standing", "waving", "akimbo", "sitting"))
        shot = Shot(rng.choice(SHOTS), gesture, rng.choice(("left", "front", "right")), rng.uniform(-0.7, 0.7))
        image = draw(actor.character, scene, shot, size=TRAINING_SIZE, seed=rng.randrange(2**31), style=style)
        name = f"{actor.name}_{number}.{'png' if style == 'bw_stylized' else 'jpg'}"
        write_bytes(folder / name, _encoded(image, name))
        prompts[name] = f"{_TRAINING_STYLES[style]} {caption(actor.character, scene, shot)[2:]}"
    return prompts


def _encoded(image: Image.Image, name: str) -> bytes:
    if name.endswith(".jpg"):
        return encode_jpeg(image, quality=88)
    buffer = io.BytesIO()
    image.convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def _write_legacy(actor: SampleActor, folder: Path, prompts: dict[str, str]) -> None:
    """The metadata that older tools left, in the shapes in which it is met."""
    web = f"https://media.example.com/actors/{actor.name}/training_data"
    if actor.legacy == "response":
        write_json(
            folder / "response.json", [_prediction(actor, prompt, f"{web}/{name}") for name, prompt in prompts.items()]
        )
    elif actor.legacy == "prompt_map":
        document = {name: {"prompt": prompt, "url": f"{web}/{name}"} for name, prompt in prompts.items()}
        write_json(folder / "prompt_metadata.json", document)
    elif actor.legacy:
        images = [{"filename": name, "prompt": prompt, "s3_url": f"{web}/{name}"} for name, prompt in prompts.items()]
        text = json.dumps({"images": images}, indent=2)
        # One of them was cut off while it was written, as it happens.
        write_bytes(folder / "prompt_metadata.json", text[: 300 if actor.legacy == "broken" else None].encode())


def _prediction(actor: SampleActor, prompt: str, url: str) -> dict[str, Any]:
    name = seeded(f"prediction {actor.name} {url}").getrandbits(80)
    return {"id": f"{name:020x}", "input": {"prompt": prompt}, "output": [url], "status": "succeeded"}


def _manifest(actor: SampleActor) -> dict[str, Any]:
    images = []
    if actor.flaw not in ("absent", "poster only", "training only"):
        path = _base_place(actor).as_posix()
        images = [{"moved_to": path} if actor.id % 4 == 3 else {"relative_path": path}]
    word = "man" if actor.character.sex == "male" else "woman"
    return {
        "id": f"{actor.id:04d}",
        "name": actor.name,
        "descriptor": f"young {word}" if actor.character.age_group == "teen" else word,
        "base_images": images,
    }
