"""DAFormer's decoder: embed four levels, fuse them with context (DAFormer, Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.models.heads.layers import build_layer
from mmseg_uda.models.heads.levels import embed_levels, fuse_levels
from mmseg_uda.models.heads.options import check_keys, multiple_select


@MODELS.register_module()
class DAFormerHead(BaseDecodeHead):
    """Multi-level decoder with a choice of context-aware fusions.

    Args:
        in_channels: Channels of the levels, finest first.
        channels: Channels after the fusion.
        decoder_params: ``embed_dims`` (one width or one per level), ``embed_cfg`` (levels but
            the last), ``embed_neck_cfg`` (last level; default ``embed_cfg``) and ``fusion_cfg``;
            layers are described by ``type`` (see ``mmseg_uda.models.heads.layers``) and options.
        **kwargs: mmseg's decode head options; ``in_index`` defaults to all levels.

    Attributes:
        output_stride: Pixels of the image per pixel of the logits.
    """

    output_stride = 4

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        decoder_params: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("in_index", list(range(len(in_channels))))
        kwargs.setdefault("loss_decode", {"type": "PixelCrossEntropy"})
        params = dict(decoder_params)
        known = ("embed_dims", "embed_cfg", "embed_neck_cfg", "fusion_cfg")
        check_keys(params, known, "decoder_params")
        kwargs = multiple_select(kwargs, "DAFormerHead")
        super().__init__(list(in_channels), channels, **kwargs)
        dims = params["embed_dims"]
        widths = [dims] * len(in_channels) if isinstance(dims, int) else list(dims)
        embed_cfg = params["embed_cfg"]
        last_cfg = params.get("embed_neck_cfg") or embed_cfg
        layers: dict[str, nn.Module] = {}
        for level, before, width in zip(self.in_index, in_channels, widths, strict=True):
            last = level == self.in_index[-1]
            cfg, name = (last_cfg, "embed_neck_cfg") if last else (embed_cfg, "embed_cfg")
            layers[str(level)] = build_layer(before, width, cfg, f"decoder_params.{name}")
        self.embed_layers = nn.ModuleDict(layers)
        self.fuse_layer = build_layer(
            sum(widths), channels, params["fusion_cfg"], "decoder_params.fusion_cfg"
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Decodes backbone features.

        Args:
            inputs: Maps (B, C_i, H_i, W_i), finest first.

        Returns:
            Logits (B, num_classes, H_0, W_0).
        """
        levels = self._transform_inputs(inputs)
        embedded = embed_levels(levels, self.embed_layers.values(), self.align_corners)
        return self.cls_seg(fuse_levels(embedded, self.fuse_layer))
