"""Mix Transformer encoders (SegFormer, https://arxiv.org/abs/2105.15203) on mmseg's blocks.

mmseg's ``MixVisionTransformer`` differs from the networks that the published checkpoints were
trained with in two LayerNorm epsilons, and computes attention weights that nobody reads. Both
are mended here; parameter names stay mmseg's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from mmseg.models.backbones.mit import (
    EfficientMultiheadAttention,
    MixFFN,
    MixVisionTransformer,
    TransformerEncoderLayer,
)
from mmseg.models.utils import PatchEmbed, nchw_to_nlc
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.layout import tokens_to_map
from mmseg_uda.models.recompute import recompute_modules

# variant: (width of one head, blocks per stage)
MIT_VARIANTS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "b0": (32, (2, 2, 2, 2)),
    "b1": (64, (2, 2, 2, 2)),
    "b2": (64, (3, 4, 6, 3)),
    "b3": (64, (3, 4, 18, 3)),
    "b4": (64, (3, 8, 27, 3)),
    "b5": (64, (3, 6, 40, 3)),
}

# LayerNorms of the patch embeddings and after the spatial reduction keep torch's default.
EMBED_NORM_CFG = {"type": "LN", "eps": 1e-5}
BLOCK_NORM_CFG = {"type": "LN", "eps": 1e-6}


class FusedAttention(BaseModule):
    """Spatially reduced self-attention through ``scaled_dot_product_attention``.

    Takes over the submodules of mmseg's attention, so parameters and their names are the same,
    but no averaged attention map is computed.

    Args:
        source: The attention whose submodules are adopted.
    """

    def __init__(self, source: EfficientMultiheadAttention) -> None:
        super().__init__()
        self.num_heads = source.num_heads
        self.sr_ratio = source.sr_ratio
        for name, child in source.named_children():
            self.add_module(name, child)

    def forward(
        self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor | None = None
    ) -> Tensor:
        """Attends from every token to the spatially reduced tokens.

        Args:
            x: Tokens, (B, H·W, C).
            hw_shape: (H, W).
            identity: Added to the result, (B, H·W, C); ``x`` when absent.

        Returns:
            Tokens, (B, H·W, C).
        """
        context = x
        if self.sr_ratio > 1:
            context = self.norm(nchw_to_nlc(self.sr(tokens_to_map(self, x, hw_shape))))
        attn = self.attn
        batch, length, width = x.shape
        bias = attn.in_proj_bias
        query = F.linear(x, attn.in_proj_weight[:width], None if bias is None else bias[:width])
        key_value = F.linear(
            context, attn.in_proj_weight[width:], None if bias is None else bias[width:]
        )
        query = query.view(batch, length, self.num_heads, -1).transpose(1, 2)
        key, value = key_value.view(batch, context.shape[1], 2, self.num_heads, -1).permute(
            2, 0, 3, 1, 4
        )
        dropout = attn.dropout if attn.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        out = attn.out_proj(out.transpose(1, 2).reshape(batch, length, width))
        identity = x if identity is None else identity
        return identity + self.dropout_layer(self.proj_drop(out))


class PlacedMixFFN(MixFFN):
    """Mix-FFN whose depthwise convolution gets a map in the chosen layout.

    Args:
        source: The block whose submodules are adopted.
    """

    def __init__(self, source: MixFFN) -> None:
        BaseModule.__init__(self)
        for name, child in source.named_children():
            self.add_module(name, child)

    def forward(
        self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor | None = None
    ) -> Tensor:
        """Mixes (B, H·W, C) tokens of a map of (H, W); ``identity``, else ``x``, is added."""
        out = nchw_to_nlc(self.layers(tokens_to_map(self, x, hw_shape)))
        return (x if identity is None else identity) + self.dropout_layer(out)


@MODELS.register_module()
class MiT(MixVisionTransformer):
    """Mix Transformer encoder with the published LayerNorm epsilons and fused attention.

    Returns four maps (B, C_i, H/2^(i+2), W/2^(i+2)).

    Args:
        variant: ``b0`` to ``b5``; gives width and depths.
        embed_dims: Width of one head, replaces the variant's.
        num_layers: Blocks per stage, replaces the variant's.
        num_heads: Heads per stage; the stage's width is ``embed_dims · heads``.
        sr_ratios: Spatial reduction of keys and values per stage.
        mlp_ratio: Hidden width of the Mix-FFN over the stage's width.
        drop_rate: Dropout in attention projections and Mix-FFN.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0.
        in_channels: Channels of the image.
        with_cp: Recompute blocks in the backward pass to save memory.
        init_cfg: Weight initialisation, e.g. ``dict(type='BackboneWeights', checkpoint='mit_b5')``.

    Raises:
        UserError: The variant is unknown.
    """

    patch_sizes = (7, 3, 3, 3)
    strides = (4, 2, 2, 2)
    out_indices = (0, 1, 2, 3)

    def __init__(
        self,
        variant: str = "b5",
        *,
        embed_dims: int | None = None,
        num_layers: Sequence[int] | None = None,
        num_heads: Sequence[int] = (1, 2, 5, 8),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        mlp_ratio: int = 4,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        in_channels: int = 3,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if variant not in MIT_VARIANTS:
            raise UserError(
                f"backbone.variant={variant!r} is no Mix Transformer.",
                fix=f"Use one of {', '.join(MIT_VARIANTS)}.",
            )
        # Past the parent's constructor: it reads tensors back to build its stochastic depth,
        # which the meta device cannot do.
        BaseModule.__init__(self, init_cfg=init_cfg)
        width: int
        depths: tuple[int, ...]
        width, depths = MIT_VARIANTS[variant]
        width = width if embed_dims is None else embed_dims
        depths = depths if num_layers is None else tuple(num_layers)
        self.embed_dims = width
        self.num_layers = depths
        self.num_heads = tuple(num_heads)
        self.sr_ratios = tuple(sr_ratios)
        self.channels = tuple(width * heads for heads in num_heads)
        total = sum(depths)
        rates = iter([drop_path_rate * i / max(total - 1, 1) for i in range(total)])

        self.layers = ModuleList()
        for stage, depth in enumerate(depths):
            dims = self.channels[stage]
            embed = PatchEmbed(
                in_channels=in_channels,
                embed_dims=dims,
                kernel_size=self.patch_sizes[stage],
                stride=self.strides[stage],
                padding=self.patch_sizes[stage] // 2,
                norm_cfg=EMBED_NORM_CFG,
            )
            blocks = ModuleList(
                TransformerEncoderLayer(
                    embed_dims=dims,
                    num_heads=num_heads[stage],
                    feedforward_channels=mlp_ratio * dims,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=next(rates),
                    norm_cfg=BLOCK_NORM_CFG,
                    sr_ratio=sr_ratios[stage],
                )
                for _ in range(depth)
            )
            for block in blocks:
                if block.attn.sr_ratio > 1:
                    block.attn.norm = build_norm_layer(EMBED_NORM_CFG, dims)[1]
                block.attn = FusedAttention(block.attn)
                block.ffn = PlacedMixFFN(block.ffn)
            if with_cp:
                recompute_modules(blocks)
            norm = build_norm_layer(BLOCK_NORM_CFG, dims)[1]
            self.layers.append(ModuleList([embed, blocks, norm]))
            in_channels = dims

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encodes images (B, 3, H, W); the maps have the layout that was chosen."""
        maps = []
        for embed, blocks, norm in self.layers:
            tokens, size = embed(x)
            for block in blocks:
                tokens = block(tokens, size)
            x = tokens_to_map(self, norm(tokens), size)
            maps.append(x)
        return maps

    def init_weights(self) -> None:
        """Initialises from ``init_cfg``, or as SegFormer does: truncated normals of 0.02.

        Convolutions get a normal of √(2 / fan-out), except the Mix-FFN's 1×1 ones, which are
        linear layers in disguise.
        """
        if self.init_cfg is not None:
            BaseModule.init_weights(self)
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
                nn.init.zeros_(module.in_proj_bias)
            elif isinstance(module, MixFFN):
                for layer in (module.layers[0], module.layers[4]):
                    nn.init.trunc_normal_(layer.weight, std=0.02)
