"""Proposers that cut an image into regions without any network."""

from __future__ import annotations

import cv2
import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks.base import MaskProposer
from mmseg_uda.foundation.masks.mask_set import MaskSet
from mmseg_uda.foundation.registry import MASK_PROPOSERS

SOURCES = ("labels", "colour")


@MASK_PROPOSERS.register_module()
class GridProposer(MaskProposer):
    """Square cells.

    Args:
        cell: Side in pixels; cells at the right and bottom edge may be smaller.
    """

    def __init__(self, cell: int = 64) -> None:
        if cell < 1:
            raise UserError(f"GridProposer: cell={cell}", fix="a positive number of pixels")
        self.cell = cell

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`."""
        return f"grid-cell{self.cell}"

    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The cells, row by row."""
        height, width = image.shape[:2]
        rows, columns = np.arange(height) // self.cell, np.arange(width) // self.cell
        return MaskSet.from_label_map(rows[:, None] * (columns[-1] + 1) + columns)


@MASK_PROPOSERS.register_module()
class ConnectedComponentProposer(MaskProposer):
    """Connected areas of one source class, or of one quantised colour.

    Args:
        source: ``labels``: of the source prediction, which leaves its borders as they are;
            ``colour``: of the image, each channel reduced to ``levels`` values.
        levels: Values per channel.
        min_area: Smaller components are left out; their pixels keep the default class.
        connectivity: 4 or 8 neighbours.
    """

    def __init__(
        self,
        source: str = "labels",
        levels: int = 8,
        min_area: int = 100,
        connectivity: int = 8,
    ) -> None:
        if source not in SOURCES:
            raise UserError(
                f"ConnectedComponentProposer: source={source!r}", fix=f"one of {SOURCES}"
            )
        if not 1 < levels <= 256 or min_area < 0 or connectivity not in (4, 8):
            raise UserError(
                f"ConnectedComponentProposer: levels={levels}, min_area={min_area}, "
                f"connectivity={connectivity}",
                fix="levels in 2 … 256, min_area 0 or more pixels, connectivity 4 or 8",
            )
        self.source = source
        self.levels = levels
        self.min_area = min_area
        self.connectivity = connectivity
        self.needs_labels = source == "labels"

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`."""
        levels = "" if self.needs_labels else f"-levels{self.levels}"
        return f"components-{self.source}{levels}-min{self.min_area}-c{self.connectivity}"

    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The components, in ascending order of class or colour."""
        if self.needs_labels:
            assert labels is not None, "source='labels' reads the source prediction"
            values = np.asarray(labels, dtype=np.int64)
        else:
            level = image.astype(np.int64) * self.levels // 256
            values = (level[..., 0] * self.levels + level[..., 1]) * self.levels + level[..., 2]
        components = label_components(values, self.min_area, self.connectivity)
        return MaskSet.from_label_map(components)


def label_components(values: np.ndarray, min_area: int = 0, connectivity: int = 8) -> np.ndarray:
    """Numbers the connected areas of equal value.

    Args:
        values: (H, W) integers.
        min_area: Smaller components become -1.
        connectivity: 4 or 8 neighbours.

    Returns:
        (H, W) int32 from 0 on, value by value in ascending order.
    """
    result = np.full(values.shape, -1, dtype=np.int32)
    count = 0
    for value in np.unique(values):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(
            (values == value).astype(np.uint8), connectivity=connectivity
        )
        keep = stats[:, cv2.CC_STAT_AREA] >= max(min_area, 1)
        keep[0] = False  # everything that has another value
        number = np.where(keep, count + np.cumsum(keep) - 1, -1).astype(np.int32)
        inside = parts > 0
        result[inside] = number[parts[inside]]
        count += int(keep.sum())
    return result
