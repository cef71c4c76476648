"""What the documentation shows is run: commands compose, pages' packages install and work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from runner.cli import main
from runner.cli.running import parse
from runner.recipe import compose, resolve
from tests.library import GOOD, make_library

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*.yaml")])
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"(?:^|[`:]\s*|^#.*?)(callsheet run [^`\n#|]+)", re.MULTILINE)


def unpack(page: str, folder: Path) -> None:
    """Write a page's files and install its package as the page says, into the folder itself."""
    for name, text in FILE.findall((ROOT / "docs" / page).read_text()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--no-compile"]
    install = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder / "installed"), str(folder)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)


def callsheet(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder whose packages are installed."""
    path = os.pathsep.join([str(folder / "installed"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "runner", *words]
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_step_of_the_page_works_and_remembers(tmp_path: Path) -> None:
    unpack("adding_a_step.md", tmp_path)
    make_library(tmp_path / "data")
    done = callsheet(tmp_path, "run", "palette")
    assert done.returncode == 0, done.stderr
    colours = json.loads((tmp_path / "outputs/palette/latest/colours/palette.json").read_text())
    assert set(colours) == {"0000_ada", "0001_bek", "0002_cui"}
    assert re.fullmatch(r"#[0-9a-f]{6}", colours["0000_ada"])
    assert "3 remembered" in callsheet(tmp_path, "run", "palette").stderr
    assert "colours.actors = 'nobody'" not in callsheet(tmp_path, "recipes", "palette").stdout
    assert "ids, names, ranges" in callsheet(tmp_path, "recipes", "palette").stdout


class Judge(BaseHTTPRequestHandler):
    """The house: busy at first, then declines one, then answers."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Authorization"])
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def judge() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_backend_of_the_page_sorts_what_its_vendor_says(tmp_path: Path, judge: str) -> None:
    unpack("adding_a_backend.md", tmp_path)
    make_library(tmp_path / "data")
    good = json.dumps(GOOD).encode()
    Judge.answers = [
        (429, {"Retry-After": "0"}, b"{}"),
        (200, {}, good),
        (451, {}, b"not this face"),
        (200, {"Content-Type": "text/html"}, b"<html>"),
        (200, {}, b'{"is_clear": "perhaps"}'),
        (200, {}, good),
    ]
    Judge.keys = []
    words = [
        "run",
        "validate_base_images",
        "vision=house",
        f"vision.url={judge}",
        "workers=1",
        "budget.usd=2",
        "retry.wait_s=0",
    ]
    done = callsheet(tmp_path, *words, HOUSE_API_KEY="key-of-the-house")
    assert done.returncode == 1, done.stderr
    results = json.loads((tmp_path / "outputs/validate_base_images/latest/validate/results.json").read_text())[
        "results"
    ]
    assert [row["action"] for row in results] == ["skip", "error", "skip"]
    assert results[1]["reason"] == "Refused: not this face. The image is taken as valid."
    assert set(Judge.keys) == {"Bearer key-of-the-house"}
    assert Judge.answers == []
    Judge.answers = [(401, {}, b"{}")]
    stopped = callsheet(tmp_path, *words, "fresh=true", HOUSE_API_KEY="key-of-the-house")
    assert stopped.returncode == 3
    assert "set HOUSE_API_KEY to a key that works" in stopped.stderr
    told = callsheet(tmp_path, "doctor", "validate_base_images", "vision=house")
    assert "MISSING  vision=house: HOUSE_API_KEY: ask the house for a key and set it" in told.stdout
    for path in (tmp_path / "outputs").rglob("*"):
        assert not path.is_file() or b"key-of-the-house" not in path.read_bytes()


def commands() -> Iterator[tuple[str, str]]:
    """Every command but the forms of usage, and those that need the package of their page: these are run above."""
    for page in PAGES:
        for found in COMMAND.findall(page.read_text()):
            if not re.search(r"run (palette|NAME|RECIPE|\w+\.yaml)|vision=house", found):
                yield page.name, found.strip()


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_every_command_that_is_shown_composes(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = parse(shlex.split(command)[2:])
    if not request.multirun:
        assert resolve(request.path, compose(request.path, request.overrides)).steps


def test_every_command_of_ours_is_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert len(listed) >= 8
    readme = (ROOT / "README.md").read_text()
    assert [name for name in listed if f"callsheet {name}" not in readme] == []
