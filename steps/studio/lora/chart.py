"""The loss over the steps as a drawing (SVG) that a browser shows beside the report's pictures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from html import escape

from steps.studio.lora.metrics import Row

WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 28, 36
_SMOOTHED = 0.05
_LOSS, _SMOOTH, _VALIDATION, _INK, _GRID = "#b9c7cf", "#22333b", "#b3402f", "#333333", "#e3e3e3"

Point = tuple[float, float]


def loss_curve(rows: Sequence[Row], best: int | None = None) -> str:
    """The training loss, smoothed and as it was, and the validation loss.

    Args:
        rows: At least one.
        best: The step of the best checkpoint, drawn as a line.
    """
    losses = [(float(row.step), row.loss) for row in rows]
    held_out = [(float(row.step), row.validation_loss) for row in rows if row.validation_loss is not None]
    plot = _Plot(max(step for step, _ in losses), _highest([*losses, *held_out]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *plot.grid(),
        plot.line(losses, _LOSS, 1),
        plot.line(_smoothed(losses), _SMOOTH, 2),
        plot.line(held_out, _VALIDATION, 2),
        *plot.mark(best),
        _legend([("loss", _SMOOTH), ("validation loss", _VALIDATION)] if held_out else [("loss", _SMOOTH)]),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


class _Plot:
    """Steps and losses to pixels."""

    def __init__(self, steps: float, highest: float) -> None:
        self._steps = max(steps, 1.0)
        self._highest = highest or 1.0

    def at(self, step: float, value: float) -> Point:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * step / self._steps
        share = min(max(value / self._highest, 0.0), 1.0)
        return x, HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share

    def line(self, points: Sequence[Point], colour: str, width: int) -> str:
        if not points:
            return ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    def grid(self) -> Iterable[str]:
        for quarter in range(5):
            value = self._highest * quarter / 4
            _, y = self.at(0, value)
            yield f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{_INK}">{value:.3g}</text>'
            x, _ = self.at(self._steps * quarter / 4, 0)
            yield f'<text x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="middle" fill="{_INK}">{self._steps * quarter / 4:.0f}</text>'

    def mark(self, step: int | None) -> Iterable[str]:
        if step is None:
            return
        x, _ = self.at(step, 0)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" stroke="{_INK}" stroke-dasharray="4 3"/>'
        anchor = "end" if step > self._steps / 2 else "start"
        yield f'<text x="{x + (-5 if anchor == "end" else 5):.1f}" y="{_TOP + 12}" text-anchor="{anchor}" fill="{_INK}">best</text>'


def _highest(points: Sequence[Point]) -> float:
    """Where the axis ends: above all but a few outliers."""
    values = sorted(value for _, value in points)
    return 1.1 * values[min(len(values) - 1, int(0.98 * len(values)))]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """Each value's mean over the steps around it."""
    reach = max(1, round(_SMOOTHED * len(points)))
    around = (points[max(0, place - reach) : place + reach + 1] for place in range(len(points)))
    return [
        (step, statistics.fmean(value for _, value in near)) for (step, _), near in zip(points, around, strict=True)
    ]


def _legend(names: Iterable[tuple[str, str]]) -> str:
    x, parts = _LEFT, []
    for name, colour in names:
        parts.append(f'<rect x="{x}" y="10" width="12" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="16" fill="{_INK}">{escape(name)}</text>')
        x += 110
    return "".join(parts)
