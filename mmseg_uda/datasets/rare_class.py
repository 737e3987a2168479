"""Rare class sampling: frames with rare classes are shown more often (DAFormer, Sec. 3.2)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.inspection import no_frames
from mmseg_uda.labels.headers import read_header

from .statistics import class_pixel_counts
from .transforms import CropFields
from .transforms.geometry import crop

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset

MAX_CROPS = 10


def rare_class_probabilities(
    pixels: Sequence[int] | np.ndarray, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes that occur, rarest first, and the probability of drawing each.

    P(c) = softmax((1 - f_c) / T) with f_c = pixels of class c / labelled pixels, in float32. The
    paper divides by all pixels, the published numbers come from this formula.

    Args:
        pixels: Number of pixels per class.
        temperature: T > 0; infinity draws every class equally often.

    Returns:
        classes: int64, (n,). probabilities: float32, (n,), sum 1.
    """
    pixels = np.asarray(pixels, np.int64)
    order = np.argsort(pixels, kind="stable")
    classes = order[pixels[order] > 0]
    shares = (pixels[classes] / pixels.sum()).astype(np.float32)
    logits = (1 - shares) / np.float32(temperature)
    weights = np.exp(logits - logits.max())
    return classes, weights / weights.sum()


class RareClassSampling:
    """Draws source samples by class and crops them so that the class is in the crop.

    Args:
        dataset: The labelled source; its pipeline needs a ``CropFields``.
        min_pixels: A frame counts for a class if it has more pixels of it, at native resolution.
        min_share: The same as a share of the frame's pixels, for images of another size than the
            published ones; replaces min_pixels.
        class_temp: Softmax temperature T.
        min_crop_ratio: The crop has to hold more than min_pixels times this many pixels of the
            class, else up to ten other crops of the same frame are tried. 0 takes any crop. At
            twice the resolution an object has four times the pixels: 0.5 and 2.0 are published.

    Raises:
        UserError: No class has enough pixels in any frame, or an option is out of range.
    """

    def __init__(
        self,
        dataset: TaxonomyDataset,
        min_pixels: int = 3000,
        class_temp: float = 0.01,
        min_crop_ratio: float = 0.5,
        min_share: float | None = None,
    ) -> None:
        if not class_temp > 0:
            raise UserError(
                f"rare_class_sampling.class_temp={class_temp} is not positive.",
                fix="Use e.g. 0.01.",
            )
        if min_share is not None and not 0 <= min_share < 1:
            raise UserError(
                f"rare_class_sampling.min_share={min_share} is no share in [0, 1).",
                fix="Use min_pixels for a number of pixels.",
            )
        self.dataset = dataset
        self.min_pixels = min_pixels
        self.min_share = min_share
        self.min_crop_ratio = min_crop_ratio
        self.class_temp = class_temp
        self.before, self.crop, self.after = _split_pipeline(dataset)
        counts = class_pixel_counts(dataset)
        classes, probabilities = rare_class_probabilities(counts.sum(0), class_temp)
        enough = counts > self._thresholds(len(counts))
        self.files = {int(c): np.flatnonzero(enough[:, c]) for c in classes}
        # A class that occurs only in specks has no frame to draw (a part of a data set, say).
        kept = np.array([self.files[int(c)].size > 0 for c in classes], bool)
        if not kept.any():
            options = {"min_pixels": min_pixels, "min_share": min_share}
            raise no_frames(dataset.location.title, options, len(counts))
        self.classes = classes[kept]
        self.probabilities = probabilities[kept] / probabilities[kept].sum()
        self._cumulative = np.cumsum(self.probabilities, dtype=np.float64)

    def on(self, dataset: TaxonomyDataset) -> RareClassSampling:
        """Returns the same draws from the same samples under other transforms."""
        other = copy.copy(self)
        other.dataset = dataset
        other.before, other.crop, other.after = _split_pipeline(dataset)
        return other

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draws a class and a frame that holds it.

        Returns:
            (sample index, class id).
        """
        position = np.searchsorted(
            self._cumulative, rng.random() * self._cumulative[-1], side="right"
        )
        class_id = int(self.classes[min(int(position), len(self.classes) - 1)])
        files = self.files[class_id]
        return int(files[rng.integers(len(files))]), class_id

    def sample(self, index: int, class_id: int) -> dict:
        """Loads a frame once and returns a packed crop that holds the class, if one is found."""
        with self.dataset.needing_labels():
            return self._sample(index, class_id)

    def _sample(self, index: int, class_id: int) -> dict:
        results = self.dataset.get_data_info(index)
        for transform in self.before:
            results = transform(results)
        box = self.crop.choose_box(results)
        if self.min_crop_ratio > 0:
            needed = self._needed(results) * self.min_crop_ratio
            label = results["gt_seg_map"]
            for _ in range(MAX_CROPS):
                # Only the label is looked at; the image is cropped once, at the end.
                if np.count_nonzero(crop(label, box) == class_id) > needed:
                    break
                box = self.crop.choose_box(results)
        results = self.crop.apply(results, box)
        for transform in self.after:
            results = transform(results)
        return results

    def _needed(self, results: dict) -> float:
        if self.min_share is None:
            return self.min_pixels
        return self.min_share * math.prod(results["ori_shape"])

    def _thresholds(self, files: int) -> np.ndarray | int:
        """Returns the pixels that a frame has to exceed, (files, 1) or one for all."""
        if self.min_share is None:
            return self.min_pixels
        sizes = np.empty((files, 1))
        for i in range(files):
            sizes[i] = math.prod(read_header(self.dataset.label_path(i)).shape)
        return self.min_share * sizes


def _split_pipeline(dataset: TaxonomyDataset) -> tuple[list, CropFields, list]:
    transforms = dataset.pipeline.transforms
    for i, transform in enumerate(transforms):
        if isinstance(transform, CropFields):
            return transforms[:i], transform, transforms[i + 1 :]
    raise UserError(
        "rare_class_sampling needs a CropFields transform in the source pipeline.",
        fix="Add dict(type='CropFields', crop_size=..., cat_max_ratio=0.75) after the resize.",
    )
