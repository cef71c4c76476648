"""The test of the test: faults that the crash tests must find. Those of syncing are in test_model.py, that of remote ids in test_remote.py."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Cases, Record
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
