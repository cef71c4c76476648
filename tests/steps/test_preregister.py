"""What is fixed before the first frame."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.ledger import Ledger
from runner.params import faults
from runner.step import Outcome
from steps.library.preregistrations import FILE, METRICS, Contrast, Preregistration, read_preregistrations, together
from steps.preregister import Preregister, PreregisterParams
from tests.library import context, put

MODES = ["baseline", "simple", "adapter", "reference"]


@dataclass
class Model:
    """Of a model its name is all that is asked."""

    identity: str

    def prepare(self) -> None:
        """All is there."""


def step(tmp_path: Path, ledger: Ledger, **changes: Any) -> Preregister:
    given = {
        "arms": MODES,
        "stories": ["kite", "wolf"],
        "seeds": [0, 1],
        "characters": ["fox"],
        "retries": 2,
        **changes,
    }
    models: dict[str, Any] = {name: Model(name) for name in ("diffusion", "clip", "face", "recogniser")}
    return Preregister(PreregisterParams(**given), context(ledger, tmp_path, tmp_path), **models)


def read(path: Path) -> Preregistration:
    return together(read_preregistrations(path), path)


def carried_out(tmp_path: Path, ledger: Ledger, **changes: Any) -> dict[str, Any]:
    made = step(tmp_path, ledger, **changes)
    made.finish([Outcome(item.key, made.process(item.value), None) for item in made.items()])
    written: dict[str, Any] = json.loads((tmp_path / "run-1" / "step" / FILE).read_text())
    return written


def test_it_writes_what_is_asked_and_when(tmp_path: Path, ledger: Ledger) -> None:
    written = carried_out(tmp_path, ledger)
    study = read(tmp_path / "run-1" / "step")
    assert study.primary == Contrast("reference", "simple", "consistency")
    assert study.primary in study.comparisons
    assert len(study.comparisons) == 5
    assert (study.boards, study.retries, study.stories) == (16, 2, ("kite", "wolf"))
    assert written["written_at"] == study.written_at


def test_the_same_study_keeps_the_time_of_its_first_writing_and_another_has_its_own(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = carried_out(tmp_path, ledger)
    later = _Later()
    monkeypatch.setattr("steps.preregister.datetime", later)
    assert carried_out(tmp_path, ledger) == first
    assert carried_out(tmp_path, ledger, retries=3)["written_at"] == later.text
    # Somebody else under the same name is another study.
    assert carried_out(tmp_path, ledger, characters={"fox": "stranger 4"})["written_at"] == later.text


def test_an_arm_that_is_compared_must_be_drawn(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(
        UserError, match="arm 'adapter' is compared, and not drawn: arms are baseline, simple, reference"
    ):
        step(tmp_path, ledger, arms=["baseline", "simple", "reference"]).items()


def test_a_job_of_a_sweep_draws_one_arm_and_keeps_the_questions(tmp_path: Path, ledger: Ledger) -> None:
    study = carried_out(tmp_path, ledger, arms="simple", seeds=1, stories="kite")
    assert (study["arms"], study["seeds"], study["stories"], len(study["comparisons"])) == (
        ["simple"],
        [1],
        ["kite"],
        5,
    )


def test_settings_are_chosen_on_somebody_else(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(UserError, match="chosen on 'stranger 3', who is measured"):
        step(tmp_path, ledger, chosen_on="stranger 3", characters={"fox": "stranger 3"}).items()
    with pytest.raises(UserError, match="its settings were chosen on 'fox', who is measured"):
        step(tmp_path, ledger, chosen_on="fox").items()


@pytest.mark.parametrize("primary", [["simple", "simple", "clip"], ["a", "b", "beauty"], ["a", "b"], ["a", 1, "clip"]])
def test_what_is_no_question_is_refused(primary: Any) -> None:
    params = PreregisterParams(arms=MODES, stories=[], seeds=[], primary=primary)
    assert any(METRICS[0] in fault for fault in faults("preregister", params))


@pytest.mark.parametrize(
    "change", [{"primary": {"a": "x", "b": "y", "metric": "beauty"}}, {"seeds": ["0"]}, {"arms": "simple"}]
)
def test_a_file_that_was_broken_is_told_by_its_place(tmp_path: Path, ledger: Ledger, change: dict[str, Any]) -> None:
    written = carried_out(tmp_path, ledger)
    (tmp_path / "broken.json").write_text(json.dumps(written | change))
    with pytest.raises(UserError, match=f"broken.json, /{next(iter(change))}"):
        read(tmp_path / "broken.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"primary": {"a": "x", "b": "y", "metric": "clip"}}, "is none of its comparisons"),
        ({"comparisons": [{"a": "reference", "b": "simple", "metric": "consistency"}] * 3}, "asks one question twice"),
        ({"chosen_on": "fox"}, "who is measured"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, ledger: Ledger, change: dict[str, Any], said: str
) -> None:
    written = carried_out(tmp_path, ledger)
    (tmp_path / "odd.json").write_text(json.dumps(written | change))
    with pytest.raises(UserError, match=said):
        read(tmp_path / "odd.json")


def test_the_jobs_of_a_sweep_are_one_study(tmp_path: Path, ledger: Ledger) -> None:
    for number, (arm, seed) in enumerate([("baseline", 0), ("simple", 0), ("simple", 1)]):
        written = carried_out(tmp_path, ledger, arms=arm, seeds=seed)
        put(tmp_path / f"sweep/jobs/{number}/preregister" / FILE, json.dumps(written).encode())
    study = read(tmp_path / "sweep")
    assert (study.arms, study.seeds, study.stories) == (("baseline", "simple"), (0, 1), ("kite", "wolf"))
    other = carried_out(tmp_path, ledger, arms="simple", retries=5)
    put(tmp_path / "sweep/jobs/9/preregister" / FILE, json.dumps(other).encode())
    with pytest.raises(UserError, match="its jobs do not have the same retries"):
        read(tmp_path / "sweep")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no preregistration"):
        read(tmp_path / "empty")


class _Later:
    text = "2099-01-01T00:00:00+00:00"

    def now(self, _zone: object) -> _Later:
        return self

    def isoformat(self, *, timespec: str) -> str:
        assert timespec == "seconds"
        return self.text
