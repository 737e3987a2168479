"""VFM-UDA++'s decoder of four maps (https://arxiv.org/abs/2503.10685)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.heads.options import fixed_layers, multiple_select
from mmseg_uda.models.norms import ChannelNorm


@MODELS.register_module()
class PyramidHead(BaseDecodeHead):
    """From the coarsest map to the finest: enlarge, add the next map, smooth.

    Widths are D/2, D/4 and D/8. The classifier has no bias and starts from N(0, 0.1).

    Args:
        in_channels: Channels of the four maps, finest first, all alike.
        norm: ``BN`` (momentum 0.01, as published) or ``LN``, whose teacher needs no statistics.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to all maps.

    Raises:
        UserError: The maps are not four of one width, or the norm is unknown.
    """

    def __init__(self, in_channels: Sequence[int], norm: str = "BN", **kwargs: Any) -> None:
        if len(in_channels) != 4 or len(set(in_channels)) != 1:
            raise UserError(
                f"PyramidHead takes four maps of one width, not in_channels={list(in_channels)}.",
                fix="Put model.neck=dict(type='SimplePyramid', ...) before it.",
            )
        require_choice("decode_head.norm", norm, ("BN", "LN"))
        width = in_channels[0]
        widths = [width, width // 2, width // 4, width // 8]
        kwargs = fixed_layers(multiple_select(kwargs, "PyramidHead"), "PyramidHead")
        kwargs.setdefault("in_index", [0, 1, 2, 3])
        super().__init__(list(in_channels), widths[-1], **kwargs)
        for i, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
            self.add_module(f"up_conv{i}", nn.ConvTranspose2d(before, after, 2, stride=2))
            self.add_module(f"reduce_conv{i}", nn.Conv2d(width, after, 1))
            self.add_module(f"smooth_conv{i}", nn.Conv2d(after, after, 3, padding=1))
            layer = nn.BatchNorm2d(after, momentum=0.01) if norm == "BN" else ChannelNorm(after)
            self.add_module(f"norm{i}", layer)
        self.smooth_conv4 = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.conv_seg = nn.Conv2d(widths[-1], self.out_channels, 1, bias=False)

    def decode(self, inputs: Sequence[Tensor]) -> Tensor:
        """Features (B, D/8, H_0, W_0) of maps (B, D, H_i, W_i), before the classifier."""
        *finer, x = self._transform_inputs(inputs)
        for i, level in enumerate(reversed(finer), start=1):
            up, reduce, smooth, norm = (
                self.get_submodule(f"{name}{i}")
                for name in ("up_conv", "reduce_conv", "smooth_conv", "norm")
            )
            x = up(x)
            if x.shape[2:] != level.shape[2:]:  # an odd side was halved
                x = F.interpolate(x, level.shape[2:], mode="bilinear", align_corners=False)
            x = F.relu(norm(smooth(x + reduce(level))))
        return self.smooth_conv4(x)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decodes maps (B, D, H_i, W_i), finest first, to logits (B, num_classes, H_0, W_0)."""
        return self.cls_seg(self.decode(inputs))
