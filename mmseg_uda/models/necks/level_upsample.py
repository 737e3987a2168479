"""Resizing single encoder levels before the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError


@MODELS.register_module()
class LevelUpsample(nn.Module):
    """Upsample chosen levels bilinearly and leave the others as they are.

    ``scales=[8]`` lets a fusion work on the last Mix Transformer level alone at 1/4 of the
    image; ``scales=[4]`` gives decoders that expect a stride of 8 what they expect.

    Args:
        scales: Integer factor per level.
        out_layers: Index of each level.
    """

    def __init__(self, scales: Sequence[int], out_layers: Sequence[int] = (3,)) -> None:
        super().__init__()
        if len(scales) != len(out_layers):
            raise UserError(
                f"neck.scales has {len(scales)} entries, neck.out_layers {len(out_layers)}.",
                fix="Give one factor per level.",
            )
        self.factors = dict(zip(out_layers, scales, strict=True))

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Resizes the chosen maps (B, C, H, W)."""
        return [
            F.interpolate(x, scale_factor=self.factors[level], mode="bilinear", align_corners=False)
            if self.factors.get(level, 1) != 1
            else x
            for level, x in enumerate(inputs)
        ]
