"""The ablation as a sweep, killed at random moments: one sweep, each LoRA trained once, nothing drawn twice, and the same comparison."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import Record
from tests.chaos.scene import Scene, difference, leftovers
from tests.chaos.test_sweep import Sweep
from tests.e2e.stage import Stage
from tests.e2e.test_ablation import JOBLIB, SMALL, compared
from tests.frames import shipped_weights, write_story

KILLS, OF_ONE, LONGEST_S = 10, 6, 20.0
BOUND_S = 600.0
EARLY = 10
COMMAND = [sys.executable, "-m", "runner", "run", "-m", "ablation", *SMALL, "mode=baseline,simple", *JOBLIB]


@dataclass
class Ablation(Sweep):
    """Two jobs, an arm each; both want the same LoRAs and the same storyboards for the curve."""

    interrupted: int = 0

    @property
    def command(self) -> list[str]:
        return COMMAND

    def run(self, *, kill_after: float | None = None, group: bool = True, how: signal.Signals = signal.SIGKILL) -> int:
        """Run it; after so many seconds kill its process group, or interrupt it as Ctrl+C does. Returns the exit status."""
        assert group
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.scene.root / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                self.command, cwd=self.scene.root, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            try:
                code = process.wait(BOUND_S if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, how if kill_after is not None else signal.SIGKILL)
                code = process.wait(BOUND_S)
                self.killed += how == signal.SIGKILL
                if how == signal.SIGINT:
                    self._ended_politely(code)
        self._no_child_survives(process.pid)
        return code

    def _ended_politely(self, code: int) -> None:
        """Once it listens, Ctrl+C ends it with what to do next, whatever its children were at."""
        said = self.said().rpartition("stopping: items under way")
        self.interrupted += bool(said[1])
        # A child that is still a Python which begins, and has nothing of ours yet, may say more.
        if said[1] and code != 0 and (code != 130 or "Progress saved. Go on with: " not in said[2]):
            self.bad.append(f"interrupted it ends with {code}: {said[2][:1500]}")

    def break_until_done(self, moments: random.Random, most: int) -> None:
        """Break it off at most so often, the second time by Ctrl+C; then let it end. What was whole before must stand untouched after."""
        before: dict[str, Any] = {}
        for time in range(most):
            how = signal.SIGINT if time == 1 else signal.SIGKILL
            code = self.run(kill_after=moments.uniform(1.0, LONGEST_S), how=how)
            before = self._compare(before)
            if code == 0 or self.finished():
                return
        assert self.run() == 0, self.said()
        self._compare(before)

    def progress(self) -> dict[str, Any]:
        """Every file of each artifact that is complete, with when it was written and how long it is."""
        found = {}
        for manifest in self.scene.outputs.glob("artifacts/*/*/manifest.json"):
            for path in manifest.parent.rglob("*"):
                if path.is_file():
                    status = path.stat()
                    found[str(path.relative_to(self.scene.outputs))] = (status.st_mtime_ns, status.st_size)
        return found

    def finished(self) -> bool:
        return [json.loads(path.read_text())["state"] for path in self._sweeps()] == ["done"]

    def result(self) -> dict[str, Any]:
        """One sweep, its jobs, and every artifact by its key; a key names all that the artifact was made of."""
        [path] = self._sweeps()
        about = json.loads(path.read_text())
        artifacts = self.scene.outputs / "artifacts"
        return {
            "state": about["state"],
            "jobs": [[job["number"], job["state"], job["exit"]] for job in about["jobs"]],
            "made": {
                kind: sorted(each.name for each in (artifacts / kind).iterdir())
                for kind in ("train", "storyboard", "preregistration")
            },
            "complete": {
                kind: len(list((artifacts / kind).glob("*/manifest.json"))) for kind in ("train", "storyboard")
            },
            "left": leftovers(self.scene),
        }

    def said(self) -> str:
        """What the last run said."""
        return (self.scene.root / "said.txt").read_text()

    def _sweeps(self) -> list[Path]:
        return list(self.scene.outputs.glob("ablation/*-sweep-*/sweep.json"))


@pytest.mark.chaos
def test_killed_at_random_moments_an_ablation_is_the_one_it_would_have_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    shipped_weights()

    def compare(ablation: Ablation) -> dict[str, Any]:
        monkeypatch.chdir(ablation.scene.root)
        return told_by(Stage(ablation.scene.root, lambda: "".join(capsys.readouterr())))

    unbroken = _ablation(tmp_path / "unbroken")
    assert unbroken.run() == 0, unbroken.said()
    expected, wanted = unbroken.result(), compare(unbroken)
    assert expected["complete"]["train"] == 2
    moments, killed, interrupted, bad, number = random.Random("ablation 2026"), 0, 0, list[str](), 0
    while killed < KILLS:
        number += 1
        broken = _ablation(tmp_path / f"broken-{number}")
        broken.break_until_done(moments, OF_ONE)
        killed, interrupted = killed + broken.killed, interrupted + broken.interrupted
        found = broken.bad + difference(broken.result(), expected) + difference(compare(broken), wanted)
        bad += [f"sweep {number}: {line}" for line in found]
        assert number < KILLS, f"only {killed} kills in {number} sweeps: they end too soon"
    with capsys.disabled():
        print(f"\nablation: {number} sweeps, {killed} killed, {interrupted} interrupted, {len(bad)} bad")
    record_property("chaos", f"SIGKILL|ablation, joblib launcher, {number} sweeps|{killed}|{len(bad)}")
    record_property("chaos", f"SIGINT|ablation, joblib launcher, {number} sweeps|{interrupted}|{len(bad)}")
    assert interrupted > 0
    assert not bad, "\n".join(bad)


@pytest.mark.chaos
def test_interrupted_as_it_begins_it_ends_politely(tmp_path: Path, record_property: Record) -> None:
    """Its children may not have come to their jobs yet."""
    shipped_weights()
    ablation, moments = _ablation(tmp_path), random.Random("early 2026")
    for _ in range(EARLY):
        ablation.run(kill_after=moments.uniform(2.0, 6.0), how=signal.SIGINT)
    record_property("chaos", f"SIGINT|ablation, as it begins|{ablation.interrupted}|{len(ablation.bad)}")
    assert ablation.interrupted > 0
    assert not ablation.bad, "\n".join(ablation.bad)


def told_by(stage: Stage) -> dict[str, Any]:
    """What `callsheet run ablate` finds of the sweep, without what a clock tells."""
    [folder] = (stage.root / "outputs/ablation").glob("*-sweep-*")
    found = compared(stage, str(folder.relative_to(stage.root)))
    arms = {
        arm: {name: value for name, value in metrics.items() if "seconds" not in name}
        for arm, metrics in found["arms"].items()
    }
    assert set(arms) == {"baseline", "simple"}
    return {"arms": arms, **{name: found[name] for name in ("comparisons", "primary", "deviations")}}


def _ablation(root: Path) -> Ablation:
    scene = Scene(root)
    scene.outputs.mkdir(parents=True)
    for name in ("a", "b"):
        write_story(root / f"{name}.yaml", 2)
    return Ablation(scene, "joblib")
