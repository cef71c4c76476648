"""Whose face is the reference, and which training images may be looked at for one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from steps.library.captions import write_split
from steps.studio.frames.references import LOOKED_THROUGH, look, reference_in, training_images
from tests.frames import FACE, LEAVING, SMALL, ScriptedFaces


def test_nobody_one_and_several() -> None:
    image = Image.new("RGB", (16, 16))
    assert reference_in(ScriptedFaces(elsewhere=()), image, "it") is None
    assert look(ScriptedFaces(elsewhere=()), image).count == 0
    one = reference_in(ScriptedFaces(elsewhere=(FACE,)), image, "it")
    assert one is not None
    assert one.remarks == []
    seen = look(ScriptedFaces(elsewhere=(LEAVING, SMALL)), image)
    assert (seen.count, seen.score, seen.at_border) == (2, 0.8, True)


def test_what_is_held_out_is_never_a_reference(tmp_path: Path) -> None:
    assert training_images(tmp_path) == []
    (tmp_path / "images").mkdir()
    names = [f"{number:02}.png" for number in range(LOOKED_THROUGH + 3)]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    assert [path.name for _, path in training_images(tmp_path)] == names[:LOOKED_THROUGH]
    write_split(tmp_path / "split.json", {"00": "holdout", "01": "train", "02": "holdout"})
    found = training_images(tmp_path)
    assert [path.name for _, path in found][:2] == ["01.png", "03.png"]
    assert found[0][0] == "training image 01.png"
