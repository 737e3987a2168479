"""Which source class a region belongs to, counted from its runs without decoding a mask."""

from __future__ import annotations

import numpy as np

from mmseg_uda.foundation.masks import MaskSet

VOID = -1


def class_histogram(masks: MaskSet, labels: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each source class in each region.

    Each class needs one running sum over the image; a run's count is the difference of two of its
    entries. Memory: five bytes per pixel, whatever the number of regions.

    Args:
        masks: M regions of an image of H × W pixels.
        labels: (H, W) integers; values outside ``0..classes - 1`` are not counted.
        classes: K.

    Returns:
        (M, K) int64 pixels.

    Raises:
        ValueError: The labels have another size than the regions.
    """
    _same_size(masks, labels.shape)
    flat = np.ascontiguousarray(labels.T).ravel()
    sums = np.zeros(flat.size + 1, dtype=np.int32)
    histogram = np.zeros((len(masks), classes), dtype=np.int64)
    for k in np.unique(flat).tolist():
        if 0 <= k < classes:
            np.cumsum(flat == k, dtype=np.int32, out=sums[1:])
            histogram[:, k] = _per_region(masks, sums[masks.ends] - sums[masks.starts])
    return histogram


def mean_probabilities(masks: MaskSet, probabilities: np.ndarray) -> np.ndarray:
    """Mean probability of each source class in each region, for ``vote='soft'``.

    Args:
        masks: M regions of an image of H × W pixels.
        probabilities: (K, H, W) float.

    Returns:
        (M, K) float64; zeros for regions without a pixel.

    Raises:
        ValueError: The probabilities have another size than the regions.
    """
    _same_size(masks, probabilities.shape[1:])
    means = np.zeros((len(masks), len(probabilities)))
    sums = np.zeros(masks.size[0] * masks.size[1] + 1)
    for k, plane in enumerate(probabilities):
        np.cumsum(plane.T.ravel(), dtype=np.float64, out=sums[1:])
        means[:, k] = _per_region(masks, sums[masks.ends] - sums[masks.starts])
    return means / np.maximum(masks.area, 1)[:, None]


def majority(votes: np.ndarray) -> np.ndarray:
    """The class with the most votes in each region, the lowest of equals.

    Args:
        votes: (M, K) pixels or mean probabilities.

    Returns:
        (M,) int64; ``VOID`` (-1) for a region without a vote.
    """
    if votes.size == 0:
        return np.full(len(votes), VOID, dtype=np.int64)
    return np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), VOID)


def _per_region(masks: MaskSet, per_run: np.ndarray) -> np.ndarray:
    # A region may have no run at all, which rules reduceat out.
    total = np.zeros(len(per_run) + 1, dtype=np.float64 if per_run.dtype.kind == "f" else np.int64)
    np.cumsum(per_run, out=total[1:])
    return total[masks.offsets[1:]] - total[masks.offsets[:-1]]


def _same_size(masks: MaskSet, size: tuple[int, ...]) -> None:
    if tuple(size) != tuple(masks.size):
        raise ValueError(f"source prediction of {size} pixels for regions of {masks.size} pixels")
