"""Which pages a rater sees, in which order and on which sides: the same here and in the page's script (assets/schedule.js).

Nobody hands out numbers while people answer, so all of it follows from the study and the rater's name. A name that ends in
digits (p1, p2, ...) takes its turn by that number, and turns one after another show every storyboard equally often and every
pair as often one way round as the other; any other name takes a turn by its digest, which evens out over many.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

AGAIN = "-again"
"""At the end of a page's id: the pair is shown a second time, the other way round."""
_TURN = re.compile(r"([0-9]{1,6})\Z")


@dataclass(frozen=True)
class Page:
    """One page of the study.

    Attributes:
        page: Its id.
        boards: The storyboard to rate; or two, the left one first.
    """

    page: str
    boards: tuple[str, ...]


def pages_of(study: Mapping[str, Any], rater: str) -> list[Page]:
    """A rater's pages in order.

    Args:
        study: What the page knows (`design.document`).
        rater: The name.
    """
    name, sees, turn = study["study"], study["sees"], turn_of(study["study"], rater)
    rated = [Page(board, (board,)) for board, _ in _window(study["rate"], sees["rate"], turn)]
    compared = [_turned(name, pair, passes) for pair, passes in _window(study["pairs"], sees["pairs"], turn)]
    ratings, pairs = (sorted(some, key=lambda page: _rank(name, rater, page.page)) for some in (rated, compared))
    pairs += [Page(page.page + AGAIN, page.boards[::-1]) for page in pairs[: sees["repeats"]]]
    blocks = [
        _with_checks(block, [check for check in study["checks"] if len(check["boards"]) == size], (name, rater))
        for size, block in ((1, ratings), (2, pairs))
    ]
    if int(_rank(name, rater, "blocks")[0], 16) % 2:
        blocks.reverse()
    return [page for block in blocks for page in block]


def turn_of(study: str, rater: str) -> int:
    """The rater's turn: the number at the end of the name, or one drawn from its digest."""
    number = _TURN.search(rater)
    return int(number[1]) if number else int(_digest(study, rater)[:8], 16)


def _window(deck: Sequence[Any], size: int, turn: int) -> list[tuple[Any, int]]:
    """The part of a deck whose turn it is, each with how often the deck was gone through before."""
    places = [turn * size + index for index in range(min(size, len(deck)))]
    return [(deck[place % len(deck)], place // len(deck)) for place in places]


def _turned(study: str, pair: Mapping[str, Any], passes: int) -> Page:
    first, second = pair["boards"]
    other_way = (passes + int(_digest(study, pair["page"])[0], 16)) % 2
    return Page(pair["page"], (second, first) if other_way else (first, second))


def _with_checks(pages: list[Page], checks: Sequence[Mapping[str, Any]], who: tuple[str, str]) -> list[Page]:
    """The checks among the pages, as far apart as can be."""
    found = list(pages)
    for index, check in enumerate(checks):
        boards = tuple(check["boards"])
        if int(_rank(*who, check["page"])[0], 16) % 2:
            boards = boards[::-1]
        found.insert((index + 1) * len(pages) // (len(checks) + 1) + index, Page(check["page"], boards))
    return found


def _rank(study: str, rater: str, page: str) -> str:
    return _digest(study, rater, page)


def _digest(*words: str) -> str:
    return hashlib.sha256("/".join(words).encode("utf-8")).hexdigest()
