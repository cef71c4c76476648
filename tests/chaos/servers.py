"""The vendors' servers and S3 in a process of their own, which outlives the jobs that are killed, until its input ends."""

from __future__ import annotations

import http.client
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any, Self
from urllib.parse import urlsplit

from tests.chaos.scene import SIZE
from tests.fakes.drawing import Drawing, portrait
from tests.fakes.openai import OpenAIServer
from tests.fakes.replicate import ReplicateServer
from tests.fakes.runpod import RunPodServer


def small(drawing: Drawing) -> bytes:
    """What is asked for, in the scene's size whatever the vendor's: a megapixel would cost more than all else."""
    return portrait(replace(drawing, width=SIZE[0], height=SIZE[1]))


def serve() -> None:
    """Run them; their addresses are the one line that is printed."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    bucket = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    bucket.start()
    try:
        with OpenAIServer() as openai, ReplicateServer() as replicate, RunPodServer() as runpod:
            openai.set(paint=small)
            replicate.set(paint=small)
            runpod.set(paint=small)
            host, port = bucket.get_host_and_port()
            urls = {server.name: server.url for server in (openai, replicate, runpod)}
            print(json.dumps({**urls, "s3": f"http://{host}:{port}"}), flush=True)
            while os.read(0, 4096):
                pass
    finally:
        bucket.stop()


class Servers:
    """The process, from a test's side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.servers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.urls: dict[str, str] = json.loads(self._process.stdout.readline())

    def reset(self) -> None:
        """Forget every job, request and bucket."""
        for name in ("openai", "replicate", "runpod"):
            self._ask(name, "POST", "/_fake/reset")
        self._ask("s3", "POST", "/moto-api/reset")

    def state(self, name: str) -> dict[str, Any]:
        """What a vendor's server has seen."""
        seen: dict[str, Any] = self._ask(name, "GET", "/_fake/state")
        return seen

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _ask(self, name: str, method: str, path: str) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.urls[name]).netloc, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        return json.loads(body)


if __name__ == "__main__":
    serve()
