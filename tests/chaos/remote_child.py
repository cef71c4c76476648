"""A process that wants one remote job done: `python -m tests.chaos.remote_child LEDGER URL [FAULT]`."""

from __future__ import annotations

import logging
import sys
import urllib.request
from pathlib import Path

from runner.ledger import Ledger
from runner.remote import RemoteJobs
from runner.stop import Stop
from tests.chaos import faults


def _ask(url: str, method: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        text: str = answer.read().decode("utf-8")
        return text


def main(ledger: str, url: str, *planted: str) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    for fault in planted:
        faults.plant(fault)
    with Ledger(Path(ledger)) as opened:
        result = RemoteJobs(opened, Stop()).run(
            "a portrait",
            "studio",
            create=lambda: _ask(f"{url}/jobs", "POST"),
            poll=lambda remote_id: _ask(f"{url}/jobs/{remote_id}", "GET") or None,
            every_s=0.0,
        )
    print(result[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
