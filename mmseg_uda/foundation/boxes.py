"""Boxes of images as arrays on the host."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import nms


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        boxes: (n, 4) float32 or float64 x0, y0, x1, y1.
        scores: (n,) float.
        overlap: A box is dropped when its IoU with a better kept one exceeds this, both in the
            boxes' own precision.

    Returns:
        (m,) int64 indices of the kept boxes, best first, equals in their order.
    """
    order = np.argsort(-scores, kind="stable")
    ranks = torch.arange(len(order), 0, -1).to(torch.from_numpy(boxes).dtype)
    # torchvision compares in 64 bits, where an IoU of 0.3 in 32 bits exceeds 0.3.
    kept = nms(torch.from_numpy(boxes[order]), ranks, float(boxes.dtype.type(overlap)))
    return order[np.asarray(kept)]
