"""Remote jobs by key: whose they are, and who does them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from runner.errors import Interrupted
from runner.ledger import Ledger
from runner.remote import RemoteJob, RemoteJobs
from runner.stop import Stop


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def leave(ledger: Ledger, run: str | None, key: str = "one", *, remote_id: str = "job-1") -> None:
    """A run that is interrupted while it waits."""
    stop = Stop()

    def poll(_: str) -> None:
        stop.request(Interrupted("ctrl+c"))

    with pytest.raises(Interrupted):
        RemoteJobs(ledger, stop, run).run(key, "image=fake", create=lambda: remote_id, poll=poll)


def test_a_run_knows_what_it_has_left(ledger: Ledger) -> None:
    leave(ledger, "first")
    leave(ledger, "second", "two", remote_id="job-2")
    assert RemoteJobs(ledger, Stop(), "first").left() == [RemoteJob("one", "image=fake", "job-1")]
    jobs = RemoteJobs(ledger, Stop(), "second")
    assert jobs.run("two", "image=fake", create=lambda: "never", poll=lambda remote_id: remote_id) == ("job-2", True)
    assert jobs.left() == []


def test_a_job_belongs_to_who_waits_for_it_now(ledger: Ledger) -> None:
    leave(ledger, "first")
    leave(ledger, "second", remote_id="never")
    assert RemoteJobs(ledger, Stop(), "first").left() == []
    assert RemoteJobs(ledger, Stop(), "second").left() == [RemoteJob("one", "image=fake", "job-1")]


def test_another_vendors_job_is_not_asked_for(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("callsheet").propagate = True
    leave(ledger, "first")
    made = RemoteJobs(ledger, Stop(), "first").run("one", "image=new", create=lambda: "job-9", poll=lambda found: found)
    assert made == ("job-9", True)
    assert "image=new: image=fake has done or begun one before" in caplog.text


def test_a_ledger_of_before_keeps_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as old:
        old.executescript(resources.files("runner.migrations").joinpath("001_first.sql").read_text("utf-8"))
        old.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)")
        old.execute("INSERT INTO migrations VALUES ('001_first.sql', 0)")
        old.execute("INSERT INTO remote_jobs VALUES ('one', 'image=fake', 'running', 'job-1', 0)")
    old.close()
    with Ledger(path) as ledger:
        assert RemoteJobs(ledger, Stop(), "first").left() == []
        jobs = RemoteJobs(ledger, Stop(), "first")
        assert jobs.run("one", "image=fake", create=lambda: "never", poll=lambda found: found) == ("job-1", False)
