"""Somebody who keeps the training images of a small library balanced: plans, executes and undoes over scripted backends."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat

from runner.errors import ItemError, Refused
from runner.ledger import Ledger
from steps.backends.protocols import Answer, ImageRequest, MadeImage, Question
from steps.execute_training import ExecuteTraining, ExecuteTrainingParams
from steps.library import composites, legacy
from steps.library.actors import Library
from steps.library.history import History
from steps.library.journal import Journal
from steps.library.mirror import Storage
from steps.library.training import read_manifest
from steps.library.transaction import Replacement
from steps.plan_training import PlanTraining, PlanTrainingParams
from tests.library import context, make_library, no_mirror, put
from tests.support import Engine

PHOTO, INK, COMIC = "photorealistic", "bw_stylized", "color_stylized"
HUES = {PHOTO: (220, 60, 60), INK: (128, 128, 128), COMIC: (60, 200, 60)}
NAME = "0001_bek"


def picture(kind: str, quality: int, seed: int = 0, size: tuple[int, int] = (64, 36)) -> bytes:
    """A picture whose hue is its class, whose light is its quality, and whose corner is its own."""
    colour = tuple(round(part * (0.4 + 0.06 * quality)) for part in HUES[kind])
    image = Image.new("RGB", size, colour)
    image.putpixel((0, 0), (seed % 256, seed // 256 % 256, 7))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def seen(image: Image.Image) -> tuple[str, int]:
    """Class and quality of such a picture."""
    mean = ImageStat.Stat(
        image.crop((image.width // 4, image.height // 4, image.width * 3 // 4, image.height * 3 // 4))
    ).mean
    light = {kind: sum(mean) / sum(hue) for kind, hue in HUES.items()}
    away = {
        kind: sum(abs(part - light[kind] * own) for part, own in zip(mean, hue, strict=True))
        for kind, hue in HUES.items()
    }
    kind = min(away, key=away.__getitem__)
    return kind, max(1, min(10, round((light[kind] - 0.4) / 0.06)))


@dataclass
class HueVision:
    """Sees class and quality by hue and light."""

    asked: int = 0
    identity: str = "hues"

    def ask(self, question: Question) -> Answer:
        self.asked += 1
        numbers = [int(number) for number in question.facts["numbers"].split(",")]
        cells = [
            cell for sheet in question.images for cell in composites.cells(sheet.image, composites.places(sheet.image))
        ]
        rows = []
        for number in numbers:
            kind, quality = seen(cells[number - 1])
            rows.append({"number": number, "class": kind, "quality": quality})
        return Answer({"images": rows, "analysis": "as they are"}, self.identity)

    def estimate(self, question: Question) -> float | None:
        return 0.001


@dataclass
class HueImages:
    """Makes a picture of the class that is asked for, of quality 9, or what the script says, in turn: (class, quality), or "refuse".

    First of all it hands out `copies`.
    """

    script: list[tuple[str, int] | str] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    requests: list[ImageRequest] = field(default_factory=list)
    identity: str = "hue images"

    def make(self, request: ImageRequest) -> MadeImage:
        self.requests.append(request)
        if self.copies:
            return MadeImage(self.copies.pop().read_bytes(), self.identity)
        told = self.script.pop(0) if self.script else (request.facts["class"], 9)
        if isinstance(told, str):
            raise Refused("flagged")
        return MadeImage(picture(*told, seed=request.seed), self.identity, 0.03)

    def estimate(self, request: ImageRequest) -> float | None:
        return 0.03


class Keeper:
    """Somebody who plans and executes over one library of one actor with training images."""

    def __init__(self, ledger: Ledger, folder: Path, images: Sequence[tuple[str, int]]) -> None:
        self.ledger = ledger
        self.folder = folder
        self.library = make_library(folder / "data", ["0000_ada", NAME], training=0)
        self.training = self.library / "actors" / NAME / "training_data"
        self.training.mkdir(parents=True)
        for number, (kind, quality) in enumerate(images, start=1):
            put(self.training / f"{NAME}_{number}.jpg", picture(kind, quality, number))
        self.images = HueImages()
        self.vision = HueVision()
        self.mirror: Storage = no_mirror(ledger)
        self.engine = Engine(folder, workers=1)

    def write_manifest(self, **more: Any) -> None:
        """As the migration writes it, with more for each image."""
        self.ledger.flush()
        actor = Library(self.library).by_name(NAME)
        assert actor is not None
        manifest = legacy.current(self.library, actor, context(self.ledger, self.folder, self.library).hashes)
        document = manifest.document()
        for row in document["images"]:
            row.update(more)
        put(self.training / "manifest.json", json.dumps(document).encode())

    def evaluate(self) -> Path:
        """What `validate_training` would have written."""
        rows: list[dict[str, Any]] = []
        known: dict[str, int] = {}
        there = [path for path in self.training.glob("*.jpg") if not path.is_symlink()]
        for number, path in enumerate(sorted(there, key=lambda path: int(path.stem.split("_")[-1])), start=1):
            data = path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            kind, quality = seen(Image.open(io.BytesIO(data)).convert("RGB"))
            first = known.setdefault(sha256, number)
            rows.append(
                {
                    "number": number,
                    "file": path.name,
                    "sha256": sha256,
                    "size": len(data),
                    "where": "disk",
                    "class": kind,
                    "quality": quality if first == number else 0,
                    "problem": None if first == number else f"an exact copy of {first}",
                    "made_at": float(number),
                }
            )
        row = {"actor_id": 1, "actor_name": NAME, "success": True, "error": None, "analysis": "", "images": rows}
        path = self.folder / "results.json"
        path.write_text(json.dumps({"total_processed": 1, "results": [row]}))
        return path

    def plan(self, run: str = "planning", **params: Any) -> Path:
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="plan", run=run)
        chosen = {
            "total": 5,
            "targets": {PHOTO: 3, INK: 1, COMIC: 1},
            "tolerance": 0.0,
            "width": 64,
            "height": 64,
            **params,
        }
        step = PlanTraining(
            PlanTrainingParams(str(self.evaluate()), **chosen), there, self.vision, self.images, self.mirror
        )
        self.engine.run(step, run)
        self.gate = step.gate()
        return there.out / "balance_plan.json"

    def execute(self, plan: Path, run: str = "executing", *, act: bool = True, **params: Any) -> dict[str, Any]:
        self.ledger.flush()
        there = context(self.ledger, self.folder, self.library, label="execute", run=run, execute=act)
        step = ExecuteTraining(ExecuteTrainingParams(str(plan), **params), there, self.vision, self.images, self.mirror)
        try:
            self.engine.run(step, run)
        finally:
            step.close()
        self.gate = step.gate()
        document = json.loads((there.out / "executed.json").read_text())
        return {row["actor_name"]: row for row in document["results"]}

    def undo(self, run: str = "executing") -> list[str]:
        journal = Journal(self.ledger)
        operations = context(self.ledger, self.folder, self.library, run=run).operations
        replacement = Replacement(self.library, journal, operations, self.mirror)
        faults = []
        for state, record in journal.of_run(run):
            fault = replacement.undo_fault(state, record)
            if fault is None:
                replacement.undo(record)
            else:
                faults.append(fault)
        return faults

    def states(self) -> dict[str, str]:
        return {
            json.loads(record)["actor_name"]: state
            for state, record in self.ledger.rows("SELECT state, record FROM actions")
        }

    def counts(self) -> Mapping[str, int]:
        """Images on disk by class."""
        return Counter(seen(Image.open(path).convert("RGB"))[0] for path in self.training.glob("*.jpg"))

    def manifest(self) -> dict[str, Any]:
        """The manifest by file, checked as whoever reads it would."""
        actor = Library(self.library).by_name(NAME)
        assert actor is not None
        found = read_manifest(self.library, actor)
        if found is None:
            raise ItemError("no manifest")
        return {image.file: image for image in found.images}

    def history(self) -> list[Mapping[str, int]]:
        self.ledger.flush()
        return [one.counts for one in History(self.ledger, self.library).of(NAME)]
