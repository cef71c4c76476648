from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from steps.studio.colours import COLOURS, SYNONYMS, name_of, to_lab
from steps.studio.world import (
    FACINGS,
    GESTURES,
    PLACES,
    SHOTS,
    STYLES,
    Character,
    Scene,
    Shot,
    draw,
    draw_scene,
    keypoints,
    random_character,
    random_scene,
    random_shot,
)

PLAIN = Scene("studio", 3)
BATYR = Character(hat="kalpak", hat_colour="white", outfit="robe", facial_hair="moustache", hair_colour="black")


def pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64)


def figure(who: Character, shot: Shot, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the picture with the person differs from the empty place."""
    person, empty = draw(who, PLAIN, shot, size=size), draw_scene(PLAIN, size=size)
    seen: NDArray[np.bool_] = np.abs(pixels(person) - pixels(empty)).max(axis=2) > 40
    return seen


def test_colour_names_are_their_own_nearest() -> None:
    assert {name: name_of(rgb) for name, rgb in COLOURS.items()} == {name: name for name in COLOURS}
    assert set(SYNONYMS.values()) <= set(COLOURS)
    assert name_of((180, 20, 30)) == "red"
    assert to_lab((255, 255, 255)) == pytest.approx((100, 0, 0), abs=0.02)


@pytest.mark.parametrize("style", STYLES)
def test_the_same_arguments_give_the_same_pixels(style: str) -> None:
    state = random.getstate()
    first = draw(BATYR, Scene("market", 5), Shot("half"), size=(96, 128), seed=4, style=style)
    draw(replace(BATYR, hat="cap"), Scene("snow", 1), Shot("full", "riding"), size=(80, 80), seed=9, style=style)
    again = draw(BATYR, Scene("market", 5), Shot("half"), size=(96, 128), seed=4, style=style)
    assert first.tobytes() == again.tobytes()
    assert random.getstate() == state


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (33, 200), (300, 40), (512, 288)])
@pytest.mark.parametrize("style", STYLES)
def test_any_size_and_aspect(size: tuple[int, int], style: str) -> None:
    image = draw(BATYR, Scene("yurt"), Shot(), size=size, style=style)
    assert image.size == size
    assert image.mode == "RGB"
    assert pixels(image).std() > 8


def test_everything_that_can_be_drawn_is_drawn() -> None:
    rng = random.Random(8)
    for index in range(150):
        style = STYLES[index % 3]
        image = draw(random_character(rng), random_scene(rng), random_shot(rng), size=(48, 48), seed=index, style=style)
        assert pixels(image).std() > 8, index


def test_an_unknown_style_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="style 'oil' is not one of photorealistic, bw_stylized, color_stylized"):
        draw(BATYR, PLAIN, Shot(), style="oil")


@pytest.mark.parametrize("gesture", GESTURES)
@pytest.mark.parametrize("size", [(128, 192), (192, 128)])
def test_a_whole_figure_stays_inside_the_frame(gesture: str, size: tuple[int, int]) -> None:
    for x in (-1.0, 1.0):
        seen = figure(BATYR, Shot("full", gesture, "right", x), size)
        assert seen.mean() > 0.04
        assert not seen[0].any()
        assert not seen[:, 0].any()
        assert not seen[:, -1].any()


def test_a_figure_is_well_proportioned_at_a_portrait_backends_size() -> None:
    spots = keypoints(BATYR, Shot(), (1024, 1536))
    head = spots["head_bottom_right"][1] - spots["head_top_left"][1]
    tall = spots["left_foot"][1] - spots["head_top_left"][1]
    assert 5.0 < tall / head < 7.5
    assert all(0 < x < 1024 and 0 < y < 1536 for x, y in spots.values())


@pytest.mark.parametrize("facing", FACINGS)
@pytest.mark.parametrize("kind", SHOTS)
def test_key_points_fall_on_what_is_drawn(facing: str, kind: str) -> None:
    size, shot = (384, 512), Shot(kind, "waving", facing, 0.4, 0.5)
    who = Character(skin="fair", eye_colour="blue", outfit="casual", outfit_colour="red", face_seed=3)
    image, spots = pixels(draw(who, PLAIN, shot, size=size)), keypoints(who, shot, size)

    def near(name: str) -> NDArray[np.float64]:
        x, y = spots[name]
        reach = max(1, round((spots["head_bottom_right"][0] - spots["head_top_left"][0]) / 14))
        return image[max(0, round(y) - reach) : round(y) + reach + 1, max(0, round(x) - reach) : round(x) + reach + 1]

    for eye in ("left_eye", "right_eye"):
        assert near(eye).min() < 70, "a dark pupil"
        assert near(eye).min(axis=2).max() > 200, "in the white of an eye"
    skin = np.array([240, 200, 170])
    for hand in ("left_hand", "right_hand"):
        x, y = spots[hand]
        if 0 <= x < size[0] and 0 <= y < size[1]:
            assert np.abs(np.median(near(hand).reshape(-1, 3), axis=0) - skin).max() < 60, hand


def test_eyes_move_with_the_face_seed_and_not_with_the_picture() -> None:
    def gap(seed: int) -> float:
        spots = keypoints(replace(BATYR, face_seed=seed), Shot("portrait"), (256, 256))
        return spots["right_eye"][0] - spots["left_eye"][0]

    gaps = [gap(seed) for seed in range(20)]
    assert max(gaps) - min(gaps) > 6
    assert gaps == [gap(seed) for seed in range(20)]


def test_two_people_alike_in_every_word_have_different_faces() -> None:
    one, other = (pixels(draw(replace(BATYR, face_seed=seed), PLAIN, Shot("portrait"))) for seed in (1, 2))
    assert np.abs(one - other).mean() > 2


@pytest.mark.parametrize("place", PLACES)
def test_black_and_white_is_neutral_grey(place: str) -> None:
    image = pixels(draw(BATYR, Scene(place), Shot("half"), size=(128, 128), style="bw_stylized"))
    assert np.ptp(image, axis=2).max() == 0
    assert image.min() < 60
    assert image.max() > 200


def test_three_styles_differ_in_nature() -> None:
    """Saturation parts the ink drawings, the grain in flat places the near-photographs from the comics."""
    rng = random.Random(2)
    for _ in range(12):
        who, scene, shot = random_character(rng), random_scene(rng), random_shot(rng)
        by_style = {style: pixels(draw(who, scene, shot, size=(128, 128), style=style)) for style in STYLES}
        grain = {style: flat_noise(image) for style, image in by_style.items()}
        assert grain["color_stylized"] < 0.5 < 1.0 < grain["photorealistic"], (scene, grain)
        colour = {style: np.ptp(image, axis=2).mean() for style, image in by_style.items()}
        assert colour["bw_stylized"] == 0 < 2 < min(colour["color_stylized"], colour["photorealistic"])


def flat_noise(image: NDArray[np.float64]) -> float:
    """The median step between neighbours, in the flatter half of the picture."""
    steps = np.abs(np.diff(image[:, :, 1], axis=1))
    return float(np.median(steps))
