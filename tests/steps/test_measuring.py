"""Folders of images turned into numbers: which images count, who is in them, and what is told where something can't be had."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import ItemError, MisconfiguredRun, UserError
from steps.backends.protocols import Face
from steps.measuring import Measurer, frames_named, image_sets, images_of, look, natural, numbering

HERO, ALIKE, OTHER, NOBODY, TWO, LEAVING = "red", "orange", "blue", "white", "green", "purple"
BOX = (4.0, 4.0, 12.0, 12.0)
VECTORS: Mapping[str, Sequence[float]] = {HERO: (1, 0, 0), ALIKE: (0.8, 0.6, 0), OTHER: (0, 0, 1)}


@dataclass
class Known:
    """A recogniser that knows people by the colour of the image."""

    identity: str = "by colour"
    asked: list[str] = field(default_factory=list)

    def find(self, image: Image.Image) -> list[Face]:
        colour = _colour_of(image)
        self.asked.append(colour)
        if colour == NOBODY:
            return []
        if colour == TWO:
            return [_face(HERO), _face(OTHER)]
        if colour == LEAVING:
            return [Face((-4.0, 2.0, 8.0, 14.0), 0.9, np.array(VECTORS[HERO], np.float32))]
        return [_face(colour)]

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        return image

    def prepare(self) -> None:
        """All is there."""


def _face(colour: str) -> Face:
    return Face(BOX, 0.9, np.array(VECTORS[colour], np.float32))


def _colour_of(image: Image.Image) -> str:
    from PIL import ImageColor

    pixel: Any = image.getpixel((0, 0))
    return next(name for name in (HERO, ALIKE, OTHER, NOBODY, TWO, LEAVING) if ImageColor.getrgb(name) == tuple(pixel))


def paint(folder: Path, **colours: str) -> Path:
    """Images by name; each content is another: a pixel in the corner says its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, colour) in enumerate(colours.items()):
        image = Image.new("RGB", (16, 16), colour)
        image.putpixel((15, 15), (number, len(folder.name), 7))
        image.save(folder / f"{name}.png")
    return folder


@pytest.fixture
def measurer(tmp_path: Path) -> Measurer:
    references = paint(tmp_path / "references", a=HERO, b=HERO)
    return Measurer(Known(), references, paint(tmp_path / "impostors", c=OTHER))


def frames(tmp_path: Path, *colours: str) -> list[Path]:
    folder = paint(tmp_path / "frames", **{f"frame_{number}": colour for number, colour in enumerate(colours, 1)})
    return list(images_of(folder).images)


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["frame_10.png", "frame_2.png", "Frame_1.png", "10.png", "9.png", "a.png", "a01.png", "a1.png"]
    assert sorted(names, key=natural) == [
        "9.png",
        "10.png",
        "a01.png",
        "a1.png",
        "a.png",
        "Frame_1.png",
        "frame_2.png",
        "frame_10.png",
    ]


def test_a_folder_is_one_set_whatever_lies_beside_the_images(tmp_path: Path) -> None:
    folder = paint(tmp_path / "shots", b2=HERO, b10=HERO, b1=HERO)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    paint(folder / "attempts", x=HERO)
    ((only,), empty) = image_sets(folder)
    assert [path.name for path in only.images] == ["b1.png", "b2.png", "b10.png"]
    assert (only.name, empty) == ("shots", [])
    assert set(only.others) == {"notes.txt", "folder.png", "attempts"}


def test_of_a_storyboard_only_its_frames_count(tmp_path: Path) -> None:
    folder = paint(tmp_path / "fair-simple-0", frame_1=HERO, frame_2=HERO, contact_sheet=TWO, poster=TWO)
    (only,), _ = image_sets(folder)
    assert [path.name for path in only.images] == ["frame_1.png", "frame_2.png"]
    # Nobody needs to be told of a storyboard's own contact sheet.
    assert only.others == ("poster.png",)


def test_a_folder_of_folders_is_a_set_each_links_too(tmp_path: Path) -> None:
    for name in ("seed_10", "seed_9"):
        paint(tmp_path / "run" / name, frame_1=HERO)
    (tmp_path / "run/seed_11").symlink_to(paint(tmp_path / "elsewhere", frame_1=HERO), target_is_directory=True)
    (tmp_path / "run/empty").mkdir()
    sets, empty = image_sets(tmp_path / "run")
    assert [each.name for each in sets] == ["seed_9", "seed_10", "seed_11"]
    assert empty == ["empty"]


@pytest.mark.parametrize(("made", "said"), [(False, "no such folder: give one with images"), (True, "no image there")])
def test_a_folder_without_images_is_refused(tmp_path: Path, made: bool, said: str) -> None:
    if made:
        (tmp_path / "frames").mkdir()
        (tmp_path / "frames/readme.md").write_text("nothing")
    for lists in (image_sets, images_of):
        with pytest.raises(UserError, match=said):
            lists(tmp_path / "frames")


def test_every_frame_is_measured_by_the_references_and_by_frame_1(measurer: Measurer, tmp_path: Path) -> None:
    found = measurer.measure(frames(tmp_path, HERO, ALIKE, OTHER))
    assert [each.likeness for each in found.numbers.frames] == pytest.approx([1.0, 0.8, 0.0])
    assert found.numbers.frames[0].frame1 is None
    assert [each.frame1 for each in found.numbers.frames[1:]] == pytest.approx([0.8, 0.0])
    assert found.numbers.consistency == pytest.approx(0.0)
    assert found.numbers.headline == pytest.approx(0.6)
    assert (measurer.scale.ceiling, measurer.scale.floor) == (1.0, 0.0)
    assert found.similarities[0] == pytest.approx((1.0, 0.8, 0.0))
    assert found.missing == ("the copy-paste score can't be told: no conditioning image is given",)
    assert found.notes == ()


def test_frames_without_a_face_count_as_said_and_several_by_the_largest(measurer: Measurer, tmp_path: Path) -> None:
    found = measurer.measure(frames(tmp_path, HERO, NOBODY, TWO, LEAVING))
    assert [each.faces for each in found.portraits] == [1, 0, 2, 1]
    assert [each.at_border for each in found.portraits] == [False, False, False, True]
    numbers = found.numbers
    assert (numbers.detection_rate, numbers.several_faces) == (0.75, 1)
    assert numbers.likeness == pytest.approx(1.0)
    assert numbers.likeness_with_missing == pytest.approx(0.75)
    assert numbers.frame1_with_missing == pytest.approx(2 / 3)
    assert found.similarities[1] == (None,) * 4
    assert found.missing[0].startswith("no face is found in frame 2: means are told without them")


def test_nobody_in_frame_1_or_anywhere_is_told(measurer: Measurer, tmp_path: Path) -> None:
    found = measurer.measure(frames(tmp_path, NOBODY, HERO))
    assert found.numbers.frame1 is None
    assert "similarity to frame 1 can't be told: frame 1 shows no face" in found.missing
    assert "consistency can't be told: fewer than two of the frames from 2 on show a face" in found.missing
    none = measurer.measure(frames(tmp_path / "none", NOBODY, NOBODY))
    assert (none.numbers.detection_rate, none.numbers.likeness, none.numbers.likeness_with_missing) == (0.0, None, 0.0)
    assert "likeness on the character's scale can't be told: no frame shows a face" in none.missing


def test_copying_is_measured_where_a_conditioning_image_is_given(measurer: Measurer, tmp_path: Path) -> None:
    given = paint(tmp_path / "given", face=ALIKE) / "face.png"
    found = measurer.measure(frames(tmp_path, HERO, ALIKE), given)
    # (cosine to what was given - cosine to the truth) / cosine of what was given to the truth.
    assert [each.copy_paste for each in found.numbers.frames] == pytest.approx([(0.8 - 1) / 0.8, (1 - 0.8) / 0.8])
    later = measurer.measure(frames(tmp_path, HERO, ALIKE), given, 2)
    assert later.numbers.frames[0].copy_paste is None
    assert later.numbers.copy_paste == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("colour", "said"),
    [
        (NOBODY, "the conditioning image face.png shows no face"),
        (OTHER, "is no likeness of the references (cosine 0.00"),
    ],
)
def test_a_conditioning_image_that_tells_nothing_is_said(
    measurer: Measurer, tmp_path: Path, colour: str, said: str
) -> None:
    given = paint(tmp_path / "given", face=colour) / "face.png"
    found = measurer.measure(frames(tmp_path, HERO, ALIKE), given)
    assert found.numbers.copy_paste is None
    assert any(said in sentence for sentence in found.missing)


def test_what_makes_figures_high_by_construction_is_said(measurer: Measurer, tmp_path: Path) -> None:
    made = frames(tmp_path, HERO, ALIKE, OTHER)
    reference = tmp_path / "references/a.png"
    made[1].write_bytes(reference.read_bytes())
    made[2].write_bytes(made[0].read_bytes())
    found = measurer.measure(made, reference)
    assert "frame_2.png is the reference a.png: its likeness is high by construction" in found.notes
    assert any("are the same image: their similarity is 1 by construction" in note for note in found.notes)
    assert "the conditioning image is the reference a.png: leave it out of the references" in found.notes


def test_references_without_use_are_left_out_and_named(tmp_path: Path) -> None:
    references = paint(tmp_path / "references", a=HERO, empty=NOBODY, pair=TWO)
    (references / "copy.png").write_bytes((references / "a.png").read_bytes())
    (references / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    impostors = paint(tmp_path / "impostors", nobody=NOBODY)
    (impostors / "hero.png").write_bytes((references / "a.png").read_bytes())
    measurer = Measurer(Known(), references, impostors)
    assert (measurer.scale.references, measurer.scale.impostors) == (2, 0)
    assert sorted(measurer.notes) == [
        "impostor hero.png is among the references too: it is left out",
        "impostor nobody.png shows no face: it is left out",
        "reference copy.png is the same image as a.png: it counts once",
        "reference empty.png shows no face: it is left out",
        "reference pair.png shows 2 faces: the largest counts",
        "reference: broken.png is corrupt: its header can't be read: it is left out",
    ]


def test_references_that_show_nobody_stop_the_run(tmp_path: Path) -> None:
    measurer = Measurer(Known(), paint(tmp_path / "references", a=NOBODY))
    with pytest.raises(MisconfiguredRun, match=r"no reference shows a face \(reference a.png shows no face"):
        measurer.measure(frames(tmp_path, HERO))


def test_no_headline_is_explained_by_what_it_lacks(tmp_path: Path) -> None:
    one = Measurer(Known(), paint(tmp_path / "references", a=HERO))
    (sentence,) = (each for each in one.measure(frames(tmp_path, HERO, HERO, HERO)).missing if "scale" in each)
    assert "only one reference shows a face, and the ceiling needs two" in sentence
    assert "impostors=FOLDER" in sentence
    blind = Measurer(Known(), paint(tmp_path / "two", a=HERO, b=HERO), paint(tmp_path / "same", c=HERO))
    assert any(
        "does not tell the character from others" in each for each in blind.measure(frames(tmp_path, HERO)).missing
    )


def test_an_image_that_cannot_be_opened_fails_by_its_name(measurer: Measurer, tmp_path: Path) -> None:
    made = frames(tmp_path, HERO, HERO)
    made[1].write_bytes(made[1].read_bytes()[:40])
    with pytest.raises(ItemError, match=r"frame_2\.png is c"):
        measurer.measure(made)
    made[1].write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    with pytest.raises(ItemError, match=r"frame_2\.png is not a PNG, JPEG or WebP image"):
        measurer.measure(made)
    made[1].unlink()
    with pytest.raises(ItemError, match=r"frame_2\.png can't be read"):
        measurer.measure(made)


def test_references_are_looked_at_once_by_however_many_threads(tmp_path: Path) -> None:
    known = Known()
    measurer = Measurer(known, paint(tmp_path / "references", a=HERO, b=HERO))
    made = frames(tmp_path, ALIKE)
    threads = [threading.Thread(target=measurer.storyboard, args=(made,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known.asked.count(HERO) == 2
    assert known.asked.count(ALIKE) == 6


def test_what_results_depend_on_is_known_before_anything_is_looked_at(tmp_path: Path) -> None:
    known = Known()
    measurer = Measurer(known, paint(tmp_path / "references", a=HERO))
    assert measurer.depends_on == ("by colour", [tmp_path / "references/a.png"], None)
    assert known.asked == []


def test_a_rotated_photograph_is_looked_at_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16), NOBODY)
    image.paste(HERO, (16, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=exif)
    assert look(Known(), tmp_path / "turned.png").faces == 1


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        (["frame_1.png", "frame_2.png"], True),
        (["frame_0.png", "frame_1.png"], True),
        (["b7.png", "b9.png"], True),
        (["frame_2.png", "frame_3.png"], False),
        (["frame_1.png", "frame_3.png"], False),
        (["frame_1.jpg", "frame_1.png", "frame_2.png"], False),
    ],
)
def test_frames_that_are_not_there_are_told(names: list[str], whole: bool) -> None:
    said = numbering([Path(name) for name in names])
    assert (said == "") is whole
    assert whole or f"{names[0]} is taken as frame 1" in said


def test_a_sliver_of_an_image_shows_nobody(tmp_path: Path) -> None:
    known = Known()
    Image.new("RGB", (1, 3000), HERO).save(tmp_path / "sliver.png")
    assert look(known, tmp_path / "sliver.png").faces == 0
    assert known.asked == []


def test_many_frames_are_counted_rather_than_listed() -> None:
    assert frames_named([3]) == "frame 3"
    assert frames_named([3, 4]) == "frames 3, 4"
    assert frames_named(range(2, 20)) == "18 frames"
