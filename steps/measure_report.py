"""What `measure` writes: a document, a table of frames, and cards with the frames and their similarities."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from runner import files
from runner.report_parts import Badge, Entry, Frame, ReportPart, Shown, counted
from steps.heat_map import heat_map
from steps.library.thumbnails import thumbnail
from steps.measures.faces import (
    SEVERAL_FACES,
    FrameLikeness,
    Scale,
    StoryboardLikeness,
    headline,
    rescaled,
)
from steps.measures.statistics import Estimate, Unit, estimate
from steps.tables import csv_cell

FORMAT = 1
CLAIMED_SIMPLE, CLAIMED_REFERENCE = 0.65, 0.85
"""What the source documents expect of similarity to frame 1: about so much in simple mode, more than that in reference mode."""
PICTURES = "pictures"
BETWEEN_FRAMES = (
    "over the frames of one set, which are not independent: it does not say how other stories would come out"
)
BETWEEN_SETS = "over the sets, each counted once"
_FACE = Badge("face", "one face", "✓", "good")
_NO_FACE = Badge("no_face", "no face", "○", "warning")
_BORDER = Badge("at_border", "face at the border", "◨", "warning")
_FAILED = Badge("failed", "not measured", "✗", "error")
_DECIMALS = 6
_QUANTITIES = (
    ("frame1", "Similarity to frame 1 (c)"),
    ("consistency", "Consistency of frames 2 on (a)"),
    ("likeness", "Likeness to the references (b)"),
    ("copy_paste", "Copy-paste score (d)"),
)
_COLUMNS = ("set", "frame", "file", "faces", "score", "at_border", "likeness", "frame1", "copy_paste")


@dataclass(frozen=True)
class SeenFrame:
    """What was found in one frame beside its numbers.

    Attributes:
        file: Its name.
        score: How sure the detector is of the face that counts, 0 to 1; None without one.
        at_border: Whether a tenth or more of that face's box lies beyond the image.
    """

    file: str
    score: float | None
    at_border: bool


@dataclass(frozen=True)
class MeasuredSet:
    """One set of frames, measured.

    Attributes:
        numbers: Of each frame and of the set.
        seen: What else was found, frame by frame.
        similarities: Cosine of each frame with each; None where one has no face.
        scale: What cosines mean.
        missing: What can't be told and why, a sentence each.
        notes: What a person should know of the numbers.
        about_references: What a person should know of references and impostors.
    """

    numbers: StoryboardLikeness
    seen: tuple[SeenFrame, ...]
    similarities: tuple[tuple[float | None, ...], ...]
    scale: Scale
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    about_references: tuple[str, ...]


@dataclass(frozen=True)
class Account:
    """All that is told.

    Attributes:
        sets: What was measured, by name.
        failed: Errors by name.
        images: The frames' files by set.
        recogniser: What measured.
        asked: The folders that were given, by parameter.
        notes: Of the folders: what was left out.
        seed: Of the bootstrap.
    """

    sets: Mapping[str, MeasuredSet]
    failed: Mapping[str, str]
    images: Mapping[str, Sequence[Path]]
    recogniser: str
    asked: Mapping[str, str | None]
    notes: Sequence[str]
    seed: int


def document(account: Account) -> dict[str, Any]:
    """What results.json holds."""
    first = next(iter(account.sets.values()), None)
    return {
        "format": FORMAT,
        "recogniser": account.recogniser,
        "given": dict(account.asked),
        "similarities": "raw cosines; rescaled is (cosine + 1) / 2",
        "several_faces": SEVERAL_FACES,
        "scale": _rounded(asdict(first.scale)) if first else None,
        "claims": {"simple": CLAIMED_SIMPLE, "reference": CLAIMED_REFERENCE, "of": "similarity to frame 1"},
        "over_sets": _over_sets(account),
        "sets": [_set(name, found, account.seed) for name, found in account.sets.items()],
        "failed": [{"set": name, "error": error} for name, error in account.failed.items()],
        "notes": [*account.notes, *(first.about_references if first else ())],
        "results": [row for name, found in account.sets.items() for row in _rows(name, found)],
    }


def table(account: Account) -> str:
    """frames.csv: a row a frame, raw cosines; empty where nothing could be measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, found in account.sets.items():
        for row in _rows(name, found):
            writer.writerow({column: csv_cell(value) for column, value in row.items()})
    return text.getvalue()


def report(account: Account, out: Path, label: str) -> ReportPart:
    """Write the pictures; returns what is told with them."""
    frames = [frame for found in account.sets.values() for frame in found.numbers.frames]
    entries = [
        _entry(number, name, found, (account, out, label))
        for number, (name, found) in enumerate(account.sets.items(), 1)
    ]
    failed = [Entry(name, name, badge=_FAILED, notes=[error]) for name, error in account.failed.items()]
    first = next(iter(account.sets.values()), None)
    return ReportPart(
        headline=_headline(account),
        counts=[
            ("frames with a face", sum(frame.faces > 0 for frame in frames)),
            ("frames without a face", sum(frame.faces == 0 for frame in frames)),
            ("frames with several faces", sum(frame.faces > 1 for frame in frames)),
            *([("sets not measured", len(failed))] if failed else []),
        ],
        entries=[*failed, *entries],
        warnings=[*account.notes, *(first.about_references if first else ())],
    )


def _headline(account: Account) -> str:
    if not account.sets:
        return "No set of frames could be measured."
    means = {name: _mean_of_sets(account, name).mean for name in ("frame1", "consistency", "likeness")}
    sets = counted(len(account.sets), "set") + " of frames measured"
    others = f"among frames 2 on {_said(means['consistency'])}, to the references {_said(means['likeness'])}"
    return f"{sets}: similarity to frame 1 {_beside_claims(means['frame1'])}; {others} (mean raw cosines)."


def _beside_claims(value: float | None) -> str:
    """A similarity to frame 1 as it is and rescaled, beside what the source documents claim."""
    if value is None:
        return "not measured"
    return f"{value:.2f}, rescaled {rescaled(value):.2f} (the documents claim about {CLAIMED_SIMPLE} in simple and above {CLAIMED_REFERENCE} in reference mode)"


def _over_sets(account: Account) -> dict[str, Any] | None:
    """Means over all sets with their intervals; None where there is but one."""
    if len(account.sets) < 2:
        return None
    names = ("headline", *(name for name, _ in _QUANTITIES), "detection_rate")
    return {"interval": BETWEEN_SETS, **{name: _interval(_mean_of_sets(account, name), "set") for name in names}}


def _interval(found: Estimate, of: str) -> dict[str, Any]:
    note = found.note.replace("stories", f"{of}s").replace("story", of)
    return _rounded({"mean": found.mean, "low": found.low, "high": found.high, "n": found.n, "note": note})


def _mean_of_sets(account: Account, metric: str) -> Estimate:
    units = [Unit(name, name, "sets", found.numbers.values()) for name, found in account.sets.items()]
    return estimate(units, metric, seed=account.seed)


def _mean_of_frames(found: MeasuredSet, seed: int) -> Estimate:
    """The headline with its interval over frames; ceiling and floor are taken as known."""
    frames = found.numbers.frames
    told = {f"{each.frame:06d}": headline(each.likeness, found.scale) for each in frames}
    return estimate(
        [Unit(name, name, "frames", {"headline": value}) for name, value in told.items()], "headline", seed=seed
    )


def _set(name: str, found: MeasuredSet, seed: int) -> dict[str, Any]:
    numbers = found.numbers.values()
    scaled = ("frame1", "consistency", "likeness")
    return {
        "set": name,
        "frames": len(found.seen),
        **_rounded(numbers),
        "rescaled": _rounded({key: None if (value := numbers[key]) is None else rescaled(value) for key in scaled}),
        "headline_interval": {"over": BETWEEN_FRAMES, **_interval(_mean_of_frames(found, seed), "frame")},
        "missing": list(found.missing),
        "notes": list(found.notes),
        "matrix": [list(row) for row in found.similarities],
    }


def _rows(name: str, found: MeasuredSet) -> Iterator[dict[str, Any]]:
    for frame, seen in zip(found.numbers.frames, found.seen, strict=True):
        yield {
            "set": name,
            "file": seen.file,
            **_rounded(asdict(frame)),
            "score": seen.score,
            "at_border": seen.at_border,
        }


def _entry(number: int, name: str, found: MeasuredSet, where: tuple[Account, Path, str]) -> Entry:
    account, out, label = where
    strip = []
    for frame, seen, path in zip(found.numbers.frames, found.seen, account.images[name], strict=True):
        small = thumbnail(path, out / PICTURES, f"{number}_{frame.frame}")
        strip.append(_still(frame, seen, f"{label}/{PICTURES}/{small}" if small else ""))
    picture = f"{number}_similarities.png"
    _save(out / PICTURES / picture, found)
    lost = sum(frame.faces == 0 for frame in found.numbers.frames)
    word = "a face in every frame" if not lost else f"no face in {lost} of {counted(len(strip), 'frame')}"
    return Entry(
        key=name,
        title=name,
        badge=Badge(
            "whole" if not lost else "partly", word, "✓" if not lost else "○", "good" if not lost else "warning"
        ),
        strip=strip,
        pictures=[
            Shown(
                f"{label}/{PICTURES}/{picture}", "every frame with every frame, and with the references", _words(found)
            )
        ],
        subtitle=_summary(found),
        notes=[*found.notes, *found.missing],
        facts=list(_facts(found, account.seed)),
    )


def _summary(found: MeasuredSet) -> str:
    numbers = found.numbers
    means = f"among frames 2 on {_said(numbers.consistency)}, to the references {_said(numbers.likeness)}"
    return f"Similarity to frame 1 {_beside_claims(numbers.frame1)}; {means}."


def _still(frame: FrameLikeness, seen: SeenFrame, file: str) -> Frame:
    words = f"likeness {_said(frame.likeness)}" if frame.faces else "nothing to measure"
    if frame.frame1 is not None:
        words += f", to frame 1 {frame.frame1:.2f}"
    facts = [("File", seen.file)]
    if seen.score is not None:
        facts.append(("Detector", f"{seen.score:.2f}"))
    if frame.copy_paste is not None:
        facts.append(("Copy-paste score", f"{frame.copy_paste:.3f}"))
    badge = _badge(frame.faces, seen)
    return Frame(file, str(frame.frame), words, badge, facts, alt=f"Frame {frame.frame}, {badge.word}: {words}")


def _badge(faces: int, seen: SeenFrame) -> Badge:
    if not faces:
        return _NO_FACE
    if faces > 1:
        return Badge("several", f"{faces} faces", "◎", "warning")
    return _BORDER if seen.at_border else _FACE


def _facts(found: MeasuredSet, seed: int) -> Iterator[tuple[str, str]]:
    numbers, scale = found.numbers, found.scale
    values = numbers.values()
    top = _mean_of_frames(found, seed)
    if top.mean is not None:
        between = "" if top.low is None else f" [{top.low:.2f}, {top.high:.2f}], {BETWEEN_FRAMES}"
        yield "Likeness on the character's scale", f"{top.mean:.2f}{between}"
    for name, title in _QUANTITIES:
        yield title, _both(values[name], values.get(f"{name}_with_missing"), ratio=name == "copy_paste")
    claimed = f"about {CLAIMED_SIMPLE} in simple mode, above {CLAIMED_REFERENCE} in reference mode"
    yield (
        "The documents' claim of (c)",
        f"{claimed}; rescaled these are cosines of {2 * CLAIMED_SIMPLE - 1:.2f} and {2 * CLAIMED_REFERENCE - 1:.2f}",
    )
    yield "Frames with a face (e)", f"{_said(numbers.detection_rate)} of all"
    yield "Several faces (f)", f"{counted(numbers.several_faces, 'frame')}. {SEVERAL_FACES}"
    yield "Ceiling, floor (g)", f"{_said(scale.ceiling)}, {_said(scale.floor)}: {_people(scale)}"


def _both(value: float | None, with_missing: float | None, *, ratio: bool) -> str:
    """A figure, rescaled too, and with missing faces as 0 where that differs."""
    if value is None:
        return "not measured"
    text = f"{value:.3f}" if ratio else f"{value:.3f} raw, {rescaled(value):.3f} rescaled"
    if with_missing is None or abs(with_missing - value) < 10.0**-_DECIMALS:
        return text
    return f"{text}; {with_missing:.3f} raw with missing faces as 0"


def _people(scale: Scale) -> str:
    told = f"{counted(scale.references, 'reference')} and {counted(scale.impostors, 'impostor')} with a face"
    apart = "" if scale.separation is None else f", told apart in {scale.separation:.1%} of comparisons"
    return told + apart


def _save(path: Path, found: MeasuredSet) -> None:
    rows = [[*row, frame.likeness] for row, frame in zip(found.similarities, found.numbers.frames, strict=True)]
    names = [str(frame.frame) for frame in found.numbers.frames]
    picture: Image.Image = heat_map(names, rows, [*names, "ref."])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    files.write_bytes(path, buffer.getvalue())


def _words(found: MeasuredSet) -> str:
    """The picture in words."""
    known = [
        value
        for down, row in enumerate(found.similarities)
        for across, value in enumerate(row)
        if across > down and value is not None
    ]
    if not known:
        return "Similarities: no two frames show a face"
    return f"Cosines between frames, from {min(known):.2f} to {max(known):.2f}, mean {sum(known) / len(known):.2f}"


def _said(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, _DECIMALS) if isinstance(value, float) else value for name, value in values.items()}
