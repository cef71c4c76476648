"""Plots of an ablation: whatever the names are and however many arms there are, every plot is whole."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from steps import ablation_plots
from steps.ablating import Findings, find
from steps.ablation_plots import Arms
from tests.measured import STORIES, board

HOSTILE = (
    "$x^$",
    "_hidden",
    "<b>&\"'",
    "\x00\x1b[1m",
    "\u202egnp",
    "\ud800",
    "\uffff",
    "東京",
    "a\nb",
    "\\frac{",
    "%s",
)
DRAWN = ["frames", "differences", "distribution", "by_frame"]


def arms_of(
    names: Sequence[str], stories: Sequence[str] = STORIES, characters: Sequence[str] = ("fox",)
) -> dict[str, list[Any]]:
    """Storyboards of arms that differ a little from each other and from story to story."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for number, name in enumerate(names):
        for place, story in enumerate(stories):
            for character in characters:
                value = 0.3 + 0.02 * number + 0.01 * place * (1 + 0.1 * number)
                drawn = board(story=story, character=character, likeness=value, consistency=value, clip=1.1)
                found[name].append(replace(drawn, mode=name))
    return dict(found)


def findings_of(arms: Arms) -> Findings:
    return find([each for boards in arms.values() for each in boards], [], None, draws=50, seed=0)


def many(number: int) -> list[str]:
    """Names as long as those of arms at several strengths."""
    return ["baseline", *(f"reference, lora 0.{each:02d}, adapter 0.{each:02d}" for each in range(1, number))]


def texts(path: Path) -> str:
    return " ".join(ElementTree.parse(path).getroot().itertext())


def drawn(figure: Any) -> Any:
    """The figure, laid out, so that the places of its texts are known."""
    FigureCanvasAgg(figure)
    figure.savefig(io.BytesIO(), format="png")
    return figure


def apart(texts: Sequence[Any]) -> bool:
    boxes = [text.get_window_extent() for text in texts]
    return not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_any_name_is_drawn_as_it_is(tmp_path: Path) -> None:
    arms = arms_of(HOSTILE, HOSTILE, HOSTILE)
    compared = findings_of(arms_of(["simple", "baseline"], HOSTILE))
    one = replace(compared.comparisons[0], a=HOSTILE[0], b=HOSTILE[1])
    plots = ablation_plots.draw(tmp_path, arms, replace(compared, comparisons=[one]), {})
    assert plots.notes == []
    assert [Path(file).stem for file, _ in plots.shown] == DRAWN
    for name in DRAWN:
        assert "$x^$" in texts(tmp_path / f"plots/{name}.svg")
        with Image.open(tmp_path / f"plots/{name}.png") as image:
            image.load()
    assert "_hidden" in texts(tmp_path / "plots/by_frame.svg")
    assert "\u202e" not in texts(tmp_path / "plots/by_frame.svg")


@pytest.mark.parametrize("number", [2, 4, 8, 12])
def test_no_name_is_cut_off_or_lies_on_another(number: int) -> None:
    arms = arms_of(many(number), STORIES[:2])
    figure = drawn(ablation_plots._by_frame(arms))
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert (box.x0, box.y0) >= (0, 0)
    assert (box.x1, box.y1) <= (figure.bbox.x1, figure.bbox.y1)
    assert [text.get_text() for text in legend.get_texts()] == many(number)
    assert apart(legend.get_texts())
    spread = drawn(ablation_plots._distribution(arms))
    labels = spread.axes[0].get_yticklabels()
    assert [text.get_text() for text in labels] == many(number)
    assert apart(labels)
    assert all(text.get_window_extent().x0 >= 0 for text in labels)


def test_no_two_lines_are_alike() -> None:
    figure = ablation_plots._by_frame(arms_of([f"arm {number}" for number in range(60)], STORIES[:1]))
    looks = [(line.get_marker(), str(line._unscaled_dash_pattern), line.get_color()) for line in figure.axes[0].lines]
    assert len(set(looks)) == 60
    assert len({marker for marker, _, _ in looks[:12]}) == 12


def test_long_names_that_are_alike_when_shortened_are_numbered(tmp_path: Path) -> None:
    arms = arms_of([f"{'a' * 40}{number}{'b' * 40}" for number in (1, 2)])
    ablation_plots.draw(tmp_path, arms, findings_of(arms), {})
    said = texts(tmp_path / "plots/by_frame.svg")
    assert "1: aaaa" in said
    assert "2: aaaa" in said
    assert "…" in said
    assert "a" * 40 not in said


def test_characters_differ_in_their_markers() -> None:
    figure = ablation_plots._distribution(arms_of(["simple"], characters=("ann", "bo", "cy", "di", "ed")))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ann", "bo", "cy", "2 others"]
    assert len({handle.get_marker() for handle in legend.legend_handles}) == 4
    points = {
        line.get_marker(): len(line.get_xdata()) for line in figure.axes[0].lines if line.get_linestyle() == "None"
    }
    assert points == {"o": 8, "^": 8, "s": 8, "x": 16}
    assert not ablation_plots._distribution(arms_of(["simple"])).legends


@pytest.mark.parametrize(
    ("stories", "said"), [(3, "range of 3 stories"), (4, "range of 4 stories"), (5, "95 % interval")]
)
def test_the_range_of_a_few_stories_is_called_no_interval(stories: int, said: str) -> None:
    arms = arms_of(["baseline", "simple"], STORIES[:stories])
    label = ablation_plots._differences(arms, findings_of(arms).comparisons).axes[0].get_xlabel()
    assert label.endswith(f"mean with {said}")


def test_where_only_some_are_of_a_few_stories_both_are_said() -> None:
    few, many = (findings_of(arms_of(["baseline", "simple"], STORIES[:number])).comparisons for number in (3, 8))
    figure = ablation_plots._differences(arms_of(["baseline", "simple"]), [few[0], many[1]])
    assert "95 % interval (where there are so few: range of 3 stories)" in figure.axes[0].get_xlabel()
    first, second = figure.axes[0].get_yticklabels()
    assert "(3 stories)" in first.get_text()
    assert "stories)" not in second.get_text()


def test_a_plot_that_cannot_be_drawn_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = arms_of(["baseline", "simple"], STORIES[:2])
    monkeypatch.setattr(ablation_plots, "_WIDTH", 1e7)
    plots = ablation_plots.draw(tmp_path, arms, findings_of(arms), {})
    assert [Path(file).stem for file, _ in plots.shown] == ["frames", "distribution"]
    assert [note.split(" (")[0] for note in plots.notes] == [
        "the plot differences could not be drawn",
        "the plot by_frame could not be drawn",
    ]
    assert sorted(path.stem for path in (tmp_path / "plots").glob("*.*")) == ["distribution"] * 2 + ["frames"] * 2


def test_an_interval_that_misses_its_mean_by_a_rounding_is_drawn(tmp_path: Path) -> None:
    arms = arms_of(["baseline", "simple"], STORIES[:2])
    findings = findings_of(arms)
    off = [
        replace(each, low=(each.difference or 0.0) + 1e-17, high=(each.difference or 0.0) - 1e-17)
        for each in findings.comparisons
    ]
    assert ablation_plots.draw(tmp_path, arms, replace(findings, comparisons=off), {}).notes == []


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("a file where the folder should be")
    arms = arms_of(["simple"], STORIES[:1])
    with pytest.raises(OSError, match="plots"):
        ablation_plots.draw(tmp_path, arms, findings_of(arms), {})


def test_an_image_that_is_gone_is_said_in_its_place(tmp_path: Path) -> None:
    arms = arms_of(["simple"], STORIES[:1])
    assert ablation_plots.draw(tmp_path, arms, findings_of(arms), {"fox": [tmp_path / "gone.png"]}).notes == []
    assert texts(tmp_path / "plots/frames.svg").count("can't be") == 4
