"""Evaluation geometry of domain generalization: the label goes with the image (SRHA).

After these transforms the sample's ``ori_shape`` is the processed size, at which predictions are
made and compared. They belong after both image and label are loaded.
"""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError

from .geometry import two_sides
from .resampling import nearest_part, resized_part


@TRANSFORMS.register_module()
class ResizeToScore(BaseTransform):
    """Resizes image (bicubic, antialiased) and fields (nearest) to the size that is scored.

    Args:
        size: (width, height); GTA: (1914, 1052).
        height: The new height in place of ``size``; the width is int(width / height · new height).

    Raises:
        UserError: Not exactly one of the two is given.
    """

    def __init__(self, size: tuple[int, int] | None = None, height: int | None = None) -> None:
        if (size is None) == (height is None):
            raise UserError(
                "ResizeToScore needs size or height, and not both.",
                fix="For Mapillary: height=1536.",
            )
        self.size = None if size is None else two_sides("ResizeToScore", "size", size)
        self.height = height

    def transform(self, results: dict) -> dict:
        """Resizes img and all fields; sets img_shape and ori_shape."""
        image = results["img"]
        old = image.shape[:2]
        if self.size is not None:
            new = (self.size[1], self.size[0])
        else:
            new = (int(self.height or 0), int(old[1] / old[0] * int(self.height or 0)))
        if new != old:
            whole = (0, new[0]), (0, new[1])
            results["img"] = resized_part(image, new, *whole)
            for key in results.get("seg_fields", []):
                results[key] = nearest_part(results[key], new, *whole)
        results["scale_factor"] = (new[1] / old[1], new[0] / old[0])
        return _scored_at(results, new)


@TRANSFORMS.register_module()
class CenterCropPad(BaseTransform):
    """Cuts or pads image and fields to a size, around the centre.

    Padding is black and unlabelled. Where both sides differ by an odd number of pixels, the
    border is at the even half.

    Args:
        size: (width, height).
        legacy: As RobustNet and its descendants pad: an axis that is too short is padded by the
            whole lack on both sides and cut at an offset of the unpadded axis, so that the end of
            the image is lost, and padding is labelled 0 (road) and scored. For comparison with
            their numbers.
        ignore_index: Label of padding, unless ``legacy``.
    """

    def __init__(
        self, size: tuple[int, int], legacy: bool = False, ignore_index: int = 255
    ) -> None:
        self.size = two_sides("CenterCropPad", "size", size)
        self.legacy = legacy
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Cuts or pads img and all fields; sets img_shape and ori_shape."""
        height, width = results["img"].shape[:2]
        rows = self._source(height, self.size[1])
        columns = self._source(width, self.size[0])
        label = 0 if self.legacy else self.ignore_index
        results["img"] = _gathered(results["img"], rows, columns, 0)
        for key in results.get("seg_fields", []):
            fill = label if key == "gt_seg_map" else 0
            results[key] = _gathered(results[key], rows, columns, fill)
        return _scored_at(results, (self.size[1], self.size[0]))

    def _source(self, length: int, side: int) -> np.ndarray:
        """Source index of every pixel of an axis, outside [0, length) for padding."""
        start = round((length - side) / 2)
        if self.legacy and length < side:
            start -= side - length
        return np.arange(start, start + side)


def _gathered(array: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: int) -> np.ndarray:
    height, width = array.shape[:2]
    inner_rows = (rows >= 0) & (rows < height)
    inner_columns = (columns >= 0) & (columns < width)
    if inner_rows.all() and inner_columns.all():
        return np.ascontiguousarray(array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    result = np.full((len(rows), len(columns), *array.shape[2:]), fill, array.dtype)
    part = array[rows[inner_rows]][:, columns[inner_columns]]
    result[np.ix_(inner_rows, inner_columns)] = part
    return result


def _scored_at(results: dict, shape: tuple[int, int]) -> dict:
    results["img_shape"] = results["ori_shape"] = shape
    return results
