"""How an image is asked about: the question, refusals in words, and what a model may say without harm."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps import captioning
from steps.captioning import MAX_CHARACTERS, PROMPT, REFUSAL, Wording
from steps.library.pictures import Picture, decode
from tests.library import jpeg


def picture() -> Picture:
    return decode(jpeg("red"), "red.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, I can’t help with identifying people.",
        "Sorry, I cannot describe this image.",
        "I can't describe the person in this image.",
        "I cannot identify real people.",
        "I am unable to provide a description.",
        "As an AI language model, I do not look at images.",
        "Unfortunately, I can't do that.",
        "“I apologize, but this image shows something that I can't caption.”",
        "This request violates the content policy.",
        "Unable to comply with this request.",
        "I cannot determine who this person is from the picture.",
        "I don't know who is shown.",
        "I can’t tell who this is.",
        "As a large language model, I see no images.",
        "My apologies, this can't be captioned.",
        "Cannot assist with that.",
        "It is not possible to describe this picture.",
        "No caption available.",
    ],
)
def test_a_refusal_in_words_is_found(text: str) -> None:
    assert re.search(REFUSAL, text)


@pytest.mark.parametrize(
    "text",
    [
        "Aldar Kose can't reach the apple and looks sorry.",
        "Sorrow on his face, he rides over the steppe.",
        "An old man says he is sorry to a merchant.",
        "I-shaped tent poles stand behind the unable-looking horse.",
        "A sign reads: I'm sorry, I can't help you.",
        "This portrait shows a man in a kalpak. He cannot see the horse behind him.",
        "As an airship passes, Aldar Kose waves.",
        "Unable to stand, the foal lies in the snow.",
        "Sorry-looking robes hang on a line behind Aldar Kose.",
        "No caption is on the banner above him.",
    ],
)
def test_a_caption_with_such_words_is_none(text: str) -> None:
    assert not re.search(REFUSAL, text)


def test_the_question_tells_only_of_what_is_wanted_and_states_it_as_facts() -> None:
    asked = captioning.question(picture(), Wording(describe=("action", "background"), trigger="Aldar Kose"))
    assert asked.name == "caption"
    assert asked.facts["describe"] == "action, background"
    assert asked.facts["trigger"] == "Aldar Kose"
    assert "what Aldar Kose is doing" in asked.text
    assert "looks like" not in asked.text
    assert "the light:" not in asked.text
    assert "two or three sentences" in asked.text
    again = captioning.question(picture(), Wording(), framed=True)
    assert again.text == f"{captioning.FRAMING}\n\n{captioning.filled(Wording())}"


def test_gaps_are_filled_once() -> None:
    text = captioning.filled(Wording(prompt="{trigger}|{sentences}|{describe}|{other}", trigger="{describe}"))
    assert text.startswith("{describe}|two or three|- what {describe} is doing")
    assert text.endswith("|{other}")
    assert set(re.findall(r"\{(\w+)\}", PROMPT)) == {"trigger", "sentences", "describe"}


@given(st.text(alphabet=st.characters(), max_size=200))
def test_whatever_is_said_becomes_one_harmless_line(text: str) -> None:
    line = captioning.clean(text)
    assert line == captioning.clean(line)
    assert line.splitlines() in ([], [line])
    assert all(unicodedata.category(letter)[0] != "C" for letter in line)
    line.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "trigger", "named"),
    [
        ("A man rides.", "Aldar Kose", "Aldar Kose, A man rides."),
        ("aldar kose rides.", "Aldar Kose", "aldar kose rides."),
        ("Aldar Kosehaw rides.", "Aldar Kose", "Aldar Kose, Aldar Kosehaw rides."),
        ("Here rides o(h)x.", "o(h)x", "Here rides o(h)x."),
        ("Nobody is named.", "", "Nobody is named."),
    ],
)
def test_the_trigger_is_put_in_where_it_lacks(text: str, trigger: str, named: str) -> None:
    assert captioning.with_trigger(text, trigger) == named


def test_tokens_are_counted_rather_high() -> None:
    # Each of these words is one token of CLIP's, which counts 11 and 4.
    assert 11 <= captioning.tokens_of("a photo of a cat on a mat.") <= 14
    assert 4 <= captioning.tokens_of("a diagram") <= 5
    assert captioning.tokens_of("") == 2
    assert captioning.tokens_of("word") == 4
    assert captioning.tokens_of("word 2026!") == 4 + 5
    assert captioning.tokens_of("Көсе") == 2 + len("Көсе".encode())
    assert captioning.tokens_of("extraordinarily") == captioning.tokens_of("two words")
    assert captioning.tokens_of("word " * 57) <= captioning.CLIP_TOKENS < captioning.tokens_of("word " * 58)


def test_a_long_caption_ends_with_a_sentence() -> None:
    long = "A tent stands in the steppe. " * 60
    cut = captioning._shortened(long.strip())
    assert len(cut) <= MAX_CHARACTERS
    assert cut.endswith("steppe.")
    assert len(captioning._shortened("x" * 5000)) == MAX_CHARACTERS
