from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli import main
from runner.ledger import Ledger
from runner.params import faults
from runner.step import Outcome
from steps.sample import Sample, SampleParams, cast_of, draw_library
from steps.studio import training_library
from steps.studio.training_cast import PARTS
from tests.e2e.stage import Stage
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
    assert [actor.name for actor in cast_of(SampleParams()).actors][:1] == ["0000_european_16_male"]
    assert len(cast_of(SampleParams(cast="base_images")).actors) == 16


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
    drawing = draw_library(tmp_path, SampleParams(cast="training"))
    names = [next(drawing).name]
    assert not (tmp_path / "truth.json").exists()
    names += [actor.name for actor in drawing]
    assert names == ["0000_kyrgyz_19_female", "0001_forest_creature", "0002_indonesian_23_female"]
    assert (tmp_path / "truth.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket", "data", "truth.json"]


def test_a_character_is_drawn_with_what_a_likeness_to_it_is_measured_against(ledger: Ledger, tmp_path: Path) -> None:
    about = context(ledger, tmp_path, tmp_path / "data")
    step = Sample(SampleParams(cast="character", who=30, images=3), about)
    items = step.items()
    outcomes = [Outcome(item.key, step.process(item.value), None) for item in items]
    assert len({item.key for item in items}) == len(items) == 3 + 2 + 12 + 24
    step.finish(outcomes)
    assert sorted(path.name for path in about.out.iterdir() if path.is_dir()) == [
        "impostors",
        "raw_images",
        "references",
    ]
    assert (
        "41 images drawn, 3 with something wrong. 5 raw images of stranger 30, 12 references that show the same one elsewhere, "
        "and 24 impostors, each another stranger."
    ) in (about.out / "report.json").read_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["--cast", "character", "--who", "-1"],
            "sample.who = -1 is not allowed: give 0 or more (with cast=character: which of the",
        ),
        (
            ["--cast", "character", "--images", "2"],
            "sample.images = 2 is not allowed: give 3 to 1000 (with cast=character: how many",
        ),
        (["--who", "3"], "--who goes with --cast character alone: leave it out, or add that"),
        (["--seed", "-1"], "sample.seed = -1 is not allowed: give 0 or more"),
    ],
)
def test_a_number_that_can_t_be_drawn_is_told_and_nothing_is_written(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, lambda: "".join(capsys.readouterr()))
    found = stage.run("sample", str(tmp_path / "new"), *given)
    assert found.code == 2
    assert told in " ".join(found.text.split())
    assert not (tmp_path / "new").exists()


def test_the_command_draws_any_of_the_strangers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path, lambda: "".join(capsys.readouterr()))
    folder = tmp_path / "hero"
    found = stage.run("sample", str(folder), "--cast", "character", "--who", "15", "--images", "4")
    assert found.code == 0
    assert "42 images drawn." in found.text
    assert "6 raw images of stranger 15" in " ".join(found.text.split())
    assert json.loads((folder / "truth.json").read_text())["who"] == 15


def test_help_tells_the_defaults_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"--who N with --cast character: which one ({SampleParams().who})" in told
    assert f"--images N with --cast character: how many raw images ({SampleParams().images})" in told
