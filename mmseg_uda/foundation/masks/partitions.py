"""Proposers that cut an image into regions without any network."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmseg_uda.errors import UserError, require_choice
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
            raise UserError(f"GridProposer: cell={cell}.", fix="Give a positive number of pixels.")
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
        require_choice("ConnectedComponentProposer: source", source, SOURCES)
        if not 1 < levels <= 256 or min_area < 0 or connectivity not in (4, 8):
            raise UserError(
                f"ConnectedComponentProposer: levels={levels}, min_area={min_area}, "
                f"connectivity={connectivity}.",
                fix="Levels in 2 … 256, min_area 0 or more pixels, connectivity 4 or 8.",
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
    """Numbers the connected areas of equal value, all values at once.

    Args:
        values: (H, W) integers.
        min_area: Smaller components become -1.
        connectivity: 4 or 8 neighbours.

    Returns:
        (H, W) int32 from 0 on, value by value in ascending order.
    """
    height, width = values.shape
    columns = np.ascontiguousarray(values.T)
    # Runs of equal value within columns are the nodes of a graph, few in comparison with pixels.
    fresh = np.ones((width, height), dtype=bool)
    fresh[:, 1:] = columns[:, 1:] != columns[:, :-1]
    run = (np.cumsum(fresh.ravel()) - 1).reshape(width, height)
    count = int(run[-1, -1]) + 1
    shifts = [(slice(None), slice(None))]
    if connectivity == 8:
        shifts += [(slice(1, None), slice(-1)), (slice(-1), slice(1, None))]
    links = []
    for here, there in shifts:
        equal = columns[:-1, here] == columns[1:, there]
        pairs = run[:-1, here][equal] * count + run[1:, there][equal]
        links.append(np.unique(pairs))
    first, second = np.divmod(np.unique(np.concatenate(links)), count)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    found, component = connected_components(graph, directed=False)
    value = columns.ravel()[fresh.ravel()]
    of_component = np.zeros(found, dtype=values.dtype)
    of_component[component] = value
    area = np.bincount(component, np.bincount(run.ravel()), found)
    kept = np.flatnonzero(area >= max(min_area, 1))
    number = np.full(found, -1, dtype=np.int32)
    number[kept[np.argsort(of_component[kept], kind="stable")]] = np.arange(len(kept))
    return np.ascontiguousarray(number[component[run]].T)
