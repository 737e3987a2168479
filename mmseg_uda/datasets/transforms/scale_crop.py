"""Random scale and crop of domain generalization (SRHA)."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError

from .geometry import two_sides
from .resampling import nearest_part, resized_part


@TRANSFORMS.register_module()
class RandomScaleCrop(BaseTransform):
    """Scales by a random factor and crops; what the crop does not show is never resized.

    The factor u is uniform, the scaled size int(u · size), the image bicubic with antialiasing,
    fields nearest. An axis shorter than the crop is padded by (crop - length) // 2 + 1 on either
    side, black and unlabelled. The crop is uniform; if the sample has a ``centroid`` (x, y in
    native pixels, of class-uniform sampling), it is uniform among those that show the centroid,
    its right and lower border included, as far as the image allows.

    Args:
        crop_size: (height, width).
        scale: Least and largest factor.
        ignore_index: Label of padding.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        ignore_index: int = 255,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise UserError(
                f"RandomScaleCrop: scale={scale} is no range.", fix="Published: scale=(0.5, 2.0)."
            )
        self.crop_size = two_sides("RandomScaleCrop", "crop_size", crop_size)
        self.scale = (scale[0], scale[1])
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Scales and crops img and all fields; sets img_shape and scale_factor (x, y)."""
        image = results["img"]
        factor = float(np.random.uniform(*self.scale))
        height, width = image.shape[:2]
        size = max(int(factor * height), 1), max(int(factor * width), 1)
        centroid = results.get("centroid")
        point = (
            (None, None)
            if centroid is None
            else (int(factor * centroid[1]), int(factor * centroid[0]))
        )
        spans = [
            self._span(length, side, at)
            for length, side, at in zip(size, self.crop_size, point, strict=True)
        ]
        (rows, top), (columns, left) = spans
        results["img"] = self._placed(resized_part(image, size, rows, columns), top, left, 0)
        for key in results.get("seg_fields", []):
            part = nearest_part(results[key], size, rows, columns)
            fill = self.ignore_index if key == "gt_seg_map" else 0
            results[key] = self._placed(part, top, left, fill)
        results["img_shape"] = results["img"].shape[:2]
        results["scale_factor"] = (size[1] / image.shape[1], size[0] / image.shape[0])
        return results

    @staticmethod
    def _span(length: int, side: int, centroid: int | None) -> tuple[tuple[int, int], int]:
        """Draws the crop along one axis.

        Returns:
            What it shows of the scaled image, and how many pixels of padding come before.
        """
        padding = (side - length) // 2 + 1 if length < side else 0
        last = length + 2 * padding - side
        if centroid is None:
            start = int(np.random.randint(0, last + 1))
        else:
            at = centroid + padding
            start = min(max(int(np.random.randint(at - side, at + 1)), 0), last)
        first = start - padding
        return (max(first, 0), min(first + side, length)), max(-first, 0)

    def _placed(self, part: np.ndarray, top: int, left: int, fill: int) -> np.ndarray:
        """The part inside a canvas of the crop's size."""
        if part.shape[:2] == self.crop_size:
            return part
        canvas = np.full((*self.crop_size, *part.shape[2:]), fill, part.dtype)
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
        return canvas
