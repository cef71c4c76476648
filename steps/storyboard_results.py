"""What results.json says of storyboards: one entry a storyboard, and one row a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from runner.step import Outcome, Results
from steps.storyboard_params import StoryboardParams
from steps.storyboarding import Models
from steps.studio.frames.result import REFERENCE, Frame, Storyboard

FORMAT = 2


def document(
    done: Sequence[Storyboard], results: Results[Storyboard], models: Models, character: str
) -> dict[str, Any]:
    """The whole of it; what seconds cost is told at the present price.

    Args:
        done: The storyboards that could be drawn.
        results: How all ended.
        models: What drew and judged them.
        character: Who is drawn.
    """
    per_hour = models.diffusion.gpu_usd_per_hour
    language = {board.story: board.language_usd for board in done}
    return {
        "format": FORMAT,
        "models": {
            "diffusion": models.diffusion.identity,
            "clip": models.clip.identity,
            "faces": models.faces.identity,
            "language": models.language.identity,
        },
        "gpu_usd_per_hour": per_hour,
        "usd": round(sum(board.usd(per_hour) or 0.0 for board in done) + sum(language.values()), 6),
        "language_usd": round(sum(language.values()), 6),
        "stories": [{"story": story, "language_usd": usd} for story, usd in language.items()],
        "storyboards": [_summary(board, character, per_hour) for board in done],
        "failed": [{"storyboard": outcome.key, "error": outcome.error} for outcome in failed_in(results)],
        "results": [_row(board, frame) for board in done for frame in board.frames],
    }


def failed_in(results: Results[Storyboard]) -> Iterator[Outcome[Storyboard]]:
    """Those that were not drawn."""
    return (outcome for outcome in results if outcome.result is None)


def character_of(params: StoryboardParams) -> str:
    """What comparisons call the character."""
    return params.character or params.trigger


def _summary(board: Storyboard, character: str, per_hour: float | None) -> dict[str, Any]:
    return {
        "storyboard": board.key,
        "character": character,
        "story": board.story,
        "title": board.title,
        "mode": board.mode,
        "drawn_as": board.drawn_as,
        "seed": board.seed,
        "lora_scale": board.lora_scale,
        "adapter_scale": board.adapter_scale,
        "lora": board.lora,
        "reference": None if board.reference is None else REFERENCE,
        "reference_source": board.reference,
        "sampling": asdict(board.sampling),
        "retries": board.retries,
        "threshold": board.threshold,
        "face_score": board.face_score,
        "folder": board.key,
        "drawn_at": board.drawn_at,
        "seconds": dict(board.seconds),
        "peak_memory_bytes": board.peak_memory_bytes,
        "memory_of": board.memory_of,
        "usd": board.usd(per_hour),
        "notes": list(board.notes),
    }


def _row(board: Storyboard, frame: Frame) -> dict[str, Any]:
    kept, first = frame.kept, frame.attempts[0]
    return {
        "storyboard": board.key,
        "story": board.story,
        "mode": board.mode,
        "drawn_as": kept.mode,
        "seed": board.seed,
        "lora_scale": board.lora_scale,
        "adapter_scale": board.adapter_scale,
        "frame": frame.frame,
        "attempt": kept.attempt,
        "attempts": len(frame.attempts),
        "cosine": kept.cosine,
        "score": kept.score,
        "first_cosine": first.cosine,
        "first_score": first.score,
        "null_percentile": frame.null_percentile,
        "passed": kept.passed,
        "face_found": kept.faces > 0,
        "face": kept.face,
        "file": f"{board.key}/{frame.file}",
        "first_file": f"{board.key}/{first.file}",
        "prompt": frame.prompt,
        "text": frame.text,
    }
