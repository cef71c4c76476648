"""A whole repair whose images are made by a vendor's jobs, on servers of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from steps.library import layout
from steps.library.pictures import load
from tests.e2e.stage import ABSENT, BLURRED, Stage
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer

KEY = "canary-key-of-a-vendor-4711"
REPAIR = ("run", "repair_base_images", "execute=true", "force=true", "image.poll_s=0", "retry.wait_s=0", "debug=true")
SIZE = ("steps.plan.width=256", "steps.plan.height=384")
VENDORS: dict[str, tuple[Any, tuple[str, ...], float]] = {
    "replicate": (ReplicateServer, (), 0.025),
    "runpod": (RunPodServer, ("image.endpoint=abc123", "image.gpu_usd_per_hour=3.6"), 0.6),
}


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    kind, _, _ = VENDORS[request.param]
    with kind() as server:
        for name in ("REPLICATE_API_TOKEN", "RUNPOD_API_KEY"):
            monkeypatch.setenv(name, KEY)
        monkeypatch.setenv(f"{request.param.upper()}_BASE_URL", server.url)
        yield request.param, server


def test_a_repair_makes_its_images_there(stage: Stage, vendor: tuple[str, Any]) -> None:
    name, server = vendor
    told = stage.run(*REPAIR, *SIZE, f"image={name}", *VENDORS[name][1], "budget.usd=10")
    assert told.code in (0, 1), told.text
    plan = json.loads((stage.root / "outputs/repair_base_images/latest/plan/action_plan.json").read_text())
    assert plan["estimate"]["usd"] == pytest.approx(2 * VENDORS[name][2])
    about = stage.latest("repair_base_images", "run.json")
    assert about["cost"]["calls"] > server.created >= 2
    assert 0 < about["cost"]["usd"] <= server.created * VENDORS[name][2]
    made = [actor for actor in (BLURRED, ABSENT) if layout.base_image(stage.data, actor).is_file()]
    assert all(load(layout.base_image(stage.data, actor)).size[1] > 100 for actor in made)
    assert list((stage.root / "outputs/repair_base_images/latest/debug").rglob("*.json"))
    files = [path for path in (stage.root / "outputs").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_budget_that_is_too_small_stops_it_before(stage: Stage, vendor: tuple[str, Any]) -> None:
    name, server = vendor
    told = stage.run(*REPAIR, *SIZE, f"image={name}", *VENDORS[name][1], "budget.usd=0.001")
    assert told.code == 3
    assert "Go on with a larger budget" in told.text
    assert server.created == 0


def test_a_preview_asks_for_no_key(stage: Stage, vendor: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    name, server = vendor
    for variable in ("REPLICATE_API_TOKEN", "RUNPOD_API_KEY", f"{name.upper()}_BASE_URL"):
        monkeypatch.delenv(variable)
    told = stage.run("run", "repair_base_images", f"image={name}", *VENDORS[name][1])
    assert told.code == 0, told.text
    told = stage.run("run", "repair_base_images", "execute=true", f"image={name}", *VENDORS[name][1])
    assert told.code == 2
    assert "is not set: set it, or choose another backend (image=embedded)" in told.text
    assert server.requests == []
