"""People in front of a study's page, who remember what they chose by what they saw."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.steps.study.boards import ARMS, STORIES, mark_of

# What a frame's corner says of it: arm, story.
SOURCES = {mark_of(arm, index, 1): (arm, story) for arm in ARMS for index, story in enumerate(STORIES)}
SCORE = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}


@dataclass
class Said:
    """What a rater chose, by what was to be seen: nothing here comes from the study's key.

    Attributes:
        quality: By arm and story.
        identity: By arm and story.
        pairs: By story and the arms left and right, in the order in which they were answered: the arm, or None for no preference.
    """

    quality: dict[tuple[str, str], int] = field(default_factory=dict)
    identity: dict[tuple[str, str], str] = field(default_factory=dict)
    pairs: dict[tuple[str, str, str], str | None] = field(default_factory=dict)


class Rater:
    """Somebody in front of the page. By the mouse, unless a subclass does otherwise."""

    def __init__(self, page: Page, folder: Path, name: str) -> None:
        self.page, self.folder, self.name = page, folder, name
        self.said = Said()
        self.rng = random.Random(name)

    def begin(self) -> None:
        self.page.goto((self.folder / "index.html").resolve().as_uri())
        self.page.get_by_label("Your name in this study").fill(self.name)
        self.page.get_by_role("button", name="I agree: begin").click()

    def answer_all(self, most: int = 1000) -> None:
        for _ in range(most):
            if not self.is_asked():
                return
            self.answer_page()
            self.next()

    def is_asked(self) -> bool:
        return self.page.locator("#asking").is_visible()

    def answer_page(self) -> None:
        """Look for a while, and choose; attention checks as they say."""
        self.page.clock.fast_forward(3000)
        shown = [self.source(strip) for strip in self.page.locator(".strip").all()]
        for asked in self.page.locator("fieldset").all():
            name = (asked.get_attribute("id") or "").removeprefix("asked-")
            values = [each.get_attribute("value") or "" for each in asked.locator("input").all()]
            value = self.obeyed() or self.rng.choice(values)
            self.press(name, value)
            expect(asked.locator(f"input[value='{value}']")).to_be_checked()
            self.remember(name, value, shown)

    def press(self, name: str, value: str) -> None:
        self.page.locator(f"#asked-{name} label").filter(has=self.page.locator(f"[value='{value}']")).click()

    def next(self) -> None:
        self.page.locator("#next").click()

    def save(self) -> Path:
        """The file that the browser keeps."""
        with self.page.expect_download() as started:
            self.page.get_by_role("button", name="Save my answers to a file").click()
        return Path(started.value.path()).rename(self.folder.parent / started.value.suggested_filename)

    def obeyed(self) -> str | None:
        """What an attention check asks for."""
        alts = [image.get_attribute("alt") or "" for image in self.page.locator(".strip img").all()]
        if found := re.search(r"give (\d) out of 5", alts[0]):
            return found[1]
        if "Attention check" in alts[0]:
            return "left" if "this one" in alts[0] else "right"
        return None

    def source(self, strip: Locator) -> tuple[str, str] | None:
        name = strip.locator("img").first.get_attribute("src") or ""
        with Image.open(self.folder / name) as image:
            return SOURCES.get(image.getpixel((1, image.height - 2)))  # type: ignore[arg-type]

    def remember(self, name: str, value: str, shown: list[tuple[str, str] | None]) -> None:
        places = [place for place in shown if place is not None]
        if name == "quality" and places:
            self.said.quality[places[0]] = SCORE[value]
        elif name == "identity" and places:
            self.said.identity[places[0]] = value
        elif places:
            (left, story), (right, _) = places
            chosen = {"left": left, "right": right, "none": None}[value]
            assert (story, left, right) not in self.said.pairs
            self.said.pairs[story, left, right] = chosen


class Typist(Rater):
    """By the keyboard alone."""

    KEYS: ClassVar[Mapping[str, str]] = {
        "yes": "y",
        "no": "N",
        "cant_tell": "c",
        "left": "ArrowLeft",
        "right": "ArrowRight",
        "none": " ",
    }

    def begin(self) -> None:
        self.page.goto((self.folder / "index.html").resolve().as_uri())
        self.page.keyboard.press("Tab")
        expect(self.page.locator("#name")).to_be_focused()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(self.name)
        self.page.keyboard.press("Enter")

    def press(self, name: str, value: str) -> None:
        self.page.keyboard.press(self.KEYS.get(value, value))

    def next(self) -> None:
        self.page.keyboard.press("Enter")
