"""Runs that drew storyboards, as the step would leave them, and a study built of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from runner import files
from steps.library.storyboards import read_storyboards
from steps.study.building import Built, build
from steps.study.cells import select
from steps.study.design import StudyOptions

ARMS = ("baseline", "simple", "reference")
STORIES = ("lost_foal", "dry_well")
SCENES = (
    "a person stands at the gate of a felt tent, early light",
    "a person rides over the steppe, the foal behind",
    "a person rests by the fire, stars above",
)
COATS = {"baseline": "#8d6a4f", "simple": "#3d6a8a", "reference": "#2e5f73"}


def draw_run(
    folder: Path,
    *,
    arms: Sequence[str] = ARMS,
    stories: Sequence[str] = STORIES,
    seeds: Sequence[int] = (1, 2),
    frames: int = 3,
    size: tuple[int, int] = (96, 96),
    **changes: Any,
) -> Path:
    """Write a step's folder; `changes` go into each storyboard's entry. Every file's metadata tells its arm."""
    boards, rows = [], []
    for story in stories:
        for arm in arms:
            for seed in seeds:
                key = f"{story}-{arm}-{seed}"
                boards.append(
                    {
                        "storyboard": key,
                        "character": "aldar",
                        "story": story,
                        "mode": arm,
                        "drawn_as": arm,
                        "seed": seed,
                        "seconds": {},
                    }
                    | {"lora_scale": None, "adapter_scale": None}
                    | changes
                )
                place = (arm, stories.index(story), seed)
                rows += [_row(folder, key, place, number, size) for number in range(1, frames + 1)]
    files.write_json(folder / "results.json", {"models": {}, "storyboards": boards, "results": rows})
    return folder


def build_study(outputs: Path, run: Path, *, references: Path | None = None, **options: Any) -> Built:
    """A study named "study", built as the command does."""
    selection = select(read_storyboards([run]))
    return build(
        outputs / "studies" / "study", selection, {"": references} if references else {}, StudyOptions(**options)
    )


def draw_references(folder: Path, number: int = 3) -> Path:
    """Images of the character."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        _scene("#2e5f73", index, (80, 80)).save(folder / f"aldar_truth_{index}.png")
    return folder


def mark_of(arm: str, story: int, seed: int) -> tuple[int, int, int]:
    """The colour of a frame's lower left corner, by which a test knows what it sees without asking the key."""
    return 40 * (1 + list(COATS).index(arm)) if arm in COATS else 20, 30 * (1 + story), 20 * (1 + seed)


def _row(folder: Path, key: str, place: tuple[str, int, int], number: int, size: tuple[int, int]) -> dict[str, Any]:
    arm = place[0]
    file = f"{key}/frame_{number}.png"
    (folder / key).mkdir(parents=True, exist_ok=True)
    told = PngInfo()
    told.add_text("parameters", f"mode={arm}, {key}")
    exif = Image.Exif()
    exif[0x010E] = f"{arm} {key}"
    # A length that tells the arm, too.
    told.add_text("padding", arm * 50 * len(arm))
    scene = _scene(COATS.get(arm, "#555555"), number, size)
    scene.paste(mark_of(*place), (0, size[1] - 4, 4, size[1]))
    scene.save(folder / file, pnginfo=told, exif=exif, icc_profile=b"profile of " + arm.encode())
    score = {
        "score": 0.7,
        "first_score": 0.6,
        "passed": True,
        "attempts": 1,
        "text": SCENES[(number - 1) % len(SCENES)],
    }
    return {"storyboard": key, "frame": number, "file": file} | score


def _scene(coat: str, number: int, size: tuple[int, int]) -> Image.Image:
    """A person on a steppe; every part in shares of the image."""
    width, height = size
    image = Image.new("RGB", size, ("#d9c9a3", "#a9c3d6", "#2b3350")[number % 3])
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, height * 0.7, width, height), fill=("#9c8f5a", "#7d9a5c", "#3d4a3a")[number % 3])
    middle = width * (0.3 + 0.2 * (number % 3))
    pen.polygon(
        [(middle, height * 0.35), (middle - width * 0.17, height * 0.95), (middle + width * 0.17, height * 0.95)],
        fill=coat,
    )
    pen.ellipse((middle - width * 0.1, height * 0.17, middle + width * 0.1, height * 0.39), fill="#d9a77f")
    pen.pieslice((middle - width * 0.12, height * 0.1, middle + width * 0.12, height * 0.34), 180, 360, fill="#f3efe2")
    return image
