"""What older tools left becomes a manifest: in every shape, with nothing lost, and whatever a broken file holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import ItemError
from runner.files import write_text
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from steps.library import legacy, training
from steps.library.actors import Actor
from steps.library.legacy import Migration, current, migrated
from steps.library.training import TrainingImage
from tests.library import jpeg, put, tree

ACTOR = Actor(1, "0001_bek")
URL = "https://cast.s3.us-west-1.amazonaws.com/actors/0001_bek/training_data/"


class Folder:
    """One actor's training_data folder."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root = root
        self.hashes = FileHashes(ledger)
        self.path = root / "actors" / ACTOR.name / "training_data"
        self.path.mkdir(parents=True)

    def images(self, *numbers: int) -> None:
        for number in numbers:
            put(self.path / f"0001_bek_{number}.png", jpeg(f"#00{number:02x}40"))

    def write(self, name: str, document: Any) -> None:
        put(self.path / name, document if isinstance(document, bytes) else json.dumps(document).encode())

    def migrated(self) -> Migration:
        return migrated(self.root, ACTOR, self.hashes)

    def entries(self) -> dict[str, TrainingImage]:
        return {image.file: image for image in self.migrated().manifest.images}

    def unmapped(self) -> list[tuple[str, str, str]]:
        return [(piece.source, piece.pointer, piece.why) for piece in self.migrated().manifest.unmapped]


@pytest.fixture
def folder(tmp_path: Path, ledger: Ledger) -> Folder:
    return Folder(tmp_path / "cast", ledger)


def name(number: int) -> str:
    return f"0001_bek_{number}.png"


def prediction(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"p{number}",
        "input": {"prompt": f"prompt {number}", "seed": number, "guidance": 3.5},
        "output": [f"https://replicate.delivery/{number}/out-0.png"],
        "status": "succeeded",
        "created_at": "2025-05-01T00:00:00Z",
        **more,
    }


SHAPES: dict[str, Any] = {
    "a list of entries": {"images": [{"filename": name(n), "prompt": f"prompt {n}", "s3_url": URL + name(n)} for n in (1, 2)]},
    "by name": {name(n): {"prompt": f"prompt {n}", "url": URL + name(n)} for n in (1, 2)},
    "a bare list": [{"file": name(n), "prompt": f"prompt {n}", "url": URL + name(n)} for n in (1, 2)],
    "by name below images": {"images": {name(n): {"prompt": f"prompt {n}", "s3_url": URL + name(n)} for n in (1, 2)}},
    "named by a path": [{"path": f"data/actors/0001_bek/training_data/{name(n)}", "prompt": f"prompt {n}", "url": URL + name(n)} for n in (1, 2)],
    "named by the address": [{"prompt": f"prompt {n}", "s3_url": URL + name(n)} for n in (1, 2)],
    "named by an address": [{"image": URL + name(n), "prompt": f"prompt {n}"} for n in (1, 2)],
    "by address": {URL + name(n): {"prompt": f"prompt {n}"} for n in (1, 2)},
    "signed addresses": [{"path": f"{URL}{name(n)}?X-Amz-Expires=60", "prompt": f"prompt {n}"} for n in (1, 2)],
    "named twice": [{"filename": name(n), "image": URL + name(n), "prompt": f"prompt {n}"} for n in (1, 2)],
    "in another case": {name(n).upper(): {"prompt": f"prompt {n}", "url": URL + name(n)} for n in (1, 2)},
    "predictions": [prediction(n, output=[URL + f"x{n}"]) for n in (1, 2)],
}  # fmt: skip


@pytest.mark.parametrize("source", legacy.SOURCES)
@pytest.mark.parametrize("shape", list(SHAPES))
def test_prompts_and_addresses_are_kept_in_every_shape(folder: Folder, shape: str, source: str) -> None:
    folder.images(1, 2)
    folder.write(source, SHAPES[shape])
    entries = folder.entries()
    assert list(entries) == [name(1), name(2)]
    for number in (1, 2):
        entry = entries[name(number)]
        assert entry.prompt == f"prompt {number}"
        assert entry.url is not None
        assert entry.url.startswith(URL)
        assert entry.source == source
        assert entry.sha256 == folder.hashes.of(folder.path / name(number))
    assert folder.unmapped() == []
    assert folder.migrated().unplaced == ()


@pytest.mark.parametrize("shape", ["named by an address", "by address", "named twice"])
def test_an_address_that_names_the_file_is_the_url_and_nothing_else(folder: Folder, shape: str) -> None:
    folder.images(1)
    folder.write("response.json", SHAPES[shape])
    entry = folder.entries()[name(1)]
    assert (entry.url, entry.extra) == (URL + name(1), {})


def test_addresses_in_a_list_are_kept(folder: Folder) -> None:
    folder.images(1)
    folder.write("prompt_metadata.json", {"images": [URL + name(1)]})
    assert (folder.entries()[name(1)].url, folder.unmapped()) == (URL + name(1), [])


def test_what_names_the_file_is_kept_beside_another_address_and_name(folder: Folder) -> None:
    folder.images(1, 2)
    entries = {
        URL + name(1): {"url": "https://r/b.png", "legacy_name": "old"},
        "older/" + name(2): {"legacy_name": "old"},
    }
    folder.write("prompt_metadata.json", entries)
    assert [entry.extra for entry in folder.entries().values()] == [{"legacy_name": "old"}] * 2
    assert folder.entries()[name(1)].url == "https://r/b.png"
    kept = {piece.value: piece.why for piece in folder.migrated().manifest.unmapped}
    assert kept == {
        URL + name(1): f"{name(1)}: has another legacy_name",
        "older/" + name(2): f"{name(2)}: has another legacy_name",
    }


def test_the_address_of_another_file_is_not_taken(folder: Folder) -> None:
    folder.images(1, 2)
    folder.write("prompt_metadata.json", [{"filename": name(1), "image": URL + name(2)}])
    entry = folder.entries()[name(1)]
    assert (entry.url, entry.extra) == (None, {"image": URL + name(2)})


def test_one_prediction_with_several_images(folder: Folder) -> None:
    folder.images(1, 2)
    folder.write("response.json", prediction(7, output=["https://r/a.png", "https://r/b.png"], logs="fast"))
    first, second = folder.entries().values()
    assert (first.url, second.url) == ("https://r/a.png", "https://r/b.png")
    assert (first.prompt, second.prompt, second.seed) == ("prompt 7", "prompt 7", 7)
    assert (first.extra["logs"], first.extra["input"]) == ("fast", {"guidance": 3.5})
    assert first.made_at == "2025-05-01T00:00:00Z"
    assert second.extra == {}


def test_predictions_go_to_images_by_number_not_by_name(folder: Folder) -> None:
    folder.images(2, 10)
    folder.write("response.json", [prediction(2), prediction(10)])
    assert [entry.prompt for entry in folder.entries().values()] == ["prompt 2", "prompt 10"]


def test_predictions_without_an_image_take_no_number(folder: Folder) -> None:
    folder.images(1, 2)
    failed = prediction(9, status="failed", output=None, error="NSFW")
    folder.write("response.json", [prediction(1), failed, prediction(2)])
    assert [entry.prompt for entry in folder.entries().values()] == ["prompt 1", "prompt 2"]
    assert folder.unmapped() == [("response.json", "/1", "no image came of it: its status is failed")]
    assert folder.migrated().manifest.unmapped[0].value == failed


def test_where_images_are_gone_predictions_are_told_by_the_number(folder: Folder) -> None:
    folder.images(1, 3)
    folder.write("response.json", [prediction(1), prediction(2), prediction(3)])
    assert [entry.prompt for entry in folder.entries().values()] == ["prompt 1", "prompt 3"]
    assert folder.unmapped() == [("response.json", "/1", "which image came of it can't be told")]


def test_the_address_tells_better_than_the_order(folder: Folder) -> None:
    folder.images(1, 2)
    folder.write("response.json", [prediction(n, output=URL + name(n)) for n in (2, 1)])
    assert [entry.prompt for entry in folder.entries().values()] == ["prompt 1", "prompt 2"]


def test_both_files_add_up_and_what_names_its_file_counts(folder: Folder) -> None:
    folder.images(1, 2)
    folder.write(
        "prompt_metadata.json", {"images": [{"filename": name(1), "prompt": "named", "s3_url": URL + name(1)}]}
    )
    folder.write("response.json", [prediction(1), prediction(2)])
    first, second = folder.entries().values()
    assert (first.prompt, first.url, first.seed) == ("named", URL + name(1), 1)
    assert first.extra["input"] == {"prompt": "prompt 1", "guidance": 3.5}
    assert first.extra["output"] == "https://replicate.delivery/1/out-0.png"
    assert (second.prompt, second.source) == ("prompt 2", "response.json")


def test_what_only_one_side_knows_is_listed(folder: Folder) -> None:
    folder.images(1, 2)
    folder.write(
        "prompt_metadata.json", {name(2): {"prompt": "two"}, name(7): {"prompt": "seven", "url": URL + name(7)}}
    )
    migration = folder.migrated()
    assert [tuple(one) for one in migration.unplaced] == [
        (name(1), "no legacy file speaks of it"),
        (name(7), "prompt_metadata.json names it, and it is not on the disk"),
    ]
    entries = folder.entries()
    assert (entries[name(1)].source, entries[name(7)].url, entries[name(7)].sha256) == ("disk", URL + name(7), None)


def test_what_is_not_understood_is_kept_with_pointer_and_reason(folder: Folder) -> None:
    folder.images(1)
    folder.write(
        "prompt_metadata.json",
        {
            "images": [{"filename": name(1), "prompt": 5, "rating": 3, "seed": -4}, "nothing", {"filename": name(1), "prompt": "again"}],
            "tool": {"na/me": "old"},
            "a/b~c": 1,
        },
    )  # fmt: skip
    assert folder.entries()[name(1)].extra == {"rating": 3}
    usable = f"{name(1)}: is not usable, or was said before"
    assert folder.unmapped() == [
        ("prompt_metadata.json", "/images/0/prompt", usable),
        ("prompt_metadata.json", "/images/0/seed", usable),
        ("prompt_metadata.json", "/images/1", "names no image of training_data"),
        ("prompt_metadata.json", "/images/2", f"{name(1)} has an entry before"),
        ("prompt_metadata.json", "/tool", "names no image of training_data"),
        ("prompt_metadata.json", "/a~1b~0c", "is no entry of an image"),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"images": [{"filename": "cut off', "1:26: not JSON: Unterminated string starting at"),
        (b"", "1:1: not JSON: Expecting value"),
        (b"\xff\xfe\x00", "not UTF-8 at byte 0: save it as UTF-8"),
        (b'[{"seed": NaN}]', "not usable JSON: NaN is not JSON"),
        (b"[" * 100_000, "not usable JSON: "),
        (b"[" * 70 + b"]" * 70, "nested deeper than 60: its beginning is kept here"),
        (b" " * (legacy.LARGEST_BYTES + 1), "over 16 MiB: its beginning is kept here"),
    ],
)
def test_a_broken_file_is_kept_by_its_beginning(folder: Folder, content: bytes, why: str) -> None:
    folder.images(1)
    folder.write("response.json", content)
    ((source, pointer, said),) = folder.unmapped()
    assert (source, pointer) == ("response.json", "")
    assert said.startswith(why)
    assert str(folder.root) not in folder.migrated().manifest.text()
    assert folder.migrated().manifest.unmapped[0].value == content[:1000].decode("utf-8", "replace")
    assert folder.entries()[name(1)].source == "disk"


@pytest.mark.parametrize(
    "file", ["../../etc/passwd.png", "..", "/etc/passwd", "x\0.png", ".hidden.png", "C:\\..\\a.png", "a" * 300 + ".png", "response.png", ""]
)  # fmt: skip
def test_names_that_lead_away_name_no_image(folder: Folder, file: str) -> None:
    folder.images(1)
    folder.write("prompt_metadata.json", {"images": [{"filename": file, "prompt": "p"}]})
    assert list(folder.entries()) == [name(1)]
    assert folder.migrated().manifest.unmapped[0].value == {"filename": file, "prompt": "p"}


def test_endless_texts_and_numbers_are_bounded(folder: Folder) -> None:
    folder.images(1)
    entry = f'{{"filename": "{name(1)}", "prompt": "{"p" * 200_000}", "seed": {"9" * 4000}, "usd": 1e999, "half": "\\ud800"}}'
    folder.write("prompt_metadata.json", f'{{"images": [{entry}]}}'.encode())
    image = folder.entries()[name(1)]
    assert image.prompt is not None
    assert image.prompt.endswith("(200000 characters; all of them are in prompt_metadata.json)")
    assert image.seed is None
    assert len(folder.migrated().manifest.text()) < 10_000
    _read_back(folder)


def test_files_with_odd_names_are_listed_and_not_entered(folder: Folder) -> None:
    put(folder.path / "A_1.png", b"one")
    put(folder.path / "a_1.png", b"two")
    put(folder.path / " outer_2.png", b"three")
    unplaced = {file: why for file, why in folder.migrated().unplaced if "is not entered" in why}
    assert set(unplaced) == {"a_1.png", " outer_2.png"}
    assert unplaced["a_1.png"] == "is not entered: A_1.png differs from it by case alone"
    _read_back(folder)


def test_links_are_not_followed(folder: Folder, tmp_path: Path) -> None:
    put(tmp_path / "outside.json", b'{"secret": 1}')
    (folder.path / "response.json").symlink_to(tmp_path / "outside.json")
    assert folder.unmapped() == [("response.json", "", "is a link, which is not followed")]
    assert "secret" not in folder.migrated().manifest.text()


def test_many_predictions_take_linear_time(folder: Folder) -> None:
    """Were each looked up among all others, this would take hours."""
    folder.images(1)
    folder.write("response.json", [{"output": URL + name(1)}] * 100_000)
    assert len(folder.migrated().manifest.unmapped) == 99_999


def test_current_is_the_manifest_on_disk_or_what_migration_would_write(folder: Folder) -> None:
    folder.images(1)
    assert current(folder.root, ACTOR, folder.hashes) == folder.migrated().manifest
    ours = folder.migrated().manifest.changed(plus=[TrainingImage(name(5), source="made")])
    write_text(training.manifest_path(folder.root, ACTOR.name), ours.text())
    assert current(folder.root, ACTOR, folder.hashes) == ours
    folder.write("manifest.json", {"images": []})
    with pytest.raises(ItemError, match=r"manifest\.json, /: 'version' is a required property"):
        current(folder.root, ACTOR, folder.hashes)


def test_nothing_is_written(folder: Folder) -> None:
    folder.images(1)
    folder.write("response.json", [prediction(1)])
    before = tree(folder.root)
    folder.migrated()
    assert tree(folder.root) == before


def _read_back(folder: Folder) -> None:
    """A manifest that is written can be read, and says the same."""
    manifest = folder.migrated().manifest
    path = training.manifest_path(folder.root, ACTOR.name)
    write_text(path, manifest.text())
    try:
        assert training.read_manifest(folder.root, ACTOR) == manifest
    finally:
        path.unlink()


ADDRESSES = [URL + name(1), URL + name(3), f"s3://b/{name(2)}?signed=1"]
FILES = st.sampled_from(
    [name(1), name(2), name(3), name(1).upper(), f"training_data/{name(2)}", "x.jpg", "none", "../a.png", *ADDRESSES]
)
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | FILES
SCALARS |= st.text(max_size=5) | st.sampled_from([URL + name(1), "https://r/b", "s3://b/k.png"])
KEYS = st.sampled_from(
    [
        *legacy.FILES,
        *legacy.URLS,
        *legacy.LISTS,
        "prompt",
        "input",
        "status",
        "class",
        "source",
        "sha256",
        "made_at",
        "legacy_name",
    ]
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | FILES, inner, max_size=5),
    max_leaves=12,
)
PREDICTIONS = st.fixed_dictionaries(
    {"input": st.dictionaries(st.sampled_from(["prompt", "seed", "steps"]), SCALARS, max_size=3)},
    optional={
        "output": st.lists(SCALARS, max_size=3) | SCALARS,
        "status": st.sampled_from(["succeeded", "failed"]) | SCALARS,
        "model": SCALARS,
        "id": SCALARS,
        "url": SCALARS,
    },
)
NAMES = dict.fromkeys(("file", "image", "legacy_name"), FILES)
ENTRIES = st.fixed_dictionaries(
    {"filename": FILES},
    optional={**dict.fromkeys(("prompt", "s3_url", "url", "seed"), SCALARS), **NAMES, "x": ANYTHING},
)
DOCUMENTS = (
    ANYTHING
    | PREDICTIONS
    | st.lists(PREDICTIONS, max_size=5)
    | st.lists(ENTRIES, max_size=4)
    | st.dictionaries(FILES, ENTRIES | PREDICTIONS | SCALARS, max_size=4)
    | st.fixed_dictionaries({"images": st.lists(ENTRIES | PREDICTIONS, max_size=4)})
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=DOCUMENTS, response=DOCUMENTS, numbers=st.sets(st.integers(0, 4)))
def test_nothing_of_a_legacy_file_is_lost(folder: Folder, metadata: Any, response: Any, numbers: set[int]) -> None:
    """Each value of both files is somewhere in the manifest, as often as it occurs; a name that an entry gives twice stands there once."""
    for path in folder.path.iterdir():
        path.unlink()
    folder.images(*numbers)
    folder.write("prompt_metadata.json", metadata)
    folder.write("response.json", response)
    manifest = folder.migrated().manifest
    kept = Counter(_leaves(manifest.document()))
    wanted = Counter(_leaves(metadata)) + Counter(_leaves(response))
    files = {image.file for image in manifest.images}
    named = files | {image.extra.get("legacy_name") for image in manifest.images}
    named |= {piece.value for piece in manifest.unmapped if piece.why.endswith("another legacy_name")}
    lost = {
        leaf: count for leaf, count in (wanted - kept).items() if not (isinstance(leaf[1], str) and leaf[1] in named)
    }
    assert not lost
    assert {f"0001_bek_{number}.png" for number in numbers} <= files
    _read_back(folder)
    assert folder.migrated() == folder.migrated()


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value not in (None, ""):
        yield type(value).__name__, value
