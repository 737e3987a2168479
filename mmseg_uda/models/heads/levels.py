"""Levels of an encoder, embedded, on their way into one map.

A 1×1 convolution commutes with bilinear upsampling: both are linear, one mixes channels, the other
pixels. Before the upsampling it costs a third, and the joined map need not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn


class EmbeddedLevels:
    """Maps of one width or several, finest first, which are one map at the first one's size.

    Args:
        maps: (B, D_i, H_i, W_i) each.
        align_corners: Of the bilinear resize.
    """

    def __init__(self, maps: Sequence[Tensor], align_corners: bool) -> None:
        self.maps = maps
        self.align_corners = align_corners

    def joined(self) -> Tensor:
        """All of them resized, side by side: (B, Σ D_i, H_0, W_0)."""
        return torch.cat([self._resized(x) for x in self.maps], dim=1)

    def mixed(self, conv: nn.Conv2d) -> Tensor:
        """What a 1×1 convolution makes of :meth:`joined`, but for rounding: (B, C, H_0, W_0)."""
        weights = conv.weight.split([x.shape[1] for x in self.maps], dim=1)
        first, *others = zip(self.maps, weights, strict=True)
        out = F.conv2d(*first, conv.bias)
        for x, weight in others:
            out += self._resized(F.conv2d(x, weight))
        return out

    def _resized(self, x: Tensor) -> Tensor:
        size = self.maps[0].shape[2:]
        if x.shape[2:] == size:
            return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


def embed_levels(
    levels: Sequence[Tensor], layers: Iterable[nn.Module], align_corners: bool
) -> EmbeddedLevels:
    """Embeds every level.

    Args:
        levels: Maps (B, C_i, H_i, W_i), finest first.
        layers: One per level, from C_i to D_i channels.
        align_corners: Of the bilinear resize that is to follow.
    """
    embedded = [layer(x) for x, layer in zip(levels, layers, strict=True)]
    return EmbeddedLevels(embedded, align_corners)


def fuse_levels(levels: EmbeddedLevels, layer: nn.Module, activate: bool = True) -> Tensor:
    """Runs ``layer`` on the joined levels; mmcv's 1×1 convolutions before they are upsampled.

    Args:
        levels: Of B images.
        layer: From Σ D_i to C channels; one whose ``takes_levels`` is true joins them itself.
        activate: Apply the activation of a ``ConvModule``.

    Returns:
        (B, C, H_0, W_0).
    """
    if not is_pointwise(layer):
        return layer(levels if getattr(layer, "takes_levels", False) else levels.joined())
    x = levels.mixed(layer.conv)
    x = layer.norm(x) if layer.with_norm else x
    return layer.activate(x) if activate and layer.with_activation else x


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer is mmcv's ``ConvModule`` of a plain 1×1 convolution, norm and activation."""
    if type(layer) is not ConvModule or layer.order != ("conv", "norm", "act"):
        return False
    conv = layer.conv
    plain = type(conv) is nn.Conv2d and conv.kernel_size == conv.stride == (1, 1)
    return plain and conv.groups == 1 and not any(conv.padding)
