"""Pictures of an ablation, readable in grey: arms differ in marker, line and shade, never in hue alone. Each is an SVG and a PNG."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from runner import files
from runner.errors import ItemError
from steps.ablating import Findings, MeasuredBoard, MeasuredFrame
from steps.ablation_text import TITLES
from steps.library import pictures
from steps.measures.statistics import Comparison

FOLDER = "plots"
SHOWN = ("likeness", "consistency", "clip")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_SHADES = ("#1b1b1b", "#5b5b5b", "#2f6f9f", "#9c5a14", "#7f7f7f", "#444444")
_DPI = 150
_LONG_SIDE = 256
Arms = Mapping[str, Sequence[MeasuredBoard]]


def draw(
    folder: Path, arms: Arms, findings: Findings, references: Mapping[str, Sequence[Path]]
) -> list[tuple[str, str]]:
    """Draw all that there is something to draw for.

    Args:
        folder: The step's folder; plots go below it.
        arms: Storyboards by arm.
        findings: What was found.
        references: By character, held-out images, shown above the frames.

    Returns:
        For each plot the PNG's path below `folder`, and what it shows in words.
    """
    return list(_plots(folder, arms, findings, references))


def _plots(
    folder: Path, arms: Arms, findings: Findings, references: Mapping[str, Sequence[Path]]
) -> Iterator[tuple[str, str]]:
    if not arms:
        return
    yield _grid(folder, arms, references)
    if any(each.pairs for each in findings.comparisons):
        yield _differences(folder, arms, [each for each in findings.comparisons if each.pairs])
    yield _distribution(folder, arms)
    yield _by_frame(folder, arms)
    if findings.curve:
        yield _curve(folder, findings)


def _differences(folder: Path, arms: Arms, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """A row for each comparison: a point for each story, the mean with its interval below them."""
    figure = _figure(8, 1.2 + 0.5 * len(comparisons))
    axes = figure.subplots()
    for row, each in enumerate(comparisons):
        values = _of_stories(arms[each.a], arms[each.b], each.metric)
        axes.plot(
            values, [row - 0.14] * len(values), "o", markersize=4, color="#9a9a9a", markeredgecolor="#555555", zorder=2
        )
        mean = each.difference or 0.0
        reach = [[mean - (each.low or mean)], [(each.high or mean) - mean]] if each.low is not None else None
        axes.errorbar([mean], [row + 0.14], xerr=reach, fmt="D", color="#1b1b1b", capsize=4, zorder=3)
    axes.axvline(0, color="#1b1b1b", linewidth=0.8)
    axes.set_yticks(range(len(comparisons)), [f"{each.a} - {each.b}\n{TITLES[each.metric]}" for each in comparisons])
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.set_xlabel("paired difference; circles: stories, diamond: mean with 95 % interval")
    return _save(
        figure,
        folder,
        "differences",
        "Paired differences between arms, a circle for each story, the mean with its interval",
    )


def _distribution(folder: Path, arms: Arms) -> tuple[str, str]:
    figure = _figure(3.2 * len(SHOWN) + 0.6, 3.6)
    for axes, metric in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        values = [
            [value for board in boards if (value := board.metrics[metric]) is not None] for boards in arms.values()
        ]
        axes.boxplot(values, widths=0.55, showfliers=False, medianprops={"color": "#1b1b1b", "linewidth": 2})
        for place, those in enumerate(values, 1):
            # Side by side by their rank, so that the same values always give the same picture.
            beside = [place + 0.22 * ((number * 0.618) % 1 - 0.5) for number in range(len(those))]
            axes.plot(beside, those, ".", markersize=3, color="#777777", zorder=0)
        axes.set_xticks(range(1, len(arms) + 1), list(arms), rotation=30, ha="right")
        axes.set_title(TITLES[metric])
    return _save(figure, folder, "distribution", "Likeness, consistency and CLIPScore of every storyboard, by arm")


def _by_frame(folder: Path, arms: Arms) -> tuple[str, str]:
    figure = _figure(8, 4)
    likeness, first = figure.subplots(1, 2)
    for number, (arm, boards) in enumerate(arms.items()):
        _line(likeness, number, arm, _means_by_frame(boards, lambda frame: frame.likeness))
        _line(first, number, arm, _means_by_frame(boards, lambda frame: frame.frame1))
    for axes, title in ((likeness, "with the held-out images"), (first, "with frame 1")):
        axes.set_title(title)
        axes.set_xlabel("frame")
        axes.xaxis.get_major_locator().set_params(integer=True)
    likeness.set_ylabel("mean cosine of faces")
    figure.legend(*likeness.get_legend_handles_labels(), loc="outside lower center", ncols=len(arms), frameon=False)
    return _save(
        figure,
        folder,
        "by_frame",
        "Mean similarity of faces by frame, with the held-out images and with frame 1, a line for each arm",
    )


def _curve(folder: Path, findings: Findings) -> tuple[str, str]:
    figure = _figure(8, 3.6)
    axes = figure.subplots()
    metrics = list(dict.fromkeys(point.metric for point in findings.curve))
    for number, metric in enumerate(metrics):
        points = [
            point.gain for point in findings.curve if point.metric == metric and point.gain.difference is not None
        ]
        means = [point.difference or 0.0 for point in points]
        low = [mean - (mean if point.low is None else point.low) for mean, point in zip(means, points, strict=True)]
        high = [(mean if point.high is None else point.high) - mean for mean, point in zip(means, points, strict=True)]
        axes.errorbar(
            [point.setting + 0.012 * (number - 1) for point in points], means, yerr=[low, high], label=TITLES[metric],
            marker=_MARKERS[number], linestyle=_LINES[number], color=_SHADES[number], capsize=3,
        )  # fmt: skip
    axes.axhline(0, color="#1b1b1b", linewidth=0.8)
    axes.set_xlabel("strength of the LoRA")
    axes.set_ylabel("reference - simple, 95 % interval")
    axes.legend(frameon=False, fontsize=8)
    return _save(
        figure, folder, "gain", "Gain of reference over simple mode over the strength of the LoRA, with intervals"
    )


def _grid(folder: Path, arms: Arms, references: Mapping[str, Sequence[Path]]) -> tuple[str, str]:
    """The first story and seed that every arm has: taken by name, so that nobody picked it."""
    cells = [{(board.character, board.story, board.seed) for board in boards} for boards in arms.values()]
    common = set.intersection(*cells) or cells[0]
    character, story, seed = min(common)
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
        line[0].text(0.5, 0.5, arm.replace(", ", "\n"), ha="center", va="center", transform=line[0].transAxes)
        for axes, (path, caption) in zip(line[1:], shown, strict=False):
            _show(axes, path)
            axes.set_title(caption, fontsize=8, pad=2)
    words = f"Frames of {story}, seed {seed}, a row for each arm, with their likeness to the held-out images"
    return _save(figure, folder, "frames", words)


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


def _line(axes: Any, number: int, arm: str, means: Mapping[int, float]) -> None:
    style = number % len(_MARKERS)
    axes.plot(
        list(means), list(means.values()), label=arm, marker=_MARKERS[style], linestyle=_LINES[style], color=_SHADES[style], markersize=4,
    )  # fmt: skip


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


def _save(figure: Any, folder: Path, name: str, words: str) -> tuple[str, str]:
    """Both forms, the same bytes for the same values."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "callsheet", "svg.fonttype": "none"}):
        for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=_DPI, metadata=metadata)
            files.write_bytes(folder / FOLDER / f"{name}.{suffix}", buffer.getvalue())
    return f"{FOLDER}/{name}.png", words
