"""The text encoders' tokenizer: byte pairs learned from the captions' words, in the files of CLIP's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

from runner import files
from steps.studio.models.captions import corpus

LENGTH = 77
VOCABULARY = 1024
_START, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


@cache
def new_tokenizer() -> CLIPTokenizer:
    """The tokenizer; the same words give the same one."""
    pieces, merges = _learned()
    return CLIPTokenizer(
        vocab=pieces,
        merges=merges,
        model_max_length=LENGTH,
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=_END,
    )


def tokens_of(texts: Sequence[str]) -> Tensor:
    """Token numbers (N, 77), cut and padded as the pipelines do it."""
    found = new_tokenizer()(list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    numbers: Tensor = found.input_ids
    return numbers.to(torch.int64)


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and its kin, and vocab.json and merges.txt, which transformers 5 leaves out."""
    files.make_folder(folder)
    new_tokenizer().save_pretrained(folder)
    pieces, merges = _learned()
    files.write_json(folder / "vocab.json", pieces)
    files.write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)]) + "\n")


@cache
def _learned() -> tuple[dict[str, int], list[tuple[str, str]]]:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=letters,
        # A word of one letter, so that each letter can also end a word.
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    # Words twice, for a pair must be seen more than once; letters alone need no merge.
    bpe.train_from_iterator([[word] for word in sorted(corpus()) * 2], trainer)
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    known = [*letters, *(letter + _WORD_END for letter in letters), *("".join(pair) for pair in merges)]
    pieces = {piece: number for number, piece in enumerate([*dict.fromkeys(known), _START, _END])}
    return pieces, merges
