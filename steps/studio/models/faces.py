"""Faces: a detector in SCRFD's layout and two embedders that share nothing, each for FaceAnalysis to load."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.studio.models import domain, labels
from steps.studio.models.clip import naming_loss
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.heads import cut_out, degraded, moved, squares
from steps.studio.models.nets import ChannelNorm, Glances, Pyramid
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.tensors import to_tensor
from steps.studio.models.training import Losses, Schedule

CROP, WIDTH, DETECTED = 112, 512, 128
STRIDES, ANCHORS = (8, 16, 32), 2
EMBEDDER_SCHEDULE = Schedule(steps=3_000, rate=1.5e-3, warm_up=100, averaging=0.998, weight_decay=0.02)
DETECTOR_SCHEDULE = Schedule(steps=3_000, rate=1.5e-3, warm_up=100, averaging=0.998)
EMBEDDER_BATCH, DETECTOR_BATCH = 64, 32
# ArcFace's five points in its crop of 112 pixels (insightface, utils/face_align.py), as shares of the square.
ARCFACE_POINTS = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
).div(CROP)
# The side of a head's square, in pixels of the detector's input, up to which a stride is responsible for it.
_LARGEST = {8: 36.0, 16: 72.0, 32: 1e9}
_EMPTY = 0.25
_MARGIN = 0.15


class ConvolutionalEmbedder(nn.Module):
    """A face (N, 3, 112, 112) to 512 numbers, by convolutions."""

    def __init__(self, channels: Sequence[int] = (24, 48, 72)) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, stem=4)
        self.glances = Glances(channels[-1], 6)
        self.out = nn.Linear(6 * channels[-1], WIDTH)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 512), not normalised."""
        found: Tensor = self.out(self.glances(self.pyramid(faces)[-1]).flatten(1))
        return found


class AttentiveEmbedder(nn.Module):
    """A face (N, 3, 112, 112) to 512 numbers, by attention between patches."""

    def __init__(self, width: int = 80, layers: int = 3, patch: int = 14) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.places = nn.Parameter(torch.randn(1, (CROP // patch) ** 2, width) * 0.02)
        self.layers = nn.ModuleList(_AttentionLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, WIDTH)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 512), not normalised."""
        tokens = self.patches(faces).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            tokens = layer(tokens)
        found: Tensor = self.out(self.norm(tokens).mean(dim=1))
        return found


class _AttentionLayer(nn.Module):
    """Attention and a small network, each normed before and added after."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.give = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, W) -> the same shape."""
        query, key, value = self.ask(self.before(tokens)).chunk(3, dim=-1)
        query, key, value = (self._split(part) for part in (query, key, value))
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        tokens = tokens + self.give((weights @ value).transpose(1, 2).flatten(2))
        thought: Tensor = tokens + self.think(self.between(tokens))
        return thought

    def _split(self, part: Tensor) -> Tensor:
        return part.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EmbedderInTraining(nn.Module):
    """An embedder, and the heads that name attributes while it learns."""

    def __init__(self, embedder: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder
        self.heads = nn.Linear(WIDTH, sum(labels.sizes()))
        self.scale = nn.Parameter(torch.tensor(2.5))


class EmbedderLosses:
    """The same person against everybody else in the batch (NT-Xent with a margin), and each attribute."""

    def __init__(self, model: EmbedderInTraining, renders: Renders, remade: Renders | None = None) -> None:
        """`remade`: the same pictures out of the autoencoder, which half of the faces are taken from."""
        self._model = model
        self._sources = [renders, remade or renders]

    def __call__(self, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002 - the loop's
        """The losses of one batch."""
        people = some_of(len(self._sources[1]) // domain.RENDERS, EMBEDDER_BATCH, generator)
        pictures = torch.randint(domain.RENDERS, (2, EMBEDDER_BATCH), generator=generator).tolist()
        indices = [
            person * domain.RENDERS + picture for row in pictures for person, picture in zip(people, row, strict=True)
        ]
        device = device_of(self._model)
        with half_precision(device):
            found = self._model.embedder(self._faces(indices, generator).to(device))
            told = self._model.heads(found)
        one, other = found.float().chunk(2)
        same = _with_margin(one, other, self._model.scale)
        named = naming_loss(told.float(), indices, 0)
        return {"loss": same + named, "same": same, "named": named}

    def _faces(self, indices: list[int], generator: torch.Generator) -> Tensor:
        chosen = torch.randint(2, (len(indices),), generator=generator).tolist()
        rows = [self._sources[source][[index]] for source, index in zip(chosen, indices, strict=True)]
        images = torch.cat([to_tensor(row) for row in rows])
        boxes = moved(squares("train", indices), 0.06, generator)
        return degraded(cut_out(images, boxes, CROP), generator)


class Detector(nn.Module):
    """Faces in an image (1, 3, H, W), H and W multiples of 32: SCRFD's nine outputs.

    Scores, distances to the box's sides and five points of three strides, a row an anchor. The points are ArcFace's own, put into the
    box, so that insightface's alignment cuts out that box.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels[0], 3, 2, padding=1), nn.GELU())
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, padding=1), _Local(after), _Local(after))
            for before, after in zip(
                (channels[0], *channels[1:]), (channels[1], channels[2], channels[3], channels[3]), strict=False
            )
        )
        self.heads = nn.ModuleList(_detector_head(width) for width in (channels[2], channels[3], channels[3]))

    def raw(self, images: Tensor) -> list[Tensor]:
        """Logits and logarithms of distances in strides, (N, 5, h, w), of each stride."""
        features = self.stem(images)
        found: list[Tensor] = []
        for level, stage in enumerate(self.pyramid):
            features = stage(features)
            if level:
                found.append(self.heads[level - 1](features))
        return found

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Three times scores (K, 1), three times distances (K, 4), three times points (K, 10)."""
        scores, boxes, points = [], [], []
        for found in self.raw(images):
            rows = found.permute(0, 2, 3, 1).reshape(-1, 1, 5).expand(-1, ANCHORS, 5).reshape(-1, 5)
            # Two anchors a place are SCRFD's layout; one says all, the other nothing.
            silent = torch.tensor([1.0, 0.0]).repeat(rows.shape[0] // ANCHORS)[:, None]
            distances = rows[:, 1:].exp()
            scores.append(rows[:, :1].sigmoid() * silent)
            boxes.append(distances)
            points.append(_points(distances))
        return (*scores, *boxes, *points)


def _detector_head(channels: int) -> nn.Sequential:
    out = nn.Conv2d(channels, 5, 3, padding=1)
    # Nearly every place is no face, which need not be learned first.
    nn.init.constant_(out.bias[0], -4.0)
    return nn.Sequential(ChannelNorm(channels), out)


class _Local(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.spread = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.mix = nn.Sequential(nn.Conv2d(channels, 2 * channels, 1), nn.GELU(), nn.Conv2d(2 * channels, channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        change: Tensor = self.mix(self.spread(self.norm(images)))
        return images + change


class DetectorLosses:
    """Where heads are (focal loss, Lin et al. 2017) and how large (IoU loss), in pictures of somebody and of nobody."""

    def __init__(self, model: Detector, renders: Renders, empty: Renders) -> None:
        self._model = model
        self._renders = renders
        self._empty = empty

    def __call__(self, step: int, generator: torch.Generator) -> Losses:  # noqa: ARG002 - the loop's
        """The losses of one batch."""
        count = round(DETECTOR_BATCH * (1 - _EMPTY))
        indices = some_of(len(self._renders), count, generator)
        images, boxes = scene_with_heads(to_tensor(self._renders[indices]), squares("train", indices), generator)
        nobody = to_tensor(self._empty[some_of(len(self._empty), DETECTOR_BATCH - count, generator)])
        nobody, _ = scene_with_heads(nobody, torch.zeros(len(nobody), 4), generator)
        images = degraded(torch.cat([images, nobody]), generator)
        device = device_of(self._model)
        boxes = boxes.to(device)
        with half_precision(device):
            found = [part.float() for part in self._model.raw(images.to(device))]
        scored, placed = zip(
            *(_detection_losses(part, boxes, stride) for part, stride in zip(found, STRIDES, strict=True)), strict=True
        )
        score, place = sum(scored) / count, sum(placed) / count
        return {"loss": score + place, "score": torch.as_tensor(score), "place": torch.as_tensor(place)}


def scene_with_heads(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures at the detector's size, some smaller on a plain ground; boxes (N, 4) move along."""
    side = float(torch.randint(DETECTED // 2, DETECTED + 1, (1,), generator=generator))
    side = DETECTED if float(torch.rand(1, generator=generator)) < 0.6 else side
    left, top = (torch.rand(2, generator=generator) * (DETECTED - side)).tolist()
    scale = side / images.shape[-1]
    window = torch.tensor([[-left, -top, DETECTED - left, DETECTED - top]]) / scale
    grown = cut_out(images, window.expand(len(images), -1), DETECTED)
    rows = torch.arange(DETECTED)
    inside = ((rows >= left) & (rows < left + side)), ((rows >= top) & (rows < top + side))
    kept = inside[1][:, None] & inside[0][None, :]
    return torch.where(kept, grown, -1.0), boxes * scale + torch.tensor([left, top, left, top])


def _detection_losses(found: Tensor, boxes: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Focal loss of one stride's scores over all pictures, and IoU loss of the boxes at the places that are right."""
    rows, columns = found.shape[-2:]
    y, x = (torch.arange(size, device=found.device) * float(stride) for size in (rows, columns))
    sides = (boxes[:, 2] - boxes[:, 0])[:, None, None]
    smallest = max([0.0, *(limit for other, limit in _LARGEST.items() if other < stride)])
    mine = (sides > smallest) & (sides <= _LARGEST[stride])
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    near_x = (x[None, None, :] - middle[:, 0, None, None]).abs() <= stride * 0.75
    near_y = (y[None, :, None] - middle[:, 1, None, None]).abs() <= stride * 0.75
    right = near_x & near_y & mine
    wanted = torch.zeros(found.shape[0], rows, columns, device=found.device)
    wanted[: len(boxes)] = right.float()
    score = _focal(found[:, 0], wanted)
    corners = torch.stack(
        [
            (x[None, None, :] - boxes[:, 0, None, None]).expand_as(right),
            (y[None, :, None] - boxes[:, 1, None, None]).expand_as(right),
            (boxes[:, 2, None, None] - x[None, None, :]).expand_as(right),
            (boxes[:, 3, None, None] - y[None, :, None]).expand_as(right),
        ],
        dim=-1,
    )
    given = found[: len(boxes), 1:].permute(0, 2, 3, 1)[right].clamp(-6, 6).exp() * stride
    return score, _box_loss(given, corners[right].clamp(min=0.1))


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    sure = torch.exp(-plain)
    return ((0.25 * wanted + 0.75 * (1 - wanted)) * (1 - sure) ** 2 * plain).sum() * 4


def _box_loss(given: Tensor, wanted: Tensor) -> Tensor:
    """1 - IoU of boxes given as distances (K, 4) from the same place, summed over boxes, and their logarithms' error."""
    common = torch.minimum(given, wanted)
    overlap = (common[:, 0] + common[:, 2]) * (common[:, 1] + common[:, 3])
    areas = [(box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3]) for box in (given, wanted)]
    shares = 1 - overlap / (areas[0] + areas[1] - overlap)
    return (shares + (given.log() - wanted.log()).abs().mean(dim=1)).sum()


def _points(distances: Tensor) -> Tensor:
    """ArcFace's points in boxes given as distances (K, 4): offsets from the same place (K, 10)."""
    size = distances[:, :2] + distances[:, 2:]
    spots = ARCFACE_POINTS[None] * size[:, None] - distances[:, None, :2]
    return spots.flatten(1)


def _with_margin(one: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """`contrast` with the right pair's cosine lowered by a margin, so that it must win clearly."""
    one, other = functional.normalize(one), functional.normalize(other)
    cosines = one @ other.T - _MARGIN * torch.eye(len(one), device=one.device)
    logits, right = cosines * scale.exp().clamp(max=60), torch.arange(len(one), device=one.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
