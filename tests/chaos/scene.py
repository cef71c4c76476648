"""A tiny library with two actors to repair and one to leave alone, and the state of it all in a form that can be compared.

The repair of one actor moves everything that a repair may meet (an old base image, training images, a legacy file, a manifest); the
other one has no base image. Just under half of the files go, so that a count which forgets what has gone already is caught.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from runner.files import TEMPORARY
from steps.library import pictures
from steps.studio.sample_cast import PARTS, Part
from steps.studio.training_picture import figure_of, training_picture
from steps.studio.wording import read
from steps.studio.world import Scene as Place
from steps.studio.world import Shot, draw

SIZE = (128, 192)
COMMON = ("quiet=true", "retry.wait_s=0", "grace_s=1")
MAKING = (f"steps.plan.width={SIZE[0]}", f"steps.plan.height={SIZE[1]}")
WIDE = (256, 144)
BALANCING = (
    f"steps.plan.width={WIDE[0]}",
    f"steps.plan.height={WIDE[1]}",
    *("total=4", "targets={photorealistic: 2, bw_stylized: 1, color_stylized: 1}", "tolerance=0"),
)
# What is told apart by times (and by what a job's seconds cost), by the random id of a plan or by the name of a run says nothing about
# what was lost.
TIMES = frozenset(
    (
        "at",
        "made_at",
        "moved_at",
        "generated_at",
        "plan",
        "plan_id",
        "run",
        "drawn_in",
        "action_id",
        "library",
        "id",
        "seconds",
        "usd",
    )
)
# Cut off from the beginning.
BROKEN = "0002_korean_27_female_4.jpg"
BLURRY, ABSENT, GOOD = "0002_korean_27_female", "0000_european_16_male", "0001_kazakh_45_male"


@dataclass(frozen=True)
class Scene:
    """A folder with the library `data` and the `outputs` of runs over it."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def plan(self) -> Path:
        return self.outputs / "validate_base_images" / "latest" / "plan" / "action_plan.json"

    def repair(self, *more: str) -> list[str]:
        return ["run", "repair_base_images", *self._where(), *MAKING, "execute=true", *more]

    def validate(self, *more: str) -> list[str]:
        return ["run", "validate_base_images", *self._where(), *MAKING, *more]

    def execute(self, *more: str) -> list[str]:
        return ["run", "execute_plan", *self._where(), f"plan={self.plan}", "execute=true", *more]

    def balance(self, *more: str) -> list[str]:
        return ["run", "balance_training_data", *self._where(), *BALANCING, "execute=true", *more]

    def undo(self, run: str) -> list[str]:
        return ["undo", run, "--outputs", str(self.outputs)]

    def _where(self) -> list[str]:
        return [f"data={self.data}", f"outputs={self.outputs}", *COMMON]

    def take(self, template: Path) -> None:
        """Become a copy of `template`, at the same path each time: a plan is bound to its library's path."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(template, self.root, symlinks=True)

    def keep(self, template: Path) -> None:
        """Copy this scene to `template`."""
        shutil.rmtree(template, ignore_errors=True)
        shutil.copytree(self.root, template, symlinks=True)


def draw_library(root: Path) -> None:
    """Draw the library of three."""
    actors = {ABSENT: PARTS[0], GOOD: PARTS[1], BLURRY: PARTS[2]}
    for number, (name, part) in enumerate(actors.items()):
        home = root / "actors" / name
        picture = _portrait(part, number)
        if name == BLURRY:
            picture = picture.filter(ImageFilter.GaussianBlur(3))
        if name != ABSENT:
            _put(home / "base_image" / f"{name}_base.jpg", pictures.encode_jpeg(picture))
        _training(home / "training_data", name, part)
    _put(root / "actors" / GOOD / "poster_frame" / f"{GOOD}_poster.jpg", pictures.encode_jpeg(_portrait(PARTS[1], 7)))
    cast = [
        {"id": number, "name": name, "description": part.description, "outfit": part.outfit}
        for number, (name, part) in enumerate(actors.items())
    ]
    _put(root / "actorsData.json", json.dumps(cast).encode())
    for number in range(len(actors)):
        _put(root / "actor_manifests" / f"{number:04d}_manifest.json", json.dumps({"id": f"{number:04d}"}).encode())


def draw_training_library(root: Path) -> None:
    """Draw a library whose three actors have too many training images, too few, and a legacy file with a broken one."""
    sets = {ABSENT: "ppppib", GOOD: "pc", BLURRY: "iic!"}
    kinds = {
        "p": "photorealistic",
        "i": "bw_stylized",
        "c": "color_stylized",
        "b": "bw_stylized",
        "!": "photorealistic",
    }
    cast = []
    for number, (name, letters) in enumerate(sets.items()):
        part, home = PARTS[number], root / "actors" / name
        who = figure_of(part.description, part.outfit)
        _put(home / "base_image" / f"{name}_base.jpg", pictures.encode_jpeg(_portrait(part, number)))
        for index, letter in enumerate(letters, start=1):
            picture = training_picture(who, kinds[letter], seed=10 * number + index, size=WIDE)
            data = pictures.encode_jpeg(picture)
            _put(home / "training_data" / f"{name}_{index}.jpg", data[: len(data) // 2] if letter == "!" else data)
        cast.append({"id": number, "name": name, "description": part.description, "outfit": part.outfit})
    legacy = [{"filename": f"{BLURRY}_1.jpg", "prompt": "by the river", "seed": 7}, {"filename": "../elsewhere.jpg"}]
    _put(root / "actors" / BLURRY / "training_data" / "prompt_metadata.json", json.dumps({"images": legacy}).encode())
    rows = [{"file": f"{GOOD}_{number}.jpg", "prompt": f"{number} o'clock"} for number in (1, 2)]
    about = {"version": 1, "actor_id": "0001", "actor_name": GOOD, "images": rows}
    _put(root / "actors" / GOOD / "training_data" / "manifest.json", json.dumps(about).encode())
    _put(root / "actorsData.json", json.dumps(cast).encode())


def _portrait(part: Part, seed: int) -> Image.Image:
    place, shot = Place("studio", seed), Shot("half", "standing", "front")
    return draw(read(part.description, part.outfit), place, shot, size=SIZE, seed=seed, style="photorealistic")


def _training(folder: Path, name: str, part: Part) -> None:
    count = {BLURRY: 2, ABSENT: 1, GOOD: 4}[name]
    for number in range(1, count + 1):
        _put(
            folder / f"{name}_{number}.jpg",
            pictures.encode_jpeg(_portrait(part, 10 + number).resize((64, 96)), quality=85),
        )
    if name == BLURRY:
        _put(folder / "manifest.json", json.dumps({"images": [f"{name}_1.jpg", f"{name}_2.jpg"]}).encode())
        _put(folder / "prompt_metadata.json", b'{"images": [{"filename": "cut off')


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def contents(root: Path) -> dict[str, str]:
    """Every plain file below `root` with its hash, without the lock."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != "lock"
    }


def lost(before: dict[str, str], data: Path) -> list[str]:
    """Files of before whose content is now nowhere below the library, its trash included."""
    there = set(contents(data).values())
    return [name for name, digest in before.items() if digest not in there]


def torn(scene: Scene) -> list[str]:
    """Files under their final names that are not whole. A log may end in half a line, and the ledger is SQLite's to mend."""
    found = []
    for path in scene.root.rglob("*"):
        if path.is_file() and not path.name.startswith(TEMPORARY):
            try:
                if path.suffix == ".json" and path.name != "prompt_metadata.json":
                    json.loads(path.read_text(encoding="utf-8"))
                elif path.suffix == ".jpg" and path.name != BROKEN:
                    pictures.load(path)
            except Exception as error:
                found.append(f"{path.relative_to(scene.root)}: {error}")
    return found


def leftovers(scene: Scene) -> list[str]:
    """What a killed write or an unfinished action leaves behind."""
    paths = [*scene.root.rglob(f"{TEMPORARY}*"), *(scene.data / ".callsheet" / "staging").glob("*")]
    return sorted(str(path.relative_to(scene.root)) for path in paths)


def snapshot(scene: Scene, **more: Any) -> dict[str, Any]:
    """All that a person or a later run may see, and `more`, without times and random names."""
    names: dict[str, str] = {}
    with contextlib.closing(sqlite3.connect(scene.outputs / "ledger.sqlite")) as ledger:
        ledger.row_factory = sqlite3.Row
        actions = [dict(row) for row in ledger.execute("SELECT * FROM actions ORDER BY id")]
        for action in actions:
            record = json.loads(action["record"])
            names[action["id"]] = f"<{record['actor_name']} {record['action']}>"
        state = {
            "check": [row[0] for row in ledger.execute("PRAGMA integrity_check")],
            "actions": sorted((names[action["id"]], action["state"], action["record"]) for action in actions),
            "plans": ledger.execute("SELECT count(*) FROM plans").fetchone()[0],
            "answers": sorted((row["step"], row["result"]) for row in ledger.execute("SELECT * FROM answers")),
            "items": sorted(
                (row["label"], row["key"], row["state"].replace("remembered", "done"))
                for row in ledger.execute("SELECT * FROM items")
            ),
            "jobs": sorted(tuple(row) for row in ledger.execute("SELECT key, state FROM remote_jobs")),
            "distributions": sorted(
                tuple(row) for row in ledger.execute("SELECT DISTINCT actor, moment, counts FROM distributions")
            ),
            "reservations": ledger.execute("SELECT count(*) FROM reservations").fetchone()[0],
        }
    ledger.close()
    state |= {"data": dict(_library(scene.data, names)), "runs": _runs(scene), "leftovers": leftovers(scene)}
    state |= more
    state = _timeless(state)
    assert state["data"]
    assert state["runs"]
    plain: dict[str, Any] = json.loads(_named(json.dumps(state), names))
    # In an order that hangs on no random id.
    return {key: sorted(value, key=json.dumps) if isinstance(value, list) else value for key, value in plain.items()}


def _library(root: Path, names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for path, digest in contents(root).items():
        # Ours are compared by what they say, since they hold times.
        ours = path.startswith(".callsheet/") and path.endswith(".json") and "/files/" not in path
        ours = ours or (path.startswith("actors/") and path.endswith("/training_data/manifest.json"))
        yield path, json.loads((root / path).read_text(encoding="utf-8")) if ours else digest


def _runs(scene: Scene) -> list[Any]:
    """Each run's state, files, results and operations. A folder in which nothing was begun is no run."""
    runs = []
    for path in sorted(scene.outputs.glob("*/*/run.json")):
        if path.parent.is_symlink():
            continue
        about = json.loads(path.read_text(encoding="utf-8"))
        steps = {
            label: {key: step.get(key) for key in ("state", "done", "failed", "total")}
            for label, step in about["steps"].items()
        }
        folder = path.parent
        files = sorted(found for found in contents(folder) if not found.startswith("latest"))
        results = {
            found.relative_to(folder).as_posix(): json.loads(found.read_text(encoding="utf-8"))
            for found in sorted(folder.rglob("*.json"))
            if found.name in ("results.json", "action_plan.json", "balance_plan.json", "executed.json")
        }
        runs.append([about["recipe"], about["state"], about["exit"], steps, files, results, _operations(folder)])
    return runs


def _operations(folder: Path) -> list[list[str]]:
    """What was done, each thing once: a resumed run may say again what it found done."""
    path = folder / "operations.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue  # cut off by the crash
    return [list(key) for key in sorted({(entry["operation"], entry["target"]) for entry in entries})]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, (list, tuple)):
        return [_timeless(item) for item in value]
    if isinstance(value, str) and value.startswith("{"):
        try:
            return _timeless(json.loads(value))
        except ValueError:
            return value
    return value


def _named(text: str, names: dict[str, str]) -> str:
    for action, name in names.items():
        text = text.replace(action, name)
    return text


def difference(state: Any, expected: Any, where: str = "") -> list[str]:
    """Where two snapshots differ, a line each."""
    if isinstance(state, dict) and isinstance(expected, dict):
        return [
            line
            for key in sorted({*state, *expected})
            for line in difference(state.get(key, "(nothing)"), expected.get(key, "(nothing)"), f"{where}/{key}")
        ]
    if isinstance(state, list) and isinstance(expected, list) and len(state) == len(expected):
        return [
            line
            for index, (one, other) in enumerate(zip(state, expected, strict=True))
            for line in difference(one, other, f"{where}/{index}")
        ]
    return [] if state == expected else [f"{where}: {str(state)[:300]} instead of {str(expected)[:300]}"]
