"""The sample of one character's raw images, and what is wrong with some of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from runner.ledger import Ledger
from steps.backends.embedded_models import EmbeddedFaces, EmbeddedFacesSettings
from steps.library.pictures import load
from steps.sample import CHARACTER, SampleParams, draw_library
from steps.studio import character_library
from steps.studio.character_library import IMPOSTORS, REFERENCES, RawPicture
from steps.studio.framing import FACINGS, SHOTS
from steps.studio.models import domain, layout, weights
from steps.studio.scenery import PLACES
from tests.support import calls

needs_models = pytest.mark.skipif(
    not (weights.shipped() / layout.MANIFEST).is_file() or importlib.util.find_spec("insightface") is None,
    reason="needs the embedded models: callsheet run embedded_models",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("character")
    assert len(list(draw_library(folder, SampleParams(cast=CHARACTER)))) == character_library.COUNT + 2 + 12 + 24
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
    assert {row["who"] for row in truth["images"]} == {truth["who"]} == {character_library.STRANGER}
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


@pytest.mark.parametrize("kind", [REFERENCES, IMPOSTORS])
def test_what_a_likeness_is_measured_against_is_told_and_shown(drawn: Path, kind: str) -> None:
    rows = json.loads((drawn / "truth.json").read_text())[kind]
    assert {path.name for path in (drawn / kind).iterdir()} == {row["file"] for row in rows}
    for one in (*character_library.references(0), *character_library.impostors(0)):
        if one.folder == kind:
            assert load(drawn / kind / one.name).image.tobytes() == character_library.shown(one).draw().tobytes()


def test_references_show_the_character_as_no_raw_image_does() -> None:
    references = character_library.references(0, 21)
    raw = character_library.pictures(0, 24, 21)
    assert {one.who for one in (*references, *raw)} == {21}
    assert {one.shot.kind for one in references} == {"portrait", "half"}
    assert {one.shot.facing for one in references} == set(FACINGS)
    assert {one.shot.gesture for one in references} == set(domain.GESTURES)
    assert {one.place for one in references} == set(PLACES)
    assert not {(one.place, one.layout) for one in references} & {(one.place, one.layout) for one in raw}
    assert references != character_library.references(1, 21)


@pytest.mark.parametrize("who", [0, 14, 30])
def test_impostors_are_other_strangers_each(who: int) -> None:
    people = [domain.person("stranger", one.who) for one in character_library.impostors(0, who)]
    assert len(set(people)) == len(people) == 24
    assert domain.person("stranger", who) not in people
    assert all(domain.is_stranger(person) for person in people)


@needs_models
@pytest.mark.parametrize("who", [14, 15])
def test_the_reporting_embedder_finds_every_face_and_tells_impostors_apart(who: int, ledger: Ledger) -> None:
    faces = EmbeddedFaces(EmbeddedFacesSettings(pack="report"), calls(ledger))
    references = embedded(faces, character_library.references(0, who))
    impostors = embedded(faces, character_library.impostors(0, who))
    assert (references @ references.T).min() > (references @ impostors.T).max() + 0.1


def embedded(faces: EmbeddedFaces, shown: Sequence[RawPicture]) -> NDArray[np.float32]:
    """The one face of each picture (N, 512)."""
    found = [faces.find(character_library.shown(one).draw()) for one in shown]
    assert [len(one) for one in found] == [1] * len(shown)
    return np.stack([one.embedding for (one,) in found])


def distance(one: Image.Image, other: Image.Image) -> float:
    values = zip(one.tobytes(), other.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in values) / len(one.tobytes())
