"""What counts as too little memory."""

from __future__ import annotations

import pytest

from steps.studio.memory import free_memory, is_out_of_memory

torch = pytest.importorskip("torch", reason="the models' packages are not installed")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_too_little_memory_is_told_from_other_faults(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_what_torch_says_of_an_allocation_that_no_machine_has_is_known() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    free_memory()
