"""The report of storyboards: strips in reading order, with what was scored and what was not taken."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from runner import files
from runner.report import render
from runner.report_parts import Badge, Entry, Frame, ReportPart, Shown, write_part
from runner.report_view import Card
from steps.library.stories import read_story
from tests import browser
from tests.browser import Watched
from tests.runner.storyboards import WHO, make_storyboards

chromium, watched = browser.chromium, browser.watched

ATTACK = """</ol></script><script>alert(1)</script><img src=x onerror=alert(2)> " ' {{ 7 * 7 }}"""
MODES = ("baseline", "simple", "adapter", "reference")
KEPT = Path(__file__).resolve().parents[2] / "outputs" / "tests"
SIDE_BY_SIDE = "list => getComputedStyle(list).gridTemplateColumns.split(' ').length"


def page_of(run: Path, *entries: Entry) -> str:
    write_part(run / "step", ReportPart("Well.", entries=list(entries)))
    files.write_json(
        run / "run.json", {"recipe": "any", "state": "done", "steps": {"step": {"step": "any", "state": "done"}}}
    )
    return render(run).read_text("utf-8")


def strip(number: int) -> list[Frame]:
    return [Frame("", str(index + 1), f"Scene {index + 1}") for index in range(number)]


def test_frames_stand_in_order_with_captions_scores_and_what_was_not_taken(tmp_path: Path) -> None:
    page = render(make_storyboards(tmp_path, ["echo"], ["simple"])).read_text("utf-8")
    frames = re.findall(r"<li>\s*<figure>(.*?)</li>", page, re.DOTALL)
    assert len(frames) == 6
    for number, (frame, scene) in enumerate(zip(frames, read_story("echo").scenes, strict=True), 1):
        assert f'src="storyboard/echo-simple/frame_{number}.png"' in frame
        assert f"<b>{number}</b>" in frame
        assert scene.text.replace("{who}", WHO) in frame
        assert 'loading="lazy"' in frame
        assert f"<dd>0.7{number}</dd>" in frame
    assert ["attempt 1, score 0.512" in frame for frame in frames] == [False, True, False, False, False, False]
    assert "3 facts, 1 not taken" in frames[1]


@pytest.mark.parametrize(
    ("frames", "columns"), [(1, 1), (2, 2), (5, 5), (6, 6), (7, 4), (8, 4), (9, 5), (10, 5), (12, 6), (20, 5)]
)
def test_rows_of_a_strip_are_about_as_long(tmp_path: Path, frames: int, columns: int) -> None:
    page = page_of(tmp_path, Entry("a", "Ann", strip=strip(frames)))
    assert f'<ol class="frames beside{columns}"' in page
    rows = -(-frames // columns)
    assert rows * columns - frames < columns


def test_a_card_without_a_strip_has_none() -> None:
    assert Card("a").columns == 0


def test_a_later_step_s_strip_replaces_an_earlier_one_s(tmp_path: Path) -> None:
    for label, frames in (("first", strip(3)), ("second", strip(2)), ("third", [])):
        write_part(tmp_path / label, ReportPart("Well.", entries=[Entry("a", "Ann", strip=frames)]))
    steps = {label: {"step": label, "state": "done"} for label in ("first", "second", "third")}
    files.write_json(tmp_path / "run.json", {"recipe": "any", "state": "done", "steps": steps})
    page = render(tmp_path).read_text("utf-8")
    assert page.count('<p class="caption">') == 2


def test_strips_stay_beside_those_they_are_compared_with_and_below_what_failed(tmp_path: Path) -> None:
    tones = [("a", "good"), ("b", "warning"), ("c", "good")]
    entries = [Entry(key, key, badge=Badge(tone, tone, "*", tone), strip=strip(1)) for key, tone in tones]
    failed = Entry("d", "d", badge=Badge("failed", "not drawn", "✗", "error"))
    page = page_of(tmp_path, *entries, failed)
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", page) == ["d", "a", "b", "c"]
    assert '<option value="">As in the run</option>' in page


def test_a_frame_that_is_gone_is_said_and_one_from_elsewhere_is_not_shown(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.touch()
    run = tmp_path / "outputs/any/run"
    frames = [Frame("gone.png", "1", "A frame"), Frame("../../../secret.png", "2"), Frame(str(outside), "3")]
    page = page_of(run, Entry("a", "Ann", strip=frames))
    assert page.count("no picture") == 3
    assert "secret.png" not in page
    assert '<span class="sr">: A frame</span>' in page
    assert '<span class="sr">: Ann, 2</span>' in page


def test_every_text_of_a_strip_is_data(tmp_path: Path) -> None:
    frame = Frame(
        "", ATTACK, ATTACK, Badge("x", ATTACK, ATTACK, ATTACK), [(ATTACK, ATTACK)], [Shown("", ATTACK, ATTACK)], ATTACK
    )
    page = page_of(tmp_path, Entry("a", ATTACK, strip=[frame]))
    assert page.count("<script>") == 1
    assert "onerror=alert(2)>" not in page
    assert "<img" not in page
    assert "style=" not in page


@pytest.mark.parametrize(
    "broken", [{"strip": 3}, {"strip": [{"caption": "1"}]}, {"strip": [{"file": "x", "caption": "1", "tries": ["y"]}]}]
)
def test_a_broken_strip_leaves_its_entry_out_and_is_said(tmp_path: Path, broken: dict[str, Any]) -> None:
    page_of(tmp_path, Entry("a", "Ann", strip=strip(2)), Entry("b", "Bob", strip=strip(1)))
    raw = json.loads((tmp_path / "step/report.json").read_text())
    raw["entries"][0] |= broken
    (tmp_path / "step/report.json").write_text(json.dumps(raw))
    page = unescape(render(tmp_path).read_text("utf-8"))
    assert "1 of 2 entries can't be shown; the first: entries[0]" in page
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", page) == ["Bob"]


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 375), ("dark", 375)])
def test_a_storyboard_report_is_accessible(tmp_path: Path, watched: Watched, scheme: Any, width: int) -> None:
    page = watched.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    watched.show(render(make_storyboards(tmp_path, ["coat_of_holes"], MODES[:2])))
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    load_all(watched)
    assert watched.violations() == []
    assert not watched.is_too_wide()
    assert page.locator(".frames").first.evaluate(SIDE_BY_SIDE) == (6 if width == 1280 else 2)
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=KEPT / f"storyboard-{scheme}-{width}.png", full_page=True)


def load_all(watched: Watched) -> None:
    """Scroll to each image that is not folded away, as lazy ones need it."""
    for image in watched.page.locator("img:visible").all():
        image.scroll_into_view_if_needed()
        watched.page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())


@pytest.mark.browser
def test_small_frames_are_enlarged_pixel_by_pixel_and_large_ones_smoothly(tmp_path: Path, watched: Watched) -> None:
    for size, rendering in ((64, "pixelated"), (256, "auto")):
        watched.show(render(make_storyboards(tmp_path / str(size), ["echo"], ["simple"], size=size)))
        load_all(watched)
        image = watched.page.locator(".frames img").first
        expect(image).to_have_css("image-rendering", rendering)
        box = image.bounding_box()
        assert box is not None
        assert box["width"] == pytest.approx(box["height"], abs=1)
        assert box["width"] >= 150


@pytest.mark.browser
def test_scores_are_reached_by_keyboard_and_told_apart_by_name(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_storyboards(tmp_path, ["echo"], ["simple"])))
    board = page.get_by_role("list", name="The echo, simple, 6 pictures in order")
    expect(board.get_by_role("img").nth(1)).to_have_accessible_name(re.compile(r"^Frame 2: .*standing, facing right"))
    summary = board.locator("summary").nth(1)
    assert summary.text_content() == "3 facts, 1 not taken of The echo, simple, 2"
    expect(board.get_by_text("attempt 1, score 0.512")).to_be_hidden()
    board.get_by_role("link").nth(1).focus()
    page.keyboard.press("Tab")
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    expect(board.get_by_text("attempt 1, score 0.512")).to_be_visible()
    expect(board.get_by_role("img", name="Frame 2, attempt 1")).to_be_visible()


@pytest.mark.browser
def test_a_strip_is_leafed_through_in_large(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_storyboards(tmp_path, ["echo", "ice"], ["simple"])))
    links = page.locator(".frames").first.locator("li > figure > a")
    links.nth(1).focus()
    page.keyboard.press("Enter")
    view = page.get_by_role("dialog", name="One picture of a strip")
    picture = view.get_by_role("img")
    expect(picture).to_have_accessible_name(re.compile("^Frame 2: "))
    expect(view.locator("output")).to_have_text("2 of 6")
    expect(picture).to_have_css("image-rendering", "pixelated")
    box = picture.bounding_box()
    assert box is not None
    assert box["height"] > 500
    assert watched.violations() == []
    view.get_by_role("button", name="Next").click()
    page.keyboard.press("ArrowRight")
    expect(view.get_by_text("waving a hand, facing left")).to_be_visible()
    expect(view.locator("output")).to_have_text("4 of 6")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    expect(view.locator("output")).to_have_text("6 of 6")
    expect(view.get_by_role("button", name="Next")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(view).to_be_hidden()
    expect(links.nth(5)).to_be_focused()


@pytest.mark.browser
def test_hostile_text_stays_text_in_large(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    run = make_storyboards(tmp_path, ["echo"], ["simple"])
    frame = Frame("storyboard/echo-simple/frame_1.png", ATTACK, ATTACK, Badge("x", ATTACK, ATTACK, ATTACK), alt=ATTACK)
    write_part(run / "storyboard", ReportPart("Well.", entries=[Entry("a", ATTACK, strip=[frame])]))
    watched.show(render(run))
    page.locator(".frames li > figure > a").click()
    view = page.get_by_role("dialog")
    expect(view.locator("figcaption")).to_contain_text("<script>alert(1)</script>")
    assert view.locator("script, figcaption img").count() == 0


@pytest.mark.browser
def test_frames_are_found_by_what_they_show(tmp_path: Path, watched: Watched) -> None:
    watched.show(render(make_storyboards(tmp_path, ["echo", "ice"], ["simple"])), "#q=snow")
    expect(watched.page.locator(".shown")).to_have_text("1 of 2 shown")
    expect(watched.page.locator(".card:visible h3")).to_have_text("The ice, simple")


@pytest.mark.browser
def test_four_strips_of_twenty_stay_usable(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_storyboards(tmp_path, ["misers_supper"], MODES, times=2)))
    assert not watched.is_too_wide()
    assert page.locator(".frames > li").count() == 80
    for strip_ in page.locator(".frames").all():
        strip_.scroll_into_view_if_needed()
        assert strip_.evaluate(SIDE_BY_SIDE) == 5
    page.get_by_role("button", name="below").click()
    expect(page.locator(".shown")).to_have_text("1 of 4 shown")
    # One of four is as high as two screens at most: a story is read without losing its beginning.
    box = page.locator(".card:visible").bounding_box()
    assert box is not None
    assert box["height"] < 1800


@pytest.mark.browser
def test_on_paper_a_strip_is_whole_and_what_was_closed_stays_closed(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_storyboards(tmp_path, ["echo"], ["simple"])))
    page.locator(".frames summary").nth(3).click()
    page.emulate_media(media="print")
    expect(page.get_by_text("attempt 1, score 0.512")).to_be_hidden()
    assert [details.is_visible() for details in page.locator(".frames details").all()] == [
        index == 3 for index in range(6)
    ]
    assert page.locator(".frames").evaluate(SIDE_BY_SIDE) == 6
    expect(page.locator(".card")).to_have_css("column-span", "all")
