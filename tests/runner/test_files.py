"""Files appear whole or not at all (rule 2), and names from data are not paths (rule 12)."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from runner import files
from runner.errors import UserError


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ValueError, match="half way"), files.writing(path) as file:
        file.write("new")
        raise ValueError("half way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_numbers_that_no_reader_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert os.listdir(tmp_path) == []


def test_moving_again_is_harmless_and_nothing_is_overwritten(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "deep" / "er" / "b"
    source.write_text("mine")
    assert files.move(source, target)
    assert not files.move(source, target)
    source.write_text("another")
    with pytest.raises(FileExistsError):
        files.move(source, target)
    assert (source.read_text(), target.read_text()) == ("another", "mine")
    with pytest.raises(FileNotFoundError):
        files.move(tmp_path / "nothing", tmp_path / "nowhere")


def test_a_link_is_moved_by_rename_or_said_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.pointed_at(tmp_path / "latest") is None
    files.point_link(tmp_path / "latest", "one")
    files.point_link(tmp_path / "latest", "two")
    assert (tmp_path / "latest").readlink() == Path("two")
    assert files.pointed_at(tmp_path / "latest") == "two"
    (tmp_path / "latest").unlink()
    monkeypatch.setattr(Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    files.point_link(tmp_path / "latest", "three")
    assert (tmp_path / "latest.txt").read_text() == "three\n"
    assert files.pointed_at(tmp_path / "latest") == "three"


@pytest.mark.parametrize("name", ["0000_european_16_male", "Алдар Көсе", "阿尔达尔", "عمر", "a b", "it's"])
def test_names_of_people_are_fine(name: str) -> None:
    assert files.plain_name(name, "here") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../../etc",
        "/etc",
        "a/b",
        "a\\b",
        "C:x",
        "a\0b",
        "a\nb",
        "x" * 300,
        "ы" * 150,
        ".hidden",
        " a",
        "a ",
        None,
        5,
        "\u202eevil",
    ],
)
def test_names_that_lead_elsewhere_are_not(name: object) -> None:
    with pytest.raises(UserError) as caught:
        files.plain_name(name, "data/actorsData.json, /14/name")
    assert str(caught.value).startswith("data/actorsData.json, /14/name: ")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "", "a\0b", None, "C:\\x"])
def test_paths_stay_under_their_root(tmp_path: Path, path: object) -> None:
    with pytest.raises(UserError, match="here: "):
        files.under(tmp_path, path, "here")


def test_a_link_that_leads_out_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "inside").symlink_to("elsewhere")
    (root / "out").symlink_to(tmp_path)
    assert files.under(root, "inside", "here") == root / "inside"
    with pytest.raises(UserError, match="by a symbolic link"):
        files.under(root, "out/secret", "here")


def test_somebody_who_looks_at_a_lock_does_not_keep_it_from_anybody(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.03, looking.close).start()
        with files.locked(tmp_path / "lock", "busy"):
            assert files.is_locked(tmp_path / "lock")


def test_rests_of_killed_writes_are_swept(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"{files.TEMPORARY}123").write_text("half")
    (tmp_path / "a" / "whole").write_text("whole")
    files.sweep_temporaries(tmp_path)
    assert os.listdir(tmp_path / "a") == ["whole"]
