"""Power loss, by a model: what was promised holds in every state that a crash may leave, and repair and undo go on from each."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from PIL import Image

from runner import files
from runner.errors import ItemError
from runner.step import StepContext
from steps.backends.local import LocalSettings, LocalStorage
from steps.backends.protocols import Answer, MadeImage
from steps.execute import Execute, ExecuteParams
from steps.library.journal import DONE, UNDONE, ActionRecord
from steps.library.pictures import encode_jpeg
from steps.library.plans import Making, PlannedAction, PlannedFile
from steps.library.transaction import HalfDone
from tests.chaos import faults
from tests.chaos.conftest import Record
from tests.chaos.model import Operation, Recorder, State, lay_out

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
NAMES = ("a", "b", "folder/a", "folder/deeper/b")
ACTOR = "0001_somebody"
IMAGE = encode_jpeg(Image.new("RGB", (8, 12), "teal"))


class Files(RuleBasedStateMachine):
    """Random sequences of what `runner.files` offers. Each is whole and durable when it returns, and otherwise undone or done."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="callsheet-model-"))
        self.recorder = Recorder(self.root)
        self.promised: dict[str, bytes] = {}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(name=st.sampled_from(NAMES), size=st.integers(0, 9))
    def write(self, name: str, size: int) -> None:
        self.count += 1
        data = f"{self.count:04d}".encode() * size
        self._step(self.promised | {name: data}, lambda: files.write_bytes(self.root / name, data))

    @rule(name=st.sampled_from(NAMES))
    def write_piecemeal(self, name: str) -> None:
        def work() -> None:
            with files.writing(self.root / name) as file:
                for number in range(5):
                    file.write(f"{self.count} {number}\n")

        self.count += 1
        text = "".join(f"{self.count} {number}\n" for number in range(5))
        self._step(self.promised | {name: text.encode()}, work)

    @rule(source=st.sampled_from(NAMES), to=st.sampled_from(NAMES))
    def move(self, source: str, to: str) -> None:
        target = to
        if source in self.promised and target not in self.promised:
            after = {name: data for name, data in self.promised.items() if name != source}
            after[target] = self.promised[source]
            self._step(after, lambda: files.move(self.root / source, self.root / target))

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        after = {other: data for other, data in self.promised.items() if other != name}
        self._step(after, lambda: files.remove(self.root / name))

    def _step(self, after: dict[str, bytes], work: Any) -> None:
        began = len(self.recorder.operations)
        with self.recorder:
            work()
        self.recorder.say("returned")
        ended = len(self.recorder.operations)
        for state in self.recorder.states(began):
            allowed = [after] if state.after == ended else [self.promised, after]
            assert state.files in allowed, f"after operation {state.after - began}: {state.files}, not {allowed}"
        self.promised = after


def check_files(*, examples: int) -> None:
    run_state_machine_as_test(
        Files,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=QUIET,
        ),
    )


class Journal:
    """Stands for the ledger's table of actions, whose commits are durable: each is an entry of the record."""

    def __init__(self, recorder: Recorder, said: list[Any]) -> None:
        self.recorder = recorder
        self.entries: dict[str, tuple[str, ActionRecord]] = {}
        for state, record in said:
            self.entries[record.id] = (state, record)

    def read(self, action: str) -> tuple[str, ActionRecord] | None:
        return self.entries.get(action)

    def begin(self, record: ActionRecord) -> None:
        self.note(record, "intent")

    def note(self, record: ActionRecord, state: str) -> None:
        self.entries[record.id] = (state, record)
        self.recorder.say((state, record))


class Repair:
    """One action of `execute` on a small library, that may crash, lose power and go on as often as wished."""

    def __init__(self, folder: Path, going: dict[str, bytes]) -> None:
        self.folder = folder
        self.original = {f"actors/{ACTOR}/{name}": data for name, data in going.items()}
        self.original["actorsData.json"] = b'[{"id": 1, "name": "0001_somebody"}]'
        paths = [path for path in self.original if path.startswith("actors/")]
        self.root = folder / "data"
        lay_out(self.original, self.root)
        base = f"actors/{ACTOR}/base_image/{ACTOR}_base.jpg"
        self.action = PlannedAction(
            1,
            ACTOR,
            "recreate_blurry",
            "blurred",
            (base, files.sha256_of(self.root / base)) if base in paths else None,
            tuple(PlannedFile(path, files.sha256_of(self.root / path), len(self.original[path])) for path in paths),
            (),
            Making("somebody", 8, 12, 1, 0),
        )

    def run(self, state: State | None = None, *, undo: bool = False) -> Recorder:
        """Carry out, or undo, from a state of the disk."""
        said = [] if state is None else state.said
        if state is not None:
            shutil.rmtree(self.root)
            lay_out(state.files, self.root)
        recorder = Recorder(self.root)
        recorder.operations[:0] = [Operation("said", said=entry) for entry in said]
        recorder.began += len(said)
        step = self._step(Journal(recorder, said))
        with recorder:
            if undo:
                _state, record = said[-1]
                assert step._carrier.replacement.undo_fault(_state, record) is None
                step._carrier.replacement.undo(record)
            else:
                step.process(self.action)
        return recorder

    def check_nothing_lost(self, state: State) -> None:
        there = set(state.files.values())
        gone = [name for name, data in self.original.items() if data not in there]
        assert not gone, f"lost: {gone} at {state}"

    def final(self) -> dict[str, bytes]:
        """The library now, without times."""
        return {
            path.relative_to(self.root).as_posix(): re.sub(rb'"(made|moved)_at": "[^"]*"', b"", path.read_bytes())
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def _step(self, journal: Journal) -> Execute:
        context = SimpleNamespace(
            data=self.root,
            run="run",
            execute=True,
            ledger=None,
            hashes=SimpleNamespace(of=lambda path: files.sha256_of(path) if path.is_file() else None),
            operations=SimpleNamespace(record=lambda *_what, **_more: None),
        )
        judged = {"clarity_reason": "", "match_reason": "", "confidence": "high"}
        vision = SimpleNamespace(ask=lambda _question: Answer({"is_clear": True, "is_match": True, **judged}, "judge"))
        image = SimpleNamespace(make=lambda _request: MadeImage(IMAGE, "painter"))
        storage = LocalStorage(LocalSettings(), cast("Any", None))
        params = ExecuteParams(plan="plan.json")
        step = Execute(
            params, cast("StepContext", context), cast("Any", vision), cast("Any", image), cast("Any", storage)
        )
        step._plan_id = "0" * 32
        step._carrier.journal = step._carrier.replacement._journal = step._maker._journal = cast("Any", journal)
        return step


TRAINING = {f"training_data/{ACTOR}_{number}.jpg": f"picture {number}".encode() for number in (1, 2)}
GOING = {f"base_image/{ACTOR}_base.jpg": b"old", "training_data/manifest.json": b"{}", **TRAINING}


@pytest.fixture
def repair(tmp_path: Path) -> Repair:
    return Repair(tmp_path, GOING)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A planted fault, taken out again."""
    for name in ("_replacing", "sync_folder"):
        monkeypatch.setattr(files, name, getattr(files, name))
    faults.plant(request.param)
    return str(request.param)


def check_repair(repair: Repair) -> int:
    """Crash once in every state; what was is still there, and going on ends as an unbroken run does."""
    states = list(repair.run().states())
    assert any(entry[0] == DONE for entry in states[-1].said)
    expected = repair.final()
    for state in states:
        repair.check_nothing_lost(state)
        repair.run(state)
        assert repair.final() == expected, f"went on from {state}"
    return len(states)


def check_undo(repair: Repair) -> int:
    """Undo from wherever an action was cut off, crash in that undo once in every state, and undo again."""
    count = 0
    for begun in list(_undoable(repair.run().states())):
        for state in list(repair.run(begun, undo=True).states()):
            repair.check_nothing_lost(state)
            if state.said[-1][0] != UNDONE:
                repair.run(state, undo=True)
            else:
                shutil.rmtree(repair.root)
                lay_out(state.files, repair.root)
            there = repair.final()
            assert {name: there.get(name) for name in repair.original} == repair.original, f"undone from {state}"
            assert not [name for name in there if name.startswith("actors/") and name not in repair.original]
            count += 1
    return count


def _undoable(states: Iterator[State]) -> Iterator[State]:
    """Of each length of the journal the first and the last state, once there is an intent."""
    by_length: dict[int, list[State]] = {}
    for state in states:
        by_length.setdefault(len(state.said), []).append(state)
    for length, found in by_length.items():
        if length:
            yield from {id(state): state for state in (found[0], found[len(found) // 2], found[-1])}.values()


def test_files_are_whole_and_durable() -> None:
    check_files(examples=40)


@pytest.mark.chaos
def test_files_are_whole_and_durable_at_length(record_property: Record) -> None:
    check_files(examples=400)
    record_property("chaos", "model|sequences of writes, moves and removals|400|0")


@pytest.mark.parametrize("planted", ["in_place", "no_file_sync", "no_folder_sync"], indirect=True)
def test_planted_faults_of_files_are_found(planted: str) -> None:
    with pytest.raises(AssertionError, match="after operation"):
        check_files(examples=200)


def test_repair_goes_on_from_every_state(repair: Repair, record_property: Record) -> None:
    record_property("chaos", f"model|states of a repair|{check_repair(repair)}|0")


def test_undo_goes_on_from_every_state(repair: Repair, record_property: Record) -> None:
    record_property("chaos", f"model|states of an undo|{check_undo(repair)}|0")


@pytest.mark.chaos
@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(
    names=st.sets(st.sampled_from(sorted(GOING)), min_size=1),
    crashes=st.lists(st.integers(0, 10_000), min_size=1, max_size=5),
)
def test_repair_goes_on_from_crashes_within_crashes(names: set[str], crashes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repair = Repair(Path(folder), {name: GOING[name] for name in sorted(names)})
        recorder = repair.run()
        expected = repair.final()
        for crash in crashes:
            states = list(recorder.states())
            state = states[crash % len(states)]
            repair.check_nothing_lost(state)
            recorder = repair.run(state)
        assert repair.final() == expected


@pytest.mark.parametrize("planted", ["no_file_sync", "no_folder_sync"], indirect=True)
def test_planted_faults_of_a_repair_are_found(planted: str, repair: Repair) -> None:
    with pytest.raises((AssertionError, FileNotFoundError, HalfDone)):
        check_repair(repair)


def test_a_folder_without_leave_to_write_is_told_before_anything_moves(
    repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so that real permissions would prove nothing here.
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name != "training_data")
    with pytest.raises(ItemError, match=r"training_data can't be written, so .* can't be moved"):
        repair.run()
    assert repair.final() == repair.original
