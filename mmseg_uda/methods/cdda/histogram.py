"""Counts of pixels by class and depth."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

BINS = 256
_DROPPED = 255


def depth_histogram(
    label: Tensor, depth: Tensor, num_classes: int, valid: Tensor | None = None
) -> Tensor:
    """Pixels of each class in each depth bin, per image.

    ``T[b, c, k]`` is the number of pixels with label c and floor(depth) = k. Pixels with a label
    outside [0, C), a depth outside [0, 256) or ``valid`` False are not counted. Never waits for
    the device; CPU and GPU give the same numbers.

    Args:
        label: (B, H, W) integers.
        depth: (B, H, W) floating point or uint8.
        num_classes: C.
        valid: (B, H, W) bool, or None for all pixels.

    Returns:
        (B, C, 256) int32.
    """
    dropped = (label < 0) | (label >= num_classes)
    if depth.is_floating_point():
        dropped |= (depth < 0) | (depth >= BINS)
    if valid is not None:
        dropped |= ~valid
    if label.device.type == "cpu" and num_classes <= _DROPPED:
        return _on_cpu(label, depth, dropped, num_classes)
    cells = num_classes * BINS
    bins = depth.clamp(0, BINS - 1).long()
    # Dropped pixels are counted in a cell of their own: removing them would wait for the device.
    cell = torch.where(dropped, cells, label.long() * BINS + bins)
    batch = len(label)
    offset = torch.arange(batch, device=label.device) * (cells + 1)
    cell = (cell.view(batch, -1) + offset[:, None]).flatten()
    counts = torch.zeros(batch * (cells + 1), dtype=torch.int32, device=label.device)
    ones = torch.ones((), dtype=torch.int32, device=label.device).expand(cell.shape)
    counts.scatter_add_(0, cell, ones)
    return counts.view(batch, -1)[:, :cells].reshape(batch, num_classes, BINS)


def _on_cpu(label: Tensor, depth: Tensor, dropped: Tensor, num_classes: int) -> Tensor:
    # OpenCV's two-dimensional histogram reads two bytes per pixel and leaves out what lies
    # outside its ranges. Its float32 counts are exact up to 2 ** 24 pixels.
    labels = label.to(torch.uint8).masked_fill(dropped, _DROPPED).numpy()
    depths = depth.to(torch.uint8).numpy()
    counts = [
        cv2.calcHist(
            [labels[i], depths[i]], [0, 1], None, [num_classes, BINS], [0, num_classes, 0, BINS]
        )
        for i in range(len(labels))
    ]
    return torch.from_numpy(np.stack(counts)).to(torch.int32)


def coarsened(counts: Tensor, bins: int) -> Tensor:
    """Counts (..., 256) over fewer bins: (..., ``bins``), a divisor of 256, of equal width."""
    if bins == counts.shape[-1]:
        return counts
    return counts.unflatten(-1, (bins, -1)).sum(-1, dtype=counts.dtype)


def whole_bins(depth: Tensor, valid: Tensor | None = None) -> Tensor:
    """(B, 256) int32: pixels whose depth *equals* the bin; fractional depths have none.

    Args:
        depth: (B, H, W).
        valid: (B, H, W) bool, or None for all pixels.
    """
    whole = depth == depth.floor() if depth.is_floating_point() else torch.ones_like(depth).bool()
    whole = whole if valid is None else whole & valid
    return depth_histogram(torch.zeros_like(depth, dtype=torch.int64), depth, 1, whole)[:, 0]
