"""What the crash tests share: one zygote and the two scenes a worker. The table at the end is in tests/conftest.py."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.crash import Case, Zygote
from tests.chaos.scene import Scene, draw_library, draw_training_library
from tests.chaos.servers import Servers
from tests.chaos.wired import WARM, Wired, command, environment

Cases = Callable[[str], Case]
Wiring = Callable[..., Wired]
Record = Callable[[str, object], None]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as running:
        yield running


@pytest.fixture(scope="session")
def case(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """`execute` carries out a plan that is there; `repair` and `balance` validate, plan and carry out. Each as new, the unbroken run done
    once."""
    folder = tmp_path_factory.mktemp("scenes")
    scene = Scene(folder / "scene")
    known: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in known:
            template, command = _drawn(folder, scene, name)
            scene.take(template)
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
    """A repair, or another job, by a storage and a maker of images, each as new, the unbroken run done once. The servers outlive what is
    killed."""
    folder = tmp_path_factory.mktemp("wired")
    scene = Scene(folder / "scene")
    known: dict[tuple[str, str, str], Wired] = {}
    with Servers() as servers, Zygote(folder, environment(servers), WARM) as zygote:

        def make(storage: str, image: str, job: str = "repair") -> Wired:
            name = (storage, image, job)
            if name not in known:
                template, words = _drawn(folder, scene, job)
                looks = "openai" if job == "repair" else "embedded"
                known[name] = Wired(
                    *(zygote, scene, template, command(words, storage, image, looks), {}, {}),
                    servers=servers,
                    storage=storage,
                    image=image,
                )
                known[name].learn()
            return dataclasses.replace(known[name], bad=[], areas=Counter(), again=0, doubled=0)

        yield make


def _drawn(folder: Path, scene: Scene, job: str) -> tuple[Path, list[str]]:
    """A job's library as it is at first, and its command."""
    draw, command = (draw_training_library, scene.balance()) if job == "balance" else (draw_library, scene.repair())
    template = folder / draw.__name__
    if not template.exists():
        draw(template / "data")
        (template / "outputs").mkdir()
    return template, command
