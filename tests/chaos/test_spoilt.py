"""Storyboards that change while they are read, are cut off, lead elsewhere or are bombs: words that help, and never a figure of something else."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner import files
from runner.cli import main
from steps.ablate import Ablate
from steps.library.storyboards import MAX_BYTES
from steps.measure import Measure
from tests.chaos.conftest import Record
from tests.frames import shipped_weights
from tests.told import HERO, portraits, tell

pytest.importorskip("torch", reason="the models' packages are not installed")
FRAME = "kite-simple-0/frame_2.png"
# Ten thousand times as many pixels as bytes.
BOMB_SIDE = 12_000


@dataclass
class Place:
    """A working folder with two storyboards in two arms, references, and the commands in it."""

    folder: Path
    output: Callable[[], str]
    said: str = ""

    def compare(self, *words: str) -> int:
        return self._run("ablate", "storyboards=told", "steps.ablate.draws=200", *words)

    def measure(self, *words: str) -> int:
        return self._run("measure_face_consistency", "frames=told", *words)

    def _run(self, *words: str) -> int:
        code = main(["run", *words, "references=references", "impostors=people", "quiet=true"])
        self.said = self.output()
        assert "Traceback" not in self.said
        return code

    @property
    def told(self) -> Path:
        return self.folder / "told"

    def results(self, step: str = "ablate") -> dict[str, Any]:
        recipe = "ablate" if step == "ablate" else "measure_face_consistency"
        found: dict[str, Any] = json.loads((self.folder / f"outputs/{recipe}/latest/{step}/results.json").read_text())
        return found

    def left_out(self) -> list[str]:
        """What is said of storyboards that could not be measured."""
        return [note for note in self.results()["notes"] if "could not be measured" in note]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    import torch

    shipped_weights()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    tell(tmp_path / "told", {"baseline": (3, 4, 5), "simple": (HERO,) * 3}, ("kite",))
    portraits(tmp_path / "references", *[HERO] * 3)
    portraits(tmp_path / "people", 6, 7)
    return Place(tmp_path, lambda: "".join(capsys.readouterr()))


def bomb(path: Path) -> Path:
    """An image of over a hundred million pixels in some ten thousand bytes."""
    Image.new("1", (BOMB_SIDE, BOMB_SIDE)).save(path, "PNG")
    assert path.stat().st_size < 100_000
    return path


def before(monkeypatch: pytest.MonkeyPatch, step: type, name: str, change: Callable[[], None]) -> None:
    """Let something happen once, just before a method of a step."""
    method, left = getattr(step, name), [change]

    # With its annotations, by which results are stored.
    @functools.wraps(method)
    def changed(self: Any, argument: Any) -> Any:
        if left:
            left.pop()()
        return method(self, argument)

    monkeypatch.setattr(step, name, changed)


def test_a_frame_that_goes_before_it_is_measured_leaves_its_storyboard_out(
    place: Place, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    before(monkeypatch, Ablate, "process", (place.told / FRAME).unlink)
    assert place.compare() == 1
    [note] = place.left_out()
    assert "kite-simple-0" in note
    assert "frame_2.png can't be read: No such file or directory" in note
    assert list(place.results()["arms"]) == ["baseline"]
    record_property("fault", f"ablate|local|frame goes|exit 1|{note[:160]}")


def test_a_frame_that_goes_once_it_is_measured_counts_and_is_not_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.compare() == 0
    whole = place.results()
    before(monkeypatch, Ablate, "finish", (place.told / FRAME).unlink)
    assert place.compare("steps.ablate.draws=201") == 0, place.said
    assert place.results()["arms"]["simple"]["likeness"]["mean"] == whole["arms"]["simple"]["likeness"]["mean"]


@pytest.mark.parametrize("moment", ["process", "finish"])
def test_a_frame_that_goes_while_it_is_measured_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before(monkeypatch, Measure, moment, (place.told / FRAME).unlink)
    assert place.measure() == (1 if moment == "process" else 0), place.said
    found = place.results("measure")
    assert len(found["sets"]) == (1 if moment == "process" else 2)
    assert [row["set"] for row in found["failed"]] == (["kite-simple-0"] if moment == "process" else [])


@pytest.mark.parametrize("where", ["told", "run"])
def test_results_that_are_cut_off_are_told_and_never_left_out(place: Place, where: str) -> None:
    tell(place.folder / "run/more_stories", {"reference": (HERO,) * 3}, ("kite",))
    place.told.rename(place.folder / "run/stories")
    source = place.folder / "run/stories/results.json"
    text = source.read_text()
    source.write_text(text[: len(text) // 2])
    given = "run/stories" if where == "told" else "run"
    assert place.compare(f"storyboards={given}") == 2
    assert "run/stories/results.json:" in place.said
    assert "not JSON" in place.said


def test_results_of_200_mb_are_refused_unread(place: Place, record_property: Record) -> None:
    source = place.told / "results.json"
    os.truncate(source, 200 * 10**6)
    assert place.compare() == 2
    assert f"results.json: 191 MiB, of which at most {MAX_BYTES // 2**20} are read" in place.said
    record_property("fault", f"ablate|local|200 MB of results|exit 2|{place.said.strip().splitlines()[-1][:160]}")


@pytest.mark.parametrize("linked", [FRAME, "kite-simple-0", "kite-simple-0/reference.png"])
@pytest.mark.parametrize("to", ["{root}/elsewhere", "../../elsewhere", "/etc"])
def test_a_link_that_leads_out_is_refused(place: Place, linked: str, to: str, record_property: Record) -> None:
    """A stranger's folder would have a person's own pictures measured, and shown on a page that is passed on."""
    portraits(place.folder / "elsewhere", 9, 9, 9)
    target = to.format(root=place.folder) + ("" if linked == "kite-simple-0" else "/image_0.png")
    link = place.told / linked
    if link.is_dir():
        link.rename(place.folder / "taken")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    if not link.parent.is_dir():
        link.parent.mkdir()
    assert place.compare() == 2
    assert "by a symbolic link" in place.said
    record_property("fault", f"ablate|local|link out|exit 2|{place.said.strip().splitlines()[-1][:160]}")


def test_links_to_artifacts_are_how_storyboards_are_shown(place: Place) -> None:
    kept = place.folder / "artifacts/storyboard/12ab"
    kept.parent.mkdir(parents=True)
    (place.told / "kite-simple-0").rename(kept)
    (place.told / "kite-simple-0").symlink_to("../artifacts/storyboard/12ab")
    assert place.compare() == 0, place.said
    # And no link leads on from there.
    (kept / "frame_2.png").unlink()
    (kept / "frame_2.png").symlink_to(place.folder / "people/image_0.png")
    assert place.compare() == 2
    assert "by a symbolic link" in place.said


@pytest.mark.parametrize("what", ["pipe", "folder", "device"])
def test_what_is_no_plain_file_is_never_read(place: Place, what: str) -> None:
    path = place.told / FRAME
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert place.compare() == 2
    assert FRAME in place.said
    assert ("is no plain file" if what != "device" else "by a symbolic link") in place.said


def test_results_that_are_a_pipe_are_none(place: Place) -> None:
    (place.told / "results.json").unlink()
    os.mkfifo(place.told / "results.json")
    assert place.compare() == 2
    assert "no storyboards there" in place.said


@pytest.mark.parametrize("file", ["frame_2.png", "attempts/frame_2_0.png"])
def test_a_bomb_among_frames_leaves_its_storyboard_out(place: Place, file: str, record_property: Record) -> None:
    source = place.told / "results.json"
    document = json.loads(source.read_text())
    row = next(row for row in document["results"] if row["file"] == FRAME)
    files.make_folder(place.told / "kite-simple-0/attempts")
    row["first_file"] = f"kite-simple-0/{file}"
    files.write_json(source, document)
    bomb(place.told / "kite-simple-0" / file)
    assert place.compare() == 1
    [note] = place.left_out()
    assert f"is a decompression bomb: {BOMB_SIDE} x {BOMB_SIDE} pixels" in note
    assert list(place.results()["arms"]) == ["baseline"]
    record_property("fault", f"ablate|local|image bomb|exit 1|{note[:160]}")


def test_a_bomb_among_frames_that_are_measured_alone(place: Place) -> None:
    bomb(place.told / FRAME)
    assert place.measure() == 1
    [failed] = place.results("measure")["failed"]
    assert failed["set"] == "kite-simple-0"
    assert "is a decompression bomb" in failed["error"]


@pytest.mark.parametrize("what", ["bomb", "text"])
def test_a_reference_that_cannot_be_opened_is_left_out_of_figures_and_pictures(place: Place, what: str) -> None:
    path = place.folder / "references/image_0.png"
    bomb(path) if what == "bomb" else path.write_text("no image")
    assert place.compare() == 0, place.said
    assert any("image_0.png" in note and "it is left out" in note for note in place.results()["notes"])
    assert place.results()["scales"]["hero"]["references"] == 2


def test_an_overlap_with_a_frame_gone_is_told(place: Place) -> None:
    tell(place.folder / "again", {"simple": (HERO,) * 3}, ("kite",))
    (place.folder / "again" / FRAME).unlink()
    assert place.compare("storyboards=[told,again]") == 2
    assert f"again/{FRAME}: can't be read: No such file or directory: draw kite-simple-0 again" in place.said
