from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from steps.studio.clarity import measure
from steps.studio.training_picture import (
    CLASSES,
    MISSES,
    OtherBeing,
    being_of,
    figure_of,
    ordered_picture,
    training_picture,
)
from steps.studio.world import random_character

SIZE = (256, 144)
WORDS = ("34 year old woman with fair skin, long red hair", "Casual attire: green coat with a white scarf")


def pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64)


def steps_of(image: Image.Image) -> NDArray[np.float64]:
    """Grey levels from each pixel to its right neighbour."""
    return np.abs(np.diff(pixels(image.convert("L")), axis=1))


def drawn(kind: str, count: int = 12, quality: int = 10) -> list[Image.Image]:
    rng = random.Random(f"{kind} {quality}")
    return [
        training_picture(random_character(rng), kind, seed=rng.randrange(2**31), quality=quality, size=SIZE)
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("quality", [1, 5, 10])
def test_the_same_arguments_give_the_same_pixels_and_another_seed_another_picture(kind: str, quality: int) -> None:
    who, state = figure_of(*WORDS), random.getstate()
    one, again, other = (
        training_picture(who, kind, seed=seed, quality=quality, size=SIZE).tobytes() for seed in (4, 4, 5)
    )
    assert one == again != other
    assert random.getstate() == state


@pytest.mark.parametrize("size", [(32, 32), (33, 200), (300, 40), (1280, 720)])
@pytest.mark.parametrize("kind", CLASSES)
def test_any_size_and_aspect(size: tuple[int, int], kind: str) -> None:
    for quality in (1, 10):
        image = training_picture(figure_of(*WORDS), kind, seed=1, quality=quality, size=size)
        assert (image.size, image.mode) == (size, "RGB")


def test_three_classes_differ_as_real_ones_do() -> None:
    """Photographs change a little everywhere, drawings not at all or at once; ink has no colour."""
    still = {kind: np.median([np.mean(steps_of(image) < 1) for image in drawn(kind)]) for kind in CLASSES}
    assert still["photorealistic"] < 0.3 < 0.5 < min(still["bw_stylized"], still["color_stylized"])
    colour = {kind: [np.ptp(pixels(image), axis=2).max() for image in drawn(kind)] for kind in CLASSES}
    assert max(colour["bw_stylized"]) == 0
    assert min(colour["photorealistic"] + colour["color_stylized"]) > 40
    tones = [len(set(image.get_flattened_data())) for image in drawn("color_stylized")]
    assert max(tones) <= 64


def test_slopes_of_photographs_fall_evenly() -> None:
    """As Huang and Mumford found in real ones: fewer the steeper, over all slopes beyond the noise."""
    slopes = np.concatenate([steps_of(image).ravel() for image in drawn("photorealistic")])
    shares, _ = np.histogram(slopes, [2, 5, 10, 20, 40, 80])
    assert (np.diff(shares / np.diff([2, 5, 10, 20, 40, 80])) < 0).all()


@pytest.mark.parametrize("kind", CLASSES)
def test_quality_shows_in_the_picture(kind: str) -> None:
    """Edges say that the best are clear and the worst are not, but where only the light is wrong."""
    good, poor = (np.mean([measure(image).is_clear for image in drawn(kind, 10, quality)]) for quality in (10, 1))
    assert good >= 0.9
    assert poor <= 0.4


def test_the_two_best_qualities_have_no_fault() -> None:
    who = figure_of(*WORDS)
    nine, ten = (training_picture(who, CLASSES[0], seed=3, quality=quality, size=SIZE) for quality in (9, 10))
    assert nine.tobytes() == ten.tobytes()


def test_prompts_choose_place_and_shot() -> None:
    who = figure_of(*WORDS)

    def brightness(prompt: str) -> float:
        images = [training_picture(who, CLASSES[2], seed=seed, size=SIZE, prompt=prompt) for seed in range(4)]
        return float(np.mean([pixels(image).mean() for image in images]))

    assert brightness("under the moonlit sky, full-length") + 50 < brightness("in deep snow, full-length")


@pytest.mark.parametrize(
    ("text", "kind"), [("a robot with a round head", "robot"), ("old goblin", "creature"), ("a woman of 40", "human")]
)
def test_those_who_are_no_humans_have_another_hide(text: str, kind: str) -> None:
    who = figure_of(text, "Casual attire: red coat")
    assert being_of(text) == kind
    assert isinstance(who, OtherBeing) == (kind != "human")
    assert who == figure_of(text, "Casual attire: red coat")


def test_an_unknown_class_or_quality_is_refused() -> None:
    with pytest.raises(ValueError, match="style 'oil' is not one of photorealistic, bw_stylized, color_stylized"):
        training_picture(figure_of(*WORDS), "oil", seed=1)
    with pytest.raises(ValueError, match="quality 11 is not 1 to 10"):
        training_picture(figure_of(*WORDS), CLASSES[0], seed=1, quality=11)


def test_one_order_in_twenty_comes_out_wrong() -> None:
    """Seen by colour alone, so that of three wrong orders of colour pictures one shows: black-and-white instead."""
    who, count = figure_of(*WORDS), 600
    images = [ordered_picture(who, "color_stylized", seed=seed, size=(32, 32)) for seed in range(count)]
    without = sum(int(np.ptp(pixels(image), axis=2).max() == 0) for image in images)
    assert 0.1 * MISSES < without / count < 0.5 * MISSES


def test_an_order_gives_the_same_picture_again_and_a_good_one_as_a_rule() -> None:
    who = figure_of(*WORDS)
    first, again = (ordered_picture(who, "bw_stylized", seed=5, size=SIZE, prompt="at a market") for _ in range(2))
    assert first.tobytes() == again.tobytes()
    clear = [measure(ordered_picture(who, "bw_stylized", seed=seed, size=SIZE)).is_clear for seed in range(20)]
    assert sum(clear) >= 17
