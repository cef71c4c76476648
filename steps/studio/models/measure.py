"""How good a folder of weights is: every bar, measured through the classes that users load the models with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from steps.studio.models import domain, labels, layout, weights
from steps.studio.models.captions import full_caption, staged_caption
from steps.studio.models.domain import Picture
from steps.studio.models.drawing_lots import generator_at
from steps.studio.models.poses import joints_of, pose_picture
from steps.studio.models.reader import joint_errors, joints_in, told_values
from steps.studio.models.renders import Rows
from steps.studio.models.tensors import sheet, to_pixels, to_tensor
from steps.studio.models.vae import decibels

STEPS, GUIDANCE = 20, 3.0
"""Of the pictures that are judged."""
JUDGED = ("hat", "outfit_colour", "place", "gesture", "shot")
SOMEBODY = "a person"
"""Who a scored text speaks of."""
WRONG_BELOW = 0.95
_BATCH = 32


@dataclass(frozen=True)
class Bar:
    """One figure and what it must reach.

    Attributes:
        name: What was measured.
        value: The figure.
        limit: The least it must be, or the most where `most` is true; None where nothing is demanded.
        most: Whether less is better.
        unit: "dB", "%" or nothing.
    """

    name: str
    value: float
    limit: float | None = None
    most: bool = False
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; what has none passes."""
        if self.limit is None:
            return True
        return self.value < self.limit if self.most else self.value >= self.limit

    def __str__(self) -> str:
        shown = f"{self.value:.4g}{' ' if self.unit else ''}{self.unit}"
        if self.limit is None:
            return f"      {self.name}: {shown}"
        demand = f"{'under' if self.most else 'at least'} {self.limit:g}"
        return f"{'pass ' if self.passed else 'FAIL '} {self.name}: {shown} ({demand})"


@dataclass(frozen=True)
class Measured:
    """What is measured on, and how much of it.

    Attributes:
        folder: The weights.
        count: Pictures for each figure; the bars are meant for 600.
        images: Where sheets of samples go; None makes none.
    """

    folder: Path
    count: int = 600
    images: Path | None = None

    def pictures(self, split: str = "test", count: int | None = None) -> list[Picture]:
        """Pictures of people that training never had, a new person each."""
        return [domain.picture(split, number * domain.RENDERS) for number in range(count or self.count)]

    def show(self, name: str, pixels: Rows, columns: int = 12) -> None:
        """Keep a sheet of pictures."""
        if self.images is not None:
            self.images.mkdir(parents=True, exist_ok=True)
            sheet(pixels, columns).save(self.images / f"{name}.png")


def bars(measured: Measured) -> Iterator[Bar]:
    """Every figure, one after the other."""
    for measure in (autoencoding, retrieval, telling_faces_apart, finding_faces, reading, drawing, posing):
        yield from measure(measured)


def autoencoding(measured: Measured) -> Iterator[Bar]:
    """How well pictures come out of the autoencoder."""
    vae = weights.load_pipeline(measured.folder).vae
    images = to_tensor(drawn(measured.pictures(count=min(measured.count, 256))))
    with torch.no_grad():
        remade = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in images.split(_BATCH)])
    measured.show("autoencoder", to_pixels(torch.stack([images[:36], remade[:36]], 1).flatten(0, 1)))
    yield Bar("autoencoder on renders of strangers to it", float(decibels(remade, images).mean()), 26.0, unit="dB")


def retrieval(measured: Measured) -> Iterator[Bar]:
    """How often the right one of all captions is nearest to a picture."""
    model, tokenizer, processor = weights.load_clip(measured.folder)
    shown = measured.pictures()
    seen, read = [], []
    with torch.no_grad():
        for part in _parts(shown):
            pixels = processor(images=[one.draw() for one in part], return_tensors="pt")
            seen.append(model.get_image_features(**pixels).pooler_output)
            words = tokenizer([full_caption(one) for one in part], padding=True, truncation=True, return_tensors="pt")
            read.append(model.get_text_features(**words).pooler_output)
    likeness = functional.normalize(torch.cat(seen)) @ functional.normalize(torch.cat(read)).T
    right = (likeness.argmax(dim=1) == torch.arange(len(shown))).float().mean()
    yield Bar(f"CLIP retrieval@1 of {len(shown)}", float(right), 0.75)


def threshold(folder: Path, count: int = 600) -> float:
    """The CLIPScore (Hessel et al. 2021) that 95 % of wrong pairs stay below: renders with what other renders are told as scenes."""
    model, tokenizer, processor = weights.load_clip(folder)
    shown = Measured(folder, count).pictures()
    texts = [staged_caption(one, SOMEBODY) for one in shown]
    with torch.no_grad():
        pixels = processor(images=[one.draw() for one in shown], return_tensors="pt")
        seen = model.get_image_features(**pixels).pooler_output
        words = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        read = model.get_text_features(**words).pooler_output
    scores = 2.5 * (functional.normalize(seen) @ functional.normalize(read).T).clamp(min=0)
    wrong = torch.tensor([[one != other for other in texts] for one in texts])
    return float(np.quantile(scores[wrong].numpy(), WRONG_BELOW))


def telling_faces_apart(measured: Measured) -> Iterator[Bar]:
    """The area under the curve of same against different people, for either embedder, on faces that the detector found."""
    people = measured.count // 4
    for pack in layout.FACE_PACKS:
        app = weights.load_faces(measured.folder, pack)
        found = [
            best_face(app, domain.picture("test", person * domain.RENDERS + which).draw())
            for person in range(people)
            for which in (0, 1)
        ]
        missed = sum(embedding is None for embedding in found)
        pairs = [(found[2 * person], found[2 * person + 1]) for person in range(people)]
        kept = [(one, other) for one, other in pairs if one is not None and other is not None]
        yield Bar(f"faces missed ({pack})", 100 * missed / len(found), 2.0, most=True, unit="%")
        if len(kept) > 1:
            ones, others = (np.stack(side) for side in zip(*kept, strict=True))
            yield Bar(f"face embedder '{pack}', area under the curve", _area(ones @ others.T), 0.999)


def finding_faces(measured: Measured) -> Iterator[Bar]:
    """Faces found where nobody is."""
    app = weights.load_faces(measured.folder)
    found = sum(len(app.get(_bgr(domain.empty_place("test", number)))) > 0 for number in range(measured.count))
    yield Bar("false faces on empty scenes", 100 * found / measured.count, 2.0, most=True, unit="%")


def reading(measured: Measured) -> Iterator[Bar]:
    """How well the judge of the next figures knows drawn pictures."""
    reader, shown = weights.load_reader(measured.folder), measured.pictures()
    said = reader(to_tensor(drawn(shown)))
    for name, share in _accuracies(said.told, shown).items():
        yield Bar(f"reader on renders: {name}", 100 * share, 98.0, unit="%")
    indices = [number * domain.RENDERS for number in range(measured.count)]
    yield Bar(
        "reader on renders: joints off by",
        float(joint_errors(said.joints, joints_in(indices, "test")).mean()),
        unit="pixels",
    )


def drawing(measured: Measured) -> Iterator[Bar]:
    """How often a generated picture shows what its prompt says."""
    reader, shown = weights.load_reader(measured.folder), measured.pictures(count=measured.count // 2)
    pixels = generate(weights.load_pipeline(measured.folder), [full_caption(one) for one in shown])
    measured.show("samples", pixels[:72])
    measured.show("samples_wanted", drawn(shown[:72]))
    shares = _accuracies(reader(to_tensor(pixels)).told, shown)
    for name, share in shares.items():
        yield Bar(f"samples show their prompt: {name}", 100 * share, 85.0, unit="%")


def posing(measured: Measured) -> Iterator[Bar]:
    """How much nearer to a wanted pose the ControlNet brings the joints."""
    reader = weights.load_reader(measured.folder)
    chosen = [number for number in range(measured.count) if domain.picture("test", number).shot.kind != "portrait"]
    chosen = chosen[: measured.count // 4]
    shown = [domain.picture("test", number) for number in chosen]
    maps = [pose_picture(joints_of(one.who, one.shot)) for one in shown]
    prompts, wanted, errors = [full_caption(one) for one in shown], joints_in(chosen, "test"), []
    for pipeline, poses in (
        (weights.load_pipeline(measured.folder), None),
        (weights.load_pipeline(measured.folder, pose=True), maps),
    ):
        pixels = generate(pipeline, prompts, poses=poses)
        errors.append(float(joint_errors(reader(to_tensor(pixels)).joints, wanted).mean()))
        measured.show("posed" if poses else "not_posed", pixels[:48])
    yield Bar("joints off without a pose", errors[0], unit="pixels")
    yield Bar("joints off with the ControlNet, of that", errors[1] / errors[0], 0.5, most=True)


def generate(
    pipeline: Any,
    prompts: Sequence[str],
    *,
    poses: Sequence[Image.Image] | None = None,
    reference: Any = None,
    seed: int = 0,
) -> Rows:
    """Pictures (N, 64, 64, 3) of prompts, each from its own seed; `reference` is for the IP-Adapter, the same for all."""
    made: list[Any] = []
    for start in range(0, len(prompts), _BATCH):
        part = list(prompts[start : start + _BATCH])
        given: dict[str, Any] = {} if poses is None else {"image": list(poses[start : start + _BATCH])}
        if reference is not None:
            given["ip_adapter_image"] = reference
        made += pipeline(
            part,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[generator_at(seed, start + number) for number in range(len(part))],
            output_type="np",
            **given,
        ).images.tolist()
    rows: Rows = (np.asarray(made) * 255).round().clip(0, 255).astype(np.uint8)
    return rows


def _accuracies(told: Tensor, shown: Sequence[Picture]) -> dict[str, float]:
    """Of each judged attribute the share of pictures that show it and are read rightly."""
    values, wanted = told_values(told), [labels.texts_of(one) for one in shown]
    shares = {}
    for name in JUDGED:
        right = [value[name] == text[name] for value, text in zip(values, wanted, strict=True) if name in text]
        shares[name] = sum(right) / max(1, len(right))
    return shares


def best_face(app: Any, image: Any) -> Any:
    """The unit embedding (512,) of an RGB picture's surest face, or None."""
    found = app.get(_bgr(image))
    return max(found, key=lambda face: face.det_score).normed_embedding if found else None


def _area(likeness: Any) -> float:
    """The area under the curve of a square of cosines: right pairs on the diagonal against all others."""
    same = np.diag(likeness)
    different = np.sort(likeness[~np.eye(len(likeness), dtype=bool)])
    below = np.searchsorted(different, same, side="left") + np.searchsorted(different, same, side="right")
    return float(below.mean() / 2 / len(different))


def _bgr(image: Image.Image) -> Any:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def drawn(shown: Sequence[Picture]) -> Rows:
    """The pictures (N, 64, 64, 3)."""
    return np.stack([np.asarray(one.draw()) for one in shown])


def _parts(shown: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    return (shown[start : start + _BATCH] for start in range(0, len(shown), _BATCH))
