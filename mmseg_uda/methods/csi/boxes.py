"""From a detector's output to the boxes of an image (CSI, Sec. 3; values of its code).

Functions on tensors stay on the device; those on arrays work on the few numbers per box that were
copied to the host once per batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from mmseg_uda.foundation.boxes import suppress

NMS_MODES = ("agnostic", "class")


def best_prompt(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Score and index of each box's best prompt.

    Args:
        logits: (B, N, Q).

    Returns:
        ``sigmoid(max)`` (B, N) and the prompt's index (B, N) int64.
    """
    logit, prompt = logits.max(dim=-1)
    return logit.sigmoid(), prompt


def to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """(..., 4) relative centre x, centre y, width, height to pixels x0, y0, x1, y1."""
    x0, y0, x1, y1 = box_convert(boxes.float(), "cxcywh", "xyxy").unbind(-1)
    return torch.stack([x0 * width, y0 * height, x1 * width, y1 * height], dim=-1)


def round_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Whole pixels, halves to even, clipped to the image.

    Args:
        boxes: (..., 4) float x0, y0, x1, y1.
        height: Image height.
        width: Image width.

    Returns:
        (..., 4) int64, half-open: [x0, x1) × [y0, y1).
    """
    x, y = boxes[..., 0::2].round().clamp(0, width), boxes[..., 1::2].round().clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1).long()


def count_pixels(label: Tensor, boxes: Tensor, channel: Tensor, classes: Sequence[int]) -> Tensor:
    """Number of pixels of one class in each box, by integral images.

    Args:
        label: (B, H, W) int64.
        boxes: (B, N, 4) int64, half-open, inside the image; an empty box counts 0.
        channel: (B, N) int64, position in ``classes`` of the class to count.
        classes: K class ids.

    Returns:
        (B, N) int32.
    """
    batch, height, width = label.shape
    planes = torch.stack([label == c for c in classes], dim=1)
    sums = planes.cumsum(-1, dtype=torch.int32).cumsum(-2, dtype=torch.int32)
    sums = torch.nn.functional.pad(sums, (1, 0, 1, 0)).flatten()
    plane = torch.arange(batch, device=label.device)[:, None] * len(classes) + channel

    def at(y: Tensor, x: Tensor) -> Tensor:
        return sums[(plane * (height + 1) + y) * (width + 1) + x]

    x0, y0, x1, y1 = boxes.unbind(-1)
    x1, y1 = torch.maximum(x0, x1), torch.maximum(y0, y1)
    return at(y1, x1) - at(y0, x1) - at(y1, x0) + at(y0, x0)


def select_boxes(
    scores: np.ndarray,
    boxes: np.ndarray,
    entries: np.ndarray,
    thresholds: Sequence[float],
    nms: str = "agnostic",
    nms_iou: float = 0.3,
) -> np.ndarray:
    """Boxes of one image that pass the thresholds and survive non-maximum suppression.

    Args:
        scores: (N,) float32.
        boxes: (N, 4) float32 x0, y0, x1, y1, not yet rounded.
        entries: (N,) int, entry of the relabelling map that each box belongs to.
        thresholds: Score that a box of each entry must exceed (a score equal to it is dropped).
        nms: ``agnostic``: all boxes compete, as published, so that a strong truck can remove a
            terrain box; ``class``: boxes of one entry compete.
        nms_iou: A box is dropped when its IoU with a stronger kept one exceeds this.

    Returns:
        Indices of the kept boxes, weakest first, the order in which they are written.
    """
    # Compared in float32, as scores are, so that a score equal to the threshold is equal.
    passed = np.flatnonzero(scores > np.asarray(thresholds, dtype=np.float32)[entries])
    competing = [passed]
    if nms == "class":
        competing = [passed[entries[passed] == entry] for entry in np.unique(entries[passed])]
    survivors = [group[suppress(boxes[group], scores[group], nms_iou)] for group in competing]
    kept = np.sort(np.concatenate([passed[:0], *survivors]))
    return kept[np.argsort(-scores[kept], kind="stable")][::-1]
