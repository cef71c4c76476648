"""What the crash tests share: one zygote and the two scenes a worker. The table at the end is in tests/conftest.py."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.crash import Case, Zygote
from tests.chaos.scene import Scene, draw_library

Cases = Callable[[str], Case]
Record = Callable[[str, object], None]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as running:
        yield running


@pytest.fixture(scope="session")
def case(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """`execute` carries out a plan that is there; `repair` validates, plans and carries out. Each as new, the unbroken run done once."""
    folder = tmp_path_factory.mktemp("scenes")
    scene = Scene(folder / "scene")
    known: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in known:
            scene.take(_fresh(folder))
            template, command = folder / "fresh", scene.repair()
            if name == "execute":
                ended = zygote.run(scene.validate())
                assert ended.code == 0, ended.said
                template, command = folder / "planned", scene.execute()
                scene.keep(template)
            known[name] = Case.of(zygote, scene, template, command)
        return copy.deepcopy(known[name], {id(zygote): zygote})

    return make


def _fresh(folder: Path) -> Path:
    if not (folder / "fresh").exists():
        draw_library(folder / "fresh" / "data")
        (folder / "fresh" / "outputs").mkdir()
    return folder / "fresh"
