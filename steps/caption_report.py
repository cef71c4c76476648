"""What a captioned folder came to: results.json, the contact sheet, and the report's part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from runner import files
from runner.errors import ItemError, UserError
from runner.report_parts import Badge, Entry, ReportPart, Shown, counted
from steps.captioning import CLIP_TOKENS, MAX_CHARACTERS, has_trigger, tokens_of
from steps.library import composites, pictures
from steps.library.captions import HOLDOUT, TRAIN, TrainingSet
from steps.library.composites import THUMBNAIL, Cell
from steps.library.raw_images import BYTES, NEAR, Twin
from steps.library.thumbnails import thumbnail

CAPTIONED, KEPT, REFUSED, FAILED = "captioned", "kept", "refused", "failed"
BADGES: Mapping[str, Badge] = {
    CAPTIONED: Badge(CAPTIONED, "captioned", "✎", "good"),
    KEPT: Badge(KEPT, "had a caption", "✓", "neutral"),
    REFUSED: Badge(REFUSED, "refused twice", "⊘", "warning"),
    FAILED: Badge(FAILED, "failed", "!", "error"),
}
FORMAT = 1
SHEETS = "contact_sheet"
_NAMED = 20


@dataclass(frozen=True)
class Row:
    """How one image ended.

    Attributes:
        id: Its id; of a file that can't be opened its name.
        path: The raw file.
        names: Its name below the raw folder, and those of its exact copies.
        status: CAPTIONED, KEPT, REFUSED or FAILED.
        text: The caption as it is on disk.
        image: Where it is in the set.
        error: Why there is no caption.
        usd: What this run paid for it.
        seconds: What the answer took; None where it was there before.
        model: Who wrote the caption.
        framed: Whether it took the second question.
        shortened: Whether the answer was too long.
    """

    id: str
    path: Path
    names: tuple[str, ...]
    status: str
    text: str | None = None
    image: Path | None = None
    error: str | None = None
    usd: float = 0.0
    seconds: float | None = None
    model: str = ""
    framed: bool = False
    shortened: bool = False


@dataclass(frozen=True)
class Summary:
    """All that there is to tell.

    Attributes:
        label: The step's label.
        raw: The folder of raw images.
        training_set: Where they went.
        split: The split's file.
        vision: Who was asked.
        trigger: The character's name in captions.
        rows: The images.
        twins: Those that are there twice, or nearly.
        dropped: Whether near ones were left out.
        others: Files that are no images.
        texts: Id -> caption of the whole set, images from elsewhere among them.
        parts: Id -> TRAIN or HOLDOUT of the whole set.
        faults: What is wrong with the set.
        truth: Raw name -> what is known to be shown, where that is known.
        describe: What captions were to tell of.
    """

    label: str
    raw: Path
    training_set: TrainingSet
    split: Path
    vision: str
    trigger: str
    rows: Sequence[Row]
    twins: Sequence[Twin]
    dropped: bool
    others: Sequence[str]
    texts: Mapping[str, str]
    parts: Mapping[str, str]
    faults: Sequence[str] = ()
    truth: Mapping[str, str] = field(default_factory=dict)
    describe: Sequence[str] = ()

    @cached_property
    def judged(self) -> dict[str, bool]:
        """Id -> whether the caption agrees with the truth, of the images whose truth is known."""
        known = {row: name for row in self.rows for name in row.names if name in self.truth and row.text is not None}
        return {row.id: agrees(row.text or "", self.truth[name], self.describe) for row, name in known.items()}

    def of(self, status: str) -> list[Row]:
        """The images that ended so."""
        return [row for row in self.rows if row.status == status]


def read_truth(path: str | None) -> Mapping[str, str]:
    """Raw name -> caption, with {who} for the character, of a sample's truth.json.

    Raises:
        UserError: It is none.
    """
    if path is None:
        return {}
    document = files.read_json(Path(path))
    try:
        return {str(row["file"]): str(row["caption"]) for row in document["images"]}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is no truth.json of `callsheet sample --cast character`: needs /images/N/file and caption"
        ) from error


def agrees(text: str, truth: str, describe: Sequence[str]) -> bool:
    """Whether a caption says all that a true one says (opening, action, place, between commas), as far as it was to tell of it."""
    opening, *action, place = truth.replace("{who}", "").split(", ")
    wanted = [opening, *(action if "action" in describe else ()), *([place] if "background" in describe else ())]
    return all(part.strip() in text for part in wanted)


def document(summary: Summary) -> dict[str, Any]:
    """results.json."""
    return {
        "format": FORMAT,
        "raw": str(summary.raw),
        "images": str(summary.training_set.images),
        "captions": str(summary.training_set.captions),
        "split": str(summary.split),
        "vision": summary.vision,
        "trigger": summary.trigger,
        "summary": counts_of(summary),
        "cost": cost_of(summary),
        "statistics": statistics_of(summary),
        "truth": {"known": len(summary.judged), "agree": sum(summary.judged.values())},
        "results": [_row(row, summary) for row in summary.rows],
        "duplicates": list(_duplicates(summary)),
        "delete": [str(summary.raw / name) for row in summary.of(REFUSED) for name in row.names],
        "no_images": list(summary.others),
    }


def counts_of(summary: Summary) -> dict[str, int]:
    """How many images ended how."""
    counts = Counter(row.status for row in summary.rows)
    kinds = Counter(row["kind"] for row in _duplicates(summary))
    return {status: counts.get(status, 0) for status in BADGES} | {
        "asked_again": sum(row.framed for row in summary.rows),
        "exact_duplicates": sum(number for kind, number in kinds.items() if kind != NEAR),
        "near_duplicates": kinds.get(NEAR, 0),
    }


def cost_of(summary: Summary) -> dict[str, float]:
    """US dollars of this run, in all and an image that was paid for; and the seconds that the middle one of all answers took.

    The mean would tell how long the first answers waited for a model to load.
    """
    seconds = [row.seconds for row in summary.rows if row.seconds is not None]
    usd = sum(row.usd for row in summary.rows)
    paid = sum(row.usd > 0 for row in summary.rows)
    return {
        "usd": round(usd, 6),
        "usd_per_image": round(usd / max(1, paid), 6),
        "seconds_per_image": round(median(seconds), 3) if seconds else 0.0,
    }


def statistics_of(summary: Summary) -> dict[str, Any]:
    """Of the whole training set."""
    texts = summary.texts
    named = sum(has_trigger(text, summary.trigger) for text in texts.values()) if summary.trigger else 0
    return {
        "images": len(texts),
        TRAIN: sum(part == TRAIN for part in summary.parts.values()),
        HOLDOUT: sum(part == HOLDOUT for part in summary.parts.values()),
        "words": _spread([len(text.split()) for text in texts.values()]),
        "tokens_about": _spread([tokens_of(text) for text in texts.values()]),
        "with_trigger": round(named / max(1, len(texts)), 4),
        "long": [id_ for id_, text in texts.items() if tokens_of(text) > CLIP_TOKENS],
        "empty": [id_ for id_, text in texts.items() if not text],
    }


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
        + [(part, statistics_of(summary)[part]) for part in (TRAIN, HOLDOUT)],
        entries=[*_overview(summary, sheets), *(_entry(row, numbers[row.id], summary, out) for row in rows)],
        warnings=list(_warnings(summary)),
    )


def _headline(counts: Mapping[str, int], cost: Mapping[str, float]) -> str:
    parts = [f"{counted(counts[CAPTIONED], 'image')} captioned", f"{counts[KEPT]} had a caption"]
    if counts[REFUSED]:
        parts.append(f"{counts[REFUSED]} refused twice (refused.txt lists them for deletion)")
    if counts[FAILED]:
        parts.append(f"{counts[FAILED]} failed")
    paid = f"${cost['usd']:.4f} in all, ${cost['usd_per_image']:.4f} and " if cost["usd"] else ""
    took = f" {paid}{cost['seconds_per_image']:.2f} s an image." if paid or cost["seconds_per_image"] else ""
    return f"{', '.join(parts)}.{took}"


def _overview(summary: Summary, sheets: Sequence[str]) -> Iterator[Entry]:
    if not sheets:
        return
    figures = statistics_of(summary)
    cost = cost_of(summary)
    facts = [
        ("Images", f"{figures['images']}: {figures[TRAIN]} to train on, {figures[HOLDOUT]} held out"),
        ("Words", _shown(figures["words"])),
        ("Tokens, about", _shown(figures["tokens_about"])),
        ("Cost", f"${cost['usd']:.4f}, ${cost['usd_per_image']:.4f} an image"),
        ("Time", f"{cost['seconds_per_image']:.2f} s an image"),
    ]
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


def _entry(row: Row, number: int, summary: Summary, out: Path) -> Entry:
    # A name of its own: ids of what can't be opened are file names.
    name = thumbnail(row.image or row.path, out / "pictures", f"{number:05d}") if row.status != FAILED else None
    shown = [Shown(f"{summary.label}/pictures/{name}", row.names[0], row.text or row.names[0])] if name else []
    facts = [("File", ", ".join(row.names[:_NAMED]))]
    if row.text is not None:
        facts += [
            ("Id", row.id),
            ("Part", summary.parts.get(row.id, "")),
            ("Words", f"{len(row.text.split())}, about {tokens_of(row.text)} tokens"),
        ]
    if row.seconds is not None:
        facts.append(("Took", f"{row.seconds:.2f} s, ${row.usd:.4f}, {row.model}"))
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
    for row in _duplicates(summary):
        if row["kind"] != NEAR:
            yield f"{row['raw']} is {row['same_as']} again (the same {row['kind']}): it was not asked about twice"
        else:
            what = "left out" if summary.dropped else "kept: look whether both are wanted"
            yield f"{row['raw']} looks nearly like {row['same_as']} ({row['distance']} of 64 bits differ): {what}"
    for name, what in (("empty", "empty"), ("long", f"over about {CLIP_TOKENS} tokens, of which CLIP reads no more")):
        if figures[name]:
            yield f"{counted(len(figures[name]), 'caption')} {what}: {_listed(figures[name])}"
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


def _duplicates(summary: Summary) -> Iterator[dict[str, Any]]:
    for row in summary.rows:
        for name in row.names[1:]:
            yield {"raw": name, "same_as": row.names[0], "kind": BYTES, "distance": 0}
    for twin in summary.twins:
        yield {"raw": twin.image.name, "same_as": twin.of.name, "kind": twin.kind, "distance": twin.distance}


def _row(row: Row, summary: Summary) -> dict[str, Any]:
    return {
        "id": row.id,
        "raw": list(row.names),
        "status": row.status,
        "image": None if row.image is None else row.image.name,
        "part": summary.parts.get(row.id),
        "caption": row.text,
        "words": None if row.text is None else len(row.text.split()),
        "tokens_about": None if row.text is None else tokens_of(row.text),
        "error": row.error,
        "usd": round(row.usd, 6),
        "seconds": row.seconds,
        "model": row.model or None,
        "asked_again": row.framed,
        "shortened": row.shortened,
    }


def _cells(rows: Sequence[Row]) -> Iterator[Cell]:
    for number, row in enumerate(rows, 1):
        yield Cell(str(number), None if row.status == FAILED else _thumbnail(row.image or row.path))


def _thumbnail(path: Path) -> Image.Image | None:
    """At most `THUMBNAIL` pixels; a tiny image is enlarged by a whole number, so that it can be seen as it is."""
    try:
        small = pictures.reduced(pictures.load(path), THUMBNAIL)
    except (ItemError, OSError):
        return None
    times = THUMBNAIL // max(small.size)
    size = (small.width * times, small.height * times)
    return small.resize(size, Image.Resampling.NEAREST) if times > 1 else small


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    """Least, mean and most."""
    if not numbers:
        return {"least": 0, "mean": 0, "most": 0}
    return {"least": min(numbers), "mean": round(math.fsum(numbers) / len(numbers), 1), "most": max(numbers)}


def _shown(spread: Mapping[str, float]) -> str:
    return f"{spread['least']:g} to {spread['most']:g}, {spread['mean']:g} on average"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
