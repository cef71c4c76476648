"""A system Chromium for tests of pages, launched once a module; import the fixture `chromium` to use it.

The page's fixture watches what every page test must hold: nothing is loaded but files, and the console stays silent.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Watched:
    """A page and what it did wrong."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def show(self, file: Path, fragment: str = "") -> None:
        """Open a file as a person would, by its file: address."""
        self.page.goto(file.resolve().as_uri() + fragment)

    def violations(self) -> list[str]:
        """What axe finds fault with: the rule and the first element."""
        found = Axe().run(self.page, options={"resultTypes": ["violations"], "runOnly": WCAG})
        first = [(fault["id"], fault["nodes"][0]) for fault in found.response["violations"]]
        return [f"{rule}: {node['html'][:200]} {node.get('failureSummary')}" for rule, node in first]

    def is_too_wide(self) -> bool:
        """Whether the page as a whole must be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.faults.append(f"loaded {request.url}")

    def _failed(self, request: Request) -> None:
        # Leaving a page cancels what it was still loading; that is no fault of the page.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed {request.url}: {request.failure}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def watch(self) -> None:
        """Begin to note faults."""
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    path = find_chromium()
    if path is None:
        pytest.skip(
            f"needs a Chromium: none of {', '.join(NAMES)} is on the PATH (Debian: apt-get install --no-install-recommends chromium)"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    """A fresh page of 1280 x 900; the test fails afterwards if it loaded anything from outside or wrote to the console."""
    with chromium.new_context(viewport={"width": 1280, "height": 900}, service_workers="block") as context:
        found = Watched(context.new_page())
        found.watch()
        yield found
        assert found.faults == []
