"""Resize, crop and flip of the image together with every field in ``seg_fields``.

Randomness comes from numpy's global state, which ``DomainPairDataset`` sets per sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError
from mmseg_uda.labels import count_ids, fitted_size

CropBox = tuple[int, int, int, int]
"""(y0, y1, x0, x1), half-open, in pixels."""


@TRANSFORMS.register_module()
class ResizeFields(BaseTransform):
    """Resizes to the largest size of the same aspect ratio that fits into ``scale``.

    Image bilinear, fields nearest; :func:`mmseg_uda.labels.fitted_size` is the new size.

    Args:
        scale: (width, height); their order does not matter.
        keep_ratio: False stretches to exactly (width, height).
        short_side: Pixels of the shorter side, in place of ``scale``; of several lengths one is
            drawn per image, all alike often (SoMA: 0.5 to 2 times the crop in steps of a tenth).
        factor: Range of a random factor on ``short_side``, drawn evenly per image; VFM-UDA:
            (0.9, 1.1). Sizes round half to even.

    Raises:
        UserError: Not exactly one of ``scale`` and ``short_side`` is given.
    """

    def __init__(
        self,
        scale: tuple[int, int] | None = None,
        keep_ratio: bool = True,
        short_side: int | Sequence[int] | None = None,
        factor: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        if (scale is None) == (short_side is None):
            raise UserError(
                "ResizeFields needs a scale or a short_side, and not both.",
                fix="Give scale=(2048, 1024), or short_side=1024.",
            )
        self.scale = None if scale is None else two_sides("ResizeFields", "scale", scale)
        self.keep_ratio = keep_ratio
        self.short_sides = _lengths(short_side)
        self.factor = tuple(factor)

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the new (height, width) of an image."""
        if self.scale is None:
            side = self.short_sides[0]
            if len(self.short_sides) > 1:  # one alone leaves the random numbers as they were
                side = self.short_sides[np.random.randint(len(self.short_sides))]
            factor = np.random.uniform(self.factor[0], self.factor[1]) * side / min(height, width)
            return max(round(height * factor), 1), max(round(width * factor), 1)
        if not self.keep_ratio:
            return self.scale[1], self.scale[0]
        return fitted_size(height, width, self.scale)

    def transform(self, results: dict) -> dict:
        """Resizes img and all fields; sets img_shape, scale_factor (x, y) and keep_ratio."""
        image = results["img"]
        height, width = self.target_size(*image.shape[:2])
        results["scale_factor"] = (width / image.shape[1], height / image.shape[0])
        results["keep_ratio"] = self.keep_ratio
        results["img"] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        results["img_shape"] = (height, width)
        for key in results.get("seg_fields", []):
            results[key] = cv2.resize(
                results[key], (width, height), interpolation=cv2.INTER_NEAREST
            )
        return results


@TRANSFORMS.register_module()
class CropFields(BaseTransform):
    """Random crop; an image that is smaller stays smaller and is padded by the preprocessor.

    Args:
        crop_size: (height, width).
        cat_max_ratio: If below 1, boxes are redrawn up to ten times until at least two classes are
            in the label and none covers this share of the labelled pixels or more.
        ignore_index: Label value that counts as unlabelled.
    """

    MAX_REDRAWS = 10

    def __init__(
        self, crop_size: tuple[int, int], cat_max_ratio: float = 1.0, ignore_index: int = 255
    ) -> None:
        self.crop_size = two_sides("CropFields", "crop_size", crop_size)
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def choose_box(self, results: dict) -> CropBox:
        """Draws a box by looking at the label only."""
        box = self._draw(*results["img"].shape[:2])
        if self.cat_max_ratio < 1 and "gt_seg_map" in results:
            for _ in range(self.MAX_REDRAWS):
                if self._varied(crop(results["gt_seg_map"], box)):
                    break
                box = self._draw(*results["img"].shape[:2])
        return box

    def apply(self, results: dict, box: CropBox) -> dict:
        """Crops img and all fields to the box; sets img_shape and crop_box."""
        results["crop_box"] = box
        results["img"] = crop(results["img"], box)
        results["img_shape"] = results["img"].shape[:2]
        for key in results.get("seg_fields", []):
            results[key] = crop(results[key], box)
        return results

    def transform(self, results: dict) -> dict:
        """Draws a box and crops to it."""
        return self.apply(results, self.choose_box(results))

    def _draw(self, height: int, width: int) -> CropBox:
        crop_height, crop_width = self.crop_size
        y0 = np.random.randint(0, max(height - crop_height, 0) + 1)
        x0 = np.random.randint(0, max(width - crop_width, 0) + 1)
        return y0, y0 + crop_height, x0, x0 + crop_width

    def _varied(self, label: np.ndarray) -> bool:
        counts = count_ids(label)
        counts[self.ignore_index] = 0
        present = counts[counts > 0]
        return present.size > 1 and present.max() / present.sum() < self.cat_max_ratio


@TRANSFORMS.register_module()
class FlipFields(BaseTransform):
    """Mirrors image and fields left to right.

    Args:
        prob: Probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Sets flip and flip_direction."""
        flip = bool(np.random.random() < self.prob)
        results["flip"] = flip
        results["flip_direction"] = "horizontal" if flip else None
        if flip:
            for key in ["img", *results.get("seg_fields", [])]:
                results[key] = np.ascontiguousarray(results[key][:, ::-1])
        return results


def _lengths(short_side: int | Sequence[int] | None) -> tuple[int, ...]:
    """Lengths of ``ResizeFields.short_side``; empty for None."""
    if short_side is None:
        return ()
    sides = tuple(short_side) if isinstance(short_side, (list, tuple)) else (short_side,)
    if not sides or not all(isinstance(side, int) and side > 0 for side in sides):
        raise UserError(
            f"ResizeFields: short_side={short_side!r} is no length in pixels.",
            fix="Give short_side=1024, or several: short_side=[512, 768, 1024].",
        )
    return sides


def two_sides(transform: str, name: str, value: Any) -> tuple[int, int]:
    """Returns an option that is the size of a picture, two whole numbers of at least one pixel.

    Raises:
        UserError: It is something else.
    """
    sides = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(sides) != 2 or not all(
        isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0
        for side in sides
    ):
        raise UserError(
            f"{transform}: {name}={value!r} is no size in pixels.",
            fix=f"For example {name}=(512, 512).",
        )
    return sides


def crop(array: np.ndarray, box: CropBox) -> np.ndarray:
    """Returns the part of (h, w[, c]) inside the box, as a view."""
    y0, y1, x0, x1 = box
    return array[y0:y1, x0:x1]
