"""From embeddings to numbers: each told once by hand, and held to laws."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.measures.faces import Character, FrameFaces, Scale, copy_paste, headline, rescaled, scale_of, unit


def at(degrees: float) -> Any:
    """A face in a plane: the cosine of two is that of the angle between them."""
    return np.asarray([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=np.float32)


def cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def frames(*angles: float | None) -> list[FrameFaces]:
    """Frames from 1, each with one face or none."""
    return [FrameFaces.of(number, [] if angle is None else [at(angle)]) for number, angle in enumerate(angles, 1)]


def test_a_storyboard_is_measured_as_by_hand() -> None:
    character = Character([at(0), at(20)], impostors=[at(90), at(110)])
    found = character.measure(frames(0, 10, None, 40), conditioning=at(50), conditioned_from=2)
    second, fourth = cos(10), (cos(40) + cos(20)) / 2
    first = (1 + cos(20)) / 2
    assert [each.likeness for each in found.frames] == pytest.approx([first, second, None, fourth], abs=1e-6)
    assert [each.frame1 for each in found.frames] == pytest.approx([None, cos(10), None, cos(40)], abs=1e-6)
    truth = (cos(50) + cos(30)) / 2
    copied = [(cos(40) - second) / truth, (cos(10) - fourth) / truth]
    assert [each.copy_paste for each in found.frames] == pytest.approx([None, copied[0], None, copied[1]], abs=1e-6)
    expected = {
        "consistency": cos(30),
        "consistency_with_missing": cos(30) / 3,
        "likeness": (first + second + fourth) / 3,
        "likeness_with_missing": (first + second + fourth) / 4,
        "frame1": (cos(10) + cos(40)) / 2,
        "frame1_with_missing": (cos(10) + cos(40)) / 3,
        "copy_paste": sum(copied) / 2,
        "detection_rate": 0.75,
        "several_faces": 0,
    }
    floor = (cos(90) + cos(110) + cos(70) + cos(90)) / 4
    expected["headline"] = (expected["likeness"] - floor) / (cos(20) - floor)
    assert found.values() == pytest.approx(expected, abs=1e-6)


def test_frame_1_is_no_part_of_the_consistency() -> None:
    character = Character([at(0)])
    assert character.measure(frames(90, 10, 10)).consistency == pytest.approx(1.0)
    assert character.measure(frames(10, 20)).consistency is None
    assert character.measure(frames(10, 20)).consistency_with_missing is None
    assert character.measure(frames(10, 20, None)).consistency is None
    assert character.measure(frames(10, 20, None)).consistency_with_missing == 0.0


def test_the_largest_of_several_faces_counts() -> None:
    found = Character([at(0)]).measure([FrameFaces.of(1, [at(60), at(0)]), FrameFaces.of(2, [at(0)])])
    assert [each.likeness for each in found.frames] == pytest.approx([0.5, 1.0])
    assert [each.faces for each in found.frames] == [2, 1]
    assert found.several_faces == 1


def test_where_no_face_is_found_nothing_is_known_but_that() -> None:
    found = Character([at(0), at(5)], [at(90)]).measure(frames(None, None, None), conditioning=at(0))
    assert found.values() == {
        "consistency": None,
        "consistency_with_missing": 0.0,
        "likeness": None,
        "likeness_with_missing": 0.0,
        "frame1": None,
        "frame1_with_missing": 0.0,
        "copy_paste": None,
        "detection_rate": 0.0,
        "several_faces": 0,
        "headline": None,
    }


def test_without_true_images_a_story_is_still_held_against_itself() -> None:
    character = Character([])
    found = character.measure(frames(0, 10, 40), conditioning=at(0))
    assert (found.likeness, found.likeness_with_missing, found.copy_paste, found.headline) == (None,) * 4
    assert found.consistency == pytest.approx(cos(30))
    assert character.scale == Scale(None, None, None, 0, 0)


def test_frames_that_do_not_begin_with_1_have_nothing_to_be_like() -> None:
    found = Character([at(0)]).measure(frames(0, 10, 40)[1:])
    assert (found.frame1, found.frame1_with_missing) == (None, None)
    assert found.consistency == pytest.approx(cos(30))


def test_the_scale_is_that_of_all_pairs() -> None:
    scale = scale_of([at(0), at(20), at(40)], [at(30), at(90)])
    assert scale.ceiling == pytest.approx((2 * cos(20) + cos(40)) / 3)
    assert scale.floor == pytest.approx((cos(30) + 2 * cos(10) + cos(90) + cos(70) + cos(50)) / 6)
    # 20 degrees, twice, is nearer than 30, 50, 70 and 90, and 40 than the last three of them: 11 of 3 x 6.
    assert scale.separation == pytest.approx(11 / 18)
    assert (scale.references, scale.impostors) == (3, 2)


def test_separation_is_the_area_under_the_curve_of_ranks() -> None:
    from scipy.stats import mannwhitneyu

    random = np.random.default_rng(4)
    true, others = random.normal(0.5, 1, (6, 8)), random.normal(0, 1, (9, 8))
    scale = scale_of(true, others)
    pairs = (unit(true) @ unit(true).T)[np.triu_indices(6, 1)]
    strange = (unit(true) @ unit(others).T).ravel()
    other = mannwhitneyu(pairs, strange).statistic / (len(pairs) * len(strange))
    assert scale.separation == pytest.approx(other)


def test_half_a_scale_gives_no_headline() -> None:
    assert headline(0.5, scale_of([at(0), at(10)])) is None
    assert headline(0.5, scale_of([at(0)], [at(90)])) is None
    assert headline(None, Scale(0.8, 0.1, 1.0, 3, 3)) is None
    assert headline(0.5, Scale(0.54, 0.5, 0.6, 3, 3)) is None
    assert headline(0.5, Scale(0.3, 0.6, 0.1, 3, 3)) is None
    assert headline(0.45, Scale(0.8, 0.1, 1.0, 3, 3)) == pytest.approx(0.5)


def test_copying_is_a_ratio_to_how_like_the_truth_the_given_image_is() -> None:
    assert copy_paste(0.9, 0.5, 0.5) == pytest.approx(0.8)
    assert copy_paste(0.5, 0.5, 0.5) == 0.0
    assert copy_paste(0.9, 0.5, 0.05) is None
    assert copy_paste(0.9, 0.5, -0.5) is None
    assert copy_paste(None, 0.5, 0.5) is None
    assert copy_paste(0.9, None, 0.5) is None
    assert copy_paste(0.9, 0.5, None) is None


def test_seventy_is_eighty_five_when_rescaled() -> None:
    assert rescaled(0.70) == pytest.approx(0.85)
    assert (rescaled(-1.0), rescaled(1.0)) == (0.0, 1.0)


@given(st.lists(st.none() | st.floats(0, 360), min_size=1, max_size=6), st.randoms(), st.floats(0.1, 50))
def test_neither_order_nor_length_of_the_embeddings_means_anything(
    angles: list[float | None], random: Any, scale: float
) -> None:
    character = Character([at(0), at(30)], [at(200)])
    found = character.measure(frames(*angles), conditioning=at(10))
    longer = [
        FrameFaces(each.frame, each.faces, None if each.embedding is None else np.float64(each.embedding) * scale)
        for each in frames(*angles)
    ]
    random.shuffle(longer)
    assert character.measure(longer, conditioning=at(10) * 3).values() == pytest.approx(found.values(), abs=1e-5)
    assert len(found.frames) == len(angles)
    known = found.detection_rate * len(angles)
    if found.likeness is not None and found.likeness_with_missing is not None:
        assert found.likeness_with_missing * len(angles) == pytest.approx(found.likeness * known)


def test_numbers_are_plain_json() -> None:
    found = Character([at(0), at(9)], [at(99)]).measure(frames(0, 10, None), conditioning=at(3))
    assert json.loads(json.dumps(asdict(found)))["frames"][2]["likeness"] is None


def test_what_makes_no_sense_is_refused() -> None:
    character = Character([at(0)])
    with pytest.raises(ValueError, match="a storyboard has at least one frame, and each once"):
        character.measure([])
    with pytest.raises(ValueError, match="a storyboard has at least one frame, and each once"):
        character.measure([*frames(0), *frames(1)])
    with pytest.raises(ValueError, match="an embedding has length 0"):
        character.measure([FrameFaces(1, 1, np.zeros(2))])
    with pytest.raises(ValueError, match="or holds what is no number"):
        Character([[math.nan, 1.0]])
