"""training_metrics.csv, and the drawing of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from steps.studio.lora.chart import loss_curve
from steps.studio.lora.metrics import COLUMNS, Metrics, Row


def rows(count: int) -> list[Row]:
    return [Row(step, 1 / step, 0.5 if step % 2 == 0 else None, 1e-3, 0.25, 8.5, 100.0) for step in range(1, count + 1)]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "training_metrics.csv")
    metrics.begin(0)
    for row in rows(3):
        metrics.append(row)
    assert metrics.rows() == rows(3)
    text = (tmp_path / "training_metrics.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert text.splitlines()[1] == "1,1.0,,0.001,0.25,8.5,100.0"


def test_it_is_cut_back_to_a_step(tmp_path: Path) -> None:
    path = tmp_path / "training_metrics.csv"
    metrics = Metrics(path)
    metrics.begin(0)
    for row in rows(5):
        metrics.append(row)
    with path.open("a") as file:
        file.write("6,0.1")
    metrics.begin(3)
    assert metrics.rows() == rows(3)
    assert len(path.read_text().splitlines()) == 4


def test_what_is_nonsense_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "training_metrics.csv"
    path.write_bytes(b"step\n\xff\n1,2\nx,1,,1,1,1,1\n1,1.0,,0.001,0.25,8.5,100.0\n")
    assert Metrics(path).rows() == rows(1)
    assert Metrics(tmp_path / "none.csv").rows() == []


def test_the_curve_is_a_drawing_with_both_losses_and_the_best(tmp_path: Path) -> None:
    drawing = ElementTree.fromstring(loss_curve(rows(40), best=30))
    lines = drawing.findall("{*}polyline")
    # As it was, smoothed, and of the held-out images.
    assert [len(str(line.get("points")).split()) for line in lines] == [40, 40, 20]
    assert "best" in [text.text for text in drawing.findall("{*}text")]
    lone = ElementTree.fromstring(loss_curve(rows(1)))
    assert len(lone.findall("{*}polyline")) == 2
