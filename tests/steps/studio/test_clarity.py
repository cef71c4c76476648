from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from steps.library.pictures import load
from steps.studio.clarity import BLURRED, Clarity, measure
from tests.bench.spoil import (
    HELD_OUT,
    ONE_WAY,
    WITH_A_SUBJECT,
    as_jpeg,
    blurred,
    drawing,
    noisy,
    one_way,
    padded,
    photograph,
    shallow,
)

# Photographic, inked and comic. Motion is tested without ink: hatching along it stays sharp.
DRAWINGS = (9000, 9001, 9002)
# Texture from edge to edge has no outlines that motion could widen.
WITH_OUTLINES = ("coins", "retina", "helmet", "towers", "engine")


@pytest.mark.parametrize("short", [200, 384, 1024])
@pytest.mark.parametrize("name", HELD_OUT)
def test_a_sharp_photograph_is_clear_at_every_size(name: str, short: int) -> None:
    assert measure(photograph(name, short)).is_clear


@pytest.mark.parametrize("seed", DRAWINGS)
def test_a_drawing_is_clear_and_surely_so_in_colour(seed: int) -> None:
    verdict = measure(drawing(seed))
    assert verdict.is_clear
    assert "sharp" in verdict.reason


@pytest.mark.parametrize("kind", ["gauss", "disc", "enlarged"])
@pytest.mark.parametrize("name", WITH_OUTLINES)
def test_a_blurred_photograph_is_not_clear(name: str, kind: str) -> None:
    verdict = measure(blurred(photograph(name, 384), kind, 1.3))
    assert not verdict.is_clear
    assert f"more than {BLURRED:.2f} %" in verdict.reason


@pytest.mark.parametrize("angle", [0.0, 0.6, 1.57, 2.5])
@pytest.mark.parametrize("name", WITH_OUTLINES)
def test_motion_is_seen_at_any_angle(name: str, angle: float) -> None:
    assert not measure(blurred(photograph(name, 384), "motion", 2.0, angle)).is_clear


@pytest.mark.parametrize("kind", ["gauss", "disc", "enlarged"])
@pytest.mark.parametrize("seed", DRAWINGS)
def test_a_blurred_drawing_is_not_clear(seed: int, kind: str) -> None:
    assert not measure(blurred(drawing(seed), kind, 1.6)).is_clear


@pytest.mark.parametrize("angle", [0.0, 0.8, 1.57])
@pytest.mark.parametrize("seed", [9000, 9002])
def test_a_drawing_that_moved_is_not_clear(seed: int, angle: float) -> None:
    assert not measure(blurred(drawing(seed), "motion", 1.6, angle)).is_clear


@pytest.mark.parametrize("seed", range(9100, 9106))
def test_a_drawing_of_any_style_that_moved_is_not_clear(seed: int) -> None:
    rng = np.random.default_rng(seed)
    percent, angle = float(rng.uniform(1.5, 3.5)), float(rng.uniform(0, np.pi))
    assert not measure(blurred(drawing(seed), "motion", percent, angle)).is_clear


@pytest.mark.parametrize("name", WITH_OUTLINES)
def test_motion_is_seen_through_noise(name: str) -> None:
    rng = np.random.default_rng(4711)
    for kind in ("white", "grain"):
        moved = blurred(photograph(name, 512), "motion", float(rng.uniform(1.5, 3.5)), float(rng.uniform(0, np.pi)))
        assert not measure(noisy(moved, kind, 10, rng)).is_clear


@pytest.mark.parametrize("sigma", [0, 10])
@pytest.mark.parametrize("kind", ONE_WAY)
def test_edges_in_one_direction_are_not_taken_for_motion(kind: str, sigma: float) -> None:
    rng = np.random.default_rng(9201)
    verdict = measure(noisy(one_way(kind, 384, rng), "white", sigma, rng))
    assert verdict.is_clear or verdict.confidence == "low"
    assert "blurred" not in verdict.reason


@pytest.mark.parametrize(("kind", "sigma"), [("white", 10), ("white", 25), ("grain", 5), ("grain", 10)])
@pytest.mark.parametrize("name", ["coins", "retina", "helmet", "engine"])
def test_noise_makes_neither_blurred_pictures_sharp_nor_sharp_ones_blurred(name: str, kind: str, sigma: float) -> None:
    rng = np.random.default_rng(77)
    sharp = photograph(name, 512)
    assert measure(noisy(sharp, kind, sigma, rng)).is_clear
    assert not measure(noisy(blurred(sharp, "disc", 1.6), kind, sigma, rng)).is_clear


@pytest.mark.parametrize("name", HELD_OUT)
def test_padding_and_compression_do_not_turn_a_verdict(name: str) -> None:
    sharp = photograph(name, 384)
    soft = blurred(sharp, "gauss", 2.5)
    assert measure(padded(sharp, 0.3, (200, 40, 90))).is_clear
    assert measure(as_jpeg(sharp, 60)).is_clear
    assert not measure(padded(soft, 0.3, (200, 40, 90))).is_clear
    assert not measure(as_jpeg(soft, 60)).is_clear


@pytest.mark.parametrize("name", WITH_A_SUBJECT)
def test_a_sharp_subject_before_a_defocused_background_is_clear(name: str) -> None:
    assert measure(shallow(photograph(name, 512), 0.28, 1.5)).is_clear


@pytest.mark.parametrize("colour", [(0, 0, 0), (120, 130, 90), (255, 255, 255)])
def test_an_empty_picture_has_nothing_to_see(colour: tuple[int, int, int]) -> None:
    verdict = measure(Image.new("RGB", (512, 768), colour))
    assert verdict == Clarity(None, False, "high", verdict.reason)
    assert "nothing to see" in verdict.reason


@pytest.mark.parametrize(("kind", "sigma"), [("white", 5), ("white", 40), ("grain", 10), ("grain", 25)])
def test_noise_alone_is_nothing_to_see(kind: str, sigma: float) -> None:
    noise = noisy(Image.new("RGB", (400, 600), (128, 128, 128)), kind, sigma, np.random.default_rng(8))
    assert "nothing to see" in measure(noise).reason


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (20, 30), (5000, 40)])
def test_odd_sizes_are_judged_without_complaint(size: tuple[int, int]) -> None:
    gradient = Image.linear_gradient("L").resize(size).convert("RGB")
    assert measure(gradient).reason


@pytest.mark.parametrize("kind", ["gauss", "disc", "enlarged"])
def test_more_blur_never_scores_sharper(kind: str) -> None:
    for image in (photograph("retina", 384), photograph("helmet", 384), drawing(DRAWINGS[0])):
        scores = [measure(blurred(image, kind, percent)).score or 0.0 for percent in (0.3, 0.6, 0.9, 1.3, 1.8, 2.4)]
        assert all(later > earlier - 0.08 for earlier, later in pairwise(scores)), scores
        assert scores[-1] > BLURRED > scores[0]


def test_the_grey_zone_is_clear_with_low_confidence() -> None:
    verdicts = [measure(blurred(photograph("retina", 384), "gauss", step / 100)) for step in range(20, 70, 3)]
    doubtful = [verdict for verdict in verdicts if verdict.is_clear and verdict.confidence == "low"]
    assert doubtful
    assert all("soft" in verdict.reason for verdict in doubtful)


def _png(image: Image.Image, path: Path) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "sharp, perfect, is_clear true")
    image.save(path, "PNG", pnginfo=note)


def _jpeg(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "blurred beyond repair"
    image.save(path, "JPEG", quality=92, exif=exif)


@pytest.mark.parametrize("save", [_png, _jpeg])
@pytest.mark.parametrize("percent", [0.0, 1.5])
def test_names_and_metadata_do_not_count(
    tmp_path: Path, save: Callable[[Image.Image, Path], None], percent: float
) -> None:
    image = photograph("helmet", 384)
    image = blurred(image, "disc", percent) if percent else image
    plain, telling = tmp_path / "a.bin", tmp_path / ("sharp.png" if percent else "blurry_reject_me.jpg")
    image.save(plain, "PNG")
    save(image, telling)
    os.utime(telling, (0, 0))
    first, second = measure(load(plain).image), measure(load(telling).image)
    assert first.is_clear == second.is_clear == (percent == 0)
    assert first.score == pytest.approx(second.score, abs=0.05)


def test_a_large_portrait_takes_little_time() -> None:
    image = drawing(DRAWINGS[1]).resize((1024, 1536))
    times = []
    for _ in range(3):
        start = process_time()
        measure(image)
        times.append(process_time() - start)
    assert min(times) < 0.15, "60 ms on a quiet core"
