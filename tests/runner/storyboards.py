"""The report part of storyboards, as their step would leave it: an example to follow, and the stage of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner import files
from runner.report_parts import Badge, Entry, Frame, ReportPart, Shown, write_part
from steps.library.stories import Scene, prompt_of, read_story
from steps.studio.people import Character
from steps.studio.scenery import PLACES
from steps.studio.world import Scene as Place
from steps.studio.world import draw

PASSED = Badge("passed", "pass", "✓", "good")
BELOW = Badge("below", "below the threshold", "▼", "warning")
WHO = "ohwx man"
HERO = Character(
    hat="kalpak", hat_colour="white", outfit="robe", outfit_colour="blue", pattern="zigzag", facial_hair="moustache"
)


def make_storyboards(
    run: Path, stories: Sequence[str], modes: Sequence[str], *, size: int = 64, times: int = 1
) -> Path:
    """A run that drew some stories in some modes.

    Args:
        run: Its folder.
        stories: Names of shipped stories.
        modes: Named in the titles.
        size: Pixels of each frame.
        times: How often the scenes of a story are told.
    """
    entries = [_entry(run, name, mode, size, times) for name in stories for mode in modes]
    write_part(run / "storyboard", ReportPart(f"{len(entries)} storyboards.", [("storyboards", len(entries))], entries))
    steps = {"storyboard": {"step": "storyboard", "state": "done", "done": len(entries), "failed": 0}}
    files.write_json(run / "run.json", {"recipe": "storyboard", "state": "done", "steps": steps})
    return run


def _entry(run: Path, name: str, mode: str, size: int, times: int) -> Entry:
    story = read_story(name)
    strip = [
        _frame(run, f"{name}-{mode}", number, scene, size) for number, scene in enumerate([*story.scenes] * times, 1)
    ]
    whole = mode != "baseline"
    badge = Badge("whole", "all frames pass", "✓", "good") if whole else Badge("partly", "1 below", "▼", "warning")
    facts = [("Drawn", f"{len(strip) + 1} images"), ("Seconds", "sampling 4.1")]
    return Entry(f"{name}-{mode}", f"{story.title}, {mode}", story.text, badge, strip=strip, facts=facts)


def _frame(run: Path, key: str, number: int, scene: Scene, size: int) -> Frame:
    file = f"storyboard/{key}/frame_{number}.png"
    place = next((place for place in PLACES if place in scene.text), "steppe")
    files.make_folder((run / file).parent)
    draw(HERO, Place(place, number), scene.shot, size=(size, size)).save(run / file)
    tries = [Shown(file, "attempt 1, score 0.512", f"Frame {number}, attempt 1")] if number == 2 else []
    badge = BELOW if number == 2 and "baseline" in key else PASSED
    facts = [("CLIPScore", f"0.7{number}"), ("Seed", str(number)), ("Attempts", str(len(tries) + 1))]
    text = prompt_of(scene, WHO)
    return Frame(file, str(number), text, badge, facts, tries, f"Frame {number}: {text}")
