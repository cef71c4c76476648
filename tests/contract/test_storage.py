"""What every storage must do: one suite over each of them, and over the mirror in memory that other tests stand on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

import pytest

from runner.calls import Calls
from runner.errors import ItemError, Transient
from runner.ledger import Ledger
from steps.library.mirror import Storage, StoredObject
from tests.contract.storage_servers import TRASH, new_bucket
from tests.library import RecordingMirror, no_mirror

ACTION, OTHER_ACTION = "a" * 24, "b" * 24
HOME = PurePosixPath("actors/0001_bek")
KEY = HOME / "training_data" / "0001_bek_1.jpg"
ODD = (
    "plain.jpg",
    "with space.jpg",
    "plus+and&and=.jpg",
    "percent%20%.jpg",
    'quote\'s "two".jpg',
    "hash#question?.jpg",
    "ünï©ödé-顔.jpg",
    "café.jpg",
    "emoji-🎬.jpg",
    "~tilde,comma;semicolon:colon@at$dollar!.jpg",
    "(brackets)[square]{curly}.jpg",
    ".hidden",
    "a" * 200,
)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf(Protocol):
    """How a storage's content is looked at past the storage."""

    def write(self, key: str, data: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def objects(self) -> dict[str, bytes]: ...

    def trash(self) -> dict[str, bytes]: ...


@dataclass
class Memory:
    """The mirror in memory."""

    mirror: RecordingMirror

    def write(self, key: str, data: bytes) -> None:
        self.mirror.objects[key] = data

    def remove(self, key: str) -> None:
        del self.mirror.objects[key]

    def objects(self) -> dict[str, bytes]:
        return dict(self.mirror.objects)

    def trash(self) -> dict[str, bytes]:
        return dict(self.mirror.trash)


@dataclass
class Place:
    """A storage and a way around it."""

    storage: Storage
    shelf: Shelf

    def stands(self, key: PurePosixPath = KEY) -> StoredObject:
        return next(item for item in self.storage.inventory(key.parent) if item.key == key)

    def given(self, data: bytes = b"one", key: PurePosixPath = KEY) -> StoredObject:
        """An object that stands there."""
        self.shelf.write(str(key), data)
        return self.stands(key)

    def moved(self, data: bytes = b"one", key: PurePosixPath = KEY) -> StoredObject:
        """An object that an action has moved to the trash; as it is listed there."""
        item = self.given(data, key)
        assert self.storage.to_trash(item, ACTION)
        assert self.storage.delete(item)
        return next(kept for kept in self.storage.in_trash(ACTION) if kept.key == key)


class LosesAnswers:
    """Makes every request twice, for the answer to the first one gets lost on its way."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls
        self.stop = calls.stop

    def free(self, send: Callable[[], Any]) -> Any:
        answers: list[Any] = []

        def sent() -> Any:
            answers.append(send())
            if len(answers) == 1:
                raise Transient("the connection was cut")
            return answers[-1]

        return self._calls.free(sent)


MIRRORS = (
    "memory",
    "s3",
    "s3-versioned",
    "s3-prefix",
    "s3-without-conditions",
    "s3-lost-answers",
    "rclone",
    "rclone-prefix",
)


@pytest.fixture(params=MIRRORS)
def place(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path) -> Place:
    kind = request.param
    if kind == "memory":
        mirror = RecordingMirror(tmp_path)
        return Place(mirror, Memory(mirror))
    url = request.getfixturevalue("moto" if kind.startswith("s3") else "rclone")
    prefix = "cast/ünter data" if kind.endswith("prefix") else ""
    conditional = kind.startswith("s3") and kind != "s3-without-conditions"
    bucket = new_bucket(url, versioned="versioned" in kind, prefix=prefix, conditional=conditional)
    storage = bucket.storage(ledger)
    if kind == "s3-lost-answers":
        storage._calls = cast("Calls", LosesAnswers(storage._calls))
    return Place(storage, bucket)


def test_a_storage_without_objects_is_asked_like_any_other(ledger: Ledger) -> None:
    storage: Storage = no_mirror(ledger)
    assert list(storage.inventory(HOME)) == []
    assert storage.put(KEY, b"one", "image/jpeg") is False
    assert storage.holding(KEY, digest(b"one")) is None
    assert storage.to_trash(StoredObject(KEY, 3), ACTION) is False
    assert storage.delete(StoredObject(KEY, 3)) is False
    assert list(storage.in_trash(ACTION)) == []
    storage.empty_trash(ACTION)
    assert storage.address(KEY) == str(KEY)
    assert storage.trash_address(ACTION) == f"{TRASH}{ACTION}/"


def test_an_inventory_lists_a_folder_and_no_other(place: Place) -> None:
    place.given(b"one")
    place.given(b"three", HOME / "training_data" / "deeper" / "x.png")
    place.given(b"other", PurePosixPath("actors/0001_bekka/training_data/1.jpg"))
    assert {item.key: item.size for item in place.storage.inventory(HOME)} == {
        KEY: 3,
        HOME / "training_data" / "deeper" / "x.png": 5,
    }
    assert list(place.storage.inventory(PurePosixPath("actors/nobody"))) == []


def test_etags_tell_contents_apart(place: Place) -> None:
    first = place.given(b"one")
    assert first.etag
    assert '"' not in first.etag
    assert place.given(b"two").etag != first.etag


# By itself, for rclone takes the two forms of an accent for one name.
@pytest.mark.parametrize("names", [ODD, ("cafe\N{COMBINING ACUTE ACCENT}.jpg",)], ids=["many", "decomposed"])
def test_odd_names_go_there_and_back(place: Place, names: tuple[str, ...]) -> None:
    keys = [HOME / "training_data" / name for name in names]
    kept = [place.moved(name.encode(), key) for name, key in zip(names, keys, strict=True)]
    assert place.shelf.objects() == {}
    for item in kept:
        place.storage.restore(item, ACTION)
    place.storage.empty_trash(ACTION)
    assert place.shelf.objects() == {str(key): key.name.encode() for key in keys}
    assert place.shelf.trash() == {}


def test_the_trash_keeps_a_copy_and_the_object_stays(place: Place) -> None:
    item = place.given()
    for _ in range(3):
        assert place.storage.to_trash(item, ACTION)
        assert place.shelf.objects() == {str(KEY): b"one"}
        assert place.shelf.trash() == {f"{ACTION}/{KEY}": b"one"}


def test_what_is_in_the_trash_need_not_stand_any_more(place: Place) -> None:
    item = place.given()
    place.moved()
    assert place.storage.to_trash(item, ACTION)
    assert place.shelf.trash() == {f"{ACTION}/{KEY}": b"one"}


def test_what_is_in_the_trash_is_not_overwritten_by_what_came_later(place: Place) -> None:
    item = place.given()
    place.storage.to_trash(item, ACTION)
    place.shelf.write(str(KEY), b"two")
    assert place.storage.to_trash(item, ACTION)
    assert place.shelf.trash() == {f"{ACTION}/{KEY}": b"one"}


def test_what_is_nowhere_can_not_go_to_the_trash(place: Place) -> None:
    item = place.given()
    place.shelf.remove(str(KEY))
    assert place.storage.to_trash(item, ACTION) is False
    assert place.shelf.trash() == {}


@pytest.mark.parametrize("later", [b"two", b"longer"])
def test_a_changed_object_does_not_go_to_the_trash(place: Place, later: bytes) -> None:
    item = place.given()
    place.shelf.write(str(KEY), later)
    with pytest.raises(ItemError, match="has changed since"):
        place.storage.to_trash(item, ACTION)
    assert place.shelf.trash() == {}
    assert place.shelf.objects() == {str(KEY): later}


def test_an_object_is_deleted_once_and_asked_for_again(place: Place) -> None:
    item = place.given()
    assert place.storage.delete(item) is True
    assert place.storage.delete(item) is False
    assert place.shelf.objects() == {}


@pytest.mark.parametrize("later", [b"two", b"longer"])
def test_a_changed_object_is_not_deleted(place: Place, later: bytes) -> None:
    item = place.given()
    place.shelf.write(str(KEY), later)
    with pytest.raises(ItemError, match="has changed since"):
        place.storage.delete(item)
    assert place.shelf.objects() == {str(KEY): later}


def test_a_new_object_is_put_where_nothing_stands(place: Place) -> None:
    for _ in range(2):
        assert place.storage.put(KEY, b"new", "image/jpeg") is True
        assert place.shelf.objects() == {str(KEY): b"new"}


def test_a_new_object_replaces_the_one_that_was_seen(place: Place) -> None:
    item = place.given()
    for _ in range(2):
        assert place.storage.put(KEY, b"new", "image/jpeg", replaces=item) is True
        assert place.shelf.objects() == {str(KEY): b"new"}


def test_a_new_object_is_put_though_what_it_replaces_was_moved_aside(place: Place) -> None:
    item = place.given()
    place.shelf.remove(str(KEY))
    assert place.storage.put(KEY, b"new", "image/jpeg", replaces=item) is True
    assert place.shelf.objects() == {str(KEY): b"new"}


def test_a_new_object_replaces_none_that_has_appeared(place: Place) -> None:
    place.given()
    with pytest.raises(ItemError, match="since"):
        place.storage.put(KEY, b"new", "image/jpeg")
    assert place.shelf.objects() == {str(KEY): b"one"}


def test_a_new_object_replaces_none_that_has_changed(place: Place) -> None:
    item = place.given()
    place.shelf.write(str(KEY), b"two")
    with pytest.raises(ItemError, match="has changed since"):
        place.storage.put(KEY, b"new", "image/jpeg", replaces=item)
    assert place.shelf.objects() == {str(KEY): b"two"}


def test_holding_goes_by_the_bytes(place: Place) -> None:
    assert place.storage.holding(KEY, digest(b"one")) is None
    item = place.given()
    assert place.storage.holding(KEY, digest(b"one")) == item
    assert place.storage.holding(KEY, digest(b"two")) is None


def test_what_was_moved_is_put_back(place: Place) -> None:
    kept = place.moved()
    for _ in range(2):
        assert place.storage.can_return(kept, ACTION)
        place.storage.restore(kept, ACTION)
        assert place.shelf.objects() == {str(KEY): b"one"}
        assert place.shelf.trash() == {f"{ACTION}/{KEY}": b"one"}


@pytest.mark.parametrize("later", [b"two", b"longer"])
def test_nothing_is_put_back_over_what_has_appeared(place: Place, later: bytes) -> None:
    kept = place.moved()
    place.shelf.write(str(KEY), later)
    assert not place.storage.can_return(kept, ACTION)
    with pytest.raises(ItemError, match="has appeared since"):
        place.storage.restore(kept, ACTION)
    assert place.shelf.objects() == {str(KEY): later}


def test_an_action_has_its_own_trash(place: Place) -> None:
    place.moved(b"one")
    item = place.given(b"two")
    place.storage.to_trash(item, OTHER_ACTION)
    assert [(kept.key, kept.size) for kept in place.storage.in_trash(ACTION)] == [(KEY, 3)]
    place.storage.empty_trash(ACTION)
    place.storage.empty_trash(ACTION)
    assert list(place.storage.in_trash(ACTION)) == []
    assert place.shelf.trash() == {f"{OTHER_ACTION}/{KEY}": b"two"}
    assert place.shelf.objects() == {str(KEY): b"two"}


def test_addresses_name_the_place(place: Place) -> None:
    assert place.storage.address(KEY).endswith(str(KEY))
    assert place.storage.trash_address(ACTION).endswith(f"{ACTION}/")


def test_an_object_is_found_and_read(place: Place) -> None:
    assert place.storage.find(KEY) is None
    item = place.given(b"some bytes")
    assert place.storage.find(KEY) == item
    assert place.storage.get(item) == b"some bytes"


@pytest.mark.parametrize("later", [None, b"two"])
def test_an_object_that_changed_is_not_read(place: Place, later: bytes | None) -> None:
    item = place.given(b"one")
    if later is None:
        place.shelf.remove(str(KEY))
    else:
        place.shelf.write(str(KEY), later)
    with pytest.raises(ItemError):
        place.storage.get(item)


@pytest.mark.parametrize("name", ODD)
def test_a_manifests_address_leads_back_to_the_key(place: Place, name: str) -> None:
    url = place.storage.url(HOME / name)
    assert url is not None
    assert place.storage.path_of(url) == HOME / name
    assert place.storage.path_of("https://elsewhere.example/actors/0001_bek/1.jpg") is None
