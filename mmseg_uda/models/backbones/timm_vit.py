"""Plain vision transformers of timm as encoders: DINOv2, DINOv3, EVA-02 and their kin.

timm brings the layers; the pass through them is here, since it resizes the image to whole patches,
replaces patches by a mask token and resizes positions as each network's authors did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.cfg_options import nearest
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.adapters import ADAPTERS, AdaptedLinear, Rein, ReinOptions, adapt_blocks
from mmseg_uda.models.backbones.positions import (
    PATCH_MODES,
    POSITION_MODES,
    resize_positions,
    split_positions,
)
from mmseg_uda.models.backbones.timm_network import build_network
from mmseg_uda.models.layout import tokens_to_map

TRAINABLE = ("all", "none", "adapters")
# timm's parts that the pass goes through, in this order; the rest belongs to classification
_LAYERS = ("patch_embed", "pos_drop", "norm_pre", "blocks", "norm", "fc_norm", "rope")
_TOKENS = ("cls_token", "reg_token", "pos_embed")


@MODELS.register_module()
class TimmViT(BaseModule):
    """A plain vision transformer of timm, on images of any size, as one map or several.

    Parameter names are timm's, and ``mask_token``.

    Args:
        arch: Name in timm, e.g. ``vit_base_patch14_dinov2``, ``vit_large_patch16_dinov3``.
        input_scale: The image is resized (bilinear) to ``max(1, floor(input_scale · S / p))``
            patches for a side of S pixels and patches of p, or to ``ceil(S / p)`` where the scale
            is 1. VFM-UDA (https://arxiv.org/abs/2406.09896): 1.1, which makes 80² of 1024².
        out_indices: Blocks whose output is returned, from 0; the last one alone by default.
            Negative ones count from the end.
        final_norm: Apply the network's last LayerNorm to every returned map.
        resample: Factors by which the maps are resized (bilinear), e.g. ``(4, 2, 1, 0.5)``.
        pos_embed_mode: ``published``: as the authors' code resizes positions in every pass;
            ``timm``: as timm does, which differs for DINOv2 without registers; ``fixed``: resized
            once, while loading, to ``fixed_grid``.
        fixed_grid: Tokens per axis of ``fixed`` positions: crop / patch.
        drop_path: Stochastic depth of the last block; grows linearly from 0.
        patch_size: Patch in pixels, where it is not to be the arch's; kernels are resized while
            loading.
        patch_resize: ``bicubic`` (Rein, SoMA) or ``flexi`` (FlexiViT's pseudo-inverse).
        trainable: ``all``; ``none`` freezes the encoder: no gradients, eval mode, but for the mask
            token where tokens are masked; ``adapters`` trains those of ``adapter`` alone.
        adapter: ``dict(type='lora')``, ``'soma'`` or ``'rein'`` with options; see
            :mod:`mmseg_uda.models.adapters`.
        arch_options: Further options of timm's network, e.g. ``dict(embed_dim=64, depth=4,
            num_heads=4, img_size=126)`` for a smaller one.
        init_cfg: ``dict(type='BackboneWeights', checkpoint='vit_base_patch14_dinov2.lvd142m')``.

    Attributes:
        embed_dim: Channels of every map.
        depth: Number of blocks.
        patch_size: Pixels of the resized image per token and axis.
        num_prefix_tokens: Tokens before those of patches: class and registers.
        feature_channels: Channels of the returned maps.
        feature_strides: Image pixels per pixel of the returned maps, float.

    Raises:
        UserError: timm has no such network, it is not a plain vision transformer, or an option
            cannot work.
    """

    def __init__(
        self,
        arch: str,
        *,
        input_scale: float = 1.0,
        out_indices: Sequence[int] | int | None = None,
        final_norm: bool = True,
        resample: Sequence[float] | None = None,
        pos_embed_mode: str = "published",
        fixed_grid: int | None = None,
        drop_path: float = 0.0,
        patch_size: int | None = None,
        patch_resize: str = "bicubic",
        trainable: str = "all",
        adapter: dict[str, Any] | None = None,
        arch_options: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        require_choice("backbone.pos_embed_mode", pos_embed_mode, POSITION_MODES)
        require_choice("backbone.patch_resize", patch_resize, PATCH_MODES)
        require_choice("backbone.trainable", trainable, TRAINABLE)
        if not input_scale > 0:
            raise UserError(
                f"backbone.input_scale={input_scale!r} is no factor.", fix="1.0, or 1.1 as VFM-UDA."
            )
        if (pos_embed_mode == "fixed") != (fixed_grid is not None):
            raise UserError(
                f"backbone.pos_embed_mode={pos_embed_mode!r} with fixed_grid={fixed_grid!r}.",
                fix="Set pos_embed_mode='fixed' and fixed_grid=crop/patch together, or neither.",
            )
        options = {**(arch_options or {}), "drop_path_rate": drop_path}
        network = build_network(arch, options, patch_size, fixed_grid)
        for name in _LAYERS:
            if (layer := getattr(network, name, None)) is not None:
                self.add_module(name, layer)
        for name in _TOKENS:
            self.register_parameter(name, getattr(network, name, None))
        self.arch = arch.partition(".")[0]
        self.embed_dim: int = network.embed_dim
        self.depth = len(self.blocks)
        self.patch_size: int = self.patch_embed.patch_size[0]
        self.num_prefix_tokens: int = network.num_prefix_tokens
        self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dim))
        # entries of the position embedding that belong to prefix tokens
        self._embedded = 0 if network.no_embed_class else self.num_prefix_tokens

        self.input_scale = input_scale
        self.out_indices = self._indices(out_indices)
        self.final_norm = final_norm
        self.resample = None if resample is None else tuple(resample)
        if self.resample is not None and len(self.resample) != len(self.out_indices):
            raise UserError(
                f"backbone.resample has {len(self.resample)} factors for {len(self.out_indices)} "
                "maps.",
                fix="Give one factor per entry of out_indices.",
            )
        self.pos_embed_mode = pos_embed_mode
        self.patch_resize = patch_resize
        self.resizes_patches = patch_size is not None
        self.trainable = trainable
        factors = self.resample or (1,) * len(self.out_indices)
        self.feature_channels = [self.embed_dim] * len(self.out_indices)
        self.feature_strides = [self.patch_size / input_scale / factor for factor in factors]
        if trainable != "all":
            self.requires_grad_(False)
        self.rein: Rein | None = None
        self._adapt(adapter)

    def _indices(self, wanted: Sequence[int] | int | None) -> tuple[int, ...]:
        if wanted is None:
            wanted = (self.depth - 1,)
        wanted = (wanted,) if isinstance(wanted, int) else tuple(wanted)
        indices = tuple(i + self.depth if i < 0 else i for i in wanted)
        if not indices or list(indices) != sorted(set(indices)) or not indices[0] >= 0:
            indices = (self.depth,)
        if indices[-1] >= self.depth:
            raise UserError(
                f"backbone.out_indices={wanted} do not name blocks of {self.arch}, in order.",
                fix=f"It has blocks 0 to {self.depth - 1}.",
            )
        return indices

    def _adapt(self, adapter: dict[str, Any] | None) -> None:
        if (self.trainable == "adapters") != (adapter is not None):
            raise UserError(
                f"backbone.trainable={self.trainable!r} with adapter={adapter!r}.",
                fix="Set trainable='adapters' and adapter=dict(type='lora') together, or neither.",
            )
        if adapter is None:
            return
        kind: Any = adapter.get("type")
        require_choice("backbone.adapter.type", kind, ADAPTERS)
        known = [field.name for field in fields(ADAPTERS[kind])]
        for key in adapter:
            if key not in known:
                raise UserError(
                    f"backbone.adapter.{key} is no option of type={kind!r}.",
                    fix=f"{nearest(key, known, 'backbone.adapter')}Known: {', '.join(known)}.",
                )
        options = ADAPTERS[kind](**adapter)
        if isinstance(options, ReinOptions):
            self.rein = Rein(self.depth, self.embed_dim, self.patch_size, options)
        else:
            adapt_blocks(self.blocks, options)

    def init_weights(self) -> None:
        """Fills the encoder from ``init_cfg``; without one it keeps timm's initial values.

        Adapters get their first values afterwards, as SoMA takes them from the loaded weights.
        """
        if self.init_cfg is not None:
            super().init_weights()
        for layer in self.adapted_layers():
            layer.start()

    def adapted_layers(self) -> list[AdaptedLinear]:
        """The layers that LoRA or SoMA have changed."""
        return [module for module in self.modules() if isinstance(module, AdaptedLinear)]

    def merge_adapters(self) -> bool:
        """Puts LoRA's or SoMA's change into the weights; the network computes what it did.

        Returns:
            Whether no adapter is left. Rein's change is not linear and stays.
        """
        for layer in self.adapted_layers():
            layer.merge()
        return self.rein is None

    def is_own(self, name: str) -> bool:
        """Whether a parameter is none of a pretrained file: the mask token, or an adapter's."""
        return name == "mask_token" or name.startswith("rein.") or ".lora_" in name

    def train(self, mode: bool = True) -> TimmViT:
        """A frozen encoder stays in eval mode."""
        super().train(mode and self.trainable == "all")
        return self

    def learn_mask_token(self) -> None:
        """Trains the mask token also where the encoder is frozen: tokens will be masked."""
        self.mask_token.requires_grad_(True)

    @property
    def expected_normalization(self) -> tuple[list[float], list[float]] | None:
        """Mean and standard deviation, 0 to 255, of the weights in ``init_cfg``; None without."""
        checkpoint = (self.init_cfg or {}).get("checkpoint")
        if checkpoint is None:
            return None
        from timm.models import get_pretrained_cfg

        # weights of one network differ in this by their tag (DINOv3's of satellite images)
        tag = Path(str(checkpoint)).name.removesuffix(".safetensors").removesuffix(".pth")
        try:
            known = get_pretrained_cfg(f"{self.arch}.{tag.rpartition('.')[2]}")
        except RuntimeError:
            known = get_pretrained_cfg(self.arch)
        if known is None or not known.has_weights:
            return None
        return [255 * v for v in known.mean], [255 * v for v in known.std]

    @property
    def licence(self) -> str | None:
        """Licence of the network's pretrained weights, as timm states it; None if unknown."""
        from timm.models import get_pretrained_cfg

        known = get_pretrained_cfg(self.arch)
        return None if known is None else known.license

    @property
    def last_norm(self) -> nn.Module:
        """The LayerNorm after the last block."""
        return self.fc_norm if isinstance(self.norm, nn.Identity) else self.norm

    @property
    def embedded_prefix(self) -> int:
        """Entries of the position embedding that belong to prefix tokens."""
        return self._embedded

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for an image of ``height`` × ``width`` pixels."""
        rows, columns = (self._tokens(side) for side in (height, width))
        return rows, columns

    def _tokens(self, side: int) -> int:
        if self.input_scale == 1:
            return math.ceil(side / self.patch_size)
        return max(1, int(side * self.input_scale) // self.patch_size)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Pixels to which an image of ``height`` × ``width`` is resized."""
        rows, columns = self.grid_size(height, width)
        return rows * self.patch_size, columns * self.patch_size

    def forward(
        self, image: Tensor, token_mask: Tensor | None = None, pixel_mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Encodes images.

        Args:
            image: Normalised images (B, 3, H, W).
            token_mask: (B, h·w) bool in rows of :meth:`grid_size`; these tokens are replaced by the
                mask token, before positions are added.
            pixel_mask: (B, 1, h, w) float32 at :meth:`input_size`, a factor on the resized image.

        Returns:
            Maps (B, D, h, w), resized where ``resample`` says so.
        """
        frozen = self.trainable == "none" and token_mask is None
        with torch.no_grad() if frozen else nullcontext():
            return self._encode(image, token_mask, pixel_mask)

    def _encode(
        self, image: Tensor, token_mask: Tensor | None, pixel_mask: Tensor | None
    ) -> tuple[Tensor, ...]:
        rows, columns = self.grid_size(*image.shape[-2:])
        size = self.input_size(*image.shape[-2:])
        if tuple(image.shape[-2:]) != size:
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        image = image if pixel_mask is None else image * pixel_mask
        x = self.patch_embed(image).flatten(1, 2)
        if token_mask is not None:
            x = torch.where(token_mask.unsqueeze(-1), self.mask_token.to(x.dtype), x)
        x = self.norm_pre(self.pos_drop(self._with_positions(x, (rows, columns))))
        rope = getattr(self, "rope", None)
        options = {} if rope is None else {"rope": rope.get_embed(shape=(rows, columns))}
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x, **options)
            if self.rein is not None:
                x = self.rein(x, index, self.num_prefix_tokens)
            if index in self.out_indices:
                tokens = self.last_norm(x) if self.final_norm else x
                tokens = tokens[:, self.num_prefix_tokens :]
                maps.append(tokens_to_map(self, tokens, (rows, columns)))
            if index == self.out_indices[-1]:
                break
        return tuple(self._resized(x, i) for i, x in enumerate(maps))

    def _resized(self, x: Tensor, index: int) -> Tensor:
        factor = 1 if self.resample is None else self.resample[index]
        if factor == 1:
            return x
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    def _with_positions(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Puts class and register tokens before patches (B, h·w, D), and adds positions."""
        tokens = [t for t in (self.cls_token, self.reg_token) if t is not None]
        prefix = torch.cat(tokens, dim=1) if tokens else x.new_zeros(1, 0, self.embed_dim)
        if self.pos_embed is not None:
            before, grid = split_positions(self.pos_embed, self._embedded)
            antialias = self.pos_embed_mode == "timm" or self.reg_token is not None
            grid = resize_positions(grid, size, antialias=antialias)
            x = x + grid.flatten(2).transpose(1, 2)
            prefix = prefix + before if self._embedded else prefix
        return torch.cat([prefix.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
