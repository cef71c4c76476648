"""What the crash tests share: one zygote and the two scenes a worker. The table at the end is in tests/conftest.py."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.crash import Case, Zygote
from tests.chaos.scene import Scene, draw_library
from tests.chaos.servers import Servers
from tests.chaos.wired import WARM, Wired, command, environment

Cases = Callable[[str], Case]
Wiring = Callable[[str, str], Wired]
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


@pytest.fixture(scope="session")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiring]:
    """A repair by a storage and a maker of images, each as new, the unbroken run done once. The servers outlive what is killed."""
    folder = tmp_path_factory.mktemp("wired")
    scene = Scene(folder / "scene")
    known: dict[tuple[str, str], Wired] = {}
    with Servers() as servers, Zygote(folder, environment(servers), WARM) as zygote:

        def make(storage: str, image: str) -> Wired:
            if (storage, image) not in known:
                words = command(scene.repair(), storage, image)
                known[storage, image] = Wired(
                    *(zygote, scene, _fresh(folder), words, {}, {}), servers=servers, storage=storage, image=image
                )
                known[storage, image].learn()
            return dataclasses.replace(known[storage, image], bad=[], areas=Counter(), again=0, doubled=0)

        yield make


def _fresh(folder: Path) -> Path:
    if not (folder / "fresh").exists():
        draw_library(folder / "fresh" / "data")
        (folder / "fresh" / "outputs").mkdir()
    return folder / "fresh"
