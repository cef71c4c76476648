"""A training set on disk: ids, images put upright, and a split that stays what it was."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runner.errors import UserError
from steps.library import captions
from steps.library.captions import HOLDOUT, TRAIN, TrainingSet, id_of, split_of
from steps.library.pictures import decode
from tests.library import jpeg, put

IDS = st.sets(st.uuids().map(str), max_size=40)
SHARES = st.floats(0, 0.5)


def test_an_id_follows_from_the_content_alone() -> None:
    digest = hashlib.sha256(b"an image").hexdigest()
    # Another id for the same image would caption every set anew.
    assert id_of(digest) == "52b09511-9731-5e13-bb30-2ebbdcee37bf"
    assert id_of(digest) != id_of(hashlib.sha256(b"another").hexdigest())


@given(IDS, SHARES)
def test_a_split_has_the_share_and_never_an_empty_holdout(ids: set[str], share: float) -> None:
    parts = split_of(ids, {}, share)
    held = sum(part == HOLDOUT for part in parts.values())
    assert set(parts) == ids
    assert parts == split_of(sorted(ids, reverse=True), {}, share)
    if len(ids) < 4 or share == 0:
        assert held == 0
    else:
        assert held == max(1, round(share * len(ids)))


@given(IDS, IDS, st.floats(0.01, 0.5))
def test_what_was_assigned_stays(before: set[str], added: set[str], share: float) -> None:
    first = split_of(before, {}, share)
    then = split_of(before | added, first, share)
    fresh_holdout = HOLDOUT in then.values()
    if HOLDOUT in first.values() or added - before:
        assert {id_: then[id_] for id_ in before} == first
    assert fresh_holdout or len(before | added) < 4


def test_only_where_nothing_is_new_an_old_image_is_held_out() -> None:
    ids = {f"image {number}" for number in range(6)}
    trained = dict.fromkeys(ids, TRAIN)
    assert sum(part == HOLDOUT for part in split_of(ids, trained, 0.2).values()) == 1
    with_new = split_of(ids | {"new"}, trained, 0.2)
    assert with_new == {**trained, "new": HOLDOUT}


def test_what_looks_the_same_goes_the_same_way() -> None:
    ids = [f"image {number}" for number in range(12)]
    held = next(id_ for id_, part in split_of(ids, {}, 0.1).items() if part == HOLDOUT)
    parts = split_of([*ids, "twin", "twin of it"], {}, 0.1, {"twin": held, "twin of it": "twin"})
    assert parts["twin"] == parts["twin of it"] == parts[held] == HOLDOUT
    assert set(split_of(["a", "b"], {}, 0.5, {"a": "b", "b": "a"})) == {"a", "b"}


def test_a_split_is_read_as_it_was_written_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    assert captions.read_split(path) == {}
    captions.write_split(path, {"b": HOLDOUT, "a": TRAIN})
    assert captions.read_split(path) == {"a": TRAIN, "b": HOLDOUT}
    path.write_text('{"images": {"a": "test"}}')
    with pytest.raises(UserError, match="'test' is neither 'train' nor 'holdout'"):
        captions.read_split(path)
    path.write_text('{"images": ["a"]}')
    with pytest.raises(UserError, match="not a split"):
        captions.read_split(path)


def rotated(kind: str, orientation: int = 6) -> bytes:
    """A red upper half and a blue lower one, which metadata turns."""
    image = Image.new("RGB", (32, 48), "blue")
    image.paste("red", (0, 0, 32, 24))
    exif = image.getexif()
    exif[0x0112] = orientation
    exif[0x010E] = "where I live"
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_what_metadata_turns_is_turned_for_good(kind: str, suffix: str) -> None:
    data, found = captions.upright(decode(rotated(kind), "image"))
    assert found == suffix
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == kind
        assert image.size == (48, 32)
        assert dict(image.getexif()) == {}
        red, _, blue = image.convert("RGB").getpixel((40, 16))  # type: ignore[misc]
        assert red > 200 > 60 > blue
    assert b"where I live" not in data


def test_what_is_upright_keeps_its_bytes_and_gets_the_suffix_of_what_it_holds(tmp_path: Path) -> None:
    data = jpeg("green")
    assert captions.upright(decode(data, "green.png")) == (data, ".jpg")
    there = TrainingSet(tmp_path / "images", tmp_path / "captions")
    assert there.captioned() == []
    path = there.add_image("a", decode(data, "green.png"))
    assert path.read_bytes() == data
    assert there.add_image("a", decode(jpeg("red"), "red.jpg")) == path
    assert path.read_bytes() == data
    assert there.captioned() == []
    assert there.add_caption("a", "A green field.")
    assert not there.add_caption("a", "Another text.")
    assert captions.read_caption(there.caption_of("a")) == "A green field."
    assert [one.id for one in there.captioned()] == ["a"]


def test_a_caption_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", b"\xff\xfe")
    with pytest.raises(UserError, match=r"a\.txt: not UTF-8 at byte 0"):
        captions.read_caption(tmp_path / "a.txt")
    put(tmp_path / "b.txt", b"\xef\xbb\xbf from an editor \r\n")
    assert captions.read_caption(tmp_path / "b.txt") == "from an editor"
