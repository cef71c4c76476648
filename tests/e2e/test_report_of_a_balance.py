"""The report that a person opens after balancing training data, in a real browser, on real pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import browser
from tests.e2e.stage import GOOD, Stage

chromium, watched = browser.chromium, browser.watched
# Kept, so that a person can look at what the test saw. Ignored by git.
KEPT = Path(__file__).resolve().parents[2] / "outputs" / "tests"


@pytest.mark.browser
def test_the_report_shows_what_goes_and_why_against_the_target(watched: browser.Watched, stage: Stage) -> None:
    told = stage.run("run", "balance_training_data", "total=1", f"actors={GOOD}")
    assert told.code == 0, told.text
    plan = stage.latest("balance_training_data", "plan/balance_plan.json")
    (action,) = plan["actions"]
    assert action["delete"]
    watched.show(stage.root / "outputs/balance_training_data/latest/report.html")
    page = watched.page
    page.locator("#ranking").get_by_role("link", name=GOOD).click()
    card = page.locator(".card:target")
    expect(card.locator("h3")).to_have_text(GOOD)
    expect(card.get_by_role("img", name=re.compile("numbered"))).to_be_visible()
    struck = card.locator(".goes figure")
    assert struck.locator(".why").all_text_contents() == [image["why"] for image in action["delete"]]
    struck.first.locator("a").focus()
    expect(struck.first.locator(".why")).to_have_css("clip-path", "none")
    row = card.locator(".bars tbody tr", has_text="photorealistic").first
    cells = [str(action[when].get("photorealistic", 0)) for when in ("before", "after")]
    assert row.locator("td").all_inner_texts()[:2] == cells
    for image in card.locator("img").all():
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    assert watched.violations() == []
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(KEPT / "balance.png"), full_page=True)
