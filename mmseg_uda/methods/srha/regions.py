"""The semantic regions of an image: one per class present, unlabelled pixels among them.

Everything is computed for all regions of all images at once: the classes are bins
of a fixed number, so that nothing depends on which of them occur and the host never waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_uda.models.precision import exact_float32, full_precision
from mmseg_uda.models.views import resize_nearest


@dataclass(frozen=True)
class Regions:
    """The regions of B images at one resolution; R = number of classes + 1.

    Attributes:
        ids: (B, h, w) int64, the region of each pixel; R − 1 for pixels without a class.
        one_hot: (B, R, h·w) float32 of 0 and 1; a bin that does not count is all 0.
        counts: (B, R) float32, pixels of each region.
    """

    ids: Tensor
    one_hot: Tensor
    counts: Tensor

    @property
    def present(self) -> Tensor:
        """(B, R) bool."""
        return self.counts > 0

    @property
    def shares(self) -> Tensor:
        """(B, R) float32, share of the image's pixels."""
        return self.counts / self.one_hot.shape[-1]

    def means(self, x: Tensor) -> Tensor:
        """Mean of each region.

        Args:
            x: (k·B, C, h, w), any type: k maps per image, all first ones first.

        Returns:
            (k·B, C, R) float32, of float64 maps float64; 0 for absent regions.
        """
        repeats = len(x) // len(self.ids)
        with exact_float32(x.device):
            values = full_precision(x).flatten(2)
            one_hot = self.one_hot.repeat(repeats, 1, 1) if repeats > 1 else self.one_hot
            counts = self.counts.clamp(min=1).repeat(repeats, 1)
            sums = torch.bmm(values, one_hot.transpose(1, 2).to(values.dtype))
            return sums / counts[:, None]

    def spread(self, values: Tensor) -> Tensor:
        """Gives every pixel its region's values: (B, C, R) to (B, C, h, w)."""
        batch, channels, _ = values.shape
        height, width = self.ids.shape[-2:]
        index = self.ids.flatten(1)[:, None].expand(-1, channels, -1)
        return values.gather(2, index).view(batch, channels, height, width)


def find_regions(
    label: Tensor, size: Sequence[int], num_classes: int, ignore_as_region: bool = True
) -> Regions:
    """Finds the regions of label maps.

    Args:
        label: (B, H, W), any integer type; what is no class in [0, num_classes) is unlabelled.
        size: Height and width to which labels are reduced: pixel ``floor(i · H/h)``.
        num_classes: Number of classes.
        ignore_as_region: Whether an image's unlabelled pixels are a region like any other.
    """
    small = resize_nearest(label, size).long()
    ids = torch.where((small < 0) | (small >= num_classes), num_classes, small)
    bins = torch.arange(num_classes + 1, device=label.device)
    if not ignore_as_region:
        bins = torch.where(bins == num_classes, -1, bins)
    one_hot = (ids.flatten(1)[:, None] == bins[:, None]).float()
    return Regions(ids, one_hot, one_hot.sum(dim=2))


class RegionsBySize:
    """The regions of label maps at any resolution; each is computed once.

    Args:
        label: (B, H, W), any integer type.
        num_classes: Number of classes.
        ignore_as_region: See :func:`find_regions`.
    """

    def __init__(self, label: Tensor, num_classes: int, ignore_as_region: bool = True) -> None:
        self._options = (num_classes, ignore_as_region)
        self._label = label
        self._found: dict[tuple[int, ...], Regions] = {}

    def of(self, x: Tensor) -> Regions:
        """The regions at the resolution of ``x``, (…, h, w)."""
        size = tuple(x.shape[-2:])
        if size not in self._found:
            self._found[size] = find_regions(self._label, size, *self._options)
        return self._found[size]
