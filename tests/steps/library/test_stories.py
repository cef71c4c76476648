"""Stories: those that ship, those that people write, and what is asked and scored of a scene."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.errors import UserError
from steps.library.shots import FACINGS, SHOTS, Shot
from steps.library.stories import (
    GESTURES,
    MOST_WORDS,
    Scene,
    is_story_file,
    locate_story,
    prompt_of,
    read_story,
    scored_text,
    shipped_stories,
    unnamed,
)
from steps.studio.models import captions, domain

SHIPPED = shipped_stories()
GOOD = """
title: A walk
scenes:
  - { text: "a portrait of {who}, in the snow", shot: portrait }
  - { text: "{who} rides {who}'s horse", gesture: riding, facing: left, x: -0.5 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "walk.yaml"
    path.write_text(text, "utf-8")
    return path


def test_there_are_three_tales_and_twenty_short_ones() -> None:
    levels = Counter(read_story(name).level for name in SHIPPED)
    assert (levels["simple"], levels["medium"], levels["complex"]) == (1, 1, 1)
    assert levels["short"] >= 20
    lengths = {read_story(name).level: len(read_story(name).scenes) for name in SHIPPED}
    assert lengths == {"simple": 6, "medium": 8, "complex": 10, "short": 6}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_story_can_be_drawn_by_the_embedded_models(name: str) -> None:
    story = read_story(name)
    first = story.scenes[0].shot
    assert first.kind in ("portrait", "half")
    assert first.facing == "front"
    assert domain.side_of(first) == "middle"
    assert len({scene.text for scene in story.scenes}) == len(story.scenes)
    assert story.text
    for scene in story.scenes:
        assert_is_said(scene)


def assert_is_said(scene: Scene) -> None:
    """The text tells the shot, in words that the models were trained on: each part in one of its phrasings, nothing else."""
    opening, *parts = scene.text.split(", ")
    shot = scene.shot
    assert opening.removesuffix(" {who}") in captions._SHOTS[shot.kind]
    wanted: list[tuple[str, ...]] = [] if shot.kind == "portrait" else [captions._GESTURES[shot.gesture]]
    wanted += [captions._FACINGS[shot.facing]] if shot.facing != "front" else []
    side = domain.side_of(shot)
    wanted += [captions._SIDES[side]] if side != "middle" else []
    assert len(parts) == len(wanted) + 1
    assert all(part in phrases for part, phrases in zip(parts, wanted, strict=False))
    assert any(parts[-1] in phrases for phrases in captions._PLACES.values())


def test_together_they_show_all_of_the_embedded_world() -> None:
    scenes = [scene for name in SHIPPED for scene in read_story(name).scenes]
    assert {scene.shot.kind for scene in scenes} == set(SHOTS)
    assert {scene.shot.gesture for scene in scenes} == set(GESTURES) == set(domain.GESTURES)
    assert {scene.shot.facing for scene in scenes} == set(FACINGS)
    phrases = {scene.text.split(", ")[-1] for scene in scenes}
    assert all(phrases & set(words) for words in captions._PLACES.values())


def test_shipped_scenes_fit_the_embedded_encoders() -> None:
    pytest.importorskip("transformers")
    from steps.studio.models.tokens import LENGTH, new_tokenizer

    tokenizer = new_tokenizer()
    prompts = [prompt_of(scene, "ohwx sksxkoolgsza man") for name in SHIPPED for scene in read_story(name).scenes]
    assert max(len(ids) for ids in tokenizer(prompts).input_ids) < LENGTH


def test_a_story_of_one_s_own_is_read(tmp_path: Path) -> None:
    story = read_story(written(tmp_path, GOOD + 'text: "  Once.  "\nnoun: a man\nlevel: short\n'))
    assert (story.name, story.title, story.text, story.noun, story.level) == (
        "walk",
        "A walk",
        "Once.",
        "a man",
        "short",
    )
    assert story.source == str(tmp_path / "walk.yaml")
    assert story.scenes[1] == Scene("{who} rides {who}'s horse", Shot("full", "riding", "left", -0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "/: [] is not of type 'object'"),
        ("title: x", "/: 'scenes' is a required property"),
        (GOOD + "mode: simple\n", "'mode' was unexpected"),
        (GOOD.replace("shot: portrait", "shot: closeup"), "/scenes/0/shot: 'closeup' is not one of"),
        (GOOD.replace("shot: portrait", "short: 1"), "/scenes/0: Additional properties"),
        (GOOD.replace("gesture: riding", "gesture: akimbo"), "/scenes/1/gesture: 'akimbo' is not one of"),
        (GOOD.replace("x: -0.5", "x: -1.5"), "/scenes/1/x: -1.5 is less than"),
        (GOOD.replace("x: -0.5", "x: .nan"), "/scenes/1/x: NaN is no number"),
        (GOOD.replace("{who}, in", "somebody, in"), "/scenes/0/text: does not mention the character: write {who}"),
        (GOOD.replace("{who}, in", "{who} {0.__class__}, in"), "/scenes/0/text: holds braces other than {who}"),
        (GOOD.replace("in the snow", "so " * MOST_WORDS), f"/scenes/0/text: has {MOST_WORDS + 4} words"),
        (GOOD.replace("in the snow", r"in\u0007 the snow"), "/scenes/0/text: holds control characters"),
        (GOOD.replace("A walk", r'"A \e[31mwalk"'), "/title: holds control characters"),
        (GOOD.replace("A walk", '"  "'), "/title: is empty"),
        (GOOD.replace("A walk", "1984"), "/title: 1984 is not of type 'string'"),
        (
            GOOD.replace("A walk", "!!python/name:os.system"),
            "the tag tag:yaml.org,2002:python/name:os.system is not allowed",
        ),
        (GOOD.replace("A walk", "&a [1]") + "text: [unclosed", "not YAML"),
        ("title: x\nscenes: []\n", "/scenes: [] should be non-empty"),
        ("", "None is not of type 'object'"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_story(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_an_alias_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    with pytest.raises(UserError, match="alias bomb"):
        read_story(written(tmp_path, "\n".join(lines)))


def test_more_scenes_than_a_strip_holds_are_refused(tmp_path: Path) -> None:
    rows = "\n".join('  - { text: "{who} waits" }' for _ in range(21))
    with pytest.raises(UserError, match=r"/scenes: .* is too long"):
        read_story(written(tmp_path, f"title: x\nscenes:\n{rows}\n"))


def test_names_are_looked_for_here_first_and_are_never_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes/stories").mkdir(parents=True)
    (tmp_path / "secret.yaml").write_text(GOOD)
    (tmp_path / "recipes/stories/kite.yaml").write_text(GOOD)
    assert read_story("kite").title == "A walk"
    assert read_story("echo").title == "The echo"
    with pytest.raises(UserError, match="none of this name is shipped"):
        locate_story("../../secret")
    with pytest.raises(UserError, match=r"gone\.yaml: no such story file"):
        locate_story("gone.yaml")


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("kite", True),
        ("stories/mine.yaml", True),
        ("my stories/mine.yml", True),
        ("kiet", True),
        ("He rides home.", False),
        ("Once\nupon a time.yaml", False),
    ],
)
def test_a_parameter_may_be_a_file_or_a_tale(text: str, is_file: bool) -> None:
    assert is_story_file(text) is is_file


@pytest.mark.parametrize(
    ("text", "scored"),
    [
        ("a portrait of {who}, in the snow", "a portrait of a person, in the snow"),
        ("{who} rides {who}'s horse", "A person rides the person's horse"),
        ("Snow falls. {who} waits", "Snow falls. A person waits"),
        ("a portrait of the {who}", "a portrait of a person"),
    ],
)
def test_what_is_scored_names_nobody(text: str, scored: str) -> None:
    assert scored_text(Scene(text)) == scored


def test_a_story_may_have_a_noun_of_its_own() -> None:
    scene = Scene("{who} greets {who}'s mother")
    assert scored_text(scene, "an old man") == "An old man greets the old man's mother"
    assert prompt_of(scene, "ohwx man") == "ohwx man greets ohwx man's mother"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Aldar Kose waves to aldar  kose's horse", "Aldar Kose", "{who} waves to {who}'s horse"),
        ("Aldar Kosed and McAldar Kose", "Aldar Kose", "Aldar Kosed and McAldar Kose"),
        ("a portrait of a man", "", "a portrait of a man"),
        ("a portrait of a man", None, "a portrait of a man"),
    ],
)
def test_a_name_is_taken_out_as_whole_words_everywhere(text: str, name: str | None, expected: str) -> None:
    assert unnamed(text, name) == expected
