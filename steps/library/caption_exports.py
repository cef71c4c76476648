"""A training set in the layouts that other tools read: Hugging Face's imagefolder, and kohya's folders.

Images are copies: with links, a tool that rewrites an exported image in place would change the library.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner import files
from steps.library.captions import HOLDOUT, TRAIN, Captioned, read_caption

METADATA = "metadata.jsonl"
_CARD = """---
configs:
- config_name: default
  data_files:
{splits}---
Images with their captions in the column `text`. Both splits: `datasets.load_dataset("PATH/OF/THIS/FOLDER")`. One of them:
`datasets.load_dataset("imagefolder", data_dir="PATH/OF/THIS/FOLDER/train")`.
"""
_SPLIT = '  - split: {part}\n    path: "{part}/**"\n'


def imagefolder(folder: Path, images: Sequence[Captioned], parts: Mapping[str, str]) -> None:
    """Write FOLDER/train and FOLDER/holdout, each with its images and metadata.jsonl (file_name, text).

    The card (README.md) names both splits: without it the loader sees those alone whose names it knows, and "holdout" is none.
    """
    files.remove_tree(folder)
    there = []
    for part in (TRAIN, HOLDOUT):
        rows = [one for one in images if parts.get(one.id, TRAIN) == part]
        if rows:
            there.append(part)
            _part_of_imagefolder(folder / part, rows)
    splits = "".join(_SPLIT.format(part=part) for part in there)
    files.write_text(folder / "README.md", _CARD.format(splits=splits))


def kohya(folder: Path, images: Sequence[Captioned], parts: Mapping[str, str], *, repeats: int, trigger: str) -> None:
    """Write FOLDER/{repeats}_{trigger} with ID.ext and ID.txt side by side, as sd-scripts' `--train_data_dir FOLDER` reads it.

    Held-out images stay out of it.
    """
    files.remove_tree(folder)
    place = folder / f"{repeats}_{folder_name(trigger)}"
    files.make_folder(place)
    for one in images:
        if parts.get(one.id, TRAIN) == TRAIN:
            shutil.copyfile(one.image, place / one.image.name)
            files.write_text(place / f"{one.id}.txt", read_caption(one.caption) + "\n")


def folder_name(trigger: str) -> str:
    """A trigger as a part of a folder's name: what no file system takes becomes an underscore."""
    return re.sub(r"[^\w \-]+", "_", trigger).strip()[:80] or "character"


def _part_of_imagefolder(folder: Path, images: Sequence[Captioned]) -> None:
    files.make_folder(folder)
    lines = []
    for one in images:
        shutil.copyfile(one.image, folder / one.image.name)
        lines.append(json.dumps({"file_name": one.image.name, "text": read_caption(one.caption)}, ensure_ascii=False))
    files.write_text(folder / METADATA, "".join(f"{line}\n" for line in lines))
