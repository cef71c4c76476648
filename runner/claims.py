"""Claims: which process works at an answer, so that two that want the same one pay for it once.

A claim is a lock on one byte of a file beside the ledger, so that it goes when its process dies, however it dies. The file
has no content: the byte is where the name's digest points.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from typing import ClassVar

from runner.errors import Interrupted
from runner.stop import Stop

POLL_SECONDS = 0.05
# Enough that two names seldom share one; no more, for the system looks through a list of all locks on a file.
BYTES = 1024


class _Thread(threading.local):
    """What one thread holds."""

    inner = 0


class Claims:
    """The claims of one ledger. All of a process go through one open file: closing another one would drop every lock on it."""

    _open: ClassVar[dict[Path, Claims]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        # The system's locks tell processes apart; the names tell the threads of ours apart.
        self._held = [0] * (2 * BYTES)
        self._names: set[str] = set()
        self._thread = _Thread()
        self._lock = threading.Lock()

    @classmethod
    def beside(cls, ledger: Path) -> Claims:
        """Those of a ledger; to be closed as often as they were asked for."""
        real = ledger.resolve()
        path = real.with_name(real.name + "-claims")
        with cls._opening:
            claims = cls._open.get(path)
            if claims is None:
                claims = cls._open[path] = cls(path)
            claims._users += 1
            return claims

    def close(self) -> None:
        """Let go of the file, and so of what is still claimed, when nobody in this process uses it any more."""
        with self._opening:
            self._users -= 1
            if not self._users:
                del self._open[self._path]
                os.close(self._descriptor)

    def wait_for(self, name: str, stop: Stop, *, inner: bool = False) -> None:
        """Claim a name (hexadecimal digits), once nobody else has it.

        Args:
            name: A digest.
            stop: Ends the wait.
            inner: For what is claimed while another claim is held: bytes of its own, so that no two wait for each other. Nothing is
                waited for while one of these is held: who has one ends without anybody's help.

        Raises:
            Interrupted: The run stops while another has it.
            RuntimeError: This thread holds an inner one.
        """
        if self._thread.inner:
            raise RuntimeError(
                "a claim is asked for while an inner one is held: another process that holds the one and asks for the other, "
                "or for two names of the same bytes, would wait for this one for ever. Ask for it before, or give the first up"
            )
        while not self.take(name, inner=inner):
            if stop.wait(POLL_SECONDS):
                raise Interrupted("stopped while another process works at the same answer")

    def take(self, name: str, *, inner: bool = False) -> bool:
        """Claim a name; False when somebody else has it, or, seldom, another name of the same byte."""
        byte = _byte(name, inner=inner)
        with self._lock:
            if name in self._names:
                return False
            if not self._held[byte] and not self._locked(byte):
                return False
            self._held[byte] += 1
            self._names.add(name)
            self._thread.inner += inner
            return True

    def release(self, name: str, *, inner: bool = False) -> None:
        """Give a claim up."""
        byte = _byte(name, inner=inner)
        with self._lock:
            self._names.discard(name)
            self._held[byte] -= 1
            self._thread.inner -= inner
            if not self._held[byte] and self._users:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def _locked(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _byte(name: str, *, inner: bool) -> int:
    return int(name[:8], 16) % BYTES + BYTES * inner
