"""A linear classifier on frozen or trained features, as DINOv3 is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LinearHead(BaseDecodeHead):
    """Dropout, BatchNorm and a 1×1 convolution on all maps, resized to the first.

    As in DINOv3's code (https://arxiv.org/abs/2508.10104).

    Args:
        in_channels: Channels of the maps.
        batch_norm: Normalise the features. False suits a mean teacher, whose statistics are not
            the student's.
        dropout_ratio: Share of channels that are dropped.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to all maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int] | int,
        batch_norm: bool = True,
        dropout_ratio: float = 0.1,
        **kwargs: Any,
    ) -> None:
        widths = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        kwargs.setdefault("in_index", list(range(len(widths))))
        kwargs.setdefault("loss_decode", {"type": "PixelCrossEntropy"})
        super().__init__(
            widths,
            sum(widths),
            dropout_ratio=dropout_ratio,
            input_transform="resize_concat",
            **kwargs,
        )
        self.norm = nn.BatchNorm2d(sum(widths)) if batch_norm else nn.Identity()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classifies every pixel of the first map: (B, num_classes, h, w)."""
        x = self._transform_inputs(inputs)
        x = x if self.dropout is None else self.dropout(x)
        return self.conv_seg(self.norm(x))
