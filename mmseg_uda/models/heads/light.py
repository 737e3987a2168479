"""VFM-UDA's decoder of a single map (https://arxiv.org/abs/2406.09896)."""

from __future__ import annotations

from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.models.heads.options import fixed_layers
from mmseg_uda.models.norms import ChannelNorm


@MODELS.register_module()
class LightHead(BaseDecodeHead):
    """Two transposed convolutions and a linear classifier on the last map, four times its size.

    The classifier has no bias and starts from N(0, 0.1); there is no dropout.

    Args:
        in_channels: Channels D of the map; the decoder has D/2 and D/4.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to the last map.
    """

    def __init__(self, in_channels: int, **kwargs: Any) -> None:
        half, quarter = in_channels // 2, in_channels // 4
        super().__init__(in_channels, quarter, **fixed_layers(kwargs, "LightHead"))
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(in_channels, half, 2, stride=2, bias=False),
            ChannelNorm(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2, bias=False),
            ChannelNorm(quarter),
            nn.Conv2d(quarter, quarter, 3, padding=1, bias=False),
            ChannelNorm(quarter),
        )
        self.conv_seg = nn.Conv2d(quarter, self.out_channels, 1, bias=False)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Decodes a map (B, D, h, w) to logits (B, num_classes, 4h, 4w)."""
        return self.cls_seg(self.upscale(self._transform_inputs(inputs)))
