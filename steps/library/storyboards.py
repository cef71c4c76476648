"""Storyboards that the step `storyboard` drew, found again: those of one run, of a sweep, or of listed runs."""

from __future__ import annotations

import glob
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from runner import artifacts, files
from runner.errors import UserError
from steps.library.documents import read_checked

RESULTS, REFERENCE = "results.json", "reference.png"
MAX_BYTES = 64 * 2**20
"""Of results.json: some 60,000 frames, a hundred times what a study draws. To check more against the schema would take minutes."""
_LONGEST = 100_000
"""Characters of a text."""


def _number(least: float, most: float, kind: str = "number") -> Mapping[str, Any]:
    # Whatever is computed of numbers in such a range stays finite.
    return {"type": kind, "minimum": least, "maximum": most}


def _or_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


_NAME: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 400}
_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": _LONGEST}
_SCORE = _number(-10, 10)
_SCALE = _or_null(_number(0, 10))
_SECONDS = _number(0, 1e9)
_SETTING: Mapping[str, Any] = {**_number(-1e9, 1e9), **_TEXT, "type": ["number", "string", "boolean", "null"]}
_SHA256: Mapping[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{64}(?!\\n)$"}
_ISO_TIME: Mapping[str, Any] = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?(?!\n)$",
    "maxLength": 40,
}
_OF_BOARD = ("storyboard", "story", "mode", "drawn_as", "seed", "seconds")
_OF_FRAME = ("storyboard", "frame", "file", "score", "first_score", "passed", "attempts")

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The results of the step storyboard",
    "type": "object",
    "required": ["storyboards", "results", "models"],
    "properties": {
        "models": {"type": "object", "additionalProperties": _or_null(_TEXT)},
        "storyboards": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(_OF_BOARD),
                "properties": {
                    "storyboard": _NAME,
                    "character": _NAME,
                    "story": _NAME,
                    "mode": _NAME,
                    "drawn_as": _NAME,
                    "seed": _number(-(2**63), 2**64, "integer"),
                    "lora_scale": _SCALE,
                    "adapter_scale": _SCALE,
                    "lora": _or_null(_SHA256),
                    "seconds": {"type": "object", "maxProperties": 100, "additionalProperties": _SECONDS},
                    "usd": _or_null(_number(0, 1e9)),
                    "peak_memory_bytes": _or_null(_number(0, 1e15)),
                    "sampling": {"type": "object", "maxProperties": 100, "additionalProperties": _SETTING},
                    "retries": _or_null(_number(0, 1000, "integer")),
                    "threshold": _or_null(_number(0, 1e9)),
                    "face_score": _or_null(_SCORE),
                    "drawn_at": _or_null(_ISO_TIME),
                },
            },
        },
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(_OF_FRAME),
                "properties": {
                    "storyboard": _NAME,
                    "frame": _number(1, 100_000, "integer"),
                    "file": _NAME,
                    "first_file": _NAME,
                    "score": _SCORE,
                    "first_score": _SCORE,
                    "null_percentile": _or_null(_number(0, 100)),
                    "passed": {"type": "boolean"},
                    "attempts": _number(1, 1000, "integer"),
                    "text": _TEXT,
                },
            },
        },
    },
}


@dataclass(frozen=True)
class DrawnFrame:
    """One frame of a storyboard.

    Attributes:
        frame: From 1.
        file: The image that was kept.
        first_file: The first attempt's image, which may be the same.
        clip: CLIPScore of the one that was kept.
        first_clip: CLIPScore of the first attempt.
        null_percentile: Where its cosine stands among those with the story's other texts, 0 to 100.
        passed: Whether it reached the gate.
        attempts: How many were drawn.
        text: What it was held against.
    """

    frame: int
    file: Path
    first_file: Path
    clip: float
    first_clip: float
    null_percentile: float | None
    passed: bool
    attempts: int
    text: str = ""


@dataclass(frozen=True)
class DrawnStoryboard:
    """One storyboard as it lies on disk.

    Attributes:
        key: Its name within its run.
        folder: The folder that results.json names it in.
        character: Who is drawn.
        story: The story's name.
        mode: What was asked for.
        drawn_as: What was drawn: another mode where memory did not suffice.
        seed: All noise comes from it.
        frames: In order.
        models: What drew and judged it, by role; "faces" chose the frames.
        seconds: By what they were spent on: load, sample, score, retry.
        lora_scale: How strongly the LoRA told; None without one.
        adapter_scale: How strongly the reference told; None without one.
        reference: The image that the adapter was given; None without one.
        settings: What else must be alike where arms are compared: retries, threshold, face_score, sampling.
        lora: The digest of the LoRA; None without one.
        usd: What drawing it cost, US dollars; None where nobody said what the device costs.
        peak_memory_bytes: The most that was in use while it was drawn.
        drawn_at: ISO time in UTC.
    """

    key: str
    folder: Path
    character: str
    story: str
    mode: str
    drawn_as: str
    seed: int
    frames: tuple[DrawnFrame, ...]
    models: Mapping[str, str | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    lora_scale: float | None = None
    adapter_scale: float | None = None
    reference: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    lora: str | None = None
    usd: float | None = None
    peak_memory_bytes: float | None = None
    drawn_at: str | None = None

    @property
    def cell(self) -> tuple[str, str, str, int, float | None, float | None]:
        """What it is one of in a comparison: two of the same would be counted twice."""
        return self.character, self.story, self.mode, self.seed, self.lora_scale, self.adapter_scale


def read_storyboards(paths: Sequence[str | Path]) -> list[DrawnStoryboard]:
    """All storyboards of some runs, each once, in the order of their cells.

    Args:
        paths: Folders: of a step, of a run, or of a sweep; or patterns of such, as jobs/*/first_stories.

    Raises:
        UserError: Nothing is there, a results.json is broken, or two that differ claim the same place in the comparison.
    """
    found: dict[tuple[Any, ...], DrawnStoryboard] = {}
    for folder in dict.fromkeys(folder for path in paths for folder in _steps_below(Path(path))):
        for board in _read(folder):
            known = found.setdefault(board.cell, board)
            if known is not board and _content(known) != _content(board):
                raise UserError(
                    f"{known.folder} and {board.folder} are both {board.story}, mode {board.mode}, seed {board.seed} of "
                    f"'{board.character}', and not alike: name one of the two runs, or give storyboard.character another name"
                )
    return [found[cell] for cell in sorted(found, key=lambda cell: tuple(str(part) for part in cell))]


class ByStrength(NamedTuple):
    """Storyboards of a comparison, and those that were drawn at other strengths than it.

    Attributes:
        kept: In the order they were given in.
        left_out: Those of a curve over strengths, in the order they were given in.
    """

    kept: list[DrawnStoryboard]
    left_out: list[DrawnStoryboard]


def main_strengths(boards: Sequence[DrawnStoryboard]) -> ByStrength:
    """Of each mode the storyboards with the strengths that most of them have; of a mode in which none has the most, all are kept.

    A run that draws a comparison and a curve over strengths beside it has both in its folder.
    """
    counts: defaultdict[str, Counter[tuple[float | None, float | None]]] = defaultdict(Counter)
    for board in boards:
        counts[board.mode][board.lora_scale, board.adapter_scale] += 1
    found = ByStrength([], [])
    for board in boards:
        (strengths, most), *others = counts[board.mode].most_common(2)
        tied = bool(others) and others[0][1] == most
        main = tied or strengths == (board.lora_scale, board.adapter_scale)
        (found.kept if main else found.left_out).append(board)
    return found


def _steps_below(path: Path) -> Iterator[Path]:
    """The folders of steps that drew storyboards: the path itself, a run's steps, or those of a sweep's jobs."""
    if glob.has_magic(str(path)) and not path.exists():
        matching = [Path(each) for each in sorted(glob.glob(str(path)))]  # noqa: PTH207 - absolute or not
        if not matching:
            raise UserError(
                f"{path}: nothing is called so: give a run, a sweep, or a list of runs that drew storyboards"
            )
        for each in matching:
            yield from _steps_below(each)
        return
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: give a run, a sweep, or a list of runs that drew storyboards")
    if _drew(path):
        yield path
        return
    folders = [each for job in (sorted(_jobs(path)) or [path]) for each in sorted(job.iterdir()) if each.is_dir()]
    found = [each for each in folders if _drew(each)]
    if not found:
        raise UserError(
            f"{path}: no storyboards there: give the folder of a run of storyboard or ablation, or of a sweep over one"
        )
    yield from found


def _jobs(path: Path) -> list[Path]:
    """The runs of a sweep; none where it is no sweep."""
    return [each for each in (path / "jobs").glob("*") if (each / "run.json").is_file()]


def _drew(folder: Path) -> bool:
    """Whether a step's results are those of storyboards; who else writes results.json has no such list."""
    source = folder / RESULTS
    if not files.is_file(source):
        return False
    if (size := source.stat().st_size) > MAX_BYTES:
        raise UserError(
            f"{source}: {size / 2**20:.0f} MiB, of which at most {MAX_BYTES // 2**20} are read: name only folders of storyboards, and fewer"
        )
    # One that is cut off is told: left out, a comparison would lack its storyboards and nobody would know.
    document = files.read_json(source)
    return isinstance(document, dict) and "storyboards" in document and "results" in document and "models" in document


def _read(folder: Path) -> Iterator[DrawnStoryboard]:
    source = folder / RESULTS
    document = read_checked(source, SCHEMA)
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in document["results"]:
        rows.setdefault(row["storyboard"], []).append(row)
    for about in document["storyboards"]:
        if about["storyboard"] not in rows:
            raise UserError(f"{source}: the storyboard {about['storyboard']} has no frames: draw it again")
        frames = sorted((_frame(folder, row) for row in rows[about["storyboard"]]), key=lambda each: each.frame)
        if [each.frame for each in frames] != list(range(1, len(frames) + 1)):
            raise UserError(f"{source}: {about['storyboard']} does not have its frames from 1 on, each once")
        yield _storyboard(folder, about, document["models"], tuple(frames))


def _frame(folder: Path, row: Mapping[str, Any]) -> DrawnFrame:
    file = _inside(folder, row["file"])
    return DrawnFrame(
        frame=row["frame"],
        file=file,
        first_file=_inside(folder, row["first_file"]) if "first_file" in row else file,
        clip=row["score"],
        first_clip=row["first_score"],
        null_percentile=row.get("null_percentile"),
        passed=row["passed"],
        attempts=row["attempts"],
        text=row.get("text", ""),
    )


def _storyboard(
    folder: Path, about: Mapping[str, Any], models: Mapping[str, str | None], frames: tuple[DrawnFrame, ...]
) -> DrawnStoryboard:
    board = folder / _plain(folder, about["storyboard"])
    reference = _inside(folder, f"{about['storyboard']}/{REFERENCE}")
    return DrawnStoryboard(
        key=about["storyboard"],
        folder=board,
        character=about.get("character", ""),
        story=about["story"],
        mode=about["mode"],
        drawn_as=about["drawn_as"],
        seed=about["seed"],
        frames=frames,
        models=models,
        seconds=about["seconds"],
        lora_scale=about.get("lora_scale"),
        adapter_scale=about.get("adapter_scale"),
        reference=reference if reference.is_file() else None,
        settings={name: about[name] for name in ("retries", "threshold", "face_score", "sampling") if name in about},
        lora=about.get("lora"),
        usd=about.get("usd"),
        peak_memory_bytes=about.get("peak_memory_bytes"),
        drawn_at=about.get("drawn_at"),
    )


def _inside(folder: Path, name: str) -> Path:
    """A file below the step's folder; a name or a link that leads elsewhere is refused, and so is what is no plain file."""
    source, parts = str(folder / RESULTS), PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name or "\\" in name:
        raise UserError(f"{source}: {name!r} is no path below its folder")
    root, rest = folder, name
    if len(parts) > 1 and _is_artifact(folder / parts[0]):
        # The step shows its storyboards by links to where they are kept.
        root, rest = folder / parts[0], "/".join(parts[1:])
    path = files.under(root, rest, source)
    if _is_special(path):
        raise UserError(f"{source}: {name!r} is no plain file: draw it again")
    return path


def _is_artifact(path: Path) -> bool:
    return path.is_symlink() and path.resolve().parent.parent.name == artifacts.FOLDER


def _is_special(path: Path) -> bool:
    """Whether a folder, a pipe or a device is there: to read one may never end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _plain(folder: Path, name: str) -> str:
    return files.plain_name(name, f"{folder / RESULTS}: storyboard")


def _content(board: DrawnStoryboard) -> tuple[str, ...]:
    """The pixels that are compared, as digests."""
    try:
        return tuple(files.sha256_of(frame.file) for frame in board.frames)
    except OSError as error:
        raise UserError(f"{error.filename}: can't be read: {error.strerror}: draw {board.key} again") from error
