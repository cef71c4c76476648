"""A LoRA's file is held against its header before anything reads it."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from steps.studio.lora.reading import CONFIG, WEIGHTS, check_safetensors, lora_file, read_lora

torch = pytest.importorskip("torch", reason="the models' packages are not installed")
NAME = "unet.mid.to_q.lora_{}.weight"
Entries = dict[str, Any]


def tensor(begin: int, end: int, *shape: int, dtype: str = "F32") -> Entries:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def good() -> Entries:
    return {"a.lora_A.weight": tensor(0, 16, 2, 2), "a.lora_B.weight": tensor(16, 32, 2, 2)}


def write(path: Path, header: Any, room: int = 32, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + bytes(room))
    return path


def raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def changed(**values: Any) -> Entries:
    return {**good(), "b": {**tensor(32, 48, 2, 2), **values}}


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a huge length": (lambda path: write(path, good(), length=2**63), "claims 9,223,372,036,854,775,808 bytes"),
    "a length over the limit": (lambda path: write(path, good(), length=17 * 2**20), "at most 16,777,216"),
    "a header cut off": (lambda path: write(path, good(), room=0, length=10_000), "cut off"),
    "tensors cut off": (lambda path: write(path, good(), room=20), "need 32 bytes, and 20 are there"),
    "more than its tensors": (lambda path: write(path, good(), room=40), "and 40 are there"),
    "overlapping": (lambda path: write(path, {**good(), "b": tensor(8, 24, 2, 2)}), "overlaps another"),
    "a hole": (lambda path: write(path, {**good(), "b": tensor(40, 56, 2, 2)}, 56), "a hole before it"),
    "not its size": (lambda path: write(path, changed(shape=[2, 3]), 48), "needs 24 bytes and has 16"),
    "a shape that overflows": (lambda path: write(path, changed(shape=[2**62, 2**62]), 48), "impossible shape"),
    "a negative shape": (lambda path: write(path, changed(shape=[-2, -2]), 48), "impossible shape"),
    "a boolean in the shape": (lambda path: write(path, changed(shape=[True, 4]), 48), "impossible shape"),
    "many dimensions": (lambda path: write(path, changed(shape=[1] * 9), 48), "impossible shape"),
    "an unknown type": (lambda path: write(path, changed(dtype="PYTHON"), 48), "no usable dtype"),
    "three offsets": (lambda path: write(path, changed(data_offsets=[1, 2, 3]), 48), "no usable dtype"),
    "metadata of numbers": (lambda path: write(path, {**good(), "__metadata__": {"a": 1}}), "metadata are not texts"),
    "metadata as a list": (lambda path: write(path, {**good(), "__metadata__": ["a"]}), "metadata are not texts"),
    "no tensors": (lambda path: write(path, {"__metadata__": {}}, 0), "claims 0 tensors"),
    "a list": (lambda path: write(path, [1]), "no JSON object"),
    "not JSON": (lambda path: write(path, b"{" * 4000), "not JSON"),
    "nested without end": (lambda path: write(path, b'{"a":' + b"[" * 200_000), "not JSON"),
    "a name twice": (lambda path: write(path, b'{"a": {}, "a": {}}'), "stands in it twice"),
    "no text": (lambda path: write(path, b"\xff\xfe{}"), "not JSON"),
    "too few bytes": (lambda path: raw(path, b"abc"), "3 bytes are too few"),
    "a pickle": (lambda path: raw(path, pickle.dumps({"a": 1}) + bytes(99)), "a pickle"),
    "an archive of torch": (lambda path: torch.save({"a": 1}, path) or path, "a pickle"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_within_bounded_memory(tmp_path: Path, name: str) -> None:
    make, said = HOSTILE[name]
    path = make(tmp_path / "lora.safetensors")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=said) as caught:
            read_lora(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")


def test_a_huge_file_that_is_sparse_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "lora.safetensors", good())
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=r"1024.0 GiB: a LoRA has at most 8"):
        check_safetensors(path)


def saved(folder: Path, alpha: float | None, **more: Any) -> Path:
    from safetensors.torch import save_file

    folder.mkdir()
    state = {NAME.format("A"): torch.ones(4, 6), NAME.format("B"): torch.ones(6, 4)}
    config = {} if alpha is None else {CONFIG: json.dumps({"unet.r": 4, "unet.lora_alpha": alpha, **more})}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt", **config})
    return folder


def test_a_good_one_is_read_from_its_folder_or_its_file(tmp_path: Path) -> None:
    folder = saved(tmp_path / "lora", None)
    assert check_safetensors(folder / WEIGHTS).tensors[NAME.format("A")] == (4, 6)
    for path in (folder, folder / WEIGHTS):
        lora = read_lora(path)
        assert lora.path == folder / WEIGHTS
        assert lora.metadata == {"format": "pt"}
        assert torch.equal(lora.state[NAME.format("B")], torch.ones(6, 4))


@pytest.mark.parametrize(
    ("alpha", "more", "scale"),
    [
        (4, {}, 1.0),
        (2, {}, 0.5),
        (2, {"unet.use_rslora": True}, 1.0),
        (4, {"unet.alpha_pattern": {"mid.to_q": 12}}, 3.0),
    ],
)
def test_alpha_goes_into_the_tensors(tmp_path: Path, alpha: float, more: dict[str, Any], scale: float) -> None:
    lora = read_lora(saved(tmp_path / "lora", alpha, **more))
    assert torch.equal(lora.state[NAME.format("B")], torch.full((6, 4), scale))
    assert torch.equal(lora.state[NAME.format("A")], torch.ones(4, 6))


@pytest.mark.parametrize("more", [{"unet.lora_alpha": "much"}, {"unet.lora_alpha": None}, {"unet.alpha_pattern": [1]}])
def test_metadata_that_are_nonsense_are_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="can't be understood"):
        read_lora(saved(tmp_path / "lora", 4, **more))


def test_what_holds_no_lora_or_no_numbers_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match="of its 1 tensors none is named lora"):
        read_lora(path)
    save_file({"a.lora_A.weight": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(UserError, match="holds NaN"):
        read_lora(path)
    with pytest.raises(UserError, match="train one with: callsheet run train_lora"):
        lora_file(tmp_path / "nowhere")
