from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ItemError, UserError
from steps.library.actors import Actor
from steps.library.prompts import PromptBook

ADA = Actor(3, "0003_ada")
BOOK = PromptBook(
    Path("book.yaml"),
    {"human": "the {descriptor}", "robot": "the {descriptor}, a machine"},
    {"human": "person", "robot": "robot"},
    {"photo": ("{subject} sits.", "A street. {subject} walks.", "{subject} runs."), "ink": ("Ink: {subject}.",)},
)
HEAD = "subjects: {human: 'the {descriptor}'}\ndescriptors: {human: person}\nclasses:\n"


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def subject(root: Path, manifest: Any, book: PromptBook = BOOK) -> str:
    path = root / "actor_manifests" / "0003_manifest.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return book.subject(root, ADA)


def test_our_own_prompts_are_as_many_as_the_documents_count() -> None:
    book = PromptBook.read()
    counts = {kind: len(prompts) for kind, prompts in book.classes.items()}
    assert counts == {"photorealistic": 15, "bw_stylized": 11, "color_stylized": 9}
    assert set(book.subjects) == {"human", "creature", "robot"}
    everything = [prompt for kind in book.classes for prompt in book.filled(kind, "the woman")]
    assert len(set(everything)) == 35
    assert not any("{" in prompt for prompt in everything)


def test_sentences_start_with_a_capital_letter() -> None:
    assert BOOK.filled("photo", "the {subject} of it") == (
        "The {subject} of it sits.",
        "A street. The {subject} of it walks.",
        "The {subject} of it runs.",
    )
    assert BOOK.filled("ink", "the man") == ("Ink: the man.",)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"descriptor": "young woman"}, "the young woman"),
        ({"descriptor": " an  old\nman "}, "the an old man"),
        ({"descriptor": None}, "the person"),
        ({}, "the person"),
        ({"actor_type": "Robot"}, "the robot, a machine"),
        ({"type": "ROBOT", "descriptor": "mower"}, "the mower, a machine"),
        ({"type": "manifest v2"}, "the person"),
        ({"type": {"kind": "x"}, "actor_type": ""}, "the person"),
        ({"descriptor": "{descriptor}"}, "the {descriptor}"),
    ],
)
def test_the_subject_is_of_the_manifests_type_and_descriptor(
    tmp_path: Path, manifest: dict[str, Any], said: str
) -> None:
    assert subject(tmp_path, manifest) == said


def test_an_actor_without_a_manifest_is_a_person(tmp_path: Path) -> None:
    assert BOOK.subject(tmp_path, ADA) == "the person"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"actor_type": "ghost"}, "/actor_type: 'ghost' is none of human, robot: add a subject for it in book.yaml"),
        ({"descriptor": 7}, "/descriptor: 7 is not of type"),
        ("{", "0003_manifest.json"),
    ],
)
def test_a_manifest_that_makes_no_sense_fails_this_actor_alone(tmp_path: Path, manifest: Any, said: str) -> None:
    with pytest.raises(ItemError) as error:
        subject(tmp_path, manifest)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "/: None is not of type 'object'"),
        ("- a", "/: ['a'] is not of type 'object'"),
        (HEAD + "  photo: []", "/classes/photo: [] "),
        (HEAD + "  photo: [nobody here]", "/classes/photo/0: 'nobody here' does not match"),
        (HEAD + "  photo: ['{subject} and {other}']", "/classes/photo/0: '{subject} and {other}' does not match"),
        (HEAD + "  photo: ['{subject}', '{subject}']", "/classes/photo: ['{subject}', '{subject}'] has non-unique"),
        (HEAD + "  photo: [7]", "/classes/photo/0: 7 is not of type 'string'"),
        (HEAD + "  7: ['{subject}']", "/classes: 7 is not of type 'string'"),
        (HEAD + "  {}", "/classes: {} "),
        (HEAD + "  photo: ['{subject}']\nprompts: 1", "/: Additional properties are not allowed ('prompts'"),
        (
            HEAD.replace("human: 'the", "robot: 'the") + "  a: ['{subject}']",
            "/subjects: 'human' is a required property",
        ),
        (HEAD.replace("{human: person}", "{human: ''}") + "  a: ['{subject}']", "/descriptors/human: '' "),
        (
            HEAD.replace("{human: 'the", "{robot: '{descriptor}', human: 'the") + "  a: ['{subject}']",
            "/descriptors: none for robot: each of /subjects needs one",
        ),
        (
            HEAD + "  photo: [!!python/name:os.system '']",
            "the tag tag:yaml.org,2002:python/name:os.system is not allowed",
        ),
    ],
)
def test_a_book_of_another_shape_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        PromptBook.read(path)
    assert path in str(error.value)
    assert said in str(error.value)


def test_a_book_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read: No such file"):
        PromptBook.read(tmp_path / "none.yaml")


def test_a_class_without_prompts_is_told() -> None:
    with pytest.raises(UserError, match=r"book\.yaml: no prompts for class 'oil', only for photo, ink: add them"):
        BOOK.choose("oil", 1, seed=0, subject="the man")


@given(
    total=st.integers(1, 20),
    count=st.integers(0, 60),
    used=st.lists(st.integers(0, 30), max_size=40),
    seed=st.integers() | st.text(max_size=5),
)
def test_the_least_used_prompts_come_first_and_all_evenly(
    total: int, count: int, used: list[int], seed: int | str
) -> None:
    """Taken texts beyond the class's own are somebody else's and change nothing."""
    prompts = tuple(f"{{subject}} {number}" for number in range(total))
    book = PromptBook(Path("b"), {"human": "{descriptor}"}, {"human": "person"}, {"photo": prompts})
    taken = [f"Ada {number}" for number in used]
    chosen = book.choose("photo", count, seed=seed, subject="ada", taken=taken)
    assert chosen == book.choose("photo", count, seed=seed, subject="ada", taken=reversed(taken))
    assert len(chosen) == count
    assert set(chosen) <= set(book.filled("photo", "ada"))
    unused = set(book.filled("photo", "ada")) - set(taken)
    assert set(chosen) & unused == set(chosen) if count <= len(unused) else unused <= set(chosen)
    if count <= len(unused):
        assert len(set(chosen)) == count
    before = Counter({f"Ada {number}": taken.count(f"Ada {number}") for number in range(total)})
    after = before + Counter(chosen)
    added = [after[prompt] for prompt in set(chosen)]
    assert not chosen or max(added) - 1 <= min(after[prompt] for prompt in before), "never ahead of another by two"


def test_another_seed_chooses_others() -> None:
    book = PromptBook.read()
    chosen = {tuple(book.choose("photorealistic", 5, seed=seed, subject="the man")) for seed in range(20)}
    assert len(chosen) > 15


def test_a_taken_prompt_is_known_by_its_words() -> None:
    taken = ["the  man\nsits.", "THE MAN RUNS."]
    assert BOOK.choose("photo", 1, seed=1, subject="the man", taken=taken) == ["A street. The man walks."]
