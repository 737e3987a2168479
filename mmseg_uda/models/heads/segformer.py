"""SegFormer's all-MLP decoder (https://arxiv.org/abs/2105.15203), the wide one of MiT-B5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.models.heads.layers import TokenLinear
from mmseg_uda.models.heads.levels import embed_levels, fuse_levels
from mmseg_uda.models.heads.options import check_keys, multiple_select


@MODELS.register_module()
class SegFormerHead(BaseDecodeHead):
    """All-MLP decoder whose modules have the names of SegFormer's checkpoints.

    mmseg's own ``SegformerHead`` (lower-case f) is another class: 256 channels, other names.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Width of ``conv_seg``, which released checkpoints contain although nothing
            uses it. It is frozen here, so that no optimiser or gradient reducer waits for it.
        decoder_params: ``embed_dim`` (768) and ``conv_kernel_size`` of the fusion (1).
        **kwargs: mmseg's decode head options; ``in_index`` defaults to all levels.

    Attributes:
        output_stride: Pixels of the image per pixel of the logits.
    """

    output_stride = 4

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 128,
        *,
        decoder_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("in_index", list(range(len(in_channels))))
        kwargs.setdefault("loss_decode", {"type": "PixelCrossEntropy"})
        params = dict(decoder_params or {})
        check_keys(params, ("embed_dim", "conv_kernel_size"), "decoder_params")
        kwargs = multiple_select(kwargs, "SegFormerHead")
        super().__init__(list(in_channels), channels, **kwargs)
        self.conv_seg.requires_grad_(False)
        width = params.get("embed_dim", 768)
        kernel_size = params.get("conv_kernel_size", 1)
        self.linear_c = nn.ModuleDict(
            {
                str(level): TokenLinear(before, width)
                for level, before in zip(self.in_index, in_channels, strict=True)
            }
        )
        self.linear_fuse = ConvModule(
            width * len(in_channels),
            width,
            kernel_size,
            padding=kernel_size // 2,
            norm_cfg=self.norm_cfg or {"type": "BN", "requires_grad": True},
        )
        self.linear_pred = nn.Conv2d(width, self.out_channels, 1)

    @property
    def classifiers(self) -> list[nn.Conv2d]:
        """The convolution that gives the logits."""
        return [self.linear_pred]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decodes backbone features.

        Args:
            inputs: Maps (B, C_i, H_i, W_i), finest first.

        Returns:
            Logits (B, num_classes, H_0, W_0).
        """
        levels = self._transform_inputs(inputs)
        embedded = embed_levels(levels, self.linear_c.values(), align_corners=False)
        x = fuse_levels(embedded, self.linear_fuse)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.linear_pred(x)
