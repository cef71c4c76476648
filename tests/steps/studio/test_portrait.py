from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from steps.studio.colours import COLOURS, name_of
from steps.studio.portrait import studio_portrait
from steps.studio.wording import read

WORDS = ("45 year old man with fair skin, short black hair, clean-shaven, no hat", "Attire: {} coat with a white scarf")


def torso_colour(image: Image.Image) -> str:
    """The commonest colour name left of the buttons, where the coat is."""
    width, height = image.size
    patch = image.crop((int(width * 0.4), int(height * 0.4), int(width * 0.47), int(height * 0.5)))
    red, green, blue = np.median(np.asarray(patch).reshape(-1, 3), axis=0)
    return name_of((int(red), int(green), int(blue)))


def test_the_same_seed_gives_the_same_bytes_and_another_another_picture() -> None:
    outfit = WORDS[1].format("red")
    one = studio_portrait(WORDS[0], outfit, (128, 192), 7)
    assert one.tobytes() == studio_portrait(WORDS[0], outfit, (128, 192), 7).tobytes()
    assert one.tobytes() != studio_portrait(WORDS[0], outfit, (128, 192), 8).tobytes()
    assert one.size == (128, 192)


@pytest.mark.parametrize("colour", ["red", "blue", "green", "purple", "black", "yellow"])
def test_what_the_text_says_is_seen_whatever_the_seed(colour: str) -> None:
    near = {"red": {"red", "maroon"}, "blue": {"blue", "navy"}, "yellow": {"yellow", "gold"}}.get(colour, {colour})
    for seed in range(3):
        image = studio_portrait(WORDS[0], WORDS[1].format(colour), (192, 288), seed)
        assert torso_colour(image) in near, seed
    assert colour in COLOURS
    assert read(WORDS[0], WORDS[1].format(colour)).outfit_colour == colour


def test_the_backdrop_is_plain() -> None:
    image = np.asarray(studio_portrait(*WORDS, (256, 384), 3), dtype=np.float64)
    edge = image[20:250, 4:20]
    assert np.ptp(edge, axis=2).mean() < 40
    assert edge.std(axis=(0, 1)).max() < 25


def test_a_large_portrait_shows_the_whole_figure_sharply() -> None:
    image = np.asarray(studio_portrait(*WORDS, (512, 768), 1).convert("L"), dtype=np.float64)
    columns = np.abs(np.diff(image, axis=1))
    assert columns.max() > 100, "an edge from dark to light within one pixel"
    assert columns[:8].max() < 40 and columns[-8:].max() < 40, "nothing is cut by the frame"
