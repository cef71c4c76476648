"""The folder that is handed out: it opens anywhere and tells nothing; the key lies elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner import files
from runner.errors import UserError
from steps.library.storyboards import read_storyboards
from steps.study.building import Built, build
from steps.study.cells import select
from steps.study.design import StudyOptions
from steps.study.studies import Study, read_study
from tests.steps.study.boards import ARMS, COATS, STORIES, build_study, draw_references, draw_run

OPAQUE = re.compile(r"images/[0-9a-f]{16}\.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    root = tmp_path_factory.mktemp("made")
    run = draw_run(root / "run")
    return root, build_study(root / "outputs", run, references=draw_references(root / "references"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_one_page_and_its_images(made: tuple[Path, Built]) -> None:
    names = set(content(made[1].handed_out))
    # Frames, three of the character, one check that gives points and one of two sides.
    assert len(names) == 1 + len(ARMS) * len(STORIES) * 2 * 3 + 3 + 1 + 2
    assert all(OPAQUE.fullmatch(name) for name in names - {"index.html"})
    page = (made[1].handed_out / "index.html").read_text("utf-8")
    assert set(OPAQUE.findall(page)) == names - {"index.html"}
    assert "src=" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("word", [*ARMS, *STORIES, "aldar", "seed", "lora", "adapter", "frame_", "truth", "parameters"])
def test_nothing_that_is_handed_out_tells_who_drew_what(made: tuple[Path, Built], word: str) -> None:
    # "No preference" is a choice, and no arm.
    told = re.compile(rb"(?<![a-z])" + word.encode(), re.IGNORECASE)
    for name, data in content(made[1].handed_out).items():
        assert not told.search(name.encode())
        assert not told.search(data)


def test_images_hold_pixels_and_nothing_else(made: tuple[Path, Built]) -> None:
    run = made[0] / "run"
    assert b"parameters" in (run / "lost_foal-simple-1" / "frame_1.png").read_bytes()
    for path in (made[1].handed_out / "images").iterdir():
        with Image.open(path) as image:
            image.load()
            assert image.info == {}
            assert dict(image.getexif()) == {}
        data = path.read_bytes()
        chunks: list[bytes] = []
        at = 8
        while chunks[-1:] != [b"IEND"]:
            length = int.from_bytes(data[at : at + 4], "big")
            chunks.append(data[at + 4 : at + 8])
            at += length + 12
        assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
        assert not any(data[at:])


def test_sizes_dates_and_rights_are_alike(made: tuple[Path, Built]) -> None:
    about = [path.stat() for path in (made[1].handed_out / "images").iterdir()]
    assert len({each.st_size for each in about}) == 1
    assert len({each.st_mtime_ns for each in about}) == 1
    assert len({each.st_mode for each in about}) == 1


def test_names_of_one_arm_are_no_nearer_to_each_other_than_to_others(made: tuple[Path, Built]) -> None:
    """In runs by arm 33 of 35 neighbours would be of one arm, by chance 11 with a standard deviation of 3."""
    study = made[1].study
    arms = {
        frame["file"]: about["arm"]
        for board, about in study.key["answers"]["boards"].items()
        for frame in study.page["boards"][board]["frames"]
    }
    assert len(arms) == 36
    assert sum(arms[first] == arms[second] for first, second in pairwise(sorted(arms))) < 26


def test_the_pixels_are_those_that_were_drawn(made: tuple[Path, Built]) -> None:
    study = made[1].study
    for board, about in study.key["answers"]["boards"].items():
        frames = study.page["boards"][board]["frames"]
        for number, frame in enumerate(frames, 1):
            with (
                Image.open(made[1].handed_out / frame["file"]) as shown,
                Image.open(Path(about["folder"]) / f"frame_{number}.png") as drawn,
            ):
                assert shown.tobytes() == drawn.convert("RGB").tobytes()


def test_the_key_lies_outside_and_says_what_each_id_stands_for(made: tuple[Path, Built]) -> None:
    study = read_study(made[0] / "outputs" / "studies" / "study")
    assert not study.folder.is_relative_to(made[1].handed_out)
    assert "key.json" not in content(made[1].handed_out)
    told = study.key["answers"]["boards"].values()
    assert {(about["story"], about["seed"], about["arm"]) for about in told} == {
        (story, seed, arm) for story in STORIES for seed in (1, 2) for arm in ARMS
    }


def test_the_secret_makes_the_names_and_not_the_seed(made: tuple[Path, Built], tmp_path: Path) -> None:
    again = build_study(tmp_path, made[0] / "run", references=made[0] / "references")
    assert not set(content(again.handed_out)) & (set(content(made[1].handed_out)) - {"index.html"})
    assert again.study.id != made[1].study.id
    secret = again.study.key["secret"]
    assert len(secret) == 64
    assert secret.encode() not in b"".join(content(again.handed_out).values())


def test_building_again_changes_nothing(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    first = build_study(tmp_path, run)
    before, key = content(first.handed_out), (first.study.folder / "key.json").read_bytes()
    (first.handed_out / "index.html").unlink()
    build_study(tmp_path, run)
    assert content(first.handed_out) == before
    assert (first.study.folder / "key.json").read_bytes() == key


@pytest.mark.parametrize("change", [{"seed": 1}, {"per_rater": 3}, {"title": "Other"}])
def test_another_study_does_not_take_the_place_of_one(tmp_path: Path, change: dict[str, Any]) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    before = content(build_study(tmp_path, run).study.folder)
    with pytest.raises(UserError, match=r"holds another study .* give this one a --name of its own"):
        build_study(tmp_path, run, **change)
    assert content(tmp_path / "studies" / "study") == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    target = tmp_path / "hand_out"
    files.write_text(target / "thesis.txt", "mine")
    with pytest.raises(
        UserError, match=r"is not empty, and thesis.txt is not of this study: give a new folder with -o"
    ):
        build(tmp_path / "studies" / "a", select(read_storyboards([run])), {}, StudyOptions(), target)
    assert content(target) == {"thesis.txt": b"mine"}
    assert not (tmp_path / "studies" / "a" / "key.json").exists()


def test_the_key_never_lands_in_what_is_handed_out(tmp_path: Path) -> None:
    selection = select(read_storyboards([draw_run(tmp_path / "run", frames=1)]))
    with pytest.raises(UserError, match="would hold the key as well"):
        build(tmp_path / "out" / "studies" / "a", selection, {}, StudyOptions(), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per_rater": 0}, "--per-rater 0 is not allowed: give 1 or more"),
        ({"repeats": 1.5}, "--repeats 1.5 is not allowed: give a share of the pairs, 0 to 1"),
        ({"checks": -1}, "--checks -1 is not allowed: give 0 to 20"),
        ({"long_side": 8}, "--long-side 8 is not allowed: give 32 or more pixels"),
        ({"title": "Is Simple better?"}, "--title or --contact names the arm 'simple'"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    with pytest.raises(UserError) as caught:
        build_study(tmp_path, run, **options)
    assert said in str(caught.value)
    assert not (tmp_path / "studies").exists()


def test_arms_of_several_sizes_are_brought_to_one(tmp_path: Path) -> None:
    draw_run(tmp_path / "one", arms=["baseline"], frames=1, size=(96, 96))
    draw_run(tmp_path / "two", arms=["simple"], frames=1, size=(128, 64))
    selection = select(read_storyboards([tmp_path / "one", tmp_path / "two"]))
    built = build(tmp_path / "studies" / "a", selection, {}, StudyOptions(checks=0, long_side=48))
    sizes = set()
    for path in (built.handed_out / "images").iterdir():
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == {(48, 32)}


def test_large_frames_become_jpegs_without_metadata(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", arms=["simple"], stories=["a"], seeds=[1], frames=1, size=(640, 640))
    built = build_study(tmp_path, run, checks=0)
    assert "there is one arm, simple" in " ".join(built.notes)
    [path] = (built.handed_out / "images").iterdir()
    assert path.suffix == ".jpg"
    with Image.open(path) as image:
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        colour = image.getpixel((320, 500))
    assert isinstance(colour, tuple)
    wanted = tuple(int(COATS["simple"][at : at + 2], 16) for at in (1, 3, 5))
    assert max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= 3


def test_texts_are_those_of_one_arm_for_all(tmp_path: Path) -> None:
    """What an arm was asked may hold a trigger word that the others lack."""
    for arm, word in (("baseline", "a person"), ("simple", "ohwx man")):
        folder = draw_run(tmp_path / arm, arms=[arm], frames=1)
        document = files.read_json(folder / "results.json")
        for row in document["results"]:
            row["text"] = f"{word} waits"
        files.write_json(folder / "results.json", document)
    selection = select(read_storyboards([tmp_path / "baseline", tmp_path / "simple"]))
    built = build(tmp_path / "studies" / "a", selection, {}, StudyOptions())
    page = (built.handed_out / "index.html").read_text("utf-8")
    assert "ohwx" not in page
    assert page.count("a person waits") == 8


def test_a_text_can_not_end_the_script_that_holds_it(tmp_path: Path) -> None:
    folder = draw_run(tmp_path / "run", frames=1)
    document = files.read_json(folder / "results.json")
    for row in document["results"]:
        row["text"] = "</script ><script>alert(1)</script><!--"
    files.write_json(folder / "results.json", document)
    page = (build_study(tmp_path, folder, title="<b>&").handed_out / "index.html").read_text("utf-8")
    assert page.count("</script") == 2
    assert "<!--" not in page
    assert "alert(1)" in page
    assert "<b>&<" not in page


def test_a_broken_or_missing_frame_is_told_before_anything_is_handed_out(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    frame = run / "lost_foal-simple-1" / "frame_1.png"
    frame.write_bytes(frame.read_bytes()[:60])
    with pytest.raises(UserError, match=r"frame_1.png: .*draw it again, or take it out"):
        build_study(tmp_path, run)
    frame.unlink()
    with pytest.raises(UserError, match=r"frame_1.png: no such file: its run has lost it"):
        build_study(tmp_path, run)
    assert not (tmp_path / "studies" / "study" / "study").exists()


def shown(study: Study) -> dict[int, int]:
    """How many images each of how many has."""
    return Counter(len(images) for images in study.page["characters"].values())


def test_references_lie_side_by_side_or_by_character(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", frames=1)
    draw_references(tmp_path / "by_name" / "aldar", 9)
    assert shown(build_study(tmp_path, run, references=tmp_path / "by_name").study) == {6: 1}
    assert shown(build_study(tmp_path / "b", run, references=tmp_path / "by_name" / "aldar").study) == {6: 1}
    nowhere = tmp_path / "nowhere"
    with pytest.raises(UserError) as caught:
        build_study(tmp_path / "c", run, references=nowhere)
    assert str(caught.value) == (
        f"--references: no images of 'aldar' (looked in {nowhere}/aldar, {nowhere}): give --references 'aldar=FOLDER', "
        f"or leave it out, and nobody is asked whether it is the character"
    )


def test_two_characters_need_folders_of_their_own(tmp_path: Path) -> None:
    draw_run(tmp_path / "one", frames=1)
    draw_run(tmp_path / "two", frames=1, character="botagoz")
    selection = select(read_storyboards([tmp_path / "one", tmp_path / "two"]))
    general = draw_references(tmp_path / "references")
    other = draw_references(tmp_path / "botagoz", 2)
    with pytest.raises(UserError, match=r"no images of 'aldar' \(looked in .*references/aldar\)"):
        build(tmp_path / "a", selection, {"": general}, StudyOptions())
    with pytest.raises(UserError, match=r"no images of 'botagoz' \(looked in nowhere\)"):
        build(tmp_path / "a", selection, {"aldar": general}, StudyOptions())
    with pytest.raises(UserError, match=r"--references carol=...: nobody of that name is shown: 'aldar', 'botagoz'"):
        build(tmp_path / "a", selection, {"carol": general}, StudyOptions())
    built = build(tmp_path / "a", selection, {"aldar": general, "botagoz": other}, StudyOptions())
    assert shown(built.study) == {3: 1, 2: 1}


def test_a_build_that_breaks_off_leaves_its_key_and_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = draw_run(tmp_path / "run", frames=1)

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            build_study(tmp_path, run)
    folder = tmp_path / "studies" / "study"
    assert {path.name for path in folder.iterdir()} == {"key.json", "build.lock"}
    known = read_study(folder).id
    assert build_study(tmp_path, run).study.id == known
    assert (folder / "study" / "index.html").is_file()


def test_a_long_study_is_said_to_be_long(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", seeds=range(30), frames=1, size=(16, 16))
    assert any("--per-rater 60" in note for note in build_study(tmp_path, run).notes)
