"""Telling: what is drawn in which order, what is drawn again, what is kept, and what is done when something is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Interrupted, ItemError
from steps.backends.protocols import Face
from steps.library.shots import Shot
from steps.studio.frames.attempts import Attempts
from steps.studio.frames.gate import Gate
from steps.studio.frames.memory import Memory
from steps.studio.frames.pipelines import Pipelines
from steps.studio.frames.references import Reference, reference_in
from steps.studio.frames.setups import ADAPTER, BASELINE, REFERENCE, SIMPLE, Sampling, Scales, seed_of
from steps.studio.frames.telling import Board, Panel, Studio, Teller
from tests.frames import (
    FACE,
    LEAVING,
    SMALL,
    ScriptedClip,
    ScriptedFaces,
    ScriptedModel,
    coloured,
    told_by,
    write_scripted_lora,
)

pytest.importorskip("torch", reason="the models' packages are not installed")
POOR, GOOD = 0.1, 0.4


@dataclass
class Desk:
    """A scripted studio over one folder."""

    folder: Path
    mode: str = SIMPLE
    frames: int = 4
    scores: Mapping[tuple[int, int], float] = field(default_factory=dict)
    faces: Mapping[tuple[int, int], Sequence[Face]] = field(default_factory=dict)
    model: ScriptedModel = field(default_factory=ScriptedModel)
    retries: int = 2
    batch: int = 8
    watched: list[tuple[int, str]] = field(default_factory=list)

    def tell(self, given: Reference | None = None, *, stop_after: int | None = None) -> Reference | None:
        lora = write_scripted_lora(self.folder / "lora") / "pytorch_lora_weights.safetensors"
        shots = [Shot("portrait"), Shot(gesture="waving"), Shot(gesture="riding")]
        panels = [
            Panel(number, f"prompt {number}", f"text {number}", shots[min(number, 3) - 1])
            for number in range(1, self.frames + 1)
        ]
        size = self.model.side
        board = Board(self.mode, 0, panels, lora, Sampling(2, 3.0, size, size), Scales(), self.retries)
        pipelines = Pipelines(self.model)
        gate, finder = Gate(ScriptedClip(self.scores)), ScriptedFaces(self.faces)
        studio = Studio(self.model, pipelines, Memory(pipelines, self.batch), gate, finder)
        self.attempts = Attempts(self.folder / "board")

        def watch(done: int, extra: str) -> None:
            self.watched.append((done, extra))
            if stop_after is not None and len(self.watched) > stop_after:
                raise Interrupted("stopped")

        return Teller(studio, board, self.attempts, watch).tell(given)

    @property
    def batches(self) -> list[list[Any]]:
        """Frame and attempt of each image, batch by batch."""
        return [[told_by(coloured(seed)) for seed in seeds] for seeds in self.model.drawn]

    def kept(self) -> list[int]:
        return [self.attempts.best(frame).attempt for frame in range(1, self.frames + 1)]


def test_frames_that_need_no_reference_are_one_batch(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.tell() is None
    assert desk.batches == [[(1, 0), (2, 0), (3, 0), (4, 0)]]
    assert desk.model.loaded == [()]
    assert desk.model.calls[0]["prompt"] == ["prompt 1", "prompt 2", "prompt 3", "prompt 4"]


def test_the_reference_mode_draws_the_first_frame_alone_and_the_others_with_its_face(tmp_path: Path) -> None:
    desk = Desk(tmp_path, mode=REFERENCE)
    reference = desk.tell()
    assert desk.batches == [[(1, 0)], [(2, 0), (3, 0), (4, 0)]]
    first, rest = desk.model.calls
    assert "ip_adapter_image_embeds" not in first
    assert rest["parts"] == ("pose", "adapter", "character")
    red = seed_of(0, 1, 0) & 255
    assert rest["ip_adapter_image_embeds"][0].flatten().tolist() == [0.0] * 3 + [red] * 3
    assert [image.getpixel((0, 0)) for image in rest["image"]] == [(128,) * 3, (255,) * 3, (255,) * 3]
    assert reference is not None
    assert reference.source == "frame 1"


def test_what_fails_is_drawn_again_and_the_best_is_kept(tmp_path: Path) -> None:
    scores = {(2, 0): POOR, (3, 0): POOR, (3, 1): 0.15, (3, 2): 0.12}
    desk = Desk(tmp_path, scores=scores)
    desk.tell()
    assert desk.batches == [[(1, 0), (2, 0), (3, 0), (4, 0)], [(2, 1), (3, 1)], [(3, 2)]]
    assert desk.kept() == [0, 1, 1, 0]
    tries = desk.attempts.of(3)
    assert [each.passed for each in tries] == [False, False, False]
    assert [round(each.score, 4) for each in tries] == [0.25, 0.375, 0.3]
    assert {each.seed for each in tries} == {seed_of(0, 3, attempt) for attempt in range(3)}
    assert all((tmp_path / "board" / each.file).is_file() for each in tries)
    assert desk.attempts.seconds["retry"] > 0


def test_no_retry_means_one_attempt(tmp_path: Path) -> None:
    desk = Desk(tmp_path, scores={(2, 0): POOR}, retries=0)
    desk.tell()
    assert len(desk.batches) == 1


def test_the_first_frame_must_show_a_face_and_a_sure_one_beats_a_score(tmp_path: Path) -> None:
    faces = {(1, 0): (), (1, 1): (FACE,)}
    desk = Desk(tmp_path, mode=REFERENCE, scores={(1, 0): 0.5, (1, 1): 0.29}, faces=faces)
    reference = desk.tell()
    assert desk.batches[:2] == [[(1, 0)], [(1, 1)]]
    assert desk.kept()[0] == 1
    assert reference is not None
    assert reference.image.getpixel((0, 0)) == coloured(seed_of(0, 1, 1)).getpixel((0, 0))
    # The others may do without.
    assert Desk(tmp_path / "other", faces={(2, 0): ()}).tell() is None


def test_no_face_in_any_attempt_goes_on_without_a_reference(tmp_path: Path) -> None:
    desk = Desk(tmp_path, mode=REFERENCE, faces=dict.fromkeys([(1, 0), (1, 1), (1, 2)], ()), scores={(1, 1): 0.45})
    assert desk.tell() is None
    assert desk.kept()[0] == 1
    assert desk.attempts.fallback == SIMPLE
    assert desk.attempts.notes == [
        "no face was found in any attempt at frame 1: the frames that were left are drawn in mode 'simple'"
    ]
    assert [each.mode for frame in (1, 2) for each in desk.attempts.of(frame)] == [REFERENCE] * 3 + [SIMPLE]
    assert all("adapter" not in call["parts"] for call in desk.model.calls)


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ((FACE, SMALL), "frame 1 shows 2 faces: the largest is the reference"),
        ((LEAVING,), "the face in frame 1 leaves the image: its border is repeated beyond it"),
    ],
)
def test_what_is_odd_about_the_face_is_said(tmp_path: Path, faces: Sequence[Face], said: str) -> None:
    reference = Desk(tmp_path, mode=REFERENCE, faces={(1, 0): faces}).tell()
    assert reference is not None
    assert reference.remarks == [said]


def test_a_given_reference_goes_into_every_frame_of_the_adapter_mode(tmp_path: Path) -> None:
    given = reference_in(ScriptedFaces(), coloured(77), "a picture")
    desk = Desk(tmp_path, mode=ADAPTER)
    assert desk.tell(given) is given
    assert desk.batches == [[(1, 0), (2, 0), (3, 0), (4, 0)]]
    assert desk.model.calls[0]["ip_adapter_image_embeds"][0].flatten().tolist() == [0.0] * 4 + [77.0] * 4
    other = Desk(tmp_path / "other", mode=ADAPTER)
    assert other.tell() is not None
    assert other.model.loaded == [(), ("adapter",)]
    assert other.batches[0] == [(1, 0)]


def test_a_single_frame_takes_a_given_reference_with_all_parts(tmp_path: Path) -> None:
    given = reference_in(ScriptedFaces(), coloured(77), "a picture")
    desk = Desk(tmp_path, mode=REFERENCE, frames=1)
    assert desk.tell(given) is given
    assert [call["parts"] for call in desk.model.calls] == [("pose", "adapter", "character")]
    alone = Desk(tmp_path / "alone", mode=REFERENCE, frames=1)
    assert alone.tell() is None
    assert "give a reference" in alone.attempts.notes[0]


def test_batches_shrink_to_what_fits_and_stay_so(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        frames=7,
        model=ScriptedModel(room=lambda _adapter: 2),
        scores={(5, 0): POOR, (5, 1): POOR, (6, 0): POOR},
        retries=1,
    )
    desk.tell()
    assert [len(batch) for batch in desk.batches] == [2, 2, 2, 1, 2]
    assert [spot for batch in desk.batches for spot in batch][:7] == [(frame, 0) for frame in range(1, 8)]
    assert desk.attempts.notes == [
        "not enough memory for 7 frames at once: 4 at once from now on",
        "not enough memory for 4 frames at once: 2 at once from now on",
    ]
    assert desk.attempts.fallback is None


def test_frames_are_shared_out_evenly(tmp_path: Path) -> None:
    desk = Desk(tmp_path, frames=9, batch=8)
    desk.tell()
    assert [len(batch) for batch in desk.batches] == [5, 4]


def test_the_reference_mode_falls_back_to_simple_when_nothing_helps(tmp_path: Path) -> None:
    desk = Desk(tmp_path, mode=REFERENCE, model=ScriptedModel(room=lambda adapter: 0 if adapter else 9))
    desk.tell()
    notes = desk.attempts.notes
    assert notes[0] == "not enough memory: the pipelines of other modes were let go"
    assert notes[1:] == [
        "not enough memory for 3 frames at once: 2 at once from now on",
        "not enough memory for 2 frames at once: 1 at once from now on",
        "not enough memory for one frame at a time: the frames that were left are drawn in mode 'simple'",
    ]
    assert [desk.attempts.best(frame).mode for frame in (1, 2, 3, 4)] == [REFERENCE, SIMPLE, SIMPLE, SIMPLE]


def test_the_adapter_mode_falls_back_to_baseline_for_it_knows_no_lora(tmp_path: Path) -> None:
    given = reference_in(ScriptedFaces(), coloured(77), "a picture")
    desk = Desk(tmp_path, mode=ADAPTER, model=ScriptedModel(room=lambda adapter: 0 if adapter else 9))
    desk.tell(given)
    assert desk.attempts.fallback == BASELINE
    assert {each.mode for frame in range(1, 5) for each in desk.attempts.of(frame)} == {BASELINE}
    assert all("character" not in call["parts"] for call in desk.model.calls)


def test_on_a_gpu_models_are_offloaded_before_a_mode_is_given_up(tmp_path: Path) -> None:
    model = ScriptedModel(device="cuda")
    model.room = lambda adapter: (1 if model.offloaded else 0) if adapter else 9
    desk = Desk(tmp_path, mode=REFERENCE, model=model)
    desk.tell()
    assert model.offloaded
    assert any("models wait in main memory" in note for note in desk.attempts.notes)
    assert desk.attempts.fallback is None


def test_a_plain_image_that_does_not_fit_fails_the_item(tmp_path: Path) -> None:
    desk = Desk(tmp_path, mode=BASELINE, model=ScriptedModel(room=lambda _adapter: 0))
    with pytest.raises(
        ItemError, match="not enough memory for one frame at a time, in mode 'baseline': give a smaller"
    ):
        desk.tell()


def test_another_fault_of_the_pipeline_is_no_lack_of_memory(tmp_path: Path) -> None:
    model = ScriptedModel()
    model.fails = lambda *_: RuntimeError("shapes differ")  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes differ"):
        Desk(tmp_path, model=model).tell()


@pytest.mark.parametrize("after", range(1, 7))
def test_stopped_anywhere_it_goes_on_with_what_is_left(tmp_path: Path, after: int) -> None:
    scores = {(2, 0): POOR, (3, 0): POOR, (3, 1): POOR}
    whole = Desk(tmp_path / "whole", mode=REFERENCE, scores=scores, batch=2)
    whole.tell()
    cut = Desk(tmp_path / "cut", mode=REFERENCE, scores=scores, batch=2)
    with pytest.raises(Interrupted):
        cut.tell(stop_after=after)
    again = Desk(tmp_path / "cut", mode=REFERENCE, scores=scores, batch=2)
    again.tell()
    assert cut.batches + again.batches == whole.batches
    for frame in range(1, 5):
        assert again.attempts.of(frame) == whole.attempts.of(frame)


def test_a_drawn_image_that_is_gone_or_changed_is_drawn_again(tmp_path: Path) -> None:
    Desk(tmp_path).tell()
    (tmp_path / "board/attempts/frame_3_attempt_0.png").write_bytes(b"changed")
    again = Desk(tmp_path)
    again.tell()
    assert again.batches == [[(3, 0), (4, 0)]]


def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path, mode=REFERENCE, scores={(3, 0): POOR})
    desk.tell()
    assert [done for done, _ in desk.watched] == sorted(done for done, _ in desk.watched)
    assert desk.watched[-1][0] == 4
