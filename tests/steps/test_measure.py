"""Faces measured by the real command with the models that ship: figures, what is remembered, what a person is told."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.cli import main
from runner.ledger import Ledger
from runner.recipe import compose, locate
from steps.backends.embedded_models import EmbeddedFaces, EmbeddedFacesSettings
from steps.studio.models import domain
from steps.studio.world import Shot
from tests.frames import shipped_weights
from tests.opencv_models import write_sface, write_yunet
from tests.support import calls

HERO = 0
Run = Callable[..., int]


@dataclass
class Place:
    """A working folder with frames, references and other people, and the command in it."""

    folder: Path
    output: Callable[[], str]
    said: str = ""

    def run(self, *words: str, recipe: str = "measure_face_consistency") -> int:
        code = main(["run", recipe, *words])
        self.said = self.output()
        return code

    @property
    def out(self) -> Path:
        return self.folder / "outputs/measure_face_consistency/latest/measure"

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def part(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "report.json").read_text())
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    import torch

    shipped_weights()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "frames", *[HERO] * 4)
    draw(tmp_path / "references", *[HERO] * 3, start=20)
    draw(tmp_path / "people", 3, 4, 5)
    return Place(tmp_path, lambda: "".join(capsys.readouterr()))


def portrait(person: int, number: int) -> Image.Image:
    """A person from the front, the face well seen, in one of many places."""
    rng = random.Random(f"{person} {number}")
    return domain.Picture(
        domain.person("stranger", person),
        domain.random_scene(rng),
        Shot("portrait", "standing", "front", rng.uniform(-0.3, 0.3), 0.0),
    ).draw()


def draw(folder: Path, *people: int, start: int = 0) -> None:
    folder.mkdir(parents=True)
    for number, person in enumerate(people, 1):
        portrait(person, start + number).save(folder / f"frame_{number}.png")


GIVEN = ("frames=frames", "references=references")


def test_figures_tell_one_character_from_many(place: Place) -> None:
    assert place.run(*GIVEN, "impostors=people") == 0
    found = place.results
    (one,) = found["sets"]
    assert found["recogniser"].startswith("embedded faces report ")
    assert found["scale"]["ceiling"] > 0.85
    assert found["scale"]["floor"] < 0.6
    assert one["frame1"] > 0.85
    assert one["rescaled"]["frame1"] == pytest.approx((one["frame1"] + 1) / 2, abs=1e-5)
    assert 0.8 < one["headline"] < 1.2
    interval = one["headline_interval"]
    assert interval["low"] <= interval["mean"] <= interval["high"]
    assert interval["mean"] == pytest.approx(one["headline"], abs=1e-5)
    draw(place.folder / "mixed", HERO, 3, 4, 5)
    assert place.run("frames=mixed", "references=references", "impostors=people") == 0
    (other,) = place.results["sets"]
    for name in ("frame1", "consistency", "likeness", "headline"):
        assert other[name] < one[name] - 0.2


def test_every_figure_follows_from_the_matrix_and_the_rows(place: Place) -> None:
    assert place.run(*GIVEN) == 0
    found = place.results
    (one,), rows = found["sets"], found["results"]
    matrix = np.array(one["matrix"])
    assert matrix == pytest.approx(matrix.T)
    assert np.diag(matrix) == pytest.approx(np.ones(4))
    later = matrix[1:, 1:][np.triu_indices(3, 1)]
    assert one["consistency"] == pytest.approx(later.mean(), abs=1e-5)
    assert one["frame1"] == pytest.approx(matrix[0, 1:].mean(), abs=1e-5)
    assert [row["frame1"] for row in rows][1:] == pytest.approx(list(matrix[0, 1:]), abs=1e-5)
    assert one["likeness"] == pytest.approx(np.mean([row["likeness"] for row in rows]), abs=1e-5)
    with (place.out / "frames.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["file"] for line in table] == [f"frame_{number}.png" for number in range(1, 5)]
    assert [float(line["likeness"]) for line in table] == [row["likeness"] for row in rows]
    assert table[0]["frame1"] == ""


def test_no_name_of_a_file_is_a_formula_in_the_table(place: Place) -> None:
    for name in ("=HYPERLINK(1)", "plain"):
        (place.folder / "sets" / name).mkdir(parents=True)
        for image in ("=cmd.png", "frame.png"):
            portrait(HERO, len(image)).save(place.folder / "sets" / name / image)
    assert place.run("frames=sets", "references=references") == 0, place.said
    with (place.out / "frames.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {row[0] for row in rows[1:]} == {"'=HYPERLINK(1)", "plain"}
    assert {row[2] for row in rows[1:]} == {"'=cmd.png", "frame.png"}
    # What programs read keeps the names.
    assert {row["file"] for row in place.results["results"]} == {"=cmd.png", "frame.png"}


def test_what_cannot_be_had_is_said_instead_of_made_up(place: Place) -> None:
    assert place.run(*GIVEN) == 0
    (one,) = place.results["sets"]
    assert (one["headline"], one["copy_paste"], place.results["scale"]["floor"]) == (None, None, None)
    assert any("impostors=FOLDER" in sentence for sentence in one["missing"])
    assert any("no conditioning image" in sentence for sentence in one["missing"])
    assert place.run(*GIVEN, "conditioning=frames/frame_1.png", "steps.measure.conditioned_from=2") == 0
    (one,) = place.results["sets"]
    assert one["copy_paste"] == pytest.approx(
        np.mean([row["copy_paste"] for row in place.results["results"][1:]]), abs=1e-5
    )


def test_a_second_run_measures_only_what_is_new(place: Place) -> None:
    draw(place.folder / "sets/one", HERO, HERO)
    draw(place.folder / "sets/two", HERO, 3)
    words = ("frames=sets", "references=references")
    assert place.run(*words) == 0
    assert "2 of 2 done" in place.said
    before = place.results
    draw(place.folder / "sets/three", 4, 4)
    assert place.run(*words) == 0
    assert "2 remembered" in place.said
    after = place.results
    assert [each["set"] for each in after["sets"]] == ["one", "three", "two"]
    assert [each for each in after["sets"] if each["set"] != "three"] == before["sets"]
    assert {name: value["mean"] for name, value in after["over_sets"].items() if isinstance(value, dict)}[
        "frame1"
    ] == pytest.approx(np.mean([each["frame1"] for each in after["sets"]]), abs=1e-5)
    # Another truth is another question.
    portrait(HERO, 77).save(place.folder / "references/frame_2.png")
    assert place.run(*words) == 0
    assert "remembered" not in place.said


def test_the_report_shows_each_frame_with_its_badge_and_the_similarities(place: Place, ledger: Ledger) -> None:
    two = Image.new("RGB", (128, 64))
    two.paste(portrait(HERO, 50), (0, 0))
    two.paste(portrait(4, 51), (64, 0))
    two.save(place.folder / "frames/frame_2.png")
    domain.empty_place("test", 3).save(place.folder / "frames/frame_3.png")
    # A third of the face's box lies beyond what is left of the image.
    whole = portrait(HERO, 52)
    recogniser = EmbeddedFaces(EmbeddedFacesSettings(pack="report"), calls(ledger))
    left, _, right, _ = recogniser.find(whole)[0].box
    whole.crop((round(left + (right - left) / 3), 0, 64, 64)).save(place.folder / "frames/frame_4.png")
    portrait(HERO, 53).save(place.folder / "frames/frame_10.png")
    assert place.run(*GIVEN) == 0
    (card,) = place.part["entries"]
    assert [still["caption"] for still in card["strip"]] == ["1", "2", "3", "4", "5"]
    assert [still["badge"]["kind"] for still in card["strip"]][:3] == ["face", "several", "no_face"]
    assert card["strip"][3]["badge"]["word"] == "face at the border"
    assert card["strip"][4]["facts"][0] == ["File", "frame_10.png"]
    assert card["strip"][2]["text"] == "nothing to measure"
    assert "the documents claim about 0.65 in simple and above 0.85 in reference mode" in card["subtitle"]
    run = place.out.parent
    for shown in [*card["strip"], *card["pictures"]]:
        with Image.open(run / shown["file"]) as image:
            assert image.width > 16
    heat = card["pictures"][0]
    assert "Cosines between frames, from" in heat["alt"]
    with Image.open(run / heat["file"]) as image:
        # Shades of grey alone.
        assert image.convert("L").convert("RGB").tobytes() == image.convert("RGB").tobytes()
    assert "the largest counts" in place.results["several_faces"]
    assert (run / "report.html").is_file()


def test_what_lies_beside_the_frames_is_named_and_a_broken_frame_fails_its_set(place: Place) -> None:
    draw(place.folder / "sets/good", HERO, HERO)
    (place.folder / "sets/good/notes.txt").write_text("mine")
    draw(place.folder / "sets/bad", HERO, HERO)
    broken = place.folder / "sets/bad/frame_2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    (place.folder / "sets/empty").mkdir()
    (place.folder / "sets/good/frame_2.png").rename(place.folder / "sets/good/frame_3.png")
    portrait(3, 9).save(place.folder / "references/frame_9.png")
    domain.empty_place("test", 3).save(place.folder / "references/nobody.png")
    assert place.run("frames=sets", "references=references") == 1
    found = place.results
    assert [each["set"] for each in found["sets"]] == ["good"]
    assert found["failed"][0]["set"] == "bad"
    assert "frame_2.png is cut off or corrupt" in found["failed"][0]["error"]
    assert "empty holds no image: it is left out" in found["notes"]
    assert "good: no frames, so left out: notes.txt" in found["notes"]
    assert any(note.startswith("good: its files do not have each number") for note in found["notes"])
    # Where references are called frame_1, frame_2 ..., only those are.
    assert not any("nobody" in note for note in found["notes"])
    assert place.part["warnings"] == found["notes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("frames=nowhere", "references=references"), "nowhere: no such folder"),
        (("frames=bare", "references=references"), "bare: no image there"),
        (("frames=frames", "references=bare"), "bare: no image there"),
        ((*GIVEN, "impostors=bare"), "bare: no image there"),
        ((*GIVEN, "conditioning=face.png"), "measure.conditioning = 'face.png': no such file"),
        ((*GIVEN, "steps.measure.conditioned_from=0"), "give 1 or more"),
        (("frames=frames", "references=faceless"), "no reference shows a face"),
        (("references=references",), "frames"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_advice(place: Place, words: tuple[str, ...], said: str) -> None:
    (place.folder / "bare").mkdir()
    (place.folder / "bare/readme.md").write_text("nothing here")
    (place.folder / "faceless").mkdir()
    domain.empty_place("test", 3).save(place.folder / "faceless/a.png")
    assert place.run(*words) == 2
    assert said in place.said
    assert "Traceback" not in place.said


def test_any_pictures_are_measured_by_opencv_too(place: Place) -> None:
    pytest.importorskip("onnx", reason="the stand-ins are made with it")
    detector, embedder = (
        write_yunet(place.folder / "y.onnx", side=320),
        write_sface(place.folder / "s.onnx"),
    )
    for folder in ("shots", "truth"):
        (place.folder / folder).mkdir()
        for number in range(3):
            image = Image.new("RGB", (320, 320), (10, 10, 200))
            image.paste((255, 0, 0), (128 + 32 * number, 160, 160 + 32 * number, 192))
            image.save(place.folder / folder / f"{folder}{number}.jpg", quality=95)
    own = (f"recogniser.detector={detector}", f"recogniser.embedder={embedder}", "recogniser.det_size=320")
    assert place.run("frames=shots", "references=truth", "recogniser=opencv", *own) == 0
    (one,) = place.results["sets"]
    assert place.results["recogniser"].startswith("opencv y s ")
    assert (one["detection_rate"], one["frames"]) == (1.0, 3)
    assert one["consistency"] > 0.99
    assert one["notes"] and "by construction" in one["notes"][0]


def test_a_recogniser_that_chose_the_frames_is_told(place: Place) -> None:
    assert place.run(*GIVEN) == 0
    measures = place.results["recogniser"]
    for chose, told in (("embedded faces choose 123", 0), (measures, 1), (f"{measures} det_size=64", 1)):
        (place.folder / "frames/metadata.json").write_text(json.dumps({"models": {"faces": chose}}))
        assert place.run(*GIVEN) == 0
        assert sum("would flatter them" in note for note in place.part["warnings"]) == told
    for nonsense in ("[]", '{"models": 3}', "{", '{"models": {"faces": ["x"]}}'):
        (place.folder / "frames/metadata.json").write_text(nonsense)
        assert place.run(*GIVEN) == 0
        assert not any("flatter" in note for note in place.part["warnings"])


@pytest.mark.parametrize("profile", ["embedded", "cloud", "gpu"])
def test_no_profile_measures_with_what_it_chooses_with(profile: str) -> None:
    composed = compose(locate("measure_face_consistency"), ["frames=x", "references=y", f"profile={profile}"])
    measures, chooses = composed["recogniser"], composed["face"]
    assert (measures.backend, measures.get("pack")) != (chooses.backend, chooses.get("pack"))


def test_doctor_says_what_is_missing(place: Place) -> None:
    assert main(["doctor", "measure_face_consistency", *GIVEN, "impostors=nobody"]) == 2
    said = place.output()
    assert "ok       frames frames" in said
    assert "MISSING  impostors nobody: give impostors=FOLDER, with images" in said
    assert "recogniser=embedded: weights as shipped" in said
