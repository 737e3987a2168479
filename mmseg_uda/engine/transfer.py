"""Copies from the host to a device that neither side waits for."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device; from the host to a GPU without waiting for it.

    A copy from pageable memory would make the host wait; pinned memory does not.
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)
