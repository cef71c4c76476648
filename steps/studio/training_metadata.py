"""What older tools and we have written down about the sample library's training images, with its own faults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from steps.library.training import TrainingImage, TrainingManifest
from steps.studio.people import seeded
from steps.studio.training_files import SampleImage, TrainingActor

BUCKET = "bucket"
_REGION = "us-west-1"
_MODEL = "black-forest-labs/flux-kontext-pro"
_FIRST = datetime(2025, 3, 1, 9, tzinfo=UTC)


def key_of(actor: TrainingActor, image: SampleImage) -> str:
    """Where the bucket has an image."""
    above = f"archive/2025/{actor.name}" if image.archived else f"actors/{actor.name}/training_data"
    return f"{above}/{image.file}"


def documents_of(
    actor: TrainingActor, images: Sequence[SampleImage], contents: Mapping[str, bytes]
) -> Mapping[str, str]:
    """The texts of an actor's metadata files, by name: none, one or two.

    Args:
        actor: Who.
        images: All images; those that are noted are told of.
        contents: The bytes of the images that there are.
    """
    noted = [image for image in images if image.noted]
    listed = {"images": [_entry(actor, image) for image in noted]}
    predictions = _predictions(actor, noted)
    half = len(noted) // 2
    found: dict[str, dict[str, Any]] = {
        "": {},
        "list": {"prompt_metadata.json": listed},
        "map": {"prompt_metadata.json": {image.file: _named_entry(actor, image) for image in noted}},
        "response": {"response.json": predictions},
        "one response": {"response.json": next(iter(predictions), None)},
        "both": {
            "prompt_metadata.json": {"images": listed["images"][:half]},
            "response.json": [_prediction(actor, image, _url(actor, image)) for image in noted[half:]],
        },
        "puzzling": {"prompt_metadata.json": _puzzling(listed["images"])},
        "broken": {"prompt_metadata.json": listed},
        "migrated": {"prompt_metadata.json": listed},
    }
    legacy = actor.part.legacy
    texts = {name: json.dumps(document, indent=2, ensure_ascii=False) for name, document in found[legacy].items()}
    if legacy == "broken":
        # Cut off while it was written, as it happens.
        return {name: text[: len(text) * 3 // 5] for name, text in texts.items()}
    if legacy == "migrated":
        texts["manifest.json"] = _manifest(actor, noted, contents).text()
    return texts


def _manifest(actor: TrainingActor, noted: Sequence[SampleImage], contents: Mapping[str, bytes]) -> TrainingManifest:
    return TrainingManifest(
        actor.id, actor.name, tuple(_image(actor, image, contents.get(image.file)) for image in noted)
    )


def _image(actor: TrainingActor, image: SampleImage, content: bytes | None) -> TrainingImage:
    """The first half as migrated, the other as made since."""
    made = seeded(f"made {image.file}").random() < 0.5
    return TrainingImage(
        file=image.file,
        sha256=None if content is None else hashlib.sha256(content).hexdigest(),
        prompt=image.prompt or None,
        kind=image.kind if made else None,
        seed=image.seed if made else None,
        model=_MODEL if made else None,
        usd=0.04 if made else None,
        made_at=(_FIRST + timedelta(minutes=image.seed % 500_000)).isoformat() if made else None,
        url=_url(actor, image),
        source="made" if made else "prompt_metadata.json",
    )


def _entry(actor: TrainingActor, image: SampleImage) -> dict[str, Any]:
    return {"filename": image.file, "prompt": image.prompt, "s3_url": _url(actor, image)}


def _named_entry(actor: TrainingActor, image: SampleImage) -> dict[str, Any]:
    return {"prompt": image.prompt, "url": _url(actor, image)}


def _predictions(actor: TrainingActor, noted: Sequence[SampleImage]) -> list[dict[str, Any]]:
    """Replicate's, in the order of the images' numbers, whose outputs it has long deleted; and one that no image came of."""
    found = [
        _prediction(actor, image, f"https://replicate.delivery/{_token(image)}/out-0.jpg", as_list=number % 2 == 0)
        for number, image in enumerate(noted)
    ]
    if len(found) < 3:
        return found
    failed = _prediction(actor, noted[0], None) | {"status": "failed", "error": "NSFW content detected"}
    return [*found[:2], failed, *found[2:]]


def _prediction(
    actor: TrainingActor, image: SampleImage, output: str | None, *, as_list: bool = True
) -> dict[str, Any]:
    name = seeded(f"prediction {actor.name} {image.file} {output is None}").getrandbits(80)
    return {
        "id": f"{name:020x}",
        "model": _MODEL,
        "input": {"prompt": image.prompt, "aspect_ratio": "16:9", "seed": image.seed},
        "output": [output] if as_list and output else output,
        "status": "succeeded",
    }


def _puzzling(entries: Sequence[Any]) -> dict[str, Any]:
    """With pieces that can be given to no image."""
    pieces: list[Any] = [
        {"prompt": "a prompt of nobody knows what"},
        17,
        None,
        {"filename": "../../../../elsewhere/passport.png", "prompt": "leads out of the folder"},
        {"filename": "notes.txt", "prompt": "no image"},
        *({**entry, "prompt": "the same file again"} for entry in entries[:1]),
        ["a", ["nested", "list"]],
    ]
    return {
        "images": [*entries[:3], *pieces, *entries[3:]],
        "generator": {"tool": "grid maker", "version": [1, {"beta": True}]},
        "total": "many",
    }


def _url(actor: TrainingActor, image: SampleImage) -> str:
    """An address of the bucket in one of the forms that occur."""
    key = key_of(actor, image).replace(" ", "%20")
    forms = (
        f"https://{BUCKET}.s3.{_REGION}.amazonaws.com/{key}",
        f"https://s3.{_REGION}.amazonaws.com/{BUCKET}/{key}",
        f"s3://{BUCKET}/{key}",
        f"https://{BUCKET}.s3.amazonaws.com/{key}?X-Amz-Expires=604800&X-Amz-Signature={_token(image)}",
    )
    return forms[actor.id % len(forms)]


def _token(image: SampleImage) -> str:
    return f"{seeded(f'token {image.file}').getrandbits(96):024x}"
