"""The report: what steps say is joined, shown as text, and can neither break the page nor lead out of the run's folder."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from runner import files
from runner.report import render, render_sweep
from runner.report_parts import Badge, Entry, ReportPart, Shown, write_part
from tests import browser
from tests.browser import Watched

chromium, watched = browser.chromium, browser.watched

KEEP = Badge("keep", "keep", "✓", "good")
BLURRY = Badge("recreate_blurry", "recreate: blurry", "↻", "destructive")
CREATE = Badge("create", "create, new", "+", "change")
ATTACK = """<script>alert(1)</script><img src=x onerror=alert(2)> " ' javascript:alert(3) {{ 7 * 7 }}"""


def make_run(run: Path, steps: Mapping[str, ReportPart | None], **about: Any) -> Path:
    """A run's folder; a step without a part has not run yet."""
    for label, part in steps.items():
        if part is not None:
            write_part(run / label, part)
    listed = {label: _about_step(label, done=part is not None) for label, part in steps.items()}
    known = {"recipe": "mend_cast", "state": "done", "steps": listed, "started_at": "2026-11-20T21:14:05+00:00"}
    files.write_json(run / "run.json", {**known, **about})
    return run


def _about_step(label: str, *, done: bool) -> dict[str, Any]:
    if not done:
        return {"step": label, "state": "left"}
    return {"step": label, "state": "done", "done": 3, "remembered": 1, "failed": 0, "seconds": 4.0, "usd": 0.5}


def part(*entries: Entry, counts: Sequence[tuple[str, int]] = (), warnings: Sequence[str] = ()) -> ReportPart:
    return ReportPart("It went well.", counts, list(entries), warnings)


def picture(path: Path, colour: str = "teal") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 72), colour).save(path)


def page_of(run: Path) -> str:
    return render(run).read_text("utf-8")


def cards_of(page: str) -> list[str]:
    return re.findall(r'<li class="card.*?</article></li>', page, re.DOTALL)


def sources_of(page: str) -> list[str]:
    return re.findall(r'<img src="([^"]*)"', page)


def test_what_several_steps_say_of_one_thing_is_one_card(tmp_path: Path) -> None:
    picture(tmp_path / "judge/a.png")
    picture(tmp_path / "mend/a.png")
    before, after = Shown("judge/a.png", "before", "Ann before"), Shown("mend/a.png", "after", "")
    judged = Entry("a", "Ann", "A pilot", BLURRY, [before], ["Edges are wide."], [("clear", "no")])
    mended = Entry("a", "Ann", "", None, [before, after], ["Made anew."])
    page = page_of(make_run(tmp_path, {"judge": part(judged), "mend": part(mended)}))
    (card,) = cards_of(page)
    assert sources_of(card) == ["judge/a.png", "mend/a.png"]
    assert re.findall(r'alt="([^"]*)"', card) == ["Ann before", "Ann, after"]
    assert re.findall(r"<h4>(.*?)</h4>", card) == ["judge", "mend"]
    assert card.index("Edges are wide.") < card.index("Made anew.")
    assert "recreate: blurry" in card


def test_the_latest_badge_wins_and_destructive_cards_come_first(tmp_path: Path) -> None:
    judged = part(Entry("a", "Ann", badge=BLURRY), Entry("b", "Bob", badge=KEEP), Entry("c", "Cy", badge=BLURRY))
    page = page_of(make_run(tmp_path, {"judge": judged, "mend": part(Entry("a", "Ann", badge=KEEP))}))
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", "".join(cards_of(page))) == ["Cy", "Ann", "Bob"]
    assert re.findall(r'class="many">(\d+)<', page) == ["1", "2"]


def test_every_text_is_data(tmp_path: Path) -> None:
    badge = Badge(ATTACK, ATTACK, ATTACK, ATTACK)
    entry = Entry(ATTACK, ATTACK, ATTACK * 3, badge, [Shown(ATTACK, ATTACK, ATTACK)], [ATTACK], [(ATTACK, ATTACK)])
    said = ReportPart(ATTACK, [(ATTACK, 1)], [entry], [ATTACK])
    run = make_run(
        tmp_path, {"judge": said}, recipe=ATTACK, command=ATTACK, error=ATTACK, state=ATTACK, git={"x": ATTACK}
    )
    files.write_text(run / "recipe.yaml", ATTACK)
    page = page_of(run)
    assert page.count("<script>") == 1
    assert "onerror=alert(2)>" not in page
    assert "49" not in unescape("".join(cards_of(page)))
    assert not re.search(r'(href|src)="javascript:', page)


def test_the_policy_lets_only_our_own_script_and_style_work(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, {}))
    policy = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    for kind in ("script", "style"):
        (source,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "style=" not in page


@pytest.mark.parametrize(
    "file",
    [
        "../secret.png",
        "judge/../../secret.png",
        "/etc/hostname",
        "C:\\secret.png",
        "link.png",
        "gone.png",
        "",
        "a\0b",
        "\ud800",
    ],
)
def test_a_picture_outside_the_run_is_refused(tmp_path: Path, file: str) -> None:
    picture(tmp_path / "secret.png")
    run = make_run(tmp_path / "run", {"judge": part(Entry("a", "Ann", pictures=[Shown("x", "before", "Ann")]))})
    raw = json.loads((run / "judge/report.json").read_text())
    raw["entries"][0]["pictures"][0]["file"] = file
    (run / "judge/report.json").write_text(json.dumps(raw))
    (run / "link.png").symlink_to(tmp_path / "secret.png")
    page = page_of(run)
    assert sources_of(page) == []
    assert "no picture" in page


def test_a_picture_that_runs_share_is_shown(tmp_path: Path) -> None:
    picture(tmp_path / "artifacts/draw/1/a.png")
    run = make_run(
        tmp_path / "mend_cast/run", {"draw": part(Entry("a", "Ann", pictures=[Shown("draw/a.png", "", "")]))}
    )
    (run / "draw/a.png").symlink_to(tmp_path / "artifacts/draw/1/a.png")
    assert sources_of(page_of(run)) == ["draw/a.png"]


def test_a_picture_s_name_is_quoted(tmp_path: Path) -> None:
    name = 'javascript:a#b?"c%20.png'
    picture(tmp_path / name)
    page = page_of(make_run(tmp_path, {"judge": part(Entry("a", "Ann", pictures=[Shown(name, "", "")]))}))
    assert sources_of(page) == ["javascript%3Aa%23b%3F%22c%2520.png"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "report.json is not a JSON object"),
        ('{"headline": 3}', "headline: Input should be a valid string"),
        ('{"headline": "", "entries": 3}', "entries is not a list"),
        ('{"headline": "", "entries": [{"key": "a", "title": "Ann"}, {"key": "b"}]}', "1 of 2 entries can't be shown"),
    ],
)
def test_a_broken_part_is_a_warning(tmp_path: Path, text: str, said: str) -> None:
    run = make_run(tmp_path, {"judge": part(), "mend": part(Entry("m", "Mia", badge=KEEP))})
    (run / "judge/report.json").write_text(text)
    page = unescape(page_of(run))
    assert said in page
    assert "Mia" in page
    assert len(cards_of(page)) == (2 if "Ann" in text else 1)


def test_a_missing_part_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"judge": part()})
    (run / "judge/report.json").unlink()
    assert "It left no report that can be shown." in page_of(run)


@pytest.mark.parametrize(
    "about",
    [
        None,
        "[]",
        "{",
        '{"steps": [], "sessions": 3, "cost": 1, "git": [[1]], "state": []}',
        '{"steps": {"../up": 3, "judge": {"done": 1e999, "seconds": "x"}}, "started_at": "0001-01-01T00:00:00+14:00"}',
    ],
)
def test_a_broken_description_breaks_no_page(tmp_path: Path, about: str | None) -> None:
    if about is not None:
        (tmp_path / "run.json").write_text(about)
    page = page_of(tmp_path)
    assert ("run.json is missing or broken" in page) == (about in (None, "[]", "{"))
    assert ("would leave" in page) == ("../up" in (about or ""))


def test_half_a_surrogate_pair_is_shown_as_what_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"judge": part()})
    bad = '{"headline": "a\\ud800b", "entries": [{"key": "\\ud800", "title": "x", "badge": {"kind": "\\ud800", "word": "", "symbol": "", "tone": ""}}]}'
    (run / "judge/report.json").write_text(bad)
    assert "a?b" in page_of(run)


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    steps = {"judge": part(Entry("a", "Ann", badge=KEEP)), "mend": None}
    run = make_run(tmp_path, steps, state="interrupted", command="callsheet run mend_cast 'actors=[0-4]'")
    page = unescape(page_of(run))
    assert "<code>callsheet run mend_cast 'actors=[0-4]'</code>" in page
    assert "Interrupted" in page
    assert "not run yet" in page


def test_a_finished_run_asks_for_nothing(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, {"judge": part(counts=[("actors", 1234)])}, command="callsheet run mend_cast"))
    assert "Go on where it was left" not in page
    assert "The steps have left no cards." in page
    assert "1,234" in page


def test_time_worked_leaves_pauses_out(tmp_path: Path) -> None:
    sessions = [
        {"started_at": "2026-11-20T10:00:00+00:00", "ended_at": "2026-11-20T10:01:00+00:00"},
        {"started_at": "2026-11-21T10:00:00+00:00", "ended_at": "2026-11-21T10:01:05+00:00"},
    ]
    assert "2 min 05 s <small>in 2 sessions" in page_of(make_run(tmp_path, {"judge": part()}, sessions=sessions))
    del sessions[1]["ended_at"]
    assert "<dd>4.0 s <small>in 2 sessions" in page_of(make_run(tmp_path, {"judge": part()}, sessions=sessions))


def make_sweep(sweep: Path) -> Path:
    jobs = []
    for index in range(2):
        make_run(sweep / f"jobs/{index}", {"judge": part(counts=[("kept", index + 7)])}, cost={"usd": 1.5, "calls": 2})
        jobs.append({"number": index, "overrides": [f"seed={index}", "~steps.plan"], "state": "done", "exit": 0})
    render(sweep / "jobs/0")
    jobs.append({"number": "../0", "overrides": "x", "state": "left"})
    files.write_json(
        sweep / "sweep.json", {"recipe": "mend_cast", "state": "done", "overrides": ["seed=0,1"], "jobs": jobs}
    )
    return sweep


def test_a_sweep_lists_its_jobs(tmp_path: Path) -> None:
    page = render_sweep(make_sweep(tmp_path)).read_text("utf-8")
    assert re.findall(r'<a href="(jobs[^"]*)"', page) == ["jobs/0/report.html"]
    assert "A sweep of 3 jobs over <code>seed</code> and <code>~steps.plan</code>." in page
    assert '<td class="num">8</td>' in page
    assert "$3.00" in page


@pytest.mark.parametrize("text", [None, "{", "[]", '{"jobs": [3, {"number": null}], "overrides": {}}'])
def test_a_broken_sweep_breaks_no_page(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)
    assert "Jobs" in render_sweep(tmp_path).read_text("utf-8")


def make_gallery(run: Path) -> Path:
    """Twelve cards, of which four are destructive and have a picture before and after."""
    judged, mended = [], []
    for index in range(12):
        key = f"actor_{12 - index}"
        picture(run / f"judge/{key}.png", "tan")
        badge = (KEEP, CREATE, BLURRY)[index % 3]
        shown = [Shown(f"judge/{key}.png", "before", f"{key} as found")]
        judged.append(
            Entry(key, key, "A person of the cast. " * 9, badge, shown, ["Sharp enough."], [("clear", "yes")] * 5)
        )
        if badge is BLURRY:
            picture(run / f"mend/{key}.png")
            mended.append(Entry(key, key, pictures=[Shown(f"mend/{key}.png", "after", "")], notes=["Made anew."]))
    files.write_text(run / "recipe.yaml", "seed: 7\n")
    steps = {"judge": part(*judged, warnings=["Look twice."]), "mend": part(*mended), "tell": None}
    return make_run(
        run, steps, state="stopped", command="callsheet run mend_cast", error="The budget is spent.", seeds={"seed": 7}
    )


@pytest.mark.browser
def test_the_cards_can_be_filtered_searched_and_sorted(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_gallery(tmp_path)))
    shown, visible = page.locator(".shown"), page.locator(".card:not([hidden])")
    expect(shown).to_have_text("12 of 12 shown")
    page.get_by_role("button", name="recreate: blurry").click()
    expect(shown).to_have_text("4 of 12 shown")
    page.get_by_role("button", name="create, new").click()
    expect(shown).to_have_text("8 of 12 shown")
    expect(page.get_by_role("button", name="create, new")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Search").fill("ANEW actor_1")
    expect(shown).to_have_text("2 of 12 shown")
    page.get_by_label("Order").select_option("name")
    assert visible.locator("h3").all_inner_texts() == ["actor_1", "actor_10"]
    address = page.url
    page.get_by_label("Search").fill("nobody")
    page.get_by_role("button", name="Show all").click()
    expect(shown).to_have_text("12 of 12 shown")
    page.goto("about:blank")
    page.goto(address)
    expect(shown).to_have_text("2 of 12 shown")
    expect(page.get_by_label("Search")).to_have_value("ANEW actor_1")


@pytest.mark.browser
def test_a_tile_leads_to_its_cards_and_images_load(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.show(render(make_gallery(tmp_path)))
    page.get_by_role("link", name="recreate: blurry").click()
    expect(page.locator(".shown")).to_have_text("4 of 12 shown")
    image = page.get_by_alt_text("actor_10 as found")
    image.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth === 48", arg=image.element_handle())


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_the_pages_are_accessible(tmp_path: Path, watched: Watched, scheme: Any, width: int) -> None:
    page = watched.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    for name, path in (
        ("run", render(make_gallery(tmp_path / "run"))),
        ("sweep", render_sweep(make_sweep(tmp_path / "sweep"))),
    ):
        watched.show(path)
        for button in page.locator("[data-kind][aria-pressed]").all()[:1]:
            button.click()
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert watched.violations() == []
        assert not watched.is_too_wide()
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)


@pytest.mark.browser
def test_hostile_text_runs_nothing(tmp_path: Path, watched: Watched) -> None:
    badge = Badge("a&b=c,#d", ATTACK, "!", "warning")
    entries = [Entry("a", ATTACK, ATTACK, badge, notes=[ATTACK]), Entry("b", "b", badge=KEEP)]
    watched.page.on("dialog", lambda dialog: watched.faults.append(f"dialog {dialog.message}"))
    watched.show(render(make_run(tmp_path, {"judge": part(*entries)})))
    expect(watched.page.locator(".card h3").first).to_have_text(ATTACK)
    watched.page.locator(".tile a").first.click()
    expect(watched.page.locator(".shown")).to_have_text("1 of 2 shown")


@pytest.mark.browser
def test_thousands_of_cards_are_filtered_at_once(tmp_path: Path, watched: Watched) -> None:
    entries = [Entry(str(n), f"actor_{n}", badge=KEEP if n % 9 else BLURRY, notes=["Sharp."]) for n in range(4000)]
    watched.show(render(make_run(tmp_path, {"judge": part(*entries)})))
    click = """() => {
        const began = performance.now();
        document.querySelector("button[data-kind=recreate_blurry]").click();
        return document.body.offsetHeight && performance.now() - began;
    }"""
    # About 50 ms; it was 15 s while cards were list items.
    assert watched.page.evaluate(click) < 3000
    expect(watched.page.locator(".shown")).to_have_text("445 of 4,000 shown")
