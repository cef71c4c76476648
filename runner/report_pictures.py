"""Pictures that steps name in their parts, as a page in the run's folder can show them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from runner.report_parts import COMES, GOES, Badge, Frame, Shown


@dataclass(frozen=True)
class Picture:
    """An image of a card; `url` is None where there is no file below the run's folder."""

    url: str | None
    caption: str
    alt: str
    step: str
    mark: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Still:
    """A picture of a strip; `tries` are those that were not taken."""

    picture: Picture
    text: str
    badge: Badge | None
    facts: Sequence[tuple[str, str]]
    tries: Sequence[Picture]


class Pictures:
    """Turns what steps name into addresses that stay below the run's folder."""

    def __init__(self, run: Path) -> None:
        self._run = run
        # Files that several runs use lie in outputs/artifacts, with links to them in the run's folder.
        parents = run.absolute().parents
        shared = [parents[level] / "artifacts" for level in (1, 3) if level < len(parents)]
        self._roots = [root.resolve() for root in (run, *shared)]

    def picture(self, label: str, title: str, shown: Shown) -> Picture:
        """The picture, without an address if its file is elsewhere or gone."""
        alt = shown.alt or ", ".join(filter(None, (title, shown.caption)))
        url = quote(os.fsencode(shown.file), safe="/") if self._is_ours(shown.file) else None
        mark = shown.mark if shown.mark in (GOES, COMES) else ""
        return Picture(url, shown.caption, alt, label, mark, shown.reason)

    def still(self, label: str, title: str, frame: Frame) -> Still:
        """A picture of a strip, with those that were not taken."""
        alt = frame.alt or frame.text
        tries = [self.picture(label, f"{title}, {frame.caption}", shown) for shown in frame.tries]
        picture = self.picture(label, title, Shown(frame.file, frame.caption, alt))
        return Still(picture, frame.text, frame.badge, frame.facts, tries)

    def _is_ours(self, name: str) -> bool:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            return False
        try:
            target = (self._run / pure).resolve()
            return target.is_file() and any(target.is_relative_to(root) for root in self._roots)
        except (OSError, ValueError, RuntimeError):
            return False
