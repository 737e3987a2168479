"""HRDA's decoder: one head for two scales, fused by a learned scale attention (HRDA, Sec. 3)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.heads.daformer import DAFormerHead
from mmseg_uda.models.heads.deeplabv3plus import DeepLabV3PlusHead
from mmseg_uda.models.heads.dlv2 import DLV2Head
from mmseg_uda.models.views import Box, upsample

SCALE_HEADS: dict[str, Any] = {
    head.__name__: head for head in (DAFormerHead, DLV2Head, DeepLabV3PlusHead)
}


@dataclass(frozen=True)
class ScaleLogits:
    """Predictions of both scales and their fusion, at the decoder's resolution.

    Attributes:
        fused: (B, C, H/os, W/os) of the whole image.
        lr: Context prediction times one minus attention, (B, C, h, w) on the low-resolution grid.
        context: Context prediction itself, (B, C, h, w).
        hr: Detail prediction (B, C, h', w') of the detail crop, or of the whole image.
        attention: Weight of the detail prediction in [0, 1], (B, C or 1, H/os, W/os).
    """

    fused: Tensor
    lr: Tensor
    context: Tensor
    hr: Tensor
    attention: Tensor


@MODELS.register_module()
class HRDAHead(BaseDecodeHead):
    """Shared decoder of both scales plus a scale attention predicted from the context scale.

    Args:
        single_scale_head: ``'DAFormerHead'``, ``'DLV2Head'`` or ``'DeepLabV3PlusHead'``; takes the
            remaining options. When absent, one of the first two, by the options that are given.
        scales: Resize factors, context first, e.g. (0.5, 1); set by the segmentor.
        attention_classwise: One attention map per class, else one for all.
        attention_embed_dim: Width of a DAFormer attention head.
        fixed_attention: Constant instead of a learned attention.
        hr_loss_weight: Share of the loss on the detail prediction.
        lr_loss_weight: Share of the loss on the attention-scaled context prediction.
        **kwargs: Options of the single-scale head.

    Attributes:
        output_stride: Pixels of the image per pixel of the logits.
    """

    def __init__(
        self,
        single_scale_head: str | None = None,
        scales: Sequence[float] = (0.5, 1),
        attention_classwise: bool = True,
        attention_embed_dim: int = 256,
        fixed_attention: float | None = None,
        hr_loss_weight: float = 0.0,
        lr_loss_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if single_scale_head is None:
            single_scale_head = "DAFormerHead" if "decoder_params" in kwargs else "DLV2Head"
        require_choice("decode_head.single_scale_head", single_scale_head, SCALE_HEADS)
        if not 0 <= hr_loss_weight + lr_loss_weight <= 1:
            raise UserError(
                "decode_head.hr_loss_weight + decode_head.lr_loss_weight must lie in [0, 1], "
                f"not {hr_loss_weight + lr_loss_weight}.",
                fix="The rest, up to 1, is the weight of the fused prediction.",
            )
        kwargs.setdefault("loss_decode", {"type": "PixelCrossEntropy"})
        shared = {
            key: kwargs[key]
            for key in ("num_classes", "loss_decode", "ignore_index", "align_corners", "sampler")
            if key in kwargs
        }
        # the wrapper has neither classifier nor dropout; both heads bring their own
        super().__init__(1, 1, dropout_ratio=0, init_cfg=None, **shared)
        del self.conv_seg
        head_class = SCALE_HEADS[single_scale_head]
        self.lr_scale, self.hr_scale = sorted(scales)
        self.hr_loss_weight = hr_loss_weight
        self.lr_loss_weight = lr_loss_weight
        self.fixed_attention = fixed_attention
        self.head = head_class(**kwargs)
        self.output_stride: int = self.head.output_stride
        if fixed_attention is None:
            options = _attention_options(kwargs, attention_embed_dim)
            if not attention_classwise:
                options["num_classes"] = 1
            self.scale_attention = head_class(**options)

    def attention(
        self, lr_features: Sequence[Tensor], lr: Tensor, fixed: float | None = None
    ) -> Tensor:
        """Predicts the weight of the detail scale from the context features.

        Float32 under mixed precision, too: both predictions are scaled with it before the loss.

        Args:
            lr_features: Backbone maps of the resized image.
            lr: Context logits (B, C, h, w); their size is the attention's.
            fixed: Constant to return instead; the head's own ``fixed_attention`` comes second.

        Returns:
            (B, C or 1, h, w) in [0, 1]; gradients flow into the features.
        """
        fixed = self.fixed_attention if fixed is None else fixed
        if fixed is not None:
            return torch.full_like(lr[:, :1], float(fixed), dtype=torch.float32)
        return self.scale_attention(lr_features).float().sigmoid()

    def fuse(
        self,
        lr: Tensor,
        hr: Tensor,
        attention: Tensor,
        size: Sequence[int],
        box: Box | None = None,
    ) -> ScaleLogits:
        """Blends both predictions (HRDA, Eq. 8-10), also several of each along the channels.

        Where a box limits the detail prediction, the attention is masked on the coarse grid and
        upsampled after that, so a ring of one fine pixel around the box is attenuated. This
        order is the published one.

        Args:
            lr: Context logits (B, C, h, w).
            hr: Detail logits, of the box or of the whole image.
            attention: (B, C or 1, h, w).
            size: Height and width of the fused logits.
            box: Region of the image that ``hr`` covers.
        """
        if box is not None:
            rows, columns = box.scaled_slices(self.output_stride / self.lr_scale)
            mask = torch.zeros_like(attention[:1, :1])
            mask[:, :, rows, columns] = 1
            attention = attention * mask
        context, lr = lr, (1 - attention) * lr
        attention = upsample(attention, size, self.align_corners)
        inserted = hr
        if box is not None:
            rows, columns = box.scaled_slices(self.output_stride)
            pad = (columns.start, size[1] - columns.stop, rows.start, size[0] - rows.stop)
            inserted = F.pad(hr, pad)
        fused = attention * inserted + upsample(lr, size, self.align_corners)
        return ScaleLogits(fused, lr, context, hr, attention)

    def forward(
        self,
        lr_features: Sequence[Tensor],
        hr_features: Sequence[Tensor],
        size: Sequence[int],
        box: Box | None = None,
    ) -> ScaleLogits:
        """Decodes both scales and fuses them.

        Args:
            lr_features: Backbone maps (B, C_l, H_l, W_l) of the resized image.
            hr_features: Those of the detail crop.
            size: Height and width of the fused logits.
            box: Detail crop in pixels of the image; the whole image when absent.
        """
        lr, hr = self.head(lr_features), self.head(hr_features)
        return self.fuse(lr, hr, self.attention(lr_features, lr), size, box)


def _attention_options(kwargs: dict[str, Any], embed_dim: int) -> dict[str, Any]:
    """Options of the attention head: narrow, and a 1×1 convolution in place of ASPP."""
    options = copy.deepcopy(kwargs)
    params = options.get("decoder_params")
    if params is None:
        return options
    options["channels"] = embed_dim
    params["embed_dims"] = embed_dim
    fusion = params["fusion_cfg"]
    if fusion["type"] == "aspp":
        params["fusion_cfg"] = {
            "type": "conv",
            "kernel_size": 1,
            "act_cfg": {"type": "ReLU"},
            "norm_cfg": fusion.get("norm_cfg"),
        }
    return options
