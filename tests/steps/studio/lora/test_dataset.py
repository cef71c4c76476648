"""All that is wrong with a training set is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from steps.library.captions import pairs, read_split
from steps.studio.lora.buckets import Size
from steps.studio.lora.dataset import Dataset, Rules, read_dataset
from tests.training_set import TRIGGER, draw_set

RULES = Rules([Size(64, 64), Size(96, 32)], TRIGGER, 20, [lambda text: len(text.split()) + 2])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_set(tmp_path)


def read(data: Path) -> Dataset:
    return read_dataset(pairs(data / "images", data / "captions"), read_split(data / "split.json"), RULES)


def test_a_good_set_has_no_faults(data: Path) -> None:
    found = read(data)
    assert (len(found.train), len(found.holdout)) == (6, 2)
    assert not found.faults
    assert not found.warnings
    assert {example.bucket for example in found.train} == {Size(64, 64)}


def test_all_faults_are_said_together(data: Path) -> None:
    texts, images = data / "captions", data / "images"
    (texts / "000.txt").unlink()
    (texts / "001.txt").write_text(" \n")
    (texts / "002.txt").write_bytes(b"\xff\xfe\xff")
    (texts / "003.txt").write_text("word " * 30 + TRIGGER)
    (texts / "004.txt").write_text("x" * 200_000)
    (images / "005.png").write_bytes((images / "005.png").read_bytes()[:300])
    (images / "006.png").write_bytes(b"no picture")
    (images / "007.png").unlink()
    said = "\n".join(read(data).faults)
    for expected in (
        "000.txt: no caption: write one",
        "001.txt: the caption is empty",
        "002.txt: not UTF-8",
        "003.txt: 34 tokens, 20 are read (start and end counted): shorten it by about 14",
        "004.txt: 200,000 bytes are no caption",
        "005.png: 005.png is cut off or corrupt",
        "006.png: 006.png is not a PNG, JPEG or WebP image",
    ):
        assert expected in said
    assert len(read(data).faults) == 7
    # What somebody took out on purpose trains nothing wrongly.
    assert "split.json names 1 image that is gone" in read(data).warnings


def test_an_image_may_have_two_faults(data: Path) -> None:
    (data / "captions" / "000.txt").unlink()
    (data / "images" / "000.png").write_bytes(b"")
    assert len(read(data).faults) == 2


def test_a_caption_without_the_trigger_is_a_warning(data: Path) -> None:
    (data / "captions" / "000.txt").write_text("OHWX Person waving")
    (data / "captions" / "001.txt").write_text("somebody waving")
    found = read(data)
    assert not found.faults
    assert [text.rpartition("/")[2] for text in found.warnings] == ["001.txt: the trigger 'ohwx person' is not in it"]


def test_a_caption_is_one_line_and_an_image_keeps_its_shape(tmp_path: Path) -> None:
    data = draw_set(tmp_path, size=(120, 40))
    (data / "captions" / "000.txt").write_text("\ufeffohwx person,\n  riding\n", encoding="utf-8")
    found = read(data).train[0]
    assert found.caption == "ohwx person, riding"
    assert (found.size, found.bucket) == (Size(120, 40), Size(96, 32))
