"""Validations through the OpenAI backend against a server in another process, beside the least that could be done.

python -m tests.bench.providers [COUNT]
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from steps.library.pictures import encode_jpeg

COUNT, WORKERS = 5_000, 100
LATENCY = (0.1, 0.2)
# Long enough that the burst of the beginning does not matter.
LIMITED, PER_MINUTE = 1_000, 500
ROUNDS = 3
console = Console(width=120)


class Window(NamedTuple):
    """What a server saw of a client: requests, how many it refused, and seconds from the first to the last."""

    requests: int
    refused: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Server:
    """The OpenAI server in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._admin = url.removesuffix("/v1") + "/_fake"

    def set(self, **settings: Any) -> None:
        """Change settings, and forget what was."""
        self._post("reset", {})
        self._post("settings", {"answer": "constant", "check": False, "keep_bytes": 0, "latency": LATENCY, **settings})

    def state(self) -> dict[str, Any]:
        """What it has seen."""
        found: dict[str, Any] = httpx.get(f"{self._admin}/state", timeout=60).json()
        return found

    def times(self) -> list[float]:
        """When each chat request came, seconds since the epoch."""
        found = httpx.get(f"{self._admin}/requests", timeout=60).json()
        return sorted(request["at"] for request in found if request["route"] == "chat")

    def window(self) -> Window:
        """What it saw since it was set."""
        times, state = self.times(), self.state()
        return Window(len(times), state["refused"], times[-1] - times[0])

    def _post(self, what: str, body: dict[str, Any]) -> None:
        httpx.post(f"{self._admin}/{what}", json=body, timeout=60).raise_for_status()


def main(count: int = COUNT) -> None:
    """Run every benchmark of this file."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        library = draw_library(Path(folder) / "data", max(count, LIMITED))
        throughput(server, Path(folder), library, count)
        killed(server, Path(folder), library, count)
        limited(server, Path(folder), library)


def throughput(server: Server, folder: Path, library: Path, count: int) -> None:
    """Side by side, in turn, so that a noisy machine is noisy to all."""
    rates: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        clients: tuple[tuple[str, Callable[[], None]], ...] = (
            ("images: bare loop, openai package", partial(bare, server, "sdk", count, library)),
            ("images: callsheet run", partial(callsheet, server, folder, library, count, turn)),
            ("text: bare aiohttp", partial(bare, server, "aiohttp", count)),
            ("text: bare loop, openai package", partial(bare, server, "sdk", count)),
            ("text: Callsheet's engine and backend", partial(engine, server, folder, count, turn)),
        )
        for name, run in clients:
            server.set()
            run()
            window = server.window()
            assert window.requests == count, window
            rates.setdefault(name, []).append(window.rate)
            console.print(f"  {name}: {window.rate:.0f}/s", style="dim")
    table = Table("client", "calls/s (median)", "rounds", "ratio to the bare loop")
    for name, found in rates.items():
        bare_rate = statistics.median(rates[f"{name.split(':')[0]}: bare loop, openai package"])
        rounds = " ".join(f"{rate:.0f}" for rate in found)
        table.add_row(name, f"{statistics.median(found):.0f}", rounds, f"{statistics.median(found) / bare_rate:.2f}")
    show(f"{count:,} validations, {WORKERS} workers, server at 100 to 200 ms (bar: 0.9 with images)", table)


def killed(server: Server, folder: Path, library: Path, count: int) -> None:
    """SIGKILL at half, and the same command again."""
    server.set()
    outputs = folder / "killed"
    process = subprocess.Popen(
        command(server, library, outputs, count), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while server.state()["counts"].get("chat", 0) < count / 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(LATENCY[1] * 2)
    before = len(server.times())
    again = time.time()
    subprocess.run(command(server, library, outputs, count), check=True, capture_output=True)
    times = server.times()
    table = Table(
        "asked before", "asked in all", "repeated (at most 100 were in flight)", "seconds to the first new call"
    )
    first = times[before] - again
    table.add_row(f"{before:,}", f"{len(times):,}", str(len(times) - count), f"{first:.2f}")
    show("Killed at half (bars: only the calls in flight are repeated; 2 s)", table)


def limited(server: Server, folder: Path, library: Path) -> None:
    """A server that refuses what comes faster than 500 requests a minute."""
    table = Table(
        "what tells the limit", "requests", "refused", "share refused", "answered a minute", "share of the limit"
    )
    cases: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
        ("the answers' headers; a bucket of a minute", {}, ()),
        ("the answers' headers; a bucket of 25", {"burst": 25}, ()),
        ("the recipe", {"burst": 25}, (f"vision.limits.requests_per_minute={PER_MINUTE}",)),
    )
    for number, (name, settings, more) in enumerate(cases):
        server.set(requests_per_minute=PER_MINUTE, **settings)
        words = command(server, library, folder / f"limited{number}", LIMITED)
        subprocess.run([*words, *more], check=True, capture_output=True)
        window = server.window()
        answered = (window.requests - window.refused) / window.seconds * 60
        share = window.refused / window.requests
        table.add_row(
            name,
            str(window.requests),
            str(window.refused),
            f"{share:.1%}",
            f"{answered:.0f}",
            f"{answered / PER_MINUTE:.0%}",
        )
    show(f"A server that allows {PER_MINUTE} requests a minute (bars: 90 %, under 2 % refused)", table)


def bare(server: Server, client: str, count: int, library: Path | None = None) -> None:
    """The least that could be done."""
    words = [client, server.url, str(WORKERS), str(count), *([str(library)] if library else [])]
    subprocess.run([sys.executable, "-m", "tests.bench.bare", *words], check=True, capture_output=True)


def callsheet(server: Server, folder: Path, library: Path, count: int, turn: int) -> None:
    """The real command with ledger, budget, log and report."""
    outputs = folder / f"outputs{turn}"
    subprocess.run(command(server, library, outputs, count), check=True, capture_output=True)
    shutil.rmtree(outputs)


def engine(server: Server, folder: Path, count: int, turn: int) -> None:
    """Engine, ledger and backend, without images."""
    own = folder / f"text{turn}"
    own.mkdir()
    words = [str(own), server.url, str(WORKERS), str(count)]
    subprocess.run([sys.executable, "-m", "tests.bench.asking", *words], check=True, capture_output=True)


def command(server: Server, library: Path, outputs: Path, count: int) -> Sequence[str]:
    """Validate so many actors."""
    words = (
        f"data={library}",
        f"outputs={outputs}",
        "vision=openai",
        f"vision.base_url={server.url}",
        f"workers={WORKERS}",
        "budget.usd=1000",
        f"steps.validate.actors=[0-{count - 1}]",
    )
    return [sys.executable, "-m", "runner", "run", "validate_base_images", "~steps.plan", *words]


def draw_library(root: Path, count: int) -> Path:
    """So many actors whose base images have about 50 KB each."""
    noise = np.random.default_rng(0).normal(128, 20, (960, 640, 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noise).resize((320, 480)).resize((640, 960))
    data = encode_jpeg(picture, quality=58)
    assert 45_000 < len(data) < 60_000, len(data)
    cast = []
    for number in range(count):
        name = f"{number:04d}_actor"
        path = root / "actors" / name / "base_image" / f"{name}_base.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        cast.append({"id": number, "name": name, "description": "30 year old man", "outfit": "a grey suit"})
    (root / "actorsData.json").write_text(json.dumps(cast))
    return root


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """The server, until the block ends."""
    ports = folder / "ports.json"
    words = [sys.executable, "-m", "tests.fakes", "--only", "openai", "--bench", "--ports-file", str(ports)]
    environment = {**os.environ, "OPENAI_API_KEY": "none-at-all"}
    os.environ.update(environment)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while not ports.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield Server(json.loads(ports.read_text())["openai"])
        process.terminate()


def show(title: str, table: Table) -> None:
    """Print a table under its title."""
    console.print(f"\n[bold]{title}[/bold]")
    console.print(table)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
