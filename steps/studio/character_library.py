"""A sample of one character's raw images: a stranger to the embedded models in many scenes, with what goes wrong in real folders.

Beside them lies what a likeness is measured against: references, held-out pictures of the same stranger, and impostors, other strangers.
"""

from __future__ import annotations

import io
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from runner.files import write_bytes, write_json
from steps.studio.framing import FACINGS, SHOTS, Shot
from steps.studio.models import domain
from steps.studio.models.domain import Picture
from steps.studio.people import seeded
from steps.studio.scenery import PLACES, Scene

RAW, REFERENCES, IMPOSTORS = "raw_images", "references", "impostors"
COUNT = 24
FEWEST = 3
"""Of so many raw images one is a JPEG, which can lie on its side."""
STRANGER = 14
"""Whose: one of the people whom the embedded models have never seen the like of, in a green kalpak and an orange robe."""
REFERENCE_COUNT, IMPOSTOR_COUNT = 12, 24

_ORIENTATION, _ON_ITS_SIDE = 0x0112, 6
_CLOSE = ("portrait", "half")
_TURNS = ("front", "left", "front", "right")
_STRANGERS = 500
"""Impostors are some of the first so many."""


@dataclass(frozen=True)
class RawPicture:
    """One image file.

    Attributes:
        name: Its path below its folder.
        flaw: "" for none, "rotated" (upright by its EXIF tag only), "duplicate" (the same bytes as another), "near duplicate" (a poorer copy of another).
        place: Where the character is.
        shot: How much of the character is seen, doing what.
        layout: Which spot of the place.
        who: Which of the strangers.
        folder: RAW, REFERENCES or IMPOSTORS.
    """

    name: str
    flaw: str
    place: str
    shot: Shot
    layout: int
    who: int = STRANGER
    folder: str = RAW


def pictures(seed: int, count: int = COUNT, who: int = STRANGER) -> tuple[RawPicture, ...]:
    """The raw images, the same for the same seed; three of them with a flaw. Every stranger is taken in the same ways."""
    rng = seeded(f"character {seed}")
    found = []
    for number in range(count):
        # Every shot, gesture and place comes, the face often from the front.
        shot = Shot(
            SHOTS[number % len(SHOTS)],
            domain.GESTURES[(number // len(SHOTS)) % len(domain.GESTURES)],
            rng.choice(("front", *FACINGS)),
            rng.uniform(-0.5, 0.5),
            rng.uniform(-0.5, 0.5),
        )
        place = PLACES[number % len(PLACES)]
        name = f"{place}_{shot.gesture}_{number + 1:02d}{('.png', '.webp', '.jpg')[number % 3]}"
        found.append(RawPicture(name, "", place, shot, rng.randrange(domain.LAYOUTS), who))
    first = found[0]
    rotated = next(number for number, one in enumerate(found) if one.name.endswith(".jpg"))
    found[rotated] = replace(found[rotated], flaw="rotated")
    poorer = f"copies/{Path(found[1].name).stem}_small.jpg"
    return (
        *found,
        replace(first, name=f"copies/{first.name}", flaw="duplicate"),
        replace(found[1], name=poorer, flaw="near duplicate"),
    )


def references(seed: int, who: int = STRANGER) -> tuple[RawPicture, ...]:
    """Held-out pictures of the stranger, each face clear to see, in spots that no raw image shows."""
    rng = seeded(f"references {seed} {who}")
    return tuple(_held_out(rng, number, who, REFERENCES) for number in range(REFERENCE_COUNT))


def impostors(seed: int, who: int = STRANGER) -> tuple[RawPicture, ...]:
    """A picture each of other strangers, no two of them alike in all, taken as references are."""
    rng = seeded(f"impostors {seed} {who}")
    taken = {domain.person("stranger", who)}
    found: list[RawPicture] = []
    for other in rng.sample(range(_STRANGERS), _STRANGERS):
        person = domain.person("stranger", other)
        if person not in taken:
            taken.add(person)
            found.append(_held_out(rng, len(found), other, IMPOSTORS))
        if len(found) == IMPOSTOR_COUNT:
            break
    return tuple(found)


def _held_out(rng: random.Random, number: int, who: int, folder: str) -> RawPicture:
    """Portraits and half figures in turn, every second from the front."""
    gesture = domain.GESTURES[(number // 2) % len(domain.GESTURES)]
    shot = Shot(
        _CLOSE[number % 2], gesture, _TURNS[(number // 2) % len(_TURNS)], rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)
    )
    place = PLACES[number % len(PLACES)]
    # Raw images show the first few spots of each place.
    layout = rng.randrange(domain.LAYOUTS, 2**31)
    return RawPicture(f"{folder[:-1]}_{number + 1:02d}_{place}.png", "", place, shot, layout, who, folder)


def draw(picture: RawPicture, folder: Path) -> None:
    """Write one file below the picture's own folder in `folder`."""
    image = shown(picture).draw()
    path = folder / picture.folder / picture.name
    if picture.flaw == "rotated":
        write_bytes(path, _encoded(image.rotate(90, expand=True), path.suffix, on_its_side=True))
        return
    write_bytes(path, _encoded(image, path.suffix, quality=70 if picture.flaw == "near duplicate" else 98))


def shown(picture: RawPicture) -> Picture:
    """What it shows."""
    return Picture(domain.person("stranger", picture.who), Scene(picture.place, picture.layout), picture.shot)


def write_truth(drawn: tuple[RawPicture, ...], folder: Path, who: int = STRANGER) -> None:
    """folder/truth.json: who it is, and what each file shows; names are below the folder of their kind."""
    from steps.studio.models.captions import described

    character = domain.person("stranger", who)
    document = {
        "format": 1,
        "who": who,
        "character": asdict(character),
        "described": described(character),
        "images": [_row(one) for one in drawn if one.folder == RAW],
        "references": [_row(one) for one in drawn if one.folder == REFERENCES],
        "impostors": [_row(one) for one in drawn if one.folder == IMPOSTORS],
    }
    write_json(folder / "truth.json", document)


def _row(one: RawPicture) -> dict[str, Any]:
    from steps.studio.models.captions import described, staged_caption

    picture = shown(one)
    row = {"file": one.name, "flaw": one.flaw, "caption": staged_caption(picture, "{who}"), "who": one.who}
    return row | {"described": described(picture.who)} if one.folder == IMPOSTORS else row


def _encoded(image: Image.Image, suffix: str, *, quality: int = 98, on_its_side: bool = False) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".png":
        image.save(buffer, "PNG")
    elif suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True)
    else:
        exif = Image.Exif()
        if on_its_side:
            exif[_ORIENTATION] = _ON_ITS_SIDE
        # Full colour: at 64 pixels halved colour is seen.
        image.save(buffer, "JPEG", quality=quality, subsampling=0, exif=exif)
    return buffer.getvalue()
