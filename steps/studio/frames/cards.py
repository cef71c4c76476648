"""A storyboard's card in the report."""

from __future__ import annotations

from collections.abc import Iterator

from runner.report_parts import Badge, Entry, Shown, counted
from runner.report_parts import Frame as Still
from steps.studio.frames.attempts import Attempt
from steps.studio.frames.result import Frame, Storyboard

PASSED = Badge("passed", "pass", "✓", "good")
BELOW = Badge("below", "below the threshold", "▼", "warning")
FAILED = Badge("failed", "not drawn", "✗", "error")
_WORDS = {"load": "loading", "sample": "sampling", "score": "scoring", "retry": "retries"}


def entry(done: Storyboard, place: str, usd: float | None = None) -> Entry:
    """The card.

    Args:
        done: The storyboard.
        place: Its folder, as a path from the run's folder.
        usd: What drawing it cost, in US dollars.
    """
    passed = sum(frame.kept.passed for frame in done.frames)
    whole = passed == len(done.frames)
    word = "all frames pass" if whole else f"{passed} of {len(done.frames)} frames pass"
    return Entry(
        key=done.key,
        title=f"{done.title}, {done.mode}, seed {done.seed}",
        subtitle=done.story,
        badge=Badge("whole" if whole else "partly", word, "✓" if whole else "▼", "good" if whole else "warning"),
        strip=[_still(frame, place) for frame in done.frames],
        notes=done.notes,
        facts=list(_facts(done, usd)),
    )


def failed_entry(key: str, error: str) -> Entry:
    """The card of one that could not be drawn."""
    return Entry(key=key, title=key, badge=FAILED, notes=[error])


def _still(frame: Frame, place: str) -> Still:
    kept = frame.kept
    facts = [("CLIPScore", f"{kept.score:.3f}"), ("Cosine", f"{kept.cosine:.4f}"), ("Seed", str(kept.seed))]
    if frame.null_percentile is not None:
        facts.append(("Above the other scenes' texts", f"{frame.null_percentile:.0f} %"))
    facts.append(("Attempts", str(len(frame.attempts))))
    if kept.face is not None:
        facts.append(("Face", f"{kept.face:.2f}"))
    others = [each for each in frame.attempts if each != kept]
    return Still(
        file=f"{place}/{frame.file}",
        caption=str(frame.frame),
        text=frame.prompt,
        badge=PASSED if kept.passed else BELOW,
        facts=facts,
        tries=[_try(each, place) for each in others],
        alt=f"Frame {frame.frame}: {frame.prompt}",
    )


def _try(attempt: Attempt, place: str) -> Shown:
    words = f"attempt {attempt.attempt + 1}, score {attempt.score:.3f}"
    return Shown(f"{place}/{attempt.file}", words, f"Frame {attempt.frame}, {words}")


def _facts(done: Storyboard, usd: float | None) -> Iterator[tuple[str, str]]:
    if done.drawn_as != done.mode:
        yield "Drawn as", done.drawn_as
    for name, scale in (("LoRA", done.lora_scale), ("Reference", done.adapter_scale)):
        if scale is not None:
            yield f"{name} scale", f"{scale:g}"
    tries = sum(len(frame.attempts) for frame in done.frames)
    yield "Drawn", f"{counted(tries, 'image')} for {counted(len(done.frames), 'frame')}"
    yield "Seconds", ", ".join(f"{_WORDS[name]} {value:.1f}" for name, value in done.seconds.items() if value)
    if usd:
        yield "Cost", f"${usd:.4f}"
