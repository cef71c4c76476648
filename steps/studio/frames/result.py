"""A finished storyboard: what is kept of it, as files in its folder and as values for results and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from runner import files
from steps.studio.frames.attempts import Attempt, Attempts, png
from steps.studio.frames.gate import Gate, Scored, null_percentiles
from steps.studio.frames.references import Reference
from steps.studio.frames.setups import Sampling
from steps.studio.frames.sheet import contact_sheet
from steps.studio.frames.telling import Board

METADATA, SHEET, REFERENCE = "metadata.json", "contact_sheet.png", "reference.png"
FORMAT = 1


@dataclass(frozen=True)
class Frame:
    """One frame as it was kept.

    Attributes:
        frame: From 1.
        file: Its path within the storyboard's folder.
        prompt: What the model was told.
        prompt_tokens: How many it has, start and end counted.
        prompt_cut: Whether the model read only its beginning.
        text: What it was held against.
        tokens: How many that has.
        cut: Whether the encoder read only its beginning.
        null_percentile: Where its cosine stands among those of this image with the story's other texts, 0 to 100.
        kept: The attempt that it is.
        attempts: All attempts, in order.
    """

    frame: int
    file: str
    prompt: str
    prompt_tokens: int
    prompt_cut: bool
    text: str
    tokens: int
    cut: bool
    null_percentile: float | None
    kept: Attempt
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Storyboard:
    """A storyboard as steps hand it on.

    Attributes:
        key: Its name in this run: story, mode and seed, and scales where there are several.
        folder: Where it lies.
        artifact: The folder's key.
        story: The story's name.
        title: The story's title.
        mode: What was asked for.
        drawn_as: What was drawn: another mode where that could not be had.
        seed: All seeds come from it.
        frames: In order.
        notes: Sentences for people.
        seconds: By what they were spent on: load, sample, score, retry.
        lora_scale: How strongly the LoRA told; None in a mode without one.
        adapter_scale: How strongly the reference told; None in a mode without one.
        retries: Attempts that were allowed beyond the first.
        threshold: The CLIPScore that passes.
        face_score: How sure the detector had to be of frame 1's face, 0 to 1.
        sampling: How each image was sampled.
        lora: The SHA-256 of the LoRA; None without one.
        reference: Where the reference is from, for people; None without one.
        run: The run that drew it.
        drawn_at: When it was finished, ISO time in UTC.
        short_of_memory: Whether it was for want of memory that another mode was drawn.
        peak_memory_bytes: The most memory that was held while it was drawn.
        memory_of: Of what: "device" or "process".
        language_usd: What breaking down the story's tale cost, once for all its storyboards, in US dollars.
    """

    key: str
    folder: str
    artifact: str
    story: str
    title: str
    mode: str
    drawn_as: str
    seed: int
    frames: tuple[Frame, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    lora_scale: float | None
    adapter_scale: float | None
    retries: int
    threshold: float
    face_score: float
    sampling: Sampling
    lora: str | None
    reference: str | None
    run: str
    drawn_at: str
    short_of_memory: bool
    peak_memory_bytes: int
    memory_of: str
    language_usd: float = 0.0

    def usd(self, per_hour: float | None) -> float | None:
        """What drawing it cost in US dollars on a device of this price an hour; None where nobody said one."""
        return None if per_hour is None else round(sum(self.seconds.values()) / 3600 * per_hour, 6)


def kept_frames(
    board: Board, attempts: Attempts, gate: Gate, scored: Sequence[Scored], prompts: Sequence[Scored]
) -> tuple[Frame, ...]:
    """The best attempt at each frame.

    Args:
        board: What was drawn.
        attempts: All that was drawn.
        gate: Gives the cosines with the story's other texts.
        scored: The frames' texts, counted.
        prompts: The frames' prompts, counted by the image model.
    """
    best = [attempts.best(panel.frame) for panel in board.panels]
    cosines = gate.cosines([attempts.image(each) for each in best], [panel.text for panel in board.panels])
    percentiles = null_percentiles(cosines, range(len(best)))
    return tuple(
        Frame(
            frame=panel.frame,
            file=f"frame_{panel.frame}.png",
            prompt=panel.prompt,
            prompt_tokens=prompt.tokens,
            prompt_cut=prompt.cut,
            text=panel.text,
            tokens=text.tokens,
            cut=text.cut,
            null_percentile=percentile,
            kept=kept,
            attempts=tuple(attempts.of(panel.frame)),
        )
        for panel, prompt, text, percentile, kept in zip(board.panels, prompts, scored, percentiles, best, strict=True)
    )


def write(
    folder: Path, frames: Sequence[Frame], attempts: Attempts, reference: Reference | None, about: Mapping[str, Any]
) -> None:
    """Write frame_1.png ..., the contact sheet, the reference, and metadata.json with `about` at its top."""
    for frame in frames:
        files.write_bytes(folder / frame.file, attempts.data(frame.kept))
    if reference is not None:
        files.write_bytes(folder / REFERENCE, png(reference.image))
    files.write_bytes(folder / SHEET, png(_sheet(frames, attempts)))
    files.write_json(folder / METADATA, {"format": FORMAT, **about, "frames": [asdict(frame) for frame in frames]})


def token_count(pipeline: Any, prompt: str) -> Scored:
    """A prompt as an image model reads it: its first tokenizer's tokens, and whether there are too many."""
    tokenizer = pipeline.tokenizer
    tokens = len(tokenizer(prompt, truncation=False)["input_ids"])
    return Scored(prompt, tokens, tokens > tokenizer.model_max_length)


def _sheet(frames: Sequence[Frame], attempts: Attempts) -> Image.Image:
    told = [
        f"{frame.frame}  {frame.kept.score:.2f} {'pass' if frame.kept.passed else 'below'}\n{frame.prompt}"
        for frame in frames
    ]
    return contact_sheet([(attempts.image(frame.kept), words) for frame, words in zip(frames, told, strict=True)])
