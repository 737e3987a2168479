"""Memory layout of maps: decided where tokens become maps, never inherited from the tokens.

Tokens (B, H·W, C) turned into a map (B, C, H, W) by a transposed view have the strides of
``torch.channels_last``, and every layer behind them keeps those. Dilated depthwise convolutions,
which DAFormer's fusion consists of, are several times slower on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def set_map_layout(network: nn.Module, layout: torch.memory_format) -> None:
    """Chooses the layout of all maps that tokens become in a network; copies of it keep the choice.

    Args:
        network: A segmentor.
        layout: ``torch.contiguous_format``, the default everywhere, or ``torch.channels_last``.
    """
    for module in network.modules():
        module.map_layout = layout


def with_layout(owner: Any, x: Tensor) -> Tensor:
    """A map (B, C, H, W) in the layout that was chosen for ``owner``, a module."""
    layout = getattr(owner, "map_layout", torch.contiguous_format)
    return x.contiguous(memory_format=layout)


def tokens_to_map(owner: Any, tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Turns tokens (B, H·W, C) into a map (B, C, H, W) in the layout chosen for ``owner``."""
    return with_layout(owner, tokens.transpose(1, 2).unflatten(2, tuple(size)))


def encode(
    segmentor: Any,
    image: Tensor,
    token_mask: Tensor | None = None,
    pixel_mask: Tensor | None = None,
) -> Sequence[Tensor]:
    """Backbone (and neck) maps of images (B, 3, H, W), in the layout chosen for the segmentor.

    Encoders whose tokens become maps hand them on transposed in memory. Masks are for a
    ``TimmViT``.
    """
    if token_mask is None and pixel_mask is None:
        levels = segmentor.extract_feat(image)
    else:
        levels = segmentor.backbone(image, token_mask, pixel_mask)
        levels = segmentor.neck(levels) if segmentor.with_neck else levels
    if not isinstance(levels, (list, tuple)):
        return levels
    return [with_layout(segmentor, x) if _is_map(x) else x for x in levels]


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 4
