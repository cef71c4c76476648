"""Artifacts: made once, complete when their manifest is there, kept when cut off."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner import files
from runner.artifacts import Artifact, Artifacts, link
from runner.errors import Interrupted
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from runner.stop import Stop


@pytest.fixture
def artifacts(tmp_path: Path) -> Iterator[Artifacts]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Artifacts(tmp_path, ledger, FileHashes(ledger), Stop())


def make(artifacts: Artifacts, *depends_on: object) -> Artifact:
    with artifacts.making("lora", 1, depends_on) as artifact:
        if not artifact.is_complete:
            files.write_text(artifact.path / "weights" / "a.txt", "learned")
            artifact.finish({"steps": 3})
        return artifact


def test_what_is_complete_says_what_it_was_told(artifacts: Artifacts) -> None:
    made = make(artifacts, "face", 8)
    assert made.is_complete
    assert made.about() == {"steps": 3}
    assert make(artifacts, "face", 8) == made
    assert make(artifacts, "face", 9).path != made.path


def test_a_file_that_is_gone_or_shorter_makes_it_incomplete(artifacts: Artifacts) -> None:
    made = make(artifacts, 1)
    (made.path / "weights" / "a.txt").write_text("l")
    assert not made.is_complete
    assert make(artifacts, 1).is_complete
    (made.path / "weights" / "a.txt").unlink()
    assert not made.is_complete


def test_one_that_is_made_anew_takes_the_others_place_when_it_is_whole(artifacts: Artifacts) -> None:
    first = make(artifacts, 1)
    for number in (2, 3):
        known = make(artifacts, 1)
        again = known.anew()
        files.write_text(again.path / "a.txt", "learned anew")
        assert not again.is_complete
        assert make(artifacts, 1) == known
        again.finish({"steps": number})
        assert make(artifacts, 1) == again
        assert make(artifacts, 1).about() == {"steps": number}
    assert first.about() == {"steps": 3}
    (again.path / "a.txt").unlink()
    assert make(artifacts, 1) == known


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"key": "other", "files": [], "about": 1}', '{"files": [3]}'])
def test_a_broken_manifest_is_none(artifacts: Artifacts, broken: str) -> None:
    made = make(artifacts, 1)
    (made.path / "manifest.json").write_text(broken)
    assert made.about() is None


def test_what_was_cut_off_is_kept(artifacts: Artifacts) -> None:
    with pytest.raises(RuntimeError), artifacts.making("lora", 1, (1,)) as artifact:
        files.write_text(artifact.path / "checkpoint", "half")
        raise RuntimeError
    with artifacts.making("lora", 1, (1,)) as again:
        assert not again.is_complete
        assert (again.path / "checkpoint").read_text() == "half"


def test_two_do_not_make_the_same_at_once(tmp_path: Path) -> None:
    stop = Stop()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        artifacts = Artifacts(tmp_path, ledger, FileHashes(ledger), stop)
        with artifacts.making("lora", 1, (1,)), ThreadPoolExecutor(1) as other:
            stop.request(Interrupted("stop"))
            with pytest.raises(Interrupted):
                other.submit(make, artifacts, 1).result(timeout=60)


def test_one_is_not_made_inside_another_but_what_all_fill_is_there(artifacts: Artifacts) -> None:
    with artifacts.making("lora", 1, (1,)) as made:
        with pytest.raises(RuntimeError, match="while an inner one is held"), artifacts.making("encoded", 1, (2,)):
            pass
        folder = artifacts.shared("encoded", 1, (2,))
        files.write_text(folder / "a.txt", "encoded")
    assert folder.parent.parent == made.path.parent.parent
    assert artifacts.shared("encoded", 1, (2,)) == folder != artifacts.shared("encoded", 1, (3,))


def test_a_link_shows_the_newest(artifacts: Artifacts, tmp_path: Path) -> None:
    place = tmp_path / "run" / "train" / "lora"
    for number in (1, 2):
        made = make(artifacts, number)
        link(made, place)
        assert place.resolve() == made.path.resolve()
        assert (place / "weights" / "a.txt").read_text() == "learned"
