"""The report of a balancing run: distributions against targets and over time, what goes and comes, and the overview by rank."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from runner import files
from runner.report import render
from runner.report_charts import bar_table, trend_chart
from runner.report_parts import COMES, GOES, Badge, Bar, Entry, ReportPart, Shown, Trend, write_part
from tests import browser
from tests.browser import Watched
from tests.runner.balanced_cast import TITLE, make_balance

chromium, watched = browser.chromium, browser.watched

ATTACK = """</svg></script><script>alert(1)</script><img src=x onerror=alert(2)> " ' {{ 7 * 7 }}"""
TIMES = ["2026-11-02T09:00:00+00:00", "2026-11-20T21:14:05+00:00"]
KEPT = Path(__file__).resolve().parents[2] / "outputs" / "tests"
CAST: Mapping[str, Mapping[str, int]] = {
    "0000_ada": {"photorealistic": 13, "bw_stylized": 4, "color_stylized": 3},
    "0001_bek": {"photorealistic": 16, "bw_stylized": 4, "color_stylized": 1},
    "0002_cleo": {"photorealistic": 5, "bw_stylized": 4, "color_stylized": 9},
    "0003_dan": {"bw_stylized": 2},
}


def make_run(run: Path, *parts: ReportPart) -> Path:
    """A run whose steps, called step0 and so on, left some parts."""
    for index, part in enumerate(parts):
        write_part(run / f"step{index}", part)
    steps = {f"step{index}": {"step": "any", "state": "done"} for index in range(len(parts))}
    files.write_json(run / "run.json", {"recipe": "any", "state": "done", "steps": steps})
    return run


def page_of(run: Path, *parts: ReportPart) -> str:
    return render(make_run(run, *parts)).read_text("utf-8")


def part(*entries: Entry, title: str = "") -> ReportPart:
    return ReportPart("Well.", entries=list(entries), ranking_title=title)


def ranked_in(page: str) -> list[str]:
    return re.findall(r'<li class="tone-\w+"><a href="#card-\d+" dir="auto">(.*?)</a>', page)


def test_bars_share_a_scale_that_holds_every_number() -> None:
    table = bar_table([Bar("photo", 15, 13, 13, 2.0, 20), Bar("bw", 40, 4)])
    assert table is not None
    assert [row.lengths for row in table.rows] == [[("before", "37.5%"), ("after", "32.5%")], [("before", "100%")]]
    assert [row.aim for row in table.rows] == ["32.5%", "10%"]
    assert [row.band for row in table.rows] == [("27.5%", "10%"), None]
    assert [row.text for row in table.rows] == ["15 before, 13 after, 13 wanted", "40 before, 4 wanted"]
    assert (table.planned, table.before, table.after, table.target) == (True, 55, 53, 17)


def test_a_tolerance_is_drawn_within_the_bar() -> None:
    table = bar_table([Bar("bw", 1, 1, None, 3.0, 4), Bar("photo", 4, 3, None, 9.5, 4)])
    assert table is not None
    assert [(row.band, row.tolerance) for row in table.rows] == [(("0%", "100%"), "3"), (("0%", "100%"), "9.5")]


@pytest.mark.parametrize("bar", [Bar("x", -5, 0, -1, -2.0, -9), Bar("x", 10**400, 10**400, 1, float("inf"), 10**400)])
def test_numbers_that_cannot_be_stay_within_the_drawing(bar: Bar) -> None:
    table = bar_table([bar])
    assert table is not None
    lengths = [length for row in table.rows for _, length in row.lengths] + [table.rows[0].aim]
    assert all(0 <= float(length.removesuffix("%")) <= 100 for length in lengths)


def test_a_trend_is_stacked_from_the_bottom_and_fills_the_height() -> None:
    chart = trend_chart(Trend(TIMES, {"photo": [3, 1], "bw": [1, 1]}, "images"))
    assert chart is not None
    assert chart.totals == [4, 2]
    assert chart.layers[0].path == "M0.1 25h0.8v75h-0.8zM1.1 75h0.8v25h-0.8z"
    assert chart.layers[1].path == "M0.1 0h0.8v25h-0.8zM1.1 50h0.8v25h-0.8z"


def test_classes_are_stacked_in_the_order_of_the_bars() -> None:
    chart = trend_chart(Trend(TIMES, {"bw": [1, 1], "old": [2, 0], "photo": [3, 4]}, "images"), ["photo", "new", "bw"])
    assert chart is not None
    assert [(layer.label, layer.tint) for layer in chart.layers] == [("photo", 0), ("bw", 1), ("old", 2)]


def test_of_a_long_history_the_newest_times_are_drawn() -> None:
    times = [f"2026-11-20T{at // 60:02}:{at % 60:02}:00+00:00" for at in range(500)]
    chart = trend_chart(Trend(times, {"photo": list(range(500))}, "images"))
    assert chart is not None
    assert (len(chart.times), chart.left_out, chart.times[-1]) == (60, 440, times[-1])
    assert chart.layers[0].counts[0] == 440


@pytest.mark.parametrize(
    "trend",
    [
        None,
        Trend([], {}, ""),
        Trend(TIMES, {}, ""),
        Trend(TIMES, {"a": []}, ""),
        Trend([], {"a": [1]}, ""),
        Trend(TIMES, {"a": [0, -1]}, ""),
    ],
)
def test_a_trend_of_nothing_is_not_drawn(trend: Trend | None) -> None:
    assert trend_chart(trend) is None


def test_the_shortest_series_says_how_far_a_trend_is_known() -> None:
    chart = trend_chart(Trend(TIMES, {"a": [1], "b": [2, 3, 4]}, ""))
    assert chart is not None
    assert chart.times == TIMES[:1]


def test_every_number_that_is_drawn_is_in_a_table(tmp_path: Path) -> None:
    bars = [Bar("photo", 1234, 13, 14, 2.5, 20), Bar("bw", 2, 4, None)]
    page = page_of(tmp_path, part(Entry("a", "Ann", bars=bars)))
    rows = re.findall(r'<th scope="row"[^>]*>(photo|bw|Total)</th>(.*?)</tr>', page)
    cells = {label: re.findall(r"<td[^>]*>(.*?)</td>", row) for label, row in rows}
    assert cells["photo"] == ["1,234", "14", "13 <small>±2.5</small>"]
    assert cells["bw"] == ["2", "–", "4"]
    assert cells["Total"] == ["1,236", "16", "17"]


def test_without_a_plan_there_is_no_after(tmp_path: Path) -> None:
    page = page_of(tmp_path, part(Entry("a", "Ann", bars=[Bar("photo", 15, 13)])))
    assert "After</th>" not in page
    assert "Now</th>" in page


def test_a_later_step_s_distribution_replaces_an_earlier_one_s(tmp_path: Path) -> None:
    first = Entry("a", "Ann", bars=[Bar("old", 1, 2)], trend=Trend(TIMES, {"old": [1, 2]}, "images"), rank=7)
    second = Entry("a", "Ann", bars=[Bar("new", 1, 2)], trend=Trend(TIMES, {"new": [1, 2]}, "images"), rank=0)
    page = page_of(tmp_path, part(first, title=TITLE), part(second), part(Entry("a", "Ann", notes=["Nothing new."])))
    assert ">new<" in page
    assert ">old<" not in page
    assert '<b class="num">0</b>' in page


def test_what_an_earlier_step_showed_may_be_struck_out_later(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    seen = [Shown("a.png", "1", "First"), Shown("b.png", "2", "Second")]
    struck = [Shown("b.png", "2", "Second", GOES, "blurred"), Shown("c.png", "3", "Gone", GOES, "in the mirror only")]
    page = page_of(tmp_path, part(Entry("a", "Ann", pictures=seen)), part(Entry("a", "Ann", pictures=struck)))
    own, strip = page.split('<div class="strip goes">')
    assert ('src="a.png"' in own, 'src="b.png"' in own) == (True, False)
    assert "2 pictures go</h4>" in strip
    assert strip.count("<figure>") == 2
    assert re.findall(r'<span class="why"[^>]*>(.*?)</span>', strip) == ["blurred", "in the mirror only"]


def test_an_unknown_mark_is_none(tmp_path: Path) -> None:
    page = page_of(tmp_path, part(Entry("a", "Ann", pictures=[Shown("a.png", "1", "First", '"><b>', "why")])))
    assert '<div class="strip' not in page
    assert "no picture" in page


def test_the_overview_lists_the_farthest_first_and_links_to_its_card(tmp_path: Path) -> None:
    ranks = [("Ann", 2.0), ("Bob", 0.123), ("Cy", 12.0), ("Dee", None), ("Eve", 2.5), ("Flo", 0)]
    entries = [Entry(name, name, rank=rank, rank_text=f"{name} is off") for name, rank in ranks]
    run = make_run(tmp_path, part(*entries, title=TITLE))
    # What is no number counts as none: Bob's is edited to infinity.
    written = run / "step0/report.json"
    written.write_text(written.read_text().replace("0.123", "1e999"))
    page = render(run).read_text("utf-8")
    assert ranked_in(page) == ["Cy", "Eve", "Ann", "Bob", "Flo"]
    anchor = re.findall(r'href="#(card-\d+)" dir="auto">Eve<', page)[0]
    assert re.findall(rf'id="{anchor}".*?<h3[^>]*>(.*?)</h3>', page, re.DOTALL) == ["Eve"]
    assert re.findall(r'<rect width="([\d.]+%)" height="100%"/>', page) == ["100%", "20.83%", "16.67%", "0%", "0%"]


def test_there_is_no_overview_that_nobody_asks_for(tmp_path: Path) -> None:
    assert 'id="ranking"' not in page_of(tmp_path / "1", part(Entry("a", "Ann", rank=3.0)))
    assert 'id="ranking"' not in page_of(tmp_path / "2", part(Entry("a", "Ann"), title=TITLE))


def test_cards_of_one_tone_are_in_the_order_of_their_rank(tmp_path: Path) -> None:
    lost = Badge("lost", "lost", "✗", "destructive")
    entries = [Entry("a", "Ann", rank=1), Entry("b", "Bob", rank=9), Entry("c", "Cy", badge=lost, rank=0)]
    page = page_of(tmp_path, part(*entries, title=TITLE))
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", page) == ["Cy", "Bob", "Ann"]


def test_every_text_of_a_drawing_is_data(tmp_path: Path) -> None:
    entry = Entry(
        ATTACK,
        ATTACK,
        pictures=[Shown("x", ATTACK, ATTACK, GOES, ATTACK), Shown("y", ATTACK, ATTACK, COMES, ATTACK)],
        bars=[Bar(ATTACK, 1, 2, 3, 4.0, 5, ATTACK)],
        trend=Trend([ATTACK] * 3, {ATTACK: [1, 2, 3]}, ATTACK),
        rank=1.0,
        rank_text=ATTACK,
    )
    page = page_of(tmp_path, part(entry, title=ATTACK))
    assert page.count("<script>") == 1
    assert "onerror=alert(2)>" not in page
    assert "<img" not in page
    assert "style=" not in page


@pytest.mark.parametrize(
    "broken",
    [
        {"bars": [{"label": "x"}]},
        {"bars": 3},
        {"bars": [{"label": "x", "before": "many", "target": 1}]},
        {"trend": {"times": ["2026"], "series": [1], "unit": ""}},
        {"trend": {"times": ["2026"], "series": {"a": [1.5]}, "unit": ""}},
        {"rank": "high"},
    ],
)
def test_a_broken_drawing_leaves_its_entry_out_and_is_said(tmp_path: Path, broken: Mapping[str, Any]) -> None:
    run = make_run(tmp_path, part(Entry("a", "Ann", rank=1.0), Entry("b", "Bob", rank=1.0), title=TITLE))
    raw = json.loads((run / "step0/report.json").read_text())
    raw["entries"][0] |= broken
    (run / "step0/report.json").write_text(json.dumps(raw))
    page = unescape(render(run).read_text("utf-8"))
    assert "1 of 2 entries can't be shown; the first: entries[0]" in page
    assert ranked_in(page) == ["Bob"]


def test_parts_of_before_there_were_drawings_are_still_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, part())
    old = {
        "key": "a",
        "title": "Ann",
        "pictures": [{"file": "x.png", "caption": "before", "alt": ""}],
        "notes": ["Old."],
    }
    files.write_json(run / "step0/report.json", {"headline": "Old.", "entries": [old]})
    page = render(run).read_text("utf-8")
    assert "Ann" in page
    assert '<ol class="cards">' in page


@pytest.mark.browser
def test_a_reason_is_shown_to_the_pointer_and_to_the_keyboard(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_balance(tmp_path, CAST)), "#q=cleo")
    strip = page.locator(".card:visible .goes")
    expect(strip.locator("h4")).to_contain_text("6 pictures go")
    first, second = strip.locator("figure").nth(0), strip.locator("figure").nth(1)
    reasons = strip.locator(".why")
    assert [_is_seen(reason) for reason in reasons.all()] == [False] * 6
    first.locator("img").hover()
    assert _is_seen(reasons.nth(0))
    expect(reasons.nth(0)).to_contain_text("9 of class color_stylized where 3 are wanted")
    page.mouse.move(0, 0)
    first.locator("a").focus()
    page.keyboard.press("Tab")
    expect(second.locator("a")).to_be_focused()
    assert [_is_seen(reason) for reason in reasons.all()] == [False, True, False, False, False, False]
    # Nothing that it covers has to be got at: it stands above the pictures.
    top = second.bounding_box()
    shown = reasons.nth(1).bounding_box()
    assert top is not None
    assert shown is not None
    assert shown["y"] + shown["height"] <= top["y"] + 1


@pytest.mark.browser
def test_reasons_stand_in_the_text_for_screen_readers_and_on_paper(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_balance(tmp_path, CAST)), "#q=cleo")
    spoken = page.locator(".card:visible .goes .thumbs").aria_snapshot()
    assert len(re.findall('text: "1[0-5] 9 of class color_stylized where 3 are wanted', spoken)) == 6
    page.emulate_media(media="print")
    assert all(_is_seen(reason) for reason in page.locator(".card:visible .why").all())
    expect(page.locator(".card:visible .hint").first).to_be_hidden()
    page.screenshot(path=tmp_path / "print.png", full_page=True)


@pytest.mark.browser
def test_a_line_of_the_overview_leads_to_its_card_even_if_it_was_filtered_out(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    more = {f"{number:04}_more": {"photorealistic": number} for number in range(4, 40)}
    watched.show(render(make_balance(tmp_path, {**CAST, **more})), "#q=ada")
    expect(page.locator(".shown")).to_have_text("1 of 40 shown")
    page.get_by_text("20 more").click()
    page.locator("#ranking").get_by_role("link", name="0019_more").click()
    expect(page.locator(".shown")).to_have_text("40 of 40 shown")
    expect(page.locator(".card:target h3")).to_have_text("0019_more")
    expect(page.locator(".card:target h3")).to_be_in_viewport()
    # Near the top, and not where it was thought to be before the cards on the way were drawn.
    near = "() => Math.abs(document.querySelector('.card:target').getBoundingClientRect().top - 150) < 50"
    page.wait_for_function(near)
    page.reload()
    page.wait_for_function(near)
    page.get_by_label("Order").select_option(TITLE)
    assert page.locator(".card h3").first.text_content() == page.locator("#ranking a").first.text_content()


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 375), ("dark", 375)])
def test_a_balancing_report_is_accessible(tmp_path: Path, watched: Watched, scheme: Any, width: int) -> None:
    page = watched.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    watched.show(render(make_balance(tmp_path, CAST)))
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.locator(".goes a").first.focus()
    assert watched.violations() == []
    assert not watched.is_too_wide()
    KEPT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=KEPT / f"balance-{scheme}-{width}.png", full_page=True)


@pytest.mark.browser
def test_hostile_text_in_drawings_runs_nothing_and_breaks_no_page(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 375, "height": 900})
    long = "x" * 3000
    entry = Entry(
        "a",
        ATTACK,
        pictures=[Shown("", ATTACK, ATTACK, GOES, ATTACK), Shown("", long, long, COMES, long)],
        bars=[Bar(ATTACK, 1, 2, 3, 4.0, 5, ATTACK), Bar(long, 10**9, 10**9, 10**9, 1e300, 1)],
        trend=Trend([long, ATTACK, ""], {ATTACK: [1, 2, 3], long: [10**12] * 3}, long),
        rank=1e300,
        rank_text=long,
    )
    page.on("dialog", lambda dialog: watched.faults.append(f"dialog {dialog.message}"))
    watched.show(render(make_run(tmp_path, part(entry, Entry("b", long, rank=2), title=ATTACK))))
    expect(page.locator(".card h3").first).to_have_text(ATTACK)
    expect(page.locator(".bars tbody th").first).to_have_text(ATTACK)
    expect(page.locator("#ranked")).to_have_text(ATTACK)
    assert not watched.is_too_wide()


@pytest.mark.browser
def test_an_overview_of_a_thousand_opens_only_when_asked_for(tmp_path: Path, watched: Watched) -> None:
    entries = [
        Entry(
            str(number),
            f"actor_{number}",
            bars=[Bar(kind, number % 30, 13, 13, 2.0, 20) for kind in "abc"],
            trend=Trend(TIMES, {kind: [number % 30, 13] for kind in "abc"}, "images"),
            rank=number % 41,
            rank_text="off",
        )
        for number in range(1000)
    ]
    report = render(make_run(tmp_path, part(*entries, title=TITLE)))
    # What a browser's time goes with.
    assert report.stat().st_size < 5000 * len(entries)
    watched.show(report)
    more = watched.page.locator("#ranking details")
    expect(watched.page.locator("#ranking li:visible")).to_have_count(20)
    more.get_by_text("980 more").click()
    last = more.locator("a").last
    expect(last).to_have_text("actor_984")
    last.click()
    expect(watched.page.locator(".card:target h3")).to_have_text("actor_984")
    expect(watched.page.locator(".card:target h3")).to_be_in_viewport()


@pytest.mark.browser
def test_the_focus_is_seen_on_what_goes_and_on_what_comes(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_balance(tmp_path, CAST)), "#q=cleo")
    for mark in ("goes", "comes"):
        link = page.locator(f".card:visible .{mark} a").first
        page.locator(f".card:visible .{mark} a").nth(1).focus()
        page.keyboard.press("Shift+Tab")
        expect(link).to_be_focused()
        expect(link).to_have_css("outline-width", "3px")


def _is_seen(reason: Any) -> bool:
    box = reason.bounding_box()
    return box is not None and box["width"] > 10 and box["height"] > 10
