"""Features of image regions in and out of their surroundings (DynAlign).

Each region is looked at alone, with everything around it black, and in crops of its bounding box
that are enlarged on all sides or on two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.errors import require_choice
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.crops import crop_boxes, normalise
from mmseg_uda.foundation.lazy import full_precision
from mmseg_uda.foundation.masks.mask_set import MaskSet

MINOR = 20
SCALES = (0, 200)
# (context crops, masked crop): bit for bit OpenCV's as published, or batched on the device.
CROPS = {"exact": ("opencv", "opencv8"), "fast": ("linear", "linear")}

# Padding left, top, right and bottom of the crops of one scale: 1 the large one, 0 the minor one.
_SIDES = np.array(
    [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]]
)


class RegionFeatures(NamedTuple):
    """Features of M regions of one image.

    Attributes:
        masked: (M, D) float32, unit length: each region alone.
        context: (M, S, D) float32, length 1 at most: mean over the crops of each scale.
        crops: Inputs that the image tower has seen.
        calls: Forward passes that they took.
    """

    masked: Tensor
    context: Tensor
    crops: int
    calls: int


def context_boxes(
    boxes: np.ndarray,
    padding: np.ndarray,
    size: tuple[int, int],
    minor: int = MINOR,
    scales: Sequence[int] = SCALES,
) -> np.ndarray:
    """Crops around regions, clipped to the image.

    Args:
        boxes: (M, 4) integers x1, y1, x2, y2, inclusive.
        padding: (M,) integers, pixels of context at the first scale.
        size: (H, W) of the image.
        minor: Padding of the sides that are not enlarged.
        scales: What is added to the padding, one value per scale.

    Returns:
        (M, S, 6, 4) int32 x1, y1, x2, y2, inclusive.
    """
    large = np.asarray(padding, dtype=np.int64)[:, None] + np.asarray(scales, dtype=np.int64)
    pads = np.where(_SIDES == 1, large[:, :, None, None], minor)
    enlarged = np.asarray(boxes, dtype=np.int64)[:, None, None] + pads * [-1, -1, 1, 1]
    height, width = size
    limit = [width - 1, height - 1, width - 1, height - 1]
    return np.clip(enlarged, 0, limit).astype(np.int32)


def unique_boxes(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different boxes among (..., 4) integers, (U, 4), and the place of each, (...) int64."""
    found, inverse = np.unique(boxes.reshape(-1, 4), axis=0, return_inverse=True)
    return found, inverse.reshape(boxes.shape[:-1])


def mask_patches(masks: MaskSet, index: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Regions cut out of their boxes and scaled.

    Args:
        masks: All regions of the image.
        index: Which of them.
        size: Side of the result in pixels.

    Returns:
        (n, size, size) float32 in [0, 1], soft at the edges (OpenCV's linear filter).
    """
    patches = np.empty((len(index), size, size), dtype=np.float32)
    for k, m in enumerate(index):
        patch = masks.decode(int(m)).astype(np.float32)
        patches[k] = cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR)
    return patches


@torch.no_grad()
def region_features(
    classifier: CropClassifier,
    image: np.ndarray,
    masks: MaskSet,
    padding: np.ndarray,
    crops: str = "exact",
    minor: int = MINOR,
    scales: Sequence[int] = SCALES,
    device: torch.device | str = "cpu",
    blacken: bool = True,
) -> RegionFeatures:
    """Encodes all regions of an image; equal context crops are encoded once.

    Args:
        classifier: Whose image tower encodes them, ``classifier.chunk`` crops at a time.
        image: (H, W, 3) uint8 RGB.
        masks: M regions of it.
        padding, minor, scales: See :func:`context_boxes`.
        crops: ``exact``: resized by OpenCV on the CPU as published; ``fast``: on the device.
        device: Of the network and the result.
        blacken: Make everything around a region black in its own crop.

    Raises:
        UserError: ``crops`` is unknown.
    """
    require_choice("crops", crops, CROPS)
    device = torch.device(device)
    count, dim, scales = len(masks), classifier.embed_dim, tuple(scales)
    if count == 0:
        empty = torch.zeros(0, dim, device=device)
        return RegionFeatures(empty, empty.view(0, len(scales), dim), 0, 0)
    boxes, inverse = unique_boxes(context_boxes(masks.box, padding, masks.size, minor, scales))
    loader = _Loader(classifier, image, masks, boxes, crops, device, blacken)
    total, chunk = len(boxes) + count, classifier.chunk
    with full_precision(device):
        features = torch.cat(
            [
                F.normalize(classifier.encode_image(loader.load(k, min(k + chunk, total))), dim=-1)
                for k in range(0, total, chunk)
            ]
        )
    place = torch.from_numpy(inverse).to(device)
    context = features[place.flatten()].view(count, len(scales), len(_SIDES), dim).mean(2)
    return RegionFeatures(features[len(boxes) :], context, total, -(-total // chunk))


class _Loader:
    """Network inputs of one image: first the context crops, then one masked crop per region."""

    def __init__(
        self,
        classifier: CropClassifier,
        image: np.ndarray,
        masks: MaskSet,
        boxes: np.ndarray,
        crops: str,
        device: torch.device,
        blacken: bool,
    ) -> None:
        self.classifier = classifier
        self.blacken = blacken
        self.size = classifier.input_size
        self.masks = masks
        self.plain, self.eight = CROPS[crops]
        self.device = device
        # OpenCV works on the CPU; there is no reason to send the image away and back.
        place = device if crops == "fast" else torch.device("cpu")
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(place)
        self.image = pixels.permute(2, 0, 1)[None].float() / 255
        self.contexts = len(boxes)
        # Inclusive corners become half-open.
        every = np.concatenate([boxes, masks.box]).astype(np.int64) + [0, 0, 1, 1]
        self.boxes = torch.from_numpy(every).to(place)

    def load(self, start: int, stop: int) -> Tensor:
        """Normalised inputs (n, 3, S, S) of crops ``start`` to ``stop``."""
        border = min(max(self.contexts, start), stop)
        plain = self._crop(start, border, self.plain)
        alone = self._crop(border, stop, self.eight)
        if self.blacken:
            regions = range(border - self.contexts, stop - self.contexts)
            patches = torch.from_numpy(mask_patches(self.masks, regions, self.size))
            # Before the normalisation.
            alone = (alone * 255) * patches.to(self.device)[:, None] / 255
        return normalise(torch.cat([plain, alone]), self.classifier.mean, self.classifier.std)

    def _crop(self, start: int, stop: int, resample: str) -> Tensor:
        boxes = self.boxes[start:stop]
        index = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
        crops = crop_boxes(self.image, boxes, index, self.size, "stretch", resample)
        return crops.to(self.device)
