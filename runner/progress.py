"""What a person sees while a run works: a bar on a terminal, plain lines elsewhere, warnings only with quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from runner.secrets import Redactor

LINE_EVERY_SECONDS = 10.0


class Reporter:
    """Counts a step's items and shows them."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        prefix: str = "",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._prefix = prefix
        self._clock = clock
        self._lock = threading.Lock()
        self._redact = Redactor()
        self._bar = self._terminal_bar() if not quiet and self._stream.isatty() else None
        self._task: TaskID | None = None
        self._inner: dict[str, TaskID] = {}
        self._label = ""
        self.done = self.failed = self.remembered = 0
        self.usd = 0.0
        self._total: int | None = None
        self._began = self._last_line = 0.0

    def say(self, text: str) -> None:
        """One line for the person, unless quiet."""
        if not self._quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """One line that is shown even when quiet."""
        self._print(text)

    def begin(self, label: str, total: int | None) -> None:
        """A step's items start."""
        self._label, self._total = label, total
        self.done = self.failed = self.remembered = 0
        self.usd = 0.0
        self._began = self._last_line = self._clock()
        if self._bar is not None:
            self._task = self._bar.add_task(label, total=total, extra="")
            self._bar.start()

    def advance(self, *, failed: bool = False, remembered: bool = False, usd: float = 0.0) -> None:
        """One item ended."""
        with self._lock:
            self.done += 1
            self.failed += failed
            self.remembered += remembered
            self.usd += usd
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=self.done, extra=self._extra())
            elif not self._quiet and self._clock() - self._last_line >= LINE_EVERY_SECONDS:
                self._last_line = self._clock()
                self._print(self._line())

    def within(self, item: str, done: int, total: int, extra: str = "") -> None:
        """How far a long item is.

        Args:
            item: Its key.
            done: How much of it is done.
            total: Of how much; the item's bar goes when all is done.
            extra: What else a person wants to see ("loss 0.081").
        """
        with self._lock:
            if self._bar is not None:
                self._show_inner(item, done, total, extra)
            elif not self._quiet and self._clock() - self._last_line >= LINE_EVERY_SECONDS:
                self._last_line = self._clock()
                self._print(f"{self._label}: {item}: {done} of {total}{', ' if extra else ''}{extra}")

    def end(self) -> None:
        """A step's items are all done, or the run stops."""
        if self._bar is not None:
            self._bar.stop()
            for task in [*([] if self._task is None else [self._task]), *self._inner.values()]:
                self._bar.remove_task(task)
            self._task = None
            self._inner = {}
        self.say(self._line())

    def _show_inner(self, item: str, done: int, total: int, extra: str) -> None:
        assert self._bar is not None
        if item not in self._inner:
            self._inner[item] = self._bar.add_task(f"  {item}", total=total, extra="")
        self._bar.update(self._inner[item], completed=done, total=total, extra=extra)
        if done >= total:
            self._bar.remove_task(self._inner.pop(item))

    def _terminal_bar(self) -> Progress:
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[extra]}"),
        )
        return Progress(*columns, console=Console(file=self._stream), transient=True)

    def _extra(self) -> str:
        elapsed = max(self._clock() - self._began, 1e-9)
        parts = [f"{(self.done - self.remembered) / elapsed:.1f}/s"]
        if self.remembered:
            parts.append(f"{self.remembered} remembered")
        if self.failed:
            parts.append(f"[red]{self.failed} failed[/red]")
        if self.usd:
            parts.append(f"${self.usd:.3f}")
        return " · ".join(parts)

    def _line(self) -> str:
        elapsed = self._clock() - self._began
        total = "" if self._total is None else f" of {self._total}"
        parts = [f"{self._label}: {self.done}{total} done"]
        if self.remembered:
            parts.append(f"{self.remembered} remembered")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.usd:
            parts.append(f"${self.usd:.4f}")
        parts.append(f"{elapsed:.1f} s")
        fresh = self.done - self.remembered
        if self._total and fresh > 0 and self.done < self._total:
            parts.append(f"about {elapsed / fresh * (self._total - self.done):.0f} s left")
        return ", ".join(parts)

    def _print(self, text: str) -> None:
        text = self._redact(text)
        if self._bar is not None and self._task is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"{self._prefix}{text}", file=self._stream, flush=True)
