"""A remote job is paid for once: killed around its creation, a resumed process finds it again, or says that it can't know."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.chaos.conftest import Record
from tests.chaos.crash import ROOT

FAILPOINTS = ("remote.creating", "remote.created", "remote.journalled")
DONE, POLLS = "a picture", 3


class Provider(HTTPServer):
    """Creates jobs and counts them; each is done at its third poll."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[str] = []
        self.polled: Counter[str] = Counter()


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        self.server.created.append(f"job-{len(self.server.created) + 1}")
        self._answer(self.server.created[-1])

    def do_GET(self) -> None:
        remote_id = self.path.rsplit("/", 1)[1]
        assert remote_id in self.server.created
        self.server.polled[remote_id] += 1
        self._answer(DONE if self.server.polled[remote_id] >= POLLS else "")

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def child(ledger: Path, provider: Provider, *faults: str, failpoint: str | None = None) -> tuple[int, str]:
    url = f"http://127.0.0.1:{provider.server_port}"
    command = [sys.executable, "-m", "tests.chaos.remote_child", str(ledger), url, *faults]
    environment = {**os.environ, "no_proxy": "*"} | ({"CALLSHEET_FAILPOINT": failpoint} if failpoint else {})
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        timeout=60,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ended.returncode, ended.stdout


@pytest.mark.parametrize(
    ("failpoint", "created", "says"), list(zip(FAILPOINTS, (1, 2, 1), (True, True, False), strict=True))
)
def test_killed_around_its_creation(
    tmp_path: Path,
    provider: Provider,
    failpoint: str,
    created: int,
    says: bool,
    record_property: Record,
) -> None:
    code, said = child(tmp_path / "ledger.sqlite", provider, failpoint=failpoint)
    assert code == -9, said
    code, said = child(tmp_path / "ledger.sqlite", provider)
    assert code == 0, said
    assert said.splitlines()[-1] == DONE
    assert len(provider.created) == created
    assert ("an earlier run was cut off while it created the job" in said) is says
    # Asked for again, it is neither created nor said again.
    code, said = child(tmp_path / "ledger.sqlite", provider)
    assert (code, said.strip()) == (0, DONE)
    assert len(provider.created) == created
    record_property("chaos", f"remote|{failpoint}: {created} created{', said' if says else ''}|1|0")


def test_an_id_that_is_written_down_late_is_found(tmp_path: Path, provider: Provider, record_property: Record) -> None:
    code, said = child(tmp_path / "ledger.sqlite", provider, "late_id", failpoint="remote.journalled")
    assert code == -9, said
    code, said = child(tmp_path / "ledger.sqlite", provider, "late_id")
    assert code == 0, said
    record_property("chaos", f"planted|late_id|1|{len(provider.created) - 1}")
    assert len(provider.created) == 2
