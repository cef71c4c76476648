"""The memory of a GPU, or of this process where models compute on the CPU: whether it was too little, how much was held, and how it is given back."""

from __future__ import annotations

import gc
import resource
import sys
from typing import Any

DEVICE, PROCESS = "device", "process"
# What torch's allocator for the CPU says, which is a bare RuntimeError.
_SAID = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was too little memory: of a GPU, or of the machine."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    known = isinstance(error, Exception) and should_reduce_batch_size(error)
    return known or any(words in str(error) for words in _SAID)


def free_memory() -> None:
    """Give back what nobody holds any more."""
    from accelerate.utils.memory import clear_device_cache

    gc.collect()
    clear_device_cache()


def peak_memory_bytes(device: Any) -> int:
    """The most that was held so far: of the GPU (`torch.device`), or of this process."""
    import torch

    if memory_of(device) == DEVICE:
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak if sys.platform == "darwin" else peak * 2**10


def memory_of(device: Any) -> str:
    """Whose memory `peak_memory_bytes` tells of."""
    return DEVICE if device.type == "cuda" else PROCESS
