"""How a distribution of training images is told: in an evaluation's file and in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runner.report_parts import Bar, Trend, counted
from steps.balancing import Target, shares
from steps.library.balances import Leaving, PlannedBalance
from steps.library.evaluations import Evaluation
from steps.library.history import Distribution


def evaluation_document(
    row: Evaluation, plan: PlannedBalance | None, error: str | None, target: Target
) -> dict[str, Any]:
    """One actor's evaluation with its action plan, in the documents' form.

    Args:
        row: What was seen.
        plan: What is to be done; None where that could not be planned.
        error: Why it could not.
        target: Its classes are counted also where there is none of them.
    """
    counts = {**dict.fromkeys(target.counts, 0), **row.counts()}
    generate = Counter(new.kind for new in plan.comes) if plan else Counter()
    return {
        "actor_id": f"{row.actor_id:04d}",
        "actor_name": row.actor_name,
        "total_images": len(row.images),
        **{f"{kind}_count": count for kind, count in counts.items()},
        **{f"{kind}_percentage": share for kind, share in shares(counts).items()},
        "is_balanced": plan is not None and not plan.goes and not plan.comes,
        "images_to_delete": [_deleted(image) for image in plan.goes] if plan else [],
        "images_to_generate": [{"type": kind, "count": count} for kind, count in generate.items()],
        "gpt_analysis": row.analysis,
        "error": error,
        "images": [
            {"image_number": image.number, "file": image.file, "type": image.kind, "quality": image.quality}
            for image in row.images
        ],
    }


def _deleted(image: Leaving) -> dict[str, Any]:
    return {
        "image_number": image.number,
        "type": image.kind,
        "file": image.file,
        "quality": image.quality,
        "why": image.why,
    }


def bars(target: Target, before: Mapping[str, int], after: Mapping[str, int]) -> list[Bar]:
    """One bar a class: images as they are, as they are to be, and as they will be."""
    whole = max(target.total, sum(before.values()), 1)
    allowed = target.tolerance * target.total / 100
    return [
        Bar(
            kind,
            before.get(kind, 0),
            target.counts.get(kind, 0),
            after.get(kind, 0),
            allowed,
            whole,
            _said(kind, target, before, after),
        )
        for kind in (*target.counts, *sorted(set(before) - set(target.counts)))
    ]


def trend_of(history: Sequence[Distribution]) -> Trend | None:
    """The distribution over time; None where it was always the same."""
    if len(history) < 2:
        return None
    kinds = sorted({kind for distribution in history for kind in distribution.counts})
    series = {kind: [distribution.counts.get(kind, 0) for distribution in history] for kind in kinds}
    return Trend([distribution.at.isoformat(timespec="seconds") for distribution in history], series, "images")


def off(target: Target, counts: Mapping[str, int]) -> str:
    """How far some counts are from their target: "5 images off: 3 too many bw_stylized, 2 missing photorealistic"."""
    gaps = {kind: target.gap(counts, kind) for kind in (*target.counts, *sorted(set(counts) - set(target.counts)))}
    parts = [f"{abs(gap)} {'too many' if gap > 0 else 'missing'} {kind}" for kind, gap in gaps.items() if gap]
    if not parts:
        return "at the target"
    return f"{counted(target.distance(counts), 'image')} off: {', '.join(parts)}"


def _said(kind: str, target: Target, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    now, then, wanted = before.get(kind, 0), after.get(kind, 0), target.counts.get(kind, 0)
    becomes = "" if now == then else f", {then} then"
    return f"{now} now{becomes}, {wanted} wanted"
