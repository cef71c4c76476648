"""The sample library of training images: a cast with what goes wrong in real folders, metadata and buckets, and the truth of it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from runner import files
from steps.library import layout
from steps.library.pictures import encode_jpeg
from steps.studio.people import Character, random_character, seeded
from steps.studio.training_cast import PARTS, USABLE_BASES, TrainingPart
from steps.studio.training_files import (
    BASE,
    COPY,
    CORRUPT,
    CUT_OFF,
    EMPTY,
    LINK,
    NOTHING,
    TEXT,
    WHOLE,
    SampleImage,
    TrainingActor,
    decoys_of,
    images_of,
)
from steps.studio.training_metadata import documents_of, key_of
from steps.studio.training_picture import CLASSES, figure_of, training_picture
from steps.studio.vocabulary import ORIGINS
from steps.studio.wording import describe
from steps.studio.world import Scene, Shot, draw

SIZES = ((336, 189), (352, 198), (368, 207))
BASE_SIZE = (384, 576)
TARGET = {"photorealistic": 13, "bw_stylized": 4, "color_stylized": 3}
TOLERANCE = 10
# Where a picture lies that the library only links to, beside it.
ELSEWHERE = "elsewhere"
GROUPS = """# Named groups of actors, for actors=@group.
robots: [27, 28]
creatures: [29, 30]
villains: [5, "@creatures"]
"""
_BASE_ACTIONS = {"absent": "create_base_image", "cut off": "recreate_blurry", "link outside": "error"}
_BASE_FAULTS = {
    "absent": "there is no base image anywhere",
    "cut off": "the base image is cut off half way: no viewer can show it whole",
    "link outside": "the base image is a link that leads out of the library",
}


def cast(seed: int = 0) -> tuple[TrainingActor, ...]:
    """The actors; another seed gives them other faces, clothes, pictures and accidents."""
    return tuple(_actor(index, part, seed) for index, part in enumerate(PARTS))


def actors_document(actors: Sequence[TrainingActor]) -> list[dict[str, Any]]:
    """What actorsData.json holds."""
    return [
        {"id": actor.id, "name": actor.name, "description": actor.description, "outfit": actor.outfit}
        for actor in actors
    ]


def truth_document(actors: Sequence[TrainingActor]) -> dict[str, Any]:
    """What a careful person would say of each actor's base image and of each training image, and what may be made of them."""
    return {"actors": {actor.name: _truth(actor) for actor in actors}}


def outcome(actor: TrainingActor) -> str:
    """What balancing to 65/20/15 of 20 can make of an actor, without any look that goes wrong.

    Returns:
        balanced: Nothing is to be done. at target: It is, afterwards. refilled: With `include_empty`. short: Images are missing, and there
        is no usable base image. nothing: Neither images nor a usable base image.
    """
    usable = actor.part.base in USABLE_BASES
    images = [image for image in images_of(actor) if _counts(image)]
    good = Counter(image.kind for image in images if image.quality > 0)
    if not images:
        return "refilled" if usable else "nothing"
    if len(images) == good.total() and _is_balanced(good):
        return "balanced"
    enough = all(good[kind] >= count for kind, count in TARGET.items())
    return "at target" if usable or enough else "short"


def draw_actor(actor: TrainingActor, root: Path, bucket: Path) -> None:
    """Write all of an actor: the same bytes each time.

    Args:
        actor: Who.
        root: The data folder; what links lead to outside of it is drawn beside it.
        bucket: The folder that holds the bucket's objects, by key.
    """
    base = encode_jpeg(_base_picture(actor), quality=90)
    _write_base(actor, base, root)
    images = images_of(actor)
    contents = _contents(actor, images, base)
    folder = layout.training_folder(root, actor.name)
    for image in images:
        if image.what == LINK:
            _link(folder / image.file, Path("..") / "poster_frame" / f"{actor.name}_poster.jpg")
            files.write_bytes(layout.actor_folder(root, actor.name) / "poster_frame" / f"{actor.name}_poster.jpg", base)
        elif image.disk:
            files.write_bytes(folder / image.file, contents[image.file])
        if image.bucket:
            files.write_bytes(bucket / key_of(actor, image), contents[image.file])
    for name, content in decoys_of(actor).items():
        files.write_bytes(folder / name, content)
    for name, text in documents_of(actor, images, contents).items():
        files.write_text(folder / name, text)
    if "no actor manifest" not in actor.part.flaws:
        files.write_json(layout.actor_manifest(root, actor.id), _actor_manifest(actor))


def _actor(index: int, part: TrainingPart, seed: int) -> TrainingActor:
    own = seed * 1000 + index
    description, outfit = describe(_person(part, own), own)
    if part.being != "human":
        description = f"A {part.descriptor}, in shape and size like a {description}"
    return TrainingActor(index, f"{index:04d}_{part.name}", description, outfit, part, own)


def _person(part: TrainingPart, seed: int) -> Character:
    """Somebody of the part's complexion, age and sex, everything else being chance."""
    rng = seeded(f"training cast {seed}")
    who = random_character(rng)
    if part.being != "human":
        return replace(who, hair_style="bald", facial_hair="none", mark="none")
    origin, age, sex = part.name.split("_")
    while who.sex != sex:
        who = random_character(rng)
    return replace(who, age=int(age), skin=ORIGINS[origin])


def _base_picture(actor: TrainingActor) -> Image.Image:
    shot = Shot("full", "akimbo" if actor.id % 3 == 1 else "standing", sway=0.5)
    return draw(
        figure_of(actor.description, actor.outfit),
        Scene("studio", actor.seed),
        shot,
        size=BASE_SIZE,
        seed=actor.seed,
        style="photorealistic",
    )


def _write_base(actor: TrainingActor, base: bytes, root: Path) -> None:
    home, kind = layout.actor_folder(root, actor.name), actor.part.base
    ours, poster = layout.base_image(root, actor.name), home / "poster_frame" / f"{actor.name}_poster.jpg"
    if kind == "good":
        files.write_bytes(ours, base)
    elif kind == "cut off":
        files.write_bytes(ours, base[: len(base) // 2])
    elif kind == "png":
        files.write_bytes(ours.with_suffix(".png"), _encoded(Image.open(io.BytesIO(base)), "PNG"))
    elif kind == "poster":
        files.write_bytes(poster, base)
    elif kind == "link inside":
        files.write_bytes(poster, base)
        _link(ours, Path("..") / "poster_frame" / poster.name)
    elif kind == "link outside":
        files.write_bytes(root.parent / ELSEWHERE / ours.name, base)
        _link(ours, Path("../../../..") / ELSEWHERE / ours.name)


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _contents(actor: TrainingActor, images: Sequence[SampleImage], base: bytes) -> Mapping[str, bytes]:
    """The bytes of each image that there is."""
    contents: dict[str, bytes] = {}
    # Copies come after what they are copies of.
    for image in sorted(images, key=lambda image: image.what == COPY):
        if image.what not in (NOTHING, LINK):
            contents[image.file] = contents[image.copy_of] if image.what == COPY else _content(actor, image, base)
    return contents


def _content(actor: TrainingActor, image: SampleImage, base: bytes) -> bytes:
    if image.what == BASE:
        return base
    if image.what == EMPTY:
        return b""
    if image.what == TEXT:
        return b"There was an image here once.\n"
    who, kind = figure_of(actor.description, actor.outfit), image.kind or "photorealistic"
    size = SIZES[actor.id % len(SIZES)]
    picture = training_picture(who, kind, seed=image.seed, quality=image.quality or 9, size=size, prompt=image.prompt)
    data = _encoded(picture.convert("L") if kind == "bw_stylized" else picture, image.format)
    if image.what == CUT_OFF:
        return data[: len(data) // 2]
    if image.what == CORRUPT:
        return data[:8] + bytes(len(data) - 8)
    return data


def _encoded(picture: Image.Image, kind: str) -> bytes:
    if kind == "JPEG":
        return encode_jpeg(picture, quality=90)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _actor_manifest(actor: TrainingActor) -> dict[str, Any]:
    base, images = actor.part.base, []
    if base in ("good", "cut off", "link inside", "link outside"):
        path = f"actors/{actor.name}/base_image/{actor.name}_base.jpg"
        images = [{"moved_to": path} if actor.id % 4 == 3 else {"relative_path": f"data/{path}"}]
    document: dict[str, Any] = {"id": f"{actor.id:04d}", "name": actor.name, "base_images": images}
    if actor.descriptor:
        document["descriptor"] = actor.descriptor
    if actor.part.being != "human":
        document["actor_type"] = actor.part.being
    return document


def _counts(image: SampleImage) -> bool:
    """Whether it is one of the actor's training images: on the disk, or in the bucket and noted."""
    return image.what not in (NOTHING, LINK) and (image.disk or (image.bucket and image.noted))


def _is_balanced(good: Mapping[str | None, int]) -> bool:
    total = sum(TARGET.values())
    shares = {kind: abs(good.get(kind, 0) - count) * 100 / total for kind, count in TARGET.items()}
    return sum(good.values()) == total and all(share <= TOLERANCE for share in shares.values())


def _truth(actor: TrainingActor) -> dict[str, Any]:
    base, images = actor.part.base, images_of(actor)
    counts = Counter(image.kind for image in images if _counts(image) and image.quality > 0)
    return {
        "expected": _BASE_ACTIONS.get(base, "skip"),
        "why": _BASE_FAULTS.get(base, "sharp, and the one described"),
        "usable_base_image": base in USABLE_BASES,
        "training": {
            "outcome": outcome(actor),
            "why": actor.part.why,
            "counts": {kind: counts[kind] for kind in CLASSES},
            "images": {image.file: _image_truth(image) for image in images},
            "not_images": sorted(decoys_of(actor)),
        },
    }


def _image_truth(image: SampleImage) -> dict[str, Any]:
    faults = [] if image.what in WHOLE else [f"{image.what} of {image.copy_of}" if image.copy_of else image.what]
    places = {"disk": image.disk, "bucket": image.bucket and not image.archived, "archive": image.archived}
    return {
        "class": image.kind,
        "quality": image.quality,
        "faults": faults,
        "where": [place for place, there in (places | {"metadata": image.noted}).items() if there],
    }
