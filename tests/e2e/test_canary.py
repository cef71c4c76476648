"""Keys in the environment appear in nothing that a run leaves behind; and another package adds a step and a backend by entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.stage import Stage, assert_told, command

CANARY = "canary-5f1c9a-do-not-keep"
NAMES = ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD")
KEYS = {name: f"{CANARY}-{name.lower()}" for name in NAMES}

ENTRY_POINTS = """[callsheet.steps]
leak = leaky:Leak
[callsheet.backends]
vision.leaky = leaky:LeakyVision
"""

# A package of somebody who is careless with keys, in every way in which a step can speak.
LEAKY = '''
import os
from dataclasses import dataclass
from typing import ClassVar

from runner.calls import Calls
from runner.errors import ItemError, ProviderStopped, Refused, Transient
from runner.params import param
from runner.step import Item, Results, StepContext

KEYS = [os.environ[name] for name in ("OPENAI_API_KEY", "REPLICATE_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD")]


@dataclass(frozen=True)
class LeakParams:
    ways: list[str] = param([], help="how to end, one item each")


@dataclass(frozen=True)
class VisionSettings:
    greeting: str = param("hello", help="what it says")


class LeakyVision:
    identity = "leaky vision"

    def __init__(self, settings: VisionSettings, calls: Calls) -> None:
        self.settings = settings


class Leak:
    """Say keys."""

    version: ClassVar[int] = 1
    reuses_answers: ClassVar[bool] = False

    def __init__(self, params: LeakParams, context: StepContext, vision: LeakyVision) -> None:
        self.params, self.context, self.vision = params, context, vision

    def items(self) -> list[Item[str]]:
        return [Item(way, way, (way,)) for way in self.params.ways]

    def process(self, way: str) -> str:
        text = f"{self.vision.settings.greeting}: 401 for {' '.join(KEYS)}"
        self.context.log.warning("calling with %s", text)
        if way == "answer":
            return text
        kinds = {"item": ItemError, "refused": Refused, "transient": Transient, "fault": RuntimeError, "stop": ProviderStopped}
        try:
            raise ValueError(text)
        except ValueError as error:
            raise kinds[way](text) from error

    def finish(self, results: Results[str]) -> None:
        list(results)
'''


def with_leaky(stage: Stage) -> dict[str, str]:
    """The package, installed beside the others; the environment in which it is found."""
    stage.write("site/leaky.py", LEAKY)
    stage.write("site/leaky-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: leaky\nVersion: 0.1\n")
    stage.write("site/leaky-0.1.dist-info/entry_points.txt", ENTRY_POINTS)
    return {**KEYS, "PYTHONPATH": str(stage.root / "site")}


def recipe(stage: Stage, ways: str) -> None:
    stage.write(
        "recipes/leaky.yaml",
        "defaults:\n  - base\n  - steps@steps.leak: leak\n  - _self_\n  - override vision: leaky\n"
        f"steps: {{leak: {{ways: [{ways}]}}}}\nretry: {{wait_s: 0, attempts: 2}}\n",
    )
    # An option of its backend, as a user of another package writes it.
    stage.write(
        "recipes/vision/leaky.yaml", "defaults:\n  - /schema/vision/leaky@_here_\n  - _self_\ngreeting: good day\n"
    )


def found_in(folder: Path) -> list[str]:
    """Files below a folder that hold a key, in any of the encodings that SQLite and Python write."""
    needles = [CANARY.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    ]


def test_the_search_finds_a_key(tmp_path: Path) -> None:
    """Or the tests below would prove nothing."""
    (tmp_path / "a").write_bytes(b"x" + KEYS["MY_PASSWORD"].encode() + b"x")
    assert found_in(tmp_path) == ["a"]


def test_a_step_and_a_backend_of_another_package_work_and_leak_no_key(stage: Stage) -> None:
    recipe(stage, "answer, item, refused, transient, fault")
    told = command("run", "leaky", cwd=stage.root, env=with_leaky(stage))
    assert told.code == 1, told.text
    assert "good day: 401 for [secret]" in told.text
    assert "4 items failed" in told.text
    assert CANARY not in told.text
    assert list((stage.root / "outputs").glob("ledger.sqlite*"))
    assert found_in(stage.root / "outputs") == []
    log = (stage.root / "outputs/leaky/latest/log.txt").read_text("utf-8")
    assert "Traceback" in log
    assert "[secret]" in log


@pytest.mark.parametrize(("ways", "code"), [("stop", 3), ("answer", 0)])
def test_a_provider_that_stops_the_run_leaks_no_key(stage: Stage, ways: str, code: int) -> None:
    """Its words stand in run.json, in the report and on the screen."""
    recipe(stage, ways)
    told = command("run", "leaky", cwd=stage.root, env=with_leaky(stage))
    assert told.code == code, told.text
    assert CANARY not in told.text
    assert found_in(stage.root / "outputs") == []


def test_a_sweep_leaks_no_key(stage: Stage) -> None:
    recipe(stage, "item")
    told = command("run", "leaky", "-m", "seed=1,2", cwd=stage.root, env=with_leaky(stage))
    assert told.code == 1, told.text
    assert CANARY not in told.text
    assert found_in(stage.root / "outputs") == []


def test_a_key_that_is_typed_as_an_override_is_not_kept(stage: Stage) -> None:
    """The shell puts it there: prompt="$OPENAI_API_KEY"."""
    word = f"steps.validate.prompt='{KEYS['OPENAI_API_KEY']}'"
    for words in ((word,), (word, "-m", "seed=1,2")):
        told = command("run", "validate_base_images", *words, cwd=stage.root, env=KEYS)
        assert_told(told, 0, ("done",))
        assert CANARY not in told.text
    assert found_in(stage.root / "outputs") == []


def test_the_doctor_and_the_listing_show_no_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for words in (
        ("doctor", "validate_base_images"),
        ("recipes", "demo"),
        ("run", "demo", "--cfg", "all"),
        ("run", "demo", "--info"),
    ):
        assert CANARY not in stage.run(*words).text
    assert found_in(stage.root) == []


def test_a_repair_leaves_no_key_in_outputs_and_library(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    words = ("execute=true", "force=true", "steps.plan.width=128", "steps.plan.height=192")
    assert_told(stage.run("run", "repair_base_images", *words), 0, ("done",))
    assert (stage.data / ".callsheet").is_dir()
    assert found_in(stage.root) == []
