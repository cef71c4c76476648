"""The real command over a folder of images: paid by an OpenAI server of our own, stopped by a budget, and by the embedded models."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.files import read_json
from steps.library.captions import HOLDOUT, TRAIN
from steps.studio import character_library
from steps.studio.character_library import RAW, draw, pictures
from steps.studio.models import layout, weights
from tests.e2e.stage import Stage
from tests.fakes.chat import Asked
from tests.fakes.openai import OpenAIServer
from tests.steps.studio.conftest import trained  # noqa: F401 - a fixture

COUNT = 6
COMMON = ("workers=1", "retry.wait_s=0")
CLOUD = ("run", "caption", "vision=openai", "budget.usd=5", *COMMON)
needs_models = pytest.mark.skipif(
    not (weights.shipped() / layout.MANIFEST).is_file() or importlib.util.find_spec("torch") is None,
    reason="needs the embedded models: callsheet run embedded_models",
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stage:
    """A working folder with one character's raw images."""
    monkeypatch.chdir(tmp_path)
    for one in pictures(0, COUNT):
        draw(one, tmp_path)
    return Stage(tmp_path, lambda: "".join(capsys.readouterr()))


@pytest.fixture
def paid(place: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """OpenAI, whom captions are asked of."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "nobody-s-key")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.set(image_tokens=100)
        yield server


def results(place: Stage) -> dict[str, Any]:
    found: dict[str, Any] = place.latest("caption", "caption/results.json")
    return found


def captions(place: Stage) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in sorted((place.data / "captions").glob("*"))}


def test_a_folder_is_captioned_and_the_next_run_asks_nothing(place: Stage, paid: OpenAIServer) -> None:
    told = place.run(*CLOUD)
    assert told.code == 0, told.text
    assert paid.counts["chat"] == COUNT + 1
    assert paid.violations == []
    found = results(place)
    assert (found["summary"]["captioned"], found["summary"]["exact_duplicates"]) == (COUNT + 1, 1)
    assert found["summary"]["near_duplicates"] >= 1
    assert found["usd"] > 0
    assert found["usd_per_image"] == pytest.approx(found["usd"] / (COUNT + 1), abs=1e-6)
    assert found["seconds_per_image"] > 0
    assert all(text.startswith("Aldar Kose, A figure stands before") for text in captions(place).values())
    assert set(read_json(place.data / "split.json")["images"].values()) == {TRAIN, HOLDOUT}
    assert f"{COUNT + 1} images captioned" in told.text
    page = (place.root / "outputs/caption/latest/report.html").read_text("utf-8")
    assert "contact_sheet_1.jpg" in page
    before = captions(place)
    assert place.run(*CLOUD).code == 0
    assert paid.counts["chat"] == COUNT + 1
    assert captions(place) == before
    assert results(place)["summary"]["kept"] == COUNT + 1


def test_a_new_image_costs_one_question(place: Stage, paid: OpenAIServer) -> None:
    place.run(*CLOUD)
    buffer = io.BytesIO()
    character_library.shown(pictures(7, 9)[8]).draw(128).save(buffer, "WEBP")
    place.write(f"{RAW}/new ones/an added one.WEBP", buffer.getvalue())
    assert place.run(*CLOUD).code == 0
    assert paid.counts["chat"] == COUNT + 2
    assert len(captions(place)) == COUNT + 2


def test_refusals_by_field_and_in_words_are_asked_again_then_listed(place: Stage, paid: OpenAIServer) -> None:
    # The first is refused by the field and then answered; the second by the field, then in words; the rest go well.
    paid.script("chat", "refusal", "ok", "refusal", "ok")
    asked: list[Asked] = []

    def answer(question: Asked) -> Mapping[str, Any]:
        asked.append(question)
        return {"caption": "I'm sorry, I can't help with that." if len(asked) == 2 else "Aldar Kose waits."}

    paid.set(answer=answer)
    told = place.run(*CLOUD)
    assert told.code == 1
    found = results(place)
    assert found["summary"] | {"captioned": COUNT, "refused": 1, "asked_again": 1} == found["summary"]
    assert "fairy tales" in asked[0].text
    assert "fairy tales" not in asked[2].text
    assert len(captions(place)) == len(list((place.data / "images").iterdir())) == COUNT
    listed = (place.root / "outputs/caption/latest/caption/refused.txt").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == found["delete"]
    assert all(Path(path).is_file() for path in found["delete"])
    assert paid.violations == []


def test_a_budget_stop_keeps_what_is_paid(place: Stage, paid: OpenAIServer) -> None:
    told = place.run(*CLOUD, "budget.calls=3")
    assert told.code == 3
    assert "Go on with a larger budget" in told.text
    first = captions(place)
    assert len(first) == 3
    assert {path.stem for path in (place.data / "images").iterdir()} == set(first)
    held_out = read_json(place.data / "split.json")
    assert HOLDOUT in held_out["images"].values()
    told = place.run(*CLOUD, "budget.calls=100")
    assert told.code == 0
    assert paid.counts["chat"] == COUNT + 1
    assert first.items() <= captions(place).items()
    assert read_json(place.data / "split.json") == held_out
    # The run goes on: what its first session paid for counts, in money and time.
    found = results(place)
    assert found["summary"]["captioned"] == COUNT + 1
    assert all(row["usd"] > 0 and row["seconds"] is not None for row in found["results"])


def test_what_a_model_says_is_text_on_the_page(place: Stage, paid: OpenAIServer) -> None:
    paid.set(answer=lambda _: {"caption": "<script>alert('Aldar Kose')</script>\n\u202e\u0007"})
    assert place.run(*CLOUD).code == 0
    assert set(captions(place).values()) == {"<script>alert('Aldar Kose')</script>\n"}
    page = (place.root / "outputs/caption/latest/report.html").read_text("utf-8")
    assert "<script>alert('Aldar" not in page


def test_without_weights_the_command_that_makes_them_is_told(place: Stage, tmp_path: Path) -> None:
    told = place.run("run", "caption", f"vision.folder={tmp_path / 'nowhere'}", *COMMON)
    assert told.code == 2
    if importlib.util.find_spec("torch"):
        assert "no embedded models there: make them with: callsheet run embedded_models" in told.text
    assert "vision=openai" in told.text
    assert captions(place) == {}


def test_without_packages_what_to_install_is_told(place: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steps.backends.embedded_world.PACKAGES", ("torch_that_is_not_there",))
    told = place.run("run", "caption", *COMMON)
    assert told.code == 2
    assert "pip install 'callsheet[models]'" in told.text


@needs_models
def test_the_embedded_models_caption_their_own_world(place: Stage) -> None:
    told = place.run("run", "caption", "describe=[action,background]", "workers=4", "retry.wait_s=0")
    assert told.code in (0, 1), told.text
    found = results(place)
    done = [row for row in found["results"] if row["status"] == "captioned"]
    assert done
    for row in done:
        assert " of Aldar Kose" in row["caption"]
        assert "robe" not in row["caption"]
        assert row["model"].startswith("embedded models ")
    # What it does not take for its own it says, and what to choose.
    assert all("vision=openai" in row["error"] for row in found["results"] if row["status"] == "failed")


def test_the_trained_models_say_what_is_shown(place: Stage, trained: Path) -> None:  # noqa: F811
    for one in pictures(3, 24):
        draw(one, place.root)
    assert place.run("run", "caption", "describe=[action,background]", "workers=4", "near=0").code == 0
    told = {name: row["caption"] for row in results(place)["results"] for name in row["raw"]}
    from steps.studio.models.captions import staged_caption

    # Where somebody looks and on which side they stand is a matter of a pixel or two.
    loose = ("facing left", "facing right", "on the left", "on the right")
    wanted = {one.name: staged_caption(character_library.shown(one), "Aldar Kose") for one in pictures(3, 24)[:24]}
    parts = {
        name: [[part for part in text.split(", ") if part not in loose] for text in (told[name], wanted[name])]
        for name in wanted
    }
    assert sum(one == other for one, other in parts.values()) >= 22


@needs_models
def test_a_photograph_is_not_of_the_embedded_world(place: Stage, trained: Path) -> None:  # noqa: F811
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    place.write(f"{RAW}/noise.png", buffer.getvalue())
    assert place.run("run", "caption", "workers=1").code == 1
    (row,) = [row for row in results(place)["results"] if row["raw"] == ["noise.png"]]
    assert "choose vision=openai" in row["error"]
    assert json.dumps(row["caption"]) == "null"
