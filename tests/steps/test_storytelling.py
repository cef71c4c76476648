"""Breaking a tale down: what is asked, what counts as a story that can be drawn, and what is said when it can't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.errors import BadAnswer, Refused, UserError
from steps import storytelling
from steps.backends.protocols import Answer, Question
from steps.library.shots import Shot
from steps.library.stories import Scene
from steps.storytelling import break_down, question
from tests.fakes.chat import Asked
from tests.fakes.chat import validate as strict

TALE = "Aldar Kose tricks a merchant and steals his horse."
HERO = "Aldar Kose"


class Told:
    """A language backend that says what it is told to, one answer after the other."""

    identity = "told"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.questions: list[Question] = []

    def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        Draft202012Validator(question.schema).validate(answer)
        return Answer(answer, "told-1")

    def estimate(self, question: Question) -> float | None:
        return 0.0


def row(
    text: str = "{who} waits", shot: str = "full", gesture: str = "standing", facing: str = "left"
) -> dict[str, str]:
    return {"text": text, "shot": shot, "gesture": gesture, "facing": facing, "side": "middle"}


FIRST = row("a portrait of {who}, in the bazaar", "portrait", facing="front")


def answer(rows: Sequence[dict[str, str]], title: str = "The horse", notes: str = "") -> dict[str, Any]:
    return {"title": title, "scenes": list(rows), "notes": notes}


def rows(count: int) -> list[dict[str, str]]:
    return [FIRST, *(row(f"{{who}} counts to {number}") for number in range(2, count + 1))]


def test_a_good_answer_is_a_story() -> None:
    last = row("{who} rides\n off  on {who}'s new horse", "full", "riding", "right") | {"side": "left"}
    language = Told(answer([*rows(5), last], notes="The merchant's anger is not shown."))
    story = break_down(language, f"  {TALE}\n", who=HERO)
    assert (story.name, story.title, story.source, story.text) == ("the_horse", "The horse", "told-1", TALE)
    assert story.notes == "The merchant's anger is not shown."
    assert story.scenes[0] == Scene("a portrait of {who}, in the bazaar", Shot("portrait", "standing", "front", 0.0))
    assert story.scenes[-1].text == "{who} rides off on {who}'s new horse"
    assert story.scenes[-1].shot == Shot("full", "riding", "right", -0.7)
    assert len(language.questions) == 1


def test_the_question_holds_the_tale_as_data() -> None:
    tale = "He said: {count} {who} {tale} \\g<1>"
    asked = question(tale, HERO, 6, 10)
    assert asked.text.endswith(f"Tale:\n{tale}")
    assert "Number of shots: 6 to 10, as many as the tale needs" in asked.text
    assert f"The hero in the tale: {HERO}\n" in asked.text
    assert "Write {who}, exactly so" in asked.text
    assert asked.images == ()
    assert asked.facts == {"story": tale, "who": HERO, "least": "6", "most": "10"}


def test_a_fixed_count_is_asked_for_and_held() -> None:
    language = Told(answer(rows(6)), answer(rows(4)))
    assert len(break_down(language, TALE, who=HERO, count=4).scenes) == 4
    assert "Number of shots: 4\n" in language.questions[0].text
    assert "6 shots, not 4" in language.questions[1].text


def test_the_schema_is_one_that_strict_mode_takes() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "story", "strict": True, "schema": storytelling.SCHEMA}}
    strict(Asked({"model": "any", "messages": [], "response_format": form}))


@pytest.mark.parametrize(
    ("scenes", "told"),
    [
        (rows(5), "5 shots, not 6 to 10"),
        (rows(11), "11 shots, not 6 to 10"),
        (
            [row("{who} waits", "full", facing="front"), *rows(6)[1:]],
            "shot 1 is full and faces front: it must be a portrait or half",
        ),
        ([row("{who} waits", "half"), *rows(6)[1:]], "shot 1 is half and faces left"),
        ([*rows(5), row("A horse waits")], "shot 6 does not mention the character: write {who}"),
        ([*rows(5), row("{who} and {friend} wait")], "shot 6 holds braces other than {who}"),
        ([*rows(5), row("{who} \x1b[2J waits")], "shot 6 holds control characters"),
        ([*rows(5), row("{who} " + "waits " * 60)], "shot 6 has 61 words: at most 40"),
        ([*rows(5), row("")], "shot 6 is empty"),
    ],
)
def test_what_was_wrong_is_said_in_the_next_question(scenes: list[dict[str, str]], told: str) -> None:
    language = Told(answer(scenes), answer(rows(7)))
    assert len(break_down(language, TALE, who=HERO).scenes) == 7
    first, second = language.questions
    assert second.text.startswith(first.text)
    assert told in second.text.removeprefix(first.text)


def test_it_is_asked_a_bounded_number_of_times() -> None:
    language = Told(*[answer(rows(2))] * 9)
    with pytest.raises(
        BadAnswer, match="3 answers were no story that can be drawn; the last one: 2 shots, not 6 to 10"
    ):
        break_down(language, TALE, who=HERO)
    assert len(language.questions) == 3


def test_of_many_faults_some_are_told_and_the_others_counted() -> None:
    language = Told(answer([FIRST, *[row("no one")] * 19]), answer(rows(20)))
    break_down(language, TALE, who=HERO, count=20)
    assert language.questions[1].text.count("does not mention") == 12
    assert "and 7 more faults" in language.questions[1].text


def test_a_refusal_is_not_asked_again() -> None:
    language = Told(Refused("openai: no"), answer(rows(6)))
    with pytest.raises(Refused, match="openai: no"):
        break_down(language, TALE, who=HERO)
    assert len(language.questions) == 1


def test_titles_and_notes_are_data_too() -> None:
    title = "../../Тайна <b>\x07 Épée\n" + "x" * 300
    story = break_down(Told(answer(rows(6), title, "a\x00b\n" * 400)), TALE, who=HERO)
    assert story.name == "b_epee_" + "x" * 33
    assert story.title.startswith("../../Тайна <b> Épée")
    assert len(story.title) == 120
    assert len(story.notes) == 500
    assert story.notes.isprintable()
    assert break_down(Told(answer(rows(6), "Тайна")), TALE, who=HERO).name == "story"
    assert break_down(Told(answer(rows(6), " \n")), TALE, who=HERO).title == "A story"


@pytest.mark.parametrize(
    ("tale", "bounds", "message"),
    [
        ("  \n", {}, "the story is empty"),
        ("x" * 20_001, {}, "the story has 20,001 characters: at most 20,000"),
        (TALE, {"least": 8, "most": 6}, "8 to 6 scenes are not possible: give 1 to 20"),
        (TALE, {"count": 0}, "0 to 0 scenes"),
        (TALE, {"count": 21}, "21 to 21 scenes"),
    ],
)
def test_what_can_not_be_told_is_not_asked(tale: str, bounds: dict[str, int], message: str) -> None:
    language = Told()
    with pytest.raises(UserError, match=message):
        break_down(language, tale, who=HERO, **bounds)
    assert language.questions == []
