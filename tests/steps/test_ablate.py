"""Arms compared by the real command, on renders of known people, measured with the recogniser that ships."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from runner import files
from runner.cli import main
from tests.frames import shipped_weights
from tests.told import HERO, MODELS, portraits, tell

STORIES = tuple(f"tale_{number}" for number in range(7))
GIVEN = ("references=references", "impostors=people", "steps.ablate.draws=300")
HEROES, STRANGERS, HALF = (HERO,) * 3, (3, 4, 5), (HERO, HERO, 3)


@dataclass
class Place:
    """A working folder with references and other people, and the command in it."""

    folder: Path
    output: Callable[[], str]
    said: str = ""

    def run(self, *words: str) -> int:
        code = main(["run", "ablate", *GIVEN, *words])
        self.said = self.output()
        return code

    @property
    def out(self) -> Path:
        return self.folder / "outputs/ablate/latest/ablate"

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def text(self) -> str:
        return (self.out / "results.md").read_text()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    import torch

    shipped_weights()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    portraits(tmp_path / "references", *[HERO] * 3)
    portraits(tmp_path / "people", 6, 7, 8)
    return Place(tmp_path, lambda: "".join(capsys.readouterr()))


def test_the_arm_that_draws_the_character_is_above_the_one_that_draws_others(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HEROES}, STORIES)
    assert place.run("storyboards=told") == 0, place.said
    arms = place.results["arms"]
    assert arms["simple"]["likeness"]["mean"] > arms["baseline"]["likeness"]["mean"] + 0.3
    assert arms["simple"]["headline"]["mean"] == pytest.approx(1.0, abs=0.15)
    assert arms["baseline"]["headline"]["mean"] == pytest.approx(0.0, abs=0.3)
    for metrics in arms.values():
        for name in ("likeness", "consistency", "frame1", "clip", "detection_rate"):
            assert metrics[name]["low"] <= metrics[name]["mean"] <= metrics[name]["high"]
            assert metrics[name]["n"] == 7
    likeness = next(each for each in place.results["comparisons"] if each["metric"] == "likeness")
    assert likeness["p"] == pytest.approx(2 / 2**7)
    # Three questions, of which the CLIPScores are the same in both arms: corrected over two.
    assert likeness["p_holm"] == pytest.approx(4 / 2**7)
    assert likeness["significant"] is True
    assert place.results["recogniser"].startswith("embedded faces report")


def test_everything_that_people_open_is_written(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HALF}, STORIES[:2])
    assert place.run("storyboards=told") == 0, place.said
    with (place.out / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert all((place.out / row["file"]).is_file() for row in rows)
    assert "\\begin{tabular}" in (place.out / "table.tex").read_text()
    for name in ("frames", "differences", "distribution", "by_frame"):
        assert f"(plots/{name}.png)" in place.text
        with Image.open(place.out / "plots" / f"{name}.png") as image:
            assert image.width > 300
        ElementTree.parse(place.out / "plots" / f"{name}.svg")
    assert "too few to call anything significant" in place.text
    report = (place.folder / "outputs/latest/report.html").read_text()
    assert "Arms compared" in report
    assert "30 s a frame in simple mode" in report


def test_the_same_storyboards_give_the_same_bytes_and_are_measured_once(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HALF}, STORIES[:2])
    assert place.run("storyboards=told") == 0
    first = {path.name: path.read_bytes() for path in sorted(place.out.rglob("*")) if path.is_file()}
    assert place.run("storyboards=told") == 0
    assert "4 remembered" in place.said
    again = {path.name: path.read_bytes() for path in sorted(place.out.rglob("*")) if path.is_file()}
    assert {name for name in first if first[name] != again[name]} == set()


def test_what_is_remembered_is_shown_from_where_it_lies_now(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HALF}, STORIES[:2])
    assert place.run("storyboards=told") == 0
    (place.folder / "told").rename(place.folder / "moved")
    assert place.run("storyboards=moved") == 0, place.said
    assert "4 remembered" in place.said
    with (place.out / "frames.csv").open(newline="") as file:
        assert all(
            (place.out / row["file"]).resolve().is_relative_to(place.folder / "moved") for row in csv.DictReader(file)
        )


def test_a_study_that_is_none_is_told_before_anything_is_measured(place: Place) -> None:
    tell(place.folder / "told", {"simple": HALF}, STORIES[:1])
    assert place.run("storyboards=told", "study=people") == 2
    assert "people" in place.said
    assert not (place.folder / "outputs/ablate/latest/ablate/results.json").exists()


def test_listed_runs_are_one_comparison_and_an_overlap_counts_once(place: Place) -> None:
    tell(place.folder / "one", {"baseline": STRANGERS}, STORIES[:3])
    tell(place.folder / "two", {"simple": HEROES}, STORIES[:3])
    tell(place.folder / "three", {"simple": HEROES}, STORIES[:2])
    assert place.run("storyboards=[one,t*]") == 0, place.said
    assert {arm: found["likeness"]["n"] for arm, found in place.results["arms"].items()} == {"baseline": 3, "simple": 3}


def test_two_that_differ_and_claim_one_place_are_told(place: Place) -> None:
    tell(place.folder / "one", {"simple": HEROES}, STORIES[:1])
    tell(place.folder / "two", {"simple": STRANGERS}, STORIES[:1])
    assert place.run("storyboards=[one,two]") == 2
    assert "are both tale_0, mode simple, seed 0 of 'hero', and not alike" in place.said


def test_two_characters_are_each_held_against_their_own_truth(place: Place) -> None:
    tell(place.folder / "one", {"simple": HEROES}, STORIES[:1])
    tell(place.folder / "two", {"simple": (9,) * 3}, STORIES[:1], character="other")
    portraits(place.folder / "truth", 9, 9)
    assert place.run("storyboards=[one,two]") == 2
    assert "the storyboards show hero, other: give one folder for each" in place.said
    assert place.run("storyboards=[one,two]", "references={hero: references, other: truth}") == 0, place.said
    assert place.results["arms"]["simple"]["headline"]["mean"] == pytest.approx(1.0, abs=0.15)
    assert set(place.results["scales"]) == {"hero", "other"}


def test_an_embedder_that_chose_the_images_may_not_measure_them(place: Place) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    assert place.run("storyboards=told") == 0
    mine = place.results["recogniser"]
    document = json.loads((place.folder / "told/results.json").read_text())
    files.write_json(place.folder / "told/results.json", document | {"models": {**document["models"], "faces": mine}})
    assert place.run("storyboards=told") == 2
    assert "it chose or conditioned these images, and would flatter them" in place.said
    assert place.run("storyboards=told", "steps.ablate.purpose=choose") == 0
    assert "they are no result" in place.text


def test_what_was_fixed_beforehand_is_held_to(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HEROES}, STORIES, retries=3)
    plan = {
        "primary": {"a": "simple", "b": "baseline", "metric": "likeness"},
        "comparisons": [{"a": "simple", "b": "baseline", "metric": "likeness"}],
        "arms": ["baseline", "simple"], "stories": [*STORIES, "never_drawn"], "seeds": [0], "characters": {"hero": "hero"},
        "retries": 2, "chosen_on": "somebody", "written_at": "2026-11-21T10:00:00+00:00",
    }  # fmt: skip
    files.write_json(place.folder / "plan.json", plan)
    assert place.run("storyboards=told", "preregistration=plan.json") == 0, place.said
    assert "simple against baseline in likeness" in place.said
    assert len(place.results["comparisons"]) == 1
    assert place.results["primary"]["significant"] is True
    assert [sentence.split(" (")[0] for sentence in place.results["deviations"]] == [
        "2 of 16 planned storyboards missing",
        "retries = 3 where 2 was planned",
        "14 storyboards of unknown time, perhaps older than the plan",
    ]
    files.write_json(place.folder / "plan.json", plan | {"chosen_on": "hero"})
    assert place.run("storyboards=told", "preregistration=plan.json") == 2
    assert "its settings were chosen on 'hero', who is measured" in place.said
    others = {"characters": {"other": "other"}, "chosen_on": "hero"}
    files.write_json(place.folder / "plan.json", plan | others)
    assert place.run("storyboards=told", "preregistration=plan.json") == 2
    assert "hold 'hero', the character that settings were chosen on" in place.said


def test_a_reference_that_was_trained_on_is_refused(place: Place) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    portraits(place.folder / "taught/images", *[HERO] * 3)
    assert place.run("storyboards=told", "steps.ablate.trained_on=taught") == 2
    assert (
        "image_0.png and 2 more were trained on (taught): likeness is held against images that no model has seen"
        in place.said
    )
    parts = {f"image_{number}": "holdout" for number in range(3)}
    files.write_json(place.folder / "taught/split.json", {"images": parts})
    assert place.run("storyboards=told", "steps.ablate.trained_on=taught") == 0, place.said


def test_a_reference_that_is_one_of_the_frames_is_told(place: Place) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    frame = place.folder / "told/tale_0-simple-0/frame_2.png"
    (place.folder / "references/copied.png").write_bytes(frame.read_bytes())
    assert place.run("storyboards=told") == 0, place.said
    assert "frame_2.png is the reference copied.png: its likeness is high by construction" in place.text


def test_a_plan_that_was_changed_or_is_from_elsewhere_is_told(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HEROES}, STORIES[:1])
    plan = {
        "primary": {"a": "simple", "b": "baseline", "metric": "likeness"},
        "comparisons": [{"a": "simple", "b": "baseline", "metric": "likeness"}],
        "arms": ["baseline", "simple"], "stories": [STORIES[0]], "seeds": [0], "characters": {"hero": "hero"}, "retries": 2,
        "written_at": "2020-01-01T10:00:00+00:00", "models": {"diffusion": "another", "faces": MODELS["faces"]},
    }  # fmt: skip
    files.write_json(place.folder / "plan.json", plan)
    assert place.run("storyboards=told", "preregistration=plan.json") == 0, place.said
    assert any(
        "plan.json is not as `preregister` wrote it into these outputs" in note for note in place.results["notes"]
    )
    assert f"diffusion = {MODELS['diffusion']} where another was planned" in place.results["notes"]
    assert not any("faces =" in note for note in place.results["notes"])
    assert "its time (2020-01-01T10:00:00+00:00) is its own word" in place.text


def test_the_same_network_with_another_setting_is_the_same_network(place: Place) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    assert place.run("storyboards=told") == 0
    mine = f"{place.results['recogniser']} min_score=0.6"
    document = json.loads((place.folder / "told/results.json").read_text())
    files.write_json(place.folder / "told/results.json", document | {"models": {**document["models"], "faces": mine}})
    assert place.run("storyboards=told") == 2
    assert "would flatter them" in place.said


def test_doctor_names_what_is_not_there(place: Place) -> None:
    assert main(["doctor", "ablate", "storyboards=nowhere", "references=references"]) == 2
    said = place.output()
    assert "storyboards nowhere: no such folder" in said
    assert "ok       references references" in said


@pytest.mark.parametrize("key", ["training", "captions"])
def test_results_of_something_else_are_refused(place: Place, key: str) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    assert place.run("storyboards=told", f"steps.ablate.{key}=told") == 2
    assert "these are no results of the step" in place.said


def test_a_broken_frame_leaves_its_storyboard_out_and_is_named(place: Place) -> None:
    tell(place.folder / "told", {"baseline": STRANGERS, "simple": HEROES}, STORIES[:2])
    (place.folder / "told/tale_1-simple-0/frame_2.png").write_bytes(b"no image")
    assert place.run("storyboards=told") == 1
    assert place.results["arms"]["simple"]["likeness"]["n"] == 1
    assert any("hero: tale_1-simple-0, lora 1 could not be measured" in note for note in place.results["notes"])


def test_a_curve_over_the_strength_of_the_lora(place: Place) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    for scale in (0.5, 0.75):
        tell(place.folder / f"at_{scale}", {"simple": HALF, "reference": HEROES}, STORIES[:2], lora_scale=scale)
    assert place.run("storyboards=told", "strength=[at_0.5,at_0.75]") == 0, place.said
    curve = [point for point in place.results["curve"] if point["metric"] == "likeness"]
    assert [point["gain"]["setting"] for point in curve] == [0.5, 0.75]
    assert all(point["gain"]["difference"] > 0.1 for point in curve)
    assert (place.out / "plots/gain.svg").is_file()
    # They are on the curve alone.
    assert place.results["arms"]["simple"]["likeness"]["n"] == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("/etc/passwd", "is no path below its folder"),
        ("../told/../../secret.png", "is no path below its folder"),
        ("tale_0-simple-0\\frame_1.png", "is no path below its folder"),
    ],
)
def test_a_strangers_results_lead_nowhere_else(place: Place, file: str, said: str) -> None:
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    document = json.loads((place.folder / "told/results.json").read_text())
    document["results"][0]["file"] = file
    files.write_json(place.folder / "told/results.json", document)
    assert place.run("storyboards=told") == 2
    assert said in place.said


def test_nothing_to_compare_is_told(place: Place) -> None:
    (place.folder / "empty").mkdir()
    assert place.run("storyboards=empty") == 2
    assert "no storyboards there: give the folder of a run of storyboard or ablation" in place.said
    assert place.run("storyboards='no*where'") == 2
    assert "no*where: nothing is called so" in place.said
    assert place.run("storyboards=nowhere") == 2
    assert "nowhere: no such folder" in place.said
    tell(place.folder / "told", {"simple": HEROES}, STORIES[:1])
    assert place.run("storyboards=told") == 0
    assert "There is one arm: nothing is compared." in place.text
