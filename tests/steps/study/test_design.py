"""What is shown to whom: balanced over arms and sides, and under names that tell nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.errors import UserError
from steps.library.storyboards import read_storyboards
from steps.study.cells import select
from steps.study.schedule import AGAIN, pages_of, turn_of
from steps.study.studies import Study
from tests.steps.study.boards import ARMS, build_study, draw_run

STORIES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_run(tmp_path_factory.mktemp("run"), stories=STORIES, frames=1, size=(16, 16))


@pytest.fixture(scope="module")
def part(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of 36 storyboards and 36 pairs of which one person sees 6 each."""
    return build_study(tmp_path_factory.mktemp("outputs"), run, per_rater=12, repeats=0.5, checks=3).study


def arm_of(study: Study, board: str) -> str:
    return str(study.key["answers"]["boards"][board]["arm"])


def test_numbered_raters_see_every_storyboard_and_pair_equally_often(part: Study) -> None:
    assert (len(part.page["rate"]), len(part.page["pairs"])) == (36, 36)
    assert part.page["sees"] == {"rate": 6, "pairs": 6, "repeats": 3}
    shown = Counter(page.page for number in range(12) for page in pages_of(part.page, f"p{number}"))
    ours = set(part.page["rate"]) | {pair["page"] for pair in part.page["pairs"]}
    assert {page: count for page, count in shown.items() if page in ours} == dict.fromkeys(ours, 2)


def test_each_pair_is_shown_as_often_one_way_round_as_the_other(part: Study) -> None:
    lefts = Counter(
        (page.page, page.boards[0])
        for number in range(12)
        for page in pages_of(part.page, f"p{number}")
        if len(page.boards) == 2 and not page.page.endswith(AGAIN)
    )
    assert all(lefts[pair["page"], board] == 1 for pair in part.page["pairs"] for board in pair["boards"])


def test_one_rater_sees_arms_and_pairs_of_arms_equally_often(part: Study) -> None:
    for number in range(12):
        pages = pages_of(part.page, f"p{number}")
        arms = Counter(arm_of(part, page.boards[0]) for page in pages if page.page in part.page["rate"])
        assert arms == dict.fromkeys(ARMS, 2)
        known = {pair["page"] for pair in part.page["pairs"]}
        pairs = Counter(frozenset(arm_of(part, board) for board in page.boards) for page in pages if page.page in known)
        assert sorted(pairs.values()) == [2, 2, 2]


def test_the_part_that_one_rater_sees_is_nearly_balanced_where_numbers_do_not_divide(run: Path, tmp_path: Path) -> None:
    """Of 7 in a row at most two groups are cut, each with each arm at most once."""
    study = build_study(tmp_path, run, per_rater=14).study
    for number in range(40):
        pages = pages_of(study.page, f"p{number}")
        arms = Counter(arm_of(study, page.boards[0]) for page in pages if page.page in study.page["rate"])
        assert max(arms.values()) - min(arms[arm] for arm in ARMS) <= 2


def test_repeats_have_their_sides_swapped_and_come_after(part: Study) -> None:
    pages = pages_of(part.page, "p3")
    places = {page.page: index for index, page in enumerate(pages)}
    again = [page for page in pages if page.page.endswith(AGAIN)]
    assert len(again) == 3
    for page in again:
        first = pages[places[page.page.removesuffix(AGAIN)]]
        assert first.boards == page.boards[::-1]
        assert places[first.page] < places[page.page]


def test_checks_stand_among_pages_of_their_kind(part: Study) -> None:
    checks = {check["page"] for check in part.page["checks"]}
    assert len(checks) == 3
    for number in range(12):
        pages = pages_of(part.page, f"p{number}")
        places = [index for index, page in enumerate(pages) if page.page in checks]
        assert len(places) == 3
        assert 0 not in places
        assert len(pages) - 1 not in places


def test_raters_have_orders_of_their_own_and_keep_them(part: Study) -> None:
    assert pages_of(part.page, "Anna") == pages_of(part.page, "Anna")
    orders = {tuple(page.page for page in pages_of(part.page, f"p{number}0")) for number in range(20)}
    assert len(orders) == 20


def test_either_part_may_come_first(part: Study) -> None:
    first = Counter(len(pages_of(part.page, f"p{number}")[0].boards) for number in range(40))
    # By chance one of ten million studies would fail.
    assert first[1] >= 5
    assert first[2] >= 5


def test_a_name_takes_its_turn_by_its_last_digits() -> None:
    assert [turn_of("s", name) for name in ("p7", "P-0012", "3")] == [7, 12, 3]
    # Another alphabet's digits are letters to the page's script.
    assert turn_of("s", "p٣") > 1000
    assert turn_of("s", "Anna") != turn_of("t", "Anna")


def test_everybody_sees_everything_unless_told_otherwise(run: Path, tmp_path: Path) -> None:
    study = build_study(tmp_path, run).study
    assert study.page["sees"] == {"rate": 36, "pairs": 36, "repeats": 4}
    assert len({page.page for page in pages_of(study.page, "p1")}) == 36 + 36 + 4 + 2
    for number in (1, 2):
        lefts = {page.page: page.boards[0] for page in pages_of(study.page, f"p{number}")}
        others = {page.page: page.boards[0] for page in pages_of(study.page, f"p{number + 1}")}
        assert all(lefts[pair["page"]] != others[pair["page"]] for pair in study.page["pairs"])


def test_where_a_storyboard_stands_in_the_deck_does_not_tell_its_arm(run: Path, tmp_path: Path) -> None:
    """Were the arms dealt by a rule, the place in the deck and one known storyboard would give all others away."""
    found = []
    for index in range(6):
        study = build_study(tmp_path / str(index), run).study
        found.append(tuple(arm_of(study, board) for board in study.page["rate"]))
    assert len(set(found)) == len(found)
    groups = {tuple(order[at : at + 3]) for order in found for at in (0, 3, 12, 15, 24, 27)}
    assert len(groups) >= 4


def test_arms_are_modes_and_strengths_where_a_mode_has_several(tmp_path: Path) -> None:
    draw_run(tmp_path / "weak", arms=["simple"], lora_scale=0.5, frames=1)
    draw_run(tmp_path / "strong", arms=["simple"], lora_scale=1.0, frames=1)
    draw_run(tmp_path / "plain", arms=["baseline"], frames=1)
    boards = read_storyboards([tmp_path / name for name in ("weak", "strong", "plain")])
    assert select(boards).arms == ("baseline", "simple, lora 0.5", "simple, lora 1")


def test_a_curve_over_strengths_is_left_beside_the_comparison_unless_named(tmp_path: Path) -> None:
    draw_run(tmp_path / "main", arms=["baseline", "simple"], frames=1, lora_scale=1.0)
    draw_run(tmp_path / "curve", arms=["simple"], stories=["dry_well"], seeds=[1], frames=1, lora_scale=0.5)
    boards = read_storyboards([tmp_path / "main", tmp_path / "curve"])
    selection = select(boards)
    assert selection.arms == ("baseline", "simple")
    assert len(selection.units) == 4
    assert selection.left_out == ("simple, lora 0.5, a strength beside the comparison: --arms names it",)
    assert len(select(boards, ["simple", "simple, lora 0.5"]).units) == 1


def test_only_what_every_arm_drew_is_shown_and_the_rest_is_told(tmp_path: Path) -> None:
    draw_run(tmp_path / "one", arms=["baseline"], stories=["a", "b"], seeds=[1], frames=1)
    draw_run(tmp_path / "two", arms=["simple"], stories=["a", "c"], seeds=[1], frames=1)
    draw_run(tmp_path / "long", arms=["simple"], stories=["b"], seeds=[1], frames=2)
    selection = select(read_storyboards([tmp_path / name for name in ("one", "two", "long")]))
    assert [unit.place[1] for unit in selection.units] == ["a"]
    assert selection.left_out == (
        "b, seed 1, of 'aldar': not as many frames in each arm: baseline has 1 frame, simple has 2 frames",
        "c, seed 1, of 'aldar': not drawn by baseline",
    )


def test_what_was_drawn_in_another_mode_is_not_shown_as_the_one_that_was_asked_for(tmp_path: Path) -> None:
    draw_run(tmp_path / "one", arms=["baseline"], seeds=[1], frames=1)
    draw_run(tmp_path / "two", arms=["reference"], seeds=[1], frames=1, drawn_as="simple")
    with pytest.raises(UserError, match="no story was drawn by every one of baseline, reference") as caught:
        select(read_storyboards([tmp_path / "one", tmp_path / "two"]))
    assert "was asked for as reference and drawn as simple" in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"arms": ["simpel"]}, "--arms simpel: no storyboard has that: choose from baseline, reference, simple"),
        ({"stories": ["z"]}, "--stories z: no storyboard has that: choose from a, b, c, d, e, f"),
    ],
)
def test_an_unknown_name_is_refused_with_those_there_are(run: Path, choice: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError) as caught:
        select(read_storyboards([run]), **choice)
    assert str(caught.value) == said


def test_a_choice_of_arms_and_stories(run: Path) -> None:
    selection = select(read_storyboards([run]), ["baseline", "reference"], ["b"])
    assert selection.arms == ("baseline", "reference")
    assert {unit.place for unit in selection.units} == {("aldar", "b", 1), ("aldar", "b", 2)}
