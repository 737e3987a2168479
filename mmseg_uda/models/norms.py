"""Normalisation layers that torch has in another layout only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.models.layout import with_layout


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel: (B, C, H, W) to the same shape.

    Args:
        channels: C.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises each pixel of (B, C, H, W)."""
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return with_layout(self, x.permute(0, 3, 1, 2))
