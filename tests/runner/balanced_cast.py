"""The report parts of a balancing run, as its steps would leave them: an example to follow, and the stage of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from runner import files
from runner.report_parts import COMES, GOES, Badge, Bar, Entry, ReportPart, Shown, Trend, write_part

BALANCED = Badge("balanced", "balanced", "✓", "good")
UNBALANCED = Badge("out_of_balance", "out of balance", "⇄", "change")
TARGET = {"photorealistic": 13, "bw_stylized": 4, "color_stylized": 3}
TOLERANCE = 2.0
COLOURS = {"photorealistic": "peru", "bw_stylized": "grey", "color_stylized": "mediumorchid"}
TITLE = "Actors by distance from their target"


def make_balance(run: Path, cast: Mapping[str, Mapping[str, int]]) -> Path:
    """A run that evaluated, planned and balanced some actors.

    Args:
        run: Its folder.
        cast: Images by class that each actor had.
    """
    found, planned, done = [], [], []
    for name, before in cast.items():
        found.append(_evaluated(run, name, before))
        planned.append(_planned(run, name, before))
        if dict(before) != TARGET:
            done.append(_balanced(run, name, before))
    parts = {
        "evaluate": ReportPart(f"{len(found)} actors evaluated.", [("actors", len(found))], found),
        "plan": ReportPart(
            f"{len(done)} actors out of balance.", [("actors", len(done))], planned, ranking_title=TITLE
        ),
        "execute": ReportPart(f"{len(done)} actors balanced.", [("actors", len(done))], done),
    }
    for label, part in parts.items():
        write_part(run / label, part)
    steps = {label: {"step": label, "state": "done", "done": len(cast), "failed": 0} for label in parts}
    files.write_json(run / "run.json", {"recipe": "balance_training_data", "state": "done", "steps": steps})
    return run


def _evaluated(run: Path, name: str, before: Mapping[str, int]) -> Entry:
    """The composite, and the distribution that was found: nobody has planned an after yet."""
    kinds = _kinds(before)
    for number, kind in enumerate(kinds, 1):
        _draw(run / f"evaluate/pictures/{name}.{number}.png", kind, number)
    _composite(run / f"evaluate/{name}_composite.jpg", kinds)
    composite = Shown(
        f"evaluate/{name}_composite.jpg", "as found", f"All {len(kinds)} training images of {name}, numbered"
    )
    return Entry(name, name, "A person of the cast.", pictures=[composite], bars=_bars(before, None))


def _planned(run: Path, name: str, before: Mapping[str, int]) -> Entry:
    """What is too much is struck out, by number and with the reason; the rank sorts the overview."""
    if dict(before) == TARGET:
        return Entry(name, name, badge=BALANCED, bars=_bars(before, before), rank=0, rank_text="at the target")
    gaps = {kind: before.get(kind, 0) - wanted for kind, wanted in TARGET.items()}
    goes = [number for kind, gap in gaps.items() for number in _numbers(before, kind)[: max(gap, 0)]]
    return Entry(
        name,
        name,
        badge=UNBALANCED,
        pictures=[_struck_out(name, number, before) for number in goes],
        notes=[f"{len(goes)} images to go"],
        bars=_bars(before, TARGET),
        trend=Trend(
            ["2026-11-02T09:00:00+00:00", "2026-11-12T09:00:00+00:00", "2026-11-20T21:14:05+00:00"],
            {kind: [max(before.get(kind, 0) - 2, 0), before.get(kind, 0), wanted] for kind, wanted in TARGET.items()},
            "images",
        ),
        rank=sum(map(abs, gaps.values())),
        rank_text=", ".join(
            f"{abs(gap)} {'too many' if gap > 0 else 'missing'} {kind}" for kind, gap in gaps.items() if gap
        ),
    )


def _struck_out(name: str, number: int, before: Mapping[str, int]) -> Shown:
    kind = _kinds(before)[number - 1]
    why = f"{before[kind]} of class {kind} where {TARGET[kind]} are wanted: quality {number % 9 + 1}, the lowest"
    return Shown(f"evaluate/pictures/{name}.{number}.png", f"{number}", f"Training image {number} of {name}", GOES, why)


def _balanced(run: Path, name: str, before: Mapping[str, int]) -> Entry:
    """The images that came, and a second composite beside the first."""
    comes = [kind for kind, wanted in TARGET.items() for _ in range(max(wanted - before.get(kind, 0), 0))]
    shown = []
    for number, kind in enumerate(comes, 50):
        _draw(run / f"execute/pictures/{name}.{number}.png", kind, number)
        reason = f"{kind}, made with seed {number}"
        shown.append(
            Shown(f"execute/pictures/{name}.{number}.png", f"{number}", f"New image {number} of {name}", COMES, reason)
        )
    _composite(run / f"execute/{name}_composite.jpg", _kinds(TARGET))
    composite = Shown(f"execute/{name}_composite.jpg", "as left", f"All 20 training images of {name} as they are now")
    return Entry(
        name, name, badge=BALANCED, pictures=[composite, *shown], notes=[f"{len(comes)} images made and verified"]
    )


def _bars(before: Mapping[str, int], after: Mapping[str, int] | None) -> Sequence[Bar]:
    whole = max(sum(TARGET.values()), sum(before.values()))
    return [
        Bar(kind, before.get(kind, 0), wanted, None if after is None else after.get(kind, 0), TOLERANCE, whole)
        for kind, wanted in TARGET.items()
    ]


def _kinds(counts: Mapping[str, int]) -> list[str]:
    return [kind for kind, count in counts.items() for _ in range(count)]


def _numbers(counts: Mapping[str, int], kind: str) -> list[int]:
    return [number for number, found in enumerate(_kinds(counts), 1) if found == kind]


def _draw(path: Path, kind: str, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _picture(kind, number).save(path)


def _picture(kind: str, number: int) -> Image.Image:
    image = Image.new("RGB", (160, 90), COLOURS[kind])
    ImageDraw.Draw(image).ellipse((number * 3 % 110, 15, number * 3 % 110 + 50, 75), fill="beige", outline="black")
    return image


def _composite(path: Path, kinds: Sequence[str]) -> None:
    """A numbered sheet, five in a row; the steps' own are made by `steps.library.composites`."""
    sheet = Image.new("RGB", (5 * 200, 232 * max(-(-len(kinds) // 5), 1)), "darkslategrey")
    for index, kind in enumerate(kinds):
        left, top = index % 5 * 200, index // 5 * 232
        ImageDraw.Draw(sheet).text((left + 90, top + 8), str(index + 1), "gold", font_size=20)
        sheet.paste(_picture(kind, index + 1), (left + 20, top + 70))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
