"""Storyboards with what was measured of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from steps.library.storyboards import DrawnStoryboard
from steps.measuring import Measured


@dataclass(frozen=True)
class MeasuredFrame:
    """One frame, measured.

    Attributes:
        frame: From 1.
        file: The image.
        faces: How many were found.
        likeness: Mean cosine with the held-out references; None without a face.
        frame1: Cosine with frame 1's face; None for frame 1 and without a face.
        copy_paste: How much nearer to the conditioning image than to the truth; None without either.
        first_likeness: Likeness of the first attempt.
        clip: CLIPScore.
        first_clip: That of the first attempt.
        null_percentile: 0 to 100.
        passed: Whether the gate was reached.
        attempts: How many were drawn.
    """

    frame: int
    file: str
    faces: int
    likeness: float | None
    frame1: float | None
    copy_paste: float | None
    first_likeness: float | None
    clip: float
    first_clip: float
    null_percentile: float | None
    passed: bool
    attempts: int


@dataclass(frozen=True)
class MeasuredBoard:
    """One storyboard, measured.

    Attributes:
        key: Its name in its run.
        folder: Where it lies.
        character: Who is drawn.
        story: The story's name.
        mode: What was asked for.
        drawn_as: What was drawn.
        seed: Its seed.
        lora_scale: How strongly the LoRA told; None without one.
        adapter_scale: How strongly the reference told; None without one.
        frames: In order.
        metrics: By the names of METRICS and FURTHER.
        seconds: What its frames took, without loading models.
        usd: What it cost; None where nobody knows.
        peak_memory_bytes: None where nobody knows.
        drawn_at: ISO time; None where it was not noted.
        settings: What must be alike in all arms.
        pixels: Digest of its kept frames.
        notes: What a person should know of its figures, a sentence each.
    """

    key: str
    folder: str
    character: str
    story: str
    mode: str
    drawn_as: str
    seed: int
    lora_scale: float | None
    adapter_scale: float | None
    frames: tuple[MeasuredFrame, ...]
    metrics: Mapping[str, float | None]
    seconds: float
    usd: float | None
    peak_memory_bytes: float | None
    drawn_at: str | None
    settings: Mapping[str, Any]
    pixels: str = ""
    notes: tuple[str, ...] = ()


def measured(board: DrawnStoryboard, character: str, kept: Measured, first: Measured) -> MeasuredBoard:
    """A storyboard with what was measured of it.

    Args:
        board: As it was drawn.
        character: Who is drawn.
        kept: Of the frames that were kept.
        first: Of the first attempts, when nothing had been chosen yet.
    """
    frames = tuple(
        MeasuredFrame(
            frame=frame.frame,
            file=str(frame.file),
            faces=of_kept.faces,
            likeness=of_kept.likeness,
            frame1=of_kept.frame1,
            copy_paste=of_kept.copy_paste,
            first_likeness=of_first.likeness,
            clip=frame.clip,
            first_clip=frame.first_clip,
            null_percentile=frame.null_percentile,
            passed=frame.passed,
            attempts=frame.attempts,
        )
        for frame, of_kept, of_first in zip(board.frames, kept.numbers.frames, first.numbers.frames, strict=True)
    )
    # Loading models is once a run, and says nothing of a frame.
    seconds = sum(value for name, value in board.seconds.items() if name != "load")
    pixels = hashlib.sha256("".join(each.sha256 for each in kept.portraits).encode()).hexdigest()
    about = {"character": character, "folder": str(board.folder), "frames": frames, "seconds": seconds}
    told = vars(board) | about | {"pixels": pixels, "notes": kept.notes}
    before = first.numbers.values()
    metrics = {
        **kept.numbers.values(),
        **{
            f"first_{name}": before[name]
            for name in ("likeness", "consistency", "frame1", "copy_paste", "detection_rate")
        },
        "clip": fmean(frame.clip for frame in frames),
        "first_clip": fmean(frame.first_clip for frame in frames),
        "null_percentile": mean_of(frame.null_percentile for frame in frames),
        "passed": fmean(frame.passed for frame in frames),
        "attempts": fmean(frame.attempts for frame in frames),
        "seconds_a_frame": seconds / len(frames),
    }
    fields = {field.name for field in dataclasses.fields(MeasuredBoard)} - {"metrics"}
    return MeasuredBoard(**{name: told[name] for name in fields}, metrics=metrics)


def located(found: MeasuredBoard, board: DrawnStoryboard) -> MeasuredBoard:
    """With the files where they are now: what is remembered was measured where an earlier run had them."""
    frames = tuple(
        dataclasses.replace(frame, file=str(drawn.file))
        for frame, drawn in zip(found.frames, board.frames, strict=True)
    )
    return dataclasses.replace(found, key=board.key, folder=str(board.folder), frames=frames)


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
