"""A half-million-parameter encoder for the miniworld."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


class NanoStage(nn.Module):
    """Halve the resolution, then one residual pair of 3×3 convolutions."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        norm_cfg: dict[str, Any],
        stride: int = 2,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        wide = {"padding": dilation, "dilation": dilation, "norm_cfg": norm_cfg}
        self.down = ConvModule(
            in_channels, channels, 3, stride=stride, padding=1, norm_cfg=dict(norm_cfg)
        )
        self.conv1 = ConvModule(channels, channels, 3, **wide)
        self.conv2 = ConvModule(channels, channels, 3, **wide, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C_in, H, W) to (B, C, H/stride, W/stride)."""
        x = self.down(x)
        return F.relu(x + self.conv2(self.conv1(x)))


@MODELS.register_module()
class NanoBackbone(BaseModule):
    """Small residual network with a 3×3 stem; outputs at 1/4, 1/8, 1/16 and 1/32 by default.

    Args:
        in_channels: Channels of the image.
        stem_channels: Channels at half resolution.
        channels: Channels of the four outputs.
        strides: Of the four stages; (2, 2, 1, 1) keeps 1/8, as DeepLabV2's encoder does.
        dilations: Of the stages' residual convolutions. Weights fit any strides and dilations.
        norm_cfg: mmcv norm config; batch norm, or e.g. ``dict(type='GN', num_groups=8)``.
        init_cfg: e.g. ``dict(type='BackboneWeights', checkpoint='miniworld/nano_backbone')``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        stem_channels: int = 16,
        channels: Sequence[int] = (24, 48, 72, 96),
        strides: Sequence[int] = (2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = {"type": "BN"} if norm_cfg is None else norm_cfg
        self.channels = tuple(channels)
        self.stem = ConvModule(
            in_channels, stem_channels, 3, stride=2, padding=1, norm_cfg=dict(norm_cfg)
        )
        widths = (stem_channels, *channels)
        self.stages = nn.ModuleList(
            NanoStage(before, after, norm_cfg, stride, dilation)
            for before, after, stride, dilation in zip(
                widths[:-1], widths[1:], strides, dilations, strict=True
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encodes an image (B, 3, H, W) into four maps (B, C_i, H_i, W_i), finest first."""
        x = self.stem(x)
        outs = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return outs
