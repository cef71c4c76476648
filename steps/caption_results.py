"""What a captioned folder came to, in figures: results.json and refused.txt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from runner import files
from runner.errors import UserError
from steps.captioning import CLIP_TOKENS, has_trigger, tokens_of
from steps.library.captions import HOLDOUT, TRAIN, TrainingSet
from steps.library.raw_images import BYTES, NEAR, Twin, quoted

CAPTIONED, KEPT, REFUSED, FAILED = "captioned", "kept", "refused", "failed"
STATES = (CAPTIONED, KEPT, REFUSED, FAILED)
FORMAT = 1
_REFUSALS = """\
# Images that were refused twice: a file a line, quoted for bash and zsh. Look at each, and take out the lines of those that you keep.
# Delete what is left with: eval "rm -- $(grep -v '^#' refused.txt | tr '\\n' ' ')"
"""


@dataclass(frozen=True)
class Row:
    """How one image ended.

    Attributes:
        id: Its id; of a file that can't be opened its name.
        paths: The raw file, and its exact copies.
        names: Their names below the raw folder, as people read them.
        status: CAPTIONED, KEPT, REFUSED or FAILED.
        text: The caption as it is on disk.
        image: Where it is in the set.
        error: Why there is no caption.
        usd: What this run paid for it.
        usd_when_asked: What its caption cost in the run that asked; None where that is not known.
        seconds: What the answer took then.
        model: Who wrote the caption.
        framed: Whether it took the second question.
        shortened: Whether the answer was too long.
        from_cache: Whether an earlier run has asked, and this one remembered.
    """

    id: str
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    status: str
    text: str | None = None
    image: Path | None = None
    error: str | None = None
    usd: float = 0.0
    usd_when_asked: float | None = None
    seconds: float | None = None
    model: str = ""
    framed: bool = False
    shortened: bool = False
    from_cache: bool = False


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
        **cost_of(summary)._asdict(),
        "statistics": statistics_of(summary),
        "truth": {"known": len(summary.judged), "agree": sum(summary.judged.values())},
        "results": [_row(row, summary) for row in summary.rows],
        "duplicates": list(duplicates_of(summary)),
        "delete": [str(path.absolute()) for row in summary.of(REFUSED) for path in row.paths],
        "no_images": list(summary.others),
    }


def counts_of(summary: Summary) -> dict[str, int]:
    """How many images ended how."""
    counts = Counter(row.status for row in summary.rows)
    kinds = Counter(row["kind"] for row in duplicates_of(summary))
    return {status: counts.get(status, 0) for status in STATES} | {
        "asked_again": sum(row.framed for row in summary.rows),
        "exact_duplicates": sum(number for kind, number in kinds.items() if kind != NEAR),
        "near_duplicates": kinds.get(NEAR, 0),
    }


class Cost(NamedTuple):
    """What captions cost, in money and time.

    Attributes:
        usd: US dollars that this run paid.
        usd_per_image: US dollars a caption, refused and failed questions included, remembered ones at what they cost when they were asked;
            None where no question is known of.
        seconds_per_image: What the middle one of all answers took when it was asked. The mean would tell how long the first ones waited
            for a model to load. None likewise.
        from_cache: How many captions an earlier run has asked for.
    """

    usd: float
    usd_per_image: float | None
    seconds_per_image: float | None
    from_cache: int


def cost_of(summary: Summary) -> Cost:
    """Of the images that this run was given; a caption that was there before has no known cost."""
    asked = [row for row in summary.rows if row.usd_when_asked is not None]
    usd = sum(row.usd for row in summary.rows)
    earlier = sum(max(0.0, (row.usd_when_asked or 0.0) - row.usd) for row in asked)
    seconds = [row.seconds for row in summary.rows if row.seconds is not None]
    return Cost(
        usd=round(usd, 6),
        usd_per_image=round((usd + earlier) / len(asked), 6) if asked else None,
        seconds_per_image=round(median(seconds), 3) if seconds else None,
        from_cache=sum(row.from_cache for row in summary.rows),
    )


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
        "long": list(_long(summary)),
        "empty": [id_ for id_, text in texts.items() if not text],
    }


def _long(summary: Summary) -> Iterator[dict[str, Any]]:
    """Captions of which CLIP reads not all, by a count that is rather too high: `train` counts exactly."""
    names = {row.id: row.names[0] for row in summary.rows}
    for id_, text in summary.texts.items():
        if (tokens := tokens_of(text)) > CLIP_TOKENS:
            yield {"id": id_, "raw": names.get(id_), "tokens_about": tokens}


def refusals(rows: Sequence[Row]) -> str:
    """refused.txt: the files that were refused, a line each, for people and for a shell."""
    paths = [path.absolute() for row in rows if row.status == REFUSED for path in row.paths]
    return _REFUSALS + "".join(f"{quoted(path)}\n" for path in paths)


def duplicates_of(summary: Summary) -> Iterator[dict[str, Any]]:
    """Files that others make superfluous, or nearly."""
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
        "usd_when_asked": None if row.usd_when_asked is None else round(row.usd_when_asked, 6),
        "from_cache": row.from_cache,
        "seconds": row.seconds,
        "model": row.model or None,
        "asked_again": row.framed,
        "shortened": row.shortened,
    }


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    """Least, mean and most."""
    if not numbers:
        return {"least": 0, "mean": 0, "most": 0}
    return {"least": min(numbers), "mean": round(math.fsum(numbers) / len(numbers), 1), "most": max(numbers)}
