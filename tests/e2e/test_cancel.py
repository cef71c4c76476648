"""`callsheet cancel RUN`: what a stopped run has left at a vendor is ended, and made anew by whoever goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner import files
from runner.ledger import Ledger
from tests.e2e.stage import Stage
from tests.fakes.replicate import ReplicateServer

KEY = "r8_canary-replicate-token-4711"
REPAIR = (
    "run",
    "repair_base_images",
    "execute=true",
    "image=replicate",
    "image.poll_s=0",
    "retry.wait_s=0",
    "force=true",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateServer]:
    with ReplicateServer() as server:
        monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
        monkeypatch.setenv("REPLICATE_BASE_URL", server.url)
        yield server


def stopped(stage: Stage, server: ReplicateServer) -> str:
    """A run whose vendor stops it with predictions under way; what it said."""
    server.set(polls=100_000)
    server.nth("get", 20, "401")
    told = stage.run(*REPAIR)
    assert told.code == 3
    return told.text


def test_cancelled_jobs_are_made_anew_by_a_resumed_run(stage: Stage, server: ReplicateServer) -> None:
    said = stopped(stage, server)
    assert "Left under way: 2 remote jobs" in said
    assert "callsheet cancel" in said
    before = server.created
    told = stage.run("cancel", "repair_base_images")
    assert told.code == 0
    assert told.text.count("cancelled; a resumed run makes") == before == len(server.cancelled) >= 1
    assert "no remote job is under way" in stage.run("cancel", "repair_base_images").text
    server.set(polls=0)
    assert stage.run(*REPAIR).code in (0, 1)
    assert server.created > before
    assert KEY not in told.text + said


def test_what_has_ended_meanwhile_is_left_to_be_fetched(stage: Stage, server: ReplicateServer) -> None:
    stopped(stage, server)
    before = server.created
    for job in server._jobs.values():
        job.polls = 0
        job.look()
    assert "had come to its end before: a resumed run fetches it" in stage.run("cancel", "latest").text
    server.set(polls=0)
    looked = server.counts["get"]
    stage.run(*REPAIR)
    paths = [each.path for each in server.requests_on("get")[looked:]]
    assert {f"/v1/predictions/{job}" for job in list(server._jobs)[:before]} <= set(paths)


def test_a_vendor_that_can_not_be_asked_leaves_the_job(stage: Stage, server: ReplicateServer) -> None:
    stopped(stage, server)
    server.always("cancel", "403")
    told = stage.run("cancel", "latest")
    assert told.code == 1
    assert "not cancelled: replicate: 403" in told.text
    server.always("cancel", None)
    assert stage.run("cancel", "latest").code == 0


def test_a_run_in_progress_is_refused(stage: Stage, server: ReplicateServer) -> None:
    stopped(stage, server)
    path = (stage.root / "outputs/repair_base_images/latest").resolve()
    with files.locked(path / "run.lock", "busy"):
        told = stage.run("cancel", "latest")
    assert told.code == 2
    assert "is in progress: stop it first" in told.text
    assert server.cancelled == []


def test_a_run_without_jobs_says_so(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    told = stage.run("cancel", "validate_base_images")
    assert (told.code, "no remote job is under way" in told.text) == (0, True)
    assert stage.run("cancel", "nothing").code == 2


def test_what_can_not_be_cancelled_is_said(stage: Stage) -> None:
    stage.run("run", "validate_base_images")
    path = (stage.root / "outputs/validate_base_images/latest").resolve()
    with Ledger(stage.root / "outputs/ledger.sqlite") as ledger:
        insert = "INSERT INTO remote_jobs (key, provider, state, remote_id, at, run) VALUES (?, ?, ?, ?, 0, ?)"
        ledger.execute(insert, ("a/0", "image=replicate", "creating", None, str(path)))
        ledger.execute(insert, ("b/0", "image=other", "running", "job-7", str(path)))
        ledger.execute(insert, ("c/0", "vision=embedded", "running", "job-8", str(path)))
    told = stage.run("cancel", "latest")
    assert told.code == 1
    assert "the create for a/0 was cut off: it may run" in told.text
    assert "image=other job-7: not cancelled: the run's recipe names no image=other" in told.text
    assert "vision=embedded job-8: not cancelled: vision=embedded can't cancel jobs" in told.text
