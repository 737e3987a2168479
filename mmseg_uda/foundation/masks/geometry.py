"""Geometry of automatic mask generation (Kirillov et al., ICCV 2023)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

# A box whose side is that near to its crop's may belong to an object that the crop cuts off.
EDGE = 20


def crop_layers(
    size: tuple[int, int], layers: int, overlap_ratio: float
) -> list[tuple[tuple[int, int, int, int], int]]:
    """Overlapping crops: the image, then 2^i × 2^i crops in layer i.

    Args:
        size: (H, W).
        layers: Layers beside the whole image.
        overlap_ratio: Overlap of layer 1 as a share of the shorter side; halved with each layer.

    Returns:
        Per crop x0, y0, x1, y1 (half-open) and its layer.
    """
    height, width = size
    crops = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / count))
        crop_w, crop_h = (math.ceil((overlap * (count - 1) + s) / count) for s in (width, height))
        crops += [
            ((x, y, min(x + crop_w, width), min(y + crop_h, height)), layer)
            for x in (i * (crop_w - overlap) for i in range(count))
            for y in (i * (crop_h - overlap) for i in range(count))
        ]
    return crops


def point_grid(count: int) -> np.ndarray:
    """(count², 2) float64 x and y in (0, 1), x running fastest."""
    steps = (np.arange(count) + 0.5) / count
    return np.stack([np.tile(steps, count), np.repeat(steps, count)], axis=1)


def input_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a crop (H, W) once its longer side has ``side`` pixels."""
    scale = side / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def upsample(logits: Tensor, side: int, inside: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Brings low-resolution logits to a crop's size.

    Args:
        logits: (n, h, h) over the square network input.
        side: Side of the network input in pixels.
        inside: (height, width) of the image within the input; the rest is padding.
        size: (H, W) of the crop.

    Returns:
        (n, H, W) float32.
    """
    whole = F.interpolate(
        logits[:, None].float(), (side, side), mode="bilinear", align_corners=False
    )
    cut = whole[..., : inside[0], : inside[1]]
    return F.interpolate(cut, size, mode="bilinear", align_corners=False)[:, 0]


def stability(logits: Tensor, offset: float) -> Tensor:
    """IoU of the masks at thresholds ``offset`` and ``-offset``, (n,) float32 of (n, H, W).

    It is NaN where both are empty, which no threshold is met by.
    """
    high = (logits > offset).flatten(1).sum(1)
    low = (logits > -offset).flatten(1).sum(1)
    return high.float() / low.float()


def mask_boxes(masks: Tensor) -> Tensor:
    """(n, 4) int64 x1, y1, x2, y2, inclusive, of (n, H, W) bool; zeros where a mask is empty."""
    first, last = [], []
    for axis in (1, 2):  # any row filled in each column, then any column filled in each row
        filled = masks.any(axis).to(torch.uint8)
        first.append(filled.argmax(1))
        last.append(filled.shape[1] - 1 - filled.flip(1).argmax(1))
    boxes = torch.stack([*first, *last], dim=1)
    return boxes * masks.flatten(1).any(1)[:, None]


def cut_off(boxes: Tensor, crop: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """(n,) bool: a side is within 20 pixels of the crop's and not of the image's.

    Args:
        boxes: (n, 4) x1, y1, x2, y2 in the image.
        crop: x0, y0, x1, y1 of the crop.
        size: (H, W) of the image.
    """
    edges = torch.tensor(crop, device=boxes.device)
    image = torch.tensor([0, 0, size[1], size[0]], device=boxes.device)
    near_crop = (boxes - edges).abs() <= EDGE
    near_image = (boxes - image).abs() <= EDGE
    return (near_crop & ~near_image).any(1)


def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices that survive non-maximum suppression, best first, equals in their order."""
    return nms(boxes.float(), scores.float(), threshold)
