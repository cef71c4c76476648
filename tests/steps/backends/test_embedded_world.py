"""The embedded models as judge, captioner and painter of their own small world, and what everybody else's pictures get."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from runner.errors import ItemError, MisconfiguredRun
from runner.ledger import Ledger
from steps import captioning, judging
from steps.backends import embedded_world
from steps.backends.embedded import EmbeddedImage, EmbeddedImageSettings, EmbeddedVision, EmbeddedVisionSettings
from steps.backends.embedded_world import Seen, World, match, phrased, said
from steps.backends.protocols import ImageRequest, Question
from steps.library.actors import Actor
from steps.library.pictures import Picture, decode
from steps.studio.models import domain, labels, layout, weights
from steps.studio.models.captions import described, full_caption, staged_caption
from tests.steps.studio.conftest import trained  # noqa: F401 - a fixture
from tests.support import calls

needs_models = pytest.mark.skipif(
    not (weights.shipped() / layout.MANIFEST).is_file() or importlib.util.find_spec("torch") is None,
    reason="needs the embedded models: callsheet run embedded_models",
)
WAVING = {
    "sex": "male",
    "skin": "tan",
    "hair_colour": "black",
    "hair_style": "short",
    "hat": "kalpak",
    "hat_colour": "green",
    "outfit_colour": "green",
    "second_colour": "gold",
    "pattern": "zigzag",
    "facial_hair": "moustache",
    "mark": "none",
    "place": "night",
    "shot": "full",
    "gesture": "waving",
    "facing": "left",
    "side": "right",
}
MAN = "a man with tan skin, short black hair and a moustache, wearing a green robe with gold zigzags and a green kalpak"


def vision(ledger: Ledger, folder: Path | None = None) -> EmbeddedVision:
    return EmbeddedVision(EmbeddedVisionSettings(folder=str(folder) if folder else None), calls(ledger))


def image_maker(ledger: Ledger, folder: Path | None = None) -> EmbeddedImage:
    return EmbeddedImage(EmbeddedImageSettings(folder=str(folder) if folder else None), calls(ledger))


def shown(number: int) -> domain.Picture:
    """People whom no model was trained on."""
    return domain.picture("test", number * domain.RENDERS)


def question(image: Image.Image, wording: captioning.Wording | None = None) -> Question:
    return captioning.question(Picture.of(image), wording or captioning.Wording(trigger="Aldar Kose"))


def likeness(image: Image.Image, description: str, outfit: str = "") -> Question:
    actor = Actor(id=0, name="0000_somebody", description=description, outfit=outfit)
    return judging.question(actor, Picture.of(image), judging.PROMPT)


@pytest.mark.parametrize(
    ("describe", "text"),
    [
        (
            ("action", "look", "background", "light"),
            f"a full-body picture of Aldar Kose, {MAN}, waving a hand, facing left, on the right, under the night sky, at night",
        ),
        (
            ("action", "background"),
            "a full-body picture of Aldar Kose, waving a hand, facing left, on the right, under the night sky",
        ),
        (("action",), "a full-body picture of Aldar Kose, waving a hand, facing left, on the right"),
        (("background",), "a full-body picture of Aldar Kose, under the night sky"),
        (("light",), "a full-body picture of Aldar Kose, at night"),
    ],
)
def test_a_caption_tells_what_is_asked_for_in_the_models_words(describe: tuple[str, ...], text: str) -> None:
    assert phrased(WAVING, "Aldar Kose", describe) == text


def test_there_is_light_only_where_the_world_has_a_word_for_it_and_a_name_only_where_one_is_given() -> None:
    by_day = {**WAVING, "place": "snow"}
    assert phrased(by_day, "", ("light",)) == "a full-body picture of a person"
    assert phrased(by_day, "", ("look",)).startswith("a full-body picture of a man with tan skin")


def test_a_picture_s_own_attributes_give_the_captions_that_models_were_trained_on() -> None:
    for number in range(40):
        one = shown(number)
        # What a picture does not show may be anything.
        values = {name: choices[0] for name, choices in labels.VALUES.items()} | labels.texts_of(one)
        assert phrased(values, "ohwx", ("action", "background")) == staged_caption(one, "ohwx")
        if one.shot.kind != "portrait":
            # Of a portrait the whole caption tells what lies below its edge.
            assert full_caption(embedded_world.picture_of(values)) == full_caption(one)


def test_what_a_text_names_is_told_from_what_it_leaves_open() -> None:
    for number in range(20):
        who = shown(number).who
        found = said(described(who), "")
        wanted = {name: getattr(who, name) for name in labels.IDENTITY}
        assert found.items() <= wanted.items()
        assert {"sex", "skin", "outfit_colour"} <= set(found)
    assert said("somebody, who knows", "") == {}
    assert said("a woman", "a red robe") == {"sex": "female", "outfit_colour": "red"}


class Told(World):
    """A world whose models see what a test says."""

    def __init__(self, values: Mapping[str, str], own: float = 0.6, other: float = 0.2) -> None:
        super().__init__(None)
        self.values, self.own, self.other = values, own, other

    def see(self, picture: Image.Image) -> Seen:
        return Seen(self.values, self.own, np.zeros(4))

    def knows(self, seen: Seen) -> bool:
        return seen.own >= 0.5

    def cosine(self, seen: Seen, text: str) -> float:
        return self.other


TINY = Image.new("RGB", (64, 64))


def test_a_mismatch_takes_both_the_reader_and_clip() -> None:
    other = "a woman with deep skin and long red hair, wearing a blue robe"
    found = match(Told(WAVING), TINY, other, "")
    assert found is not None
    assert not found.is_match
    assert found.confidence == "high"
    assert "outfit colour: green, not blue" in found.reason
    unsure = match(Told(WAVING, other=0.7), TINY, other, "")
    assert unsure is not None
    assert unsure.is_match
    assert unsure.confidence == "low"


def test_a_match_may_have_a_difference() -> None:
    same = match(Told(WAVING), TINY, "a man with tan skin, short black hair and a moustache", "a green robe")
    assert same is not None
    assert (same.is_match, same.confidence) == (True, "high")
    nearly = match(Told(WAVING), TINY, "a man with tan skin and short black hair", "a red robe")
    assert nearly is not None
    assert (nearly.is_match, nearly.confidence) == (True, "medium")
    assert "see 4 of 5 things" in nearly.reason
    silent = match(Told(WAVING), TINY, "nobody can say", "")
    assert silent is not None
    assert (silent.is_match, silent.confidence) == (True, "low")


def test_what_a_portrait_hides_counts_against_nobody() -> None:
    portrait = {**WAVING, "shot": "portrait", "pattern": "plain", "second_colour": "black"}
    found = match(Told(portrait), TINY, "a man", "a green robe with gold zigzags")
    assert found is not None
    assert found.confidence == "high"


def test_another_world_is_not_judged_by_the_models() -> None:
    assert match(Told(WAVING, own=0.3), TINY, "a man", "") is None
    with pytest.raises(ItemError, match=r"not of the small drawn world .* choose vision=openai"):
        embedded_world.caption(_strange(), TINY, "Aldar Kose", ("action",))


def _strange() -> World:
    world = Told(WAVING, own=0.3)
    world.least = lambda: 0.5  # type: ignore[method-assign]
    return world


def test_without_weights_large_pictures_are_judged_as_ever_and_captions_are_not_to_be_had(
    ledger: Ledger, tmp_path: Path
) -> None:
    judge = vision(ledger, tmp_path)
    assert "models" not in judge.identity
    large = shown(0).draw(256)
    answer = judge.ask(likeness(large, "a man"))
    assert answer.model == judge.identity
    assert judge.ask(likeness(shown(0).draw(), "a man")).model == judge.identity
    with pytest.raises(MisconfiguredRun, match=r"callsheet run embedded_models.*vision=openai"):
        judge.ask(question(shown(0).draw()))
    request = ImageRequest(key="a/0", prompt="a man", width=64, height=64, steps=1, seed=1)
    with pytest.raises(MisconfiguredRun, match="image=replicate"):
        image_maker(ledger, tmp_path).make(request)


def test_without_the_packages_it_says_what_to_install(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_world, "PACKAGES", ("a_package_that_is_not_there",))
    with pytest.raises(MisconfiguredRun, match=r"need a_package_that_is_not_there: pip install 'callsheet\[models\]'"):
        vision(ledger).ask(question(shown(0).draw()))
    # What can be judged without them still is.
    assert vision(ledger).ask(likeness(shown(0).draw(), "a man")).data["confidence"]


@needs_models
def test_weights_that_were_tampered_with_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights.shipped(), folder)
    with (folder / layout.READER).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"evil")
    with pytest.raises(MisconfiguredRun, match=r"reader.safetensors is not the file that the manifest lists"):
        vision(ledger, folder).ask(question(shown(0).draw()))


@needs_models
def test_many_threads_get_the_same_captions(ledger: Ledger) -> None:
    judge = vision(ledger)
    images = [shown(number).draw() for number in range(4)] * 4

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda image: judge.ask(question(image)).data["caption"], images))
    assert said[:4] == said[4:8] == said[8:12] == said[12:]
    assert len(set(said)) == 4


@needs_models
def test_tiny_images_are_drawn_by_the_model_from_their_seed(ledger: Ledger) -> None:
    maker = image_maker(ledger)

    def made(seed: int, prompt: str = "a man in the snow") -> Any:
        request = ImageRequest(key="a/0", prompt=prompt, width=64, height=64, steps=1, seed=seed)
        return maker.make(request)

    first = made(3)
    assert first.model.startswith("embedded models ")
    assert first.model in maker.identity
    assert decode(first.data, "made").size == (64, 64)
    assert made(3).data == first.data
    assert made(4).data != first.data
    assert made(3, "a portrait of a woman at night").data != first.data
    large = ImageRequest(key="a/0", prompt="a man", width=96, height=64, steps=1, seed=3)
    assert maker.make(large).model == "embedded image 2"


def test_trained_models_caption_people_whom_they_have_never_seen(ledger: Ledger, trained: Path) -> None:  # noqa: F811
    judge = vision(ledger, trained)
    wording = captioning.Wording(trigger="ohwx", describe=("action", "background"))
    said = [judge.ask(question(shown(number).draw(), wording)).data["caption"] for number in range(40)]
    wanted = [staged_caption(shown(number), "ohwx") for number in range(40)]
    # Where somebody looks and on which side they stand is a matter of a pixel or two.
    loose = ("facing left", "facing right", "on the left", "on the right")
    parts = [[{part for part in text.split(", ") if part not in loose} for text in texts] for texts in (said, wanted)]
    assert sum(one == other for one, other in zip(*parts, strict=True)) >= 38
    assert sum(one == other for one, other in zip(said, wanted, strict=True)) >= 20


def test_trained_models_know_their_world_from_others(ledger: Ledger, trained: Path) -> None:  # noqa: F811
    world = World(str(trained))
    assert sum(world.knows(world.see(shown(number).draw())) for number in range(100, 140)) >= 39
    rng = np.random.default_rng(1)
    noise = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(8)]
    plain = [Image.new("RGB", (64, 64), colour) for colour in ("red", "white", "black", "green")]
    assert not any(world.knows(world.see(image)) for image in plain)
    # Noise is what comes nearest.
    assert sum(world.knows(world.see(image)) for image in noise) <= 1


def test_trained_models_tell_who_is_described(ledger: Ledger, trained: Path) -> None:  # noqa: F811
    judge = vision(ledger, trained)
    people = [shown(number) for number in range(24)]
    same = [judge.ask(likeness(one.draw(), described(one.who))) for one in people]
    assert all(answer.model.startswith("embedded models ") for answer in same)
    assert sum(answer.data["is_match"] for answer in same) >= 23
    assert sum(answer.data["is_clear"] for answer in same) >= 23
    others = [judge.ask(likeness(one.draw(), described(other.who))).data["is_match"] for one, other in pairwise(people)]
    assert sum(others) <= len(others) / 3
    blurred = [judge.ask(likeness(one.draw().filter(ImageFilter.GaussianBlur(3)), "a man")).data for one in people]
    assert not any(answer["is_clear"] for answer in blurred)
