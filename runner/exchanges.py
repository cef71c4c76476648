"""debug=true: every request and answer of a run is kept in it, secrets taken out, images as hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner import files
from runner.secrets import Redactor

# Shorter texts are kept as they are; no image is shorter.
LONGEST_TEXT = 2_000
DATA_URL = re.compile(r"data:([\w/+.-]+);base64,([A-Za-z0-9+/=\s]{64,})")
BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
SIGNED = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]+")
UNSAFE = re.compile(r"[^\w.@=-]+")


class Exchanges:
    """Files of requests and answers: FOLDER/LABEL/ITEM/NNN-BACKEND.json.

    Args:
        folder: Where they go; None keeps nothing.
        backend: For their names, for example "vision=openai".
        item: Says what the current thread works on.
    """

    def __init__(self, folder: Path | None, backend: str, item: Callable[[], str] = lambda: "") -> None:
        self._folder = folder
        self._backend = backend
        self._item = item
        self._redact = Redactor() if folder is not None else None
        self._counts: Counter[Path] = Counter()
        self._lock = threading.Lock()

    @property
    def kept(self) -> bool:
        """Whether anything is kept: what is not need not be read."""
        return self._folder is not None

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keep one exchange. Bodies are bytes, text or plain values; keys of the caller's choice."""
        if self._folder is None or self._redact is None:
            return
        folder = self._folder.joinpath(
            *(UNSAFE.sub("_", part).strip(".") or "_" for part in self._item().split("/", 1))
        )
        text = json.dumps({"request": plain(request), "answer": plain(answer)}, ensure_ascii=False, indent=2)
        with self._lock:
            files.make_folder(folder)
            if folder not in self._counts:
                self._counts[folder] = sum(1 for _ in folder.glob("*.json"))
            self._counts[folder] += 1
            number = self._counts[folder]
        name = f"{number:03d}-{UNSAFE.sub('_', self._backend)}.json"
        files.write_bytes(folder / name, self._redact(text).encode("utf-8"))


def plain(value: Any) -> Any:
    """A value as JSON has it, with images and other long data told by kind, size and SHA-256."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return _of_bytes(value)
    if isinstance(value, str):
        return _of_text(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _of_bytes(data: bytes) -> Any:
    """JSON as its value, text as text, all else as a hash."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _hash("data", data)
    try:
        return plain(json.loads(text))
    except ValueError:
        return _of_text(text)


def _of_text(text: str) -> str:
    text = DATA_URL.sub(lambda found: f"data:{found[1]};base64,{_decoded(found[2])}", text)
    # A signed link carries its key behind the question mark.
    text = SIGNED.sub(r"\1?...", text)
    text = BASE64.sub(lambda found: _decoded(found[0]), text)
    return text if len(text) <= LONGEST_TEXT * 10 else f"{text[:LONGEST_TEXT]} ... ({len(text)} characters)"


def _decoded(text: str) -> str:
    try:
        return f"<{_hash('data', base64.b64decode(text, validate=False))}>"
    except (binascii.Error, ValueError):
        return f"<{_hash('text', text.encode('utf-8'))}>"


def _hash(what: str, data: bytes) -> str:
    return f"{what} of {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
