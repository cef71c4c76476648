"""Opening a stranger's LoRA: the header is held against the file before anything else reads it, and no pickle is ever opened.

The format is `huggingface/safetensors`: 8 bytes with the header's length, the header as JSON, then the tensors one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from runner import files
from runner.errors import UserError
from steps.studio.lora.packing import unpacked

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file that diffusers looks for in a folder."""
PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""PEFT's; the second has rank and alpha."""
UNET_PREFIX, PEFT_PREFIX = "unet.", "base_model.model."
"""What a module's name begins with in diffusers' layout and in PEFT's."""
CONFIG = "lora_adapter_metadata"
"""The key of a file's metadata under which diffusers keeps rank and alpha, as JSON."""
MAX_HEADER_BYTES = 16 * 2**20
MAX_BYTES = 8 * 2**30
MAX_TENSORS = 100_000
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 8),
}


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself, once that is known to be true.

    Attributes:
        tensors: Name -> shape.
        metadata: Texts that its writer left; they may say anything.
    """

    tensors: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Lora:
    """A LoRA that was checked and read.

    Attributes:
        path: The file.
        state: Name -> tensor on the CPU, for `pipeline.load_lora_weights(dict(lora.state))`. Where alpha is not the rank, the
            tensors are scaled so that it may be taken for it: the file's own metadata never reaches a loader.
        metadata: Texts that its writer left.
    """

    path: Path
    state: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)


def lora_file(path: Path) -> Path:
    """The file of a LoRA that is given as a file or as the folder that holds it.

    Raises:
        UserError: There is none.
    """
    found = path
    if path.is_dir():
        found = next((path / name for name in (WEIGHTS, PEFT_WEIGHTS) if (path / name).is_file()), path / WEIGHTS)
    if not found.is_file():
        raise UserError(
            f"{path}: no LoRA there: give a .safetensors file, or a folder with {WEIGHTS}; train one with: callsheet run train_lora"
        )
    return found


def check_safetensors(path: Path) -> Header:
    """Hold a file's header against the file. At most MAX_HEADER_BYTES are read, whatever the file claims.

    Raises:
        UserError: It is no safetensors file, or its header is too long, cut off, not JSON, or does not fit the tensors.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: {size / 2**30:.1f} GiB: a LoRA has at most {MAX_BYTES / 2**30:.0f}")
        with path.open("rb") as file:
            text, room = _header_text(path, file, size)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from error
    try:
        # Names that stand twice are told apart by no reader.
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"its header is not JSON: {error}") from error
    return _checked(path, entries, room)


def read_lora(path: Path) -> Lora:
    """Check and read a LoRA of diffusers', PEFT's or kohya's layout.

    Args:
        path: The file, or the folder that holds `pytorch_lora_weights.safetensors`.

    Raises:
        UserError: There is none, or it is not what it should be.
    """
    file = lora_file(path)
    header = check_safetensors(file)
    if not any("lora" in name for name in header.tensors):
        raise UserError(f"{file}: holds no LoRA: of its {len(header.tensors)} tensors none is named lora")
    scales = _Scales.of(file, _config(file, header.metadata))
    from safetensors import SafetensorError

    try:
        state = unpacked(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(file, str(error)) from error
    _check_numbers(file, state)
    named = {_diffusers_name(name): value for name, value in state.items()}
    return Lora(file, {name: scales.applied(name, value) for name, value in named.items()}, header.metadata)


@dataclass(frozen=True)
class _Scales:
    """Alpha over rank of each part, from the numbers of the metadata alone."""

    alphas: Mapping[str, float]
    rank_stabilized: frozenset[str]

    @classmethod
    def of(cls, path: Path, config: Any) -> _Scales:
        """From what diffusers or PEFT wrote; where that is empty, alpha is the rank or stands among the tensors."""
        try:
            alphas = {name: float(config[name]) for name in config if name.endswith(".lora_alpha")}
            patterns = {
                f"{name.removesuffix('.alpha_pattern')}.{module}": float(alpha)
                for name, pattern in config.items()
                if name.endswith(".alpha_pattern")
                for module, alpha in (pattern or {}).items()
            }
        except (ValueError, TypeError, AttributeError) as error:
            raise _refused(path, f"its rank and alpha can't be understood: {error}") from error
        if not all(math.isfinite(alpha) for alpha in (*alphas.values(), *patterns.values())):
            raise _refused(path, "its alpha is no number")
        stabilized = {
            name.removesuffix(".use_rslora") for name in config if name.endswith(".use_rslora") and config[name]
        }
        return cls(
            {name.removesuffix(".lora_alpha"): alpha for name, alpha in alphas.items()} | patterns,
            frozenset(stabilized),
        )

    def applied(self, name: str, value: Any) -> Any:
        """The second of a pair of matrices times its scale; everything else as it is."""
        module, found, _ = name.rpartition(".lora_B.")
        if not found:
            return value
        part = module.partition(".")[0]
        alpha = self.alphas.get(module, self.alphas.get(part))
        rank = value.shape[1]
        if alpha is None or not rank:
            return value
        scale = alpha / (math.sqrt(rank) if part in self.rank_stabilized else rank)
        return value if scale == 1.0 else value * scale


def _config(file: Path, metadata: Mapping[str, str]) -> Any:
    """What is known of rank and alpha, by names like "unet.lora_alpha": from the metadata, or from PEFT's file beside it."""
    beside = file.with_name(PEFT_CONFIG)
    if file.name == PEFT_WEIGHTS and beside.is_file():
        found = files.read_json(beside)
        return {f"{UNET_PREFIX}{name}": value for name, value in found.items()} if isinstance(found, dict) else found
    try:
        return json.loads(metadata.get(CONFIG, "{}"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _refused(file, f"its rank and alpha can't be understood: {error}") from error


def _diffusers_name(name: str) -> str:
    return f"{UNET_PREFIX}{name.removeprefix(PEFT_PREFIX)}" if name.startswith(PEFT_PREFIX) else name


def _header_text(path: Path, file: BinaryIO, size: int) -> tuple[bytes, int]:
    """The header's bytes, and how many bytes of tensors follow."""
    start = file.read(8)
    if len(start) < 8:
        raise _refused(path, f"{size} bytes are too few")
    if start[:2] == b"PK" or start[:1] == b"\x80":
        raise _refused(path, "it is a pickle, which may run any code when opened: convert it where it came from")
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise _refused(path, f"its header claims {length:,} bytes: at most {MAX_HEADER_BYTES:,} are read")
    if length > size - 8:
        raise _refused(path, f"it is cut off: its header claims {length:,} bytes, and {size - 8:,} are there")
    return file.read(length), size - 8 - length


def _checked(path: Path, entries: Any, room: int) -> Header:
    if not isinstance(entries, dict):
        raise _refused(path, "its header is no JSON object")
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _refused(path, "its metadata are not texts")
    if not 0 < len(entries) <= MAX_TENSORS:
        raise _refused(path, f"it claims {len(entries):,} tensors: 1 to {MAX_TENSORS:,} are allowed")
    shapes, spans = {}, []
    for name, entry in entries.items():
        shapes[name], span = _tensor(path, name, entry)
        spans.append((*span, name))
    _check_spans(path, sorted(spans), room)
    return Header(shapes, metadata)


def _tensor(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Shape and place of one tensor."""
    try:
        bits, shape, (begin, end) = _BITS[entry["dtype"]], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(path, f"tensor {name[:80]!r} has no usable dtype, shape or place") from error
    numbers = [*shape, begin, end] if isinstance(shape, list) and len(shape) <= 8 else [None]
    if not all(type(number) is int and 0 <= number <= MAX_BYTES for number in numbers):
        raise _refused(path, f"tensor {name[:80]!r} has an impossible shape or place")
    if (end - begin) * 8 != math.prod(shape) * bits:
        raise _refused(
            path, f"tensor {name[:80]!r} needs {math.prod(shape) * bits // 8:,} bytes and has {end - begin:,}"
        )
    return tuple(shape), (begin, end)


def _check_spans(path: Path, spans: list[tuple[int, int, str]], room: int) -> None:
    """Tensors lie one after the other, from the first byte to the last."""
    at = 0
    for begin, end, name in spans:
        if begin != at:
            raise _refused(
                path, f"tensor {name[:80]!r} {'overlaps another' if begin < at else 'leaves a hole before it'}"
            )
        at = end
    if at != room:
        raise _refused(path, f"its tensors need {at:,} bytes, and {room:,} are there")


def _check_numbers(path: Path, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.float().isfinite().all()):
            raise _refused(path, f"tensor {name[:80]!r} holds NaN or infinity: it was broken when it was trained")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _refused(path: Path, why: str) -> UserError:
    return UserError(f"{path}: not a safetensors file that can be opened: {why}")
