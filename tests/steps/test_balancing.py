"""What goes and what comes: properties for any images and targets, and the documents' own figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.balancing import Balance, OutOfReach, Rated, Target, balance, by_weight, shares

DOCUMENTED = {"photorealistic": 65, "bw_stylized": 20, "color_stylized": 15}
CLASSES = (*DOCUMENTED, "watercolour", None)


@st.composite
def _images(draw: st.DrawFn, *, may_stay: bool = False) -> list[Rated]:
    kinds = draw(st.lists(st.sampled_from(CLASSES), max_size=60))
    return [
        Rated(
            number,
            kind,
            0 if kind is None else draw(st.integers(0, 10)),
            draw(st.integers(0, 3)),
            stays=may_stay and kind is not None and draw(st.integers(0, 9)) == 0,
        )
        for number, kind in enumerate(kinds, start=1)
    ]


@st.composite
def _targets(draw: st.DrawFn) -> Target:
    weights = draw(
        st.dictionaries(st.sampled_from([kind for kind in CLASSES if kind]), st.integers(1, 100), min_size=1)
    )
    counts = by_weight(draw(st.integers(1, 40)), weights)
    return Target(counts, draw(st.sampled_from([0.0, 5.0, 10.0, 33.4, 100.0])), draw(st.integers(0, 5)))


def _left(images: list[Rated], done: Balance) -> list[Rated]:
    gone = {going.number for going in done.goes}
    return [image for image in images if image.number not in gone]


@given(_images(), _targets())
def test_the_target_is_reached(images: list[Rated], target: Target) -> None:
    done = balance(images, target)
    after = Counter(str(image.kind) for image in _left(images, done)) + Counter(done.comes)
    assert after == Counter(done.after)
    assert target.met_by(after)
    if done.comes or any(not going.condemned for going in done.goes):
        assert after == Counter(target.counts)


@given(_images(may_stay=True), _targets())
def test_what_stays_never_goes_and_the_rest_still_comes_to_the_target(images: list[Rated], target: Target) -> None:
    try:
        done = balance(images, target)
    except OutOfReach:
        staying = Counter(image.kind for image in images if image.stays)
        assert any(count > target.counts.get(str(kind), 0) for kind, count in staying.items())
        return
    assert not {going.number for going in done.goes} & {image.number for image in images if image.stays}
    assert target.met_by(Counter(str(image.kind) for image in _left(images, done)) + Counter(done.comes))


@given(_images(), _targets())
def test_a_better_image_never_goes_before_a_worse_one_of_its_class(images: list[Rated], target: Target) -> None:
    done = balance(images, target)
    numbers = {going.number for going in done.goes}
    gone = [image for image in images if image.number in numbers]
    for stays in _left(images, done):
        for goes in (image for image in gone if image.kind == stays.kind):
            assert (goes.quality, goes.at, goes.number) < (stays.quality, stays.at, stays.number)


@given(_images(), _targets())
def test_what_is_below_the_least_quality_goes_in_any_case(images: list[Rated], target: Target) -> None:
    done = balance(images, target)
    condemned = {image.number for image in images if image.kind is None or image.quality < target.min_quality}
    assert condemned == {going.number for going in done.goes if going.condemned}


@given(_images(), _targets())
def test_no_class_both_loses_and_gains_but_for_quality(images: list[Rated], target: Target) -> None:
    done = balance(images, target)
    kinds = {image.number: image.kind for image in images}
    losing = {kinds[going.number] for going in done.goes if not going.condemned}
    assert not losing & set(done.comes)
    assert all(count > 0 for count in done.comes.values())


@given(_images(), _targets())
def test_every_image_that_goes_is_named_once_and_with_a_reason(images: list[Rated], target: Target) -> None:
    done = balance(images, target)
    assert len({going.number for going in done.goes}) == len(done.goes)
    assert all(going.why for going in done.goes)
    assert done.balanced == (not done.goes and not done.comes)


@given(_images(), _targets())
def test_it_is_done_at_once(images: list[Rated], target: Target) -> None:
    """What a plan leaves is balanced: a second plan has nothing to do."""
    done = balance(images, target)
    numbers = range(1000, 1000 + sum(done.comes.values()))
    new = [Rated(number, kind, 10) for number, kind in zip(numbers, Counter(done.comes).elements(), strict=True)]
    assert balance([*_left(images, done), *new], target).balanced


@given(
    st.integers(0, 500),
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1000), min_size=1).filter(
        lambda weights: sum(weights.values()) > 1e-3
    ),
)
def test_weights_come_to_the_total_and_each_within_one_of_its_share(total: int, weights: Mapping[str, float]) -> None:
    counts = by_weight(total, weights)
    assert sum(counts.values()) == total
    for kind, count in counts.items():
        assert abs(count - total * weights[kind] / sum(weights.values())) < 1 + 1e-6


@pytest.mark.parametrize(
    ("total", "counts"),
    [(20, (13, 4, 3)), (10, (7, 2, 1)), (1, (1, 0, 0)), (3, (2, 1, 0)), (100, (65, 20, 15))],
)
def test_the_documented_weights(total: int, counts: tuple[int, ...]) -> None:
    assert by_weight(total, DOCUMENTED) == dict(zip(DOCUMENTED, counts, strict=True))


def _of(**counts: int) -> list[Rated]:
    kinds = list(Counter(counts).elements())
    return [Rated(number, kind, 5, at=float(number)) for number, kind in enumerate(kinds, start=1)]


TWENTY = Target(by_weight(20, DOCUMENTED))


def test_the_documents_example() -> None:
    done = balance(_of(photorealistic=15, bw_stylized=4, color_stylized=3), TWENTY)
    assert not done.balanced
    assert [going.number for going in done.goes] == [1, 2], "of equal quality the oldest"
    assert done.comes == {}
    assert shares(done.before) == {"photorealistic": 68.2, "bw_stylized": 18.2, "color_stylized": 13.6}


@pytest.mark.parametrize(
    ("counts", "balanced"),
    [
        ((13, 4, 3), True),
        ((15, 3, 2), True),
        ((15, 2, 3), True),
        ((15, 4, 1), True),
        ((16, 2, 2), False),
        ((13, 4, 2), False),
        ((13, 1, 6), False),
    ],
)
def test_ten_percentage_points(counts: tuple[int, int, int], *, balanced: bool) -> None:
    """Two of twenty images are ten percentage points; three are more. Nineteen are never balanced."""
    images = _of(**dict(zip(DOCUMENTED, counts, strict=True)))
    assert balance(images, TWENTY).balanced == balanced


def test_nothing_there_at_all() -> None:
    done = balance([], TWENTY)
    assert (done.goes, done.comes) == ([], TWENTY.counts)
    assert shares({"photorealistic": 0}) == {"photorealistic": 0.0}


def test_a_copy_too_many_leaves_the_rest_balanced() -> None:
    images = [
        *_of(photorealistic=13, bw_stylized=4, color_stylized=3),
        Rated(21, "bw_stylized", 0, problem="copy of 14"),
    ]
    done = balance(images, TWENTY)
    assert [(going.number, going.why) for going in done.goes] == [(21, "copy of 14")]
    assert (done.balanced, done.comes) == (False, {})
