"""Storyboards as a step: combinations, what is written, what is found again, what is refused before anything is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.calls import Calls, Reply
from runner.errors import BadAnswer, Interrupted, MisconfiguredRun, UserError
from runner.ledger import Ledger
from runner.params import faults
from runner.recipe import compose, locate, resolve
from runner.stop import Stop
from steps.backends.protocols import Answer, Face, Question
from steps.library.captions import write_split
from steps.storyboard import DrawStoryboards
from steps.storyboard_params import StoryboardParams
from steps.studio.frames.setups import Sampling, seed_of
from tests.frames import (
    FACE,
    ScriptedClip,
    ScriptedFaces,
    ScriptedLanguage,
    ScriptedModel,
    coloured,
    shipped_weights,
    told_by,
    write_lora,
    write_scripted_lora,
    write_story,
)
from tests.library import context, tree
from tests.support import Engine, calls

pytest.importorskip("torch", reason="the models' packages are not installed")
POOR = 0.1


@dataclass
class Scene:
    """Scripted models over one folder; each run is a new one with the same outputs."""

    folder: Path
    ledger: Ledger
    diffusion: ScriptedModel = field(default_factory=ScriptedModel)
    clip: ScriptedClip = field(default_factory=ScriptedClip)
    faces: ScriptedFaces = field(default_factory=ScriptedFaces)
    language: ScriptedLanguage = field(default_factory=ScriptedLanguage)
    runs: int = 0
    fresh: bool = False

    def step(self, **params: Any) -> DrawStoryboards:
        self.runs += 1
        at = context(self.ledger, self.folder, self.folder / "data", run=f"run-{self.runs}")
        at = replace(at, fresh=self.fresh)
        self.ledger.flush()
        return DrawStoryboards(StoryboardParams(**params), at, self.diffusion, self.clip, self.faces, self.language)

    def run(self, **params: Any) -> dict[str, Any]:
        """Draw; returns results.json."""
        if "prompt" not in params:
            params.setdefault("story", str(self.story))
        step, engine = self.step(**params), Engine(self.folder, workers=3)
        engine.run(step, run=f"run-{self.runs}", fresh=self.fresh)
        self.counts, self.said = engine.counts, engine.output.getvalue()
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def out(self) -> Path:
        return self.folder / f"run-{self.runs}" / "step"

    @property
    def story(self) -> Path:
        return write_story(self.folder / "fair.yaml")

    @property
    def lora(self) -> str:
        return str(write_scripted_lora(self.folder / "lora"))

    def metadata(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / key / "metadata.json").read_text())
        return found


@pytest.fixture
def scene(tmp_path: Path, ledger: Ledger) -> Scene:
    return Scene(tmp_path, ledger)


def test_every_combination_is_a_storyboard(scene: Scene) -> None:
    other = write_story(scene.folder / "other.yaml", scenes=2)
    found = scene.run(story=[str(scene.story), str(other)], mode=["baseline", "simple"], seed=[3, 4], lora=scene.lora)
    names = [board["storyboard"] for board in found["storyboards"]]
    assert names == [
        f"{story}-{mode}-{seed}" for story in ("fair", "other") for mode in ("baseline", "simple") for seed in (3, 4)
    ]
    assert len(found["results"]) == 4 * 3 + 4 * 2
    for row in found["results"]:
        assert (scene.out / row["file"]).is_file()
        assert row["drawn_as"] == row["mode"]
    # Each pipeline is loaded once for all of them.
    assert sorted(scene.diffusion.loaded) == [(), ()]


def test_scales_are_listed_for_the_modes_that_have_the_part(scene: Scene) -> None:
    found = scene.run(
        mode=["baseline", "simple", "adapter", "reference"],
        lora=scene.lora,
        lora_scale=[0.5, 1],
        adapter_scale=[0.3, 0.6],
        reference="frame_1",
    )
    scales = {board["storyboard"]: (board["lora_scale"], board["adapter_scale"]) for board in found["storyboards"]}
    assert scales == {
        "fair-baseline-0": (None, None),
        "fair-simple-0-lora0.5": (0.5, None),
        "fair-simple-0-lora1": (1.0, None),
        "fair-adapter-0-adapter0.3": (None, 0.3),
        "fair-adapter-0-adapter0.6": (None, 0.6),
        "fair-reference-0-lora0.5-adapter0.3": (0.5, 0.3),
        "fair-reference-0-lora0.5-adapter0.6": (0.5, 0.6),
        "fair-reference-0-lora1-adapter0.3": (1.0, 0.3),
        "fair-reference-0-lora1-adapter0.6": (1.0, 0.6),
    }
    assert all((row["lora_scale"], row["adapter_scale"]) == scales[row["storyboard"]] for row in found["results"])
    # One of them alone is the same storyboard, under its short name; a mode without the part does not mind.
    drawn = len(scene.diffusion.calls)
    again = scene.run(mode=["baseline", "simple"], lora=scene.lora, lora_scale=0.5, adapter_scale=0.1)
    assert [board["storyboard"] for board in again["storyboards"]] == ["fair-baseline-0", "fair-simple-0"]
    assert len(scene.diffusion.calls) == drawn


@pytest.mark.parametrize("scale", [[], [0.5, 3], -1, "strong", True, None])
def test_a_scale_is_a_number_or_a_list_of_them(scale: Any) -> None:
    for name in ("lora_scale", "adapter_scale"):
        [fault] = faults("steps.storyboard", StoryboardParams(**{name: scale}))
        assert fault.startswith(f"steps.storyboard.{name} = {scale!r} is not allowed: give a number from 0 to 2")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=[0,1]", r"seed: .*; steps.storyboard.seed is another key, and may take it"),
        ("width=64", r"width is no key of this recipe: did you mean steps.storyboard.width\?"),
        ("steps=5", r"a parameter of a step is steps.LABEL.NAME=VALUE"),
    ],
)
def test_what_is_a_parameter_of_the_step_is_told_where_it_goes(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve(locate("storyboard"), compose(locate("storyboard"), [override]))


def test_results_say_how_a_storyboard_was_drawn(scene: Scene) -> None:
    scene.clip.script = {(2, 0): POOR}
    began = datetime.now(UTC).replace(microsecond=0)
    found = scene.run(mode=["simple", "reference"], lora=scene.lora, retries=1, threshold=0.6, steps=3, trigger="zork")
    simple, board = found["storyboards"]
    assert (simple["reference"], simple["reference_source"], simple["adapter_scale"]) == (None, None, None)
    assert (board["reference"], board["reference_source"]) == ("reference.png", "frame 1")
    assert (scene.out / board["folder"] / board["reference"]).is_file()
    assert (board["retries"], board["threshold"], board["lora_scale"], board["adapter_scale"]) == (1, 0.6, 1.0, 0.6)
    assert board["sampling"] == asdict(Sampling(3, 3.0, 16, 16))
    file = Path(scene.lora) / "pytorch_lora_weights.safetensors"
    assert board["lora"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert began <= datetime.fromisoformat(board["drawn_at"]) <= datetime.now(UTC)
    assert board["memory_of"] == "process"
    assert 10 * 2**20 < board["peak_memory_bytes"] < 2**40
    assert board["character"] == "zork"
    row = next(row for row in found["results"] if (row["mode"], row["frame"]) == ("reference", 2))
    assert row["first_file"] == "fair-reference-0/attempts/frame_2_attempt_0.png"
    with Image.open(scene.out / row["first_file"]) as first:
        assert told_by(first) == (2, 0)
    assert (row["first_cosine"], row["first_score"], row["cosine"]) == (0.1, 0.25, 0.4)
    again = scene.run(
        mode="reference", lora=scene.lora, retries=1, threshold=0.6, steps=3, trigger="zork", character="Zork"
    )["storyboards"][0]
    assert again == {**board, "character": "Zork"}


def test_seconds_cost_what_the_device_costs_when_it_is_asked(scene: Scene) -> None:
    unknown = scene.run(mode="baseline")
    assert (unknown["storyboards"][0]["usd"], unknown["usd"]) == (None, 0.0)
    scene.diffusion.gpu_usd_per_hour = 3600.0
    drawn = len(scene.diffusion.calls)
    board = scene.run(mode="baseline")["storyboards"][0]
    assert len(scene.diffusion.calls) == drawn
    assert board["usd"] == pytest.approx(sum(board["seconds"].values()), abs=1e-3)


@dataclass
class PaidLanguage(ScriptedLanguage):
    """One whose calls cost, the first of which brings nothing."""

    made: Calls | None = None

    def ask(self, question: Question) -> Answer:
        assert self.made is not None

        def send() -> Reply[Answer]:
            if not self.asked:
                self.asked.append(question)
                cut = BadAnswer("cut off")
                cut.usd = 0.25
                raise cut
            return Reply(super(PaidLanguage, self).ask(question), usd=0.5)

        return self.made.make(send, estimate=1.0)


def test_what_breaking_a_tale_down_cost_is_told_once_and_for_good(scene: Scene) -> None:
    scene.language = PaidLanguage(made=calls(scene.ledger))
    tale = "A rider tricks a merchant, and laughs."
    found = scene.run(story=[tale, str(scene.story)], mode=["baseline", "simple"], lora=scene.lora)
    name = found["storyboards"][0]["story"]
    assert found["stories"] == [{"story": name, "language_usd": 0.75}, {"story": "fair", "language_usd": 0.0}]
    assert (found["language_usd"], found["usd"]) == (0.75, 0.75)
    scene.diffusion.gpu_usd_per_hour = 3600.0
    found = scene.run(story=tale, mode="baseline")
    assert len(scene.language.asked) == 2
    assert found["language_usd"] == 0.75
    assert found["usd"] == pytest.approx(0.75 + found["storyboards"][0]["usd"])


def test_what_fell_back_for_want_of_memory_is_tried_again_by_a_later_run(scene: Scene) -> None:
    params: dict[str, Any] = {"mode": "reference", "lora": scene.lora}
    scene.diffusion.room = lambda adapter: 0 if adapter else 9
    first = scene.run(**params)
    assert first["storyboards"][0]["drawn_as"] == "simple"
    kept = {name: data for name, data in tree(scene.out / "fair-reference-0").items() if name.endswith(".png")}
    # As short as before: what was drawn stays the answer.
    second = scene.run(**params)
    assert second["storyboards"] == first["storyboards"]
    scene.diffusion.room = lambda _adapter: 9
    third = scene.run(**params)
    assert third["storyboards"][0]["drawn_as"] == "reference"
    assert {row["drawn_as"] for row in third["results"]} == {"reference"}
    drawn = len(scene.diffusion.calls)
    assert scene.run(**params)["storyboards"] == third["storyboards"]
    assert len(scene.diffusion.calls) == drawn
    # What the first run shows is what it drew.
    before = scene.folder / "run-1" / "step" / "fair-reference-0"
    assert {name: data for name, data in tree(before).items() if name.endswith(".png")} == kept


def test_a_storyboard_without_a_face_is_not_tried_again(scene: Scene) -> None:
    scene.faces.script = dict.fromkeys([(1, 0), (1, 1), (1, 2)], ())
    scene.run(mode="reference", lora=scene.lora)
    drawn = len(scene.diffusion.calls)
    assert scene.run(mode="reference", lora=scene.lora)["storyboards"][0]["drawn_as"] == "simple"
    assert len(scene.diffusion.calls) == drawn


def test_fresh_draws_anew_and_leaves_what_was_there_whole(scene: Scene) -> None:
    scene.run(mode="baseline")
    before, drawn = (scene.out / "fair-baseline-0").resolve(), len(scene.diffusion.drawn)
    kept = tree(before)
    scene.fresh = True
    scene.run(mode="baseline")
    assert len(scene.diffusion.drawn) == drawn + 1
    now = (scene.out / "fair-baseline-0").resolve()
    assert now != before
    assert tree(before) == kept
    # Given again, the same run draws no more, nor does a later one that is not fresh.
    scene.runs -= 1
    scene.run(mode="baseline")
    scene.fresh = False
    scene.run(mode="baseline")
    assert len(scene.diffusion.drawn) == drawn + 1
    assert (scene.out / "fair-baseline-0").resolve() == now


def test_a_storyboard_holds_all_that_is_known_of_it(scene: Scene) -> None:
    scene.clip.script = {(2, 0): POOR, (2, 1): 0.3}
    scene.diffusion.gpu_usd_per_hour = 3600.0
    scene.diffusion.device = "cuda"
    found = scene.run(mode="reference", lora=scene.lora, trigger="zork man", seed=0)
    folder = scene.out / "fair-reference-0"
    there = {path.name for path in folder.iterdir()}
    assert there >= {"frame_1.png", "frame_3.png", "reference.png", "contact_sheet.png", "metadata.json", "attempts"}
    about = scene.metadata("fair-reference-0")
    assert about["models"] == {"diffusion": "scripted diffusion", "clip": "scripted clip", "faces": "scripted faces"}
    assert about["gate"] == {
        "threshold": 0.7,
        "face_score": 0.7,
        "prefix": "A photo depicts",
        "encoder": "scripted clip",
    }
    assert about["lora"]["sha256"] is not None
    assert about["reference"]["source"] == "frame 1"
    assert set(about["effects"]) == {"LoRA", "IP-Adapter", "ControlNet"}
    assert set(about["seconds"]) == {"load", "sample", "score", "retry"}
    second = about["frames"][1]
    assert second["prompt"] == "a wide shot of zork man, waving, in place 2"
    assert second["text"] == "A photo depicts a wide shot of a person, waving, in place 2"
    assert (second["tokens"], second["cut"], second["prompt_cut"]) == (15, False, False)
    assert [each["seed"] for each in second["attempts"]] == [seed_of(0, 2, 0), seed_of(0, 2, 1)]
    assert [each["score"] for each in second["attempts"]] == [0.25, 0.75]
    with Image.open(folder / "frame_2.png") as kept:
        assert told_by(kept) == (2, 1)
    row = found["results"][1]
    assert (row["attempt"], row["attempts"], row["first_score"], row["score"]) == (1, 2, 0.25, 0.75)
    assert (row["passed"], row["face_found"], row["null_percentile"]) == (True, True, 50.0)
    board = found["storyboards"][0]
    assert found["usd"] == pytest.approx(sum(board["seconds"].values()), abs=0.01)
    assert all("zork" not in text for text in scene.clip.asked)


def test_the_report_has_a_card_with_the_frames_in_order(scene: Scene) -> None:
    scene.clip.script = dict.fromkeys([(2, 0), (2, 1), (2, 2)], POOR)
    scene.run(mode="baseline")
    part = json.loads((scene.out / "report.json").read_text())
    assert part["headline"] == "1 storyboard with 3 frames drawn, 2 pass the gate."
    card = part["entries"][0]
    assert card["badge"]["word"] == "2 of 3 frames pass"
    assert [still["caption"] for still in card["strip"]] == ["1", "2", "3"]
    assert [still["badge"]["kind"] for still in card["strip"]] == ["passed", "below", "passed"]
    assert [len(still["tries"]) for still in card["strip"]] == [0, 2, 0]
    assert card["strip"][1]["tries"][0]["file"] == "step/fair-baseline-0/attempts/frame_2_attempt_1.png"


def test_what_was_drawn_is_found_again_by_all_that_it_depends_on(scene: Scene) -> None:
    scene.run(mode=["baseline", "simple"], lora=scene.lora)
    drawn = len(scene.diffusion.calls)
    scene.run(mode=["baseline", "simple"], lora=scene.lora)
    assert len(scene.diffusion.calls) == drawn
    assert (scene.out / "fair-simple-0/frame_1.png").is_file()
    scene.run(mode="baseline", lora=scene.lora, trigger="somebody")
    assert len(scene.diffusion.calls) > drawn
    drawn = len(scene.diffusion.calls)
    lora = Path(scene.lora)
    file = lora / "pytorch_lora_weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    scene.run(mode=["baseline", "simple"], lora=str(lora))
    # The LoRA's content counts, where there is one.
    assert len(scene.diffusion.drawn[-1]) == 3
    assert scene.diffusion.calls[-1]["parts"] == ("character",)


def test_a_tale_is_broken_down_once_for_all_modes_seeds_and_runs(scene: Scene) -> None:
    tale = "A rider tricks a merchant, and laughs."
    found = scene.run(story=tale, mode=["baseline", "simple"], seed=[0, 1], lora=scene.lora, hero="Aldar", count=6)
    scene.run(story=tale, mode="baseline", seed=5, hero="Aldar", count=6)
    assert len(scene.language.asked) == 1
    assert dict(scene.language.asked[0].facts)["who"] == "Aldar"
    assert {row["prompt"] for row in found["results"]} == {f"Aldar Kose in scene {number}" for number in range(1, 7)}
    assert found["storyboards"][0]["title"] == "A told tale"
    assert found["storyboards"][0]["story"].startswith("a_rider_tricks_a_merchant_")


def test_a_prompt_is_one_frame_in_any_mode(scene: Scene) -> None:
    found = scene.run(prompt="a portrait of {who} and zork, in snow", trigger="zork", mode="baseline", seed=[1, 2])
    assert [row["storyboard"] for row in found["results"]] == ["prompt-baseline-1", "prompt-baseline-2"]
    assert found["results"][0]["prompt"] == "a portrait of zork and zork, in snow"
    assert found["results"][0]["text"] == "A photo depicts a portrait of a person and the person, in snow"
    assert found["results"][0]["null_percentile"] is None
    face = scene.folder / "face.png"
    coloured(9).save(face)
    scene.run(prompt="{who} rides", mode="reference", lora=scene.lora, reference=str(face), gesture="riding")
    last = scene.diffusion.calls[-1]
    assert last["parts"] == ("pose", "adapter", "character")
    assert last["image"][0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"mode": "simple"}, "step.lora = null is not allowed with mode=simple: give a LoRA's folder"),
        ({"mode": ["baseline", "reference"]}, "not allowed with mode=reference"),
        ({"mode": "simple", "lora": "nowhere"}, "nowhere: no LoRA there"),
        ({"mode": "baseline", "story": "no_such_story"}, "none of this name is shipped"),
        ({"mode": "baseline", "story": "gone.yaml"}, "gone.yaml: no such story file"),
        ({"mode": "baseline", "prompt": "a man"}, "give either step.story or step.prompt"),
        ({"mode": "baseline", "story": None, "prompt": " "}, "step.prompt is empty"),
    ],
)
def test_what_can_be_seen_to_fail_is_said_before_anything_is_drawn(
    scene: Scene, params: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        scene.step(**{"story": str(scene.story), **params}).items()
    assert scene.diffusion.loaded == []


def test_a_story_without_scenes_is_refused_with_its_place(scene: Scene) -> None:
    path = scene.folder / "empty.yaml"
    path.write_text("title: Nothing happens\nscenes: []\n")
    with pytest.raises(UserError, match=r"empty.yaml.*/scenes"):
        scene.step(story=str(path), mode="baseline").items()


def test_a_hostile_lora_is_refused_before_anything_is_drawn(scene: Scene) -> None:
    path = scene.folder / "evil.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="header claims 1,099,511,627,776 bytes"):
        scene.step(story=str(scene.story), mode="simple", lora=str(path)).items()


def test_what_cannot_be_drawn_apart_or_found_is_told_before_anything_is_drawn(scene: Scene) -> None:
    (scene.folder / "b").mkdir()
    two = [str(scene.story), str(write_story(scene.folder / "b" / "fair.yaml"))]
    with pytest.raises(UserError, match="two stories are named 'fair': rename a file"):
        scene.step(story=two, mode="baseline").items()
    with pytest.raises(UserError, match=r"reference = 'nobody.png': no such file: give an image with a face"):
        scene.step(story=str(scene.story), mode="adapter", reference="nobody.png").items()


def test_doctor_hears_what_a_storyboard_needs(scene: Scene) -> None:
    def told(**params: Any) -> list[tuple[str, bool, str]]:
        needs = DrawStoryboards.needs(StoryboardParams(**params), scene.folder / "data")
        return [(need.what, need.met, need.advice) for need in needs]

    story, lora = str(scene.story), scene.lora
    assert told(story=story, mode="baseline", reference="nobody.png") == [(f"story {story}", True, "")]
    assert told(prompt="a tale", mode=["simple"], lora=lora) == [(f"LoRA {lora}", True, "")]
    assert told(story=["A tale of two.", "gone.yaml"], mode="baseline")[0][:2] == ("story gone.yaml", False)
    missing, reference = told(prompt="{who}", mode=["baseline", "reference"], reference="nobody.png")
    assert missing[:2] == ("LoRA", False)
    assert "not allowed with mode=reference: give a LoRA's folder" in missing[2]
    assert reference[:2] == ("reference nobody.png", False)
    assert told(prompt="{who}", mode="adapter", reference="training")[0][1] is False
    train_on(scene.folder / "data")
    assert told(prompt="{who}", mode="adapter", reference="training") == [("reference training", True, "")]


def test_what_is_scored_never_says_the_trigger_also_where_a_scene_spells_it_out(scene: Scene) -> None:
    path = scene.folder / "named.yaml"
    path.write_text(
        "title: Named\nscenes:\n"
        '  - {text: "a portrait of {who}, at the market", shot: portrait}\n'
        '  - {text: "a medium shot of {who}, waving to aldar kose\'s horse", shot: half}\n'
    )
    rows = scene.run(story=str(path), mode="baseline", trigger="Aldar Kose")["results"]
    assert len(rows) == 2
    assert not any("aldar" in row["text"].lower() for row in rows)
    assert "aldar kose's horse" in rows[1]["prompt"]


def test_missing_weights_end_the_run_with_what_fetches_them(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_self: ScriptedClip) -> None:
        raise UserError("clip is not here: fetch it with: hf download clip")

    monkeypatch.setattr(ScriptedClip, "prepare", missing)
    with pytest.raises(UserError, match="fetch it with: hf download clip"):
        scene.step(story=str(scene.story), mode="baseline").items()


def test_a_lora_without_effect_stops_the_run(scene: Scene) -> None:
    scene.diffusion.effect = 0.0
    with pytest.raises(MisconfiguredRun, match=r"the LoRA \(.*lora.*\) changes nothing"):
        scene.run(mode="simple", lora=scene.lora)
    assert scene.diffusion.drawn == []
    assert scene.run(mode="simple", lora=scene.lora, lora_scale=0.0)["results"]


@pytest.mark.parametrize(("trigger", "warned"), [("aldar kose", 0), ("zork", 1), (None, 0)])
def test_a_lora_that_was_taught_another_name_is_said(scene: Scene, trigger: str | None, warned: int) -> None:
    scene.run(
        mode="simple", lora=str(write_scripted_lora(scene.folder / "taught", trigger)), trigger="Aldar Kose, a man"
    )
    warnings = json.loads((scene.out / "report.json").read_text())["warnings"]
    assert len(warnings) == warned
    assert all("was trained on 'zork', and step.trigger is 'Aldar Kose, a man'" in said for said in warnings)


def test_one_that_does_not_fit_fails_alone(scene: Scene) -> None:
    # Frames of 16 pixels fit with an adapter alone: a story that is told without one fails.
    scene.diffusion.room = lambda adapter: 9 if adapter else 0
    face = scene.folder / "face.png"
    coloured(9).save(face)
    found = scene.run(mode=["baseline", "adapter"], reference=str(face))
    assert [board["mode"] for board in found["storyboards"]] == ["adapter"]
    assert found["failed"][0]["storyboard"] == "fair-baseline-0"
    assert "give a smaller width and height" in found["failed"][0]["error"]
    assert scene.counts == {"done": 1, "failed": 1}


def train_on(data: Path, count: int = 3) -> None:
    """A training set whose first image is held out."""
    (data / "images").mkdir(parents=True)
    for number in range(count):
        coloured(200 + number).save(data / "images" / f"{number}.png")
    write_split(data / "split.json", {"0": "holdout", "1": "train", "2": "train"})


def test_the_adapters_face_is_a_training_image_that_was_not_held_out(scene: Scene) -> None:
    train_on(scene.folder / "data")
    found = scene.run(mode="adapter")
    assert "the reference is the face in training image 1.png" in found["storyboards"][0]["notes"]
    assert scene.diffusion.calls[-1]["ip_adapter_image_embeds"][0].flatten().tolist()[-1] == 201
    # Another training image is another storyboard.
    drawn = len(scene.diffusion.calls)
    coloured(99).save(scene.folder / "data/images/1.png")
    scene.run(mode="adapter")
    assert len(scene.diffusion.calls) > drawn


def test_without_training_images_the_adapters_face_is_that_of_a_plain_first_frame(scene: Scene) -> None:
    found = scene.run(mode="adapter")
    notes = found["storyboards"][0]["notes"]
    assert "no face was given: the reference is that of frame 1, which was drawn in mode 'baseline'" in notes
    assert "the reference is the face in frame 1" in notes


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nobody.png", "no face was found there"),
        ("training", "no face was found"),
    ],
)
def test_a_reference_that_cannot_be_used_stops_the_run(scene: Scene, wanted: str, said: str) -> None:
    scene.faces.elsewhere = ()
    coloured(9).save(scene.folder / "nobody.png")
    train_on(scene.folder / "data")
    reference = wanted if wanted == "training" else str(scene.folder / wanted)
    with pytest.raises(MisconfiguredRun, match=said):
        scene.run(mode="adapter", reference=reference)


def test_no_face_is_said_in_results_and_report(scene: Scene) -> None:
    scene.faces.script = dict.fromkeys([(1, 0), (1, 1), (1, 2)], ())
    found = scene.run(mode="reference", lora=scene.lora)
    board = found["storyboards"][0]
    assert board["drawn_as"] == "simple"
    assert "no face was found in frame 1, which is to show it" in board["notes"]
    assert [row["drawn_as"] for row in found["results"]] == ["reference", "simple", "simple"]
    part = json.loads((scene.out / "report.json").read_text())
    assert part["warnings"] == ["fair-reference-0: drawn in mode 'simple'"]


def test_frame_1_must_show_a_clear_face(scene: Scene) -> None:
    smeared = replace(FACE, score=0.69)
    scene.faces.script = {(1, 0): [smeared], (2, 0): [smeared]}
    found = scene.run(mode="baseline")
    assert [(row["attempt"], row["face"]) for row in found["results"]] == [(1, 0.9), (0, 0.69), (0, 0.9)]
    assert found["storyboards"][0]["face_score"] == 0.7
    scene.faces.script = dict.fromkeys([(1, 0), (1, 1), (1, 2)], (smeared,))
    found = scene.run(mode="baseline", seed=0, trigger="zork")
    assert [row["passed"] for row in found["results"]] == [False, True, True]
    assert (
        "the face in frame 1 is not clear: the detector is 0.69 sure of it, and 0.7 is asked for"
        in found["storyboards"][0]["notes"]
    )
    assert scene.run(mode="baseline", trigger="zork", face_score=0.6)["results"][0]["passed"]


def test_scenes_too_long_for_the_models_are_named(scene: Scene) -> None:
    scene.clip.limit = 12
    notes = scene.run(mode="baseline")["storyboards"][0]["notes"]
    assert (
        "the texts of frames [1, 2, 3] are too long for CLIP, which read their beginning: shorten the scenes" in notes
    )


def test_stopped_within_a_storyboard_it_goes_on(scene: Scene) -> None:
    whole = Scene(scene.folder / "whole", scene.ledger)
    whole.folder.mkdir()
    params: dict[str, Any] = {"mode": "reference", "lora": scene.lora, "batch": 1}
    whole.run(**params)
    stop, step = Stop(), scene.step(story=str(scene.story), **params)

    def stop_halfway(_item: str, done: int, _total: int, _extra: str) -> None:
        if done == 2:
            stop.request(Interrupted("now"))

    step._context.__dict__.update(progress=stop_halfway, stop=stop)
    with pytest.raises(Interrupted):
        Engine(scene.folder).run(step, run="run-1", stop=stop)
    assert 0 < len(scene.diffusion.drawn) < 3
    scene.run(**params)
    assert scene.diffusion.drawn == whole.diffusion.drawn
    one, other = (tree(each.out / "fair-reference-0") for each in (scene, whole))
    assert {name: one[name] for name in one if name.endswith(".png")} == {
        name: other[name] for name in other if name.endswith(".png")
    }


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_mode_draws_with_the_embedded_models(scene: Scene, tmp_path: Path) -> None:
    folder = shipped_weights()
    from steps.backends import embedded_models as embedded

    asked = calls(scene.ledger)
    models: Sequence[Any] = (
        embedded.EmbeddedDiffusion(embedded.EmbeddedDiffusionSettings(folder=str(folder)), asked),
        embedded.EmbeddedClip(embedded.EmbeddedClipSettings(folder=str(folder), threshold=0.0), asked),
        _SomeFaces(),
    )
    scene.diffusion, scene.clip, scene.faces = models
    modes = ["baseline", "simple", "adapter", "reference"]
    found = scene.run(mode=modes, lora=str(write_lora(tmp_path / "real")), steps=2, retries=0, face_score=0)
    assert len(found["results"]) == 12
    frames = {(row["mode"], row["frame"]): _pixels(scene.out / row["file"]) for row in found["results"]}
    assert all(frame.shape == (64, 64, 3) for frame in frames.values())
    # The first frame of the reference mode is the LoRA's, that of the adapter mode the plain one; the others are nobody else's.
    assert np.abs(frames["reference", 1] - frames["simple", 1]).max() <= 1
    assert np.abs(frames["adapter", 1] - frames["baseline", 1]).max() <= 1
    third = [frames[mode, 3] for mode in modes]
    assert all(np.abs(one - other).max() > 1 for one in third for other in third if one is not other)
    assert "embedded diffusion" in scene.metadata("fair-reference-0")["models"]["diffusion"]


class _SomeFaces(ScriptedFaces):
    """A face in the middle of every picture, whatever it shows: untrained weights draw none."""

    def find(self, image: Image.Image) -> list[Face]:
        return [Face((16.0, 16.0, 48.0, 48.0), 0.9, np.ones(4, np.float32) / 2)]

    def reference(self, image: Image.Image, face: Face) -> Image.Image:
        return image.crop((16, 16, 48, 48)).resize((64, 64))


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int16)
