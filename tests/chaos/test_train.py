"""A training that is killed anywhere, whose disk fails, or whose files are spoilt: the same command ends as if nothing had been."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.files import TEMPORARY
from tests.chaos.conftest import Record
from tests.chaos.crash import KILLED, Ended, Zygote, needs_strace, spread
from tests.training_set import TRIGGER, draw_set, needs_weights

pytestmark = [needs_weights, pytest.mark.xdist_group("train")]
# Everything heavy is there before a job is forked.
WARM = ("torch", "diffusers", "transformers", "peft", "accelerate", "insightface.app", "steps.studio.lora.lesson")
FAILPOINTS = ("train.stepped", "train.half_written", "train.checkpointed", "train.judged", "train.written")
STEPS, EVERY = 6, 2
SHORT = (
    f"steps.train.max_steps={STEPS}",
    f"steps.train.checkpoint_every={EVERY}",
    "steps.train.batch=2",
    "steps.train.rank=2",
    "steps.train.samples=1",
    "steps.train.validate_every=2",
    "steps.train.schedule=linear",
    "diffusion.steps=2",
    "grace_s=30",
)


@dataclass
class Training:
    """A command over a folder, and what an unbroken run of it leaves."""

    zygote: Zygote
    root: Path
    template: Path
    expected: dict[str, Any] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        where = [f"data={self.root / 'data'}", f"outputs={self.root / 'outputs'}"]
        return ["run", "train_lora", f"trigger={TRIGGER}", *where, *SHORT]

    @property
    def artifact(self) -> Path:
        (found,) = (self.root / "outputs" / "artifacts" / "train").iterdir()
        return found

    def begin(self) -> None:
        """Make all as it is before the command."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.template, self.root, symlinks=True)

    def run(self, *more: str, **how: Any) -> Ended:
        return self.zygote.run([*self.command, *more], **how)

    def kill_at(self, failpoint: str) -> bool:
        """Kill it at a named place, and give the command again; false where it never came by."""
        self.begin()
        if self.run(env={"CALLSHEET_FAILPOINT": failpoint}).code != KILLED:
            return False
        self.check(f"killed at {failpoint}")
        return True

    def check(self, what: str) -> None:
        """Give the command again and note what is not as after an unbroken run."""
        ended = self.run()
        wrong = [] if ended.code == 0 else [f"given again it ends with {ended.code}: {ended.said[-800:]}"]
        if not wrong:
            found = self.state()
            wrong = [
                f"{name}: {found.get(name)!r:.200} instead of {value!r:.200}"
                for name, value in self.expected.items()
                if found.get(name) != value
            ]
        if wrong:
            self.bad.append("\n  ".join([what, *wrong]))

    def state(self) -> dict[str, Any]:
        """All that must be the same, bit for bit; what hangs on the clock is left out."""
        lora = self.root / "outputs" / "train_lora" / "latest" / "train" / "lora"
        weights = {
            path.relative_to(lora).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(lora.rglob("*"))
            if path.suffix in (".safetensors", ".png") or path.name == "scores.json"
        }
        with (lora / "training_metrics.csv").open() as file:
            rows = [row[:5] for row in csv.reader(file)]
        results = json.loads((lora.parent / "results.json").read_text())
        return {
            "weights": weights,
            "metrics": rows,
            "best": results["best"],
            "digests": results["digests"],
            "library": sorted(path.name for path in (self.root / "data").rglob("*")),
            "leftovers": [str(path) for path in self.root.rglob(f"{TEMPORARY}*")],
        }


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """The training, its unbroken run done once."""
    pytest.importorskip("diffusers", reason="the models' packages are not installed")
    folder = tmp_path_factory.mktemp("training")
    draw_set(folder / "template" / "data", train=5, holdout=1)
    (folder / "template" / "outputs").mkdir()
    with Zygote(folder, warm=WARM) as zygote:
        found = Training(zygote, folder / "scene", folder / "template")
        found.begin()
        ended = found.run()
        assert ended.code == 0, ended.said
        found.expected = found.state()
        assert len(found.expected["metrics"]) == STEPS + 1
        yield found


@pytest.fixture(autouse=True)
def no_faults_yet(training: Training) -> None:
    training.bad.clear()


def test_killed_it_goes_on(training: Training, record_property: Record) -> None:
    assert training.kill_at("train.half_written:2"), "nothing was killed"
    _report(record_property, training, "train, train.half_written:2", 1)


@pytest.mark.chaos
@pytest.mark.parametrize("place", FAILPOINTS)
def test_killed_at_each_place_each_time_it_goes_on(training: Training, place: str, record_property: Record) -> None:
    times = 0
    while training.kill_at(f"{place}:{times + 1}"):
        times += 1
    _report(record_property, training, f"train, {place}, each time", times)
    assert times >= (1 if place == "train.written" else STEPS // EVERY)


@pytest.mark.chaos
def test_killed_at_any_moment_it_goes_on(training: Training, record_property: Record) -> None:
    training.begin()
    whole = training.run().seconds
    rng = random.Random(0)
    moments = [rng.uniform(0.05, 0.95) * whole for _ in range(12)]
    killed = 0
    for moment in moments:
        training.begin()
        killed += training.run(kill_after=moment).code == KILLED
        training.check(f"killed after {moment:.2f} s of {whole:.2f}")
    _report(record_property, training, "train, at random moments", killed)
    assert killed >= 6


@pytest.mark.chaos
def test_killed_again_and_again_it_comes_to_its_end(training: Training, record_property: Record) -> None:
    training.begin()
    for _ in range(STEPS // EVERY):
        assert training.run(env={"CALLSHEET_FAILPOINT": f"train.stepped:{EVERY + 1}"}).code in (KILLED, 0)
    training.check("killed at each checkpoint")
    _report(record_property, training, "train, again and again", STEPS // EVERY)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir", "openat"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_ends_it_with_the_files_name(
    training: Training, call: str, error: str, record_property: Record
) -> None:
    training.begin()
    points = [
        point
        for point in training.zygote.points(training.command, call)
        if "/outputs/artifacts/" in point.line and " = -1 " not in point.line
    ]
    numbers = spread((point.number for point in points), 6)
    assert numbers
    for number in numbers:
        training.begin()
        ended = training.run(strace=["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"])
        assert "(INJECTED)" in training.zygote.log.read_text("utf-8", errors="replace")
        if "Traceback" in ended.said:
            training.bad.append(f"{call} {error} {number}: a traceback: {ended.said[-1500:]}")
        training.check(f"{call} {error} {number}, which ended with {ended.code}")
    _report(record_property, training, f"train, {call} {error}", len(numbers))


@pytest.mark.chaos
def test_a_corrupt_newest_checkpoint_is_said_and_the_one_before_used(
    training: Training, record_property: Record
) -> None:
    training.begin()
    assert training.run(env={"CALLSHEET_FAILPOINT": "train.stepped:5"}).code == KILLED
    path = training.artifact / "checkpoint-4" / "training_state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    ended = training.run()
    assert "checkpoint-4/training_state.safetensors is not what was written; the one before is used" in ended.said
    training.check("a corrupt checkpoint")
    _report(record_property, training, "train, a corrupt checkpoint", 1)


def poison(training: Training) -> None:
    """Make every latent that is kept no number."""
    from steps.studio.lora.packing import packed, unpacked

    for path in (training.root / "outputs" / "artifacts" / "encoded").rglob("*.safetensors"):
        kept = unpacked(path)
        if "mean" in kept:
            path.write_bytes(packed({**kept, "mean": kept["mean"] * float("nan")}))


@pytest.mark.chaos
def test_nothing_but_nan_stops_it_and_keeps_the_last_good(training: Training, record_property: Record) -> None:
    training.begin()
    assert training.run(env={"CALLSHEET_FAILPOINT": "train.stepped:5"}).code == KILLED
    poison(training)
    ended = training.run()
    assert ended.code == 1
    assert "the loss is nan" in ended.said
    assert "checkpoint-4 is kept. Lower learning_rate" in ended.said
    assert (training.artifact / "checkpoint-4" / "checkpoint.json").is_file()
    shutil.rmtree(training.root / "outputs" / "artifacts" / "encoded")
    training.check("a loss that was no number")
    _report(record_property, training, "train, NaN", 1)


def test_missing_weights_are_said_with_the_command_that_makes_them(training: Training) -> None:
    training.begin()
    ended = training.run(f"diffusion.folder={training.root / 'nowhere'}")
    assert ended.code == 2
    assert "no embedded models there: make them with: callsheet run embedded_models" in ended.said


def test_a_training_that_is_refused_leaves_latest_to_the_one_before(training: Training) -> None:
    training.begin()
    assert training.run().code == 0
    latest = training.root / "outputs" / "train_lora" / "latest"
    before = latest.resolve()
    caption = training.root / "data" / "captions" / "001.txt"
    text = caption.read_text()
    caption.unlink()
    ended = training.run()
    assert ended.code == 2
    assert "2 faults in the training set" in ended.said
    assert latest.resolve() == before == (training.root / "outputs" / "latest").resolve()
    assert (latest / "train" / "lora" / "best").is_dir()
    caption.write_text(text)
    assert training.run().code == 0
    assert latest.resolve() != before
    assert (latest / "train" / "lora" / "best").is_dir()


def _report(record: Record, training: Training, what: str, total: int) -> None:
    record("chaos", f"train|{what}|{total}|{len(training.bad)}")
    assert not training.bad, "\n".join(training.bad)
