"""A sweep killed at random moments goes on by the same command: no job twice, no answer asked again, and no child outlives its parent."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.conftest import Record
from tests.chaos.scene import Scene, difference, draw_library

SEEDS = (0, 1, 2, 3)
BOUND_S = 60.0


@dataclass
class Sweep:
    """A sweep over the drawn sample: two of the three actors a job, so that most answers are shared between jobs."""

    scene: Scene
    launcher: str
    killed: int = 0
    bad: list[str] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        values = [
            "-m",
            f"seed={','.join(map(str, SEEDS))}",
            "sample=2",
            "workers=2",
            "vision.delay_s=0.15",
            f"hydra/launcher={self.launcher}",
        ]
        return [sys.executable, "-m", "runner", *self.scene.validate(*values)]

    def run(self, *, kill_after: float | None = None, group: bool = False) -> int:
        """Run it; kill the parent, or the whole group, after so many seconds. Returns the exit status."""
        with (self.scene.root / "said.txt").open("ab") as said:
            process = subprocess.Popen(
                self.command, cwd=self.scene.root, stdout=said, stderr=said, start_new_session=True
            )
            try:
                code = process.wait(BOUND_S if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                if kill_after is None:
                    raise
                if group:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                code = process.wait(10)
                self.killed += 1
        self._no_child_survives(process.pid)
        return code

    def kill_until_done(self, moments: random.Random, longest: float, most: int) -> None:
        """Begin anew, kill at most so often, then let it end; what was done before a kill must stand after it."""
        before = self.progress()
        for _ in range(most):
            code = self.run(kill_after=moments.uniform(0.4, longest), group=moments.random() < 0.5)
            before = self._compare(before)
            if code == 0 or self.finished():
                # Killed after its last word: the same command would begin another sweep.
                return
        assert self.run() == 0, (self.scene.root / "said.txt").read_text()
        self._compare(before)

    def progress(self) -> dict[str, Any]:
        """What is done for good: each answer with its time, and run.json of each finished job."""
        found: dict[str, Any] = {}
        ledger = self.scene.outputs / "ledger.sqlite"
        if ledger.exists():
            connection = sqlite3.connect(ledger)
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                rows = connection.execute("SELECT fingerprint, run, at FROM answers WHERE step = 'validate'")
                found |= {f"answer {row[0]}": row[1:] for row in rows}
            connection.close()
        for path in self.scene.outputs.glob("validate_base_images/*-sweep-*/jobs/*/run.json"):
            text = path.read_text(encoding="utf-8")
            if json.loads(text)["state"] == "done":
                found[f"job {path.parent.name}"] = text
        return found

    def finished(self) -> bool:
        """True when the sweep has written that it is done."""
        found = list(self.scene.outputs.glob("validate_base_images/*-sweep-*/sweep.json"))
        return [json.loads(path.read_text(encoding="utf-8"))["state"] for path in found] == ["done"]

    def result(self) -> dict[str, Any]:
        """What the sweep leaves, without times."""
        [folder] = self.scene.outputs.glob("validate_base_images/*-sweep-*")
        results = {
            path.parts[-3]: json.loads(path.read_text(encoding="utf-8"))["results"]
            for path in folder.glob("jobs/*/validate/results.json")
        }
        sweep = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        states = [[job["number"], job["state"], job["exit"]] for job in sweep["jobs"]]
        answers = len([key for key in self.progress() if key.startswith("answer")])
        temporary = [path.name for path in self.scene.outputs.rglob(".tmp-*")]
        return {"results": results, "state": sweep["state"], "jobs": states, "answers": answers, "left": temporary}

    def _compare(self, before: dict[str, Any]) -> dict[str, Any]:
        now = self.progress()
        self.bad += [f"kill {self.killed}: {key} was done again" for key in before if now.get(key) != before[key]]
        return now

    def _no_child_survives(self, session: int) -> None:
        deadline = time.monotonic() + 10
        while there := _processes_of(session):
            if time.monotonic() > deadline:
                self.bad.append(f"kill {self.killed}: outlived their parent: {there}")
                for process in there:
                    process.kill()
                return
            time.sleep(0.05)


def _processes_of(session: int) -> list[psutil.Process]:
    """The living processes of a session; those that nobody has waited for are dead."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.chaos
@pytest.mark.parametrize(("launcher", "kills", "longest"), [("basic", 30, 3.0), ("joblib", 20, 5.0)])
def test_killed_at_random_moments(
    tmp_path: Path, launcher: str, kills: int, longest: float, record_property: Record
) -> None:
    unbroken = _sweep(tmp_path / "unbroken", "basic")
    assert unbroken.run() == 0, (unbroken.scene.root / "said.txt").read_text()
    expected = unbroken.result()
    moments = random.Random(f"{launcher} 2026")
    killed, bad, number = 0, [], 0
    while killed < kills:
        number += 1
        broken = _sweep(tmp_path / f"broken-{number}", launcher)
        broken.kill_until_done(moments, longest, min(5, kills - killed))
        killed += broken.killed
        bad += broken.bad + difference(broken.result(), expected)
        assert number < 2 * kills, f"only {killed} kills in {number} sweeps: they end too soon"
    record_property("chaos", f"SIGKILL|sweep, {launcher} launcher, {number} sweeps|{killed}|{len(bad)}")
    assert not bad, "\n".join(bad)


def test_killed_once(tmp_path: Path, record_property: Record) -> None:
    """The quick sample: the parent alone is killed while its jobs run beside each other."""
    sweep = _sweep(tmp_path / "broken", "joblib")
    with_children = 3.0
    assert sweep.run(kill_after=with_children) in (0, -signal.SIGKILL)
    before = sweep.progress()
    assert sweep.run() == 0, (sweep.scene.root / "said.txt").read_text()
    after = sweep.progress()
    record_property("chaos", f"SIGKILL|sweep, joblib launcher, once|{sweep.killed}|{len(sweep.bad)}")
    assert not sweep.bad
    assert {key: after.get(key) for key in before} == before
    assert sweep.result()["jobs"] == [[number, "done", 0] for number in range(len(SEEDS))]


def _sweep(root: Path, launcher: str) -> Sweep:
    scene = Scene(root)
    draw_library(scene.data)
    scene.outputs.mkdir()
    return Sweep(scene, launcher)
