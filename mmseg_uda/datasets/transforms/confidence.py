"""How sure the labels of a sample are."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_label

CONFIDENCE = "confidence"
FULL = 255


@TRANSFORMS.register_module()
class LoadConfidence(BaseTransform):
    """Reads ``confidence_path`` to ``confidence``: uint8, (h, w), round(255 · p) per pixel.

    Belongs behind ``LoadTrainIds``, before resizing. 0 means that nothing was decided there: the
    label is the default of the source class.

    Args:
        min_confidence: Labels that were decided with a probability below it are ignored
            (DynAlign); default labels stay.
        ignore_index: What ignored labels become.
        fill: Value for samples without a confidence file, such as annotated ones mixed in; None
            leaves them without.

    Raises:
        UserError: ``min_confidence`` is no probability, or the file is missing, damaged or of
            another size than the label.
    """

    def __init__(
        self, min_confidence: float = 0.0, ignore_index: int = 255, fill: int | None = None
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise UserError(
                f"LoadConfidence: min_confidence={min_confidence} is no probability.",
                fix="Use a number in 0..1.",
            )
        self.min_confidence = min_confidence
        self.ignore_index = ignore_index
        self.fill = fill

    def transform(self, results: dict) -> dict:
        """Adds confidence and lists it in seg_fields; blanks labels that are not sure enough."""
        path, label = results.get("confidence_path"), results["gt_seg_map"]
        if path is None:
            if self.fill is not None:
                results[CONFIDENCE] = np.full(label.shape, self.fill, np.uint8)
                results["seg_fields"].append(CONFIDENCE)
            return results
        confidence = read_label(path)
        if confidence.shape != label.shape:
            raise UserError(
                f"{path} has {confidence.shape[1]}x{confidence.shape[0]} pixels, the label "
                f"{label.shape[1]}x{label.shape[0]}.",
                fix="Align the image again.",
            )
        if self.min_confidence > 0:
            unsure = (confidence > 0) & (confidence < self.min_confidence * FULL)
            results["gt_seg_map"] = label.copy()
            results["gt_seg_map"][unsure] = self.ignore_index
        results[CONFIDENCE] = confidence
        results["seg_fields"].append(CONFIDENCE)
        return results
