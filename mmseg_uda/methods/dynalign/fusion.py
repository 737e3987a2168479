"""What a region and its surroundings are compared with texts by."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FUSIONS = ("dynamic", "mean", "none", "context")


def fuse(
    masked: Tensor, context: Tensor, mode: str = "dynamic", renormalize: bool = False
) -> Tensor:
    """Blends the feature of each region with those of its surroundings.

    ``dynamic``: ``f = mean_i(s_i * g_i + (1 - s_i) * v)`` with ``s_i = cos(g_i, v)``: the more a
    region resembles its surroundings, the more these count. s is not clamped and f is not a unit
    vector. ``mean``: the same with every s = 1/2. ``none``: v alone. ``context``: the mean of g.

    Args:
        masked: v, (M, D) float, unit features of the regions with their surroundings blackened.
        context: g, (M, S, D) float, mean features of S sizes of surroundings.
        mode: One of ``FUSIONS``.
        renormalize: Return unit vectors, so that a threshold means the same for every region.

    Returns:
        (M, D) float32.

    Raises:
        ValueError: Unknown mode.
    """
    v, g = masked.float(), context.float()
    if mode == "dynamic":
        weight = F.cosine_similarity(g, v[:, None], dim=-1)[..., None]
        fused = (weight * g + (1 - weight) * v[:, None]).mean(dim=1)
    elif mode == "mean":
        fused = (g.mean(dim=1) + v) / 2
    elif mode == "none":
        fused = v
    elif mode == "context":
        fused = g.mean(dim=1)
    else:
        raise ValueError(f"fusion {mode!r} is none of {FUSIONS}")
    return F.normalize(fused, dim=-1) if renormalize else fused
