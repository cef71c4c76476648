"""What the page's script computes is what we compute: digests, canonical JSON, and who sees what."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from steps.study.canonical import canonical
from steps.study.page import asset
from steps.study.schedule import pages_of
from tests import browser
from tests.browser import Watched
from tests.steps.study.boards import build_study, draw_run

chromium, watched = browser.chromium, browser.watched
pytestmark = pytest.mark.browser

TEXTS = [
    "",
    "abc",
    "a" * 55,
    "a" * 56,
    "a" * 63,
    "a" * 64,
    "a" * 65,
    "é" * 40,
    "Ольга / 李 / 🐎" * 99,
    "\u2028\x7f\0",
    "x" * 100_000,
]


def test_the_page_s_sha256_is_sha256(watched: Watched) -> None:
    page = watched.page
    code = asset("sha256.js")
    found = page.evaluate(f"texts => {{ {code} return texts.map(sha256); }}", TEXTS)
    assert found == [hashlib.sha256(text.encode()).hexdigest() for text in TEXTS]


def test_the_page_s_canonical_json_is_ours(watched: Watched) -> None:
    page = watched.page
    code = asset("saving.js")
    value = {"b": [1, -2, True, None, {"z": 'é\u2028\u2029\x7f\x01\n"\\/', "a": []}], "a": {}, "": "🐎", "A": 2**53 - 1}
    found = page.evaluate(f"value => {{ {code} return canonical(value); }}", value)
    assert found.encode() == canonical(value)


@pytest.mark.parametrize("options", [{}, {"per_rater": 7, "repeats": 0.5, "checks": 5}])
def test_the_page_s_schedule_is_ours(watched: Watched, tmp_path: Path, options: dict[str, Any]) -> None:
    run = draw_run(tmp_path / "run", stories=["a", "b", "c", "d"], frames=1, size=(16, 16))
    study = build_study(tmp_path, run, **options).study.page
    code = asset("sha256.js") + asset("schedule.js")
    names = ["p1", "p2", "p17", "p999999", "0", "Anna", "Ольга", "p٣", "r-0f3c2a17x"]
    found = watched.page.evaluate(
        f"([study, names]) => {{ {code} return names.map(name => pagesOf(study, name)); }}", [study, names]
    )
    assert found == [
        [{"page": each.page, "boards": list(each.boards)} for each in pages_of(study, name)] for name in names
    ]
