"""The memory of a GPU, or of this process where models compute on the CPU: whether it was too little, and how it is given back."""

from __future__ import annotations

import gc

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
