"""Killed anywhere, a captioning run goes on as if nothing had been: nothing torn, each caption whole, and paid for at most once more."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from steps.library import captions
from steps.studio.character_library import RAW, draw, pictures
from tests.chaos.conftest import Record
from tests.chaos.crash import KILLED, Case, Ended, Zygote, needs_strace
from tests.chaos.scene import COMMON, Scene, snapshot
from tests.chaos.servers import Servers
from tests.chaos.test_disk import break_disk
from tests.chaos.test_system_calls import CALLS, sweep
from tests.chaos.wired import WARM, environment

IMAGES = 5
WORKERS = 4
MOMENTS = 12
# What differs between two runs that ended alike: money and time, and that a cut-off answer was found on disk.
COSTS = ("usd", "usd_per_image", "seconds_per_image")


@dataclass
class Captioning(Case):
    """A folder captioned through an OpenAI server.

    Attributes:
        looks: How often an unbroken run asks.
        usd: What its budget has counted.
        again: How often killed runs asked more.
    """

    servers: Servers = field(kw_only=True)
    looks: int = 0
    usd: float = 0.0
    again: int = 0
    in_flight: int = 1

    def learn(self) -> Ended:
        ended = super().learn()
        self.looks, self.usd = self.asked(), self.spent()
        assert self.looks == IMAGES + 1
        return ended

    def begin(self) -> None:
        super().begin()
        self.servers.reset()

    def asked(self) -> int:
        return int(self.servers.state("openai")["counts"].get("chat", 0))

    def spent(self) -> float:
        with contextlib.closing(sqlite3.connect(self.scene.outputs / "ledger.sqlite")) as ledger:
            return float(ledger.execute("SELECT total(usd) FROM spending").fetchone()[0])

    def state(self) -> dict[str, Any]:
        found = snapshot(self.scene)
        for run in found["runs"]:
            run[5]["caption/results.json"] |= dict.fromkeys(COSTS)
        # A caption that was there when the run went on is remembered as such.
        return {name: value for name, value in found.items() if name != "answers"}

    def torn_or_lost(self) -> list[str]:
        wrong = super().torn_or_lost()
        images = {path.stem for path in (self.scene.data / "images").glob("[!.]*")}
        held_out = captions.read_split(self.scene.data / "split.json")
        for path in (self.scene.data / "captions").glob("[!.]*"):
            if path.stem not in held_out:
                wrong.append(f"neither to train on nor held out: {path.name}")
            if not path.read_text("utf-8").endswith("\n"):
                wrong.append(f"torn: {path.name}")
            if path.stem not in images:
                wrong.append(f"a caption without its image: {path.name}")
        return wrong

    def paid_twice(self, said: str) -> list[str]:
        self.again += self.asked() - self.looks
        wrong = []
        if self.asked() > self.looks + self.in_flight:
            wrong.append(f"asked {self.asked()} times instead of {self.looks}")
        if self.spent() < self.usd - 1e-6:
            wrong.append(f"counted {self.spent()} US dollars instead of {self.usd}")
        return wrong


@pytest.fixture(scope="module")
def captioning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captioning]:
    folder = tmp_path_factory.mktemp("captioning")
    scene, template = Scene(folder / "scene"), folder / "template"
    for one in pictures(0, IMAGES):
        draw(one, template / "data" / "in")
    (template / "data" / "in" / RAW).rename(template / RAW)
    (template / "outputs").mkdir()
    command = ["run", "caption", f"data={scene.data}", f"outputs={scene.outputs}", f"raw={scene.root / RAW}"]
    command += [*COMMON, "vision=openai", "budget.usd=5", f"workers={WORKERS}"]
    with Servers() as servers, Zygote(folder, environment(servers), (*WARM, "imagehash", "steps.caption")) as zygote:
        case = Captioning(zygote, scene, template, command, {}, {}, servers=servers)
        case.learn()
        yield case


@pytest.fixture
def case(captioning: Captioning) -> Captioning:
    captioning.bad, captioning.again, captioning.in_flight = [], 0, 1
    captioning.areas.clear()
    return captioning


@pytest.mark.parametrize("name", ["step.before_finish", "run.step_done"])
def test_it_goes_on_from_a_named_place(case: Captioning, name: str, record_property: Record) -> None:
    case.fail_point(name)
    _report(record_property, case, f"failpoint|caption, {name}", 1)


@needs_strace
@pytest.mark.parametrize("calls", ["rename", "fsync"])
def test_killed_at_some_points(case: Captioning, calls: str, record_property: Record) -> None:
    _report(record_property, case, f"system call|caption, {calls}, some", sweep(case, CALLS[calls], 4))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("calls", ["openat", "write", "pwrite", "fsync", "rename", "mkdir", "link"])
def test_killed_before_system_calls(case: Captioning, calls: str, record_property: Record) -> None:
    _report(record_property, case, f"system call|caption, {calls}", sweep(case, CALLS[calls], 24))


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_killed_while_it_talks(case: Captioning, call: str, record_property: Record) -> None:
    case.begin()
    points = case.zygote.points(case.command, call)
    numbers = sorted({point.number for point in points if "socket:" in point.line})
    killed = 0
    for number in numbers[:: max(1, len(numbers) // 10)]:
        case.begin()
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        if case.zygote.run(case.command, strace=inject).code == KILLED:
            killed += 1
            case.check(f"killed before {call} {number}")
    _report(record_property, case, f"request|caption, before {call}", killed)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_or_broken_disk(case: Captioning, call: str, record_property: Record) -> None:
    _report(record_property, case, f"EIO, ENOSPC|caption, {call}", break_disk(case, call, ("EIO", "ENOSPC"), 3))


@pytest.mark.chaos
def test_killed_at_random_moments(case: Captioning, record_property: Record) -> None:
    """With its real threads: each may have had a question under way."""
    case.in_flight = WORKERS
    case.begin()
    seconds = case.zygote.run(case.command, inline=False).seconds
    drawn, killed = random.Random("caption 2026"), 0
    while killed < MOMENTS:
        case.begin()
        moment = drawn.uniform(0.02, seconds)
        if case.zygote.run(case.command, inline=False, kill_after=moment).code == KILLED:
            killed += 1
            case.check(f"killed after {moment:.3f} of {seconds:.3f} s")
    _report(record_property, case, "SIGKILL|caption, random moments", killed)


def _report(record: Record, case: Captioning, what: str, total: int) -> None:
    record("chaos", f"{what} (asked again: {case.again})|{total}|{len(case.bad)}")
    assert total > 0
    assert not case.bad, "\n".join(case.bad)


def test_what_is_killed_is_looked_at(case: Captioning, tmp_path: Path) -> None:
    """Or the tests above could not fail: a caption without its image is found, and a torn file."""
    case.begin()
    assert case.torn_or_lost() == []
    (case.scene.data / "captions").mkdir(parents=True)
    (case.scene.data / "captions" / "a.txt").write_text("cut o")
    assert sorted(case.torn_or_lost()) == [
        "a caption without its image: a.txt",
        "neither to train on nor held out: a.txt",
        "torn: a.txt",
    ]
