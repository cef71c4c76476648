"""Pipelines with all their parts: a batch is what its frames are alone, and every part does something or is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import Interrupted, MisconfiguredRun, UserError
from steps.library.shots import Shot
from steps.studio.frames.effects import check_effects, effects
from steps.studio.frames.pipelines import Pipelines, drawn, first_step
from steps.studio.frames.setups import Order, Sampling, Scales, Setup, posed, setups_of
from steps.studio.models import layout, weights
from steps.studio.models.poses import library_pose
from tests.frames import ScriptedModel, write_lora

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SAMPLING = Sampling(steps=3, guidance=3.0, width=64, height=64)
SCALES = Scales(1.0, 0.8, 0.9)
TOLERANCE = 1
"""Of 255: batched and single sums differ in their last bits."""


class Model:
    """The embedded models in any folder."""

    identity, device = "test models", "cpu"
    side, steps, guidance = 64, 20, 3.0
    gpu_usd_per_hour: float | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, *, pose: bool = False, adapter: bool = False) -> Any:
        return weights.load_pipeline(self.folder, pose=pose, adapter=adapter)

    def pose(self, shot: Shot, side: int) -> Image.Image:
        return library_pose(shot).resize((side, side))

    def prepare(self) -> None:
        """All is there."""


@pytest.fixture(scope="session")
def pipelines(weights_folder: Path) -> Pipelines:
    return Pipelines(Model(weights_folder))


@pytest.fixture(scope="session")
def orders() -> list[Order]:
    shots = [Shot(gesture="waving"), Shot("half"), Shot(gesture="riding", facing="left")]
    return [
        Order(f"a picture of a person, number {number}", 100 + number, picture(number), library_pose(shot))
        for number, shot in enumerate(shots)
    ]


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)


def distance(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


@pytest.mark.parametrize("guidance", [3.0, 1.0])
@pytest.mark.parametrize("mode", ["baseline", "simple", "adapter", "reference"])
def test_a_batch_is_what_its_frames_are_alone(
    mode: str, guidance: float, pipelines: Pipelines, lora: Path, orders: list[Order]
) -> None:
    setup, sampling = setups_of(mode, lora, given=True)[1], Sampling(3, guidance, 64, 64)
    pipeline = pipelines.get(setup)
    together = drawn(pipeline, setup, orders, sampling, SCALES)
    alone = [drawn(pipeline, setup, [order], sampling, SCALES)[0] for order in orders]
    assert [distance(*pair) <= TOLERANCE for pair in zip(together, alone, strict=True)] == [True] * 3
    assert distance(together[0], together[1]) > TOLERANCE
    assert drawn(pipeline, setup, orders, sampling, SCALES) == together


def test_a_batch_can_be_stopped_between_two_steps(pipelines: Pipelines, orders: list[Order]) -> None:
    steps: list[int] = []

    def stop() -> None:
        steps.append(len(steps))
        if len(steps) == 2:
            raise Interrupted("stopped")

    pipeline = pipelines.get(Setup())
    whole = drawn(pipeline, Setup(), orders, SAMPLING, SCALES)
    with pytest.raises(Interrupted):
        drawn(pipeline, Setup(), orders, SAMPLING, SCALES, stop)
    assert len(steps) == 2
    assert drawn(pipeline, Setup(), orders, SAMPLING, SCALES) == whole


def test_each_frame_of_a_batch_has_its_own_reference(pipelines: Pipelines, orders: list[Order]) -> None:
    setup = Setup(adapter=True)
    pipeline = pipelines.get(setup)
    same = [Order(order.prompt, order.seed, orders[0].reference) for order in orders]
    own, shared = (drawn(pipeline, setup, some, SAMPLING, SCALES) for some in (orders, same))
    changed = [distance(one, other) > TOLERANCE for one, other in zip(own, shared, strict=True)]
    assert changed == [False, True, True]


def test_at_scale_0_every_part_is_as_if_it_were_not_there(
    pipelines: Pipelines, lora: Path, orders: list[Order]
) -> None:
    off = Scales(0.0, 0.0, 0.0)
    plain = first_step(pipelines.get(Setup()), Setup(), orders[0], SAMPLING, off)
    for setup in (Setup(lora), Setup(adapter=True), Setup(lora, adapter=True, pose=True)):
        found = first_step(pipelines.get(setup), setup, orders[0], SAMPLING, off)
        assert float((found - plain).abs().max()) <= 1e-6 * float(plain.abs().max()), setup.parts


def test_every_part_has_its_effect_beside_the_others(pipelines: Pipelines, lora: Path, weights_folder: Path) -> None:
    setup = Setup(lora, adapter=True, pose=True)
    found = effects(pipelines.get(setup), setup, Model(weights_folder), "a person", SAMPLING)
    assert list(found) == ["LoRA", "IP-Adapter", "ControlNet"]
    check_effects(found, SCALES, {})


def silence_adapter(folder: Path) -> None:
    """Values that are zero add nothing, whatever the reference."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / layout.ADAPTER)
    save_file({name: value * (0 if "to_v_ip" in name else 1) for name, value in state.items()}, folder / layout.ADAPTER)


def silence_controlnet(folder: Path) -> None:
    """As `ControlNetModel.from_unet` makes it."""
    from safetensors.torch import load_file, save_file

    path = folder / layout.CONTROLNET / "diffusion_pytorch_model.safetensors"
    ends = ("controlnet_down_blocks", "controlnet_mid_block")
    save_file({name: value * (0 if name.startswith(ends) else 1) for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("silence", "part"), [(silence_adapter, "IP-Adapter"), (silence_controlnet, "ControlNet"), (None, "LoRA")]
)
def test_a_part_without_effect_stops_the_run(
    silence: Callable[[Path], None] | None, part: str, weights_folder: Path, lora: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder, folder)
    if silence is not None:
        silence(folder)
    else:
        lora = write_lora(tmp_path / "lora", strength=0.0) / lora.name
    setup, model = Setup(lora, adapter=True, pose=True), Model(folder)
    found = effects(Pipelines(model).get(setup), setup, model, "a person", SAMPLING)
    with pytest.raises(
        MisconfiguredRun, match=rf"^the {part} \(that one\) changes nothing: images at its scale 1 and 0"
    ):
        check_effects(found, SCALES, {part: "that one"})
    off = Scales(0.0, 0.0, 0.0)
    check_effects(found, off, {part: "that one"})


def test_a_lora_for_another_model_is_refused_and_not_kept(weights_folder: Path, lora: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    wide = {name: value.repeat(1, 2) for name, value in load_file(lora).items()}
    save_file(wide, tmp_path / "wide.safetensors")
    elsewhere = {name.replace("attn", "other"): value for name, value in load_file(lora).items()}
    save_file(elsewhere, tmp_path / "elsewhere.safetensors")
    pipelines = Pipelines(Model(weights_folder))
    for name in ("wide", "elsewhere"):
        path = tmp_path / f"{name}.safetensors"
        with pytest.raises(MisconfiguredRun, match=rf"{name}.safetensors: .*test models: train one for this model"):
            pipelines.get(Setup(path))
    assert pipelines.keep_only(Setup()) is False


def test_a_hostile_lora_reaches_no_loader(weights_folder: Path, tmp_path: Path) -> None:
    header = json.dumps(
        {"unet.lora_A.weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 8]}}
    ).encode()
    (tmp_path / "huge.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(UserError, match=r"huge.safetensors: not a safetensors file that can be opened"):
        Pipelines(Model(weights_folder)).get(Setup(tmp_path / "huge.safetensors"))


def test_a_pipeline_is_loaded_once(lora: Path) -> None:
    model = ScriptedModel()
    pipelines = Pipelines(model)
    first = pipelines.get(Setup(lora))
    assert pipelines.get(Setup(lora)) is first
    assert pipelines.get(Setup()) is not first
    assert model.loaded == [(), ()]
    assert pipelines.keep_only(Setup())
    assert pipelines.get(Setup(lora)) is not first
    assert pipelines.seconds > 0


def test_a_pose_stands_in_the_middle_of_a_frame_that_is_no_square() -> None:
    wide = np.asarray(posed(ScriptedModel(), Shot(gesture="riding"), 64, 32))
    assert wide.shape == (32, 64, 3)
    assert (wide.any(axis=(0, 2)) == np.repeat([False, True, False], [16, 32, 16])).all()
    tall = np.asarray(posed(ScriptedModel(), Shot(gesture="riding"), 32, 64))
    assert (tall.any(axis=(1, 2)) == np.repeat([False, True], [32, 32])).all()


def test_a_lora_of_which_a_part_has_no_place_is_refused(weights_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = write_lora(tmp_path / "whole") / "pytorch_lora_weights.safetensors"
    state = load_file(file)
    pairs = sorted({name.partition(".lora_")[0] for name in state})
    lost = set(pairs[: len(pairs) // 2])
    partly = {
        (name.replace("attentions", "elsewhere") if name.partition(".lora_")[0] in lost else name): value
        for name, value in state.items()
    }
    (tmp_path / "part").mkdir()
    part = tmp_path / "part" / file.name
    save_file(partly, part)
    setup = Setup(lora=part, adapter=False, pose=False)
    with pytest.raises(
        MisconfiguredRun, match=f"{len(pairs) - len(lost)} of its {len(pairs)} layers have a place in test models"
    ):
        Pipelines(Model(weights_folder)).get(setup)
