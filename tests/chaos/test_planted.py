"""The test of the test: faults that the crash tests must find. Those of syncing are in test_model.py, that of remote ids in test_remote.py."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Cases, Record, Wiring
from tests.chaos.crash import needs_strace
from tests.chaos.test_system_calls import CALLS, sweep


@needs_strace
@pytest.mark.parametrize(("fault", "calls"), [("done_first", "rename"), ("in_place", "write")])
def test_system_calls_find(case: Cases, fault: str, calls: str, record_property: Record) -> None:
    execute = case("execute")
    total = sweep(execute, CALLS[calls], 6, faults=(fault,))
    record_property("chaos", f"planted|{fault}, {calls}|{total}|{len(execute.bad)}")
    assert execute.bad


def test_comparison_finds_what_is_deleted(case: Cases, record_property: Record) -> None:
    execute = case("execute")
    execute.scene.take(execute.template)
    ended = execute.zygote.run(execute.command, faults=["no_trash"])
    found = execute.differences()
    record_property("chaos", f"planted|no_trash|1|{len(found)}")
    assert ended.code == 0
    assert any(line.startswith("lost: actors/") for line in found)


@pytest.mark.parametrize(
    ("fault", "pair", "failpoint", "found"),
    [
        ("forgets_id", ("local", "replicate"), "remote.journalled", "paid 1 times more than once"),
        ("blind", ("local", "replicate"), "remote.created", "paid 1 times more than once"),
        ("unsaid", ("local", "runpod"), "remote.created", "paid 1 times more than once"),
        ("deletes_first", ("s3", "replicate"), "mirror.deleted", "lost in the bucket: cast/actors/"),
        ("done_first", ("s3", "replicate"), "mirror.trashed:2", "/bucket/cast/actors/"),
    ],
)
def test_repairs_by_servers_find(
    wired: Wiring, fault: str, pair: tuple[str, str], failpoint: str, found: str, record_property: Record
) -> None:
    repair = wired(*pair)
    repair.fail_point(failpoint, faults=(fault,))
    record_property("chaos", f"planted|{fault}, {failpoint}|1|{len(repair.bad)}")
    assert any(found in line for line in repair.bad), repair.bad
