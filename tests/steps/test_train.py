"""Train: from captioned images to a LoRA in a folder, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Interrupted, ItemError, MisconfiguredRun, UserError
from runner.ledger import Ledger
from runner.step import StepContext
from steps.studio.lora.reading import WEIGHTS, read_lora
from steps.studio.lora.trained import Trained
from steps.train import Train, TrainParams
from tests.library import context
from tests.support import Engine, calls
from tests.tiny_models import BrightFaces, LetterClip, TinyDiffusion
from tests.training_set import TRIGGER, draw_set, needs_weights

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
# Six steps with a checkpoint at each second one; what is drawn is not looked at.
SHORT: dict[str, Any] = {
    "trigger": TRIGGER,
    "max_steps": 6,
    "batch": 2,
    "checkpoint_every": 2,
    "validate_every": 1,
    "samples": 1,
    "rank": 2,
    "schedule": "cosine",
    "warmup_steps": 1,
    "noise_offset": 0.05,
    # The same on every machine.
    "precision": "float32",
}
Progress = Callable[[str, int, int, str], None]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_set(tmp_path / "data")


class Bench:
    """A folder in which the step is run, as often as one likes."""

    def __init__(self, folder: Path, data: Path, ledger: Ledger) -> None:
        self.folder, self.data, self.ledger = folder, data, ledger
        folder.mkdir(exist_ok=True)

    def step(self, around: StepContext | None = None, **params: Any) -> Train:
        around = around or self.context()
        return Train(TrainParams(**{**SHORT, **params}), around, TinyDiffusion(1.29), LetterClip(), BrightFaces())

    def context(self, progress: Progress | None = None) -> StepContext:
        found = context(self.ledger, self.folder, self.data)
        return found if progress is None else replace(found, progress=progress)

    def train(self, around: StepContext | None = None, **params: Any) -> Trained:
        step = self.step(around, **params)
        (item,) = step.items()
        return step.process(item.value)

    @property
    def lora(self) -> Path:
        return self.folder / "run-1" / "step" / "lora"

    @property
    def artifact(self) -> Path:
        (found,) = (self.folder / "artifacts" / "train").iterdir()
        return found


@pytest.fixture
def bench(tmp_path: Path, data: Path, ledger: Ledger) -> Bench:
    return Bench(tmp_path / "work", data, ledger)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Trained]]:
    """What a training that nothing happens to leaves behind."""
    folder = tmp_path_factory.mktemp("unbroken")
    with Ledger(folder / "ledger.sqlite") as ledger:
        bench = Bench(folder / "work", draw_set(folder / "data"), ledger)
        yield bench, bench.train()


def measured(folder: Path) -> list[list[str]]:
    """training_metrics.csv without what hangs on the clock and the machine."""
    with (folder / "training_metrics.csv").open() as file:
        return [row[:5] for row in csv.reader(file)]


def same(bench: Bench, found: Trained, unbroken: tuple[Bench, Trained]) -> None:
    """Bit for bit what an unbroken training gives."""
    other, expected = unbroken
    assert found.digests == expected.digests
    assert found.checkpoints == expected.checkpoints
    assert measured(bench.lora) == measured(other.lora)
    assert sorted(path.name for path in bench.artifact.iterdir()) == sorted(
        path.name for path in other.artifact.iterdir()
    )


def test_a_training_leaves_what_the_document_promises(unbroken: tuple[Bench, Trained]) -> None:
    bench, found = unbroken
    assert sorted(path.name for path in bench.lora.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-final",
    ]
    for checkpoint in bench.lora.glob("checkpoint-*"):
        assert read_lora(checkpoint).state
        assert {path.suffix for path in checkpoint.iterdir()} == {".json", ".safetensors"}
    rows = measured(bench.lora)
    assert rows[0] == ["step", "loss", "validation_loss", "learning_rate", "gradient_norm"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert all(float(value) >= 0 for row in rows[1:] for value in row)
    assert [score.checkpoint for score in found.checkpoints] == ["checkpoint-2", "checkpoint-4", "checkpoint-final"]
    assert all(len(score.samples) == 1 for score in found.checkpoints)
    assert all((bench.lora / score.samples[0].file).is_file() for score in found.checkpoints)
    assert sorted(path.name for path in (bench.lora / "best").iterdir()) == ["kohya", "peft", WEIGHTS]
    assert found.images == (6, 2)
    assert (bench.lora / "loss.svg").read_text().startswith("<svg")


def test_the_lora_works_where_it_is_linked(unbroken: tuple[Bench, Trained]) -> None:
    bench, _ = unbroken
    pipeline = TinyDiffusion().load()
    options: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np", "prompt": TRIGGER}

    def draw() -> Any:
        return pipeline(generator=torch.Generator().manual_seed(0), **options).images

    plain = draw()
    pipeline.load_lora_weights(dict(read_lora(bench.lora / "best").state))
    assert abs(draw() - plain).max() > 0
    pipeline.unload_lora_weights()
    assert abs(draw() - plain).max() == 0


def test_the_second_time_it_is_there(unbroken: tuple[Bench, Trained]) -> None:
    bench, found = unbroken
    before = {path: path.stat().st_mtime_ns for path in bench.artifact.rglob("*")}
    assert bench.train() == found
    assert {path: path.stat().st_mtime_ns for path in bench.artifact.rglob("*")} == before


class Killed(BaseException):
    """As if the process had gone."""


@pytest.mark.parametrize("at", [1, 3, 6])
def test_killed_it_goes_on_as_if_nothing_had_been(bench: Bench, unbroken: tuple[Bench, Trained], at: int) -> None:
    def kill(item: str, done: int, _total: int, _extra: str) -> None:
        if item == "lora" and done == at:
            raise Killed

    with pytest.raises(Killed):
        bench.train(bench.context(kill))
    same(bench, bench.train(), unbroken)


def test_stopped_it_keeps_the_step_that_it_was_at(bench: Bench, unbroken: tuple[Bench, Trained]) -> None:
    around = bench.context()

    def stop(item: str, done: int, _total: int, _extra: str) -> None:
        if item == "lora" and done == 3:
            around.stop.request(Interrupted("SIGTERM"))

    with pytest.raises(Interrupted):
        bench.train(replace(around, progress=stop))
    assert (bench.artifact / "checkpoint-3" / "checkpoint.json").is_file()
    assert len(measured(bench.artifact)) == 4
    steps: list[int] = []
    found = bench.train(
        bench.context(lambda item, done, _total, _extra: steps.append(done) if item == "lora" else None)
    )
    assert steps == [4, 5, 6]
    # The checkpoint of the stop has gone.
    same(bench, found, unbroken)


def interrupted(bench: Bench, after: int, **params: Any) -> None:
    """Leave a training that was killed after a step."""

    def kill(item: str, done: int, _total: int, _extra: str) -> None:
        if item == "lora" and done == after:
            raise Killed

    with pytest.raises(Killed):
        bench.train(bench.context(kill), **params)


@pytest.mark.parametrize("file", ["pytorch_lora_weights.safetensors", "training_state.safetensors", "checkpoint.json"])
def test_a_corrupt_checkpoint_is_passed_over_and_named(
    bench: Bench, unbroken: tuple[Bench, Trained], file: str
) -> None:
    interrupted(bench, after=5)
    path = bench.artifact / "checkpoint-4" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found = bench.train()
    same(bench, found, unbroken)
    assert any("checkpoint-4" in said and "the one before is used" in said for said in found.warnings)


def test_without_any_whole_checkpoint_it_begins_anew(bench: Bench, unbroken: tuple[Bench, Trained]) -> None:
    interrupted(bench, after=3)
    (bench.artifact / "checkpoint-2" / "checkpoint.json").unlink()
    same(bench, bench.train(), unbroken)


def test_old_checkpoints_go_and_the_best_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from steps.evaluating import Evaluator

    likeness = iter([0.1, 0.9, 0.2, 0.3, 0.4, 0.5])
    monkeypatch.setattr(Evaluator, "_likeness", lambda *_: next(likeness))
    found = bench.train(checkpoint_every=1, keep_checkpoints=1)
    assert sorted(path.name for path in bench.lora.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-final"]
    assert found.best.checkpoint == "checkpoint-2"
    assert "most like the references: 0.900" in found.best.reason
    assert len(found.checkpoints) == 6
    one, other = (read_lora(bench.lora / place).state for place in ("best", "checkpoint-2"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_without_a_face_anywhere_the_validation_loss_decides(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrightFaces, "find", lambda *_: [])
    found = bench.train()
    losses = {score.checkpoint: score.validation_loss for score in found.checkpoints}
    assert found.best.checkpoint == min(losses, key=lambda name: losses[name] or 0.0)
    assert "no face was found in any sample or reference, so that the validation loss decided" in found.best.reason


class OutOfMemory:
    """A UNet for which more than so many images are too many, as often as is said."""

    def __init__(self, unet: Any, most: int) -> None:
        self._forward, self._most, self.seen = unet.forward, most, list[int]()
        unet.forward = self

    def __call__(self, latents: Any, *rest: Any, **more: Any) -> Any:
        self.seen.append(len(latents))
        if torch.is_grad_enabled() and len(latents) > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self._forward(latents, *rest, **more)


def starved(most: int, monkeypatch: pytest.MonkeyPatch) -> list[OutOfMemory]:
    """Let every pipeline that is loaded from here on have room for so many images."""
    load, made = TinyDiffusion.load, list[OutOfMemory]()

    def loaded(self: Any) -> Any:
        pipeline = load(self)
        made.append(OutOfMemory(pipeline.unet, most))
        return pipeline

    monkeypatch.setattr(TinyDiffusion, "load", loaded)
    return made


def test_out_of_memory_halves_the_images_at_once_and_keeps_the_batch(
    bench: Bench, unbroken: tuple[Bench, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    starved(1, monkeypatch)
    found = bench.train()
    assert found.warnings == ("out of memory at step 1: 1 images at once from here on; the effective batch stays 2",)
    # The same sums in another order.
    for row, expected in zip(measured(bench.lora)[1:], measured(unbroken[0].lora)[1:], strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], rel=0.02)
    assert json.loads((bench.lora / "checkpoint-4" / "checkpoint.json").read_text())["micro_batch"] == 1


def test_too_little_memory_for_one_image_is_an_error_that_says_what_helps(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    starved(0, monkeypatch)
    with pytest.raises(ItemError, match="with one image at once and gradient checkpointing: lower resolution or rank"):
        bench.train()


def test_accumulated_batches_are_one_large_batch(bench: Bench, unbroken: tuple[Bench, Trained]) -> None:
    found = bench.train(batch=1, accumulation=2)
    assert found.steps == 6
    for row, expected in zip(measured(bench.lora)[1:], measured(unbroken[0].lora)[1:], strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], rel=0.02)


def test_in_bfloat16_it_learns_about_the_same_and_goes_on_the_same(
    bench: Bench, unbroken: tuple[Bench, Trained], tmp_path: Path
) -> None:
    found = bench.train(precision="bfloat16")
    for row, expected in zip(measured(bench.lora)[1:], measured(unbroken[0].lora)[1:], strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], rel=0.1)
    other = Bench(tmp_path / "other", bench.data, bench.ledger)
    interrupted(other, after=3, precision="bfloat16")
    assert other.train(precision="bfloat16").digests == found.digests


def test_gradient_checkpointing_computes_the_same(bench: Bench, unbroken: tuple[Bench, Trained]) -> None:
    bench.train(gradient_checkpointing=True)
    for row, expected in zip(measured(bench.lora)[1:], measured(unbroken[0].lora)[1:], strict=True):
        assert [float(value) for value in row] == pytest.approx([float(value) for value in expected], rel=0.02)


@pytest.mark.parametrize("at", [1, 4])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    from steps.studio.lora.objective import Objective

    ask, asked = Objective.__call__, list[int]()

    def broken(self: Any, unet: Any, batch: Any) -> Any:
        weighed, plain = ask(self, unet, batch)
        if torch.is_grad_enabled():
            asked.append(1)
        return (weighed * float("nan"), plain) if len(asked) == at and torch.is_grad_enabled() else (weighed, plain)

    monkeypatch.setattr(Objective, "__call__", broken)
    kept = "checkpoint-2 is kept" if at == 4 else "there is no checkpoint yet"
    with pytest.raises(ItemError, match=f"step {at}: the loss is nan and .*{kept}. Lower learning_rate"):
        bench.train()
    assert len(measured(bench.artifact)) == at
    if at == 4:
        assert read_lora(bench.artifact / "checkpoint-2").state


def test_all_faults_of_the_data_are_said_before_the_first_step(bench: Bench, data: Path) -> None:
    (data / "captions" / "000.txt").unlink()
    (data / "captions" / "001.txt").write_text("kalpak moustache " * 60 + TRIGGER)
    (data / "images" / "002.png").write_bytes(b"")
    with pytest.raises(MisconfiguredRun) as caught:
        bench.train()
    said = str(caught.value)
    assert said.startswith("4 faults in the training set; steps.step.faults=leave_out trains without them:")
    for expected in ("000.txt: no caption", "001.txt: ", "002.png is empty", "4 usable images to train on"):
        assert expected in said
    assert not list(bench.artifact.iterdir())
    found = bench.train(faults="leave_out", min_images=4)
    assert found.images == (4, 2)
    assert sum("001.txt" in warning for warning in found.warnings) == 1


def test_nothing_held_out_is_said(bench: Bench, data: Path) -> None:
    (data / "split.json").unlink()
    found = bench.train(max_steps=2)
    assert found.images == (8, 0)
    assert found.checkpoints[0].validation_loss is None
    assert any("nothing is held out" in warning for warning in found.warnings)


def test_images_of_any_shape_are_trained_in_their_buckets(bench: Bench, data: Path) -> None:
    wide = draw_set(data.with_name("wide"), train=3, holdout=0, size=(128, 64))
    for number in range(3):
        shutil.copy(wide / "images" / f"{number:03d}.png", data / "images")
    found = bench.train(bucket_step=16, batch=4, max_steps=2, size_conditions="original", validate_every=1)
    assert found.steps == 2


def test_epochs_count_where_no_steps_are_given(bench: Bench) -> None:
    assert bench.train(max_steps=None, num_train_epochs=2, samples=0).steps == 6


def test_prompts_are_drawn_before_captions(bench: Bench) -> None:
    found = bench.train(max_steps=2, samples=2, prompts=["ohwx person at night"])
    prompts = [sample.prompt for sample in found.checkpoints[0].samples]
    assert prompts[0] == "ohwx person at night"
    assert len(prompts) == 2
    assert prompts[1] == (bench.data / "captions" / "006.txt").read_text().strip()


def test_layers_that_are_not_there_are_a_mistake(bench: Bench) -> None:
    with pytest.raises(UserError, match=r"target_modules = \['to_nowhere'\]"):
        bench.train(target_modules=["to_nowhere"])


def test_missing_weights_are_named_with_the_command_that_makes_them(bench: Bench, tmp_path: Path) -> None:
    from steps.backends.embedded_models import EmbeddedDiffusion, EmbeddedDiffusionSettings

    step = bench.step()
    step._diffusion = EmbeddedDiffusion(EmbeddedDiffusionSettings(folder=str(tmp_path / "none")), calls(bench.ledger))
    with pytest.raises(UserError, match="make them with: callsheet run embedded_models"):
        step.items()


def test_the_report_and_results_say_what_came_of_it(unbroken: tuple[Bench, Trained], tmp_path: Path) -> None:
    bench, found = unbroken
    around = bench.context()
    step = bench.step(around)
    Engine(tmp_path, workers=1).run(step)
    document = json.loads((around.out / "results.json").read_text())
    assert document["best"]["checkpoint"] == found.best.checkpoint
    assert document["seconds_a_step"] > 0
    assert document["usd"] == pytest.approx(1.29 * document["seconds"] / 3600, abs=1e-4)
    assert document["lora_bytes"] == (around.out / document["lora"] / WEIGHTS).stat().st_size
    assert document["memory_of"] == "process"
    # Torch alone is more than 100 MB.
    assert 10**8 < document["peak_memory_bytes"] < 10**12
    assert document["settings"]["rank"] == 2
    assert (around.out / document["lora"] / WEIGHTS).is_file()
    assert document["digests"] == found.digests
    part = json.loads((around.out / "report.json").read_text())
    assert part["headline"].startswith("ohwx person: 6 steps on 6 images in ")
    shown = [picture["file"] for entry in part["entries"] for picture in entry["pictures"]]
    assert len(shown) == 4
    assert all((around.out.parent / file).is_file() for file in shown)
    badges = {entry["title"]: entry["badge"]["word"] for entry in part["entries"]}
    assert badges[found.best.checkpoint] == "best"


def test_what_an_hour_costs_may_be_said_later(unbroken: tuple[Bench, Trained], tmp_path: Path) -> None:
    bench, found = unbroken
    for number, (cost, usd) in enumerate([(None, None), (3600.0, round(found.seconds, 4))]):
        around = bench.context()
        step = Train(TrainParams(**SHORT), around, TinyDiffusion(cost), LetterClip(), BrightFaces())
        Engine(tmp_path / str(number), workers=1).run(step)
        document = json.loads((around.out / "results.json").read_text())
        # Not trained again.
        assert (document["seconds"], document["usd"], document["gpu_usd_per_hour"]) == (found.seconds, usd, cost)


def test_doctor_hears_what_a_training_needs(data: Path) -> None:
    def asked(**params: Any) -> list[tuple[str, bool]]:
        return [(need.what, need.met) for need in Train.needs(TrainParams(**params), data)]

    images = data / "images"
    assert asked() == [(f"6 captioned images to train on in {images}", True)]
    (data / "captions" / "000.txt").unlink()
    lacking = (f"captions of 1 more image in {images}", False)
    assert asked() == [(f"5 captioned images to train on in {images}", True), lacking]
    assert asked(faults="leave_out", min_images=6) == [(f"5 captioned images to train on in {images}", False)]
    (nowhere,) = Train.needs(TrainParams(images="nowhere"), data)
    assert not nowhere.met
    assert nowhere.advice == "nowhere: no such folder: caption images first, with: callsheet run caption"


@needs_weights
@pytest.mark.filterwarnings("ignore::FutureWarning:insightface")
def test_the_embedded_models_are_taught(bench: Bench) -> None:
    from steps.backends import embedded_models as embedded

    given = calls(bench.ledger)
    step = Train(
        TrainParams(**{**SHORT, "max_steps": 2}),
        bench.context(),
        embedded.EmbeddedDiffusion(embedded.EmbeddedDiffusionSettings(steps=2), given),
        embedded.EmbeddedClip(embedded.EmbeddedClipSettings(), given),
        embedded.EmbeddedFaces(embedded.EmbeddedFacesSettings(), given),
    )
    (item,) = step.items()
    found = step.process(item.value)
    assert found.steps == 2
    assert found.usd(None) is None
    assert found.checkpoints[0].clip is not None
    assert (bench.lora / "best" / WEIGHTS).is_file()
