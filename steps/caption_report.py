"""What a captioned folder came to, for people: the contact sheet and the report's part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from PIL import Image

from runner import files
from runner.errors import ItemError
from runner.report_parts import Badge, Entry, ReportPart, Shown, counted
from steps.caption_results import (
    CAPTIONED,
    FAILED,
    KEPT,
    REFUSED,
    Cost,
    Row,
    Summary,
    cost_of,
    counts_of,
    duplicates_of,
    statistics_of,
)
from steps.captioning import CLIP_TOKENS, MAX_CHARACTERS, has_trigger, tokens_of
from steps.library import composites, pictures
from steps.library.captions import HOLDOUT, TRAIN
from steps.library.composites import THUMBNAIL, Cell
from steps.library.raw_images import NEAR
from steps.library.thumbnails import thumbnail

BADGES: Mapping[str, Badge] = {
    CAPTIONED: Badge(CAPTIONED, "captioned", "✎", "good"),
    KEPT: Badge(KEPT, "had a caption", "✓", "neutral"),
    REFUSED: Badge(REFUSED, "refused twice", "⊘", "warning"),
    FAILED: Badge(FAILED, "failed", "!", "error"),
}
SHEETS = "contact_sheet"
_NAMED = 20


def contact_sheets(rows: Sequence[Row], out: Path) -> list[str]:
    """Write the images as numbered thumbnails, in the order of the rows; returns the sheets' file names."""
    names = []
    for number, sheet in enumerate(composites.sheets(_cells(rows)), 1):
        names.append(f"{SHEETS}_{number}.jpg")
        files.write_bytes(out / names[-1], sheet)
    return names


def report(summary: Summary, out: Path, sheets: Sequence[str]) -> ReportPart:
    """The report's part: the contact sheet, and a card an image, those that want a person's eye first."""
    numbers = {row.id: number for row, number in zip(summary.rows, count(1), strict=False)}
    order = (REFUSED, FAILED, CAPTIONED, KEPT)
    rows = sorted(summary.rows, key=lambda row: order.index(row.status))
    counts, cost, judged = counts_of(summary), cost_of(summary), summary.judged
    known = f" {sum(judged.values())} of {len(judged)} captions agree with the known truth." if judged else ""
    names = {**{status: badge.word for status, badge in BADGES.items()}, "asked_again": "asked again"}
    return ReportPart(
        headline=_headline(counts, cost) + known,
        counts=[(names.get(name, name.replace("_", " ")), number) for name, number in counts.items() if number]
        + ([("remembered", cost.from_cache)] if cost.from_cache else [])
        + [(part, statistics_of(summary)[part]) for part in (TRAIN, HOLDOUT)],
        entries=[*_overview(summary, sheets), *(_entry(row, numbers[row.id], summary, out) for row in rows)],
        warnings=list(_warnings(summary)),
    )


def _headline(counts: Mapping[str, int], cost: Cost) -> str:
    remembered = f" ({cost.from_cache} of them asked in earlier runs)" if cost.from_cache else ""
    parts = [f"{counted(counts[CAPTIONED], 'image')} captioned{remembered}", f"{counts[KEPT]} had a caption"]
    if counts[REFUSED]:
        parts.append(f"{counts[REFUSED]} refused twice (refused.txt lists them for deletion)")
    if counts[FAILED]:
        parts.append(f"{counts[FAILED]} failed")
    return f"{', '.join(parts)}.{_an_image(cost)}"


def _an_image(cost: Cost) -> str:
    told = [f"${cost.usd:.4f} in all"] if cost.usd else []
    if cost.usd_per_image is not None and cost.seconds_per_image is not None:
        price = f"${cost.usd_per_image:.4f} and " if cost.usd_per_image else ""
        told.append(f"{price}{cost.seconds_per_image:.2f} s an image")
    return f" {', '.join(told)}." if told else ""


def _overview(summary: Summary, sheets: Sequence[str]) -> Iterator[Entry]:
    if not sheets:
        return
    figures = statistics_of(summary)
    cost = cost_of(summary)
    facts = [
        ("Images", f"{figures['images']}: {figures[TRAIN]} to train on, {figures[HOLDOUT]} held out"),
        ("Words", _shown(figures["words"])),
        ("Tokens, about", _shown(figures["tokens_about"])),
        ("Cost", f"${cost.usd:.4f}{_price(cost)}"),
    ]
    if cost.seconds_per_image is not None:
        facts.append(("Time", f"{cost.seconds_per_image:.2f} s an image"))
    if summary.trigger:
        facts.append((f"With “{summary.trigger}”", f"{100 * figures['with_trigger']:.0f} %"))
    yield Entry(
        key="contact sheet",
        title="Contact sheet",
        subtitle="Numbers are those of the cards.",
        pictures=[
            Shown(f"{summary.label}/{name}", f"Sheet {number}", f"Numbered thumbnails, sheet {number}")
            for number, name in enumerate(sheets, 1)
        ],
        facts=facts,
    )


def _price(cost: Cost) -> str:
    if cost.usd_per_image is None:
        return ""
    asked = f" ({cost.from_cache} at what they cost in earlier runs)" if cost.from_cache else ""
    return f", ${cost.usd_per_image:.4f} an image{asked}"


def _entry(row: Row, number: int, summary: Summary, out: Path) -> Entry:
    # A name of its own: ids of what can't be opened are file names.
    name = thumbnail(row.image or row.paths[0], out / "pictures", f"{number:05d}") if row.status != FAILED else None
    shown = [Shown(f"{summary.label}/pictures/{name}", row.names[0], row.text or row.names[0])] if name else []
    facts = [("File", ", ".join(row.names[:_NAMED]))]
    if row.text is not None:
        facts += [
            ("Id", row.id),
            ("Part", summary.parts.get(row.id, "")),
            ("Words", f"{len(row.text.split())}, about {tokens_of(row.text)} tokens"),
        ]
    if row.seconds is not None:
        earlier = ", in an earlier run" if row.from_cache else ""
        facts.append(("Took", f"{row.seconds:.2f} s, ${row.usd_when_asked or row.usd:.4f}, {row.model}{earlier}"))
    if (right := summary.judged.get(row.id)) is not None:
        facts.append(("Known truth", "agrees ✓" if right else "differs ✗"))
    twins = [twin for twin in summary.twins if twin.image.id == row.id]
    facts += [("Looks like", f"{twin.of.name} ({twin.distance} of 64 bits differ)") for twin in twins]
    return Entry(
        key=row.id,
        title=f"{number} · {row.names[0]}",
        badge=BADGES[row.status],
        pictures=shown,
        notes=[row.text if row.text is not None else str(row.error)]
        + (["Refused at first, answered when asked again as animation."] if row.framed else []),
        facts=facts,
    )


def _warnings(summary: Summary) -> Iterator[str]:
    yield from summary.faults
    figures = statistics_of(summary)
    if refused := [name for row in summary.of(REFUSED) for name in row.names]:
        yield f"Refused twice, and without a caption: delete or replace {_listed(refused)}"
    for row in duplicates_of(summary):
        if row["kind"] != NEAR:
            yield f"{row['raw']} is {row['same_as']} again (the same {row['kind']}): it was not asked about twice"
        else:
            what = "left out" if summary.dropped else "kept: look whether both are wanted"
            yield f"{row['raw']} looks nearly like {row['same_as']} ({row['distance']} of 64 bits differ): {what}"
    if figures["empty"]:
        yield f"{counted(len(figures['empty']), 'caption')} empty: {_listed(figures['empty'])}"
    if figures["long"]:
        long = [f"{row['id']}.txt ({row['raw'] or 'by hand'}, about {row['tokens_about']})" for row in figures["long"]]
        yield f"{counted(len(long), 'caption')} over about {CLIP_TOKENS} tokens, of which CLIP reads no more: shorten {_listed(long)}"
    nameless = [id_ for id_, text in summary.texts.items() if not has_trigger(text, summary.trigger)]
    if summary.trigger and nameless:
        yield (
            f"{counted(len(nameless), 'caption')} from before or by hand without “{summary.trigger}”, so that training ties them to nothing: "
            f"{_listed(nameless)}"
        )
    if cut := [row.names[0] for row in summary.rows if row.shortened]:
        yield f"Answers over {MAX_CHARACTERS} characters were cut: {_listed(cut)}"
    if summary.others:
        yield f"No PNG, JPEG or WebP by their names, and not looked at: {_listed(summary.others)}"


def _cells(rows: Sequence[Row]) -> Iterator[Cell]:
    for number, row in enumerate(rows, 1):
        yield Cell(str(number), None if row.status == FAILED else _thumbnail(row.image or row.paths[0]))


def _thumbnail(path: Path) -> Image.Image | None:
    """At most `THUMBNAIL` pixels; a tiny image is enlarged by a whole number, so that it can be seen as it is."""
    try:
        small = pictures.reduced(pictures.load(path), THUMBNAIL)
    except (ItemError, OSError):
        return None
    times = THUMBNAIL // max(small.size)
    size = (small.width * times, small.height * times)
    return small.resize(size, Image.Resampling.NEAREST) if times > 1 else small


def _shown(spread: Mapping[str, float]) -> str:
    return f"{spread['least']:g} to {spread['most']:g}, {spread['mean']:g} on average"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
