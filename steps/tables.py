"""Tables and sentences that hold names other people gave: in Markdown, LaTeX and CSV none of them is anything but text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Signs that turn the direction of writing: what follows one is read in another order than it is written."""
# A backslash is told as an entity: parsers differ on what \\| is within a table.
_MARKDOWN = str.maketrans(
    {"\\": "&#92;", "&": "&amp;", "<": "&lt;", ">": "&gt;", **{sign: f"\\{sign}" for sign in "`[]*$~|!"}}
)
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # At the head of a row these would be an argument of the line end before it.
        **{sign: f"{{{sign}}}" for sign in "[]*"},
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
)
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""Underscores that may mark emphasis: those within a word, as in story_01, never do."""
_DECIMALS = 6


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are text and no more."""
    titles, *cells = ([plain(str(cell)) for cell in line] for line in (head, *rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in (titles, ["---"] * len(head), *cells))


def bullets(sentences: Sequence[str]) -> str:
    """A Markdown list; an item is text, even where it begins like a heading or another list."""
    return "\n".join(f"- {_begun(plain(sentence))}" for sentence in sentences)


def image(words: str, file: str) -> str:
    """A Markdown image.

    Args:
        words: What it shows, for who can't see it.
        file: Its path, relative to the document.
    """
    return f"![{plain(words)}]({quote(file)})"


def plain(text: str) -> str:
    """A text as one line of Markdown that shows it and does nothing: no link, image, emphasis, code, formula or HTML."""
    return _EMPHASIS.sub(r"\\_", one_line(text).translate(_MARKDOWN))


def latex(text: str) -> str:
    """A text as one line of LaTeX that shows it."""
    return one_line(text).translate(_LATEX)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV: programs that open it take a text beginning with = for a formula. None is empty, floats are rounded."""
    if isinstance(value, str):
        known = _writable(value)
        return f"'{known}" if known.startswith(_FORMULA) else known
    return "" if value is None else round(value, _DECIMALS) if isinstance(value, float) else value


def one_line(text: str) -> str:
    """A text without line breaks, control characters and signs that turn the direction of writing."""
    seen = " ".join(_writable(text).split())
    return "".join(sign for sign in seen if sign not in _TURNING and unicodedata.category(sign) != "Cc")


def _writable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can hold and no file in UTF-8 can."""
    return text.encode("utf-8", "replace").decode()


def _begun(text: str) -> str:
    begins = re.match(r"\d{1,9}(?=[.)])|(?=[#+\-=])", text)
    return f"{begins[0]}\\{text[begins.end() :]}" if begins else text
