"""A tiny library, drawn once a worker and copied for each test."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from steps.library import layout
from steps.sample import write_documents
from steps.studio.sample_library import cast, draw_actor
from tests.e2e.stage import ABSENT, BLURRED, GOOD, Stage


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three actors: a good one, a blurred one, and one without any image."""
    folder = tmp_path_factory.mktemp("drawn")
    actors = tuple(actor for actor in cast() if actor.name in (GOOD, BLURRED, ABSENT))
    assert len(actors) == 3
    for actor in actors:
        draw_actor(actor, folder / "data")
    write_documents(actors, folder)
    for path in folder.glob("data/actors/*/training_data/*"):
        # Two of each are enough.
        if not path.stem.endswith(("_1", "_2", "metadata")):
            path.unlink()
    return folder


@pytest.fixture(scope="session")
def portrait(drawn: Path) -> Image.Image:
    """The good actor's base image, small."""
    with Image.open(layout.base_image(drawn / "data", GOOD)) as image:
        return image.convert("RGB").resize((192, 288), Image.Resampling.LANCZOS)


@pytest.fixture
def stage(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    """A working folder with a copy of the tiny library."""
    handlers, level = list(logging.root.handlers), logging.root.level
    root = tmp_path / "stage"
    shutil.copytree(drawn, root)
    monkeypatch.chdir(root)
    yield Stage(root, lambda: "".join(capsys.readouterr()))
    # Hydra's --info sets up logging for a process that is about to end.
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    # A sweep's puts out the loggers that are there, Hydra's own too.
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
