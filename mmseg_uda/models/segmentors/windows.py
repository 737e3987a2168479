"""Sliding windows over an image, run in batches that fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from mmseg_uda.models.views import Box

# 18 crops of 512² (HRDA's teacher at batch 2) fit a 24 GB card without gradients
DEFAULT_BATCH_PIXELS = 18 * 512 * 512


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Start of each window along one axis; the last one is moved back inside.

    Args:
        length: Pixels of the axis.
        window: Pixels of a window; longer than the axis gives one window at 0.
        stride: Distance of two starts.
    """
    count = max(length - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - window), 0) for i in range(count)]


def sliding_boxes(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> list[Box]:
    """Boxes that cover an image of ``size`` = (H, W), row by row."""
    height, width = min(window[0], size[0]), min(window[1], size[1])
    return [
        Box(y, y + height, x, x + width)
        for y in window_starts(size[0], window[0], stride[0])
        for x in window_starts(size[1], window[1], stride[1])
    ]


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a norm layer normalises with the batch at hand, so that chunks would matter."""
    return any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in module.modules()
    )


def run_in_chunks(
    function: Callable[[Tensor], Any], batch: Tensor, max_pixels: int | None
) -> list[Any]:
    """Applies ``function`` to slices of ``batch`` (N, C, H, W) of at most ``max_pixels`` pixels.

    A slice holds at least one image. ``None`` means one slice.
    """
    if max_pixels is None:
        return [function(batch)]
    count = max(max_pixels // (batch.shape[-2] * batch.shape[-1]), 1)
    return [function(chunk) for chunk in batch.split(count)]


def merge_windows(
    windows: Tensor, boxes: Sequence[Box], size: Sequence[int], stride: int = 1
) -> Tensor:
    """Averages overlapping window predictions.

    Args:
        windows: Predictions in box-major order, (len(boxes)·B, C, h, w).
        boxes: Image region of each window; divisible by ``stride``.
        size: Height and width of the result.
        stride: Image pixels per pixel of the predictions.

    Returns:
        (B, C, *size), float32; every pixel must be covered by a box.
    """
    windows = windows.float()  # sums of half-precision logits would lose digits
    per_box = windows.view(len(boxes), -1, *windows.shape[1:])
    total = windows.new_zeros(*per_box.shape[1:3], *size)
    count = windows.new_zeros(1, 1, *size)
    for window, box in zip(per_box, boxes, strict=True):
        rows, columns = box.scaled_slices(stride)
        total[:, :, rows, columns] += window
        count[:, :, rows, columns] += 1
    return total / count
