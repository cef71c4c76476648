"""What backends tell `callsheet doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """Something that a backend can't work without.

    A backend class lists its own in an optional `@classmethod needs(cls, settings) -> Iterable[Need]`.

    Attributes:
        what: A key's name, a model, a folder.
        met: True when it is there.
        advice: What to do when it is not.
    """

    what: str
    met: bool
    advice: str = ""
