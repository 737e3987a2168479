"""DeepLabV3+ with plain convolutions, and an auxiliary head at feature resolution (SRHA).

mmseg's DeepLabV3+ is another network: depth-wise separable, with dropout, concatenated in another
order and resized without aligned corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.models.heads.options import multiple_select

# normal with a gain of √2 over the inputs; biases 0
KAIMING_FAN_IN = {
    "type": "Kaiming",
    "layer": "Conv2d",
    "mode": "fan_in",
    "nonlinearity": "relu",
    "distribution": "normal",
    "bias": 0,
}
_CROSS_ENTROPY = {"type": "PixelCrossEntropy", "avg_non_ignore": True}


def conv_norm_relu(
    in_channels: int,
    channels: int,
    kernel_size: int,
    norm_cfg: dict[str, Any],
    dilation: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """A convolution that keeps the resolution, its norm and ReLU.

    Not mmcv's ``ConvModule``, whose own initialisation would replace the head's.
    """
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(
            in_channels, channels, kernel_size, padding=padding, dilation=dilation, bias=bias
        ),
        build_norm_layer(norm_cfg, channels)[1],
        nn.ReLU(inplace=True),
    )


@MODELS.register_module()
class DeepLabV3PlusHead(BaseDecodeHead):
    """Atrous spatial pyramid on the last stage, refined with the first one.

    Logits have the resolution of the first stage. The output of the pyramid is concatenated as
    [image mean, 1×1, dilations…], the decoder's input as [first stage, pyramid].

    Args:
        in_channels: Channels of the first and the last stage.
        channels: Channels of every pyramid branch and of the decoder.
        low_channels: Channels to which the first stage is reduced.
        dilations: One 3×3 branch each.
        output_stride: Pixels of the image per pixel of the first stage, which HRDA needs to know:
            4 of a ResNet, 8 of the light networks in stages.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to ``(0, 3)``,
            ``align_corners`` to True, ``dropout_ratio`` to 0, the loss to the cross-entropy
            over labelled pixels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        low_channels: int = 48,
        dilations: Sequence[int] = (6, 12, 18),
        output_stride: int = 4,
        **kwargs: Any,
    ) -> None:
        kwargs = {
            "in_index": [0, 3],
            "align_corners": True,
            "dropout_ratio": 0,
            "norm_cfg": {"type": "BN"},
            "loss_decode": dict(_CROSS_ENTROPY),
            "init_cfg": dict(KAIMING_FAN_IN),
            **multiple_select(kwargs, "DeepLabV3PlusHead"),
        }
        super().__init__(list(in_channels), channels, **kwargs)
        self.output_stride = output_stride
        low, high = in_channels
        norm = dict(self.norm_cfg)
        self.image_mean = conv_norm_relu(high, channels, 1, norm)
        self.branches = nn.ModuleList(
            [
                conv_norm_relu(high, channels, 1, norm),
                *(conv_norm_relu(high, channels, 3, norm, dilation) for dilation in dilations),
            ]
        )
        self.pyramid = conv_norm_relu((2 + len(dilations)) * channels, channels, 1, norm)
        self.low = conv_norm_relu(low, low_channels, 1, norm)
        self.decoder = nn.Sequential(
            conv_norm_relu(low_channels + channels, channels, 3, norm),
            conv_norm_relu(channels, channels, 3, norm),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decodes backbone features.

        Args:
            inputs: Maps (B, C_l, H_l, W_l), of which ``in_index`` names the first and the last.

        Returns:
            Logits (B, num_classes, H_1, W_1).
        """
        low, high = self._transform_inputs(inputs)
        mean = self.image_mean(F.adaptive_avg_pool2d(high, 1)).expand(-1, -1, *high.shape[2:])
        x = self.pyramid(torch.cat([mean, *(branch(high) for branch in self.branches)], dim=1))
        x = F.interpolate(x, size=low.shape[2:], mode="bilinear", align_corners=self.align_corners)
        return self.cls_seg(self.decoder(torch.cat([self.low(low), x], dim=1)))


@MODELS.register_module()
class AuxiliaryFCNHead(BaseDecodeHead):
    """A 3×3 convolution with bias and a classifier, supervised at its own resolution.

    Args:
        in_channels: Channels of the stage.
        channels: Channels before the classifier.
        loss_resolution: ``feature``: the label is reduced to the logits by nearest neighbours;
            ``label``: the logits are enlarged, as in mmseg's ``FCNHead``.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to 2, ``dropout_ratio`` to
            0.1, the loss to 0.4 times the cross-entropy over labelled positions.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 512,
        *,
        loss_resolution: str = "feature",
        **kwargs: Any,
    ) -> None:
        kwargs = {
            "in_index": 2,
            "align_corners": True,
            "dropout_ratio": 0.1,
            "norm_cfg": {"type": "BN"},
            "loss_decode": {**_CROSS_ENTROPY, "loss_weight": 0.4},
            "init_cfg": dict(KAIMING_FAN_IN),
            **kwargs,
        }
        super().__init__(in_channels, channels, **kwargs)
        if loss_resolution not in ("feature", "label"):
            raise ValueError(f"loss_resolution={loss_resolution!r} is neither feature nor label")
        self.loss_resolution = loss_resolution
        self.conv = conv_norm_relu(in_channels, channels, 3, dict(self.norm_cfg), bias=True)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classifies the stage ``in_index`` of (B, C_l, H_l, W_l): logits (B, K, H_l, W_l)."""
        return self.cls_seg(self.conv(self._transform_inputs(inputs)))
