"""Small holes and islands of masks (DynAlign)."""

from __future__ import annotations

import cv2
import numpy as np

from mmseg_uda.foundation.masks import rle
from mmseg_uda.foundation.masks.mask_set import MaskSet


def clean(masks: MaskSet, m: int, min_area: int, exact: bool = False) -> tuple[rle.Runs, bool]:
    """Fills holes of a region, then removes its islands.

    Args:
        masks: All regions of the image.
        m: The region.
        min_area: Holes and islands of fewer pixels are small.
        exact: Whether to look at the whole image, as published. Else the region's box and a ring
            of one pixel around it: background that touches the ring counts as outside, however
            few pixels of the image are left there.

    Returns:
        Runs of the cleaned region, and whether anything has changed.
    """
    if masks.area[m] == 0:
        return masks.runs(m), False
    height, width = masks.size
    x1, y1, x2, y2 = (int(v) for v in masks.box[m])
    left, top = min(x1, 1), min(y1, 1)
    right, bottom = min(width - 1 - x2, 1), min(height - 1 - y2, 1)
    if exact:
        window, corner = masks.decode(m, box_only=False), (0, 0)
        ring = np.zeros(window.shape, dtype=bool)
    else:
        inside, sides = masks.decode(m), ((top, bottom), (left, right))
        window, corner = np.pad(inside, sides), (x1 - left, y1 - top)
        ring = np.pad(np.zeros_like(inside), sides, constant_values=True)
    filled = _fill_holes(window, ring, min_area)
    cleaned = _remove_islands(filled, min_area)
    if np.array_equal(cleaned, window):
        return masks.runs(m), False
    return rle.mask_to_runs(cleaned, corner, height), True


def _fill_holes(mask: np.ndarray, ring: np.ndarray, min_area: int) -> np.ndarray:
    parts, area = _components(~mask)
    small = area < min_area
    small[0] = False  # the mask itself
    small[parts[ring]] = False
    return mask | small[parts]


def _remove_islands(mask: np.ndarray, min_area: int) -> np.ndarray:
    parts, area = _components(mask)
    keep = area >= min_area
    keep[0] = False
    if len(area) > 1 and not keep.any():
        keep[1 + area[1:].argmax()] = True
    return keep[parts]


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return parts, stats[:, cv2.CC_STAT_AREA]
