"""Regions that another program has written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks.base import MaskProposer
from mmseg_uda.foundation.masks.mask_set import MaskSet
from mmseg_uda.foundation.registry import MASK_PROPOSERS
from mmseg_uda.taxonomy.folders import similar


@MASK_PROPOSERS.register_module()
class PrecomputedMaskProposer(MaskProposer):
    """Regions from files, one per image, at the image's path below ``folder``.

    Read are ``.npz`` of :class:`MaskSet` and JSON in the formats of segment-anything's own script
    (a list of records) and of Semantic-Segment-Anything, SA-1B and DynAlign (records under
    ``annotations``). Masks of another size are scaled to the image's, nearest neighbour.

    Args:
        folder: Root of the files.
        suffixes: Endings that are tried in this order.
    """

    needs_name = True

    def __init__(
        self,
        folder: str,
        suffixes: str | Sequence[str] = (".json", "_semantic.json", ".npz"),
    ) -> None:
        self.folder = Path(folder)
        self.suffixes = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`; the files' content is not part of it."""
        return f"precomputed-{self.folder}"

    def find(self, name: str) -> Path:
        """The file of an image.

        Raises:
            UserError: There is none.
        """
        for suffix in self.suffixes:
            path = self.folder / f"{name}{suffix}"
            if path.is_file():
                return path
        near = similar(self.folder / f"{name}{self.suffixes[0]}")
        there = f"; there is {near}, and suffixes are {', '.join(self.suffixes)}" if near else ""
        raise UserError(
            f"no masks of image {name!r} in {self.folder}{there}.",
            fix=f"Write {name}{self.suffixes[0]} there, or choose another proposer.",
        )

    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The regions of the file that belongs to ``name``."""
        assert name is not None, "the file is found by the image's name"
        path, size = self.find(name), (image.shape[0], image.shape[1])
        masks = MaskSet.load(path) if path.suffix == ".npz" else read_masks(path, size)
        return masks.resized(size)


def read_masks(path: Path, size: tuple[int, int] | None = None) -> MaskSet:
    """Regions of a JSON file (formats: see :class:`PrecomputedMaskProposer`).

    Args:
        path: The file.
        size: (H, W) for a file without any record.

    Raises:
        UserError: The file is no such JSON, or a record is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = content["annotations"] if isinstance(content, dict) else content
        return MaskSet.from_coco(records, None if records else size)
    except Exception as error:  # of any kind: sizes and counts may be anything
        raise UserError(
            f"{path} holds no masks: {type(error).__name__}: {error}",
            fix="Records need 'segmentation' with 'size' and run-length 'counts'.",
        ) from error
