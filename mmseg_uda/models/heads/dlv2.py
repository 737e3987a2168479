"""DeepLabV2's classifier (https://arxiv.org/abs/1606.00915) on the last encoder stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DLV2Head(BaseDecodeHead):
    """Sum of biased 3×3 convolutions with different dilations, one score map each.

    Args:
        in_channels: Channels of the stage.
        dilations: One classifier each. ``(6, 12, 18, 24)`` is DeepLabV2; ``(6, 12)`` is what
            the AdaptSegNet line of work trains.
        **kwargs: mmseg's decode head options.

    Attributes:
        output_stride: Pixels of the image per pixel of the logits, with the dilated ResNet.
    """

    output_stride = 8

    def __init__(
        self, in_channels: int, dilations: Sequence[int] = (6, 12, 18, 24), **kwargs: Any
    ) -> None:
        kwargs.setdefault("in_index", 3)
        kwargs.setdefault("loss_decode", {"type": "PixelCrossEntropy"})
        kwargs.setdefault(
            "init_cfg", {"type": "Normal", "std": 0.01, "override": {"name": "aspp_modules"}}
        )
        kwargs.pop("channels", None)
        # the classifiers below take the place of mmseg's 1×1 classifier and its dropout
        super().__init__(in_channels, 1, dropout_ratio=0, **kwargs)
        del self.conv_seg
        self.aspp_modules = nn.ModuleList(
            ConvModule(
                in_channels,
                self.out_channels,
                3,
                padding=dilation,
                dilation=dilation,
                norm_cfg=None,
                act_cfg=None,
            )
            for dilation in dilations
        )

    @property
    def classifiers(self) -> list[nn.Conv2d]:
        """The convolutions whose sum is the logits."""
        return [module.conv for module in self.aspp_modules]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classifies features.

        Args:
            inputs: Backbone maps, of which ``in_index`` is used, (B, C, H, W).

        Returns:
            Logits (B, num_classes, H, W).
        """
        x = self._transform_inputs(inputs)
        out = self.aspp_modules[0](x)
        for classifier in self.aspp_modules[1:]:
            out = out + classifier(x)
        return out
