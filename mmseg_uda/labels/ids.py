"""What the ids in a data set's label files stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class LabelIds:
    """The ids in label files, under a label map.

    Attributes:
        lookup: uint8, (256,): the trainId of each id; values outside the taxonomy are refused.
        classes: Number of classes of the taxonomy.
        ignore_index: TrainId of unlabelled pixels.
        space: Where the ids come from, for messages; '' for trainIds.
        label_map: The label map.
    """

    lookup: np.ndarray
    classes: int
    ignore_index: int = 255
    space: str = ""
    label_map: str | Mapping[int, int] | None = None

    @classmethod
    def of(cls, taxonomy: Taxonomy, label_map: str | Mapping[int, int] | None = None) -> LabelIds:
        """Returns the ids of labels of a taxonomy, read through a label map.

        Raises:
            UserError: The taxonomy has no such label map, or it is wrong.
        """
        return cls(
            np.array(taxonomy.lookup(label_map), np.uint8),
            len(taxonomy),
            taxonomy.ignore_index,
            taxonomy.space_of(label_map),
            label_map,
        )

    def outside(self, ids: np.ndarray) -> np.ndarray:
        """Returns those of the ids, (n,), that stand for nothing in the taxonomy."""
        mapped = self.lookup[ids]
        return ids[(mapped >= self.classes) & (mapped != self.ignore_index)]

    def error(self, path: str, found: int) -> UserError:
        """Returns the error that a label file holds an id outside."""
        where = f"no id of {self.space}" if self.space else "outside the taxonomy"
        return UserError(
            f"{path} holds id {found}, which is {where} ({self.classes} classes, "
            f"{self.ignore_index} = unlabelled).",
            fix="Use labels of that release, or a dict id -> trainId as label_map."
            if self.space
            else "Set the data set's label_map, {id in the file: trainId}; for published data sets "
            "tools/convert_datasets writes trainIds.",
        )
