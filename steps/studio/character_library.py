"""A sample of one character's raw images: a stranger to the embedded models in many scenes, with what goes wrong in real folders."""

from __future__ import annotations

import io
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

RAW = "raw_images"
COUNT = 24
STRANGER = 14
"""Whose: one of the people whom the embedded models have never seen the like of, in a green kalpak and an orange robe."""

_ORIENTATION, _ON_ITS_SIDE = 0x0112, 6


@dataclass(frozen=True)
class RawPicture:
    """One image file.

    Attributes:
        name: Its path below the raw folder.
        flaw: "" for none, "rotated" (upright by its EXIF tag only), "duplicate" (the same bytes as another), "near duplicate" (a poorer copy of another).
        place: Where the character is.
        shot: How much of the character is seen, doing what.
        layout: Which spot of the place.
    """

    name: str
    flaw: str
    place: str
    shot: Shot
    layout: int


def pictures(seed: int, count: int = COUNT) -> tuple[RawPicture, ...]:
    """All that are drawn, the same for the same seed; three of them with a flaw."""
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
        found.append(RawPicture(name, "", place, shot, rng.randrange(domain.LAYOUTS)))
    first = found[0]
    rotated = next(number for number, one in enumerate(found) if one.name.endswith(".jpg"))
    found[rotated] = replace(found[rotated], flaw="rotated")
    poorer = f"copies/{Path(found[1].name).stem}_small.jpg"
    return (
        *found,
        replace(first, name=f"copies/{first.name}", flaw="duplicate"),
        replace(found[1], name=poorer, flaw="near duplicate"),
    )


def draw(picture: RawPicture, folder: Path) -> None:
    """Write one file below folder/raw_images."""
    image = shown(picture).draw()
    path = folder / RAW / picture.name
    if picture.flaw == "rotated":
        write_bytes(path, _encoded(image.rotate(90, expand=True), path.suffix, on_its_side=True))
        return
    write_bytes(path, _encoded(image, path.suffix, quality=70 if picture.flaw == "near duplicate" else 98))


def shown(picture: RawPicture) -> Picture:
    """What it shows."""
    return Picture(domain.person("stranger", STRANGER), Scene(picture.place, picture.layout), picture.shot)


def write_truth(drawn: tuple[RawPicture, ...], folder: Path) -> None:
    """folder/truth.json: who it is, and what each file shows."""
    from steps.studio.models.captions import described, staged_caption

    who = domain.person("stranger", STRANGER)
    rows: list[dict[str, Any]] = [
        {"file": one.name, "flaw": one.flaw, "caption": staged_caption(shown(one), "{who}")} for one in drawn
    ]
    document = {"format": 1, "character": asdict(who), "described": described(who), "images": rows}
    write_json(folder / "truth.json", document)


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
