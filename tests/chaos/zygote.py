"""A process that has imported and warmed everything and forks one job for each request: a crash test then costs what the job costs.

Requests and replies are JSON lines. A job waits for strace to be attached before it begins, so that the calls that are counted are the
job's own. Faults that a test plants, and the executor that does its work in the main thread, are put in after the fork. Modules that are
named on the command line are imported beforehand too.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import runner.failpoints
import runner.job
import runner.run
from runner.cli import main
from runner.stop import Stop
from tests.chaos import faults
from tests.chaos.scene import Scene, draw_library

T = TypeVar("T")
PR_SET_PTRACER = 0x59616D61


class Inline:
    """An executor without threads: all of a job's calls but the ledger writer's are then counted in one thread."""

    def run(self, items: Iterable[T], work: Callable[[T], None], stop: Stop) -> bool:
        for item in items:
            if stop.requested:
                break
            work(item)
        return True


def serve() -> None:
    """Warm up, then fork a job a line until the input ends."""
    runner.run.git_state = lambda _folder: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        scene = Scene(Path(folder))
        draw_library(scene.data)
        warmed = main(scene.repair())
    for name in sys.argv[1:]:
        importlib.import_module(name)
    _say({"warmed": warmed})
    for line in sys.stdin:
        _say(_answer(json.loads(line)))


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    gate, opener = os.pipe()
    ready, prepared = os.pipe()
    child = os.fork()
    if not child:
        os.close(opener)
        os.close(ready)
        _job(request, prepared, gate)
    os.close(gate)
    os.close(prepared)
    strace = None
    try:
        os.read(ready, 1)
        os.close(ready)
        if request["strace"]:
            strace = _attach(child, request["strace"])
        os.write(opener, b"x")
    finally:
        os.close(opener)
    began = time.monotonic()
    kill_after = request["kill_after"]
    code = _wait(child, began + request["timeout"], None if kill_after is None else began + kill_after)
    if strace is not None:
        strace.wait(30)
        assert strace.stderr is not None
        strace.stderr.close()
    return {"code": code, "seconds": time.monotonic() - began}


def _attach(child: int, options: list[str]) -> subprocess.Popen[str]:
    command = ["strace", "-f", "-y", "-p", str(child), *options]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    said = []
    while line := strace.stderr.readline():
        said.append(line)
        if "attached" in line:
            return strace
    os.kill(child, signal.SIGKILL)
    raise RuntimeError(f"strace did not attach: {' '.join(said)}")


def _wait(child: int, deadline: float, moment: float | None) -> int:
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if moment is not None and time.monotonic() > moment:
            os.killpg(child, signal.SIGKILL)
            moment = None
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -1
        time.sleep(0.002)


def _job(request: dict[str, Any], prepared: int, gate: int) -> None:
    code = 70
    try:
        os.setsid()
        # A tracer that is no ancestor needs leave where Yama is strict.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1 & 0xFFFFFFFFFFFFFFFF), 0, 0, 0)
        os.chdir(request["folder"])
        _redirect(request["output"])
        os.environ.update(request["env"])
        importlib.reload(runner.failpoints)
        if request["inline"]:
            runner.job._executor = lambda _settings: Inline()  # type: ignore[assignment]
        for fault in request["faults"]:
            faults.plant(fault)
        os.close(prepared)
        os.read(gate, 1)
        code = main(request["argv"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


if __name__ == "__main__":
    serve()
