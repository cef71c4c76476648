"""Killed anywhere, starved of disk or given nonsense, storyboards go on as if nothing had been, or end with words that help."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from runner.files import TEMPORARY, sha256_of
from tests.chaos.conftest import Record
from tests.chaos.crash import KILLED, Case, Zygote, needs_strace, spread
from tests.chaos.scene import COMMON, Scene, difference, leftovers
from tests.chaos.test_system_calls import CALLS, sweep
from tests.frames import shipped_weights, write_lora, write_scripted_lora, write_story

pytest.importorskip("torch", reason="the models' packages are not installed")
SCENES = 4
MOMENTS = 12
REAL_MOMENTS = 4
PLACES = ("storyboard.image", "storyboard.batch")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("CALLSHEET")}


class Boards(Case):
    """Two storyboards, one of them with a reference; what is kept of them and said in results is compared."""

    def state(self) -> dict[str, Any]:
        results = max(self.scene.outputs.glob("storyboard/2*/storyboard/results.json"))
        made = self.scene.outputs / "artifacts" / "storyboard"
        lists = {
            path.parent.parent.name: json.loads(path.read_text()) for path in made.glob("*/attempts/attempts.json")
        }
        return {
            "images": {str(path.relative_to(made)): sha256_of(path) for path in sorted(made.rglob("*.png"))},
            "attempts": {name: found["attempts"] for name, found in lists.items()},
            "notes": {name: found["notes"] for name, found in lists.items()},
            "results": json.loads(results.read_text())["results"],
            "complete": sorted(path.parent.name for path in made.glob("*/manifest.json")),
            "leftovers": leftovers(self.scene),
        }

    def torn_or_lost(self) -> list[str]:
        wrong = []
        for path in self.scene.outputs.rglob("*"):
            if path.is_file() and not path.name.startswith(TEMPORARY):
                try:
                    if path.suffix == ".json":
                        json.loads(path.read_text())
                    elif path.suffix == ".png":
                        with Image.open(path) as image:
                            image.load()
                except Exception as error:
                    wrong.append(f"torn: {path}: {error}")
        return wrong

    def differences(self) -> list[str]:
        try:
            return difference(self.state(), self.expected)
        except Exception as error:
            return [f"unreadable: {error!r}"]

    def learn(self) -> Any:
        self.begin()
        ended = self.zygote.run(self.command)
        assert ended.code == 0, ended.said
        self.expected = self.state()
        assert len(self.expected["complete"]) == 2
        return ended


def command_of(scene: Scene, *more: str) -> list[str]:
    words = ["run", "storyboard", f"data={scene.data}", f"outputs={scene.outputs}", *COMMON, "workers=1"]
    words += [f"story={scene.root / 'fair.yaml'}", f"lora={scene.root / 'lora'}", "mode=[baseline,reference]"]
    return [*words, "steps.storyboard.batch=2", *more]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    folder = tmp_path_factory.mktemp("boards")
    template, scene = folder / "template", Scene(folder / "scene")
    for name in ("data", "outputs"):
        (template / name).mkdir(parents=True)
    write_scripted_lora(template / "lora")
    write_story(template / "fair.yaml", SCENES)
    warm = ("torch", "steps.storyboard", "steps.studio.frames.pipelines", "tests.chaos.scripted_models")
    # Whatever this machine has fetched, the jobs find nothing.
    with Zygote(folder, {**ENVIRONMENT, "HF_HOME": str(folder / "hub")}, warm) as zygote:
        case = Boards(zygote, scene, template, command_of(scene), {}, {})
        case.learn()
        yield case


@pytest.fixture
def case(boards: Boards) -> Boards:
    boards.bad = []
    boards.areas.clear()
    return boards


@pytest.mark.parametrize("name", ["storyboard.image:3", "storyboard.batch:2", "storyboard.batch:7"])
def test_it_goes_on_from_a_few_places(case: Boards, name: str, record_property: Record) -> None:
    case.fail_point(name)
    _report(record_property, case, f"failpoint|storyboard, {name}", 1)


def test_an_image_that_was_drawn_is_not_drawn_again(case: Boards) -> None:
    case.begin()
    assert case.zygote.run(case.command, env={"CALLSHEET_FAILPOINT": "storyboard.batch:3"}).code == KILLED
    drawn = {path: path.stat().st_mtime_ns for path in case.scene.outputs.rglob("attempts/*.png")}
    assert len(drawn) > 3
    assert case.zygote.run(case.command).code == 0
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn


@pytest.mark.parametrize("place", ["storyboard.image:3", "storyboard.batch:3"])
def test_drawn_anew_and_killed_what_was_there_is_whole(case: Boards, place: str) -> None:
    case.begin()
    assert case.zygote.run(case.command).code == 0
    whole, anew = _made(case), [*case.command, "fresh=true"]
    assert case.zygote.run(anew, env={"CALLSHEET_FAILPOINT": place}).code == KILLED
    assert whole.items() <= _made(case).items()
    # Who does not ask for it anew gets what was there.
    assert case.zygote.run(case.command).code == 0
    assert case.state()["results"] == case.expected["results"]
    shown = case.scene.outputs.glob("storyboard/2*/storyboard/fair-*")
    assert {folder.resolve().name for folder in shown} == set(case.expected["complete"])
    # Given again it goes on: two storyboards more, of the same images.
    assert case.zygote.run(anew).code == 0
    made = _made(case)
    assert whole.items() <= made.items()
    added = {name: digest for name, digest in made.items() if name not in whole and name.endswith(".png")}
    assert sorted(added.values()) == sorted(digest for name, digest in whole.items() if name.endswith(".png"))


def _made(case: Boards) -> dict[str, str]:
    """Every file of the artifacts, by its path, with its digest."""
    made = case.scene.outputs / "artifacts" / "storyboard"
    return {str(path.relative_to(made)): sha256_of(path) for path in sorted(made.rglob("*")) if path.is_file()}


@pytest.mark.chaos
@pytest.mark.parametrize("name", PLACES)
def test_it_goes_on_from_each_time(case: Boards, name: str, record_property: Record) -> None:
    times = 0
    while case.passes(f"{name}:{times + 1}"):
        times += 1
    assert times >= 8
    _report(record_property, case, f"failpoint|storyboard, {name}, each time", times)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("calls", ["openat", "write", "fsync", "rename", "unlink"])
def test_killed_before_system_calls(case: Boards, calls: str, record_property: Record) -> None:
    _report(record_property, case, f"system call|storyboard, {calls}", sweep(case, CALLS[calls], 16))


@pytest.mark.chaos
def test_killed_at_random_moments(case: Boards, record_property: Record) -> None:
    killed = _random_kills(case, MOMENTS)
    _report(record_property, case, "SIGKILL|storyboard, random moments", killed)


@needs_strace
@pytest.mark.chaos
@pytest.mark.parametrize("call", ["fsync", "rename", "openat"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails(case: Boards, call: str, error: str, record_property: Record) -> None:
    case.begin()
    found = case.zygote.points(case.command, call)
    numbers = spread(
        [point.number for point in found if "artifacts/storyboard" in point.line and " = -1 " not in point.line], 8
    )
    for number in numbers:
        _break(case, call, error, number)
    _report(record_property, case, f"{error}|storyboard, {call}", len(numbers))


def _break(case: Boards, call: str, error: str, number: int) -> None:
    case.begin()
    ended = case.zygote.run(
        case.command, strace=["-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
    )
    if "Traceback" in ended.said:
        case.bad.append(f"{call} {error} {number}: a traceback: {ended.said[-800:]}")
    if ended.code not in (0, 1, 3):
        case.bad.append(f"{call} {error} {number}: ended with {ended.code}: {ended.said[-300:]}")
    again = case.zygote.run(case.command)
    if again.code == 1:
        # What failed is not tried again in the same run, but in a later one.
        again = case.zygote.run(case.command)
    if again.code != 0:
        case.bad.append(f"{call} {error} {number}: given again it ends with {again.code}: {again.said[-300:]}")
    case.bad += [f"{call} {error} {number}: {line}" for line in case.differences()]


FAULTS = {
    "weights missing": (
        ["diffusion=sdxl", "diffusion.device=cpu"],
        2,
        "fetch it with: hf download stabilityai/stable-diffusion-xl-base-1.0 ",
    ),
    "no such LoRA": (["lora=/nowhere"], 2, "no LoRA there: give a .safetensors file"),
    "a hostile LoRA": (["lora={root}/evil.safetensors"], 2, "header claims"),
    "a pickle for a LoRA": (["lora={root}/pickle.safetensors"], 2, "it is a pickle, which may run any code"),
    "a story without scenes": (["story={root}/empty.yaml"], 2, "/scenes"),
    "a reference that is no image": (
        ["mode=adapter", "steps.storyboard.reference={root}/empty.yaml"],
        2,
        "the reference:",
    ),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_fault_ends_in_words(case: Boards, fault: str, record_property: Record) -> None:
    case.begin()
    root = case.scene.root
    (root / "evil.safetensors").write_bytes((2**50).to_bytes(8, "little") + b"{}")
    (root / "pickle.safetensors").write_bytes(b"PK\x03\x04" + bytes(64))
    (root / "empty.yaml").write_text("title: Nothing\nscenes: []\n")
    words, code, said = FAULTS[fault]
    command = [*case.command, *(word.format(root=root) for word in words)]
    ended = case.zygote.run(command)
    assert ended.code == code, ended.said
    assert said in ended.said
    assert "Traceback" not in ended.said
    record_property("fault", f"storyboard|local|{fault}|exit {code}|{ended.said.strip().splitlines()[-1][:160]}")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    """The same with the embedded models."""
    shipped_weights()
    folder = tmp_path_factory.mktemp("real")
    template, scene = folder / "template", Scene(folder / "scene")
    for name in ("data", "outputs"):
        (template / name).mkdir(parents=True)
    write_lora(template / "lora")
    write_story(template / "fair.yaml", SCENES)
    warm = ("torch", "diffusers", "transformers", "peft", "insightface.app", "steps.storyboard")
    with Zygote(folder, ENVIRONMENT, warm) as zygote:
        command = command_of(scene, "steps.storyboard.steps=2", "steps.storyboard.retries=1")
        case = Boards(zygote, scene, template, command, {}, {})
        case.learn()
        yield case


@pytest.mark.chaos
def test_the_embedded_models_draw_the_same_after_a_kill(real: Boards, record_property: Record) -> None:
    killed = _random_kills(real, REAL_MOMENTS)
    _report(record_property, real, "SIGKILL|storyboard with embedded models, random moments", killed)


def _random_kills(case: Boards, moments: int) -> int:
    case.begin()
    seconds = case.zygote.run(case.command).seconds
    drawn, killed = random.Random("storyboard 2026"), 0
    while killed < moments:
        case.begin()
        moment = drawn.uniform(0.1 * seconds, seconds)
        if case.zygote.run(case.command, kill_after=moment).code == KILLED:
            killed += 1
            case.check(f"killed after {moment:.3f} of {seconds:.3f} s")
    return killed


def _report(record: Record, case: Boards, what: str, total: int) -> None:
    record("chaos", f"{what}|{total}|{len(case.bad)}")
    assert total > 0
    assert not case.bad, "\n".join(case.bad)
