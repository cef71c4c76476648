from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steps.library.pictures import BrokenPicture, load
from steps.studio.people import SEXES
from steps.studio.sample_cast import FLAWS
from steps.studio.sample_library import SampleActor, actors_document, cast, draw_actor, truth_document

ACTIONS = {"skip", "create_base_image", "recreate_blurry", "recreate_mismatch"}


def by_flaw(flaw: str) -> SampleActor:
    return next(actor for actor in cast() if actor.flaw == flaw)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for flaw in FLAWS:
        draw_actor(by_flaw(flaw), root)
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def base(root: Path, flaw: str) -> Image.Image:
    name = by_flaw(flaw).name
    return load(root / "actors" / name / "base_image" / f"{name}_base.jpg").image


def edge(image: Image.Image) -> float:
    """How steep the steepest edges are: grey levels from one pixel to the next."""
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    return float(np.percentile(np.abs(np.diff(grey, axis=1)), 99.9))


def test_the_cast_is_diverse_and_well_named() -> None:
    actors = cast()
    assert 14 <= len(actors) <= 16
    assert [actor.id for actor in actors] == list(range(len(actors)))
    for actor in actors:
        found = re.fullmatch(r"(\d{4})_([a-z]+)_(\d+)_(male|female)", actor.name)
        assert found is not None
        assert (int(found[1]), int(found[3]), found[4]) == (actor.id, actor.character.age, actor.character.sex)
    assert {actor.character.sex for actor in actors} == set(SEXES)
    assert {"teen", "young", "middle-aged", "elderly"} == {actor.character.age_group for actor in actors}


def test_the_truth_covers_every_action_and_every_actor() -> None:
    truth = truth_document(cast())["actors"]
    assert set(truth) == {actor["name"] for actor in actors_document(cast())}
    assert {entry["expected"] for entry in truth.values()} == ACTIONS
    assert all(entry["why"] for entry in truth.values())
    assert {actor.flaw for actor in cast()} == set(FLAWS)


def test_actors_data_has_the_documents_shape() -> None:
    for entry in actors_document(cast()):
        assert set(entry) == {"id", "name", "description", "outfit"}
        assert isinstance(entry["id"], int)


def test_the_same_actor_gives_the_same_files(library: Path, tmp_path: Path) -> None:
    actor = by_flaw("grainy")
    draw_actor(actor, tmp_path)
    drawn = digests(tmp_path)
    assert drawn == {path: digest for path, digest in digests(library).items() if path in drawn}
    assert len(drawn) > 6


def test_another_seed_gives_other_pictures(library: Path, tmp_path: Path) -> None:
    actor = next(actor for actor in cast(1) if actor.flaw == "comic")
    draw_actor(actor, tmp_path)
    path = f"actors/{actor.name}/base_image/{actor.name}_base.jpg"
    assert digests(tmp_path)[path] != digests(library)[path]


def test_sharp_images_are_sharp_and_blurred_ones_blurred(library: Path) -> None:
    sharp = [edge(base(library, flaw)) for flaw in ("none", "comic", "grainy", "dark", "somebody else")]
    blurred = [edge(base(library, flaw)) for flaw in ("out of focus", "enlarged")]
    assert max(blurred) * 2 < min(sharp)
    assert edge(base(library, "moved")) * 2 < edge(base(library, "none"))


def test_a_cut_off_file_is_broken(library: Path) -> None:
    with pytest.raises(BrokenPicture, match="cut off"):
        base(library, "cut off")


def test_each_missing_base_image_is_missing_in_its_own_way(library: Path) -> None:
    for flaw, place in (("poster only", "poster_frame/{}_poster.jpg"), ("training only", "training_data/{}_0.jpg")):
        actor = by_flaw(flaw)
        home = library / "actors" / actor.name
        assert not (home / "base_image").exists()
        assert edge(load(home / place.format(actor.name)).image) > 20
        manifest = json.loads((library / "actor_manifests" / f"{actor.id:04d}_manifest.json").read_text())
        assert manifest["base_images"] == []
    assert not list((library / "actors").glob(f"{by_flaw('absent').name}/**/*.*"))


def test_manifests_point_at_the_base_image(library: Path) -> None:
    for flaw in ("none", "moved", "comic"):
        actor = by_flaw(flaw)
        manifest = json.loads((library / "actor_manifests" / f"{actor.id:04d}_manifest.json").read_text())
        (image,) = manifest["base_images"]
        assert (library / next(iter(image.values()))).is_file()
        assert manifest["descriptor"].split()[-1] in ("man", "woman")


def test_training_images_come_in_three_styles_with_legacy_prompts(library: Path) -> None:
    actor = by_flaw("none")
    folder = library / "actors" / actor.name / "training_data"
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    assert 6 <= len(names) <= 10
    assert {load(folder / name).image.size for name in names} == {(512, 288)}
    listed = json.loads((folder / "prompt_metadata.json").read_text())["images"]
    assert sorted(entry["filename"] for entry in listed) == names
    starts = {entry["prompt"].split(" of ")[0] for entry in listed}
    assert starts == {"photo", "black and white ink drawing", "colour comic"}


def test_one_legacy_file_is_broken(library: Path) -> None:
    actor = by_flaw("cut off")
    with pytest.raises(json.JSONDecodeError):
        json.loads((library / "actors" / actor.name / "training_data" / "prompt_metadata.json").read_text())
