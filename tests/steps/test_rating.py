"""Rating: what is asked, what counts as an answer, and the second question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from runner.errors import BadAnswer, ItemError, Refused
from runner.ledger import Ledger
from steps import rating
from steps.backends.embedded import EmbeddedVision, EmbeddedVisionSettings
from steps.backends.protocols import Answer, Question
from steps.library.composites import Cell, sheets
from steps.library.pictures import Picture
from steps.rating import Asking, Rating, rate, rate_one
from tests.fakes.chat import Asked
from tests.fakes.chat import validate as strict
from tests.support import calls


class Told:
    """A vision backend that says what it is told to, one answer after the other."""

    identity = "told"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.questions: list[Question] = []

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer, self.identity)

    def estimate(self, question: Question) -> float | None:
        return 0.0


def answer(*rows: tuple[int, str, int]) -> dict[str, Any]:
    return {"images": [{"number": n, "class": c, "quality": q} for n, c, q in rows], "analysis": " fine \n"}


GOOD = answer((3, "color_stylized", 4), (1, "photorealistic", 10), (2, "bw_stylized", 1))


def composite(count: int = 3) -> tuple[Picture, ...]:
    return rating.as_pictures(sheets(Cell(str(n), Image.new("RGB", (200, 113))) for n in range(1, count + 1)))


def test_a_good_answer_is_asked_for_once_and_comes_in_the_order_of_the_numbers() -> None:
    vision = Told(GOOD)
    rated = rate(vision, composite(), (1, 2, 3))
    assert rated.ratings == (
        Rating(1, "photorealistic", 10),
        Rating(2, "bw_stylized", 1),
        Rating(3, "color_stylized", 4),
    )
    assert rated.analysis == "fine"
    assert len(vision.questions) == 1


FAULTY = [
    (answer((1, "photorealistic", 5), (2, "bw_stylized", 5)), "no rating for 3"),
    (answer(), "no rating for 1, 2, 3"),
    (answer(*[(n, "photorealistic", 5) for n in (1, 2, 3, 3)]), "more than one rating for 3"),
    (answer(*[(n, "photorealistic", 5) for n in (1, 2, 3, 4)]), "ratings for 4, which were not asked for"),
    (
        answer(*[(n, "photorealistic", 5) for n in (0, 1, 2)]),
        "no rating for 3; ratings for 0, which were not asked for",
    ),
    (
        answer((1, "photo", 5), (2, "bw_stylized", 5), (3, "bw_stylized", 5)),
        "number 1 has the class 'photo', which is not one of",
    ),
    (
        answer((1, "bw_stylized", 0), (2, "bw_stylized", 5), (3, "bw_stylized", 5)),
        "number 1 has the quality 0, which is not 1 to 10",
    ),
    (answer((1, "bw_stylized", 11), (2, "bw_stylized", 5), (3, "bw_stylized", 5)), "number 1 has the quality 11"),
]


@pytest.mark.parametrize(("faulty", "told"), FAULTY, ids=[told for _, told in FAULTY])
def test_a_second_question_says_what_was_wrong(faulty: Mapping[str, Any], told: str) -> None:
    vision = Told(faulty, GOOD)
    assert len(rate(vision, composite(), (1, 2, 3)).ratings) == 3
    first, second = vision.questions
    assert second.text.startswith(first.text), "a provider finds the beginning in its cache"
    assert told in second.text.removeprefix(first.text)
    assert second.images == first.images


@pytest.mark.parametrize("asks", [1, 2, 4])
def test_questions_are_bounded(asks: int) -> None:
    vision = Told(*[answer((1, "photorealistic", 5))] * asks)
    with pytest.raises(
        BadAnswer, match=f"{asks} answers did not rate every image once; the last one: no rating for 2, 3"
    ):
        rate(vision, composite(), (1, 2, 3), Asking(asks=asks))
    assert len(vision.questions) == asks


def test_a_refusal_is_not_asked_about_again() -> None:
    vision = Told(Refused("no"), GOOD)
    with pytest.raises(Refused):
        rate(vision, composite(), (1, 2, 3))
    assert len(vision.questions) == 1


def test_a_thousand_faults_make_no_endless_question() -> None:
    vision = Told(answer(*[(n, "x" * 300, 99) for n in range(1000)]), GOOD)
    rate(vision, composite(), (1, 2, 3))
    assert len(vision.questions[1].text) - len(vision.questions[0].text) < 3000


def test_the_prompt_puts_fixed_text_first_and_tells_classes_and_numbers_last() -> None:
    one, other = (rating.question(composite(), numbers) for numbers in ((1, 2, 3), (1, 3)))
    assert one.text.endswith("Numbers: 1, 2, 3")
    assert one.text.removesuffix("1, 2, 3") == other.text.removesuffix("1, 3")
    assert one.facts == {"numbers": "1, 2, 3", "classes": "photorealistic, bw_stylized, color_stylized"}
    for kind in rating.DEFAULT_CLASSES:
        assert f"- {kind}: {rating.MEANINGS[kind]}" in one.text
    assert one.name == "training_images"


def test_any_classes_can_be_asked_for_by_any_prompt() -> None:
    asking = Asking(("oil", "clay {numbers}"), "Of {classes}! {numbers}? {other}")
    asked = rating.question(composite(), (2,), asking)
    assert asked.text == "Of - oil\n- clay {numbers}! 2? {other}"
    vision = Told(answer((2, "clay {numbers}", 3)))
    assert rate(vision, composite(), (2,), asking).ratings == (Rating(2, "clay {numbers}", 3),)


def test_the_schema_is_one_that_strict_vendors_take() -> None:
    schema = rating.schema(("a", "b"))
    Draft202012Validator.check_schema(schema)
    form = {"type": "json_schema", "json_schema": {"name": rating.NAME, "strict": True, "schema": schema}}
    strict(Asked({"model": "m", "messages": [], "response_format": form}))
    assert Draft202012Validator(schema).is_valid(answer((1, "a", 3)))
    assert not Draft202012Validator(schema).is_valid(answer((1, "c", 3)))


@pytest.mark.parametrize("count", [1, 20, 50, 120])
def test_an_answer_has_room_for_every_number_and_sheets_go_out_whole(count: int) -> None:
    asked = rating.question(composite(count), range(1, count + 1))
    longest = answer(*[(n, "color_stylized", 10) for n in range(1, count + 1)])
    # JSON with indentation, at four characters a token.
    assert asked.tokens > len(json.dumps(longest, indent=2)) / 4
    assert asked.long_side == max(max(sheet.size) for sheet in asked.images)
    assert asked.images[0].bare, "its own bytes are sent, without another compression"


def test_one_image_is_looked_at_as_a_thumbnail_on_a_sheet() -> None:
    vision = Told(answer((1, "photorealistic", 7)))
    assert rate_one(vision, Picture.of(Image.new("RGB", (1280, 720)))) == Rating(1, "photorealistic", 7)
    (sheet,) = vision.questions[0].images
    assert sheet.size == (1016, 232)
    assert rating.question_about(Picture(b"", (1280, 720), "")).images[0].size == sheet.size


@pytest.fixture
def embedded(ledger: Ledger) -> EmbeddedVision:
    return EmbeddedVision(EmbeddedVisionSettings(), calls(ledger))


def test_the_embedded_vision_rates_what_it_is_asked_for_on_any_sheet(embedded: EmbeddedVision) -> None:
    numbers = (2, 51, 53)
    rated = rate(embedded, composite(53), numbers)
    assert [one.number for one in rated.ratings] == [2, 51, 53]


def test_a_number_on_no_sheet_gets_no_rating(embedded: EmbeddedVision) -> None:
    with pytest.raises(BadAnswer, match="no rating for 99"):
        rate(embedded, composite(3), (1, 99))


def test_the_embedded_vision_chooses_among_the_classes_it_is_given(embedded: EmbeddedVision) -> None:
    photo = Picture.of(Image.effect_noise((320, 180), 60).convert("RGB"))
    assert rate_one(embedded, photo, classes=("bw_stylized", "color_stylized")).kind == "bw_stylized"


def test_the_embedded_vision_says_which_classes_it_knows(embedded: EmbeddedVision) -> None:
    with pytest.raises(ItemError, match="can't tell the class 'clay': it knows photorealistic"):
        rate_one(embedded, Picture.of(Image.new("RGB", (64, 64))), classes=("photorealistic", "clay"))
