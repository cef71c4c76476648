from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.ledger import Ledger
from runner.params import faults
from runner.step import Outcome
from steps.sample import Sample, SampleParams, cast_of, draw_library
from steps.studio import training_library
from steps.studio.training_cast import PARTS
from tests.library import context


def few(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A cast of training images that is quickly drawn."""
    monkeypatch.setattr(training_library, "PARTS", tuple(part for part in PARTS if part.name in names))


def test_an_unknown_cast_is_told() -> None:
    (fault,) = faults("steps.sample", SampleParams(cast="extras"))
    assert fault.startswith(
        "steps.sample.cast = 'extras' is not allowed: choose from base_images, training, character ("
    )


def test_the_cast_of_base_images_is_the_default() -> None:
    assert [actor.name for actor in cast_of(SampleParams().cast, 0).actors][:1] == ["0000_european_16_male"]
    assert len(cast_of("base_images", 0).actors) == 16


def test_the_step_draws_library_bucket_and_truth(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch, "indonesian_23_female", "italian_50_male")
    about = context(ledger, tmp_path, tmp_path / "data")
    step = Sample(SampleParams(cast="training"), about)
    items = step.items()
    assert [item.key for item in items] == ["0000_italian_50_male", "0001_indonesian_23_female"]
    outcomes = [step.process(item.value) for item in items]
    assert outcomes == ["nothing", "at target"]
    step.finish([Outcome(item.key, result, None) for item, result in zip(items, outcomes, strict=True)])
    image = "actors/0001_indonesian_23_female/training_data/0001_indonesian_23_female_1.jpg"
    assert (about.out / "bucket" / image).read_bytes() == (about.out / "data" / image).read_bytes()
    assert len(json.loads((about.out / "data/actorsData.json").read_text())) == 2
    assert len(json.loads((about.out / "truth.json").read_text())["actors"]) == 2
    assert "2 actors drawn, 2 with something wrong." in (about.out / "report.json").read_text()


def test_a_library_is_drawn_in_order_and_told_of_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, "indonesian_23_female", "forest_creature", "kyrgyz_19_female")
    drawing = draw_library(tmp_path, 0, "training")
    names = [next(drawing).name]
    assert not (tmp_path / "truth.json").exists()
    names += [actor.name for actor in drawing]
    assert names == ["0000_kyrgyz_19_female", "0001_forest_creature", "0002_indonesian_23_female"]
    assert (tmp_path / "truth.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket", "data", "truth.json"]
