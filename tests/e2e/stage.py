"""A folder with a tiny library, the command run in it, and what must hold after a bad input: nothing changed, nothing ran."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.cli import main
from steps.library import layout

GOOD, BLURRED, ABSENT = "0000_european_16_male", "0002_korean_27_female", "0007_indian_41_male"
# What a run that may act holds while it works.
OWN_LOCK = {".callsheet", ".callsheet/lock"}


class Told(NamedTuple):
    """How a command ended, and all that it said."""

    code: int
    text: str


@dataclass(frozen=True)
class Stage:
    """A working folder.

    Attributes:
        root: Where commands are given; its `data` is the library.
        canary: A file that nothing may create.
    """

    root: Path
    read: Callable[[], str]

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def canary(self) -> Path:
        return self.root / "canary"

    def write(self, name: str, content: str | bytes) -> Path:
        """A file below the working folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return path

    def run(self, *words: str) -> Told:
        """`callsheet WORDS`, in this process."""
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        return Told(code, self.read())

    def refuses(self, *words: str, code: int = 2, naming: tuple[str, ...] = ()) -> str:
        """Give a command that must fail, say why, and leave everything as it was; returns what it said."""
        before = snapshot(self.root)
        told = self.run(*words)
        assert_told(told, code, naming)
        assert snapshot(self.root) == before
        assert not self.canary.exists()
        return told.text

    def actors(self) -> list[dict[str, Any]]:
        document: list[dict[str, Any]] = json.loads((self.data / layout.ACTORS).read_text("utf-8"))
        return document

    def write_actors(self, entries: list[dict[str, Any]]) -> None:
        # ASCII, so that names which UTF-8 does not take can be written as escapes.
        self.write(f"data/{layout.ACTORS}", json.dumps(entries))

    def latest(self, recipe: str, file: str) -> Any:
        """A JSON file of the recipe's latest run."""
        return json.loads((self.root / "outputs" / recipe / "latest" / file).read_text("utf-8"))

    def verdict(self, name: str = GOOD) -> dict[str, Any]:
        """What the latest validation said of an actor."""
        return self.verdict_of("validate_base_images", name)

    def verdict_of(self, recipe: str, name: str) -> dict[str, Any]:
        """What the latest run of a recipe said of an actor."""
        rows: list[dict[str, Any]] = self.latest(recipe, "validate/results.json")["results"]
        return next(row for row in rows if row["actor_name"] == name)


def assert_told(told: Told, code: int, naming: tuple[str, ...]) -> None:
    """The exit code, every word that the message must hold, and no traceback."""
    assert told.code == code, told.text
    missing = [word for word in naming if word not in told.text]
    assert not missing, f"{missing} not in: {told.text[:2000]}"
    assert "Traceback" not in told.text, told.text
    assert "a fault in the step" not in told.text, told.text
    assert len(told.text) < 5000, "a message that nobody reads to its end"


def snapshot(root: Path) -> dict[str, str]:
    """Every path below a folder with what is there: kind, mode and content. Runs may write below outputs, and lock a library."""
    found = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root).as_posix()
        if relative.split("/")[0] == "outputs" or relative.removeprefix("data/") in OWN_LOCK:
            continue
        found[relative] = _content(path)
    return found


def _content(path: Path) -> str:
    status = path.lstat()
    kind = stat.filemode(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return f"{kind} {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{kind} {status.st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return kind


def command(
    *words: str | bytes,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    timeout: float = 60,
) -> Told:
    """The real `callsheet`, in a process of its own."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "runner", *words],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Told(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))


def without_privilege() -> tuple[str, ...]:
    """Puts a command under the permissions of files, which root is else above."""
    if os.geteuid() != 0:
        return ()
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("root is above file permissions, and there is no setpriv to come down from it")
    return (tool, "--bounding-set", "-dac_override,-dac_read_search", "--")
