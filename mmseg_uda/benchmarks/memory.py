"""Peak memory of a stretch of a program, on a GPU or of the process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class PeakMemory:
    """Peak memory since :meth:`restart`.

    On a GPU: what torch has allocated. On a CPU: the resident size of the process above what it
    was when this object was made, which leaves out the libraries. Where the system cannot reset
    its peak (it can on Linux), the peak since the start of the process counts.

    Args:
        device: Whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0 if device.type == "cuda" else _kibibytes("VmRSS") * 1024
        self.restart()

    def restart(self) -> None:
        """Forgets earlier peaks."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        with suppress(OSError):
            CLEAR.write_text("5")  # resets the peak resident size

    def peak_bytes(self) -> int:
        """Peaks in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _kibibytes("VmHWM") * 1024 - self._before


def _kibibytes(entry: str) -> int:
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = peak // 1024 if sys.platform == "darwin" else peak
        return peak if entry == "VmHWM" else 0
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{entry}:"):
            return int(line.split()[1])
    raise OSError(f"{STATUS} has no {entry}.")
