"""Small libraries on disk and scripted backends, for tests of steps that need no real judgement."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from runner.artifacts import Artifacts
from runner.errors import ItemError, Refused
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from runner.operations import Operations
from runner.step import StepContext
from runner.stop import Stop
from steps.backends.local import LocalSettings, LocalStorage
from steps.backends.protocols import Answer, ImageRequest, MadeImage, Question
from steps.library.mirror import StoredObject
from tests.support import calls

GOOD: Mapping[str, Any] = {
    "is_clear": True,
    "is_match": True,
    "clarity_reason": "sharp",
    "match_reason": "fits",
    "confidence": "high",
}
BLURRY: Mapping[str, Any] = {**GOOD, "is_clear": False, "clarity_reason": "smeared"}
OTHER: Mapping[str, Any] = {**GOOD, "is_match": False, "match_reason": "somebody else"}
UNSURE: Mapping[str, Any] = {**OTHER, "confidence": "low"}


def jpeg(colour: str, size: tuple[int, int] = (32, 48)) -> bytes:
    """A small image of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_library(root: Path, names: Sequence[str] = ("0000_ada", "0001_bek", "0002_cui"), *, training: int = 2) -> Path:
    """A library whose actors each have a base image and some training images with a manifest."""
    actors = [
        {"id": number, "name": name, "description": f"{name}, a person", "outfit": "a coat"}
        for number, name in enumerate(names)
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "actorsData.json").write_text(json.dumps(actors))
    for number, name in enumerate(names):
        put(root / "actors" / name / "base_image" / f"{name}_base.jpg", jpeg(f"#{number % 256:02x}4080"))
        for image in range(training):
            put(
                root / "actors" / name / "training_data" / f"{name}_{image + 1}.jpg",
                jpeg(f"#{number % 256:02x}{image:02x}00"),
            )
        if training:
            put(root / "actors" / name / "training_data" / "manifest.json", b"{}")
    return root


def put(path: Path, data: bytes) -> None:
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its content."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@dataclass
class ScriptedVision:
    """Answers by the first pixel's colour name where it is scripted, else that all is good; in turn where there are several."""

    script: dict[str, list[Mapping[str, Any] | Exception]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    identity: str = "scripted vision"

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        description = question.facts["description"].split(",")[0]
        answers = self.script.get(description)
        answer = GOOD if not answers else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer, self.identity)

    def estimate(self, question: Question) -> float | None:
        return 0.002


@dataclass
class ScriptedImages:
    """Makes plain images, and refuses where told."""

    refuse: int = 0
    requests: list[ImageRequest] = field(default_factory=list)
    identity: str = "scripted images"

    def make(self, request: ImageRequest) -> MadeImage:
        self.requests.append(request)
        if len(self.requests) <= self.refuse:
            raise Refused("flagged")
        return MadeImage(jpeg("orange", (request.width, request.height)), self.identity)

    def estimate(self, request: ImageRequest) -> float | None:
        return 0.04


@dataclass
class RecordingMirror:
    """A mirror in memory that notes what is done to it, and whether the local file was still there then."""

    library: Path
    objects: dict[str, bytes] = field(default_factory=dict)
    trash: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def inventory(self, folder: PurePosixPath) -> list[StoredObject]:
        return [self._stored(key, data) for key, data in self.objects.items() if key.startswith(f"{folder}/")]

    def holding(self, key: PurePosixPath, sha256: str) -> StoredObject | None:
        data = self.objects.get(str(key))
        return None if data is None or hashlib.sha256(data).hexdigest() != sha256 else self._stored(str(key), data)

    def find(self, key: PurePosixPath) -> StoredObject | None:
        data = self.objects.get(str(key))
        return None if data is None else self._stored(str(key), data)

    def get(self, item: StoredObject) -> bytes:
        if str(item.key) not in self.objects:
            raise ItemError(f"mirror:{item.key} is gone")
        self._expect(item)
        return self.objects[str(item.key)]

    def to_trash(self, item: StoredObject, action: str) -> bool:
        self._note("to_trash", str(item.key))
        kept = f"{action}/{item.key}"
        if kept not in self.trash and str(item.key) in self.objects:
            self._expect(item)
            self.trash[kept] = self.objects[str(item.key)]
        return kept in self.trash

    def put(self, key: PurePosixPath, data: bytes, media_type: str, replaces: StoredObject | None = None) -> bool:
        self._note("put", str(key))
        standing = self.objects.get(str(key), data)
        if standing != data:
            self._expect(replaces or StoredObject(key, -1))
        self.objects[str(key)] = data
        return True

    def delete(self, item: StoredObject) -> bool:
        self._note("delete", str(item.key))
        if str(item.key) not in self.objects:
            return False
        self._expect(item)
        del self.objects[str(item.key)]
        return True

    def in_trash(self, action: str) -> list[StoredObject]:
        kept = {
            key.removeprefix(f"{action}/"): data for key, data in self.trash.items() if key.startswith(f"{action}/")
        }
        return [self._stored(key, data) for key, data in kept.items()]

    def can_return(self, item: StoredObject, action: str) -> bool:
        kept = self.trash[f"{action}/{item.key}"]
        return self.objects.get(str(item.key), kept) == kept

    def restore(self, item: StoredObject, action: str) -> None:
        self._note("restore", str(item.key))
        if not self.can_return(item, action):
            raise ItemError(f"{item.key} has appeared since")
        self.objects[str(item.key)] = self.trash[f"{action}/{item.key}"]

    def empty_trash(self, action: str) -> None:
        self.asked.append("empty_trash")
        for key in [key for key in self.trash if key.startswith(f"{action}/")]:
            del self.trash[key]

    def address(self, key: PurePosixPath) -> str:
        return f"mirror:{key}"

    def trash_address(self, action: str) -> str:
        return f"mirror-trash:{action}/"

    def url(self, key: PurePosixPath) -> str | None:
        return f"https://mirror.example/{key}"

    def path_of(self, url: str) -> PurePosixPath | None:
        found = url.removeprefix("https://mirror.example/")
        return None if found == url else PurePosixPath(found)

    def _stored(self, key: str, data: bytes) -> StoredObject:
        return StoredObject(PurePosixPath(key), len(data), hashlib.sha256(data).hexdigest()[:32])

    def _expect(self, item: StoredObject) -> None:
        if self._stored(str(item.key), self.objects[str(item.key)]) != item:
            raise ItemError(f"mirror:{item.key} has changed since")

    def _note(self, what: str, key: str) -> None:
        self.asked.append(f"{what} {Path(key).name} {'there' if (self.library / key).exists() else 'gone'}")


def no_mirror(ledger: Ledger) -> LocalStorage:
    """A library without a mirror."""
    return LocalStorage(LocalSettings(), calls(ledger))


def context(
    ledger: Ledger, folder: Path, data: Path, *, label: str = "step", run: str = "run-1", execute: bool = False
) -> StepContext:
    """What a step gets, over real folders."""
    out = folder / run / label
    out.mkdir(parents=True, exist_ok=True)
    stop, hashes = Stop(), FileHashes(ledger)
    return StepContext(
        label=label,
        run=run,
        out=out,
        data=data,
        seed=0,
        execute=execute,
        ledger=ledger,
        hashes=hashes,
        operations=Operations(folder / run / "operations.jsonl"),
        stop=stop,
        artifacts=Artifacts(folder, ledger, hashes, stop),
    )
