"""Named places where a crash test may kill the process; in ordinary use each is one comparison with None.

`CALLSHEET_FAILPOINT=execute.moved:2` sends SIGKILL to this process the second time that `execute.moved` is passed.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_WANTED = os.environ.get("CALLSHEET_FAILPOINT")
_seen: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here if the environment asks for it."""
    if _WANTED is None:
        return
    wanted, _, nth = _WANTED.partition(":")
    if name == wanted:
        _seen[name] += 1
        if _seen[name] == int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
