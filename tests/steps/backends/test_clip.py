"""CLIP from a folder: unit vectors, token counts, an end token that is kept, and what is told when it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.errors import UserError
from runner.ledger import Ledger
from steps.backends.clip import ClipSettings, VitClip
from steps.studio.models import layout
from tests.frames import shipped_weights
from tests.support import calls


@pytest.fixture
def clip(ledger: Ledger) -> VitClip:
    return VitClip(ClipSettings(model=str(shipped_weights() / layout.CLIP), revision=None), calls(ledger))


def test_the_gate_is_the_documents(ledger: Ledger) -> None:
    clip = VitClip(ClipSettings(), calls(ledger))
    assert (clip.threshold, clip.prefix) == (0.7, "A photo depicts")
    assert clip.identity == "clip openai/clip-vit-base-patch32@c237dc49a33f prefix='A photo depicts'"


def test_images_and_texts_are_unit_vectors_whatever_they_come_with(clip: VitClip) -> None:
    images = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 60, 3), dtype=np.uint8)) for seed in (0, 1)
    ]
    seen, read = clip.images([*images, images[0].convert("L")]), clip.texts(["a man", "a woman in the snow"])
    assert seen.shape[0] == 3
    assert seen.shape[1] == read.shape[1]
    assert seen.dtype == np.float32
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(read, axis=1), 1, atol=1e-5)
    assert np.allclose(clip.images(images[:1])[0], seen[0], atol=1e-5)
    many = clip.texts([f"a man and {number} women" for number in range(40)])
    assert many.shape[0] == 40


def test_a_text_too_long_keeps_its_end_token(clip: VitClip) -> None:
    long = "a man in a red robe " * 30
    assert clip.tokens(long) > clip.limit == 77
    assert clip.tokens("") == 2
    model, tokenizer, _ = clip._models
    kept = tokenizer([long], truncation=True, max_length=clip.limit)["input_ids"][0]
    assert len(kept) == 77
    assert kept[-1] == tokenizer.eos_token_id
    # With the end token cut off the vector would be another one: a text is read where that token stands.
    assert not np.allclose(clip.texts([long]), clip.texts(["a man"]))
    assert model.config.text_config.eos_token_id == tokenizer.eos_token_id


def test_what_is_missing_is_told_with_its_command(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        UserError, match=r"fetch it with: hf download openai/clip-vit-base-patch32 config.json .*--revision c237"
    ):
        VitClip(ClipSettings(), calls(ledger)).prepare()
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"preprocessor_config.json is missing"):
        VitClip(ClipSettings(model=str(tmp_path)), calls(ledger)).prepare()
