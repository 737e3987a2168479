"""Wall time on a CPU or a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def wait(device: torch.device) -> None:
    """Returns when a GPU has done all that it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Shortest wall time of a call, after one that warms up; 0 repeats: of the first call."""
    times = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        run()
        wait(device)
        if i or repeats == 0:
            times.append(time.perf_counter() - start)
    return min(times)
