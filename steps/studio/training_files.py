"""What is in each training folder of the sample library: a plan of its files, from which the library is drawn and its truth told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from steps.library.prompts import PromptBook
from steps.library.training import highest_number, order_of
from steps.studio.people import seeded
from steps.studio.training_cast import TrainingPart
from steps.studio.training_picture import CLASSES

PICTURE, BASE, COPY, CUT_OFF, EMPTY, CORRUPT, TEXT, LINK, NOTHING = (
    "picture",
    "base image",
    "exact copy",
    "cut off",
    "empty",
    "corrupt",
    "a text",
    "a link",
    "nowhere",
)
WHOLE = (PICTURE, BASE)


@dataclass(frozen=True)
class TrainingActor:
    """An actor of the sample library.

    Attributes:
        id: From 0.
        name: Also the name of the actor's folder.
        description: Who the actor is.
        outfit: What the actor wears.
        part: What is drawn, and what is wrong with it.
        seed: Draws pictures and accidents.
    """

    id: int
    name: str
    description: str
    outfit: str
    part: TrainingPart
    seed: int

    @property
    def descriptor(self) -> str:
        """As the actor's manifest has it; "" where it says none."""
        if self.part.descriptor or {"no descriptor", "no actor manifest"} & set(self.part.flaws):
            return self.part.descriptor
        _, age, sex = self.part.name.split("_")
        word = "man" if sex == "male" else "woman"
        return f"young {word}" if int(age) < 20 else word


@dataclass(frozen=True)
class SampleImage:
    """One name that looks like a training image, and the truth about it.

    Attributes:
        file: Its name in training_data.
        kind: The class; None where there is no picture.
        quality: 1 to 10; 0 of what is no picture or an exact copy.
        seed: Draws the picture.
        prompt: What its metadata says that it was made from.
        what: What it is: PICTURE, COPY ...
        copy_of: Of an exact copy, the other file.
        format: PNG or JPEG, whatever the name says.
        disk: It is in the folder.
        bucket: The bucket has an object.
        noted: Manifest or legacy file speak of it.
        archived: The bucket has it in an archive, where the manifest's URL leads, and not beside the others.
    """

    file: str
    kind: str | None
    quality: int
    seed: int
    prompt: str
    what: str = PICTURE
    copy_of: str = ""
    format: str = "JPEG"
    disk: bool = True
    bucket: bool = True
    noted: bool = True
    archived: bool = False


@lru_cache(maxsize=1)
def prompts() -> PromptBook:
    """The prompts that the old images were made from: ours."""
    return PromptBook.read()


def images_of(actor: TrainingActor) -> tuple[SampleImage, ...]:
    """What is in an actor's training folder and metadata, by number: the same for the same actor."""
    rng = seeded(f"training images {actor.seed}")
    images = list(_drawn(actor, rng))
    if actor.part.base == "training 0":
        images.append(SampleImage(f"{actor.name}_0.jpg", "photorealistic", 9, 0, "", BASE, noted=False))
    for flaw in actor.part.flaws:
        if flaw in _FLAWED:
            images = _FLAWED[flaw](images, actor, rng)
    return tuple(sorted(images, key=lambda image: order_of(image.file)))


def decoys_of(actor: TrainingActor) -> Mapping[str, bytes]:
    """Files of a training folder that are no training images, whatever their suffix says, by path in the folder."""
    text = b'{"prompt": "kept by an older tool"}\n'
    found: dict[str, bytes] = {}
    if "decoys" in actor.part.flaws:
        names = ("{}_response_1.png", "{}_4_request.jpg", "Prompt_Metadata.PNG", "thumbs.db", "notes.txt")
        found |= {name.format(actor.name): text for name in names}
    if "folder" in actor.part.flaws:
        found["old/notes.txt"] = text
    return found


def _drawn(actor: TrainingActor, rng: random.Random) -> Iterator[SampleImage]:
    """The pictures in a mixed order, numbered from 1."""
    part = actor.part
    subject = prompts().about(part.being, actor.descriptor)
    texts = {
        kind: iter(prompts().choose(kind, count, seed=actor.seed, subject=subject))
        for kind, count in zip(CLASSES, part.counts, strict=True)
    }
    kinds = [kind for kind, count in zip(CLASSES, part.counts, strict=True) for _ in range(count)]
    rng.shuffle(kinds)
    poor = set(rng.sample(range(len(kinds)), part.poor))
    number = 0
    for index, kind in enumerate(kinds):
        number += rng.choice((1, 1, 1, 2, 6)) if "gaps" in part.flaws else 1
        quality = rng.randint(1, 4) if index in poor else rng.choice((7, 8, 8, 9, 9, 10))
        made_as = "PNG" if kind == "bw_stylized" else "JPEG"
        suffix = "png" if made_as == "PNG" else "jpg"
        yield SampleImage(
            f"{actor.name}_{number}.{suffix}", kind, quality, rng.randrange(2**31), next(texts[kind]), format=made_as
        )


def _following(images: list[SampleImage], actor: TrainingActor, suffix: str = "jpg") -> str:
    """The name that comes after the highest number."""
    return f"{actor.name}_{highest_number(image.file for image in images) + 1}.{suffix}"


def _copies(images: list[SampleImage], actor: TrainingActor, rng: random.Random) -> list[SampleImage]:
    for one in rng.sample(images, 4):
        suffix = one.file.rpartition(".")[2]
        copy = replace(one, file=_following(images, actor, suffix), quality=0, what=COPY, copy_of=one.file)
        images = [*images, copy]
    return images


def _broken(images: list[SampleImage], actor: TrainingActor, rng: random.Random) -> list[SampleImage]:
    for what, suffix in ((CUT_OFF, "jpg"), (EMPTY, "jpg"), (CORRUPT, "png"), (CUT_OFF, "png")):
        made_as = "PNG" if suffix == "png" else "JPEG"
        file = _following(images, actor, suffix)
        images = [*images, SampleImage(file, None, 0, rng.randrange(2**31), "", what, format=made_as)]
    return images


def _no_image(images: list[SampleImage], actor: TrainingActor, _: random.Random) -> list[SampleImage]:
    return [*images, SampleImage(_following(images, actor), None, 0, 0, "", TEXT, noted=False)]


def _upper_case(images: list[SampleImage], _: TrainingActor, rng: random.Random) -> list[SampleImage]:
    suffixes = {"jpg": ("JPG", "Jpeg", "jpg"), "png": ("PNG", "png")}
    return [_renamed(image, rng.choice(suffixes[image.file.rpartition(".")[2]])) for image in images]


def _renamed(image: SampleImage, suffix: str) -> SampleImage:
    return replace(image, file=f"{image.file.rpartition('.')[0]}.{suffix}")


def _unnumbered(images: list[SampleImage], _: TrainingActor, __: random.Random) -> list[SampleImage]:
    names = iter(("at the market (final).jpg", "Kopie von Übung.jpg"))
    plain = [image for image in images if image.format == "JPEG" and image.what == PICTURE][:2]
    return [replace(image, file=next(names)) if image in plain else image for image in images]


def _mislabelled(images: list[SampleImage], _: TrainingActor, __: random.Random) -> list[SampleImage]:
    first = next(image for image in images if image.format == "PNG")
    return [_renamed(image, "jpg") if image is first else image for image in images]


def _link(images: list[SampleImage], actor: TrainingActor, _: random.Random) -> list[SampleImage]:
    return [*images, SampleImage(_following(images, actor), None, 0, 0, "", LINK, bucket=False, noted=False)]


def _disk_only(images: list[SampleImage], _: TrainingActor, __: random.Random) -> list[SampleImage]:
    return [replace(image, bucket=index % 3 != 0) for index, image in enumerate(images)]


def _bucket_only(images: list[SampleImage], actor: TrainingActor, rng: random.Random) -> list[SampleImage]:
    """Three images of which two are noted."""
    for noted in (True, True, False):
        file, prompt = _following(images, actor), images[0].prompt if noted else ""
        image = SampleImage(file, "photorealistic", 8, rng.randrange(2**31), prompt, disk=False, noted=noted)
        images = [*images, image]
    return images


def _neither(images: list[SampleImage], actor: TrainingActor, _: random.Random) -> list[SampleImage]:
    for _number in range(2):
        file = _following(images, actor)
        images = [*images, SampleImage(file, None, 0, 0, images[0].prompt, NOTHING, disk=False, bucket=False)]
    return images


def _archived(images: list[SampleImage], _: TrainingActor, __: random.Random) -> list[SampleImage]:
    return [replace(image, archived=index % 5 == 0) for index, image in enumerate(images)]


_FLAWED: Mapping[str, Callable[[list[SampleImage], TrainingActor, random.Random], list[SampleImage]]] = {
    "copies": _copies,
    "broken files": _broken,
    "no image": _no_image,
    "upper case": _upper_case,
    "unnumbered": _unnumbered,
    "mislabelled": _mislabelled,
    "link": _link,
    "disk only": _disk_only,
    "bucket only": _bucket_only,
    "neither": _neither,
    "archived": _archived,
}
