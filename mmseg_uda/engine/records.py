"""The records that carry a step's data: one small frozen class per stage.

A record is never changed: a stage that edits something returns a new record
(:func:`dataclasses.replace`), so that a reader sees where each value was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_uda.errors import UserError


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of the data preprocessor, in 0–255 RGB units.

    Attributes:
        mean: (3, 1, 1) float32.
        std: (3, 1, 1) float32.
    """

    mean: Tensor
    std: Tensor

    def to_rgb(self, image: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) to RGB in [0, 1] (not clamped)."""
        return (image * self.std + self.mean) / 255

    def from_rgb(self, image: Tensor) -> Tensor:
        """RGB in [0, 1] (B, 3, H, W) to normalised."""
        return (image * 255 - self.mean) / self.std


@dataclass(frozen=True)
class SourceBatch:
    """Labelled images.

    Attributes:
        image: (B, 3, H, W) float32, normalised RGB.
        label: (B, H, W) int64 trainIds, ignore index where unlabelled.
        normalization: How ``image`` was normalised.
        metas: One dict of meta information (``img_path``, …) per image.
        fields: Further per-pixel maps by name, each (B, C, H, W).
    """

    image: Tensor
    label: Tensor
    normalization: Normalization
    metas: Sequence[Mapping[str, Any]] = ()
    fields: Mapping[str, Tensor] = field(default_factory=dict)

    def rgb(self) -> Tensor:
        """The images as RGB in [0, 1], (B, 3, H, W)."""
        return self.normalization.to_rgb(self.image)


@dataclass(frozen=True)
class TargetBatch:
    """Unlabelled images.

    Attributes:
        image: (B, 3, H, W) float32, normalised RGB.
        valid: (B, H, W) float32 of 0 and 1, 0 where a pseudo-label must not count (margins,
            padding); None when the data set has no such region.
        normalization: How ``image`` was normalised.
        metas: One dict of meta information per image.
        fields: Further per-pixel maps by name, each (B, C, H, W).
    """

    image: Tensor
    valid: Tensor | None
    normalization: Normalization
    metas: Sequence[Mapping[str, Any]] = ()
    fields: Mapping[str, Tensor] = field(default_factory=dict)

    def rgb(self) -> Tensor:
        """The images as RGB in [0, 1], (B, 3, H, W)."""
        return self.normalization.to_rgb(self.image)


LABEL_FIELD = "gt_sem_seg"
VALID_FIELD = "valid_mask"


def read_batch(raw: Mapping[str, Any], preprocessor: nn.Module) -> tuple[Tensor, dict, list]:
    """Runs one domain's collated batch through the data preprocessor.

    Args:
        raw: ``inputs`` (uint8 images) and ``data_samples`` as the data loader gives them.
        preprocessor: The segmentor's data preprocessor.

    Returns:
        Normalised images (B, 3, H, W), the per-pixel maps of the samples by name, each
        (B, C, H, W), and the images' meta information.
    """
    data = preprocessor(dict(raw), True)
    samples = data["data_samples"]
    names = samples[0].keys() if samples else []
    maps = {name: torch.stack([getattr(s, name).data for s in samples]) for name in names}
    return data["inputs"], maps, [s.metainfo for s in samples]


def normalization_of(preprocessor: nn.Module) -> Normalization:
    """The mean and standard deviation of a segmentor's data preprocessor.

    Raises:
        UserError: If the preprocessor does not normalise.
    """
    if not hasattr(preprocessor, "mean"):
        raise UserError(
            "The segmentor's data preprocessor does not normalise images.",
            fix="Give model.data_preprocessor a mean and a std.",
        )
    return Normalization(preprocessor.mean.view(3, 1, 1), preprocessor.std.view(3, 1, 1))


def source_batch(raw: Mapping[str, Any], preprocessor: nn.Module) -> SourceBatch:
    """Collated source samples to a record; see :func:`read_batch`.

    Raises:
        UserError: They have no labels.
    """
    image, maps, metas = read_batch(raw, preprocessor)
    if LABEL_FIELD not in maps:
        raise UserError(
            f"The source's samples have no label, the first is {metas[0].get('img_path')}.",
            fix="Its pipeline has to load it: dict(type='LoadTrainIds') behind LoadFrame.",
        )
    label = maps.pop(LABEL_FIELD).squeeze(1).long()
    return SourceBatch(image, label, normalization_of(preprocessor), metas, maps)


def target_batch(raw: Mapping[str, Any], preprocessor: nn.Module) -> TargetBatch:
    """Collated target samples to a record; a label, should there be one, is left unread.

    Without a mask of the data set, what the preprocessor padded is not valid.
    """
    image, maps, metas = read_batch(raw, preprocessor)
    maps.pop(LABEL_FIELD, None)
    valid = maps.pop(VALID_FIELD, None)
    valid = unpadded(image, metas) if valid is None else valid.squeeze(1)
    valid = None if valid is None else valid.to(image.dtype)
    return TargetBatch(image, valid, normalization_of(preprocessor), metas, maps)


def unpadded(image: Tensor, metas: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """(B, H, W) bool: pixels that the preprocessor has not added; None if it added none.

    Args:
        image: (B, C, H, W), the batch.
        metas: Meta information of the images, with ``img_shape`` before padding.
    """
    height, width = image.shape[-2:]
    extents = [tuple(meta.get("img_shape", (height, width)))[:2] for meta in metas]
    if all(extent == (height, width) for extent in extents):
        return None
    rows = torch.arange(height, device=image.device)[:, None]
    columns = torch.arange(width, device=image.device)
    return torch.stack([(rows < h) & (columns < w) for h, w in extents])
