"""The label map of regions that are painted over a base layer, from large to small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmseg_uda.foundation.masks import MaskSet


def default_layer(labels: np.ndarray, default: Sequence[int], void: int = 255) -> np.ndarray:
    """Each pixel's default target class.

    Args:
        labels: (H, W) integers of any type, the source prediction.
        default: (K,) target id of each source class.
        void: Target id where the prediction is none of ``0..K - 1``.

    Returns:
        (H, W) of :func:`id_dtype`.
    """
    classes = len(default)
    table = np.array([*default, void], dtype=id_dtype([*default, void]))
    if labels.size and (labels.min() < 0 or labels.max() > classes):
        outside = (labels < 0) | (labels > classes)
        labels = np.where(outside, classes, labels.astype(np.int64))
    return table[labels]


def assemble(masks: MaskSet, values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Paints one value per region over ``base``; the smallest region at a pixel is seen.

    Equally large regions are painted in the order of the set. What is seen does not depend on the
    order in which regions of different sizes are supplied.

    Args:
        masks: M regions of an image of H × W pixels.
        values: (M,) integers of the base's range; a negative value leaves its region out, and
            larger regions beneath it are seen.
        base: (H, W), what is kept where no region lies.

    Returns:
        (H, W), the base's dtype.

    Raises:
        ValueError: Sizes or numbers do not fit together.
    """
    if base.shape != tuple(masks.size) or len(values) != len(masks):
        raise ValueError(
            f"{len(values)} values for {len(masks)} regions of {masks.size} pixels over "
            f"{base.shape} pixels"
        )
    if len(masks) == 0:
        return base.copy()
    values = np.asarray(values)
    if values.max() > np.iinfo(base.dtype).max:
        raise ValueError(f"a value of {values.max()} in a map of {base.dtype}")
    owner = masks.owner(keep=values >= 0)
    # Ranks count from the largest region; -1 reads the last entry, which is replaced below.
    in_order = np.append(np.maximum(values[masks.order()], 0), 0).astype(base.dtype)
    painted = in_order[owner]
    np.copyto(painted, base, where=owner < 0)
    return painted


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a map of ids to ``size`` = (height, width), nearest neighbour.

    Pixel i of n comes from pixel floor(i * m / n) of m, in whole numbers.
    """
    if labels.shape == tuple(size):
        return labels
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def id_dtype(ids: Sequence[int]) -> type[np.unsignedinteger]:
    """uint8 where all ids fit into label files of 8 bits, else uint16."""
    return np.uint8 if max(ids, default=0) <= np.iinfo(np.uint8).max else np.uint16
