"""Embedding and fusion layers of the DAFormer head, chosen by name (DAFormer, Sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPModule
from mmseg.models.utils import SelfAttentionBlock
from torch import Tensor, nn

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.heads.levels import EmbeddedLevels, fuse_levels, is_pointwise
from mmseg_uda.models.layout import tokens_to_map, with_layout
from mmseg_uda.models.recompute import norm_relu_conv

RELU: dict[str, Any] = {"type": "ReLU"}


class TokenLinear(nn.Module):
    """The same linear layer at every pixel: (B, C_in, H, W) to (B, C, H, W).

    The weight keeps the shape of a linear layer, (C, C_in), as in published checkpoints.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C, H, W)."""
        return F.conv2d(x, self.proj.weight[:, :, None, None], self.proj.bias)


class ASPPFusion(nn.Module):
    """Parallel dilated convolutions, concatenated and mixed by a 3×3 convolution.

    Args:
        in_channels: Channels of the input.
        channels: Channels of each branch and of the output.
        dilations: One branch each; 1 is a 1×1 convolution.
        sep: Depth-wise separable branches.
        pool: Add a branch of the image's mean.
        norm_cfg: mmcv norm config.
        act_cfg: mmcv activation config; ``None`` for none.
        align_corners: For upsampling the mean.
    """

    takes_levels = True

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int] = (1, 6, 12, 18),
        sep: bool = False,
        pool: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = RELU,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        conv = {"conv_cfg": None, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.image_pool = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvModule(in_channels, channels, 1, **conv))
            if pool
            else None
        )
        module = DepthwiseSeparableASPPModule if sep else ASPPModule
        self.aspp_modules = module(
            dilations=tuple(dilations), in_channels=in_channels, channels=channels, **conv
        )
        self.bottleneck = ConvModule(
            (len(dilations) + int(pool)) * channels, channels, 3, padding=1, **conv
        )

    def forward(self, x: Tensor | EmbeddedLevels) -> Tensor:
        """Maps (B, C_in, H, W), also as levels that are still to be joined, to (B, C, H, W)."""
        return self.bottleneck(self._joined(x))

    def _joined(self, levels: Tensor | EmbeddedLevels) -> Tensor:
        """The branches' maps side by side, (B, branches · C, H, W); nothing else is held of them.

        ReLU comes after the concatenation: before it, the gradient would keep every branch twice.
        The last branches come first: separable ones need most room, while few results are held.
        """
        together = isinstance(getattr(self.bottleneck, "activate", None), nn.ReLU)
        x = levels.joined() if isinstance(levels, EmbeddedLevels) else levels
        outs: list[Tensor] = []
        for module in reversed([*self.aspp_modules]):
            # A gradient would keep the levels beside the joined map, which other branches need.
            early = x is not levels and not torch.is_grad_enabled() and is_pointwise(module)
            branch = fuse_levels if early else _branch
            outs.insert(0, branch(levels if early else x, module, activate=not together))
        if self.image_pool is not None:
            mean = F.interpolate(
                self.image_pool(x),
                size=x.shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
            )
            outs.insert(0, mean)
        joined = torch.cat(outs, dim=1)
        return self.bottleneck.activate(joined) if together else joined


def _branch(x: Tensor, module: nn.Module, activate: bool) -> Tensor:
    if not isinstance(module, DepthwiseSeparableConvModule):
        return module(x, activate=activate)
    first, second = module.depthwise_conv, module.pointwise_conv
    if not (first.with_norm and first.with_activation):
        return second(first(x), activate=activate)
    x = first(x, activate=False, norm=False)
    x = norm_relu_conv(x, first.norm, first.activate, second.conv)
    x = second.norm(x) if second.with_norm else x
    return second.activate(x) if activate and second.with_activation else x


class GroupAttention(SelfAttentionBlock):
    """Self-attention over all pixels of a small map, with a convolution on the result.

    mmseg's block provides the projections; the attention itself is fused.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        key_query_num_convs: int,
        norm_cfg: dict[str, Any] | None,
        act_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__(
            key_in_channels=in_channels,
            query_in_channels=in_channels,
            channels=channels,
            out_channels=in_channels,
            share_key_query=False,
            query_downsample=None,
            key_downsample=None,
            key_query_num_convs=key_query_num_convs,
            value_out_num_convs=1,
            key_query_norm=True,
            value_out_norm=False,
            matmul_norm=True,
            with_out=False,
            conv_cfg=None,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )
        self.output_project = ConvModule(
            in_channels, in_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        # One head, channels side by side: fused kernels take nothing else.
        query, key, value = (
            project(x).flatten(2).transpose(1, 2).contiguous().unsqueeze(1)
            for project in (self.query_project, self.key_project, self.value_project)
        )
        context = F.scaled_dot_product_attention(query, key, value).squeeze(1)
        return self.output_project(tokens_to_map(self, context, x.shape[2:]))


class InterlacedAttention(nn.Module):
    """Interlaced sparse self-attention (https://arxiv.org/abs/1907.12273) as fusion.

    The map is cut into cells of ``down_factor`` pixels. Attention runs first over the pixels
    that share a position in their cell (long range), then inside each cell (short range). Maps
    that do not divide into cells are padded with zeros on both sides.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        isa_channels: Channels of keys and queries.
        down_factor: Height and width of a cell in pixels.
        key_query_num_convs: 1×1 convolutions before keys and queries.
        norm_cfg: mmcv norm config.
        act_cfg: mmcv activation config.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        isa_channels: int,
        down_factor: Sequence[int] = (8, 8),
        key_query_num_convs: int = 2,
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        self.cell_height, self.cell_width = down_factor
        self.in_conv = ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        attention = (channels, isa_channels, key_query_num_convs, norm_cfg, act_cfg)
        self.global_relation = GroupAttention(*attention)
        self.local_relation = GroupAttention(*attention)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C_in, H, W) to (B, C, H, W)."""
        x = self.in_conv(x)
        batch, channels, height, width = x.shape
        cell_h, cell_w = self.cell_height, self.cell_width
        rows, columns = math.ceil(height / cell_h), math.ceil(width / cell_w)
        spare_h, spare_w = rows * cell_h - height, columns * cell_w - width
        top, left = spare_h // 2, spare_w // 2
        x = F.pad(x, (left, spare_w - left, top, spare_h - top))
        # axes: 0 batch, 1 channel, 2 row, 3 y in cell, 4 column, 5 x in cell
        x = x.view(batch, channels, rows, cell_h, columns, cell_w)
        x = x.permute(0, 3, 5, 1, 2, 4).reshape(-1, channels, rows, columns)
        x = self.global_relation(with_layout(self, x))
        x = x.view(batch, cell_h, cell_w, channels, rows, columns)
        x = x.permute(0, 4, 5, 3, 1, 2).reshape(-1, channels, cell_h, cell_w)
        x = self.local_relation(with_layout(self, x))
        x = x.view(batch, rows, columns, channels, cell_h, cell_w).permute(0, 3, 1, 4, 2, 5)
        x = with_layout(self, x.reshape(batch, channels, rows * cell_h, columns * cell_w))
        return x[:, :, top : top + height, left : left + width]


def _conv(
    in_channels: int, channels: int, kernel_size: int = 1, padding: int | None = None, **kwargs: Any
) -> nn.Module:
    padding = kernel_size // 2 if padding is None else padding
    return ConvModule(in_channels, channels, kernel_size, padding=padding, **kwargs)


def _separable_conv(
    in_channels: int, channels: int, kernel_size: int = 3, padding: int | None = None, **kwargs: Any
) -> nn.Module:
    padding = kernel_size // 2 if padding is None else padding
    return DepthwiseSeparableConvModule(
        in_channels, channels, kernel_size, padding=padding, **kwargs
    )


def _conv_and_aspp(
    in_channels: int, channels: int, kernel_size: int = 1, **kwargs: Any
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel_size), ASPPFusion(channels, channels, **kwargs)
    )


def _linear(
    in_channels: int, channels: int, norm_cfg: None = None, act_cfg: None = None
) -> nn.Module:
    _none_of("mlp", norm_cfg=norm_cfg, act_cfg=act_cfg)
    return TokenLinear(in_channels, channels)


def _none_of(kind: str, **options: Any) -> None:
    """Refuses what published configs set to None, since the layer has none."""
    for name, value in options.items():
        if value is not None:
            raise UserError(
                f"decoder_params: an '{kind}' layer has no {name}, but {name}={value!r} is set.",
                fix="Use type='conv', or leave it out.",
            )


def _identity(
    in_channels: int, channels: int, norm_cfg: None = None, act_cfg: None = None
) -> nn.Module:
    _none_of("id", norm_cfg=norm_cfg, act_cfg=act_cfg)
    if in_channels != channels:
        raise UserError(
            f"decoder_params: an 'id' layer cannot turn {in_channels} channels into {channels}.",
            fix="Use type='mlp' or 'conv'.",
        )
    return nn.Identity()


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "id": _identity,
    "mlp": _linear,
    "conv": _conv,
    "sep_conv": _separable_conv,
    "aspp": ASPPFusion,
    "isa": InterlacedAttention,
    "rawconv_and_aspp": _conv_and_aspp,
}


def build_layer(in_channels: int, channels: int, cfg: dict[str, Any], where: str) -> nn.Module:
    """Builds an embedding or fusion layer.

    Args:
        in_channels: Channels of its input.
        channels: Channels of its output.
        cfg: ``type`` is a key of ``LAYERS``, the rest its options.
        where: Config key named in errors.

    Raises:
        UserError: The type or an option is unknown.
    """
    options = dict(cfg)
    kind = options.pop("type", None)
    require_choice(f"{where}.type", kind, LAYERS)
    try:
        return LAYERS[kind](in_channels, channels, **options)
    except TypeError as error:
        raise UserError(f"{where}: {error}", fix=f"Check the options of type={kind!r}.") from error
