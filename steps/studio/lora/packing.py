"""Tensors as the bytes of a safetensors file and back; the same content gives the same bytes, where the package orders metadata by chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def packed(state: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """The file's bytes; `metadata` in the order of its keys."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    data = save(plain)
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    header = {"__metadata__": dict(sorted(metadata.items())), **entries} if metadata else entries
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    # The tensors begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def unpacked(path: Path) -> dict[str, Any]:
    """The tensors of a file, in memory of their own: what happens to the file later is nothing to them."""
    from safetensors.torch import load_file

    return {name: value.clone() for name, value in load_file(path).items()}
