"""Secrets stay out of whatever we write: keys are held as SecretStr, and texts are cleaned before they are kept."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
MIN_LENGTH = 8
MASK = "[secret]"


class Redactor:
    """Takes the values of environment variables named like a key, token, secret or password out of texts."""

    def __init__(self) -> None:
        found = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= MIN_LENGTH}
        # Longest first, so that a secret inside another leaves no rest. Short values would mask ordinary words.
        self._values = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        # What is kept must fit into files and databases: file names may hold bytes that are no UTF-8.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def redacted(value: Any) -> Any:
    """Plain values (texts, lists, mappings) without secrets: somebody may have typed one as an override."""
    return _redacted(value, Redactor())


def _redacted(value: Any, redact: Redactor) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item, redact) for item in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Cleans whole log lines, tracebacks included."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line without secrets."""
        return self._redact(super().format(record))
