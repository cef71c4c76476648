"""The attempts at a storyboard's frames on disk: written batch by batch, so that a run which was cut off draws nothing twice."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from runner import files
from runner.errors import UserError
from runner.failpoints import failpoint

FOLDER = "attempts"
LIST = "attempts.json"
FORMAT = 1


@dataclass(frozen=True)
class Attempt:
    """One image that was drawn for a frame.

    Attributes:
        frame: From 1.
        attempt: From 0.
        mode: What it was drawn as.
        seed: Of its noise.
        file: Its path within the storyboard's folder.
        sha256: Of the file.
        cosine: With the frame's text, raw.
        score: CLIPScore.
        passed: Whether the score reached the threshold; for frame 1 a clear face must be found as well.
        faces: How many were found.
        face: How sure the detector is of the largest, 0 to 1; None without one.
        at_border: Whether the largest leaves the image.
    """

    frame: int
    attempt: int
    mode: str
    seed: int
    file: str
    sha256: str
    cosine: float
    score: float
    passed: bool
    faces: int
    face: float | None
    at_border: bool

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Which of a frame's attempts is best, the highest: for frame 1 a clear face counts beside the score."""
        if self.frame > 1:
            return True, self.passed, self.score
        return self.face is not None, self.passed, self.score + (self.face or 0.0)


class Attempts:
    """Those of one storyboard.

    Attributes:
        seconds: By what they were spent on: "load", "sample", "score", and "retry", the last two of attempts beyond the first.
        notes: Sentences for people.
        fallback: The mode that the rest is drawn in, where the storyboard's own could not be had.
        short: Whether that was for want of memory.
        peak: The most memory that was held while they were drawn, in bytes.
        run: The run that began them.
    """

    def __init__(self, folder: Path, run: str = "", peak: Callable[[], int] = lambda: 0) -> None:
        """`run`: who draws now; `peak`: tells the most memory that was held so far."""
        self._folder = folder
        self._list: list[Attempt] = []
        self._peak_now = peak
        self.run = run
        self.peak = 0
        self.short = False
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.notes: list[str] = []
        self.fallback: str | None = None
        self._read()

    def of(self, frame: int) -> list[Attempt]:
        """The attempts at a frame, in order."""
        return [each for each in self._list if each.frame == frame]

    def best(self, frame: int) -> Attempt:
        """The attempt that is kept; of equals the first."""
        return max(self.of(frame), key=lambda each: each.rank)

    def image(self, attempt: Attempt) -> Image.Image:
        """Its pixels."""
        with Image.open(self._folder / attempt.file, formats=("PNG",)) as opened:
            return opened.convert("RGB")

    def data(self, attempt: Attempt) -> bytes:
        """Its file."""
        return (self._folder / attempt.file).read_bytes()

    def add(self, batch: Sequence[tuple[Attempt, bytes]], seconds: Mapping[str, float]) -> None:
        """Keep a batch: first its images, then the list that says that they are there."""
        for attempt, data in batch:
            files.write_bytes(self._folder / attempt.file, data)
            failpoint("storyboard.image")
        self._list += [attempt for attempt, _ in batch]
        self.peak = max(self.peak, self._peak_now())
        for name, value in seconds.items():
            self.seconds[name] += value
        self._write()
        failpoint("storyboard.batch")

    def note(self, sentence: str, *, fallback: str | None = None, short: bool = False) -> None:
        """Keep a sentence for people, once, and perhaps the mode that the rest is drawn in, and whether for want of memory."""
        if sentence not in self.notes:
            self.notes.append(sentence)
        self.fallback = fallback or self.fallback
        self.short = short or self.short
        self._write()

    def _write(self) -> None:
        files.write_json(
            self._folder / FOLDER / LIST,
            {
                "format": FORMAT,
                "attempts": [asdict(each) for each in self._list],
                "seconds": {name: round(value, 4) for name, value in sorted(self.seconds.items())},
                "notes": self.notes,
                "fallback": self.fallback,
                "short": self.short,
                "peak_memory_bytes": self.peak,
                "run": self.run,
            },
        )

    def _read(self) -> None:
        """What an earlier try has left; from the first image on that is not there whole, all is drawn again."""
        try:
            document = files.read_json(self._folder / FOLDER / LIST)
            found = [Attempt(**row) for row in document["attempts"]]
            self.seconds.update(document["seconds"])
            self.notes, self.fallback = list(document["notes"]), document["fallback"]
            self.short, self.peak, self.run = document["short"], document["peak_memory_bytes"], document["run"]
        except (UserError, KeyError, TypeError, AttributeError):
            return
        self._list = list(_whole(self._folder, found))


def png(image: Image.Image) -> bytes:
    """The image as a file, the same bytes for the same pixels."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _whole(folder: Path, found: Iterable[Attempt]) -> Iterable[Attempt]:
    for each in found:
        path = folder / each.file
        if not path.is_file() or files.sha256_of(path) != each.sha256:
            return
        yield each
