"""The tables at the end of `make chaos`. It stands here because xdist's controller loads no conftest further down."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the crash tests broke off where, when they are run whole (make chaos)."""
    if terminalreporter.config.option.markexpr != "chaos":
        return
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    rows = sorted({value for report in reports for name, value in report.user_properties if name == "chaos"})
    faults = [value for report in reports for name, value in report.user_properties if name == "fault"]
    if faults:
        terminalreporter.section("faults: what each ends in, and what a person is told")
        for row in faults:
            backend, route, fault, outcome, said = row.split("|", 4)
            terminalreporter.write_line(f"{backend:<16}{route:<8}{fault:<18}{outcome:<17}{said}")
    if rows:
        terminalreporter.section("crash tests: what was broken off where")
        terminalreporter.write_line(f"{'layer':<14}{'what':<58}{'points':>7}{'bad':>5}")
        for row in rows:
            layer, what, points, bad = row.split("|")
            terminalreporter.write_line(f"{layer:<14}{what:<58}{points:>7}{bad:>5}")
