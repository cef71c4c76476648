"""The images and captions that a LoRA learns from, and everything that is wrong with them, said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import ItemError
from runner.report_parts import counted
from steps.library import captions, pictures
from steps.library.captions import HOLDOUT, Captioned
from steps.studio.lora.buckets import Size, nearest

LONGEST_CAPTION_BYTES = 100_000
CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Example:
    """An image with its caption.

    Attributes:
        id: Its name.
        image: The file.
        sha256: Of the file's bytes.
        caption: What it shows.
        size: Of the original in pixels, EXIF rotation applied.
        bucket: The size that it is trained at.
    """

    id: str
    image: Path
    sha256: str
    caption: str
    size: Size
    bucket: Size


@dataclass
class Dataset:
    """What is trained on, what is held out, and what is wrong.

    Attributes:
        train: Examples to learn from.
        holdout: Examples to measure with.
        faults: What must be mended, or left out, before training; each sentence names the file.
        warnings: What a person should know.
    """

    train: list[Example] = field(default_factory=list)
    holdout: list[Example] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rules:
    """What a data set must keep to.

    Attributes:
        buckets: Sizes that images are trained at.
        trigger: The words that name the character; a caption without them is a warning.
        limit: Tokens of a caption, start and end counted.
        counts: How many tokens a caption has, for each tokenizer.
    """

    buckets: Sequence[Size]
    trigger: str | None
    limit: int
    counts: Sequence[CountTokens]


def read_dataset(pairs: Iterable[Captioned], split: Mapping[str, str], rules: Rules) -> Dataset:
    """Read every image and caption. Faults are gathered, never raised: who asked decides."""
    found, known = Dataset(), set()
    for pair in pairs:
        known.add(pair.id)
        example = _read(pair, rules, found.faults)
        if example is not None:
            _look_at_caption(example, pair, rules, found)
            (found.holdout if split.get(pair.id) == HOLDOUT else found.train).append(example)
    if gone := len(split.keys() - known):
        # People take bad images out: nothing is trained wrongly by it.
        found.warnings.append(
            f"{captions.SPLIT} names {counted(gone, 'image')} that {'is' if gone == 1 else 'are'} gone"
        )
    return found


def _read(pair: Captioned, rules: Rules, faults: list[str]) -> Example | None:
    """The example; None with a fault for each thing that is wrong with it."""
    caption, before = _caption(pair.caption, faults), len(faults)
    try:
        picture = pictures.load(pair.image)
    except (ItemError, OSError) as error:
        faults.append(f"{pair.image}: {error}")
    if caption is None or len(faults) > before:
        return None
    size = Size(*picture.size)
    return Example(pair.id, pair.image, picture.sha256, caption, size, nearest(size, rules.buckets))


def _caption(path: Path, faults: list[str]) -> str | None:
    try:
        if path.stat().st_size > LONGEST_CAPTION_BYTES:
            faults.append(f"{path}: {path.stat().st_size:,} bytes are no caption")
            return None
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        faults.append(f"{path}: no caption: write one, or run: callsheet run caption")
    except UnicodeDecodeError:
        faults.append(f"{path}: not UTF-8: save it as UTF-8")
    except OSError as error:
        faults.append(f"{path}: can't be read: {error.strerror}")
    else:
        if text:
            return text
        faults.append(f"{path}: the caption is empty: write one, or run: callsheet run caption")
    return None


def _look_at_caption(example: Example, pair: Captioned, rules: Rules, found: Dataset) -> None:
    longest = max(count(example.caption) for count in rules.counts)
    if longest > rules.limit:
        found.faults.append(
            f"{pair.caption}: {longest} tokens, {rules.limit} are read (start and end counted): shorten it by about {longest - rules.limit}"
        )
    if rules.trigger and rules.trigger.lower() not in example.caption.lower():
        found.warnings.append(f"{pair.caption}: the trigger '{rules.trigger}' is not in it")
