"""Which keys of a bucket are ours to touch: the one place where a path of the library becomes a key, and a key a path."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.errors import ItemError

MAX_KEY_BYTES = 1024
# As plans name them; no folder of somebody else's is called so.
ACTION = re.compile(r"[0-9a-f]{24}")
ANY_ACTION = "0" * 24

log = logging.getLogger("callsheet")


def is_clean(path: str) -> bool:
    """A relative path in one spelling, that could be a file of the library: no empty part, no `.` or `..`, no control characters."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return False
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in path)


def clean_folder(value: str) -> str | None:
    """For settings: None where a prefix names a folder in the bucket (or is empty), else what is allowed."""
    return None if value == "" else clean_trash(value)


def clean_trash(value: str) -> str | None:
    """The same, and not empty."""
    if is_clean(value.removesuffix("/")):
        return None
    return "give a folder like cast/data: no leading slash, no '..', no empty part"


@dataclass(frozen=True)
class Names:
    """Keys of one bucket below one prefix.

    Attributes:
        prefix: Empty, or with a slash at its end.
        trash: The folder of the trash below the prefix, with a slash at its end.
    """

    bucket: str
    prefix: str
    trash: str

    @classmethod
    def of(cls, bucket: str, prefix: str, trash: str) -> Names:
        """From settings, where the slash at the end may be missing."""
        return cls(bucket, _folder(prefix), _folder(trash))

    def key(self, path: PurePosixPath) -> str:
        """The key of a path of the library.

        Raises:
            ItemError: It would lie outside the prefix, or in the trash.
        """
        text = str(path)
        if not is_clean(text) or text.startswith(self.trash):
            raise ItemError(f"{text!r} is no file of the library: no object outside {self.url('')} is touched")
        return self.prefix + text

    def trash_folder(self, action: str) -> str:
        """The prefix of all keys that an action moved away."""
        if not ACTION.fullmatch(action):
            raise ItemError(f"{action!r} is no action")
        return f"{self.prefix}{self.trash}{action}/"

    def trash_key(self, path: PurePosixPath, action: str) -> str:
        """Where an action keeps the object of a path."""
        return self.trash_folder(action) + self.key(path).removeprefix(self.prefix)

    def path(self, key: str) -> PurePosixPath | None:
        """The path of the library that a listed key names, or None for one that is never touched.

        Such a key (`..`, an empty part, control characters, too long to be kept in the trash) can't be that of a file of the
        library. It is passed over with a warning rather than refused: it stays as it is, and keeps nobody from the rest.
        """
        return self._below(self.prefix, key)

    def path_in_trash(self, key: str, action: str) -> PurePosixPath | None:
        """The path that a listed key of an action's trash came from, or None for one that is never touched."""
        return self._below(self.trash_folder(action), key)

    def url(self, key: str) -> str:
        """For people."""
        return f"s3://{self.bucket}/{key or self.prefix}"

    def _below(self, folder: str, key: str) -> PurePosixPath | None:
        text = key.removeprefix(folder)
        if text.endswith("/") and is_clean(text[:-1]):
            # A folder's own marker, as the console makes them.
            return None
        short = len(f"{self.prefix}{self.trash}{ANY_ACTION}/{text}".encode("utf-8", "replace")) <= MAX_KEY_BYTES
        if key.startswith(folder) and is_clean(text) and short and not text.startswith(self.trash):
            return PurePosixPath(text)
        log.warning("%a in the bucket %s is the key of no file of the library, and is left alone", key, self.bucket)
        return None


def _folder(text: str) -> str:
    return text if not text or text.endswith("/") else text + "/"
