"""A user study as it is lived: built, filled in by six people in a browser, added, and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, expect

from runner import files
from runner.cli import main
from steps.study.answers import Answers, read_answers
from tests import browser
from tests.browser import Watched
from tests.e2e.raters import Rater, Typist
from tests.steps.study.boards import draw_references, draw_run
from tests.steps.study.raters import sealed, send

chromium = browser.chromium
KEPT = Path(__file__).resolve().parents[2] / "outputs" / "tests"
WIDE, PHONE, ZOOMED = {"width": 1280, "height": 900}, {"width": 360, "height": 740}, {"width": 640, "height": 450}
NO_STORAGE = (
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } });"
)

pytestmark = pytest.mark.browser


@dataclass
class Scene:
    """A study that was built."""

    root: Path
    folder: Path
    study: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root = tmp_path_factory.mktemp("study")
    run = draw_run(root / "run", seeds=[1])
    words = ["--references", str(draw_references(root / "references")), "--outputs", str(root / "outputs")]
    out = ["-o", str(root / "handed out"), "--contact", "Send it to us.", "--repeats", "0.3"]
    assert main(["study", "build", str(run), *words, *out]) == 0
    return Scene(root, root / "handed out", root / "outputs" / "studies" / "study")


Open = Callable[..., Watched]


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Open]:
    """Pages of people's own browsers; afterwards none may have loaded anything from outside or written to the console."""
    contexts: list[BrowserContext] = []
    pages: list[Watched] = []

    def open_page(script: str = "", **settings: Any) -> Watched:
        settings = {"viewport": WIDE, "reduced_motion": "reduce"} | settings
        context = chromium.new_context(service_workers="block", accept_downloads=True, **settings)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        found = Watched(context.new_page())
        found.page.clock.install()
        found.watch()
        pages.append(found)
        return found

    yield open_page
    for context in contexts:
        context.close()
    assert [fault for found in pages for fault in found.faults] == []


def check(answers: Answers, rater: Rater) -> None:
    """Hold what was read back against what the rater chose."""
    said, name = rater.said, rater.name
    assert {(row.arm, row.story): row.value for row in answers.quality if row.rater == name} == said.quality
    assert {(row.arm, row.story): row.value for row in answers.identity if row.rater == name} == said.identity
    found = {}
    for row in answers.pairs:
        if row.rater == name:
            sides = (row.arm_b, row.arm_a) if row.swapped else (row.arm_a, row.arm_b)
            found[row.story, *sides] = {"a": row.arm_a, "b": row.arm_b, "none": None}[row.choice]
            assert (row.character, row.seed) == ("aldar", 1)
    assert found == said.pairs


def test_six_people_answer_and_what_they_said_is_what_is_read(
    built: Scene, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    raters = [
        by_mouse(built, opened),
        by_keyboard(built, opened),
        with_a_reload_in_the_middle(built, opened),
        on_a_phone(built, opened),
        where_nothing_may_be_kept(built, opened),
        in_two_sittings_with_a_change(built, opened),
    ]
    sent = [rater.save() for rater in raters]
    assert [path.name for path in sent] == [f"answers-{rater.name}.json" for rater in raters]
    assert main(["study", "add", *map(str, sent), "--outputs", str(built.root / "outputs")]) == 0
    printed = capsys.readouterr().out
    assert "study 'study': 6 raters, 6 with all answers" in printed
    answers = read_answers(built.study)
    for rater in raters:
        check(answers, rater)
    assert len(answers.quality) == len(answers.identity) == 6 * 6
    assert len([row for row in answers.pairs if not row.repeat]) == 6 * 6
    for row in answers.raters:
        assert (row.complete, row.answered, row.checks_passed, row.checks_failed) == (True, 22, 2, 0)
        assert (row.repeats, row.hasty) == (2, 0)
        assert row.median_seconds is not None
        assert 3 <= row.median_seconds < 10
    check_strangers(built, sent[0], capsys)


def by_mouse(built: Scene, opened: Open) -> Rater:
    rater = Rater(opened().page, built.folder, "p1")
    rater.begin()
    rater.answer_all()
    expect(rater.page.locator("#thanks")).to_have_text("Thank you")
    return rater


def by_keyboard(built: Scene, opened: Open) -> Rater:
    rater = Typist(opened().page, built.folder, "p2")
    rater.begin()
    rater.answer_all()
    return rater


def with_a_reload_in_the_middle(built: Scene, opened: Open) -> Rater:
    rater = Rater(opened().page, built.folder, "p3")
    rater.begin()
    rater.answer_all(7)
    at = rater.page.locator("#count").inner_text()
    assert at == "Page 8 of 16"
    rater.page.reload()
    rater.page.get_by_role("button", name="Go on as p3").click()
    assert rater.page.locator("#count").inner_text() == at
    rater.answer_all()
    return rater


def on_a_phone(built: Scene, opened: Open) -> Rater:
    rater = Rater(opened(viewport=PHONE, has_touch=True, is_mobile=True).page, built.folder, "p4")
    rater.begin()
    rater.answer_all()
    return rater


def where_nothing_may_be_kept(built: Scene, opened: Open) -> Rater:
    rater = Rater(opened(NO_STORAGE).page, built.folder, "Ольга")
    rater.page.goto((built.folder / "index.html").resolve().as_uri())
    expect(rater.page.locator("#blocked")).to_be_visible()
    rater.begin()
    rater.answer_all(3)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    rater.page.once("dialog", stay)
    rater.page.close(run_before_unload=True)
    rater.page.wait_for_timeout(100)
    assert asked == ["beforeunload"]
    rater.answer_all()
    return rater


def in_two_sittings_with_a_change(built: Scene, opened: Open) -> Rater:
    """Half is sent and added; the rest comes later, and the newer file counts."""
    rater = Rater(opened().page, built.folder, "p6")
    rater.begin()
    rater.answer_all(4)
    rater.page.get_by_role("button", name="Stop and save").click()
    expect(rater.page.locator("#state")).to_contain_text("12 of 16 pages are not answered yet")
    half = rater.save()
    assert main(["study", "add", str(half), "--outputs", str(built.root / "outputs")]) == 0
    rater.page.get_by_role("button", name="Go on with the questions").click()
    rater.page.locator("#back").click()
    rater.said.pairs = {key: value for key, value in rater.said.pairs.items() if key != last_pair(rater)}
    rater.answer_page()
    rater.next()
    rater.answer_all()
    return rater


def last_pair(rater: Rater) -> tuple[str, str, str] | None:
    """The pair that is shown now, which is about to be answered anew."""
    shown = [rater.source(strip) for strip in rater.page.locator(".strip").all()]
    if len(shown) == 1 or shown[0] is None or shown[1] is None:
        return None
    return shown[0][1], shown[0][0], shown[1][0]


def check_strangers(built: Scene, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seventh file that was tampered with, one with a path for a name, another study's, and the same once more."""
    document = files.read_json(whole)
    text = whole.read_text("utf-8")
    changed = built.root / "changed.json"
    changed.write_text(re.sub(r'"value": [1-5]', '"value": 5', text), "utf-8")
    path = send(built.root, sealed(document | {"rater": "../../etc"}), "path.json")
    other = send(built.root, sealed(document | {"study": "0" * 16}), "other.json")
    before = {each.name: each.read_bytes() for each in (built.study / "answers").iterdir()}
    words = [str(each) for each in (changed, path, other, whole)]
    assert main(["study", "add", *words, "--outputs", str(built.root / "outputs")]) == 1
    printed = capsys.readouterr().out
    assert "changed.json: refused: " in printed
    assert "its checksum does not match" in printed
    assert "'../../etc' would leave the library" in printed
    assert "answers study '0000000000000000', which is not here; here are: 'study'" in printed
    assert "answers-p1.json: known already: the same answers again: no second vote" in printed
    assert {each.name: each.read_bytes() for each in (built.study / "answers").iterdir()} == before


@pytest.mark.parametrize(
    ("size", "name", "scheme"),
    [(WIDE, "wide", "light"), (WIDE, "wide", "dark"), (PHONE, "phone", "dark"), (ZOOMED, "zoomed", "light")],
)
def test_every_view_can_be_read_by_everybody(
    built: Scene, opened: Open, size: dict[str, int], name: str, scheme: str
) -> None:
    watched = opened(viewport=size, color_scheme=scheme)
    rater = Rater(watched.page, built.folder, "p11")
    watched.show(built.folder / "index.html")
    seen = {"introduction"}
    judge(watched, f"introduction_{name}_{scheme}")
    rater.begin()
    while rater.is_asked():
        view = rater.page.locator("#heading").inner_text() + str(rater.obeyed() is None)
        if view not in seen:
            seen.add(view)
            rater.next()
            expect(rater.page.locator("#missing")).to_contain_text("Please answer first")
            judge(
                watched,
                f"{'pair' if 'two' in view else 'one'}{'' if rater.obeyed() is None else '_check'}_{name}_{scheme}",
            )
        rater.answer_page()
        rater.next()
    rater.page.locator("summary").click()
    judge(watched, f"finish_{name}_{scheme}")
    assert len(seen) == 5


def judge(watched: Watched, name: str) -> None:
    watched.page.evaluate("Promise.all(Array.from(document.images, image => image.decode()))")
    assert watched.violations() == []
    assert not watched.is_too_wide()
    KEPT.mkdir(parents=True, exist_ok=True)
    watched.page.screenshot(path=KEPT / f"study_{name}.png", full_page=True)


def test_keys_can_be_switched_off_and_do_not_press_what_has_the_focus(built: Scene, opened: Open) -> None:
    page = opened().page
    rater = Rater(page, built.folder, "p12")
    rater.begin()
    while page.locator("#asked-choice").count() == 0 or rater.obeyed():
        rater.answer_page()
        rater.next()
    left, none = page.locator("[value=left]"), page.locator("[value=none]")
    page.locator("#keys").uncheck()
    page.locator("#heading").focus()
    page.keyboard.press("ArrowLeft")
    expect(left).not_to_be_checked()
    page.locator("#keys").check()
    page.locator("#heading").focus()
    page.keyboard.press("ArrowLeft")
    expect(left).to_be_checked()
    page.keyboard.press("Space")
    expect(none).to_be_checked()
    # A side that has the focus is chosen by the space bar, as everywhere; chosen already, it means no preference.
    left.focus()
    page.keyboard.press("Space")
    expect(left).to_be_checked()
    page.keyboard.press("Space")
    expect(none).to_be_checked()
    at = page.locator("#count").inner_text()
    page.locator(".frame").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#large")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.locator("#large")).to_be_hidden()
    expect(none).to_be_checked()
    assert page.locator("#count").inner_text() == at


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", " ", "<img src=x onerror=alert(1)>"])
def test_a_name_that_is_no_name_is_not_taken(built: Scene, opened: Open, name: str) -> None:
    page = opened().page
    rater = Rater(page, built.folder, name)
    rater.begin()
    expect(page.locator("#bad-name")).to_be_visible()
    expect(page.locator("#asking")).to_be_hidden()


def test_answers_can_be_deleted_from_the_browser(built: Scene, opened: Open) -> None:
    page = opened().page
    rater = Rater(page, built.folder, "p13")
    rater.begin()
    rater.answer_all(2)
    page.get_by_role("button", name="Stop and save").click()
    page.get_by_role("button", name="Delete my answers").click()
    assert page.evaluate("Object.keys(localStorage).length") == 1
    page.get_by_role("button", name="Delete for good").click()
    expect(page.locator("#introduction")).to_be_visible()
    assert page.evaluate("Object.keys(localStorage).length") == 0


def test_the_text_to_copy_is_the_same_answers(built: Scene, opened: Open) -> None:
    page = opened().page
    rater = Rater(page, built.folder, "p14")
    rater.begin()
    rater.answer_all()
    page.locator("summary").click()
    expect(page.locator("#raw")).to_have_value(re.compile("checksum"))
    document = json.loads(page.locator("#raw").input_value())
    assert document["complete"] is True
    assert sealed(document) == document


def test_a_page_without_its_images_says_so(built: Scene, opened: Open, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes((built.folder / "index.html").read_bytes())
    watched = opened()
    rater = Rater(watched.page, tmp_path, "p1")
    rater.begin()
    expect(watched.page.locator("#lost")).to_be_visible()
    watched.faults.clear()


def test_time_in_another_tab_does_not_count(built: Scene, opened: Open) -> None:
    page = opened().page
    rater = Rater(page, built.folder, "p15")
    rater.begin()
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.clock.fast_forward(3_600_000)
    page.evaluate(hide, False)
    rater.answer_page()
    page.get_by_role("button", name="Stop and save").click()
    document = files.read_json(rater.save())
    assert 3000 <= document["pages"][0]["ms"] < 60_000
    assert 3000 <= document["answers"][0]["ms"] <= document["pages"][0]["ms"]
