"""Installed as a wheel, the command works in an empty folder: conf/, recipes/ and templates travel with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.library import make_library
from tests.steps.study.boards import draw_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    target = folder / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    return target


def python(installed: Path, folder: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout + done.stderr


def test_a_wheel_brings_its_recipes_and_settings(installed: Path, tmp_path: Path) -> None:
    assert str(installed) in python(installed, tmp_path, "-c", "import runner; print(runner.__file__)")
    assert "repair_base_images" in python(installed, tmp_path, "-m", "runner", "recipes")
    make_library(tmp_path / "data")
    assert "3 of 3 done" in python(installed, tmp_path, "-m", "runner", "run", "validate_base_images")
    assert (tmp_path / "outputs/validate_base_images/latest/report.html").is_file()


def test_a_wheel_brings_the_page_that_raters_open(installed: Path, tmp_path: Path) -> None:
    draw_run(tmp_path / "run", frames=1, size=(16, 16))
    assert "Hand out: " in python(installed, tmp_path, "-m", "runner", "study", "build", "run")
    assert "I agree: begin" in (tmp_path / "outputs/studies/study/study/index.html").read_text("utf-8")


def test_nothing_of_the_tests_travels(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"runner", "steps", "bin"}
    assert {path.name for path in (installed / "runner" / "packaged").iterdir()} == {"conf", "recipes"}
