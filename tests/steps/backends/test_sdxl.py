"""SDXL from folders and from the hub's cache: what is missing is told with its command, what is there loads and draws."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner.errors import UserError
from runner.fingerprint import FileHashes
from runner.ledger import Ledger
from steps.backends import hub
from steps.backends.sdxl import SdxlDiffusion, SdxlSettings
from steps.library.shots import Shot
from steps.studio.frames.openpose import COLOURS, JOINTS, LIMBS, coco_joints, pose_picture
from steps.studio.frames.pipelines import Pipelines, drawn
from steps.studio.frames.setups import Order, Sampling, Scales, Setup
from steps.studio.models import layout
from tests.frames import shipped_weights, write_lora
from tests.support import calls

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
HUB = {
    "base": "stabilityai/stable-diffusion-xl-base-1.0",
    "vae": "madebyollin/sdxl-vae-fp16-fix",
    "adapter": "h94/IP-Adapter",
    "controlnet": "xinsir/controlnet-openpose-sdxl-1.0",
}


def folders() -> dict[str, Any]:
    """Settings that take the embedded weights for a model of somebody's own."""
    folder = shipped_weights()
    return {
        "base": str(folder / layout.SDXL),
        "vae": str(folder / layout.SDXL / "vae"),
        "adapter": str(folder),
        "adapter_weights": layout.ADAPTER,
        "image_encoder": layout.CLIP,
        "controlnet": str(folder / layout.CONTROLNET),
        "side": 64,
        "device": "cpu",
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and a hub that nobody reaches."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_in_cache(cache: Path, place: str, revision: str, source: Path, names: tuple[str, ...]) -> None:
    """As `hf download` leaves it."""
    root = cache / f"models--{place.replace('/', '--')}" / "snapshots" / revision
    for name in names:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / Path(name), target)


def test_everything_that_is_missing_is_told_with_the_command_that_fetches_it(cache: Path, ledger: Ledger) -> None:
    with pytest.raises(UserError) as caught:
        SdxlDiffusion(SdxlSettings(device="cpu"), calls(ledger)).prepare()
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for part, place in HUB.items():
        line = next(line for line in lines if line.startswith(f"{place} is not here"))
        revision = getattr(SdxlSettings(), f"{part}_revision")
        assert f"hf download {place} " in line
        assert line.endswith(f"--revision {revision}")
    base = next(line for line in lines if HUB["base"] in line)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in base
    assert "vae/diffusion_pytorch_model" not in base
    needs = list(SdxlDiffusion.needs(SdxlSettings(device="cpu")))
    assert [need.met for need in needs] == [False] * 4
    assert cache.exists() is False


def test_weights_in_the_cache_are_found_by_their_commit(cache: Path, ledger: Ledger) -> None:
    folder, revision = shipped_weights() / layout.CONTROLNET, "a" * 40
    source = hub.Source("some/controlnet", revision, ("config.json", "diffusion_pytorch_model.safetensors"))
    put_in_cache(cache, "some/controlnet", revision, folder, source.needed[:1])
    assert "diffusion_pytorch_model.safetensors" in str(source.fault())
    put_in_cache(cache, "some/controlnet", revision, folder, source.needed)
    assert source.fault() is None
    assert (source.folder() / "config.json").is_file()
    assert source.identity(FileHashes(ledger)) == "some/controlnet@aaaaaaaaaaaa"
    other = hub.Source("some/controlnet", "b" * 40, source.needed)
    assert other.fault() is not None


@pytest.mark.parametrize(
    ("place", "revision", "said"),
    [
        ("some/model", "main", r"revision = 'main' is not allowed: give the commit"),
        ("some/model", None, r"revision = None is not allowed"),
        ("../../no/where", "a" * 40, r"no such folder, and no id on the hub"),
        ("--help/x", "a" * 40, r"no such folder, and no id on the hub"),
    ],
)
def test_a_model_is_named_by_folder_or_by_id_and_commit(place: str, revision: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        hub.check([hub.Source(place, revision, ("config.json",))])


def test_a_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no such model: model_index.json is missing"):
        hub.Source(str(tmp_path), None, (), ("model_index.json",)).folder()


def test_a_folders_identity_is_its_content_to_the_last_byte(tmp_path: Path, ledger: Ledger) -> None:
    size = 65 * 2**20
    for name, at in (("one", 0), ("same", 0), ("two", size // 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(size)
            file.seek(at)
            file.write(b"\1" if at else b"\0")
    one, same, two = (hub.folder_digest(tmp_path / name, FileHashes(ledger)) for name in ("one", "same", "two"))
    assert one == same != two


def test_all_parts_load_from_folders_and_draw(ledger: Ledger, tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    model = SdxlDiffusion(SdxlSettings(**folders()), calls(ledger))
    model.prepare()
    assert all(need.met for need in SdxlDiffusion.needs(SdxlSettings(**folders())))
    assert model.device == "cpu"
    assert "fp32" in model.identity
    lora = write_lora(tmp_path / "lora") / "pytorch_lora_weights.safetensors"
    setup = Setup(lora, adapter=True, pose=True)
    pipeline = Pipelines(model).get(setup)
    assert {type(part).__name__ for part in (pipeline.vae, pipeline.controlnet, pipeline.image_encoder)} == {
        "AutoencoderKL",
        "ControlNetModel",
        "CLIPVisionModelWithProjection",
    }
    face = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    orders = [Order(f"a person {number}", number, face, model.pose(Shot(), 64)) for number in range(2)]
    images = drawn(pipeline, setup, orders, Sampling(2, 3.0, 64, 64), Scales())
    assert [image.size for image in images] == [(64, 64)] * 2


def test_a_gpu_that_is_not_there_is_told(ledger: Ledger) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"no GPU is there: choose diffusion.device=cpu"):
        _ = SdxlDiffusion(SdxlSettings(device="cuda"), calls(ledger)).device
    assert SdxlDiffusion(SdxlSettings(), calls(ledger)).device == "cpu"


def test_the_pose_is_drawn_as_openpose_draws_it() -> None:
    assert " ".join(JOINTS) == (
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee right_ankle "
        "left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
    )
    assert len(COLOURS) == 18
    assert len(LIMBS) == 17
    side, spots = 512, coco_joints(Shot(), 512)
    assert set(spots) == set(range(18))
    # Somebody who faces the viewer has the right hand on the viewer's left.
    for name in ("shoulder", "wrist", "knee", "eye", "ear"):
        assert spots[JOINTS.index(f"right_{name}")][0] < spots[JOINTS.index(f"left_{name}")][0]
    picture = pose_picture(Shot(), side)
    for joint in ("neck", "left_wrist", "right_ankle"):
        number = JOINTS.index(joint)
        x, y = spots[number]
        assert picture.getpixel((round(x), round(y))) == COLOURS[number]
    one, other = (np.array(spots[number]) for number in LIMBS[7])
    middle = (one + other) / 2
    assert picture.getpixel((round(middle[0]), round(middle[1]))) == tuple(round(value * 0.6) for value in COLOURS[7])
    assert picture.getpixel((2, 2)) == (0, 0, 0)


def test_what_is_out_of_the_picture_or_turned_away_is_not_drawn() -> None:
    portrait = coco_joints(Shot("portrait"), 256)
    assert JOINTS.index("right_knee") not in portrait
    assert JOINTS.index("nose") in portrait
    left = coco_joints(Shot(facing="left"), 256)
    assert JOINTS.index("right_ear") not in left
    assert JOINTS.index("left_ear") in left
