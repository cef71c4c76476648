"""Images and captions are encoded once, and kept by what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps.studio.lora.buckets import Size
from steps.studio.lora.dataset import Example
from steps.studio.lora.settings import ORIGINAL, TARGET
from tests.library import tree
from tests.training_set import draw_set

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
CAPTION = "a portrait of ohwx person, waving"


@pytest.fixture
def example(tmp_path: Path) -> Example:
    draw_set(tmp_path / "data", train=1, holdout=0, size=(120, 64))
    image = tmp_path / "data" / "images" / "000.png"
    return Example("000", image, "digest of its bytes", CAPTION, Size(120, 64), Size(64, 64))


def encoder(pipeline: Any, folder: Path, conditions: str = TARGET) -> Any:
    from steps.studio.lora.encoding import Cache, Encoder

    return Encoder(pipeline, Cache(folder), conditions)


def test_what_is_kept_is_what_the_pipeline_makes(pipeline: Any, example: Example, tmp_path: Path) -> None:
    found = encoder(pipeline, tmp_path / "kept").encode(example)
    with torch.no_grad():
        words, _, pooled, _ = pipeline.encode_prompt(CAPTION, do_classifier_free_guidance=False)
    assert torch.equal(found.words.tokens, words[0])
    assert torch.equal(found.words.pooled, pooled[0])
    assert found.mean.shape == found.deviation.shape == (pipeline.unet.config.in_channels, 8, 8)
    assert bool((found.deviation > 0).all())


def test_the_second_time_nothing_is_computed(pipeline: Any, example: Example, tmp_path: Path) -> None:
    one = encoder(pipeline, tmp_path / "kept").encode(example)
    before = tree(tmp_path / "kept")
    assert len(before) == 2
    again = encoder(pipeline, tmp_path / "kept")
    again._latents = again._read = lambda *_: pytest.fail("computed again")
    other = again.encode(example)
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.words.tokens, other.words.tokens)
    assert tree(tmp_path / "kept") == before


def test_another_bucket_image_or_model_is_another_entry(pipeline: Any, example: Example, tmp_path: Path) -> None:
    from dataclasses import replace

    kept = encoder(pipeline, tmp_path / "kept")
    kept.encode(example)
    kept.encode(replace(example, bucket=Size(96, 32)))
    kept.encode(replace(example, sha256="other bytes"))
    kept.encode(replace(example, caption="somebody else"))
    assert len(tree(tmp_path / "kept")) == 5
    other = encoder(pipeline, tmp_path / "kept")
    other._vae = "another model's"
    other.encode(example)
    assert len(tree(tmp_path / "kept")) == 6


def test_a_broken_entry_is_made_again(pipeline: Any, example: Example, tmp_path: Path) -> None:
    one = encoder(pipeline, tmp_path / "kept").encode(example)
    before = tree(tmp_path / "kept")
    for path in (tmp_path / "kept").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-4])
    assert torch.equal(encoder(pipeline, tmp_path / "kept").encode(example).mean, one.mean)
    assert tree(tmp_path / "kept") == before


@pytest.mark.parametrize(
    ("conditions", "expected"), [(ORIGINAL, [64, 120, 0, 28, 64, 64]), (TARGET, [64, 64, 0, 0, 64, 64])]
)
def test_the_model_is_told_sizes(
    pipeline: Any, example: Example, tmp_path: Path, conditions: str, expected: list[int]
) -> None:
    assert encoder(pipeline, tmp_path / "kept", conditions).encode(example).sizes.tolist() == expected


def test_no_caption_is_what_the_pipeline_takes_for_none(pipeline: Any, tmp_path: Path) -> None:
    words = encoder(pipeline, tmp_path / "kept").nothing()
    with torch.no_grad():
        expected, _, _, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False)
    assert torch.equal(words.tokens, expected[0])
    pipeline.register_to_config(force_zeros_for_empty_prompt=True)
    try:
        zeros = encoder(pipeline, tmp_path / "kept").nothing()
    finally:
        pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    assert not bool(zeros.tokens.any() or zeros.pooled.any())


def test_tokens_are_counted_whole_and_cut_with_their_end(pipeline: Any, tmp_path: Path) -> None:
    from steps.studio.lora.encoding import _tokens, count_tokens

    long = "kalpak zigzag moustache " * 40
    counts = [count(long) for count in count_tokens(pipeline)]
    assert counts[0] == counts[1] > 77
    assert count_tokens(pipeline)[0]("") == 2
    cut = _tokens(pipeline, "tokenizer_2", long)
    assert len(cut) == 77
    assert cut[-1] == pipeline.tokenizer_2.eos_token_id
