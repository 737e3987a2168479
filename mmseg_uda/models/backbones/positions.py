"""Position embeddings and patch kernels of plain vision transformers at other sizes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

POSITION_MODES = ("published", "timm", "fixed")
PATCH_MODES = ("bicubic", "flexi")


def resize_positions(grid: Tensor, size: tuple[int, int], *, antialias: bool) -> Tensor:
    """Resizes a grid of positions bicubically.

    DINOv2 resizes without antialiasing and adds a tenth of a token to the sizes, so that the
    quotient cannot be rounded below the number of tokens. Its networks with registers, and timm
    throughout, antialias and ask for the size itself. At 80 instead of 37 tokens a smooth field
    differs by 2 %.

    Args:
        grid: (1, D, h, w); returned as it is where it has the size.
        size: Rows and columns of the result.
        antialias: See above.

    Returns:
        (1, D, *size) float32, differentiable.
    """
    height, width = grid.shape[-2:]
    if (height, width) == tuple(size):
        return grid
    if antialias:
        return F.interpolate(
            grid.float(), size=tuple(size), mode="bicubic", antialias=True, align_corners=False
        )
    factors = ((size[0] + 0.1) / height, (size[1] + 0.1) / width)
    return F.interpolate(
        grid.float(), scale_factor=factors, mode="bicubic", antialias=False, align_corners=False
    )


def split_positions(positions: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """Splits stored positions (1, prefix + n², D) into (1, prefix, D) and (1, D, n, n)."""
    before, after = positions[:, :prefix], positions[:, prefix:]
    side = math.isqrt(after.shape[1])
    return before, after.transpose(1, 2).reshape(1, -1, side, side)


def fix_positions(positions: Tensor, prefix: int, side: int) -> Tensor:
    """Resizes stored positions once to ``side``² tokens, bicubically without antialiasing.

    Rein (https://arxiv.org/abs/2312.04265) and SoMA (https://arxiv.org/abs/2412.04077) do so
    while loading, and train at that size.

    Args:
        positions: (1, prefix + n², D).
        prefix: Entries that belong to no patch.
        side: Tokens per axis.
    """
    before, grid = split_positions(positions, prefix)
    if grid.shape[-1] == side:
        return positions
    grid = F.interpolate(grid.float(), size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([before, grid.flatten(2).transpose(1, 2).to(before.dtype)], dim=1)


def resize_kernel(kernel: Tensor, size: int, mode: str) -> Tensor:
    """Resizes the kernel (D, 3, p, p) of a patch embedding to (D, 3, size, size).

    ``bicubic`` resizes the kernel like an image, as Rein and SoMA do; what it answers grows with
    about (size / p)². ``flexi`` is the pseudo-inverse of FlexiViT
    (https://arxiv.org/abs/2212.08013), which keeps it.
    """
    if kernel.shape[-1] == size:
        return kernel
    if mode == "bicubic":
        resized = F.interpolate(kernel.float(), (size, size), mode="bicubic", align_corners=False)
        return resized.to(kernel.dtype)
    from timm.layers import resample_patch_embed

    return resample_patch_embed(kernel, [size, size])
