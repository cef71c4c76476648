"""Validate: which actors, which image, what verdict, and that nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ItemError, UserError
from runner.ledger import Ledger
from steps.validate import Validate, ValidateParams
from tests.library import BLURRY, GOOD, OTHER, UNSURE, ScriptedVision, context, jpeg, put, tree
from tests.support import Engine


def validate(ledger: Ledger, library: Path, vision: ScriptedVision, **params: Any) -> dict[str, dict[str, Any]]:
    """Run the step through the engine; results.json by actor."""
    folder = library.parent
    step = Validate(ValidateParams(**params), context(ledger, folder, library), vision)
    ledger.flush()
    Engine(folder, workers=1).run(step)
    document = json.loads((folder / "run-1" / "step" / "results.json").read_text())
    assert document["total_processed"] == len(document["results"])
    return {"": document, **{row["actor_name"]: row for row in document["results"]}}


@pytest.mark.parametrize(
    ("answer", "action", "counted"),
    [
        (GOOD, "skip", "skipped"),
        (BLURRY, "recreate_blurry", "recreated_blurry"),
        (OTHER, "recreate_mismatch", "recreated_mismatch"),
        (UNSURE, "review", "review"),
        ({**OTHER, "is_clear": False}, "recreate_blurry", "recreated_blurry"),
        (ItemError("the wire was cut"), "error", "errors"),
    ],
)
def test_an_answer_becomes_its_action(ledger: Ledger, library: Path, answer: Any, action: str, counted: str) -> None:
    before = tree(library)
    found = validate(ledger, library, ScriptedVision({"0001_bek": [answer]}))
    assert found["0001_bek"]["action"] == action
    assert found["0001_bek"]["success"] is (action != "error")
    assert found[""]["summary"][counted] == (3 if action == "skip" else 1)
    assert tree(library) == before


def test_results_have_the_documents_form(ledger: Ledger, library: Path) -> None:
    found = validate(ledger, library, ScriptedVision({"0001_bek": [BLURRY]}))
    assert found[""]["dry_run"] is True
    assert set(found[""]["summary"]) >= {"skipped", "created", "recreated_blurry", "recreated_mismatch", "errors"}
    row = found["0001_bek"]
    assert (row["actor_id"], row["actor_name"]) == (1, "0001_bek")
    assert row["reason"] == "Clarity: smeared | Match: fits | Confidence: high"
    assert row["assessment"]["is_clear"] is False


def test_a_failed_assessment_says_that_the_image_is_taken_as_valid(ledger: Ledger, library: Path) -> None:
    row = validate(ledger, library, ScriptedVision({"0000_ada": [ItemError("the wire was cut")]}))["0000_ada"]
    assert row["reason"] == "Assessment failed: the wire was cut. The image is taken as valid."
    assert row["actor_id"] == 0


def test_no_image_anywhere_is_created_and_nobody_is_asked(ledger: Ledger, library: Path) -> None:
    (library / "actors/0001_bek/base_image/0001_bek_base.jpg").unlink()
    vision = ScriptedVision()
    assert validate(ledger, library, vision)["0001_bek"]["action"] == "create_base_image"
    assert len(vision.questions) == 2


PLACES = [
    "base_image/{n}_base.jpg",
    "base_image/{n}_base.png",
    "poster_frame/{n}_poster.png",
    "poster_frame/{n}_poster.jpg",
    "training_data/{n}_0.jpg",
    "training_data/{n}_0.png",
]


@pytest.mark.parametrize("first", range(6))
def test_the_six_places_are_tried_in_order(ledger: Ledger, library: Path, first: int) -> None:
    home = library / "actors" / "0001_bek"
    (home / "base_image/0001_bek_base.jpg").unlink()
    places = [place.format(n="0001_bek") for place in PLACES]
    for place in places[first:]:
        put(home / place, jpeg("red"))
    assert validate(ledger, library, ScriptedVision())["0001_bek"]["image"] == f"actors/0001_bek/{places[first]}"


@pytest.mark.parametrize("path", ["actors/0001_bek/poster_frame/x.png", "data/actors/0001_bek/poster_frame/x.png"])
def test_the_actor_manifest_names_an_image_before_the_six_places(ledger: Ledger, library: Path, path: str) -> None:
    put(library / "actors/0001_bek/poster_frame/x.png", jpeg("red"))
    put(
        library / "actor_manifests/0001_manifest.json",
        json.dumps({"base_images": [{"moved_to": None, "relative_path": path}]}).encode(),
    )
    row = validate(ledger, library, ScriptedVision())["0001_bek"]
    assert row["image"] == "actors/0001_bek/poster_frame/x.png"
    assert row["image_notes"] == ["named .png but holds JPEG"]


def test_a_broken_image_needs_no_model(ledger: Ledger, library: Path) -> None:
    path = library / "actors/0001_bek/base_image/0001_bek_base.jpg"
    path.write_bytes(path.read_bytes()[:400])
    vision = ScriptedVision()
    row = validate(ledger, library, vision)["0001_bek"]
    assert row["action"] == "recreate_blurry"
    assert "corrupt" in row["reason"]
    assert len(vision.questions) == 2


def test_a_file_of_another_kind_is_an_error_and_never_replaced(ledger: Ledger, library: Path) -> None:
    (library / "actors/0001_bek/base_image/0001_bek_base.jpg").write_bytes(b"8BPS" + b"\0" * 100)
    row = validate(ledger, library, ScriptedVision())["0001_bek"]
    assert row["action"] == "error"
    assert "not a PNG, JPEG or WebP" in row["reason"]


def test_votes_must_agree_before_a_rejection_counts(ledger: Ledger, library: Path) -> None:
    vision = ScriptedVision({"0000_ada": [OTHER, GOOD], "0001_bek": [OTHER, OTHER, OTHER], "0002_cui": [GOOD]})
    found = validate(ledger, library, vision, votes=3)
    assert found["0000_ada"]["action"] == "skip"
    assert "(1 of 2 assessments rejected it)" in found["0000_ada"]["reason"]
    assert found["0001_bek"]["action"] == "recreate_mismatch"
    assert found["0001_bek"]["votes"] == 3
    assert found["0002_cui"]["votes"] == 1


def test_the_protected_are_neither_changed_nor_looked_at(ledger: Ledger, library: Path) -> None:
    vision = ScriptedVision({"0001_bek": [OTHER]})
    found = validate(ledger, library, vision, protect=[1])
    assert found["0001_bek"]["action"] == "skip"
    assert "Protected" in found["0001_bek"]["reason"]
    assert len(vision.questions) == 2


def test_low_confidence_counts_when_it_is_accepted(ledger: Ledger, library: Path) -> None:
    found = validate(ledger, library, ScriptedVision({"0001_bek": [UNSURE]}), accept_low_confidence=True)
    assert found["0001_bek"]["action"] == "recreate_mismatch"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, {0, 1, 2}),
        ("all", {0, 1, 2}),
        ([0, 1], {0, 1}),
        (2, {2}),
        ("0002", {2}),
        (["0-1"], {0, 1}),
        (["1-9", "0000_ada"], {0, 1, 2}),
        ("@villains", {1, 2}),
        (["@nested", 0], {0, 1, 2}),
    ],
)
def test_actors_are_named_in_many_ways(ledger: Ledger, library: Path, selection: Any, expected: set[int]) -> None:
    (library / "groups.yaml").write_text("villains: [1, '0002']\nnested: {actors: ['@villains'], note: bad people}\n")
    found = validate(ledger, library, ScriptedVision(), actors=selection)
    assert {row["actor_id"] for row in found[""]["results"]} == expected


def test_a_sample_is_drawn_by_the_seed(ledger: Ledger, library: Path) -> None:
    found = validate(ledger, library, ScriptedVision(), sample=2)
    again = validate(ledger, library, ScriptedVision(), sample=2)
    assert found[""]["results"] == again[""]["results"]
    assert len(found[""]["results"]) == 2


def test_one_changed_image_costs_one_assessment(ledger: Ledger, library: Path) -> None:
    validate(ledger, library, ScriptedVision())
    (library / "actors/0001_bek/base_image/0001_bek_base.jpg").write_bytes(jpeg("white"))
    vision = ScriptedVision()
    validate(ledger, library, vision)
    assert [question.facts["description"] for question in vision.questions] == ["0001_bek, a person"]


def test_the_prompt_puts_fixed_text_first_and_fills_in_once(ledger: Ledger, library: Path) -> None:
    actors = json.loads((library / "actorsData.json").read_text())
    actors[0]["description"] = "0000_ada, wears {outfit} and ${oc.env:HOME}"
    (library / "actorsData.json").write_text(json.dumps(actors))
    vision = ScriptedVision()
    validate(ledger, library, vision, actors=[0])
    text = vision.questions[0].text
    assert text.endswith("Description: 0000_ada, wears {outfit} and ${oc.env:HOME}\nOutfit: a coat")
    assert text.startswith("You check the reference portrait")


def test_a_safety_valve_asks_nobody_again(ledger: Ledger, library: Path) -> None:
    validate(ledger, library, ScriptedVision({"0001_bek": [UNSURE]}))
    vision = ScriptedVision()
    assert validate(ledger, library, vision, accept_low_confidence=True)["0001_bek"]["action"] == "recreate_mismatch"
    assert validate(ledger, library, vision, protect=[0])["0001_bek"]["action"] == "review"
    assert vision.questions == []


def test_protecting_nobody_is_a_mistake(ledger: Ledger, library: Path) -> None:
    with pytest.raises(UserError, match=r"step.protect: \[999\] are ids of nobody"):
        validate(ledger, library, ScriptedVision(), protect=[1, 999])
