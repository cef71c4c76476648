"""The servers in a process of their own, until stdin is closed or SIGTERM comes.

python -m tests.fakes [--only openai,replicate,runpod] [--ports-file FILE] [--bench]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.openai import OpenAIServer, OpenAISettings
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer
from tests.fakes.server import FakeServer

SERVERS: Mapping[str, Callable[[], FakeServer[Any]]] = {
    "openai": OpenAIServer,
    "replicate": ReplicateServer,
    "runpod": RunPodServer,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them."""
    options = _parser().parse_args(arguments)
    over = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: over.set())
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_made(name, options.bench)) for name in options.only]
        for server in servers:
            print(server.name, server.url, flush=True)
        if options.ports_file:
            _write(options.ports_file, {server.name: server.url for server in servers})
        threading.Thread(target=_until_closed, args=(over,), daemon=True).start()
        over.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    parser.add_argument("--only", type=_names, default=list(SERVERS), help="comma-separated; all by default")
    parser.add_argument("--ports-file", type=Path, help="written as JSON {name: url} when all are ready")
    parser.add_argument(
        "--bench", action="store_true", help="OpenAI: constant answers, nothing checked, no bodies kept"
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(SERVERS)}")
    return names


def _made(name: str, bench: bool) -> FakeServer[Any]:
    if bench and name == "openai":
        return OpenAIServer(OpenAISettings(answer="constant", check=False, keep_bytes=0))
    return SERVERS[name]()


def _write(path: Path, urls: Mapping[str, str]) -> None:
    """Whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(urls))
    draft.replace(path)


def _until_closed(over: threading.Event) -> None:
    # Not by sys.stdin: a daemon thread must not hold its lock when the interpreter ends.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    over.set()


if __name__ == "__main__":
    main()
