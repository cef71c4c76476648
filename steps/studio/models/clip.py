"""CLIP: pictures and captions in one space, where cut-outs of the same person also lie together."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from steps.studio.models import domain, labels
from steps.studio.models.captions import any_caption, full_caption
from steps.studio.models.drawing_lots import some_of
from steps.studio.models.heads import cut_out, degraded, moved, squares
from steps.studio.models.precision import device_of, half_precision
from steps.studio.models.renders import Renders
from steps.studio.models.tensors import to_tensor
from steps.studio.models.tokens import LENGTH, new_tokenizer, tokens_of
from steps.studio.models.training import Losses, Schedule

SCHEDULE = Schedule(steps=2_500, rate=1.5e-3, warm_up=200, averaging=0.998, weight_decay=0.05)
BATCH = 64
WIDTH = 128
"""Of the shared space: `projection_dim`."""


def new_clip() -> CLIPModel:
    """An untrained CLIP for 64 pixels and the captions' tokenizer."""
    tokenizer = new_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": WIDTH,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": domain.SIZE,
        "patch_size": 8,
        "projection_dim": WIDTH,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)
    model = CLIPModel._from_config(config, attn_implementation="eager")  # noqa: SLF001 - the one way to name the attention
    # Flash attention's backward is slow on CPU; what the model says of itself is up to who loads it.
    model.logit_scale.data.fill_(2.5)
    return model


class ClipInTraining(nn.Module):
    """CLIP and the heads that name attributes while it learns; the heads are not shipped."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = new_clip()
        self.heads = nn.Linear(WIDTH, sum(labels.sizes()))
        self.scale = nn.Parameter(torch.tensor(2.5))


class ClipLosses:
    """Captions against pictures, the same person against others, and each attribute."""

    def __init__(self, model: ClipInTraining, renders: Renders) -> None:
        self._model = model
        self._renders = renders

    def __call__(self, step: int, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        people = some_of(len(self._renders) // domain.RENDERS, BATCH, generator)
        first, second = (_one_of_each(people, generator) for _ in range(2))
        images = torch.cat([self._whole(first, generator), self._heads(first[: BATCH // 2], generator)])
        images = torch.cat([images, self._heads(second[: BATCH // 2], generator)])
        device = device_of(self._model)
        with half_precision(device):
            seen = self._model.clip.get_image_features(pixel_values=images.to(device)).pooler_output
            tokens = {name: value.to(device) for name, value in _tokens(first, step).items()}
            read = self._model.clip.get_text_features(**tokens).pooler_output
            told = self._model.heads(seen)
        seen, read, told = seen.float(), read.float(), told.float()
        match = contrast(seen[:BATCH], read, self._model.clip.logit_scale)
        same = contrast(seen[BATCH : BATCH * 3 // 2], seen[BATCH * 3 // 2 :], self._model.scale)
        named = naming_loss(told, first + first[: BATCH // 2] + second[: BATCH // 2], BATCH)
        return {"loss": match + 0.5 * same + named, "match": match, "same": same, "named": named}

    def _whole(self, indices: list[int], generator: torch.Generator) -> Tensor:
        images = to_tensor(self._renders[indices])
        whole = torch.tensor([[0.0, 0.0, domain.SIZE, domain.SIZE]]).expand(len(images), -1)
        return degraded(cut_out(images, moved(whole, 0.03, generator), domain.SIZE), generator)

    def _heads(self, indices: list[int], generator: torch.Generator) -> Tensor:
        boxes = moved(squares("train", indices), 0.1, generator)
        return degraded(cut_out(to_tensor(self._renders[indices]), boxes, domain.SIZE), generator)


def contrast(one: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """The symmetric contrastive loss of N pairs (N, D) (CLIP, Radford et al. 2021, figure 3); `scale` is a logarithm."""
    logits = functional.normalize(one) @ functional.normalize(other).T * scale.exp().clamp(max=100)
    right = torch.arange(len(one), device=one.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def naming_loss(told: Tensor, indices: list[int], whole: int, split: str = "train") -> Tensor:
    """The mean cross-entropy of every attribute; after the first `whole` come cut-outs, which show the person alone."""
    right = torch.tensor([labels.numbers_of(domain.picture(split, index)) for index in indices])
    person = torch.tensor(
        [name in labels.IDENTITY and name not in ("second_colour", "pattern") for name in labels.VALUES]
    )
    right[whole:, ~person] = labels.HIDDEN
    losses = [
        functional.cross_entropy(part, right[:, number].to(part.device), ignore_index=labels.HIDDEN)
        for number, part in enumerate(told.split(list(labels.sizes()), dim=1))
    ]
    return torch.stack(losses).nan_to_num().mean()


def _one_of_each(people: list[int], generator: torch.Generator) -> list[int]:
    chosen = torch.randint(domain.RENDERS, (len(people),), generator=generator).tolist()
    return [person * domain.RENDERS + picture for person, picture in zip(people, chosen, strict=True)]


def _tokens(indices: list[int], step: int) -> dict[str, Tensor]:
    rng = random.Random(step)  # noqa: S311
    shown = [domain.picture("train", index) for index in indices]
    texts = [full_caption(one) if rng.random() < 0.6 else any_caption(one, rng) for one in shown]
    tokens = tokens_of(texts)
    longest = int((tokens != new_tokenizer().eos_token_id).sum(dim=1).max()) + 1
    return {"input_ids": tokens[:, :longest], "attention_mask": torch.ones(len(texts), longest, dtype=torch.int64)}
