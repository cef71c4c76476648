"""A folder of raw images, somebody who captions them as scripted, and the set that comes of it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.ledger import Ledger
from steps.backends.protocols import Answer, Question
from steps.caption import Caption, CaptionParams
from steps.library.captions import id_of
from steps.studio.models import domain
from tests.library import context, put
from tests.support import Engine

PLAIN = "Somebody stands in a wide place."


@dataclass
class ScriptedCaptions:
    """Answers by the image's bytes where it is scripted, in turn; else by what every picture shows."""

    script: dict[str, list[str | Exception]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    identity: str = "scripted captions"
    usd: float = 0.002

    def says(self, data: bytes, *answers: str | Exception) -> None:
        self.script[hashlib.sha256(data).hexdigest()] = list(answers)

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        answers = self.script.get(question.images[0].sha256)
        answer = PLAIN if not answers else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer({"caption": answer}, self.identity, self.usd)

    def estimate(self, question: Question) -> float | None:
        return 0.003


def drawn(number: int, size: int = 96, kind: str = "PNG", **how: Any) -> bytes:
    """Picture `number` of people whom no model knows."""
    buffer = io.BytesIO()
    domain.picture("test", number * domain.RENDERS).draw(size).save(buffer, kind, **how)
    return buffer.getvalue()


@dataclass
class Studio:
    """A folder of raw images, the set that comes of it, and the step run over both."""

    root: Path
    ledger: Ledger
    runs: int = 0

    @property
    def raw(self) -> Path:
        return self.root / "raw_images"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def put(self, name: str, data: bytes) -> str:
        """A raw image; returns the id that it will have."""
        put(self.raw / name, data)
        return id_of(hashlib.sha256(data).hexdigest())

    def caption(self, vision: ScriptedCaptions, *, fresh: bool = False, **params: Any) -> dict[str, Any]:
        """A new run of the step; its results, with rows by the raw file's name."""
        self.runs += 1
        run = f"run-{self.runs}"
        given = {"raw": str(self.raw), "trigger": "Aldar Kose"} | params
        step = Caption(CaptionParams(**given), context(self.ledger, self.root, self.data, run=run), vision)
        self.ledger.flush()
        try:
            Engine(self.root, workers=1).run(step, run, fresh=fresh)
        finally:
            step.close()
        document: dict[str, Any] = json.loads(self.out("results.json").read_text())
        return document | {row["raw"][0]: row for row in document["results"]}

    def out(self, name: str) -> Path:
        return self.root / f"run-{self.runs}" / "step" / name

    def text(self, id_: str) -> str:
        return (self.data / "captions" / f"{id_}.txt").read_text("utf-8")

    def image(self, id_: str) -> Path:
        found = list((self.data / "images").glob(f"{id_}.*"))
        assert len(found) == 1, found
        return found[0]
