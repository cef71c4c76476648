"""The sample of one character's raw images, and what is wrong with some of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from steps.library.pictures import load
from steps.sample import CHARACTER, draw_library
from steps.studio import character_library
from steps.studio.framing import SHOTS
from steps.studio.models import domain
from steps.studio.scenery import PLACES


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("character")
    assert len(list(draw_library(folder, 0, CHARACTER))) == character_library.COUNT + 2
    return folder


def test_every_shot_gesture_and_place_comes(drawn: Path) -> None:
    pictures = character_library.pictures(0)
    assert {one.place for one in pictures} == set(PLACES)
    assert {(one.shot.kind, one.shot.gesture) for one in pictures} == {
        (shot, gesture) for shot in SHOTS for gesture in domain.GESTURES
    }


def test_images_are_what_the_truth_says(drawn: Path) -> None:
    truth = json.loads((drawn / "truth.json").read_text())
    files = {path.relative_to(drawn / "raw_images").as_posix() for path in (drawn / "raw_images").rglob("*.*")}
    assert files == {row["file"] for row in truth["images"]}
    assert {row["flaw"] for row in truth["images"]} == {"", "rotated", "duplicate", "near duplicate"}
    assert domain.is_stranger(domain.person("stranger", character_library.STRANGER))
    assert "{who}" in truth["images"][0]["caption"]


def test_flaws_are_real(drawn: Path) -> None:
    by_flaw = {one.flaw: one for one in character_library.pictures(0) if one.flaw}
    raw = drawn / "raw_images"
    poorer = by_flaw["near duplicate"]
    assert 0 < distance(load(raw / poorer.name).image, character_library.shown(poorer).draw()) < 16
    copy = raw / by_flaw["duplicate"].name
    assert copy.read_bytes() == (raw / copy.name).read_bytes()
    upright = character_library.shown(by_flaw["rotated"]).draw()
    with Image.open(raw / by_flaw["rotated"].name) as stored:
        aside, turned = stored.convert("RGB"), ImageOps.exif_transpose(stored).convert("RGB")
    assert distance(turned, upright) < 16 < distance(aside, upright)


def test_the_same_seed_draws_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    pictures = character_library.pictures(0)
    for one in pictures[:3]:
        character_library.draw(one, tmp_path)
        assert (tmp_path / "raw_images" / one.name).read_bytes() == (drawn / "raw_images" / one.name).read_bytes()
    assert character_library.pictures(1) != pictures


def distance(one: Image.Image, other: Image.Image) -> float:
    values = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in values) / len(one.tobytes())
