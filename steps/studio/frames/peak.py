"""The most memory that was held."""

from __future__ import annotations

import resource
import sys

DEVICE, PROCESS = "device", "process"


class PeakMemory:
    """Of a GPU from now on, or of this process since it began.

    Attributes:
        of: DEVICE or PROCESS.
    """

    def __init__(self, device: str) -> None:
        """`device`: as torch names it; a GPU's count begins anew."""
        import torch

        self._device = device
        self.of = DEVICE if device.startswith("cuda") and torch.cuda.is_available() else PROCESS
        # Before anything is on the GPU there is nothing to reset, and torch refuses it.
        if self.of == DEVICE and torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)

    def read(self) -> int:
        """Bytes: what torch held on the GPU, or what the process had in main memory."""
        if self.of == DEVICE:
            import torch

            return int(torch.cuda.max_memory_allocated(self._device))
        # Bytes on macOS, KiB elsewhere.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
