"""Progress: plain lines where the output is no terminal, a bar where it is, hardly anything when quiet."""

from __future__ import annotations

import io
import itertools

from runner.progress import Reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(reporter: Reporter) -> None:
    reporter.begin("validate", 4)
    reporter.advance(remembered=True)
    reporter.advance(usd=0.01)
    reporter.advance(failed=True)
    reporter.warn("actor 3: no")
    reporter.advance()
    reporter.end()


def test_plain_lines_tell_rate_failures_cost_and_time_left() -> None:
    stream = io.StringIO()
    work(Reporter(stream=stream, prefix="[job 1] ", clock=itertools.count(0, 6.0).__next__))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[job 1] validate: 2 of 4 done, 1 remembered, $0.0100, 24.0 s, about 48 s left"
    assert lines[-1].startswith("[job 1] validate: 4 of 4 done, 1 remembered, 1 failed, $0.0100")


def test_quiet_leaves_warnings() -> None:
    stream = io.StringIO()
    work(Reporter(stream=stream, quiet=True))
    assert stream.getvalue() == "actor 3: no\n"


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    work(Reporter(stream=stream))
    assert "\x1b[" in stream.getvalue()
    assert "actor 3: no" in stream.getvalue()
    assert "4 of 4 done" in stream.getvalue()
