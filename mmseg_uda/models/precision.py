"""Regions of full precision inside a training with mixed precision or TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """The values (any shape) in float32; float64 stays as it is."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32, which is off by 1e-3: for counts, and for statistics of features.

    Backward passes are computed as the surrounding training asks for.
    """
    backends = (torch.backends.cuda, torch.backends.mkldnn)
    # From torch 2.9 on each backend has a setting of its own; the older, global one follows it
    # only as long as nobody mixes the two.
    newer = [b.matmul for b in backends if hasattr(getattr(b, "matmul", None), "fp32_precision")]
    before = [matmul.fp32_precision for matmul in newer]
    try:
        older = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
    except RuntimeError:  # the training uses the newer settings
        older = None
        for matmul in newer:
            matmul.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        for matmul, precision in zip(newer, before, strict=True):
            matmul.fp32_precision = precision
