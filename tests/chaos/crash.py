"""Jobs that are killed or whose disk fails at a chosen system call, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.chaos.scene import Scene, contents, difference, lost, snapshot, torn

ROOT = Path(__file__).parents[2]
KILLED = 137
TIMEOUT_S = 60
STRACE_MISSING = "strace is not on this machine (apt-get install strace); CI installs it"
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason=STRACE_MISSING)


class Ended(NamedTuple):
    """A job's exit status (137: killed), what it printed, and how long it took."""

    code: int
    said: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Point:
    """A system call of one thread of a job: its number there, and the line that strace wrote of it."""

    call: str
    number: int
    line: str

    @property
    def area(self) -> str:
        """What it touches."""
        for word, area in (("ledger.sqlite", "ledger"), ("/data/", "library"), ("/outputs/", "run")):
            if word in self.line:
                return area
        return "other"


class Zygote:
    """The process that forks jobs.

    Args:
        folder: Where jobs are run, and what they print is kept.
        environment: What jobs find in it; None is this process's own.
        warm: Modules that are imported beforehand.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, warm: Sequence[str] = ()) -> None:
        self._folder = folder
        self._output, self.log = folder / "output.txt", folder / "strace.txt"
        given = os.environ if environment is None else environment
        environment = {**given, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("CALLSHEET_FAILPOINT", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", *warm],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._hear() == {"warmed": 0}

    def run(
        self,
        argv: Sequence[str],
        *,
        strace: Sequence[str] = (),
        env: dict[str, str] | None = None,
        faults: Sequence[str] = (),
        inline: bool = True,
        kill_after: float | None = None,
    ) -> Ended:
        """Run one job to its end, or kill it after so many seconds."""
        request = {
            "argv": list(argv),
            "folder": str(self._folder),
            "output": str(self._output),
            "strace": [*strace, "-o", str(self.log)] if strace else [],
            "env": env or {},
            "faults": list(faults),
            "inline": inline,
            "timeout": TIMEOUT_S,
            "kill_after": kill_after,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        heard = self._hear()
        said = self._output.read_text(encoding="utf-8", errors="replace")
        return Ended(int(heard["code"]), said, float(heard["seconds"]))

    def points(self, argv: Sequence[str], calls: str, **how: Any) -> list[Point]:
        """The calls that a whole job makes, the numbers as strace counts them: for each thread by itself."""
        ended = self.run(argv, strace=["-e", f"trace={calls}"], **how)
        assert ended.code == 0, ended.said
        seen: Counter[tuple[str, str]] = Counter()
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if made := re.match(r"(\d+)\s+(\w+)\(", line):
                seen[made[1], made[2]] += 1
                found.append(Point(made[2], seen[made[1], made[2]], line))
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the zygote died: {self._process.wait(10)}"
        heard: dict[str, Any] = json.loads(line)
        return heard


@dataclass
class Case:
    """A command on a scene, and how it ends when nothing goes wrong."""

    zygote: Zygote
    scene: Scene
    template: Path
    command: Sequence[str]
    expected: dict[str, Any]
    before: dict[str, str]
    bad: list[str] = field(default_factory=list)
    areas: Counter[str] = field(default_factory=Counter)
    said: str = ""

    @classmethod
    def of(cls, zygote: Zygote, scene: Scene, template: Path, command: Sequence[str]) -> Case:
        """Run it unbroken once."""
        case = cls(zygote, scene, template, command, {}, {})
        case.learn()
        return case

    def learn(self) -> Ended:
        """Run it unbroken, and take what it leaves for what every other run must leave."""
        self.begin()
        self.before = contents(self.scene.data)
        ended = self.zygote.run(self.command)
        assert ended.code == 0, ended.said
        self.expected = self.state()
        return ended

    def begin(self) -> None:
        """Make all as it is before the command."""
        self.scene.take(self.template)

    def state(self) -> dict[str, Any]:
        """All that must be as after an unbroken run."""
        return snapshot(self.scene)

    def torn_or_lost(self) -> list[str]:
        """What must be at no time."""
        wrong = [f"torn: {line}" for line in torn(self.scene)]
        return wrong + [f"lost: {line}" for line in lost(self.before, self.scene.data)]

    def kill(self, call: str, number: int, *, faults: Sequence[str] = (), inline: bool = True) -> None:
        """Kill it before a call; then what is on disk must be whole, and the same command must end as if nothing had been."""
        self.begin()
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        ended = self.zygote.run(self.command, strace=inject, faults=faults, inline=inline)
        assert ended.code == KILLED, f"{call} {number} killed nothing: {ended}"
        self.areas[Point(call, number, self._last(call)).area] += 1
        self.check(f"killed before {call} {number} ({self._last(call)})", faults=faults)

    def fail_point(self, name: str, *, faults: Sequence[str] = ()) -> None:
        """Kill it at a named place."""
        assert self.passes(name, faults=faults), f"{name} killed nothing: {self.said}"

    def passes(self, name: str, *, faults: Sequence[str] = ()) -> bool:
        """Kill it at a named place; false where it never came by."""
        self.begin()
        ended = self.zygote.run(self.command, env={"CALLSHEET_FAILPOINT": name}, faults=faults)
        if ended.code != KILLED:
            self.said = ended.said
            assert ended.code == 0, ended.said
            return False
        self.check(f"killed at {name}", faults=faults)
        return True

    def check(self, what: str, *, faults: Sequence[str] = ()) -> None:
        """Note what is wrong now, and after the same command was given again."""
        wrong = self.torn_or_lost()
        self.said = ""
        if not self.finished():
            ended = self.zygote.run(self.command, faults=faults)
            self.said = ended.said
            if ended.code != 0:
                wrong.append(f"given again it ends with {ended.code}: {ended.said[-500:]}")
        wrong += self.differences() + self.paid_twice(self.said)
        if wrong:
            self.bad.append("\n  ".join([what, *wrong[:12]]))

    def finished(self) -> bool:
        """True when the killed run had come to its end and has written so."""
        states = [
            json.loads(path.read_text(encoding="utf-8"))["state"]
            for path in self.scene.outputs.glob(f"{self.command[1]}/*/run.json")
            if not path.parent.is_symlink() and path.read_bytes()
        ]
        return states == ["done"]

    def differences(self) -> list[str]:
        """Where the scene is not what an unbroken run leaves."""
        wrong = [f"lost: {line}" for line in lost(self.before, self.scene.data)]
        try:
            return wrong + difference(self.state(), self.expected)
        except Exception as error:
            return [*wrong, f"unreadable: {error!r}"]

    def paid_twice(self, said: str) -> list[str]:
        """What was bought more often than it may be, given what the resumed run said."""
        return []

    def _last(self, call: str) -> str:
        lines = self.zygote.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in reversed(lines) if f" {call}(" in line), "")


def spread(points: Iterable[int], most: int) -> list[int]:
    """At most so many of the points, evenly, the first and the last among them."""
    found = sorted(set(points))
    if len(found) <= most:
        return found
    return sorted({found[round(index * (len(found) - 1) / (most - 1))] for index in range(most)})
