"""Pictures of an ablation, readable in grey: arms differ in marker, line and shade, never in hue alone. Each is an SVG and a PNG."""

from __future__ import annotations

import io
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from runner import files
from runner.errors import ItemError
from steps.ablating import Findings
from steps.ablation_text import TITLES
from steps.library import pictures
from steps.measured_boards import MeasuredBoard, MeasuredFrame
from steps.measures.statistics import NARROW, Comparison, GainPoint
from steps.tables import one_line

FOLDER = "plots"
SHOWN = ("likeness", "consistency", "clip")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)))
_SHADES = ("#1b1b1b", "#5b5b5b", "#2f6f9f", "#9c5a14", "#7f7f7f", "#444444")
_CHARACTERS = ("o", "^", "s", "x")
"""Markers of characters; the last one is for all further ones."""
_DPI = 150
_LONG_SIDE = 256
_WIDTH = 8.0
"""Inches."""
_NAME = 36
"""Signs of a name before it is shortened."""
Arms = Mapping[str, Sequence[MeasuredBoard]]


class Plots(NamedTuple):
    """What was drawn.

    Attributes:
        shown: For each plot the PNG's path below the step's folder, and what it shows in words.
        notes: A sentence for each one that could not be drawn.
    """

    shown: list[tuple[str, str]]
    notes: list[str]


class _Plot(NamedTuple):
    """A picture to be drawn.

    Attributes:
        name: Of its files.
        words: What it shows.
        draw: Makes the figure.
    """

    name: str
    words: str
    draw: Callable[[], Any]


def draw(folder: Path, arms: Arms, findings: Findings, references: Mapping[str, Sequence[Path]]) -> Plots:
    """Draw all that there is something to draw for. A picture that can't be drawn costs no result.

    Args:
        folder: The step's folder; plots go below it.
        arms: Storyboards by arm.
        findings: What was found.
        references: By character, held-out images, shown above the frames.

    Raises:
        OSError: A picture can't be written.
    """
    plots = Plots([], [])
    for plot in _plots(arms, findings, references) if arms else ():
        try:
            forms = _forms(plot.draw)
        except (ValueError, RuntimeError) as error:
            said = one_line(str(error))
            plots.notes.append(f"the plot {plot.name} could not be drawn ({said}): its figures stand in the tables")
            continue
        for suffix, data in forms.items():
            files.write_bytes(folder / FOLDER / f"{plot.name}.{suffix}", data)
        plots.shown.append((f"{FOLDER}/{plot.name}.png", plot.words))
    return plots


def _plots(arms: Arms, findings: Findings, references: Mapping[str, Sequence[Path]]) -> Iterator[_Plot]:
    _, story, seed = _example(arms)
    words = f"Frames of {story}, seed {seed}, a row for each arm, with their likeness to the held-out images"
    yield _Plot("frames", words, partial(_grid, arms, references))
    if compared := [each for each in findings.comparisons if each.pairs]:
        words = "Paired differences between arms, a circle for each story, the mean with its interval"
        yield _Plot("differences", words, partial(_differences, arms, compared))
    words = "Likeness, consistency and CLIPScore of every storyboard, by arm"
    yield _Plot("distribution", words, partial(_distribution, arms))
    words = "Mean similarity of faces by frame, with the held-out images and with frame 1, a line for each arm"
    yield _Plot("by_frame", words, partial(_by_frame, arms))
    if findings.curve:
        words = "Gain of reference over simple mode over the strength of the LoRA, with intervals"
        yield _Plot("gain", words, partial(_curve, findings))


def _differences(arms: Arms, comparisons: Sequence[Comparison]) -> Any:
    """A row for each comparison: a point for each story, the mean with its interval below them."""
    figure = _figure(_WIDTH, 1.2 + 0.5 * len(comparisons))
    axes = figure.subplots()
    for row, each in enumerate(comparisons):
        values = _of_stories(arms[each.a], arms[each.b], each.metric)
        axes.plot(
            values, [row - 0.14] * len(values), "o", markersize=4, color="#9a9a9a", markeredgecolor="#555555", zorder=2
        )
        mean = each.difference or 0.0
        low, high = _ends(each)
        axes.errorbar([mean], [row + 0.14], xerr=[[low], [high]], fmt="D", color="#1b1b1b", capsize=4, zorder=3)
    axes.axvline(0, color="#1b1b1b", linewidth=0.8)
    axes.set_yticks(range(len(comparisons)), [_compared(each) for each in comparisons], fontsize=8)
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.set_xlabel(f"paired difference; circles: stories, diamond: mean with {_reach(comparisons)}")
    return figure


def _compared(comparison: Comparison) -> str:
    few = f" ({comparison.clusters} stories)" if 1 < comparison.clusters < NARROW else ""
    return f"{_name(comparison.a)} - {_name(comparison.b)}\n{TITLES.get(comparison.metric, comparison.metric)}{few}"


def _ends(found: Comparison | GainPoint) -> tuple[float, float]:
    """How far the interval goes below and above the mean; 0 without one, and where rounding has put an end on its other side."""
    if found.difference is None or found.low is None or found.high is None:
        return 0.0, 0.0
    return max(0.0, found.difference - found.low), max(0.0, found.high - found.difference)


def _reach(found: Iterable[Comparison | GainPoint]) -> str:
    """What the bars are: of a handful of stories the interval is no more than their range."""
    clusters = {each.clusters for each in found if each.low is not None}
    few = sorted(number for number in clusters if number < NARROW)
    if not few:
        return "95 % interval"
    numbers = f"{few[0]} to {few[-1]}" if len(few) > 1 else str(few[0])
    told = f"range of {numbers} stories"
    return told if len(few) == len(clusters) else f"95 % interval (where there are so few: {told})"


def _distribution(arms: Arms) -> Any:
    """Arms below each other, so that long names have their own line."""
    markers = _by_character(arms)
    figure = _figure(3.2 * len(SHOWN) + 1.6, 1.6 + 0.34 * len(arms))
    panels = figure.subplots(1, len(SHOWN), sharey=True)
    for axes, metric in zip(panels, SHOWN, strict=True):
        values = [[value for _, value in _measured(boards, metric)] for boards in arms.values()]
        axes.boxplot(
            values, widths=0.6, showfliers=False, orientation="horizontal", medianprops={"color": "#1b1b1b", "linewidth": 2}
        )  # fmt: skip
        for place, boards in enumerate(arms.values(), 1):
            _points(axes, place, _measured(boards, metric), markers)
        axes.set_title(TITLES[metric])
    panels[0].set_yticks(range(1, len(arms) + 1), _names(arms), fontsize=8)
    panels[0].set_ylim(len(arms) + 0.6, 0.4)
    if len(markers) > 1:
        _character_legend(figure, markers)
    return figure


def _measured(boards: Sequence[MeasuredBoard], metric: str) -> list[tuple[str, float]]:
    """Character and value of each storyboard that has one."""
    return [(board.character, value) for board in boards if (value := board.metrics[metric]) is not None]


def _points(axes: Any, place: int, values: Sequence[tuple[str, float]], markers: Mapping[str, str]) -> None:
    """Beside each other by their rank, so that the same values always give the same picture."""
    shown: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, (character, value) in enumerate(values):
        shown[markers[character]].append((value, place + 0.36 * ((number * 0.618) % 1 - 0.5)))
    for marker, points in shown.items():
        axes.plot(*zip(*points, strict=True), marker, markersize=3.5, color="#555555", markerfacecolor="none", zorder=0)


def _by_character(arms: Arms) -> dict[str, str]:
    """A marker for each character, by name."""
    names = sorted({board.character for boards in arms.values() for board in boards})
    return {name: _CHARACTERS[min(number, len(_CHARACTERS) - 1)] for number, name in enumerate(names)}


def _character_legend(figure: Any, markers: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    sharing: defaultdict[str, list[str]] = defaultdict(list)
    for character, marker in markers.items():
        sharing[marker].append(character)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color="#555555", markerfacecolor="none") for marker in sharing
    ]
    names = [_name(those[0]) if len(those) == 1 else f"{len(those)} others" for those in sharing.values()]
    _legend(figure, handles, names)


def _by_frame(arms: Arms) -> Any:
    names = _names(arms)
    figure = _figure(_WIDTH, 3.8 + 0.2 * math.ceil(len(names) / _columns(names)))
    likeness, first = figure.subplots(1, 2)
    for number, boards in enumerate(arms.values()):
        _line(likeness, number, _means_by_frame(boards, lambda frame: frame.likeness))
        _line(first, number, _means_by_frame(boards, lambda frame: frame.frame1))
    for axes, title in ((likeness, "with the held-out images"), (first, "with frame 1")):
        axes.set_title(title)
        axes.set_xlabel("frame")
        axes.xaxis.get_major_locator().set_params(integer=True)
    likeness.set_ylabel("mean cosine of faces")
    _legend(figure, likeness.get_lines(), names)
    return figure


def _legend(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Below the plots, in as many rows as the names need."""
    legend = figure.legend(
        handles, [str(number) for number in range(len(names))], loc="outside lower center", ncols=_columns(names),
        frameon=False, fontsize=8, handlelength=3.5,
    )  # fmt: skip
    # Given as labels, names that begin with _ would be left out.
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def _columns(names: Sequence[str]) -> int:
    """How many entries of a legend stand beside each other: a line's sample, and about 0.075 inches a sign."""
    return max(1, min(len(names), int(_WIDTH / (0.75 + 0.075 * max(map(len, names))))))


def _curve(findings: Findings) -> Any:
    figure = _figure(_WIDTH, 3.6)
    axes = figure.subplots()
    known = [point for point in findings.curve if point.gain.difference is not None]
    for number, metric in enumerate(dict.fromkeys(point.metric for point in findings.curve)):
        points = [point.gain for point in known if point.metric == metric]
        means = [point.difference or 0.0 for point in points]
        reach = [list(ends) for ends in zip(*map(_ends, points), strict=True)] or None
        axes.errorbar(
            [point.setting + 0.012 * (number - 1) for point in points], means, yerr=reach, label=TITLES[metric],
            capsize=3, **_style(number),
        )  # fmt: skip
    axes.axhline(0, color="#1b1b1b", linewidth=0.8)
    axes.set_xlabel("strength of the LoRA")
    axes.set_ylabel(f"reference - simple\n{_reach(point.gain for point in known)}")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _example(arms: Arms) -> tuple[str, str, int]:
    """Character, story and seed that every arm has, the first by name, so that nobody picked it."""
    cells = [{(board.character, board.story, board.seed) for board in boards} for boards in arms.values()]
    return min(set.intersection(*cells) or cells[0])


def _grid(arms: Arms, references: Mapping[str, Sequence[Path]]) -> Any:
    character, story, seed = _example(arms)
    rows: dict[str, list[tuple[Path, str]]] = {}
    for arm, boards in arms.items():
        board = next(
            (each for each in boards if (each.character, each.story, each.seed) == (character, story, seed)), None
        )
        rows[arm] = [] if board is None else [(Path(frame.file), _told(frame)) for frame in board.frames]
    most = max(map(len, rows.values()))
    rows = {"held-out\nimages": [(path, "") for path in references.get(character, ())][:most], **rows}
    figure = _figure(1.15 * (most + 1) + 0.4, 1.3 * len(rows))
    grid = figure.subplots(len(rows), most + 1, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, (arm, shown) in zip(grid, rows.items(), strict=True):
        line[0].text(0.5, 0.5, _lines(arm), ha="center", va="center", fontsize=8, transform=line[0].transAxes)
        for axes, (path, caption) in zip(line[1:], shown, strict=False):
            _show(axes, path)
            axes.set_title(caption, fontsize=8, pad=2)
    return figure


def _lines(arm: str) -> str:
    """An arm's name in a narrow column: what was drawn and its settings below each other."""
    return "\n".join(_name(part, 16) for part in arm.split(", ")[:5])


def _of_stories(first: Sequence[MeasuredBoard], second: Sequence[MeasuredBoard], metric: str) -> list[float]:
    """The stories' mean paired differences, as the test takes them."""
    partners = {(board.character, board.story, board.seed): board.metrics[metric] for board in second}
    found: defaultdict[str, list[float]] = defaultdict(list)
    for board in first:
        ours, theirs = board.metrics[metric], partners.get((board.character, board.story, board.seed))
        if ours is not None and theirs is not None:
            found[board.story].append(ours - theirs)
    return [fmean(values) for _, values in sorted(found.items())]


def _means_by_frame(boards: Sequence[MeasuredBoard], value: Any) -> dict[int, float]:
    found: defaultdict[int, list[float]] = defaultdict(list)
    for board in boards:
        for frame in board.frames:
            if (known := _known(value, frame)) is not None:
                found[frame.frame].append(known)
    return {number: fmean(values) for number, values in sorted(found.items())}


def _told(frame: MeasuredFrame) -> str:
    return "no face" if frame.likeness is None else f"{frame.likeness:.2f}"


def _known(value: Any, frame: MeasuredFrame) -> float | None:
    found: float | None = value(frame)
    return found


def _line(axes: Any, number: int, means: Mapping[int, float]) -> None:
    axes.plot(list(means), list(means.values()), markersize=4, **_style(number))


def _style(number: int) -> dict[str, Any]:
    """Marker, line and shade; the first 60 all differ, and the first 12 in their marker."""
    return {
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _LINES[number % len(_LINES)],
        "color": _SHADES[number % len(_SHADES)],
    }


def _names(arms: Arms) -> list[str]:
    """Short names of arms; numbered where two would be alike."""
    names = [_name(arm) for arm in arms]
    return names if len(set(names)) == len(names) else [f"{number}: {name}" for number, name in enumerate(names, 1)]


def _name(name: str, most: int = _NAME) -> str:
    """A name on one line; of a long one its ends, for settings stand last."""
    shown = "".join(sign for sign in one_line(name) if ord(sign) & 0xFFFE != 0xFFFE)
    return shown if len(shown) <= most else f"{shown[: most // 2]}…{shown[len(shown) - (most - most // 2 - 1) :]}"


def _show(axes: Any, path: Path) -> None:
    """An image, or words where it is gone since it was measured, or was left out because it can't be opened."""
    try:
        image = pictures.reduced(pictures.load(path), _LONG_SIDE)
    except (ItemError, OSError):
        axes.text(0.5, 0.5, "can't be\nopened", ha="center", va="center", fontsize=8, transform=axes.transAxes)
    else:
        axes.imshow(image, interpolation="lanczos")


def _figure(width: float, height: float) -> Any:
    """Inches. Without pyplot, which keeps figures for the whole process and is no friend of threads."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _forms(draw: Callable[[], Any]) -> dict[str, bytes]:
    """A figure's files by suffix, the same bytes for the same values.

    Raises:
        ValueError: It can't be drawn, e.g. it would be too large.
        RuntimeError: A font can't show a text.
    """
    import matplotlib

    # Names are no formulas: "$x^$" would be one, and a broken one.
    settings: dict[Any, Any] = {"svg.hashsalt": "callsheet", "svg.fonttype": "none", "text.parse_math": False}
    found = {}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The PNG shows boxes for signs that the font lacks; the SVG has the signs.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure = draw()
        for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=_DPI, metadata=metadata)
            found[suffix] = buffer.getvalue()
    return found
