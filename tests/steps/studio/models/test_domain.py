from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from runner.errors import UserError
from steps.studio.models import captions, domain, labels, renders
from steps.studio.models.poses import JOINTS, joints_of, library_pose, pose_picture
from steps.studio.world import Shot

PEOPLE = 300


def test_strangers_combine_what_training_never_does() -> None:
    trained = [domain.person("train", number) for number in range(PEOPLE)]
    assert not any(domain.is_stranger(who) for who in trained)
    assert not any(domain.is_stranger(domain.person("test", number)) for number in range(PEOPLE))
    strangers = [domain.person("stranger", number) for number in range(40)]
    assert all(domain.is_stranger(who) for who in strangers)
    # Each of their attributes is one that training has.
    for name in labels.IDENTITY:
        assert {getattr(who, name) for who in strangers} <= {getattr(who, name) for who in trained}


def test_a_person_is_the_same_in_all_their_pictures_and_nobody_else() -> None:
    first, second, third = (domain.picture("train", index) for index in (0, domain.RENDERS - 1, domain.RENDERS))
    assert first.who == second.who != third.who
    assert first.shot != second.shot
    again = np.asarray(domain.picture("train", 0).draw())
    assert again.shape == (64, 64, 3)
    assert np.array_equal(again, np.asarray(first.draw()))


def test_the_splits_share_no_person() -> None:
    test = {domain.person("test", number) for number in range(PEOPLE)}
    assert not test & {domain.person("train", number) for number in range(PEOPLE)}


def test_labels_say_what_the_picture_shows_and_nothing_that_it_hides() -> None:
    for index in range(200):
        shown = domain.picture("train", index)
        texts, numbers = labels.texts_of(shown), labels.numbers_of(shown)
        assert ("hat_colour" in texts) == (shown.who.hat != "none")
        assert ("gesture" in texts) == (shown.shot.kind != "portrait")
        told = {
            name: values[number]
            for (name, values), number in zip(labels.VALUES.items(), numbers, strict=True)
            if number != labels.HIDDEN
        }
        assert told == texts


def test_a_full_caption_names_what_is_seen() -> None:
    for index in range(200):
        shown = domain.picture("test", index)
        text = captions.full_caption(shown)
        assert f"{shown.who.outfit_colour} robe" in text
        assert (shown.who.hat in text) == (shown.who.hat != "none")
        assert {"portrait": "portrait", "half": "half-length", "full": "full-body"}[shown.shot.kind] in text
        assert "a orange" not in text


def test_captions_leave_parts_out_and_a_third_name_nobody() -> None:
    rng = random.Random(0)
    texts = [captions.any_caption(domain.picture("train", 8), rng) for _ in range(2000)]
    worn = domain.picture("train", 8).who.outfit_colour
    nameless = [text for text in texts if worn not in text and "skin" not in text]
    assert 0.25 < len(nameless) / len(texts) < 0.45
    assert len(set(texts)) > 1000
    assert not any(re.search(r" ,|,,|\s{2}|^,", text) for text in texts)


def test_a_staged_caption_tells_nothing_of_who_it_is() -> None:
    shown = domain.picture("stranger", 3)
    for rng in (None, random.Random(1)):
        text = captions.staged_caption(shown, "ohwx", rng)
        assert "ohwx" in text
        assert "robe" not in text
        assert "skin" not in text


def test_a_pose_picture_has_each_limb_where_the_figure_has_it() -> None:
    shown = next(one for one in (domain.picture("train", index) for index in range(200)) if one.shot.kind == "full")
    joints = joints_of(shown.who, shown.shot)
    assert set(joints) == {*JOINTS, "head"}
    picture = np.asarray(pose_picture(joints)).astype(int)
    for one, other in (("left_shoulder", "left_elbow"), ("right_hip", "right_knee"), ("neck", "left_hip")):
        x, y = (round((joints[one][axis] + joints[other][axis]) / 2 - 0.5) for axis in (0, 1))
        assert picture[y, x].sum() > 100
    assert picture[0].sum() == 0


def test_poses_of_the_library_differ_by_gesture() -> None:
    poses = {gesture: np.asarray(library_pose(Shot("full", gesture))) for gesture in domain.GESTURES}
    assert len({pose.tobytes() for pose in poses.values()}) == len(poses)


def test_pictures_are_drawn_once_and_by_any_number_of_processes_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renders, "CHUNK", 8)
    assert list(renders.draw_chunks(tmp_path / "one", "train", 20)) == [8, 16, 20]
    first = tmp_path / "one" / "train" / "0000.npy"
    first.unlink()
    kept = (tmp_path / "one" / "train" / "0001.npy").stat().st_mtime_ns
    list(renders.draw_chunks(tmp_path / "one", "train", 20))
    assert first.is_file()
    assert (tmp_path / "one" / "train" / "0001.npy").stat().st_mtime_ns == kept
    rows = renders.Renders(tmp_path / "one", "train")
    assert len(rows) == 20
    assert np.array_equal(rows[[3, 17]][1], np.asarray(domain.picture("train", 17).draw()))
    monkeypatch.undo()
    assert list(renders.draw_chunks(tmp_path / "two", "train", 20, processes=2)) == [20]
    assert np.array_equal(renders.Renders(tmp_path / "two", "train")[[3]], rows[[3]])
    with pytest.raises(UserError, match="run the recipe's earlier stages first"):
        renders.Renders(tmp_path / "nothing", "train")
