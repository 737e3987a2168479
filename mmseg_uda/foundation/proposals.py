"""Class-agnostic region proposals from the image alone.

Candidates follow the idea of selective search (Uijlings et al., IJCV 2013): regions of similar
colour are merged step by step, and every region on the way gives a box. They are ranked by
superpixel straddling (Alexe et al., TPAMI 2012): a box is good when few regions cross its border.
Boxes inside single regions are added for classes without a shape (grass, road).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmseg_uda.foundation.boxes import suppress

_WORKING_SIDE = 64
_CLUSTERS = 10
_MAX_REGIONS = 40


@dataclass(frozen=True)
class Regions:
    """Connected areas of one colour in a small copy of an image, largest first.

    Attributes:
        masks: (R, h, w) bool, in the small copy.
        boxes: (R, 4) float32 x0, y0, x1, y1, in the small copy.
        colours: (R, 3) float32, mean Lab colour.
        scale: (4,) float32, from the small copy's coordinates to the image's.
    """

    masks: np.ndarray
    boxes: np.ndarray
    colours: np.ndarray
    scale: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """(R,) float32 pixels of the small copy."""
        return self.masks.sum((1, 2)).astype(np.float32)


def find_regions(image: np.ndarray) -> Regions:
    """Connected components of quantised colour.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        At most 40 regions; the same for the same image.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, _WORKING_SIDE / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.medianBlur(small, 5), cv2.COLOR_RGB2LAB)
    labels, centres = _quantise(lab.reshape(-1, 3).astype(np.float32))
    label_map = labels.reshape(lab.shape[:2])
    found = []
    for cluster, colour in enumerate(centres):
        mask = (label_map == cluster).astype(np.uint8)
        _, components, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for k, (x, y, w, h, area) in enumerate(stats[1:], start=1):
            if area >= max(4, label_map.size // 400):
                found.append((area, components == k, (x, y, x + w, y + h), colour))
    found = sorted(found, key=lambda item: -item[0])[:_MAX_REGIONS]
    scale = np.array([width / size[0], height / size[1]] * 2, dtype=np.float32)
    return Regions(
        np.array([f[1] for f in found], dtype=bool).reshape(-1, size[1], size[0]),
        np.array([f[2] for f in found], dtype=np.float32).reshape(-1, 4),
        np.array([f[3] for f in found], dtype=np.float32).reshape(-1, 3),
        scale,
    )


def merged_boxes(regions: Regions) -> np.ndarray:
    """Boxes of the regions and of all merged regions, (n, 4) float32 in image pixels."""
    return _merge(regions.boxes, regions.colours, regions.areas) * regions.scale


def inner_boxes(regions: Regions, limit: int, min_side: float, per_region: int = 2) -> np.ndarray:
    """Boxes around the widest places of the largest regions.

    Args:
        regions: Of one image.
        limit: Number of boxes.
        min_side: Shortest side in image pixels.
        per_region: Places per region.

    Returns:
        (n, 4) float32 in image pixels, n <= limit, those of the largest region first.
    """
    height, width = regions.masks.shape[1:]
    smallest = min_side / 2 / regions.scale[:2].min() + 0.5
    boxes: list[tuple[float, float, float, float]] = []
    for mask in regions.masks:
        room = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
        room = np.ascontiguousarray(room)
        for _ in range(per_region):
            y, x = np.unravel_index(room.argmax(), room.shape)
            radius = float(room[y, x])
            if len(boxes) == limit or radius < 1.5:
                break
            # Somewhat more than the inscribed square, so that the region still fills most of it.
            half = max(1.3 * radius, smallest)
            wide = 1.25 * half
            boxes.append((x + 0.5 - wide, y + 0.5 - half, x + 0.5 + wide, y + 0.5 + half))
            cv2.circle(room, (int(x), int(y)), int(2 * radius) + 1, 0, -1)
    limits = np.array([width, height, width, height], dtype=np.float32)
    inside = np.clip(np.asarray(boxes, dtype=np.float32).reshape(-1, 4), 0, limits)
    return _at_least(inside * regions.scale, min_side)


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


def rank_boxes(
    regions: Regions,
    boxes: np.ndarray,
    limit: int,
    overlap: float,
    min_side: float = 0,
    max_area: float = 1,
) -> np.ndarray:
    """The best boxes of an image that do not repeat each other.

    Args:
        regions: Of the image.
        boxes: (n, 4) candidates in image pixels.
        limit: Number of boxes to keep.
        overlap: A box whose IoU with a better one exceeds it is dropped.
        min_side: Shortest side in pixels.
        max_area: Largest share of the image.

    Returns:
        (m, 4) float32, m <= limit, best first.
    """
    image_area = regions.masks[0].size * regions.scale[:2].prod() if len(regions.masks) else 1.0
    boxes = _at_least(boxes, min_side)
    share = (boxes[:, 2:] - boxes[:, :2]).prod(1) / image_area
    boxes, share = boxes[share <= max_area], share[share <= max_area]
    # Of boxes with equally few regions across their border the larger one is more of an object.
    score = _closedness(regions, boxes) * share**0.25
    return boxes[suppress(boxes, score, overlap)[:limit]].astype(np.float32)


def _closedness(regions: Regions, boxes: np.ndarray) -> np.ndarray:
    """1 - share of a box taken by regions that cross its border, (n,) in [0, 1]."""
    sums = np.pad(regions.masks.cumsum(1, dtype=np.int32).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    height, width = regions.masks.shape[1:]
    limits = np.array([width, height, width, height])
    x0, y0, x1, y1 = np.clip(boxes / regions.scale, 0, limits).round().astype(int).T
    inside = sums[:, y1, x1] - sums[:, y0, x1] - sums[:, y1, x0] + sums[:, y0, x0]
    outside = sums[:, -1, -1][:, None] - inside
    area = np.maximum((x1 - x0) * (y1 - y0), 1)
    return np.clip(1 - np.minimum(inside, outside).sum(0) / area, 0, 1)


def _at_least(boxes: np.ndarray, min_side: float) -> np.ndarray:
    return boxes[((boxes[:, 2:] - boxes[:, :2]) >= min_side).all(1)]


def _quantise(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k-means labels (n,) and centres (k, 3); no random number is drawn."""
    clusters = min(_CLUSTERS, len(pixels))
    # Seeds are the pixels at evenly spaced lightness ranks.
    order = np.argsort(pixels[:, 0], kind="stable")
    centres = pixels[order[np.linspace(0, len(pixels) - 1, clusters).astype(int)]]
    labels = _nearest(pixels, centres)
    for _ in range(3):
        counts = np.bincount(labels, minlength=clusters)
        sums = np.stack([np.bincount(labels, pixels[:, c], clusters) for c in range(3)], axis=1)
        used = counts > 0
        centres[used] = (sums[used] / counts[used, None]).astype(np.float32)
        labels = _nearest(pixels, centres)
    return labels, centres


def _nearest(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres**2).sum(1)[None] - 2 * pixels @ centres.T).argmin(1)


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
