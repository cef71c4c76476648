"""Which files are training images, what their numbers are, and which manifests are believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ItemError
from steps.library import training
from steps.library.actors import Actor
from tests.library import put

ACTOR = Actor(1, "0001_bek")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "actors" / ACTOR.name / "training_data"
    put(path / "0001_bek_1.png", b"one")
    return path


def images(folder: Path, *, odd: bool = False) -> list[str]:
    return [path.name for path in training.images_on_disk(folder.parents[2], ACTOR, odd=odd)]


def write(folder: Path, **more: Any) -> str:
    document = {"version": 1, "actor_id": "0001", "actor_name": ACTOR.name, "images": [], **more}
    put(folder / "manifest.json", json.dumps(document).encode())
    return str(folder / "manifest.json")


def test_hidden_files_are_no_images(folder: Path) -> None:
    put(folder / "._0001_bek_1.png", b"left by macOS")
    assert images(folder) == ["0001_bek_1.png"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (" outer_2.png", "outer spaces"),
        ("bell\x07_2.png", "control characters"),
        ("back\\slash_2.png", "would leave the library"),
        (f"{'n' * 240}_2.png", "at most 200 bytes"),
        (os.fsdecode(b"\xff_2.png"), "'\\udcff_2.png' is not UTF-8"),
        ("0001_BEK_1.png", "'0001_BEK_1.png' and '0001_bek_1.png' are one file"),
    ],
)
def test_a_name_that_no_manifest_can_hold_is_its_actors_problem(folder: Path, name: str, said: str) -> None:
    put(folder / name, b"odd")
    with pytest.raises(ItemError) as caught:
        images(folder)
    assert said in str(caught.value)
    assert "rename" in str(caught.value)
    str(caught.value).encode("utf-8")
    assert set(images(folder, odd=True)) == {name, "0001_bek_1.png"}


@pytest.mark.parametrize(
    ("names", "highest"),
    [
        ([], 0),
        (["a_7.jpg", "a_12.png", "a.png"], 12),
        (["a_7.jpg", "a_1700000000.jpg", "a_00000000001.jpg"], 7),
        (["a_7.jpg", "a_999999999.jpg"], 7),
        (["a_7.jpg", "a_999980000.jpg", "a_999999999.jpg"], 999_980_000),
        (["a_999999999.jpg", "a_999995000.jpg"], 0),
    ],
)
def test_new_images_are_counted_on_from_where_there_is_room(names: list[str], highest: int) -> None:
    assert training.highest_number(names) == highest
    for number in (highest + 1, highest + training.ROOM - 1):
        assert training.number_of(f"a_{number}.jpg") == number
        assert f"a_{number}.jpg" not in names


def test_a_manifest_with_the_id_of_another_actor_is_refused(folder: Path) -> None:
    path = write(folder, actor_id="0002")
    with pytest.raises(ItemError) as caught:
        training.read_manifest(folder.parents[2], ACTOR)
    assert str(caught.value).startswith(f"{path}, /actor_id: is 0002, and 0001_bek is 0001 in actorsData.json")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN"])
def test_a_number_that_is_not_finite_is_refused_when_it_is_read(folder: Path, number: str) -> None:
    path = Path(write(folder, weird=5))
    path.write_text(path.read_text().replace("5}", f"{number}}}"))
    with pytest.raises(ItemError, match=r"manifest\.json: not usable JSON"):
        training.read_manifest(folder.parents[2], ACTOR)


def test_half_a_surrogate_pair_can_be_written_again(folder: Path) -> None:
    write(folder, weird="\ud83d")
    manifest = training.read_manifest(folder.parents[2], ACTOR)
    assert manifest is not None
    assert json.loads(manifest.text().encode())["weird"] == "\ud83d"
