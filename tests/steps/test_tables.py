"""Names that people give are text in every format, whatever they look like."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from steps.tables import bullets, csv_cell, image, latex, markdown_table, plain

HOSTILE = (
    "`rm -rf`", "[click](https://example.org)", "![seen](https://example.org/p.png)", "**loud**", "_soft_", "__init__", "$x^$",
    "<script>alert(1)</script>", "&lt;b&gt;", "a|b", "a\\|b", "\\", "line\nbreak", "a\r\n\r\n# head", "~~gone~~", "<https://example.org>",
    "\u202etxt.exe", "\x1b[31mred", "\u2028new", "=1+1", "\ud800", "]( x", "![",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(alphabet=st.characters(), max_size=12))
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=5)
)
HARMLESS = {"text", "text_special", "entity"}


def read(text: str) -> list[Token]:
    """As a common Markdown parser with tables and strikethrough takes it."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def kinds(tokens: Sequence[Token]) -> set[str]:
    """What the running text holds: "text", or links, code, emphasis."""
    return {child.type for token in tokens for child in token.children or ()}


def shown(token: Token) -> str:
    """What a reader sees of a running text."""
    return "".join(child.content for child in token.children or ())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_markdown(name: str) -> None:
    for tokens in (read(f"a {plain(name)} b"), read(markdown_table(["arm"], [[name]])), read(bullets([name]))):
        assert kinds(tokens) <= HARMLESS, name
    assert not re.search(r"(?<!\\)\$", plain(name))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f\ud800-\udfff]", plain(name))


@pytest.mark.parametrize(
    "name", ["`a`", "[a](b)", "**a** _b_ $c$", "a|b\\", "<b>&amp;", "story_01", "a~b!", "Ærøskøbing 東京"]
)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    cells = [token for token in read(markdown_table(["arm"], [[name]])) if token.type == "inline"]
    assert [shown(cell) for cell in cells] == ["arm", name]
    assert shown(read(plain(name))[1]) == name


def test_names_in_snake_case_stay_readable() -> None:
    assert plain("story_01 (95 % from +0.1)") == "story_01 (95 % from +0.1)"


@given(ROWS)
def test_a_markdown_table_keeps_its_columns_and_rows(rows: list[list[str]]) -> None:
    tokens = read(markdown_table(["x"] * len(rows[0]), rows))
    assert [token.type for token in tokens].count("tr_open") == len(rows) + 1
    assert [token.type for token in tokens].count("td_open") == len(rows) * len(rows[0])
    assert tokens[0].type == "table_open"
    assert tokens[-1].type == "table_close"
    assert kinds(tokens) <= HARMLESS


@given(TEXTS)
def test_an_image_has_one_picture_whatever_its_words(words: str) -> None:
    [paragraph] = [token for token in read(image(words, "plots/a b.png")) if token.type == "inline"]
    assert paragraph.children is not None
    [picture] = paragraph.children
    assert picture.type == "image"
    assert picture.attrs["src"] == "plots/a%20b.png"
    assert kinds([picture]) <= HARMLESS


@given(
    st.lists(TEXTS | st.sampled_from(["# a", "1. a", "12) a", "- a", "+ a", "> a", "---", "===", "[ ] a"]), min_size=1)
)
def test_a_list_keeps_its_items(sentences: list[str]) -> None:
    types = [token.type for token in read(bullets(sentences))]
    assert types.count("list_item_open") == len(sentences)
    assert {kind for kind in types if kind.endswith("_open")} <= {
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
    }


@given(ROWS)
def test_a_latex_row_is_one_line_with_its_columns(rows: list[list[str]]) -> None:
    for row in rows:
        line = " & ".join(latex(cell) for cell in row)
        assert line.splitlines() == ([line] if line else [])
        assert len(re.findall(r"(?<!\\)&", line)) == len(row) - 1
        assert not re.search(r"(?<!\\)[%$#_]", line)
        assert not re.search(r"[~^<>|]", line)
        bare = re.sub(r"\\[{}]", "", line)
        assert bare.count("{") == bare.count("}")


def test_latex_shows_every_sign() -> None:
    assert latex("a\\b ~^<>|") == (
        r"a\textbackslash{}b \textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    )
    assert latex("5 % & {x}_1 #2 $3") == r"5 \% \& \{x\}\_1 \#2 \$3"
    assert latex("one\\\\\ntwo") == r"one\textbackslash{}\textbackslash{} two"
    assert latex("[1ex]*") == "{[}1ex{]}{*}"


@given(TEXTS)
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert cell[:1] not in tuple("=+-@\t\r\n＝＋－＠")
    written = io.StringIO(newline="")
    csv.writer(written).writerow([cell, "end"])
    assert list(csv.reader(io.StringIO(written.getvalue().encode().decode(), newline=""))) == [[cell, "end"]]


def test_figures_are_no_formulas() -> None:
    assert [csv_cell(value) for value in (-0.12345678, None, 3, "=1", "a=1")] == [-0.123457, "", 3, "'=1", "a=1"]
