"""operations.jsonl: what was done to which file or key, in order, for whoever audits a run."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

from runner.files import append_line


class Operations:
    """Appends to a run's operations.jsonl."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def record(self, operation: str, target: str, **details: str | float | None) -> None:
        """Note one operation that has been carried out.

        Args:
            operation: A verb: "trash", "put", "restore", "make".
            target: The file (relative to the library) or key.
            details: What helps to find it again: action, source, sha256.
        """
        entry = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "operation": operation,
            "target": target,
            **details,
        }
        with self._lock:
            append_line(self._path, json.dumps(entry, ensure_ascii=False))
