"""Class-agnostic region proposals from the image alone.

``segment_boxes`` follows the idea of selective search (Uijlings et al., IJCV 2013): regions of
similar colour are merged step by step, and every region on the way gives a box.
"""

from __future__ import annotations

import cv2
import numpy as np

_WORKING_SIDE = 64
_CLUSTERS = 10
_MAX_REGIONS = 40


def grid_boxes(
    height: int, width: int, sizes: tuple[float, ...], aspects: tuple[float, ...], stride: float
) -> np.ndarray:
    """Sliding windows of several sizes and shapes.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        sizes: Square root of a window's area as a share of the shorter image side.
        aspects: Width / height of the windows.
        stride: Step as a share of the window.

    Returns:
        (n, 4) float32 x0, y0, x1, y1 in pixels, without duplicates.
    """
    boxes = []
    for size in sizes:
        for aspect in aspects:
            box_w = min(size * min(height, width) * aspect**0.5, width)
            box_h = min(size * min(height, width) / aspect**0.5, height)
            steps_x = int(np.ceil((width - box_w) / (stride * box_w))) + 1
            steps_y = int(np.ceil((height - box_h) / (stride * box_h))) + 1
            for y in np.linspace(0, height - box_h, steps_y):
                for x in np.linspace(0, width - box_w, steps_x):
                    boxes.append((x, y, x + box_w, y + box_h))
    return np.unique(np.asarray(boxes, dtype=np.float32).reshape(-1, 4).round(), axis=0)


def segment_boxes(image: np.ndarray, min_side: float) -> np.ndarray:
    """Boxes of regions and of merged regions of similar colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        min_side: Boxes with a shorter side (pixels) are dropped.

    Returns:
        (n, 4) float32 x0, y0, x1, y1 in pixels. Deterministic.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _WORKING_SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.medianBlur(small, 5), cv2.COLOR_RGB2LAB)
    boxes, colours, areas = _regions(lab)
    boxes = _merge(boxes, colours, areas)
    boxes = boxes * np.array([width / size[0], height / size[1]] * 2, dtype=np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[(sides >= min_side).all(1)]


def select_boxes(boxes: np.ndarray, limit: int, overlap: float) -> np.ndarray:
    """Drops near duplicates, then thins to at most ``limit`` boxes of all sizes.

    Args:
        boxes: (n, 4) x0, y0, x1, y1.
        limit: Number of boxes to keep.
        overlap: A box whose IoU with a larger kept one exceeds it is a duplicate.

    Returns:
        (m, 4), m <= limit, largest first.
    """
    if limit < 1:
        return boxes[:0]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    boxes = boxes[np.argsort(-areas, kind="stable")]
    duplicate = np.triu(_iou(boxes[:, None], boxes[None]) > overlap, k=1)
    kept: list[int] = []
    dropped = np.zeros(len(boxes), dtype=bool)
    for i in range(len(boxes)):
        if not dropped[i]:
            kept.append(i)
            dropped |= duplicate[i]
    if len(kept) > limit:
        kept = [kept[i] for i in np.linspace(0, len(kept) - 1, limit).round().astype(int)]
    return boxes[kept].astype(np.float32)


def _regions(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected components of quantised colour: boxes, mean colours, areas (largest first)."""
    pixels = lab.reshape(-1, 3).astype(np.float32)
    clusters = min(_CLUSTERS, len(pixels))
    # Seeds are the pixels at evenly spaced lightness ranks: no random number is drawn.
    order = np.argsort(pixels[:, 0], kind="stable")
    seeds = pixels[order[np.linspace(0, len(pixels) - 1, clusters).astype(int)]]
    labels = _nearest(pixels, seeds)
    for _ in range(3):
        counts = np.bincount(labels, minlength=clusters)
        sums = np.stack([np.bincount(labels, pixels[:, c], clusters) for c in range(3)], axis=1)
        filled = counts > 0
        seeds[filled] = (sums[filled] / counts[filled, None]).astype(np.float32)
        labels = _nearest(pixels, seeds)
    label_map = labels.reshape(lab.shape[:2])
    boxes, colours, areas = [], [], []
    min_area = max(4, lab.shape[0] * lab.shape[1] // 400)
    for cluster in range(clusters):
        mask = (label_map == cluster).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for x, y, w, h, area in stats[1:]:
            if area >= min_area:
                boxes.append((x, y, x + w, y + h))
                colours.append(seeds[cluster])
                areas.append(area)
    order = np.argsort(-np.asarray(areas), kind="stable")[:_MAX_REGIONS]
    return (
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order],
        np.asarray(colours, dtype=np.float32).reshape(-1, 3)[order],
        np.asarray(areas, dtype=np.float32)[order],
    )


def _nearest(pixels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    distance = (seeds**2).sum(1)[None] - 2 * pixels @ seeds.T
    return distance.argmin(1)


def _merge(boxes: np.ndarray, colours: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Merges the most similar touching regions until one is left; returns all boxes seen."""
    n = len(boxes)
    if n == 0:
        return boxes
    total = areas.sum()
    boxes = np.concatenate([boxes, np.zeros((n, 4), np.float32)])
    colours = np.concatenate([colours, np.zeros((n, 3), np.float32)])
    areas = np.concatenate([areas, np.zeros(n, np.float32)])
    alive = np.arange(2 * n) < n
    cost = np.full((2 * n, 2 * n), np.inf, np.float32)
    cost[:n, :n] = _merge_cost(
        boxes[:n, None],
        boxes[None, :n],
        colours[:n, None],
        colours[:n],
        areas[:n, None],
        areas[:n],
        total,
    )
    np.fill_diagonal(cost, np.inf)
    while n < len(boxes):
        i, j = divmod(int(cost[:n, :n].argmin()), n)
        if not np.isfinite(cost[i, j]):
            break
        areas[n] = areas[i] + areas[j]
        colours[n] = (areas[i] * colours[i] + areas[j] * colours[j]) / areas[n]
        boxes[n] = [
            *np.minimum(boxes[i, :2], boxes[j, :2]),
            *np.maximum(boxes[i, 2:], boxes[j, 2:]),
        ]
        for gone in (i, j):
            alive[gone] = False
            cost[gone] = cost[:, gone] = np.inf
        row = _merge_cost(boxes[n], boxes[:n], colours[n], colours[:n], areas[n], areas[:n], total)
        cost[n, :n] = cost[:n, n] = np.where(alive[:n], row, np.inf)
        alive[n] = True
        n += 1
    return boxes[:n]


def _merge_cost(
    box_a: np.ndarray,
    box_b: np.ndarray,
    colour_a: np.ndarray,
    colour_b: np.ndarray,
    area_a: np.ndarray,
    area_b: np.ndarray,
    total: float,
) -> np.ndarray:
    # As in selective search: like colours, small regions first, and compact unions.
    colour = np.linalg.norm(colour_a - colour_b, axis=-1) / 255
    low = np.minimum(box_a[..., :2], box_b[..., :2])
    high = np.maximum(box_a[..., 2:], box_b[..., 2:])
    both = area_a + area_b
    cost = 2 * colour + (both + np.maximum((high - low).prod(-1) - both, 0)) / total
    gap = np.maximum(box_a[..., :2], box_b[..., :2]) - np.minimum(box_a[..., 2:], box_b[..., 2:])
    return np.where(gap.max(-1) > 1, np.inf, cost)


def _iou(box_a: np.ndarray, box_b: np.ndarray) -> np.ndarray:
    low = np.maximum(box_a[..., :2], box_b[..., :2])
    high = np.minimum(box_a[..., 2:], box_b[..., 2:])
    inter = np.maximum(high - low, 0).prod(-1)
    area_a = (box_a[..., 2:] - box_a[..., :2]).prod(-1)
    area_b = (box_b[..., 2:] - box_b[..., :2]).prod(-1)
    return inter / (area_a + area_b - inter)
