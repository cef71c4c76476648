"""The report that a person opens after a repair, in a real browser, on real pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import browser
from tests.e2e.stage import ABSENT, BLURRED, GOOD, Stage

chromium, watched = browser.chromium, browser.watched
# Kept, so that a person can look at what the test saw. Ignored by git.
KEPT = Path(__file__).resolve().parents[2] / "outputs" / "tests"


@pytest.mark.browser
def test_the_report_shows_each_actor_before_and_after(watched: browser.Watched, stage: Stage) -> None:
    assert (
        stage.run("run", "repair_base_images", "execute=true", "steps.plan.width=256", "steps.plan.height=384").code
        == 0
    )
    watched.show(stage.root / "outputs/repair_base_images/latest/report.html")
    page = watched.page
    assert page.locator(".card").count() == 3
    blurred = page.locator(".card", has_text=BLURRED)
    assert blurred.locator("img").count() == 2
    assert "New image made with seed" in blurred.inner_text()
    assert page.locator(".card", has_text=ABSENT).locator("img").count() == 1
    page.get_by_role("button", name="valid").first.click()
    assert page.locator(".card:visible").count() == 1
    assert GOOD in page.locator(".card:visible").inner_text()
    page.get_by_role("button", name="All").click()
    page.get_by_role("searchbox").fill("korean")
    page.wait_for_function("document.querySelectorAll('.card:not([hidden])').length === 1")
    page.get_by_role("searchbox").fill("")
    page.wait_for_function("document.querySelectorAll('.card:not([hidden])').length === 3")
    assert page.evaluate(
        "[...document.images].every(image => image.complete && image.naturalWidth > 0 || image.loading === 'lazy')"
    )
    assert watched.violations() == []
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(KEPT / "report.png"), full_page=True)
