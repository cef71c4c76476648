"""Styles: told from pixels alone, on drawings and photographs that no weight was fitted on."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps, PngImagePlugin

from steps.library.pictures import load, shrink
from steps.studio.styles import BW_STYLIZED, CLASSES, COLOR_STYLIZED, PHOTOREALISTIC, has_colour, look
from steps.studio.training_picture import training_picture
from steps.studio.world import random_character
from tests.bench.spoil import CHOSEN_ON, blurred, noisy, photograph
from tests.bench.styles import IN_COLOUR_HELD_OUT, cropped, greyed, shipped, through_sheets

SIZE = (352, 198)
# The usual ones of the sample library.
QUALITIES = (7, 8, 8, 9, 9, 10)
MIX = (*[PHOTOREALISTIC] * 13, *[BW_STYLIZED] * 4, *[COLOR_STYLIZED] * 3)


def picture(seed: int, kind: str, quality: int = 9) -> Image.Image:
    return training_picture(random_character(random.Random(seed)), kind, seed=seed, quality=quality, size=SIZE)


def test_held_out_drawings_are_told_apart() -> None:
    seeds = range(70_000, 70_120)
    known = [(MIX[seed // 6 % 20], QUALITIES[seed % 6]) for seed in seeds]
    shown = through_sheets([picture(seed, kind, quality) for seed, (kind, quality) in zip(seeds, known, strict=True)])
    wrong = [
        (seed, kind, quality)
        for seed, (kind, quality), thumbnail in zip(seeds, known, shown, strict=True)
        if look(thumbnail).kind != kind
    ]
    assert len(wrong) <= 0.03 * len(known), wrong


@pytest.mark.parametrize("name", IN_COLOUR_HELD_OUT)
def test_held_out_photographs_are_photographs(name: str) -> None:
    shown = through_sheets(cropped([photograph(name, 384)], 6))
    assert [look(thumbnail).kind for thumbnail in shown] == [PHOTOREALISTIC] * len(shown)


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "motorcycle"])
def test_a_photograph_without_colour_is_still_one(name: str) -> None:
    assert name in CHOSEN_ON
    (thumbnail,) = through_sheets([greyed(photograph(name, 384))])
    seen = look(thumbnail)
    assert (seen.kind, seen.coloured) == (PHOTOREALISTIC, False)


@pytest.mark.parametrize("paper", ["#f5ead0", "#f0e2c0", "#e8f0fa"])
def test_ink_on_tinted_paper_has_no_colour(paper: str) -> None:
    ink = picture(71_001, BW_STYLIZED).convert("L")
    tinted = ImageOps.colorize(ink, "#2a1c14", paper)
    assert not has_colour(tinted)
    assert has_colour(picture(71_001, COLOR_STYLIZED))
    (thumbnail,) = through_sheets([tinted])
    assert look(thumbnail).kind == BW_STYLIZED


def test_names_formats_and_metadata_do_not_count(tmp_path: Path) -> None:
    photo, comic = shipped("chelsea.png"), picture(71_002, COLOR_STYLIZED)
    for image, expected, lie in ((photo, PHOTOREALISTIC, "color_stylized comic"), (comic, COLOR_STYLIZED, "photo")):
        note, exif = PngImagePlugin.PngInfo(), Image.Exif()
        note.add_text("parameters", f"{lie}, {lie}, quality 1")
        exif[0x010E], exif[0x0110] = lie, "Canon EOS 5D" if expected == COLOR_STYLIZED else "Clip Studio"
        image.save(tmp_path / f"{lie}_bw_stylized_ink.png", pnginfo=note)
        image.save(tmp_path / f"{lie}_q1.jpg", quality=92, exif=exif)
        image.save(tmp_path / "a.webp", quality=92)
        image.save(tmp_path / "stripped.jpg", quality=92)
        for path in tmp_path.iterdir():
            small = shrink(path.read_bytes(), path.name, 200).image
            assert look(small).kind == expected, path.name
            assert load(path).sha256
            path.unlink()


@pytest.mark.parametrize("kind", CLASSES)
def test_spoilt_pictures_have_less_quality(kind: str) -> None:
    marks = []
    for seed in (72_000, 72_001, 72_002):
        fine = picture(seed, kind)
        soft, softer = (blurred(fine, "gauss", percent) for percent in (0.6, 1.4))
        faded = ImageEnhance.Contrast(fine).enhance(0.12)
        marks.append([look(thumbnail, (kind,)).quality for thumbnail in through_sheets([fine, soft, softer, faded])])
    fine_mark, soft_mark, softer_mark, faded_mark = np.mean(marks, axis=0)
    assert min(row[0] for row in marks) >= 7
    assert fine_mark >= soft_mark > softer_mark + 2
    assert faded_mark < fine_mark


def test_noise_and_bad_exposure_cost_a_photograph_points() -> None:
    photo, rng = shipped("chelsea.png"), np.random.default_rng(3)
    burnt, sunk = (ImageEnhance.Brightness(photo).enhance(factor) for factor in (4.0, 0.02))
    shown = through_sheets([photo, noisy(photo, "white", 70, rng), burnt, sunk])
    fine, grainy, *wrong = (look(one, (PHOTOREALISTIC,)).quality for one in shown)
    assert fine >= 8
    assert grainy < fine
    assert max(wrong) < fine


def test_quality_is_one_to_ten_whatever_comes() -> None:
    for colour in ("black", "white", "red"):
        assert 1 <= look(Image.new("RGB", (200, 120), colour)).quality <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (9, 9), (33, 200), (200, 36), (640, 480)])
def test_odd_sizes_are_judged_without_complaint(size: tuple[int, int]) -> None:
    seen = look(Image.linear_gradient("L").resize(size).convert("RGB"))
    assert seen.kind in CLASSES
    assert 1 <= seen.quality <= 10


def test_only_the_given_classes_are_chosen() -> None:
    (comic,) = through_sheets([picture(71_003, COLOR_STYLIZED)])
    assert look(comic, (PHOTOREALISTIC, COLOR_STYLIZED)).kind == COLOR_STYLIZED
    assert look(comic, (BW_STYLIZED,)).kind == BW_STYLIZED


def test_the_same_picture_gets_the_same_verdict() -> None:
    comic = picture(71_004, COLOR_STYLIZED)
    assert look(comic) == look(comic.copy())
