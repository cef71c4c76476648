"""A library's training images planned, carried out and taken back, over scripted backends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from runner.errors import BadAnswer, Interrupted, ItemError, Refused, Transient, UserError
from runner.ledger import Ledger
from steps.backends.protocols import Answer, ImageRequest, MadeImage, Question
from steps.library.journal import DONE, FAILED
from tests.library import RecordingMirror, jpeg, put, tree
from tests.steps.keeper import COMIC, INK, NAME, PHOTO, Keeper, picture
from tests.steps.test_half_done import kill_at

TOO_MANY = [(PHOTO, 5), (PHOTO, 3), (PHOTO, 8), (PHOTO, 7), (INK, 6), (INK, 6)]
AT_TARGET = [(PHOTO, 5), (PHOTO, 8), (PHOTO, 7), (INK, 6), (COMIC, 6)]


@pytest.fixture
def keeper(ledger: Ledger, tmp_path: Path) -> Keeper:
    return Keeper(ledger, tmp_path, TOO_MANY)


def library_of(keeper: Keeper) -> dict[str, str]:
    return {path: digest for path, digest in tree(keeper.library).items() if not path.startswith(".callsheet/")}


def plan_of(path: Path) -> dict[str, Any]:
    [action] = json.loads(path.read_text())["actions"]
    return cast("dict[str, Any]", action)


def test_a_plan_says_what_goes_and_why_and_what_comes(keeper: Keeper) -> None:
    action = plan_of(keeper.plan())

    assert {row["file"]: row["why"] for row in action["delete"]} == {
        f"{NAME}_2.jpg": "4 of class photorealistic where 3 are wanted: quality 3, the lowest",
        f"{NAME}_5.jpg": "2 of class bw_stylized where 1 are wanted: quality 6, and older than those of it that stay",
    }
    [new] = action["generate"]
    assert (new["file"], new["type"]) == (f"{NAME}_7.jpg", COMIC)
    assert new["make"]["prompt"]
    assert "{" not in new["make"]["prompt"]
    assert keeper.gate is None


def test_the_evaluations_file_has_the_documents_fields(keeper: Keeper) -> None:
    found = json.loads((keeper.plan().parent / "0001_evaluation.json").read_text())
    assert {key: found[key] for key in list(found)[:9]} == {
        "actor_id": "0001",
        "actor_name": NAME,
        "total_images": 6,
        "photorealistic_count": 4,
        "bw_stylized_count": 2,
        "color_stylized_count": 0,
        "photorealistic_percentage": 66.7,
        "bw_stylized_percentage": 33.3,
        "color_stylized_percentage": 0.0,
    }
    assert found["is_balanced"] is False
    assert {(row["image_number"], row["type"]) for row in found["images_to_delete"]} == {(2, PHOTO), (5, INK)}
    assert found["images_to_generate"] == [{"type": COMIC, "count": 1}]
    assert "gpt_analysis" in found


def test_carried_out_the_actor_is_at_its_target_on_disk_and_in_the_manifest(keeper: Keeper) -> None:
    done = keeper.execute(keeper.plan())
    assert done[NAME]["success"]
    assert keeper.counts() == {PHOTO: 3, INK: 1, COMIC: 1}
    manifest = keeper.manifest()
    assert set(manifest) == {path.name for path in keeper.training.glob("*.jpg")}
    new = manifest[f"{NAME}_7.jpg"]
    assert (new.kind, new.model, new.usd, new.source) == (COMIC, "hue images", 0.03, "made")
    assert new.prompt == keeper.images.requests[0].prompt
    assert new.sha256 == tree(keeper.training)[f"{NAME}_7.jpg"]
    assert keeper.history() == [{PHOTO: 3, INK: 1, COMIC: 1}]


def test_a_preview_changes_nothing_and_its_gate_says_so(keeper: Keeper) -> None:
    before = tree(keeper.library)
    done = keeper.execute(keeper.plan(), act=False, gate=True)
    assert not done[NAME]["done"]
    assert keeper.gate == "1 actor out of balance"
    assert tree(keeper.library) == before


def test_gates_are_silent_about_who_is_at_the_target(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, AT_TARGET)
    plan = keeper.plan(gate=True)
    assert (json.loads(plan.read_text())["actions"], keeper.gate) == ([], None)
    assert keeper.execute(plan, gate=True) == {}
    assert keeper.gate is None


def test_a_gate_speaks_of_who_is_not(keeper: Keeper) -> None:
    keeper.plan(gate=True)
    assert keeper.gate == "1 of 1 actor out of balance"


def test_new_images_get_the_base_image_and_their_class(keeper: Keeper) -> None:
    keeper.execute(keeper.plan())
    [request] = keeper.images.requests
    base = keeper.library / "actors" / NAME / "base_image" / f"{NAME}_base.jpg"
    assert request.reference is not None
    assert request.reference.sha256 == tree(base.parent)[base.name]
    assert (request.facts["class"], request.facts["description"]) == (COMIC, f"{NAME}, a person")


def test_an_image_of_another_class_or_too_poor_or_refused_is_made_again(keeper: Keeper) -> None:
    keeper.images.script = [(PHOTO, 9), "refuse", (COMIC, 2), (COMIC, 7)]
    done = keeper.execute(keeper.plan(), attempts=4)
    assert done[NAME]["placed"][0]["attempts"] == 4
    assert keeper.counts() == {PHOTO: 3, INK: 1, COMIC: 1}
    assert len({request.seed for request in keeper.images.requests}) == 4


def test_a_copy_of_what_stays_is_made_again(keeper: Keeper) -> None:
    keeper.images.copies = [keeper.training / f"{NAME}_3.jpg"]
    done = keeper.execute(keeper.plan())
    assert done[NAME]["placed"][0]["attempts"] == 2


def test_if_no_image_passes_nothing_is_touched(keeper: Keeper) -> None:
    before = library_of(keeper)
    keeper.images.script = [(PHOTO, 9), (PHOTO, 9)]
    done = keeper.execute(keeper.plan(), attempts=2)
    assert "looks photorealistic, not color_stylized" in done[NAME]["error"]
    assert library_of(keeper) == before
    assert keeper.states() == {NAME: FAILED}


def test_what_passed_is_placed_though_others_did_not_and_poor_ones_of_that_class_stay(
    ledger: Ledger, tmp_path: Path
) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 5), (PHOTO, 8), (INK, 6), (COMIC, 1), (COMIC, 2)])
    keeper.images.script = [(PHOTO, 9), (PHOTO, 9), (INK, 9)]
    done = keeper.execute(keeper.plan(min_quality=3), attempts=2)
    assert done[NAME]["error"].startswith("1 of 2 new images placed; missing: 1 of class color_stylized")
    assert keeper.counts() == {PHOTO: 3, INK: 1, COMIC: 1}
    assert (keeper.training / f"{NAME}_5.jpg").exists(), "the better of the two poor ones"
    assert keeper.states() == {NAME: DONE}
    assert keeper.history()[-1] == {PHOTO: 3, INK: 1, COMIC: 1}


def test_undone_all_is_as_it_was(keeper: Keeper) -> None:
    keeper.write_manifest(prompt="as it was")
    before = library_of(keeper)
    keeper.execute(keeper.plan())
    assert library_of(keeper) != before
    assert keeper.undo() == []
    assert library_of(keeper) == before
    kept = (keeper.library / ".callsheet/trash").rglob("made/*")
    assert [path.name for path in kept] == [f"{NAME}_7.jpg"]


def test_prompts_are_not_those_that_the_manifest_has(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 8)] * 0)
    first = plan_of(keeper.plan())
    prompts = [row["make"]["prompt"] for row in first["generate"]]
    assert len(set(prompts)) == 5
    keeper.execute(keeper.plan(), force=True)
    again = plan_of(keeper.plan("again", total=10, targets={PHOTO: 6, INK: 2, COMIC: 2}))
    assert not {row["make"]["prompt"] for row in again["generate"]} & set(prompts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("image", "has changed since"),
        ("more", "neither under stays nor under delete"),
        ("place", "has appeared since"),
        ("manifest", "has changed since"),
        ("base", "has changed since"),
    ],
)
def test_what_changed_since_the_plan_is_left_alone(keeper: Keeper, change: str, said: str) -> None:
    keeper.write_manifest()
    plan = keeper.plan()
    path = {
        "image": keeper.training / f"{NAME}_2.jpg",
        "more": keeper.training / f"{NAME}_60.jpg",
        "place": keeper.training / f"{NAME}_7.jpg",
        "manifest": keeper.training / "manifest.json",
        "base": keeper.library / "actors" / NAME / "base_image" / f"{NAME}_base.jpg",
    }[change]
    path.write_bytes(path.read_bytes() + b" " if change == "manifest" else jpeg("black"))
    before = library_of(keeper)
    assert said in keeper.execute(plan)[NAME]["error"]
    assert library_of(keeper) == before


def test_without_a_base_image_nothing_can_be_made(keeper: Keeper) -> None:
    (keeper.library / "actors" / NAME / "base_image" / f"{NAME}_base.jpg").unlink()
    plan = keeper.plan(gate=True)
    assert json.loads(plan.read_text())["actions"] == []
    evaluation = json.loads((plan.parent / "0001_evaluation.json").read_text())
    assert "there is no base image" in evaluation["error"]
    assert keeper.gate == "1 of 1 actor out of balance"


def test_a_base_image_among_the_training_images_stays(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, TOO_MANY)
    (keeper.library / "actors" / NAME / "base_image" / f"{NAME}_base.jpg").unlink()
    (keeper.training / f"{NAME}_0.jpg").write_bytes(picture(PHOTO, 1, 99))
    action = plan_of(keeper.plan())
    assert f"{NAME}_0.jpg" in action["stays"]
    assert action["base_image"]["path"].endswith("_0.jpg")
    keeper.execute(keeper.plan("again"))
    assert keeper.counts() == {PHOTO: 3, INK: 1, COMIC: 1}


def test_more_than_half_of_the_library_goes_by_force_alone(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 5)] * 0 + [(INK, quality) for quality in range(1, 10)])
    plan = keeper.plan()
    with pytest.raises(UserError, match="more than half"):
        keeper.execute(plan)
    assert keeper.execute(plan, force=True)[NAME]["success"]


def test_a_plan_is_carried_out_once(keeper: Keeper) -> None:
    plan = keeper.plan()
    keeper.execute(plan)
    with pytest.raises(UserError, match="was carried out before"):
        keeper.execute(plan, run="another")


def test_numbers_go_on_from_the_highest_anywhere(keeper: Keeper) -> None:
    mirror = RecordingMirror(keeper.library, {f"actors/{NAME}/training_data/{NAME}_41.jpg": b"orphan"})
    keeper.mirror = mirror
    keeper.write_manifest()
    document = json.loads((keeper.training / "manifest.json").read_text())
    document["images"].append({"file": f"{NAME}_30.png"})
    (keeper.training / "manifest.json").write_text(json.dumps(document))
    assert [row["file"] for row in plan_of(keeper.plan())["generate"]] == [f"{NAME}_42.jpg"]


def test_the_mirror_is_kept_alike_and_urls_of_the_manifest_count(keeper: Keeper) -> None:
    folder = f"actors/{NAME}/training_data"
    objects = {f"{folder}/{path.name}": path.read_bytes() for path in keeper.training.glob("*.jpg")}
    objects[f"{folder}/old/{NAME}_2.jpg"] = objects.pop(f"{folder}/{NAME}_2.jpg")
    objects["actors/0000_ada/training_data/0000_ada_5.jpg"] = b"hers"
    mirror = RecordingMirror(keeper.library, objects)
    keeper.mirror = mirror
    keeper.write_manifest()
    document = json.loads((keeper.training / "manifest.json").read_text())
    by_file = {row["file"]: row for row in document["images"]}
    by_file[f"{NAME}_2.jpg"]["url"] = f"https://mirror.example/{folder}/old/{NAME}_2.jpg"
    by_file[f"{NAME}_5.jpg"]["url"] = "https://mirror.example/actors/0000_ada/training_data/0000_ada_5.jpg"
    (keeper.training / "manifest.json").write_text(json.dumps(document))
    before = dict(mirror.objects)
    keeper.execute(keeper.plan())
    gone, come = set(before) - set(mirror.objects), set(mirror.objects) - set(before)
    assert gone == {f"{folder}/old/{NAME}_2.jpg"}
    assert come == {f"{folder}/{NAME}_7.jpg"}
    assert keeper.manifest()[f"{NAME}_7.jpg"].url == f"https://mirror.example/{folder}/{NAME}_7.jpg"
    assert keeper.undo() == []
    assert mirror.objects == before


@pytest.mark.parametrize(
    "name", ["execute.intent", "execute.staged", "execute.made", "execute.moving", "execute.trashed", "execute.placed"]
)
def test_cut_off_it_goes_on_and_pays_for_no_image_twice(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plan = keeper.plan(total=8, targets={PHOTO: 3, INK: 2, COMIC: 3})
    with monkeypatch.context() as patch:
        kill_at(patch, name)
        assert keeper.execute(plan) == {}
    done = keeper.execute(plan)
    assert done[NAME]["success"]
    assert keeper.counts() == {PHOTO: 3, INK: 2, COMIC: 3}
    assert len(keeper.images.requests) == 3
    assert set(keeper.manifest()) == {path.name for path in keeper.training.glob("*.jpg")}


def mirrored(keeper: Keeper, **urls: str) -> RecordingMirror:
    """The folder's images in a mirror, and a manifest whose entries have some URLs, by number ("_2")."""
    folder = f"actors/{NAME}/training_data"
    mirror = RecordingMirror(
        keeper.library, {f"{folder}/{path.name}": path.read_bytes() for path in keeper.training.glob("*.jpg")}
    )
    keeper.mirror = mirror
    keeper.write_manifest()
    document = json.loads((keeper.training / "manifest.json").read_text())
    for row in document["images"]:
        for number, url in urls.items():
            if row["file"] == f"{NAME}{number}.jpg":
                row["url"] = f"https://mirror.example/{folder}/{NAME}{url}.jpg"
    (keeper.training / "manifest.json").write_text(json.dumps(document))
    return mirror


def test_an_object_that_an_image_which_stays_has_too_is_not_deleted(keeper: Keeper) -> None:
    mirror = mirrored(keeper, _2="_3")
    before = dict(mirror.objects)
    plan = keeper.plan()
    assert {row["file"]: row["keys"] for row in plan_of(plan)["delete"]}[f"{NAME}_2.jpg"] == []
    keeper.execute(plan)
    assert (
        mirror.objects[f"actors/{NAME}/training_data/{NAME}_3.jpg"]
        == before[f"actors/{NAME}/training_data/{NAME}_3.jpg"]
    )


def test_an_object_that_another_actors_manifest_names_is_not_deleted(keeper: Keeper) -> None:
    mirrored(keeper)
    url = f"https://mirror.example/actors/{NAME}/training_data/{NAME}_2.jpg"
    about = {
        "version": 1,
        "actor_id": "0000",
        "actor_name": "0000_ada",
        "images": [{"file": "0000_ada_1.jpg", "url": url}],
    }
    put(keeper.library / "actors/0000_ada/training_data/manifest.json", json.dumps(about).encode())
    assert {row["file"]: len(row["keys"]) for row in plan_of(keeper.plan())["delete"]} == {
        f"{NAME}_2.jpg": 0,
        f"{NAME}_5.jpg": 1,
    }


def test_two_images_that_go_and_are_one_object_name_it_once(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 5), (PHOTO, 3), (PHOTO, 2), *AT_TARGET[1:]])
    mirror = mirrored(keeper, _3="_2")
    plan = keeper.plan()
    assert sum(len(row["keys"]) for row in plan_of(plan)["delete"]) == 1
    assert keeper.execute(plan)[NAME]["success"]
    assert f"actors/{NAME}/training_data/{NAME}_2.jpg" not in mirror.objects


@pytest.mark.parametrize(
    ("error", "left"), [(BadAnswer("nonsense"), 4), (Refused("flagged"), 4), (Transient("away"), 2)]
)
def test_what_is_paid_for_is_not_lost_by_one_look_that_fails(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ItemError, left: int
) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 5)])
    plan = keeper.plan()
    looks = iter([None, error, error, error, None, None, None, None])
    ask = keeper.vision.ask

    def failing(question: Question) -> Answer:
        if (fault := next(looks)) is not None:
            raise fault
        return ask(question)

    monkeypatch.setattr(keeper.vision, "ask", failing)
    done = keeper.execute(plan, attempts=2)
    assert sum(keeper.counts().values()) == left
    assert set(keeper.manifest()) == {path.name for path in keeper.training.glob("*.jpg")}
    assert "new images placed; missing: " in done[NAME]["error"]


def test_what_could_not_be_looked_at_is_not_made_again_after_a_cut_off(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(ledger, tmp_path, [(PHOTO, 5)])
    plan = keeper.plan()
    look, make = keeper.vision.ask, keeper.images.make

    def away(question: Question) -> Answer:
        raise Transient("away")

    def cut_off(request: ImageRequest) -> MadeImage:
        if len(keeper.images.requests) == 2:
            raise Interrupted("stop")
        return make(request)

    monkeypatch.setattr(keeper.vision, "ask", away)
    monkeypatch.setattr(keeper.images, "make", cut_off)
    assert keeper.execute(plan) == {}
    monkeypatch.setattr(keeper.vision, "ask", look)
    monkeypatch.setattr(keeper.images, "make", make)
    assert keeper.execute(plan)[NAME]["success"]
    keys = [request.key for request in keeper.images.requests]
    assert len(keys) == len(set(keys)) == len(keeper.manifest()) - 1


def test_a_new_image_is_as_good_as_the_plan_asks(keeper: Keeper) -> None:
    keeper.images.script = [(COMIC, 6), (COMIC, 8)]
    keeper.execute(keeper.plan(min_quality=7, total=2, targets={PHOTO: 1, COMIC: 1}), accept_quality=5, force=True)
    assert len(keeper.images.requests) == 2
    assert (
        json.loads(keeper.plan("again", min_quality=7, total=2, targets={PHOTO: 1, COMIC: 1}).read_text())["actions"]
        == []
    )


def test_another_actors_base_image_stays(keeper: Keeper) -> None:
    put(
        keeper.library / "actor_manifests/0000_manifest.json",
        json.dumps({"base_images": [{"relative_path": f"actors/{NAME}/training_data/{NAME}_2.jpg"}]}).encode(),
    )
    action = plan_of(keeper.plan())
    assert f"{NAME}_2.jpg" in action["stays"]
    assert f"{NAME}_1.jpg" in {row["file"] for row in action["delete"]}


def test_of_exact_copies_the_one_that_is_a_base_image_stays(ledger: Ledger, tmp_path: Path) -> None:
    keeper = Keeper(ledger, tmp_path, AT_TARGET)
    copy = keeper.training / f"{NAME}_9.jpg"
    copy.write_bytes((keeper.training / f"{NAME}_2.jpg").read_bytes())
    put(
        keeper.library / "actor_manifests/0001_manifest.json",
        json.dumps({"base_images": [{"relative_path": copy.relative_to(keeper.library).as_posix()}]}).encode(),
    )
    action = plan_of(keeper.plan())
    assert [row["file"] for row in action["delete"]] == [f"{NAME}_2.jpg"]
    assert (action["generate"], copy.name in action["stays"]) == ([], True)


def test_a_link_where_the_next_image_would_come_is_stepped_over(keeper: Keeper) -> None:
    (keeper.training / f"{NAME}_7.jpg").symlink_to("elsewhere.jpg")
    assert [row["file"] for row in plan_of(keeper.plan())["generate"]] == [f"{NAME}_8.jpg"]


def test_a_plan_that_was_cut_down_is_told_for_what_it_reaches(keeper: Keeper) -> None:
    plan = keeper.plan()
    document = json.loads(plan.read_text())
    document["actions"][0]["generate"] = []
    plan.write_text(json.dumps(document))
    done = keeper.execute(plan, gate=True)
    assert done[NAME]["left"] == {PHOTO: 3, INK: 1}
    assert keeper.gate == "1 actor out of balance"
    report = json.loads((keeper.folder / "executing/execute/report.json").read_text())
    assert report["entries"][0]["badge"]["kind"] == "short"
    assert report["headline"].startswith("0 of 1 actor balanced")


def test_line_ends_of_a_manifest_stay_a_persons_own_until_it_is_written(keeper: Keeper) -> None:
    keeper.write_manifest()
    path = keeper.training / "manifest.json"
    path.write_bytes(json.dumps(json.loads(path.read_text()), indent=2).replace("\n", "\r\n").encode())
    before = path.read_bytes()
    assert keeper.execute(keeper.plan())[NAME]["success"]
    assert keeper.undo() == []
    assert path.read_bytes() == before


def test_a_manifest_that_can_not_be_written_again_is_told_before_an_image_is_made(keeper: Keeper) -> None:
    keeper.write_manifest()
    path = keeper.training / "manifest.json"
    path.write_text(path.read_text().replace('"usd": null', '"weird": 1e999, "usd": null', 1))
    plan = keeper.plan()
    keeper.execute(plan)
    assert keeper.images.requests == []
